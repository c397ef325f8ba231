"""Quantises a model: clips in, ranges, equalisation, whole numbers, and what it cost."""

import time
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine import make_engine
from tsm_ref.errors import CheckpointError, UsageError, VideoError
from tsm_ref.graph import Graph, Node, ValueType
from tsm_ref.model import Model
from tsm_ref.model.kept_weights import KeptWeights
from tsm_ref.passes.fold_batch_norm import fold_batch_norm
from tsm_ref.profile import Profile
from tsm_ref.quantization.equalise import equalised, pairs
from tsm_ref.quantization.place import (
    WITH_WEIGHTS,
    layers_of,
    placed,
    rounded_layer,
    rounded_values,
    source,
)
from tsm_ref.quantization.ranges import METHODS, Seen, observed, steps_of
from tsm_ref.quantization.report import NOTE, Layer, Loss, Report, loss_of
from tsm_ref.recognition import views_of

__all__ = ["MOST_VIEWS", "quantize", "views"]

Array = NDArray[Any]
Clip = Mapping[str, Array]
Weights = Mapping[str, Array]
Given = str | PathLike[str] | Array | Clip

MOST_VIEWS = 256
"""The most views of clips that are looked at; more change ranges and errors very little."""
PER_VIDEO = 8
"""The most views of one video, spread over it."""
HELD_OUT = 4
"""One view in so many measures, and chooses nothing, where there are at least twice as many."""
TRIED = 6
"""The most layers that are tried in float32, the noisiest ones besides the first and the last."""
WORTH = 0.9
"""A layer stays float32 where this lowers the error to less than this share of it."""
DEAREST = 0.1
"""A layer with more than this share of the multiply-adds is not tried in float32."""


def quantize(
    model: Model,
    clips: Iterable[Given],
    *,
    method: str = "percentile",
    equalise: bool | None = None,
    correct: bool = True,
    keep: Collection[str] | None = None,
    source: str = "the caller",
    timed: bool = True,
) -> Model:
    """The model with whole numbers of 8 bits, calibrated on clips; its note tells what it cost.

    ``clips`` are videos as `tsm_ref.recognition.recognize` takes them, which are sampled and
    prepared as the model's profile says; or, for any model, mappings of input names to arrays
    (N, C, T, H, W) that are prepared already. They should be such as the model will see: tens are
    enough, labels are not needed. ``method`` is one of `tsm_ref.quantization.ranges.METHODS`;
    ``equalise`` balances channels (None: where that lowers the error); ``correct`` corrects biases;
    ``keep`` are layers that stay float32 (None: those where that pays).

    The result is a `Model` whose ``notes`` have a `Report` as JSON, under "quantisation". Raises
    `UsageError` without clips, for an unknown method or layer, for a model that is quantised
    already or computes in bfloat16, and as `tsm_ref.recognition.recognize` where no clip can be
    read; one that cannot is a warning, and left out.

    >>> import tsm_ref
    >>> from tsm_ref.checkpoint import weights_folder
    >>> model = tsm_ref.load("camera-motion", engine="numpy")
    >>> made = quantize(model, [weights_folder() / "samples" / "zoom_in.mp4"], timed=False)
    >>> made.graph.quantised, sorted({value.dtype.name for value in made.weights.values()})
    (True, ['float32', 'int32', 'int8'])
    """
    if method not in METHODS:
        raise UsageError(f"`method` (={method!r}) must be one of {', '.join(METHODS)}")
    if model.graph.quantised:
        raise UsageError(f"the model {model.name!r} is quantised already")
    if model.precision != "float32":
        raise UsageError(f"load the model {model.name!r} in float32, which 8 bits are held against")
    if model.form is not None and (model.form.finish or model.form.states):
        raise UsageError(
            f"the model {model.name!r} is more than its network: convert it to .h5 first"
        )
    unknown = set(keep or ()) - {node.name for node in layers_of(_folded(model)[0])}
    if unknown:
        raise UsageError(f"there is no layer {sorted(unknown)[0]!r} with weights")
    seen = list(views(model, clips))
    work = _Work(model, seen, method, correct)
    made = work.best(equalise, keep)
    return _finished(work, made, source, timed)


