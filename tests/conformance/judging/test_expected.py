"""Expected failures hide nothing: what passes, changes or does not exist fails the run."""

import pytest

from conformance.__main__ import main
from conformance.catalogue import cases_named
from conformance.judging import expected
from conformance.judging.runner import run
from conformance.mutants import MUTANTS
from conformance.testees.in_process import InProcess
from tsm_ref.errors import UsageError


@pytest.fixture(scope="module")
def finished():
    testee = InProcess(MUTANTS["edge-one-frame"].make())
    return run(
        testee, cases_named([f"L0.shift.{name}" for name in ("one-frame", "clips", "directions")])
    )


def problems(finished, tmp_path, text):
    path = tmp_path / "expected.txt"
    path.write_text(text)
    return expected.read(path).problems(finished)


RIGHT = "L0.shift.one-frame  # at [0, 0, 0, 0, 0] the value is  # https://example.org/1\n"


def test_the_failure_that_is_expected_is_no_problem(finished, tmp_path):
    assert problems(finished, tmp_path, "# a comment\n\n" + RIGHT) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "L0.shift.one-frame failed, which is not expected"),
        (RIGHT + "L0.shift.clips  # at\n", "L0.shift.clips is expected to fail, and passed"),
        (RIGHT + "L0.shift.gone  # at\n", "L0.shift.gone is expected to fail, and no such case"),
        ("L0.shift.one-frame  # crashed\n", "is expected to fail with 'crashed', and failed with"),
    ],
)
def test_everything_else_is(finished, tmp_path, text, sentence):
    found = problems(finished, tmp_path, text)
    assert len(found) == 1
    assert sentence in found[0]


def test_fix_rewrites_the_file_and_keeps_the_urls(finished, tmp_path):
    path = tmp_path / "expected.txt"
    path.write_text(RIGHT.replace("at [0", "old [0") + "L0.shift.clips  # at\n")
    expected.write(path, finished, expected.read(path))
    again = expected.read(path)
    assert [(e.case, e.url) for e in again.entries] == [
        ("L0.shift.one-frame", "https://example.org/1")
    ]
    assert again.problems(finished) == []


def test_fix_keeps_what_was_not_run(finished, tmp_path):
    path = tmp_path / "expected.txt"
    path.write_text("L3.network.deep  # refused  # https://example.org/2\n" + RIGHT)
    expected.write(path, finished, expected.read(path))
    assert [entry.url[-1] for entry in expected.read(path).entries] == ["2", "1"]


def test_a_line_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "expected.txt"
    path.write_text("one two three\n")
    with pytest.raises(UsageError, match="line 1"):
        expected.read(path)


def test_the_command_line_uses_the_file(tmp_path, capsys):
    path = tmp_path / "expected.txt"
    run_it = ["run", "--testee", "reference", "--case", "L0.shift", "--expected", str(path)]
    assert main([*run_it, "--fix"]) == 0
    assert main(run_it) == 0
    path.write_text(RIGHT)
    assert main(run_it) == 1
    assert "is expected to fail, and passed" in capsys.readouterr().out
    assert main([*run_it, "--fix"]) == 0
    assert "one-frame" not in path.read_text()
