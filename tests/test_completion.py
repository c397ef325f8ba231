"""What shells make of the completion: real ones are asked."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tsm_ref.completion import SHELLS, main, script
from tsm_ref.subcommands import COMMANDS, parser_of

ASK = """
eval "$(cat tsm.bash)"
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_shtab_tsm tsm "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""

LINES = [
    (["tsm", "in"], {"infer", "inspect"}),
    (["tsm", "inspect", "--gr"], {"--graph"}),
    (["tsm", "infer", "--engine", "nu"], {"numba", "numpy"}),
    (["tsm", "infer", "--model", "we"], {"weights"}),
    (["tsm", "conformance", "mu"], {"mutants"}),
    (["tsm", "completion", ""], set(SHELLS)),
]


def shell(name: str) -> str:
    """The path of a shell; without it, the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no shell {name} is installed")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the scripts, and with something to find."""
    for name in SHELLS:
        (tmp_path / f"tsm.{name}").write_text(script(name), encoding="utf-8")
    (tmp_path / "weights").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "wanted"),
    LINES,
    ids=lambda part: "-".join(sorted(part) if isinstance(part, set) else part),
)
def test_bash_completes(words: list[str], wanted: set[str], folder: Path) -> None:
    command = [shell("bash"), "--norc", "-c", ASK, "ask", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert wanted <= set(done.stdout.split())
    assert all(word.startswith(words[-1]) for word in done.stdout.split())
    assert done.stderr == ""


def test_fish_completes(folder: Path) -> None:
    for words, wanted in LINES[:3]:
        ask = f"source tsm.fish; complete -C '{' '.join(words)}'"
        command = [shell("fish"), "--no-config", "-c", ask]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        assert wanted <= {line.split("\t")[0] for line in done.stdout.splitlines()}


def test_zsh_knows_who_completes(folder: Path) -> None:
    ask = 'autoload -U compinit; compinit -D -u; eval "$(cat tsm.zsh)"; print $_comps[tsm]'
    command = [shell("zsh"), "-fc", ask]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "_shtab_tsm"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_of_every_command_is_there(name: str) -> None:
    text = script("bash")
    for action in parser_of(name)._actions:
        assert all(option in text for option in action.option_strings)


def test_a_shell_that_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tcsh"]) == 2
    assert "invalid choice: 'tcsh'" in capsys.readouterr().err


def test_without_shtab_it_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["bash"]) == 2
    assert "the package 'shtab' is needed to complete the words of a shell" in (
        capsys.readouterr().err
    )
