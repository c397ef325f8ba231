"""The command ``tsm``: every command line behind one name."""

from importlib import import_module

import pytest

from tsm_ref.__main__ import main
from tsm_ref.checkpoint import weights_folder
from tsm_ref.subcommands import COMMANDS

PAN = str(weights_folder() / "samples" / "pan_left.mp4")


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_says_what_there_is(capsys, arguments: list[str]) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_main_and_help(capsys, name: str) -> None:
    assert callable(import_module(COMMANDS[name][0]).main)
    try:
        code = main([name, "--help"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 0
    assert "usage:" in capsys.readouterr().out


def test_a_clip_needs_no_command(capsys) -> None:
    assert main(["--engine", "numpy", PAN]) == 0
    assert capsys.readouterr().out.startswith("pan left (")


def test_versions(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tsm_ref ")


def test_codes_are_those_of_the_command(capsys) -> None:
    assert main(["infer"]) == 2
    assert main(["no-such.mp4"]) == 3


@pytest.mark.parametrize(("word", "meant"), [("inspct", "inspect"), ("evalute", "evaluate")])
def test_a_command_that_is_misspelt_is_named(capsys, tmp_path, monkeypatch, word, meant) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([word, "x"]) == 2
    assert f"no command and no file '{word}'; the nearest command is '{meant}'" in (
        capsys.readouterr().err
    )
    (tmp_path / word).write_bytes(b"")
    assert main([word]) == 3  # it is a video then, though an empty one


@pytest.mark.parametrize("name", [n for n, (home, _) in COMMANDS.items() if "tsm_ref" in home])
def test_every_command_tells_its_version(capsys, name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--version"])
    assert ended.value.code in (0, None)
    assert "numpy" in capsys.readouterr().out
