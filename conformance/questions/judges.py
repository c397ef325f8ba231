"""How an answer is judged: to the bit, by value, or within the derived bound; and what was wrong.

Every judge answers with a `Finding`. `used` is the largest error as a share of what is allowed (0
for exact work, at most 1 for a pass), `ulp` the largest distance in units of the last place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from conformance.questions.arrays import Array
from tsm_ref.reference.bounded import Bounded

REFUSALS = ("invalid", "unsupported", "not_streamable")


@dataclass(frozen=True)
class Finding:
    """The judgement of one answer; `message` is empty for a pass."""

    message: str = ""
    used: float = 0.0
    ulp: float = 0.0
    worst: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """True where nothing was found to be wrong."""
        return not self.message


@dataclass(frozen=True)
class Key:
    """The right answer for whoever judges without this package: arrays, and the rule they are for.

    ``rule`` is one of `RULES`; ``facts`` are plain values that belong to it.
    """

    rule: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


RULES: Mapping[str, str] = {
    "bits": "every bit of the answer is that of `expected`; integers may have any width",
    "values": "every number equals that of `expected`; -0 equals 0",
    "within": "nowhere further from `expected` than `tolerance` says there",
    "refusal": "an error is right, and any answer is wrong",
    "recognition": "the frames equal `frames`, each probability is within `tolerance` of "
    "`expected`, and classes stand in falling order",
}
"""How an answer may be judged, in words."""


class VacuousCase(Exception):
    """A case that could not fail: its outputs are mostly zero, or its bound is too wide."""


class Judge(Protocol):
    """Judges the outputs of one call, or its refusal."""

    @property
    def output(self) -> str:
        """The name of the output that is judged."""
        ...

    @property
    def expects_refusal(self) -> bool:
        """True where the right answer is an error."""
        ...

    @property
    def may_refuse(self) -> bool:
        """True where an error is right as well as the answer."""
        ...

    def judge(self, outputs: Mapping[str, Any]) -> Finding:
        """What is wrong with the outputs of a call, if anything is."""
        ...

    def nearness(self, actual: Array, other: Array) -> bool:
        """Whether two outputs are the same as far as this judge can tell them apart."""
        ...

    def key(self) -> Key:
        """The right answer, for whoever judges without this package."""
        ...


class _OneArray:
    """The parts that judges of one array share: is there one, of the right kind and shape?"""

    output: str
    expects_refusal = False
    may_refuse = False
    may_be_single = False

    def _array(self, outputs: Mapping[str, Any], expected: Array) -> Array | Finding:
        if self.output not in outputs:
            got = ", ".join(outputs) or "nothing"
            return Finding(f"no output `{self.output}` came back, but {got}")
        y: Any = outputs[self.output]
        if not isinstance(y, np.ndarray):
            return Finding(f"the output `{self.output}` is {type(y).__name__}, not an array")
        if self.may_be_single and (1, *y.shape) == expected.shape:
            y = y[None]
        if y.shape != expected.shape:
            return Finding(f"the output has shape {y.shape}; {expected.shape} is right")
        if expected.dtype.kind in "iub":
            if y.dtype.kind not in "iub":
                return Finding(f"the output is {y.dtype}; integers are right")
        elif y.dtype.newbyteorder("=") != expected.dtype:
            return Finding(f"the output is {y.dtype}; {expected.dtype} is right, as the input")
        found: Array = y
        return found


@dataclass(frozen=True)
class Bits(_OneArray):
    """Data movement: every bit of the output is determined, payloads of NaN included."""

    expected: Array
    output: str = "y"
    may_refuse: bool = False

    def judge(self, outputs: Mapping[str, Any]) -> Finding:
        """Compare the bytes."""
        y = self._array(outputs, self.expected)
        if isinstance(y, Finding):
            return y
        same = _bits(y.astype(self.expected.dtype)) == _bits(self.expected)
        return _difference(y, self.expected, same, "0 ULP are allowed: no arithmetic is needed")

    def nearness(self, actual: Array, other: Array) -> bool:
        """Equal to the bit."""
        return same_bits(actual, other)

    def key(self) -> Key:
        """The bits."""
        return Key("bits", {"expected": self.expected}, {"may_refuse": self.may_refuse})


@dataclass(frozen=True)
class Values(_OneArray):
    """The exact tier: integers of which no order of summation can lose a bit; -0 equals 0."""

    expected: Array
    output: str = "y"

    def judge(self, outputs: Mapping[str, Any]) -> Finding:
        """Compare the numbers."""
        y = self._array(outputs, self.expected)
        if isinstance(y, Finding):
            return y
        same = (y == self.expected) | (np.isnan(y) & np.isnan(self.expected))
        return _difference(y, self.expected, same, "these sums are exact in any order")

    def nearness(self, actual: Array, other: Array) -> bool:
        """Equal numbers in equal shapes."""
        return actual.shape == other.shape and np.array_equal(actual, other, equal_nan=True)

    def key(self) -> Key:
        """The numbers."""
        return Key("values", {"expected": self.expected})


@dataclass(frozen=True)
class Within(_OneArray):
    """The bound tier: the float64 oracle's value, and what the declared accumulation explains.

    An answer about one clip may come without its axis of clips where it ``may_be_single``.
    """

    expected: Bounded
    dtype: str = "float32"
    output: str = "y"
    may_refuse: bool = False
    may_be_single: bool = False

    def judge(self, outputs: Mapping[str, Any]) -> Finding:
        """Compare with the oracle, element by element, each with its own bound."""
        y = self._array(outputs, self.expected.value.astype(self.dtype))
        if isinstance(y, Finding):
            return y
        tolerance = self._tolerance()
        with np.errstate(all="ignore"):
            error = np.abs(y.astype(np.float64) - self.expected.value)
            share = np.where(error == 0, 0.0, error / np.where(tolerance > 0, tolerance, 1e-300))
        share = np.where(np.isnan(share), np.inf, share)
        used = float(share.max(initial=0.0))
        expected = self.expected.value.astype(self.dtype)
        ulp, worst = _ulp(y, expected), _where(share)
        if used <= 1:
            return Finding("", used, ulp, worst)
        return Finding(
            f"at {list(worst)} the value is {y[worst]:.9g}; the oracle says "
            f"{self.expected.value[worst]:.9g} ± {tolerance[worst]:.2g} "
            f"({_count(share > 1)} are outside their bound)",
            used,
            ulp,
            worst,
        )

    def nearness(self, actual: Array, other: Array) -> bool:
        """Nowhere further apart than twice the bound."""
        if actual.shape != other.shape or actual.shape != self.expected.value.shape:
            return False
        with np.errstate(all="ignore"):
            gap = np.abs(actual.astype(np.float64) - other.astype(np.float64))
        same = (actual == other) | (np.isnan(actual) & np.isnan(other))
        return bool((same | (gap <= 2 * self._tolerance())).all())

    def key(self) -> Key:
        """The oracle's values in float64, and how far each may be missed."""
        arrays = {"expected": self.expected.value, "tolerance": self._tolerance()}
        facts = {"dtype": self.dtype, "may_refuse": self.may_refuse}
        return Key("within", arrays, facts | {"may_be_single": self.may_be_single})

    def guard(self, u: float, *, sparse: bool = False) -> None:
        """Refuse a case that could not fail; see `VacuousCase`.

        Outputs that are zero by design (`sparse`: those of an impulse, of a ReLU) are no reason.
        """
        value, tolerance = self.expected.value, self._tolerance()
        if np.mean(value == 0) > 0.6 and not sparse:
            raise VacuousCase("more than half of the expected outputs are zero")
        rms = float(np.sqrt(np.mean(value**2)))
        if not float(np.median(tolerance)) <= 0.1 * rms:
            raise VacuousCase(
                f"at unit roundoff {u:.1e} the bound {np.median(tolerance):.1e} is more than a "
                f"tenth of the signal {rms:.1e}"
            )

    def _tolerance(self) -> Array:
        # Hardware may take numbers below the smallest normal one for zero.
        smallest = float(np.finfo(self.dtype).smallest_normal)
        return np.asarray(self.expected.tolerance() + smallest)


