"""A model: a graph, what it means, and an engine that runs it; load, build, save."""

import copy
import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref import checkpoint as files
from tsm_ref.engine import Engine, make_engine
from tsm_ref.errors import CheckpointError, GraphError, TsmError, UsageError
from tsm_ref.graph import Graph
from tsm_ref.model.described import as_html, facts_of
from tsm_ref.model.features import FeatureNetworks
from tsm_ref.model.file_form import FileForm
from tsm_ref.model.kept_weights import KeptWeights, plain_numbers
from tsm_ref.model.meaning import Labels, check_labels, input_shapes, meant_as
from tsm_ref.model.scores import logits_of
from tsm_ref.model.stream import ModelStream
from tsm_ref.model.summary import Shift, shifts_of, summary_lines
from tsm_ref.models import architecture_named, build_graph, check_options, random_weights
from tsm_ref.passes.features import layers, with_heads
from tsm_ref.passes.relations import with_relations
from tsm_ref.profile import PROFILES, Profile, Sampling, ShiftRule
from tsm_ref.reference import consensus, sigmoid, softmax
from tsm_ref.system.terminal import printable

if TYPE_CHECKING:
    from tsm_ref.recognition import Recognition

__all__ = ["Model", "Shift", "build", "load", "save"]

Array = NDArray[Any]
Weights = Mapping[str, Array]

HEADS = ("mean", "trn")
"""What `build` can make of the frames of a clip."""
MOST = 2**31 - 1
"""The most classes, parameters or seeds that `build` accepts."""


