"""The questions that several levels ask: about a shift, about a layer, about a network."""

from collections.abc import Callable, Mapping
from typing import Any

from conformance.questions.arrays import Array
from conformance.questions.case import Call, Problem, Question, Register, Setting, case
from conformance.questions.data import coded
from conformance.questions.judges import Bits, Judge, VacuousCase, Values, Within
from conformance.questions.oracle import Oracle
from tsm_ref.reference import bounds, temporal_shift
from tsm_ref.reference.bounded import Bounded


def usual_clip(s: Setting, N: int, T: int, H: int, W: int, folds: int = 2) -> Array:
    """A coded clip of usual sizes, or of those that a testee is made for."""
    C = s.size("channels", fold_channels(s, folds))
    return coded((N, C, s.size("frames", T), s.size("height", H), s.size("width", W)))


def shift_call(
    s: Setting, x: Array, fold_div: int | None = None, memory: str = "plain", **extra: Any
) -> Call:
    """A call of the testee's own shift."""
    return Call(
        "temporal_shift",
        {"x": x},
        {"fold_div": s.conventions.fold_div if fold_div is None else fold_div, **extra},
        {"fold_div": s.conventions.fold_div},
        {} if memory == "plain" else {"x": memory},
    )


def shift_question(
    s: Setting,
    x: Array,
    fold_div: int | None = None,
    memory: str = "plain",
    may_refuse: bool = False,
) -> Question:
    """The testee's own shift of a clip, bit for bit."""
    expected = temporal_shift(x, s.conventions.d(x.shape[1], fold_div), _fill(s))
    judge = Bits(expected, may_refuse=may_refuse)
    return Question(shift_call(s, x, fold_div, memory), judge)


def shift_problem(s: Setting, *clips: Array, **options: Any) -> Problem:
    """One question per clip about the testee's own shift."""
    return Problem(tuple(shift_question(s, x, **options) for x in clips))


def layer_case(id: str, requirement: str = "MUST", *, formula: str, defect: str) -> Register:
    """A case of level 1 whose operation is the first part of its identifier."""
    operation = id.split(".")[0]
    return case(f"L1.{id}", requirement, operation=operation, formula=formula, defect=defect)


def at(stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> dict[str, Any]:
    """The attributes of a window, one per axis of T, H, W."""

    def three(value: Any) -> list[Any]:
        return [value] * 3 if isinstance(value, int) else list(value)

    return {
        "stride": three(stride),
        "padding": three(padding),
        "dilation": three(dilation),
        "groups": groups,
    }


def layer(
    s: Setting,
    operation: str,
    inputs: Mapping[str, Array],
    attributes: Mapping[str, Any] | None = None,
    *,
    exact: bool = False,
    defaults: Mapping[str, Any] | None = None,
) -> Problem:
    """One layer by its formula: to the value where `exact`, else within the bound of the layer.

    The first input is the data, the others are weights. A testee that declares an algorithm which
    transforms its data (Winograd, FFT), or sums in fewer bits than float32 has, is judged by the
    bound in the exact tier too.
    """
    attributes = attributes or {}
    x, *weights = inputs.values()
    expected = getattr(bounds, operation)(Bounded.exact(x), *weights, **attributes, u=s.u)
    judge: Judge
    if exact and s.exact:
        judge = Values(expected.value.astype(x.dtype))
    else:
        judge = Within(expected, str(x.dtype))
        try:
            judge.guard(s.u, sparse=exact)
        except VacuousCase as error:
            return Problem((), vacuous=str(error))
    call = Call(operation, inputs, attributes, defaults or LAYER_DEFAULTS.get(operation, {}))
    return Problem((Question(call, judge),))


LAYER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "conv": {"dilation": 1, "groups": 1, "stride": 1, "padding": 0},
    "max_pool": {"ceil_mode": False, "dilation": 1, "padding": 0},
    "avg_pool": {"ceil_mode": False, "count_include_pad": True, "padding": 0},
    "batch_norm": {"eps": 1e-5},
    "leaky_relu": {"slope": 0.01},
    "softmax": {"axis": 1},
    "non_local": {"mode": "embedded_gaussian"},
}
"""Attributes at these values may be left out when a testee's callable has no such parameter."""


def both(*problems: Problem) -> Problem:
    """Several problems as one."""
    vacuous = next(filter(None, (problem.vacuous for problem in problems)), "")
    return Problem(tuple(q for p in problems for q in p.questions), vacuous=vacuous)


def composed(
    s: Setting,
    operation: str,
    x: Array,
    weights: Mapping[str, Array],
    attributes: Mapping[str, Any],
    *,
    more: Mapping[str, Array] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Question:
    """A block or a network, within the bound that is propagated through it."""
    more = more or {}
    oracle: Callable[..., Any] = getattr(Oracle(s.conventions, s.u), operation)
    extra = {name: Bounded.exact(value) for name, value in more.items()}
    expected = oracle(Bounded.exact(x), weights, **extra, **attributes)
    judge = Within(expected)
    judge.guard(s.u)
    return Question(network_call(operation, x, weights, attributes, more, defaults), judge)


def network_call(
    operation: str,
    x: Array,
    weights: Mapping[str, Array],
    attributes: Mapping[str, Any],
    more: Mapping[str, Array] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Call:
    """A call whose weights travel as ``weights/NAME``."""
    inputs = {"x": x, **(more or {}), **{f"weights/{k}": v for k, v in weights.items()}}
    return Call(operation, inputs, attributes, defaults or {})


def fold_channels(s: Setting, folds: int = 2, rest: int = 3) -> int:
    """A number of channels with some whole folds per direction and a remainder."""
    return s.conventions.fold_div * folds + rest


def _fill(s: Setting) -> Any:
    return s.conventions.fill
