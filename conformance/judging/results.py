"""What a run is made with, and its outcome: options, one `Result` per case, the whole `Run`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.questions.case import Question
from conformance.questions.levels import reached, verdict
from conformance.testees.base import Declaration, Outputs

OUTCOMES = ("passed", "failed", "unsupported", "skipped", "not applicable", "error")
"""What can become of a case; an ``error`` is one of the judge, and no word about the testee."""

GAPS = ("failed", "unsupported", "skipped", "error")
"""The outcomes with which a required case ends a level."""


@dataclass(frozen=True)
class Options:
    """How a run is made: from which seed, with how many drawn examples, how patiently.

    ``vectors`` is the folder in which failing examples are kept; ``again`` is how the command line
    names the testee, for the line that reproduces a failure.
    """

    seed: int = 0
    examples: int = 20
    timeout: float = 20.0
    vectors: Path | None = None
    again: str = "--testee ..."


@dataclass(frozen=True)
class Evidence:
    """A question that was answered wrongly, with the answer: what a diagnosis is made from.

    ``beside`` are the other questions of the case with their answers, right or wrong.
    """

    question: Question
    reply: Outputs
    beside: tuple[tuple[Question, Outputs], ...] = ()


@dataclass(frozen=True)
class Result:
    """What became of one case."""

    id: str
    level: str
    requirement: str
    operation: str
    outcome: str
    message: str = ""
    used: float = 0.0
    ulp: float = 0.0
    worst: tuple[int, ...] = ()
    seconds: float = 0.0
    question: int = 0
    diagnosis: tuple[str, ...] = ()
    picture: dict[str, Any] | None = None
    reproduce: str = ""
    evidence: Evidence | None = field(default=None, repr=False, compare=False)


@dataclass
class Run:
    """A finished run: the testee's declaration, how it was made, and every result.

    ``asked`` are the levels of which every case was put to the testee; there are none if single
    cases were chosen.
    """

    declaration: Declaration
    options: Options
    asked: tuple[str, ...]
    results: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    mistakes: tuple[str, ...] = ()

    @property
    def reached(self) -> tuple[str, ...]:
        """The levels that hold; some of its cases say nothing of a level."""
        return tuple(level for level in reached(self.results) if level in self.asked)

    @property
    def conforms(self) -> bool:
        """True if every level, or every single case, that was asked for holds."""
        if not self.asked:
            return all(r.outcome in ("passed", "not applicable") for r in self.results)
        about = {r.level for r in self.results if r.outcome != "not applicable"}
        return bool(about) and about <= set(self.reached)

    @property
    def verdict(self) -> str:
        """The levels reached in words, or how many of single cases passed."""
        if not self.asked:
            passed = sum(r.outcome == "passed" for r in self.results)
            return f"{passed} of {len(self.results)} cases"
        words = verdict(self.reached)
        scope = self.declaration.scope
        return f"{words} ({scope})" if scope and self.reached else words

    @property
    def errors(self) -> Sequence[Result]:
        """The cases in which the judge itself broke."""
        return [r for r in self.results if r.outcome == "error"]
