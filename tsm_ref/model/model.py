"""A model: a graph, what it means, and an engine that runs it."""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine import Engine, make_engine
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph
from tsm_ref.graph_json import to_json
from tsm_ref.model.described import as_html, facts_of, measured_in
from tsm_ref.model.features import FeatureNetworks
from tsm_ref.model.file_form import FileForm
from tsm_ref.model.kept_weights import KeptWeights, plain_numbers
from tsm_ref.model.meaning import check_labels, input_shapes
from tsm_ref.model.scores import logits_of
from tsm_ref.model.stream import ModelStream
from tsm_ref.model.summary import Shift, shifts_of, summary_lines
from tsm_ref.passes.features import layers
from tsm_ref.profile import Profile
from tsm_ref.reference import consensus, sigmoid, softmax
from tsm_ref.system.terminal import printable

if TYPE_CHECKING:
    from tsm_ref.recognition import Recognition

__all__ = ["Model", "Shift"]

Array = NDArray[Any]
Weights = Mapping[str, Array]


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

        >>> import tsm_ref
        >>> tsm_ref.build("mobilenetv2", num_classes=5, placement="none", engine="numpy")
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
        return dict(self._get_weights())

    @property
    def precision(self) -> str:
        """What convolutions multiply in: "float32", "bfloat16" if asked, "int8" if quantised."""
        return "int8" if self.graph.quantised else str(self._options["precision"])

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

        >>> import tsm_ref
        >>> model = tsm_ref.build("resnet18", num_classes=5, engine="numpy")
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

        >>> import tsm_ref
        >>> tsm_ref.build("resnet18", num_classes=2, engine="numpy").probabilities(np.zeros((1, 2)))
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

        >>> import tsm_ref
        >>> model = tsm_ref.build("resnet18", num_classes=5, engine="numpy")
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
        measured = measured_in(self.precision, self.profile.measured)
        inputs = shapes or self.input_shapes()
        lines = summary_lines(self.name, self.graph, self.engine, inputs, measured)
        return "\n".join(
            [*lines, f"takes          {self._takes()}", f"gives          {self._gives()}"]
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

    def _gives(self) -> str:
        """What the outputs are, those of a kind together; scores of classes have no names."""
        shapes, kinds = self.graph.shapes(self.input_shapes()), dict[str, list[str]]()
        for name in self.graph.outputs:
            per_frame = self.graph.node[name].op == "Squeeze" if name in self.graph.node else False
            kind = "a number for each frame (N, T)" if per_frame else self.output
            kind = "maps (N, C, T, H, W)" if len(shapes[name]) == 5 else kind
            kinds.setdefault(kind, []).append(name)
        if list(kinds) == [self.output]:
            return self.output
        return "; ".join(f"{', '.join(names)}: {kind}" for kind, names in kinds.items())

    def input_shapes(self, batch: int = 1) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs for `batch` clips as the profile samples and crops them."""
        return input_shapes(self.graph, self.profile, batch)

    def digest(self) -> str:
        """A SHA-256 of graph and weights: equal for equal networks, whatever their files."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        found = hashlib.sha256(to_json(self.graph).encode())
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


def _restored(
    kind: type[Model], graph: Graph, weights: KeptWeights, profile: Profile, known: dict[str, Any]
) -> Model:
    return kind(graph, weights, profile, **known)
