"""What a case is: the question put to a testee, and how the answer is judged.

A case is known by its identifier and states which defect it exists to catch. For a `Setting` (the
testee's profile and accuracy, a seed) it makes a `Problem`: calls of operations, each with its
judge. Nothing that a testee is sent contains an expected output.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions
from conformance.questions.judges import Judge, VacuousCase
from conformance.questions.levels import LEVELS
from tsm_ref.errors import UsageError
from tsm_ref.reference.rounding import unit_roundoff

REQUIREMENTS = ("MUST", "SHOULD", "MAY")


@dataclass(frozen=True)
class Call:
    """One operation with named arrays and attributes.

    An input ``weights/NAME`` is one entry of the dictionary `weights`. ``defaults`` are attributes
    that a callable without such a parameter may be called without. ``memory`` says in which kind of
    memory (`arrays.MEMORY`) an in-process testee gets an input.
    """

    operation: str
    inputs: Mapping[str, Array]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    memory: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything that the call says, whatever the memory."""
        digest = hashlib.sha256(self.operation.encode())
        digest.update(json.dumps(dict(self.attributes), sort_keys=True).encode())
        for name, x in self.inputs.items():
            digest.update(f"{name} {x.dtype} {x.shape}".encode())
            digest.update(np.ascontiguousarray(x).tobytes())
        return digest.hexdigest()[:32]

    def arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """The call as Python has it: the first input by position, and all else by name."""
        plain = {k: v for k, v in self.inputs.items() if not k.startswith("weights/")}
        weights = {k[8:]: v for k, v in self.inputs.items() if k.startswith("weights/")}
        first, rest = list(plain.values())[:1], dict(list(plain.items())[1:])
        return first, rest | ({"weights": weights} if weights else {}) | dict(self.attributes)


@dataclass(frozen=True)
class Question:
    """A call and the judge of its answer."""

    call: Call
    judge: Judge


@dataclass(frozen=True)
class Problem:
    """The questions of a case; with `same_bits` their answers must also be equal to the bit.

    ``vacuous`` says why a question was left out that could not have been answered wrongly.
    """

    questions: tuple[Question, ...]
    same_bits: bool = False
    vacuous: str = ""


@dataclass(frozen=True)
class Setting:
    """What a case is made for: conventions, the accuracy that is declared, a seed, a scope.

    ``architectures`` are those that a testee is, if it does not claim to be any; ``fixed`` the
    sizes that it is made for: ``batch``, ``channels``, ``frames``, ``height``, ``width``.
    """

    conventions: Conventions
    seed: int = 0
    accumulation: str = "float32"
    exact: bool = True
    case_id: str = ""
    architectures: tuple[str, ...] = ()
    fixed: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"the seed (={self.seed}) must be 0 or more")

    @property
    def u(self) -> float:
        """Unit roundoff of the type that the testee accumulates in.

        Results are stored as float32 even where sums are made in more, so it is at least that.
        """
        return max(unit_roundoff(self.accumulation), unit_roundoff("float32"))

    def size(self, axis: str, usual: int) -> int:
        """The size that a testee is made for along an axis, or the usual one of a case."""
        return self.fixed.get(axis, usual)

    @property
    def architecture(self) -> str:
        """The architecture that questions about any network are about."""
        known = [a for a in self.architectures if a in ("resnet", "mobilenet_v2")]
        return known[0] if known else "resnet"

    @cached_property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on the seed and on the case alone."""
        return np.random.default_rng([self.seed, zlib.crc32(self.case_id.encode())])


@dataclass(frozen=True)
class Case:
    """One thing that an implementation must, should or may do.

    ``needs`` names declared capabilities without which the case is skipped; ``applies`` is False
    for conventions that the case says nothing about; ``architecture`` is the one that it is about,
    or ``network`` for any ResNet or MobileNetV2; ``costly`` marks the cases that take seconds.
    ``interactive`` cases choose their questions by the answers (hypothesis), and cannot be
    exported.
    """

    id: str
    requirement: str
    operation: str
    checks: str
    formula: str
    defect: str
    build: Callable[[Setting], Problem]
    needs: tuple[str, ...] = ()
    applies: Callable[[Conventions], bool] = lambda conventions: True
    costly: bool = False
    architecture: str = ""
    interactive: Callable[[Any], None] | None = None

    @property
    def level(self) -> str:
        """The level that the case belongs to."""
        return self.id.split(".", 1)[0]

    def requirement_of(self, architectures: tuple[str, ...] | None) -> str:
        """How much the case is asked of a testee that is these architectures, or any (None).

        What a testee says it is it must be.
        """
        if architectures and self.architecture in architectures:
            return "MUST"
        return self.requirement


Build = Callable[[Setting], Problem]
Register = Callable[[Build], Build]
"""What `case` and the shorthands of the catalogue return: a decorator of builders."""

CASES: dict[str, Case] = {}


def case(
    id: str, requirement: str = "MUST", *, operation: str, formula: str, defect: str, **options: Any
) -> Register:
    """Register the decorated builder; its docstring says what the case checks."""

    def register(build: Build) -> Build:
        checks = " ".join((build.__doc__ or "").split())
        if id in CASES or requirement not in REQUIREMENTS or id.split(".")[0] not in LEVELS:
            raise ValueError(f"the case {id!r} is registered twice, or not as it should be")
        CASES[id] = Case(id, requirement, operation, checks, formula, defect, build, **options)
        return build

    return register


Property = Callable[[Any], None]


def identity(
    id: str, *, operation: str, formula: str, defect: str, **options: Any
) -> Callable[[Property], Property]:
    """Register a property that hypothesis explores, a function of a `dialogue.Dialogue`."""

    def register(prop: Property) -> Property:
        def nothing_fixed(setting: Setting) -> Problem:
            return Problem(())

        nothing_fixed.__doc__ = prop.__doc__
        more = {"interactive": prop, "costly": True, **options}
        case(id, "SHOULD", operation=operation, formula=formula, defect=defect, **more)(
            nothing_fixed
        )
        return prop

    return register


def make_problem(c: Case, setting: Setting) -> Problem:
    """The problem of a case in a setting, with the random numbers that belong to it.

    Raises `VacuousCase` where no question could be answered wrongly; at full accuracy that may be
    none of them.
    """
    problem = c.build(replace(setting, case_id=c.id))
    full = setting.u <= unit_roundoff("float32")
    if problem.vacuous and (full or not problem.questions):
        raise VacuousCase(problem.vacuous)
    return problem
