"""What every reader returns, and the checks of names and values that all of them share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint.facts import Fact
from tsm_ref.checkpoint.views import FileView
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.op_attributes import REAL
from tsm_ref.ops_table import DYNAMIC, SUMS, Shape
from tsm_ref.profile import Profile
from tsm_ref.reference.quantised import combined_scale

Array = NDArray[Any]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class FileState:
    """A state that a file takes and hands on with every frame: the past of a shift's channels.

    It holds the channels ``start .. stop - 1`` of `value` of the frame before, in the ``shape``
    that the file declares for it. Where `value` is quantised, the file has the reals that it stands
    for, and ``steps`` are its scale and zero point.
    """

    input: str
    output: str
    value: str
    start: int
    stop: int
    shape: tuple[int | str, ...] = ()
    steps: tuple[float, int] | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A model file after every check: the network, its numbers, and what they mean.

    ``weights`` holds one array per name of ``graph.parameters``, in that order: float32, or the
    whole numbers of a quantised layer. ``sha256`` is the digest of the file, ``storage`` the type
    in which it keeps its floats, ``format`` and
    ``format_version`` say whose layout it has, ``extra`` are free notes of whoever wrote it.
    ``facts`` tell who says what the weights mean, ``remarks`` what else a reader may want to know.
    ``inputs`` and ``outputs`` are those of the file where they are not laid out as the graph's;
    ``states`` those that a file which runs frame by frame takes and hands on. ``warnings`` are what
    the file does not say and what was assumed instead, one sentence each.
    """

    graph: Graph
    weights: dict[str, Array]
    profile: Profile
    sha256: str
    storage: str
    path: Path
    format: str
    format_version: int
    extra: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[FileView, ...] = ()
    outputs: tuple[FileView, ...] = ()
    states: tuple[FileState, ...] = ()
    facts: tuple[Fact, ...] = ()
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def shown(name: str) -> str:
    """A name out of a file as an error may print it: quoted, escaped, and not too long.

    >>> shown("conv1.weight")
    "'conv1.weight'"
    >>> shown("a" * 500) == repr("a" * 40 + "..." + "a" * 20)
    True
    """
    return ascii(name if len(name) <= 80 else f"{name[:40]}...{name[-20:]}")


def check_names(expected: Iterable[str], found: Iterable[str]) -> None:
    """Raise `CheckpointError` unless both name the same tensors; lists the first three and counts.

    >>> check_names(["a", "b"], ["b", "c"])
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: 1 tensor is missing ('a'); 1 tensor is not expected ('c')
    """
    wanted, given = dict.fromkeys(expected), dict.fromkeys(found)
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    if missing or extra:
        parts = (_listed(missing, "missing"), _listed(extra, "not expected"))
        raise CheckpointError("; ".join(part for part in parts if part))


def _listed(names: list[str], what: str) -> str:
    if not names:
        return ""
    first = ", ".join(shown(name) for name in names[:3]) + (", ..." if names[3:] else "")
    verb = "tensor is" if len(names) == 1 else "tensors are"
    return f"{len(names)} {verb} {what} ({first})"


def check_shapes(wanted: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> None:
    """Raise `CheckpointError` that lists the first three tensors of another shape, and counts.

    >>> check_shapes({"fc.bias": (5,), "fc.weight": (5, 4)}, {"fc.bias": (5,), "fc.weight": (4, 5)})
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: 1 tensor has another shape ('fc.weight' is (4, 5), not (5, 4))
    """
    wrong = [name for name, shape in wanted.items() if shapes[name] != shape]
    if wrong:
        first = ", ".join(
            f"{shown(name)} is {shapes[name]}, not {wanted[name]}" for name in wrong[:3]
        )
        verb = "tensor has" if len(wrong) == 1 else "tensors have"
        raise CheckpointError(
            f"{len(wrong)} {verb} another shape ({first}{', ...' if wrong[3:] else ''})"
        )


def check_finite(name: str, values: Array) -> None:
    """Raise `CheckpointError` where a tensor holds a NaN or an infinity.

    >>> check_finite("fc.bias", np.array([0.0, np.nan]))
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: the tensor 'fc.bias' holds a NaN or an infinity (1 of 2 values)
    """
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise CheckpointError(
            f"the tensor {shown(name)} holds a NaN or an infinity ({bad} of {values.size} values)"
        )


def check_scales(graph: Graph, weights: Mapping[str, Array]) -> None:
    """Raise `CheckpointError` where the scales of a quantised layer are none.

    Those of the weights must be positive, finite, and make a factor that float32 holds with those
    of the values (`tsm_ref.reference.quantised.combined_scale`).
    """
    for node in graph.nodes:
        scale: Any = 1.0
        if node.op in (*SUMS, *DYNAMIC):
            scale = weights[node.inputs[2]]
            wrong = np.flatnonzero(~(np.isfinite(scale) & (scale > 0)))
            if wrong.size:
                raise CheckpointError(
                    f"the scale {shown(node.inputs[2])} of channel {wrong[0]} is "
                    f"{scale[wrong[0]]:g}; a scale is positive and finite"
                )
        if "x_scale" not in node.rule.attrs or "dtype" not in node.rule.attrs:
            continue
        try:
            for role in ("x_scale", "other_scale"):
                if role in node.rule.attrs:
                    real = node.attr("dtype") in REAL
                    combined_scale(node.attr(role), scale, None if real else node.attr("y_scale"))
        except ValueError as error:
            raise CheckpointError(f"the node {shown(node.name)} ({node.op}): {error}") from None


def under(stored: Profile, wanted: Profile) -> Profile:
    """A stored profile as another one asks for it: the same shift, perhaps other preparations.

    Raises `CheckpointError` where the weights were trained with another shift or placement.
    """
    for name in ("shift", "placement"):
        kept, asked = getattr(stored, name), getattr(wanted, name)
        if kept != asked:
            raise CheckpointError(
                f"the weights were trained with {name} {kept}; the profile asks for {asked}"
            )
    if not wanted.labels:
        meant = ("labels", "no_event", "sure", "aimless", "slowest")
        wanted = replace(wanted, **{name: getattr(stored, name) for name in meant})
    return replace(wanted, measured=stored.measured)
