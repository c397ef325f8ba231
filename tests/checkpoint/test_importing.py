"""The page about importing is true: every row of its table names a test that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (?!what|---)(.+?) \| (.+?) \| (.+?) \| (\S+)::(\w+) \|$", PAGE, re.MULTILINE
)


def test_every_row_is_read() -> None:
    table = PAGE.partition("|---|")[2]
    assert len(ROWS) == sum(line.startswith("| ") for line in table.splitlines())
    assert len(ROWS) > 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_is_proven_by_its_test(row: tuple[str, ...]) -> None:
    *_, file, test = row
    source = (ROOT / "tests" / "checkpoint" / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {test}\(", source, re.MULTILINE)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "framework" in row[2]], ids=lambda r: r[0][:40]
)
def test_a_framework_that_is_named_is_asked(row: tuple[str, ...]) -> None:
    """Those that the page says a framework wrote are in the file that runs the frameworks."""
    source = (ROOT / "tests/checkpoint/test_real_frameworks.py").read_text(encoding="utf-8")
    words = {"torch": "torch", "mmengine": "mmengine", "paddle": "paddle", "keras": "keras"}
    named = [word for word in words if word in row[0].lower()] or ["torch"]
    assert all(f'importorskip("{words[word]}")' in source for word in named)
