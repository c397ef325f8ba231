"""What the README and the other pages say of the code is true: maps, commands, help, paths."""

import argparse
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import conformance
from tsm_ref import errors
from tsm_ref.subcommands import COMMANDS, PARTS, parser_of

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *(
        "docs/commands.md",
        "docs/flow.md",
        "docs/importing.md",
        "docs/pulse.md",
        "docs/serving.md",
        "docs/scale.md",
    ),
    *("docs/architecture.md", "docs/bad-inputs.md", "docs/conventions.md", "docs/glossary.md"),
    "docs/precisions.md",
    *("conformance/README.md", "weights/FORMAT.md", "weights/training/README.md"),
)


def block(marker: str) -> str:
    """The fenced block under an HTML comment."""
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", TEXT, re.DOTALL)
    assert found, f"the README has no block {marker!r}"
    return found.group(1)


def test_the_map_shows_every_room_and_no_other() -> None:
    shown = re.search(r"```\n(tsm_ref/ .*?)```", TEXT, re.DOTALL)
    assert shown
    rooms: dict[str, set[str]] = {}
    folder = ""
    for line in shown.group(1).splitlines():
        name = line.split()[0]
        if line.startswith(" "):
            rooms[folder].add(name.rstrip("/"))
        else:
            folder = name.rstrip("/")
            rooms[folder] = set()
    assert all((ROOT / folder).is_dir() for folder in rooms)
    real = {
        path.name
        for path in (ROOT / "tsm_ref").iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    assert rooms["tsm_ref"] == real - {"__init__.py"}
    top = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))}
    assert set(rooms) == top - {"build", "dist", "htmlcov"} - {p for p in top if "egg-info" in p}


def words(text: str) -> list[str]:
    """Versions of Python break lines differently, and name the value of an option once or twice."""
    return re.sub(r"(-\w) [A-Z]+(?=, --)", r"\1", text).split()


OURS = [name for name, (home, _) in {**COMMANDS, **PARTS}.items() if "tsm_ref" in home]


@pytest.mark.parametrize("name", OURS)
def test_the_manual_shows_what_every_command_prints(name: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    manual = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {name}: [^\n]*\n\n```\n(.*?)\n```$", manual, re.DOTALL | re.MULTILINE)
    assert found, "run python docs/build.py --commands"
    assert words(found[1]) == words(parser_of(name).format_help()), (
        "run python docs/build.py --commands"
    )


def test_every_option_that_the_readme_names_is_one() -> None:
    known = {
        option
        for name in COMMANDS
        for parser in _parsers(parser_of(name))
        for action in parser._actions
        for option in action.option_strings
    }
    others = {"--no-deps", "--system-site-packages", "--thorough"}
    text = TEXT.partition("## Development")[0]
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)) <= known | others


