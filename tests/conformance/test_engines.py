"""Our own engines are testees like any other, and reach every level."""

import pytest

from conformance.judging.runner import Options, run
from conformance.questions.conventions import PROFILES
from conformance.questions.levels import LEVELS
from conformance.testees.parse import make_testee

QUICK = tuple(level for level in LEVELS if level != "L4")


def judged(engine, profile, levels, only=()):
    testee = make_testee(engine, profile)
    finished = run(testee, Options(levels, examples=5, only=only))
    assert [(r.id, r.message) for r in finished.results if r.outcome == "failed"] == []
    return finished


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_an_engine_reaches_every_level(engine):
    finished = judged(engine, "mit", tuple(LEVELS))
    assert finished.reached == tuple(LEVELS)
    assert finished.conforms


@pytest.mark.parametrize("profile", sorted(set(PROFILES) - {"mit"}))
def test_the_numpy_engine_knows_every_profile(profile):
    finished = judged("numpy", profile, QUICK)
    assert set(finished.reached) == {"L0", "L1", "L2", "L3", "S", "R"}