@dataclass(frozen=True)
class Refuses:
    """Invalid input: the right answer is an error of a known kind, and no output."""

    why: str
    output: str = "y"
    expects_refusal = True
    may_refuse = False

    def judge(self, outputs: Mapping[str, Any]) -> Finding:
        """Any output at all is wrong."""
        return Finding(f"accepted {self.why}, and answered with an output")

    def nearness(self, actual: Array, other: Array) -> bool:
        """Two accepted inputs are the same mistake."""
        return True

    def key(self) -> Key:
        """No answer."""
        return Key("refusal", facts={"why": self.why})


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays have one shape, one dtype and equal bytes."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _bits(x: Array) -> Array:
    return np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")


def _difference(y: Array, expected: Array, same: Array, rule: str) -> Finding:
    if same.all():
        return Finding()
    worst = _where(~same)
    return Finding(
        f"at {list(worst)} the value is {y[worst]!s}; {expected[worst]!s} is right "
        f"({_count(~same)} are wrong; {rule})",
        float("inf"),
        _ulp(y, expected),
        worst,
    )


def _where(score: Array) -> tuple[int, ...]:
    if not score.size:
        return ()
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(score)), score.shape))


def _count(wrong: Array) -> str:
    return f"{int(wrong.sum())} of {wrong.size} values"


def _ulp(y: Array, expected: Array) -> float:
    """The largest distance in units of the last place of the expected value."""
    if expected.dtype.kind != "f" or not expected.size:
        return 0.0
    with np.errstate(all="ignore"):
        gap = np.abs(y.astype(np.float64) - expected.astype(np.float64))
        units = gap / np.spacing(np.abs(expected)).astype(np.float64)
    units = np.where(np.isnan(units) | (gap == 0), 0.0, units)
    return float(units.max(initial=0.0))