def _parsers(made: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its own commands."""
    yield made
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def test_every_exit_code_is_in_the_table() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    classes = [errors.TsmError, *_below(errors.TsmError)]
    assert {kind.exit_code for kind in classes} | {0, 130} == codes


def _below(kind: type) -> list[type]:
    return [k for child in kind.__subclasses__() for k in (child, *_below(child))]


def test_the_output_is_that_of_the_command() -> None:
    command = block("command: infer").split("&&")[-1].split()
    assert command[:3] == [".venv/bin/python", "-m", "tsm_ref.infer"]
    done = subprocess.run(
        [sys.executable, *command[1:], "--engine", "numba"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    untimed = re.compile(r"[\d.]+ s(, compiled once in [\d.]+ s)?")
    assert untimed.sub("s", done.stdout.strip()) == untimed.sub("s", block("output: infer").strip())


def test_the_example_of_the_shift_prints_what_it_says() -> None:
    code = re.search(r"```python\n(import numpy.*?)```", TEXT, re.DOTALL)
    assert code
    source, comment = code.group(1).split("print(y[0, :, :, 0, 0])\n")
    names: dict[str, object] = {}
    exec(source, names)
    expected = "\n".join(re.sub(r"(\])  +\D*$", r"\1", line[2:]) for line in comment.splitlines())
    assert str(names["y"][0, :, :, 0, 0]) == expected  # type: ignore[index]


def test_the_examples_run_one_after_another(tmp_path, monkeypatch, rng) -> None:
    shutil.copy(ROOT / "weights/samples/pan_left.mp4", tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "clip": rng.normal(size=(1, 3, 8, 224, 224)).astype("f4"),
        "frame": rng.normal(size=(3, 224, 224)).astype("f4"),
    }
    for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        if "import torch" not in code:
            exec(code, names)
    assert names["result"].predictions[0].label == "pan left"
    assert (tmp_path / "mine.h5").stat().st_size > 2 * names["model"].graph.parameter_count
    assert names["stream"].delay == 16


def test_the_implementation_that_is_judged_is_right() -> None:
    pytest.importorskip("torch")
    code = re.search(r"```python\n(import torch.*?)```", TEXT, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code.group(1), names)
    conformance.assert_conforms(names["Shift"](), level="L0")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_linked_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in link:
            assert (ROOT / page).parent.joinpath(link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_is_named_exists(page: str) -> None:
    """Beside the page, in the root, or in one of the two packages."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"\[[^]]*\]\([^)]*\)", "", text)  # links have a test of their own
    folders = (ROOT, (ROOT / page).parent, ROOT / "tsm_ref", ROOT / "conformance")
    for name in re.findall(r"`((?:[\w.-]+/)*[\w-]+(?:/|\.py|\.toml))`", text):
        assert any((folder / name).exists() for folder in folders), name


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_a_module_is_right(page: str) -> None:
    """A dotted name of ours can be imported, or is an attribute of what can be."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    for name in re.findall(r"`((?:tsm_ref|conformance)(?:\.\w+)+)", text):
        module, _, last = name.rpartition(".")
        assert importlib.util.find_spec(module), name
        found = importlib.import_module(module)
        assert hasattr(found, last) or importlib.util.find_spec(name), name


def test_every_page_is_read_here() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert {page.relative_to(ROOT).as_posix() for page in pages} <= set(PAGES)


def test_no_absolute_path_of_a_machine_is_shown() -> None:
    assert not re.search(r"""(^|[\s`"'(=])(/\w+/|[A-Z]:\\)""", TEXT)


@pytest.mark.parametrize("page", ["weights/FORMAT.md"])
def test_pages_that_are_promised_exist(page: str) -> None:
    assert page in TEXT
    assert len((ROOT / page).read_text(encoding="utf-8")) > 500


def test_every_switch_is_explained() -> None:
    """Environment variables of ours are in the table of CONTRIBUTING.md, and nothing else is."""
    files = [*(ROOT / "tsm_ref").rglob("*.py"), *(ROOT / "conformance").rglob("*.py")]
    files += [ROOT / ".ci" / "run", *(ROOT / "tests").rglob("*.py")]
    used = {
        name for f in files for name in re.findall(r"\bTSM_[A-Z_]*[A-Z]\b", f.read_text("utf-8"))
    }
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bTSM_[A-Z_]+\b", text)) == used


FOLDERS = [
    *("reference", "passes", "kernels", "video", "model", "recognition", "live", "show", "batch"),
    *("pulse", "serve"),
    *("bench", "engine", "engine/on_numpy", "engine/on_numba", "engine/stream"),
    *("checkpoint", "checkpoint/hdf5", "checkpoint/onnx_in", "checkpoint/onnx_out"),
    *("checkpoint/tensors", "checkpoint/keras"),
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_map_of_a_folder_shows_every_file(folder: str) -> None:
    room = importlib.import_module(f"tsm_ref.{folder.replace('/', '.')}")
    files = {path.stem for path in (ROOT / "tsm_ref" / folder).glob("[!_]*.py")}
    assert len(files) > 2
    assert {name for name in files if not re.search(rf"\b{name}\b", room.__doc__ or "")} == set()


def test_the_floors_of_the_architecture_are_all_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("| floor |")[2].partition("\n\n")[0].partition("|---|---|")[2]
    shown = re.findall(r"`([\w.]+)/?`", table)
    real = {
        path.name
        for path in (ROOT / "tsm_ref").iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    assert sorted(shown) == sorted(real - {"__init__.py"})
