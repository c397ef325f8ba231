"""The correct implementation of every profile passes; a wrong one fails with a sentence."""

import numpy as np
import pytest

from conformance.__main__ import main
from conformance.catalogue import cases_named, cases_of, find_case
from conformance.judging.results import Options
from conformance.judging.runner import run, run_case
from conformance.questions.case import Case
from conformance.questions.conventions import PRESETS
from conformance.questions.levels import LEVELS
from conformance.testees.in_process import InProcess
from conformance.testees.reference import Reference

CHEAP = tuple(level for level in LEVELS if level not in ("L4", "L6"))


@pytest.mark.parametrize("profile", PRESETS)
def test_the_reference_passes_under_every_profile(profile):
    finished = run(InProcess(Reference(profile)), cases_of(CHEAP), Options(examples=5))
    gaps = [r for r in finished.results if r.outcome not in ("passed", "not applicable")]
    assert [(r.id, r.message) for r in gaps] == [
        ("S.network.bits", "the testee declares bitwise_streaming: false")
    ]
    assert finished.reached == ("L0", "L1", "L2", "L3", "S", "Q", "R")


class Flaky(Reference):
    """A testee that is right at every second call."""

    calls = 0

    def temporal_shift(self, x, fold_div):
        self.calls += 1
        y = super().temporal_shift(x, fold_div)
        return y if self.calls % 2 else y * 0


@pytest.mark.parametrize("id", ["L0.shift.directions", "L0.identity.clips"])
def test_an_answer_that_changes_is_a_finding(id):
    result = run_case(find_case(id), InProcess(Flaky()), Options(examples=5))
    assert result.outcome == "failed"
    assert "two answers to one question" in result.message or ".identity." in id


def test_a_flaky_testee_never_ends_the_run():
    class Dropout(Reference):
        rng = np.random.default_rng(0)

        def temporal_shift(self, x, fold_div):
            return super().temporal_shift(x, fold_div) * (self.rng.random() < 0.5)

    cases = cases_named(["L0.identity."])
    finished = run(InProcess(Dropout()), cases, Options(examples=8))
    assert len(finished.results) == len(cases)
    assert {r.outcome for r in finished.results} <= {"failed", "passed", "not applicable"}
    assert any(r.outcome == "failed" for r in finished.results)


def broken_case():
    def build(setting):
        raise ZeroDivisionError("a bug of the judge")

    return Case("L0.broken", "MUST", "temporal_shift", "", "", "", build)


def test_a_bug_of_the_judge_is_no_word_about_the_testee():
    cases = [broken_case(), find_case("L0.shift.clips")]
    finished = run(InProcess(Reference()), cases)
    assert [r.outcome for r in finished.results] == ["error", "passed"]
    assert "ZeroDivisionError: a bug of the judge" in finished.results[0].message
    assert [r.id for r in finished.errors] == ["L0.broken"]


def test_a_bug_of_the_judge_has_an_exit_code_of_its_own(monkeypatch, capsys):
    def fails(arguments):
        raise KeyError("lost")

    monkeypatch.setattr("conformance.commands.list_command", fails)
    assert main(["list"]) == 70
    assert "a bug of the judge: KeyError: 'lost'" in capsys.readouterr().err