class Model:
    """A network with its weights, ready to run.

    ``name`` is what it was asked for by, ``sha256`` the digest of its file (empty for a model that
    was built). The engine keeps the weights in the order in which it reads them; `weights` gets
    them again by the function ``weights``, whose first result may be given as ``first``. The file
    of a model that was loaded is not needed again: it may be replaced or deleted. ``warnings`` are
    what that file does not say and what was assumed instead, ``notes`` what its writer left in it,
    such as a licence or a card.

    A model goes where work goes: threads may share it (they take turns), `copy.deepcopy` gives one
    that runs beside it, and it can be pickled with all that it needs, for a
    `concurrent.futures.ProcessPoolExecutor` of any start method. A forked child can use it as well.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Callable[[], Weights],
        profile: Profile,
        *,
        name: str = "",
        sha256: str = "",
        engine: str = "auto",
        threads: int = 1,
        precision: str = "float32",
        first: Weights | None = None,
        form: Callable[[Engine], FileForm] | None = None,
        warnings: Sequence[str] = (),
        notes: Mapping[str, str] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {"engine": engine, "threads": threads, "form": form}
        self._options["precision"] = precision
        self.threads = threads
        self._options |= {"warnings": tuple(warnings), "notes": dict(notes or {})}
        self.notes: Mapping[str, str] = self._options["notes"]
        self.graph = graph
        self.profile = profile
        self.name = name or graph.name
        self.sha256 = sha256
        self.warnings = tuple(warnings)
        self._get_weights = weights
        check_labels(self.name, graph, profile)
        each = (graph.scores_of(name).logits for name in graph.outputs)
        more = [value for value in (graph.frame_logits, *each) if value]
        self.engine = make_engine(
            graph.with_outputs((*graph.outputs, *more)),
            weights() if first is None else first,
            engine,
            threads,
            weights,
            precision,
        )
        self.form = None if form is None else form(self.engine)
        self._features = self._feature_networks()

    def _feature_networks(self) -> FeatureNetworks:
        def make(graph: Graph, weights: Weights) -> Engine:
            engine, precision = self._options["engine"], self._options["precision"]
            return make_engine(graph, weights, engine, self.threads, precision=precision)

        return FeatureNetworks(self.graph, self._get_weights, make)

    def __reduce__(self) -> tuple[Callable[..., "Model"], tuple[Any, ...]]:
        """Graph, weights and profile; the engine is made where it arrives."""
        known = {"name": self.name, "sha256": self.sha256, **self._options}
        kept = KeptWeights(self._get_weights())
        return _restored, (type(self), self.graph, kept, self.profile, known)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.__dict__.pop("weights", None)  # which may be changed
        twin.engine = copy.deepcopy(self.engine, memo)
        form = self._options["form"]
        twin.form = None if form is None else form(twin.engine)
        twin._features = twin._feature_networks()
        return twin

    def __repr__(self) -> str:
        """One line: name, network, size, classes, shift, engine.

        >>> build("mobilenetv2", num_classes=5, placement="none", engine="numpy")
        <Model tsn-mobilenetv2: 2,230,277 parameters, no shift, on numpy>
        """
        facts = facts_of(self.graph, self.profile, self.engine.name)
        return f"<Model {printable(self.name)}: {', '.join(facts.values())}>"

    def _repr_html_(self) -> str:
        """The same as a table, as notebooks show it."""
        return as_html(f"Model {self.name}", facts_of(self.graph, self.profile, self.engine.name))

    @cached_property
    def weights(self) -> Weights:
        """One array per name of ``graph.parameters``: float32, or the whole numbers of a layer."""
        return self._get_weights()

    @property
    def precision(self) -> str:
        """What the convolutions multiply in: "float32", or "bfloat16" where that was asked for."""
        return str(self._options["precision"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in index order; empty where the file does not say."""
        return self.profile.labels

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of all layers that `features` can give, in graph order."""
        return layers(self.graph)

    @property
    def shifts(self) -> list[Shift]:
        """Every temporal shift, in graph order."""
        return shifts_of(self.graph)

    @property
    def output(self) -> str:
        """What the file gives: "logits", "probabilities", "log-probabilities", "independent
        probabilities" (a sigmoid per class), "class index" or "top classes".
        """
        return (self.form and self.form.finish) or self.graph.scores.kind

    def __call__(self, clip: Array) -> Array:
        """The output (N, K) for preprocessed clips, float (N, C, T, H, W): logits in most files.

        A file that ends in a softmax gives probabilities here too, see `output`; `logits` are what
        is in front of it. Those per frame are averaged where the file has no consensus, as one that
        runs frame by frame. Raises `UsageError` for a model of several inputs or for integers,
        which cannot be preprocessed (bytes, where the file does not take bytes), and `GraphError`
        for a shape that does not fit.
        """
        name, output = self._only_input(), self.graph.outputs[0]
        found = self.engine.run({name: self._given(name, clip)})[output]
        rows = found.ndim == 3 and self.graph.frame_logits is not None
        return consensus(found) if rows else found

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for inputs by name, as the file declares them.

        ``form`` tells how a foreign file does; where it is None, the inputs are those of the graph,
        NCTHW. Raises `UsageError` for integers, `GraphError` for names or shapes that do not fit.
        """
        if not isinstance(inputs, Mapping):
            raise UsageError("the inputs must be a mapping of names to arrays")
        given = {name: self._given(name, value) for name, value in inputs.items()}
        if self.form is not None:
            return self.form.run(given)
        outputs = self.engine.run(given)
        return {name: outputs[name] for name in self.graph.outputs}

    def logits(self, clip: Array) -> Array:
        """Logits (N, K) of preprocessed clips, whatever the file makes of them at its end.

        Where there are none in it, as behind a mean of probabilities, they are made of these.
        Raises as the call of the model.

        >>> model = build("resnet18", num_classes=5, engine="numpy")
        >>> model.logits(np.zeros((1, 3, 8, 32, 32), np.float32)).shape
        (1, 5)
        """
        scores = self.graph.scores
        if scores.kind == "logits":
            return self(clip)
        name = self._only_input()
        outputs = self.engine.run({name: self._given(name, clip)})
        if scores.logits is not None:
            found = outputs[scores.logits]
            return consensus(found) if scores.logits == self.graph.frame_logits else found
        return logits_of(outputs[self.graph.outputs[0]], scores.kind)

    def head_logits(self, clip: Array) -> dict[str, Array]:
        """`logits` by the name of the output, for a model of several heads, as verb and noun.

        Raises as the call of the model.
        """
        if len(self.graph.outputs) == 1:
            return {self.graph.outputs[0]: self.logits(clip)}
        name, found = self._only_input(), {}
        outputs = self.engine.run({name: self._given(name, clip)})
        for head in self.graph.outputs:
            scores = self.graph.scores_of(head)
            if scores.logits is None:
                found[head] = logits_of(outputs[head], scores.kind)
            else:
                rows = outputs[scores.logits]
                found[head] = consensus(rows) if scores.logits == scores.frames else rows
        return found

    def independent(self, head: str = "") -> bool:
        """Whether each class has a probability of its own: several labels may hold, or none.

        ``head`` names one of several outputs.
        """
        kind = self.graph.scores_of(head or self.graph.outputs[0]).kind
        return self.profile.multi_label or kind == "independent probabilities"

    def probabilities(self, logits: Array, head: str = "") -> Array:
        """What the logits (..., K) mean: a softmax over the classes, or a sigmoid of each.

        >>> build("resnet18", num_classes=2, engine="numpy").probabilities(np.zeros((1, 2)))
        array([[0.5, 0.5]])
        """
        found = sigmoid(logits) if self.independent(head) else softmax(logits, -1)
        return np.asarray(found)

    def frame_logits(self, clip: Array) -> Array:
        """Logits per frame (N, T, K) of clips (N, C, T, H, W), before the consensus.

        Raises `UsageError` for a model that averages nothing over time.
        """
        value = self.graph.frame_logits
        if value is None:
            raise UsageError(f"the model {self.name!r} has no consensus, so no logits per frame")
        name = self._only_input()
        logits = self.engine.run({name: self._given(name, clip)})[value]
        return np.ascontiguousarray(logits.swapaxes(1, 2))

    def features(
        self,
        clip: Array | Mapping[str, Array],
        *,
        layer: str | None = None,
        per_frame: bool = False,
    ) -> Array:
        """Features (N, D) of clips (N, C, T, H, W): what the head reads, its mean over the frames.

        ``per_frame`` gives those of each frame (N, T, D), which the shift has made of the frames
        around it. Another ``layer`` is one of `layers`, or a block of them such as "layer3"; of
        maps the means over H and W are given. Several inputs are given by name.

        Raises `UsageError` for a layer that does not exist, and as the call of the model.

        >>> model = build("resnet18", num_classes=5, engine="numpy")
        >>> clip = np.zeros((1, 3, 8, 32, 32), np.float32)
        >>> model.features(clip).shape, model.features(clip, layer="layer2", per_frame=True).shape
        ((1, 512), (1, 8, 128))
        """
        graph, engine = self._features.up_to(layer)
        given = clip if isinstance(clip, Mapping) else {self._only_input(): clip}
        needed = [entry.name for entry in graph.inputs]
        for name in set(needed) - set(given):
            raise UsageError(f"the input {name!r} is missing")
        found = engine.run({name: self._given(name, given[name]) for name in needed})
        (frames,) = found.values()
        return np.ascontiguousarray(frames.swapaxes(1, 2)) if per_frame else consensus(frames)

    def recognize(
        self,
        path: str | PathLike[str] | Array,
        *,
        profile: Profile | None = None,
        top: int = 5,
        allow_partial: bool = False,
        fps: float | None = None,
    ) -> "Recognition":
        """Label a video: decode, sample, preprocess, run. See `tsm_ref.recognition.recognize`."""
        from tsm_ref.recognition import recognize

        return recognize(self, path, profile=profile, top=top, allow_partial=allow_partial, fps=fps)

    def stream(
        self, n: int = 1, *, lookahead: str | None = None, features: bool | str = False
    ) -> ModelStream:
        """`n` streams that take one frame at a time; see `tsm_ref.engine.stream.stream.Stream`.

        A model that looks ahead gives its outputs some frames late, or at once and changed with
        ``lookahead`` "zero" or "past". With ``features`` the outputs are the features of each frame
        (N, D) instead of its logits, those of another layer if it names one; see `features`.

        Raises `NotStreamable` naming the node and the reason, `UsageError` for an unknown layer.
        """
        graph, engine, layer = self.graph, self.engine, ""
        if features:
            layer = features if isinstance(features, str) else "features"
            graph, engine = self._features.up_to(features if isinstance(features, str) else None)
        sized = all(self.profile.preprocess.frame_size)
        return ModelStream(
            self.profile,
            self.digest,
            engine,
            n,
            shapes=input_shapes(graph, self.profile) if sized else None,
            source=graph,
            lookahead=lookahead,
            layer=layer,
            of_features=lambda: self.stream(n, lookahead=lookahead, features=True),
        )

    def summary(self, shapes: Mapping[str, Sequence[int]] | None = None) -> str:
        """The layers with their shapes and costs, the shifts, and the totals, as text.

        ``shapes`` are those of the inputs; one clip of the profile's size unless given.
        """
        lines = summary_lines(
            self.name, self.graph, self.engine, shapes or self.input_shapes(), self.profile.measured
        )
        return "\n".join(
            [*lines, f"takes          {self._takes()}", f"gives          {self.output}"]
        )

    def _takes(self) -> str:
        """What the inputs hold, as the file declares them and the profile prepares them."""
        spec = self.profile.preprocess
        plain = not any(spec.mean) and all(value == 1 for value in spec.std)
        values = ("0 to 255" if spec.scale == 1 else f"0 to {255 * spec.scale:g}") if plain else (
            "normalised values"
        )  # fmt: skip
        views = self.form.inputs if self.form else ()
        declared = ", ".join(f"{view} {view.dtype}" for view in views) or ", ".join(
            f"{name} (N, C, T, H, W)" for name in self.input_shapes()
        )
        return f"{declared}; {values}, {spec.channel_order.upper()}"

    def input_shapes(self, batch: int = 1) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs for `batch` clips as the profile samples and crops them."""
        return input_shapes(self.graph, self.profile, batch)

    def digest(self) -> str:
        """A SHA-256 of graph and weights: equal for equal networks, whatever their files."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        found = hashlib.sha256(self.graph.to_json().encode())
        for name, value in sorted(self._get_weights().items()):
            numbers = np.ascontiguousarray(plain_numbers(value))
            kind = numbers.dtype.name if numbers.dtype.kind in "iu" else ""
            found.update(f"{name}{kind}".encode() + numbers.tobytes())
        return found.hexdigest()

    def _given(self, name: str, value: Array) -> Array:
        """An input as the engine takes it; whole numbers where the file takes bytes."""
        if isinstance(value, str | PathLike):
            raise UsageError(
                f"the input {name!r} is a path: model.recognize({fspath(value)!r}) takes a video"
            )
        try:
            array = np.asarray(value)
        except ValueError:
            raise UsageError(f"the input {name!r} has rows of unequal lengths") from None
        if self.form is not None and array.dtype == np.uint8 and self.form.takes_bytes(name):
            return array.astype(np.float32)
        if array.dtype.kind != "f":
            raise UsageError(
                f"the input {name!r} is {array.dtype}: preprocessed values are floating point"
            )
        return array

    def _only_input(self) -> str:
        names = [entry.name for entry in self.graph.inputs]
        if len(names) != 1:
            raise UsageError(f"the model {self.name!r} has the inputs {names}: give them to `run`")
        return names[0]