def views(model: Model, clips: Iterable[Given], profile: Profile | None = None) -> list[Clip]:
    """What the network sees of clips, one view at a time, by input name.

    A video that cannot be read is a warning. Raises `UsageError` where there is no clip, and for
    videos where the network has several inputs, `VideoError` where no video can be read.
    """
    found: list[Clip] = []
    failed: list[VideoError] = []
    videos = 0
    for clip in clips:
        if isinstance(clip, Mapping):
            batch = len(next(iter(clip.values()), ()))
            found += [
                {name: np.asarray(x[n : n + 1], np.float32) for name, x in clip.items()}
                for n in range(batch)
            ]
            continue
        videos += 1
        try:
            found += _of_video(model, clip, profile)
        except VideoError as error:
            failed.append(error.about(str(clip)))
    if failed and not found:
        none = f"of {len(failed)} clips to calibrate on none can be read; the first is "
        raise failed[0] if len(failed) == 1 else VideoError(f"{none}{failed[0]}")
    for problem in failed:
        warnings.warn(f"{problem}: it is left out", stacklevel=2)
    if failed:
        read = f"the {videos - len(failed)} of {videos} clips that can be read"
        warnings.warn(f"calibrated on {read}", stacklevel=2)
    if not found:
        raise UsageError("there are no clips to calibrate on; tens such as the model will see")
    some = np.unique(np.linspace(0, len(found) - 1, MOST_VIEWS).round().astype(int))
    return [found[n] for n in some]


def _of_video(model: Model, clip: Any, profile: Profile | None) -> list[Clip]:
    """Some views of a video, spread over it."""
    names = [entry.name for entry in model.graph.inputs]
    if len(names) != 1:
        raise UsageError(
            f"the model {model.name!r} reads {', '.join(names)}, which are not made of a video "
            "here: give mappings of them to arrays in Python (tsm_ref.quantize)"
        )
    every = views_of(model, clip, profile=profile)
    some = np.unique(np.linspace(0, len(every) - 1, PER_VIDEO).round().astype(int))
    return [{names[0]: every[n : n + 1]} for n in some]


def _folded(model: Model) -> tuple[Graph, Weights]:
    return fold_batch_norm(model.graph, model.weights)


@dataclass(frozen=True)
class _Made:
    """A quantised network, how it came to be, and how far its logits are from float32."""

    graph: Graph
    weights: dict[str, Array]
    floats: frozenset[str]
    equalised: bool
    loss: Loss


class _Work:
    """What is known of the float network, and what has been tried."""

    def __init__(self, model: Model, clips: Sequence[Clip], method: str, correct: bool) -> None:
        self.model, self.method, self.correct = model, method, correct
        self.held_out = len(clips) >= 2 * HELD_OUT
        self.fit = [c for i, c in enumerate(clips) if not self.held_out or i % HELD_OUT]
        self.check = clips[::HELD_OUT] if self.held_out else list(clips)
        self.threads, self.engine = model.threads, model.engine.name
        self.graph, self.weights = _folded(model)
        self.choices: dict[str, float] = {}
        self._exact = self._logits(self.graph, self.weights)
        self._seen: dict[bool, tuple[Graph, Weights, dict[str, Seen]]] = {}

    def best(self, equalise: bool | None, keep: Collection[str] | None) -> _Made:
        """The network with the smallest error among those that may be."""
        floats = frozenset(keep or ())
        tries = (False, True) if equalise is None else (equalise,)
        if not pairs(self.graph):
            tries = (False,)
        made = min((self.made(floats, flag) for flag in tries), key=lambda m: m.loss.rms)
        if keep is not None:
            return made
        for name in self._candidates(made):
            other = self.made(made.floats | {name}, made.equalised)
            if other.loss.rms < WORTH * made.loss.rms:
                made = other
        return made

    def made(self, floats: frozenset[str], equalise: bool) -> _Made:
        """One network, measured."""
        graph, weights, seen = self.seen(equalise)
        steps = self.steps(floats, equalise)
        found, values = placed(graph, weights, steps, seen, floats, self.correct)
        if not found.quantised:
            raise CheckpointError("the network has no layer that can be quantised")
        loss = loss_of(self._exact, self._logits(found, values))
        kept = f" with {', '.join(sorted(floats))} in float32" if floats else ""
        self.choices[("equalised" if equalise else "plain") + kept] = loss.rms
        return _Made(found, values, floats, equalise, loss)

    def steps(self, floats: Collection[str], equalise: bool) -> dict[str, ValueType]:
        """The steps of all values that are rounded."""
        graph, _, seen = self.seen(equalise)
        return {name: steps_of(seen[name], self.method) for name in rounded_values(graph, floats)}

    def seen(self, equalise: bool) -> tuple[Graph, Weights, dict[str, Seen]]:
        """The float network, equalised or not, and what its values are on the clips."""
        if equalise not in self._seen:
            graph, weights = self.graph, self.weights
            if equalise:
                graph, weights = equalised(graph, weights, self.seen(False)[2])
            self._seen[equalise] = graph, weights, self._observed(graph, weights)
        return self._seen[equalise]

    def layers(self, made: _Made) -> tuple[Layer, ...]:
        """How far the own rounding of every layer is below its output."""
        graph, weights, seen = self.seen(made.equalised)
        steps = self.steps((), made.equalised)
        nodes, values = list(graph.nodes), dict(weights)
        names = [node.name for node in layers_of(graph)]
        for node in layers_of(graph):
            x = steps[source(graph, node.inputs[0])]
            mean = seen[node.inputs[0]].mean if self.correct else None
            nodes += _beside(node, x, rounded_layer(node, weights, x, mean), values)
        shapes = {name: value.shape for name, value in values.items()}
        both = graph.with_nodes(nodes, shapes)
        both = both.with_outputs([*names, *(f"{name}.int8" for name in names)])
        engine = make_engine(both, {n: values[n] for n in both.parameters}, "numpy", self.threads)
        power, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 1e-30)
        for clip in self.check[:HELD_OUT]:
            found = engine.run(clip)
            for name in names:
                exact = found[name].astype(np.float64)
                power[name] += float((exact**2).sum())
                noise[name] += float(((found[f"{name}.int8"] - exact) ** 2).sum())
        return tuple(
            Layer(
                name,
                "float32" if name in made.floats else "int8",
                round(10 * float(np.log10(max(power[name], 1e-30) / noise[name])), 2),
            )
            for name in names
        )

    def _candidates(self, made: _Made) -> list[str]:
        """Layers that may be worth their time in float32: the first, the last, the noisiest."""
        layers = self.layers(made)
        shapes = {name: x.shape for name, x in self.check[0].items()}
        macs = self.graph.multiply_adds(shapes)
        total = sum(macs.values())
        ends = (layers[0].name, layers[-1].name)
        noisy = sorted((each for each in layers if each.name not in ends), key=lambda e: e.snr)
        names = [*ends, *(each.name for each in noisy[: TRIED - 2])]
        return [name for name in dict.fromkeys(names) if macs[name] <= DEAREST * total]

    def _observed(self, graph: Graph, weights: Weights) -> dict[str, Seen]:
        inputs = {entry.name for entry in graph.inputs}
        wanted = rounded_values(graph) | {node.inputs[0] for node in layers_of(graph)}
        watched = graph.with_outputs([*graph.outputs, *sorted(wanted - inputs)])
        engine = make_engine(watched, weights, "numpy", self.threads)
        return observed(engine.run, sorted(wanted), self.fit)

    def _logits(self, graph: Graph, weights: Weights) -> Array:
        value = graph.scores.logits or graph.outputs[0]
        engine = make_engine(graph.with_outputs([value]), weights, self.engine,
                             self.threads)  # fmt: skip
        rows = [engine.run(clip)[value] for clip in self.check]
        return np.concatenate([row.reshape(-1, row.shape[1]) if row.ndim < 3
                               else row.mean(-1) for row in rows])  # fmt: skip


