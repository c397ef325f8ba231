"""The correct implementation of every profile passes; a wrong one fails with a sentence."""

import pytest

from conformance.catalogue import cases_of
from conformance.judging.results import Options
from conformance.judging.runner import run
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
    assert finished.reached == ("L0", "L1", "L2", "L3", "S", "R")
