"""The folders of model files: every module stands on the map, and knows only those above it."""

import ast
import re
from pathlib import Path

import pytest

import tsm_ref.checkpoint

ROOT = Path(tsm_ref.checkpoint.__file__).parent
FOLDERS = [ROOT, *sorted(p.parent for p in ROOT.glob("*/__init__.py"))]


def mapped(folder: Path) -> list[str]:
    """The modules on the map of a folder, in reading order."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    return re.findall(r"^``(\w+)`` ", text, re.MULTILINE)


def modules(folder: Path) -> set[str]:
    inside = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/*.py")}
    return inside - {"__init__"}


def known(path: Path) -> set[str]:
    """The dotted names of `tsm_ref.checkpoint` that a module imports."""
    tree = ast.parse(path.read_text("utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tsm_ref."):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("tsm_ref.checkpoint.") for name in found if ".checkpoint." in name}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_every_module_stands_on_the_map(folder: Path) -> None:
    assert set(mapped(folder)) == modules(folder)
    assert len(mapped(folder)) == len(modules(folder))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_a_module_knows_only_those_above_it(folder: Path) -> None:
    order = mapped(folder)
    inside = "" if folder == ROOT else f"{folder.name}."
    for height, name in enumerate(order):
        path = folder / f"{name}.py"
        paths = [path] if path.exists() else sorted((folder / name).glob("*.py"))
        for path in paths:
            names = [n.removeprefix(inside) for n in known(path) if n.startswith(inside)]
            rooms = {n.partition(".")[0] for n in names} & set(order) - {name}
            assert not rooms & set(order[height:]), f"{path.name} of {folder.name}: {rooms}"
