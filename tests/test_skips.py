"""The gate's list of skips: each has its reason, and another skip is refused."""

import pytest

from tests import conftest


def test_every_pattern_says_why():
    text = (conftest.HERE / "allowed_skips.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(len(line.partition("  # ")[2]) > 5 for line in lines)
    assert len(conftest.allowed_skips()) == len(lines) == len(set(lines))


@pytest.mark.parametrize(
    ("reason", "refused"),
    [("root reads all", False), ("could not import 'torch'", True), ("root reads all?", True)],
)
def test_only_a_skip_that_is_listed_is_accepted(reason, refused, monkeypatch):
    monkeypatch.setattr(conftest, "SKIPPED", {"tests/test_it.py::test_that": reason})
    monkeypatch.setenv("TSM_REF_STRICT_SKIPS", "1")
    assert list(conftest.refused_skips()) == [f"tests/test_it.py::test_that: {reason}"] * refused
    monkeypatch.delenv("TSM_REF_STRICT_SKIPS")
    assert list(conftest.refused_skips()) == []
