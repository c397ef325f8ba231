"""The judge is judged: wrong implementations, each with one mistake that people make.

A mutant is the reference testee with one or two of its methods replaced. The suite is worth
something only if it fails every one of them, and a case only if it fails at least one.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from conformance.mutants import layers, networks, pools, refusals, shifts, streams, video
from conformance.mutants.base import Mutant, Recorder
from conformance.questions.case import Call
from conformance.questions.conventions import Profile
from conformance.testees.base import Outputs
from conformance.testees.in_process import InProcess

MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant
    for module in (shifts, layers, pools, networks, streams, video, refusals)
    for mutant in module.CATALOGUE.values()
}
"""Every mutant by name."""


def suspects(call: Call, profile: Profile) -> list[Mutant]:
    """The mutants that can differ from the reference on a call, under a profile."""
    Recorder.seen.clear()
    InProcess(Recorder(profile)).ask(call, 10.0)
    used = set(Recorder.seen)
    named = ("mit", profile.name)
    return [m for m in MUTANTS.values() if m.profile in named and used & set(m.methods)]


def answer(mutant: Mutant, call: Call, profile: Profile) -> Mapping[str, Any]:
    """What a mutant puts out for a call under a profile; nothing if it fails."""
    reply = _testee(mutant.name, profile).ask(call, 10.0)
    return reply.values if isinstance(reply, Outputs) else {}


@cache
def _testee(name: str, profile: Profile) -> InProcess:
    return InProcess(MUTANTS[name].make(profile))


__all__ = ["MUTANTS", "Mutant", "answer", "suspects"]
