"""The command line: what it prints, what it returns, and what it says about a wrong request."""

import json
import textwrap

import pytest

import conformance
from conformance.__main__ import main
from conformance.catalogue import all_cases
from conformance.judging.results import Result
from conformance.questions.levels import LEVELS, parse_levels, reached, verdict
from conformance.testees.reference import Reference
from tsm_ref.errors import UsageError


def test_a_conforming_testee_exits_with_0_and_leaves_a_report(tmp_path, capsys):
    arguments = ["run", "--testee", "reference", "--level", "L0,S", "--examples", "3"]
    assert main([*arguments, "--report", str(tmp_path)]) == 0
    assert "reference: L0 + S" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["conforms"], report["reached"]) == (True, ["L0", "S"])


def test_another_profile_fails_and_exits_with_1(capsys, tmp_path):
    arguments = ["run", "--testee", "py:conformance.testees.reference:Reference", "--in-process"]
    arguments += ["--profile", "paddle", "--level", "L0", "--examples", "5"]
    assert main([*arguments, "--report", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "Reference" in out or "reference" in out
    assert "no level" in out
    assert "the direction is swapped" in out
    again = "run --testee py:conformance.testees.reference:Reference --profile paddle --case L0."
    assert again in out
    assert list((tmp_path / "vectors").glob("*.npz"))


def test_one_case_is_run_and_reported_and_is_no_level(capsys, tmp_path):
    arguments = ["run", "--testee", "reference", "--case", "L0.shift.clips"]
    assert main([*arguments, "--report", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "✓ 1 passed" in out
    assert "reference: 1 of 1 cases" in out
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["conforms"], report["reached"]) == (True, [])


def test_list_names_every_case_and_its_defect(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cases = list(all_cases())
    assert len(lines) == len(cases)
    assert all(c.id in line and c.defect in line for c, line in zip(cases, lines, strict=True))


# One case per operation; those of full architectures are asked like small networks, in minutes.
EACH = {c.operation: c.id for c in all_cases() if not c.interactive and c.level not in ("L4", "R")}


@pytest.mark.parametrize(("operation", "case"), EACH.items())
def test_explain_gives_five_lines_that_run(operation, case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = five_lines(case, capsys)
    exec(code, {f"your_{operation}": getattr(Reference(), operation)})
    printed = capsys.readouterr().out.split()
    assert printed == ["passed"] * len(conformance.problem(case).questions)
    if operation == "temporal_shift":
        exec(code, {"your_temporal_shift": lambda x, fold_div: x})
        assert "values are wrong" in capsys.readouterr().out


def test_explain_says_that_an_error_is_right_where_it_is(capsys):
    code = five_lines("R.conv.groups", capsys)
    assert "# an error is right" in code
    with pytest.raises(ValueError, match="`groups`"):
        exec(code, {"your_conv": Reference().conv})


def five_lines(case, capsys):
    assert main(["explain", case]) == 0
    code = textwrap.dedent(capsys.readouterr().out.split("reproduce:\n")[1]).strip()
    assert code.count("\n") == 4
    return code


def test_explain_says_what_and_why(capsys):
    assert main(["explain", "L0.identity.reversal"]) == 0
    out = capsys.readouterr().out
    assert "reverse(shift(reverse(x)))" in out
    assert "hypothesis" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--testee", "torch"], "`--testee` (='torch') must be py:"),
        (["run", "--testee", "py:no_such_module:x", "--in-process"], "cannot import"),
        (["run", "--testee", "py:json:nothing", "--in-process"], "'json' has no 'nothing'"),
        (["run", "--testee", "py:types:GenericAlias", "--in-process"], "cannot make a 'Generic"),
        (["run", "--testee", "cmd:/no/such/program"], "cannot start '/no/such/program'"),
        (["run", "--testee", "onnx:/no/model.onnx"], "there is no ONNX model"),
        (["run", "--testee", "dir:/no/folder"], "there is no manifest.json"),
        (["run", "--testee", "reference", "--level", "L9"], "`--level` (='L9') must be one of"),
        (["run", "--testee", "reference", "--case", "L0.shfit.clips"], "L0.shift.clips"),
        (["run", "--testee", "reference", "--examples", "0"], "must be at least 1"),
        (["run", "--testee", "reference", "--timeout", "nan"], "`--timeout` (=nan) must be"),
        (["run", "--testee", "reference", "--timeout", "inf"], "`--timeout` (=inf) must be"),
        (["run", "--testee", "reference", "--seed", "-1"], "the seed (=-1) must be 0 or more"),
        (["run", "--testee", "reference", "--fix"], "`--fix` needs `--expected FILE`"),
        (["run", "--testee", "reference", "--expected", "/no/file"], "cannot read the expected"),
        (["explain", "L0.shift.clips", "--seed", "-1"], "the seed (=-1) must be 0 or more"),
        (["export", "/no/folder", "--seed", "-1"], "the seed (=-1) must be 0 or more"),
        (["run", "--testee", "reference", "--profile", "caffe"], "there is no profile 'caffe'"),
        (["explain", "L0.nothing"], "there is no case 'L0.nothing'"),
        (["judge", "/no/folder"], "there is no manifest.json"),
    ],
)
def test_a_wrong_request_is_one_line_and_exits_with_2(arguments, sentence, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1


def test_levels_build_on_each_other():
    assert parse_levels("all") == tuple(LEVELS)
    assert parse_levels("L1, R") == ("L0", "L1", "R")
    with pytest.raises(UsageError):
        parse_levels("")


def result(id, requirement, outcome):
    return Result(id, id.split(".")[0], requirement, "conv", outcome)


@pytest.mark.parametrize("outcome", ["failed", "unsupported", "skipped"])
def test_a_gap_in_a_must_case_ends_the_ladder(outcome):
    passed = [result("L0.a", "MUST", "passed"), result("L2.a", "MUST", "passed")]
    gap = result("L1.a", "MUST", outcome)
    assert reached([*passed, gap, result("S.a", "MUST", "passed")]) == ("L0", "S")
    assert verdict(reached([gap])) == "no level"


@pytest.mark.parametrize(
    ("outcome", "levels"),
    [
        ("failed", ("L0",)),
        ("error", ("L0",)),
        ("unsupported", ("L0", "L1")),
        ("skipped", ("L0", "L1")),
    ],
)
def test_what_is_not_required_may_be_missing_and_never_wrong(outcome, levels):
    passed = [result(f"{level}.a", "MUST", "passed") for level in ("L0", "L1")]
    assert reached([*passed, result("L1.b", "SHOULD", outcome)]) == levels
    assert reached([*passed, result("L1.b", "MAY", outcome)]) == levels


def test_a_level_that_says_nothing_about_the_testee_is_passed_over():
    beside = [result("L0.a", "MUST", "passed"), result("L1.a", "MUST", "not applicable")]
    assert reached([*beside, result("L2.a", "MUST", "passed")]) == ("L0", "L2")
    assert reached(beside) == ("L0",)


def test_a_level_that_was_not_run_is_not_reached():
    assert reached([result("L0.a", "MUST", "passed"), result("L2.a", "MUST", "passed")]) == ("L0",)