def load(
    name_or_path: str | PathLike[str],
    *,
    profile: str | PathLike[str] | Profile | None = None,
    labels: Labels | None = None,
    engine: str = "auto",
    threads: int = 1,
    precision: str = "float32",
    **facts: Any,
) -> Model:
    """Load a model by the name under which it ships, or from a file.

    ``profile`` (one of `tsm_ref.profile.PROFILES` by name, a ``.toml`` or ``.json`` file, or one of
    your own) says what a foreign file does not; ``facts`` set single facts of it, such as
    ``segments=16`` (see `tsm_ref.profile_files.changed`). ``labels`` are the classes in index
    order, a file of them, or a list that ships, such as "kinetics400"; those of several heads are a
    mapping by output, or a JSON object of lists. ``engine`` is "auto",
    "numba" or "numpy". ``precision`` "bfloat16" rounds what convolutions multiply to 8 bits, which
    is faster on processors that can (``docs/precisions.md``).

    Raises `CheckpointError` for a file that is missing, damaged or not understood, and
    `UsageError` for an unknown profile or engine, and for labels that are not one per class.

    >>> load("no/such/file.h5")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tsm_ref.errors.CheckpointError: there is no model and no file 'no/such/file.h5'; ...
    """
    path = files.resolve(name_or_path).absolute()
    found = meant_as(partial(_read, path), profile, labels, facts)
    for sentence in found.warnings:
        warnings.warn(f"{path.name}: {sentence}", stacklevel=2)
    name = fspath(name_or_path)
    declared = (found.graph, found.inputs, found.outputs, found.states)
    return Model(
        found.graph,
        KeptWeights(found.weights),
        found.profile,
        name=name if name in files.names() else Path(name).name,
        sha256=found.sha256,
        engine=engine,
        threads=threads,
        precision=precision,
        first=found.weights,
        form=partial(FileForm.on, *declared) if found.inputs else None,
        warnings=found.warnings,
        notes=found.extra,
    )


