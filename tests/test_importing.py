"""`docs/importing.md` is true: every test that it names is there, and every test of a room too."""

import ast
import re
from pathlib import Path

import pytest

from tsm_ref.checkpoint.onnx_in.guard import FIRST_OPSET

ROOT = Path(__file__).resolve().parent
PAGE = (ROOT.parent / "docs" / "importing.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "test_" in line]
PROOFS = ("real exporter", "real framework", "documented layout")


def functions_in(name: str) -> set[str]:
    """The functions of the test files of this name."""
    found = set()
    for path in ROOT.rglob(name):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_row_names_tests_that_are_there(row: str) -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
    assert named
    for file, test in named:
        assert test in functions_in(file), f"{file}::{test}"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    if len(cells) == 4:
        assert cells[2] in PROOFS
        real = cells[2] != "documented layout"
        assert real == any("exporters" in file or "real" in file for file, _ in named)


def test_every_test_with_a_real_exporter_stands_in_a_row() -> None:
    named = set(re.findall(r"test_exporters\.py::(test_\w+)", PAGE))
    assert named == {name for name in functions_in("test_exporters.py") if name.startswith("test_")}


def test_the_versions_are_those_of_the_reader() -> None:
    assert f"Opset {FIRST_OPSET} to the newest" in PAGE
