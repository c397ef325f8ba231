"""Our own engines are testees like any other, and reach every level."""

import pytest

from conformance.catalogue import cases_of
from conformance.judging.results import Options
from conformance.judging.runner import run
from conformance.questions.conventions import PRESETS
from conformance.questions.levels import LEVELS
from conformance.testees.parse import make_testee

QUICK = tuple(level for level in LEVELS if level != "L4")


def judged(engine, profile, levels):
    testee = make_testee(engine, profile)
    finished = run(testee, cases_of(levels), Options(examples=5))
    assert [(r.id, r.message) for r in finished.results if r.outcome == "failed"] == []
    return finished


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_an_engine_reaches_every_level(engine):
    finished = judged(engine, "mit", tuple(LEVELS))
    assert finished.reached == tuple(LEVELS)
    assert finished.conforms


@pytest.mark.parametrize("profile", sorted(set(PRESETS) - {"mit"}))
def test_the_numpy_engine_knows_every_profile(profile):
    finished = judged("numpy", profile, QUICK)
    assert set(finished.reached) == {"L0", "L1", "L2", "L3", "S", "Q", "R"}