def build(
    architecture: str,
    *,
    num_classes: int | Mapping[str, int] | None = None,
    segments: int | None = None,
    placement: str | None = None,
    causal: bool = False,
    fold_div: int | None = None,
    fill: str | None = None,
    frame_depth: int | None = None,
    head: str = "mean",
    seed: int = 0,
    engine: str = "auto",
    threads: int = 1,
    precision: str = "float32",
    **options: Any,
) -> Model:
    """A model of random, seeded weights with sane batch-norm statistics.

    ``architecture`` is a name of `tsm_ref.models.ARCHITECTURES`; ``num_classes`` defaults to 400,
    those of a detector to 30, ``segments`` to 8 frames and ``fold_div`` to 8 (none, 20 and 3 for
    TS-CAN; none, 3 and 3 for BigSmall). ``fill`` is the family's, circular for BigSmall and zero
    for all others.
    ``frame_depth`` are the frames within which the networks of a pulse shift: all, unless given.
    ``placement`` is "blockres" unless given, or "none" for networks that convolve in time (C3D,
    I3D, R(2+1)D, P3D, S3D, ECO-Lite), which have nothing to shift, and clips of their own length
    and size.
    ``head`` is "mean", TSN's average of the logits over time, or "trn", the multi-scale relations
    of TRN (`tsm_ref.passes.relations`), for clips of ``segments`` frames.
    ``options`` go to the architecture, such as ``width`` of MobileNetV2. A mapping of names to
    numbers of classes makes several heads, such as ``num_classes={"verb": 97, "noun": 300}``.

    Raises `UsageError` for an unknown architecture or an option that cannot be.

    >>> build("resnet18", num_classes=5, engine="numpy").graph.parameter_count
    11179077
    """
    family = architecture_named(architecture)
    check_options(architecture, options)
    base = PROFILES[family.profile]
    placement = family.placements[0] if placement is None else placement
    if num_classes is None and family.classifies:
        num_classes = family.classes
    heads = dict(num_classes) if isinstance(num_classes, Mapping) else {}
    counts = [("num_classes", classes, 1) for classes in (heads.values() or [num_classes])]
    for name, value, least in (*counts, ("seed", seed, 0)):
        if value is not None and (type(value) is not int or not least <= value <= MOST):
            raise UsageError(f"`{name}` (={value!r}) must be a whole number of {least} to {MOST}")
    if head not in HEADS or (head != "mean" and (heads or not family.classifies)):
        raise UsageError(
            f'`head` (={head!r}) must be one of {", ".join(HEADS)}, and "trn" is for one head of '
            "classes"
        )
    if not family.shifts and (causal or fold_div or fill or frame_depth):
        raise UsageError(f"{architecture} convolves in time: there is no shift to be set")
    frames, size = family.clip or (base.sampling.segments, None)
    segments = frames if segments is None else segments
    placement = placement or family.placements[0]
    spec = base.preprocess
    if options.get("in_channels") == 10:
        flow = PROFILES["mit-flow"].preprocess
        spec = replace(spec, mean=flow.mean, std=flow.std)
    if size is not None:
        spec = replace(spec, short_side=size * 8 // 7, crop=(size, size))
    try:
        shift = ShiftRule(
            "online" if causal else base.shift.rule,
            base.shift.divisor if fold_div is None else fold_div,
            base.shift.fill if fill is None else fill,
            (frame_depth or segments) if base.shift.segment and not causal else 0,
        )
        profile = base.with_changes(
            family="tsm_ref",
            shift=shift,
            placement=placement,
            sampling=Sampling("uniform", segments),
            preprocess=spec,
        )
        count = 1 if isinstance(num_classes, Mapping) else num_classes
        graph = build_graph(
            architecture, num_classes=count, placement=placement, shift=shift, **options
        )
        graph = with_heads(graph, heads) if heads else graph
        if head == "trn":
            graph = with_relations(graph, segments, int(count or 0))
    except (ValueError, TypeError, GraphError) as error:
        said = str(error).replace("`divisor`", "`fold_div`")
        raise UsageError(f"cannot build {architecture!r}: {said}") from None
    if graph.parameter_count > MOST:
        raise UsageError(f"{graph.parameter_count:,} parameters were asked for; at most {MOST:,}")
    how: dict[str, Any] = {"engine": engine, "threads": threads, "precision": precision}
    return Model(graph, partial(random_weights, graph, seed), profile, **how)


def save(
    model: Model,
    path: str | PathLike[str],
    *,
    storage: str = "float32",
    extra: Mapping[str, str] | None = None,
) -> str:
    """Write a model file in our HDF5 format, whole or not at all; returns its SHA-256.

    ``storage`` is "float32" or "float16"; ``extra`` are free notes such as a licence, which are
    written beside those of the model.

    Raises `UsageError` for another storage, `WriteError` where the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digest = save(build("ts-can", engine="numpy"), f"{folder}/mine.h5")
    ...     load(f"{folder}/mine.h5", profile=None, engine="numpy").sha256 == digest
    True
    """
    weights, notes = model.weights, {**model.notes, **(extra or {})}
    try:
        return files.save(path, model.graph, weights, model.profile, storage=storage, extra=notes)
    except TsmError as error:
        raise error.about(path) from None


def _read(path: Path, profile: Profile | None, facts: Mapping[str, Any]) -> files.Checkpoint:
    try:
        return files.load_checkpoint(path, profile, facts)
    except CheckpointError as error:
        raise error.about(path) from None


def _restored(
    kind: type[Model], graph: Graph, weights: KeptWeights, profile: Profile, known: dict[str, Any]
) -> Model:
    return kind(graph, weights, profile, **known)
