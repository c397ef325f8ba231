"""Adapters of public implementations: what they take, and the page that they make."""

from datetime import date

import pytest

from conformance.adapters import results, table
from conformance.adapters.__main__ import main
from conformance.adapters.table import TABLE, Public
from conformance.adapters.taking import SOURCES, take
from conformance.catalogue import cases_named
from conformance.judging.runner import run
from conformance.mutants import MUTANTS
from conformance.questions.conventions import conventions_of
from conformance.questions.levels import parse_levels
from conformance.testees.in_process import InProcess
from tsm_ref.errors import UsageError

SOURCE = """
import a_package_that_nobody_has
raise SystemExit("this must not be carried out")

class Shift:
    @staticmethod
    def shift(x, n_segment, fold_div):
        return x * factor

    def div(self):
        return factor

def other(): pass
"""


def test_only_what_is_named_is_taken_out_of_a_file(tmp_path):
    (tmp_path / "theirs.py").write_text(SOURCE)
    found = take(tmp_path / "theirs.py", ["Shift"], {"factor": 3})
    assert found.Shift.shift(2, 1, 8) == 6
    assert not hasattr(found, "other")


def test_a_method_is_taken_without_its_class(tmp_path):
    (tmp_path / "theirs.py").write_text(SOURCE)
    found = take(tmp_path / "theirs.py", ["Shift.div"], {"factor": 3})
    assert found.div(None) == 3
    assert not hasattr(found, "Shift")


def test_what_a_file_does_not_define_is_named(tmp_path):
    (tmp_path / "theirs.py").write_text(SOURCE)
    with pytest.raises(UsageError, match="does not define Pool, Shuffle"):
        take(tmp_path / "theirs.py", ["Shift", "Shuffle", "Pool"], {})
    with pytest.raises(UsageError, match="cannot read"):
        take(tmp_path / "nowhere.py", ["Shift"], {})


def test_every_implementation_has_conventions_and_levels_that_exist():
    names = [public.name for public in TABLE]
    assert len(set(names)) == len(names) >= 10
    for public in TABLE:
        conventions_of(public.profile)
        assert parse_levels(public.levels)
        assert public.meaning.endswith(".")
        assert table.find(public.name) is public


def test_what_was_not_fetched_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(SOURCES, "")
    assert main([str(tmp_path), "--only", "mit", "--output", str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert "[MIT temporal-shift-module](https://github.com/mit-han-lab/" in text
    assert "not judged: it was not fetched" in text
    assert main([str(tmp_path), "--only", "nobody"]) == 2
    assert "there is no implementation 'nobody'" in capsys.readouterr().err


def test_the_page_says_what_differs_and_what_it_means():
    public = Public("x", "Xs TSM", "https://github.com/x/tsm", "MIT", "mit", "L0", lambda: None,
                    "Weights must be turned round.")  # fmt: skip
    testee = InProcess(MUTANTS["direction-swapped"].make())
    finished = run(testee, cases_named(["L0.shift.directions", "L0.shift.clips"]))
    text = results.page([results.Row(public, "abc123", finished)], date(2026, 1, 2))
    assert (
        "| [Xs TSM](https://github.com/x/tsm) | abc123 | MIT | `mit` | 0 of 2 cases | 2 of 2 |"
        in text
    )
    assert "**Xs TSM.** Weights must be turned round." in text
    assert "`L0.shift.directions` (and 1 more): it answers like a known mistake: past and" in text


def test_the_page_in_the_tree_has_every_implementation():
    from pathlib import Path

    import conformance

    text = (Path(conformance.__file__).parent / "RESULTS.md").read_text()
    assert all(public.title in text for public in TABLE)