def _beside(
    node: Node, x: ValueType, rounded: Mapping[str, Array], values: dict[str, Array]
) -> list[Node]:
    """A quantised layer beside the float one, on the same float input."""
    name = f"{node.name}.int8"
    steps = {"dtype": x.dtype, "y_scale": x.scale, "y_zero_point": x.zero_point}
    made = Node(f"{name}.input", "QuantizeLinear", (node.inputs[0],), steps)
    keys = []
    for role, value in rounded.items():
        keys.append(f"{name}.{role}")
        values[keys[-1]] = value
    attrs = {"dtype": "float32", "x_scale": x.scale, "x_zero_point": x.zero_point}
    layer = Node(name, WITH_WEIGHTS[node.op], (made.name, *keys), {**node.attrs, **attrs})
    return [made, layer]


def _finished(work: _Work, made: _Made, origin: str, timed: bool) -> Model:
    """The model, with its report among its notes."""
    model = work.model
    options: dict[str, Any] = {"engine": model.engine.name, "threads": model.threads}
    result = Model(made.graph, KeptWeights(made.weights), model.profile, **options)
    report = Report(
        clips=len(work.fit),
        measured_on=len(work.check),
        held_out=work.held_out,
        source=origin,
        method=work.method,
        equalised=made.equalised,
        corrected=work.correct,
        loss=made.loss,
        layers=work.layers(made),
        choices=work.choices,
        bytes_before=sum(value.nbytes for value in model.weights.values()),
        bytes_after=sum(value.nbytes for value in made.weights.values()),
        seconds_before=_seconds(model, work.check[0]) if timed else None,
        seconds_after=_seconds(result, work.check[0]) if timed else None,
        engine=result.engine.name,
    )
    notes = {**model.notes, NOTE: report.to_json()}
    said = f"quantised to 8 bits ({report.loss.agreement:.1%} of {report.measured_on} clips as in "
    measured = f"{said}float32); in float32 it was: {model.profile.measured or 'not measured'}"
    profile = model.profile.with_changes(measured=measured)
    return Model(
        made.graph, KeptWeights(made.weights), profile, name=model.name, notes=notes, **options
    )


def _seconds(model: Model, clip: Clip, repeats: int = 3) -> float:
    """The median of the times of a run, after one that made everything ready."""
    spent = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        model.engine.run(clip)
        spent.append(time.perf_counter() - started)
    return sorted(spent[1:])[repeats // 2]
