"""The judges: what they let pass, what they do not, and when a case could not fail."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.catalogue import all_cases, cases_of, find_case
from conformance.judging.results import Options
from conformance.judging.runner import judge_reply, run, run_case
from conformance.mutants import MUTANTS
from conformance.questions.case import Setting, make_problem
from conformance.questions.conventions import PRESETS
from conformance.questions.judges import Bits, Refuses, VacuousCase, Values, Within
from conformance.testees.base import NoReply, Outputs, Refused, Skipped, Unsupported
from conformance.testees.in_process import InProcess
from conformance.testees.reference import Reference
from tsm_ref.reference.bounded import Bounded


def nan(payload):
    return np.array([payload], np.uint32).view(np.float32)


def test_bits_compare_payloads_and_signs():
    judge = Bits(np.array([0.0, 1.0], np.float32))
    assert judge.judge({"y": np.array([0.0, 1.0], np.float32)}).passed
    assert not judge.judge({"y": np.array([-0.0, 1.0], np.float32)}).passed
    assert not Bits(nan(0x7FC00001)).judge({"y": nan(0x7FC00000)}).passed
    assert Bits(nan(0x7FC00001)).judge({"y": nan(0x7FC00001)}).passed


def test_values_take_minus_zero_for_zero_and_nothing_else():
    judge = Values(np.array([0.0, 3.0], np.float32))
    assert judge.judge({"y": np.array([-0.0, 3.0], np.float32)}).passed
    finding = judge.judge({"y": np.array([0.0, np.nextafter(np.float32(3), 4)], np.float32)})
    assert not finding.passed
    assert finding.ulp == 1.0
    assert finding.worst == (1,)


def test_within_measures_the_share_of_the_bound():
    judge = Within(Bounded(np.array([1.0, 2.0]), np.array([1.0, 1.0]) / 36))
    assert judge.judge({"y": np.array([1.5, 2.0], np.float32)}).used == pytest.approx(0.5)
    assert judge.judge({"y": np.array([1.0, 3.0], np.float32)}).passed
    assert not judge.judge({"y": np.array([1.0, 3.1], np.float32)}).passed
    assert not judge.judge({"y": np.array([1.0, np.nan], np.float32)}).passed
    assert not judge.judge({"y": np.array([1.0, np.inf], np.float32)}).passed


def test_a_case_that_cannot_fail_is_an_error():
    wide = Within(Bounded(np.array([1.0, 1.0]), np.array([1.0, 1.0])))
    with pytest.raises(VacuousCase, match="a tenth of the signal"):
        wide.guard(0.5)
    empty = Within(Bounded.exact(np.array([0.0, 0.0, 0.0, 1.0])))
    with pytest.raises(VacuousCase, match="zero"):
        empty.guard(0.0)


@pytest.mark.parametrize("profile", PRESETS)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_case_is_vacuous_under_any_profile(profile, seed):
    for case in all_cases():
        if not case.costly and case.applies(PRESETS[profile]):
            make_problem(case, Setting(PRESETS[profile], seed))


def test_exact_cases_lose_no_bit_in_float32():
    """Every partial sum stays below 2^24: the float64 oracle of absolute values says so."""
    for case in all_cases():
        if case.level == "L1" and case.interactive is None:
            for question in make_problem(case, Setting(PRESETS["mit"])).questions:
                if isinstance(question.judge, Values) and question.call.operation == "conv":
                    x, weight, *_ = question.call.inputs.values()
                    reach = np.abs(weight).sum(axis=tuple(range(1, weight.ndim))).max()
                    assert np.abs(x).max() * reach < 2**24, case.id


@pytest.mark.parametrize(
    ("reply", "outcome", "sentence"),
    [
        (Outputs({"y": np.zeros(1)}), "failed", "accepted a broken clip, and answered"),
        (Refused("invalid", "no"), "passed", ""),
        (Refused("not_streamable", "no"), "passed", ""),
        (Refused("odd", "no"), "failed", "failed (odd) instead of refusing"),
        (Unsupported("nothing"), "unsupported", "nothing"),
        (Skipped("lazy"), "failed", "skipped without having declared"),
        (NoReply("crashed"), "failed", "crashed"),
    ],
)
def test_a_refusal_is_an_error_of_a_known_kind(reply, outcome, sentence):
    found, finding = judge_reply(Refuses("a broken clip"), reply)
    assert found == outcome
    assert sentence in finding.message


def test_the_bound_follows_the_declared_accumulation():
    case = next(c for c in all_cases() if c.id == "L1.conv.bound")
    tolerances = []
    for accumulation in ("float64", "float32", "tf32", "float16"):
        problem = make_problem(case, Setting(PRESETS["mit"], accumulation=accumulation))
        tolerances.append(float(np.max(problem.questions[0].judge.expected.tolerance())))
    assert tolerances[0] == tolerances[1] < tolerances[2] == tolerances[3]


def test_a_transforming_algorithm_is_judged_by_the_bound():
    case = next(c for c in all_cases() if c.id == "L1.conv.channels")
    exact = make_problem(case, Setting(PRESETS["mit"])).questions[0].judge
    bound = make_problem(case, Setting(PRESETS["mit"], exact=False)).questions[0].judge
    assert isinstance(exact, Values)
    assert isinstance(bound, Within)


@pytest.mark.parametrize(
    ("mutant", "accumulation", "reached", "is_wrong"),
    [
        ("precision-tf32", "float32", ("L0",), True),
        ("precision-tf32", "tf32", ("L0", "L1"), False),
        ("precision-tf32", "float16", ("L0", "L1"), False),
        ("precision-bfloat16", "bfloat16", ("L0",), False),
    ],
)
def test_few_bits_are_judged_as_they_are_declared(mutant, accumulation, reached, is_wrong):
    """bfloat16 gives no wrong answer, but its bounds of longer sums would say nothing."""
    testee = InProcess(MUTANTS[mutant].make())
    testee.declaration = replace(testee.declaration, accumulation=accumulation)
    finished = run(testee, cases_of(["L0", "L1"]), Options(examples=2))
    outcomes = {result.id: result.outcome for result in finished.results}
    assert finished.reached == reached
    assert ("failed" in outcomes.values()) == is_wrong
    assert (outcomes["L1.conv.bound"] == "skipped") == (accumulation == "bfloat16")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda found: found * 2, "each of the 5 is needed once"),
        (lambda found: found[1:], "each of the 5 is needed once"),
        (lambda found: found[::-1], "not in falling order"),
        (lambda found: [e | {"probability": float("nan")} for e in found], "is nan"),
    ],
)
def test_a_film_has_every_class_once_in_falling_order(change, sentence):
    class Changed(Reference):
        def recognize(self, *arguments, **how):
            result = super().recognize(*arguments, **how)
            return result | {"predictions": change(result["predictions"])}

    result = run_case(find_case("L6.film.short"), InProcess(Changed()), Options())
    assert result.outcome == "failed"
    assert sentence in result.message
