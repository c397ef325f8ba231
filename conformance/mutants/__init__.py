"""The judge is judged: wrong implementations, each with one mistake that people make.

A mutant is the reference testee with one or two of its methods replaced. The suite is worth
something only if it fails every one of them, and a case only if it fails at least one.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from conformance.mutants import (
    families,
    layers,
    litert,
    networks,
    objects,
    pools,
    quantised_networks,
    quantised_sums,
    quantised_values,
    refusals,
    shifts,
    sizes,
    streams,
    video,
)
from conformance.mutants.base import Mutant, Recorder
from conformance.questions.case import Call
from conformance.questions.conventions import Conventions
from conformance.testees.base import Outputs
from conformance.testees.in_process import InProcess

MODULES = (
    *(shifts, layers, pools, networks, families, objects),
    *(sizes, streams, quantised_values, quantised_sums, quantised_networks, litert),
    *(video, refusals),
)

MUTANTS: Mapping[str, Mutant] = {
    mutant.name: mutant for module in MODULES for mutant in module.CATALOGUE.values()
}
"""Every mutant by name."""


def suspects(call: Call, conventions: Conventions) -> list[Mutant]:
    """The mutants that can differ from the reference on a call, under some conventions."""
    Recorder.seen.clear()
    InProcess(Recorder(conventions)).ask(call, 10.0)
    used = set(Recorder.seen)
    named = ("mit", conventions.name)
    return [m for m in MUTANTS.values() if m.preset in named and used & set(m.methods)]


def answer(mutant: Mutant, call: Call, conventions: Conventions) -> Mapping[str, Any]:
    """What a mutant puts out for a call under some conventions; nothing if it fails."""
    reply = _testee(mutant.name, conventions).ask(call, 10.0)
    return reply.values if isinstance(reply, Outputs) else {}


@cache
def _testee(name: str, conventions: Conventions) -> InProcess:
    return InProcess(MUTANTS[name].make(conventions))


__all__ = ["MUTANTS", "Mutant", "answer", "suspects"]
