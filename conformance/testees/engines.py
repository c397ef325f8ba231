"""Our own engines as testees like any other, through the public classes of tsm_ref.

Every operation becomes a graph of its own, of one node or of a whole network, and is run by the
NumPy or the Numba engine; streams, sampling, preprocessing and recognition are those of the
package. This module and the others named ``engine_...`` alone know the engines.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions, conventions_of
from conformance.questions.families import ARCHITECTURES, FAMILIES
from conformance.testees import engine_families as families
from conformance.testees import engine_graphs as graphs
from conformance.testees.engine_quantised import QuantisedOperations
from tsm_ref.detection import regions

Weights = Mapping[str, Array]

LARGEST = (1 << 20, 1 << 20)
"""Height and width of a picture beyond every box that is asked about."""

SIMPLE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "relu6": ("Clip", {"min": 0.0, "max": 6.0}),
    "hard_sigmoid": ("HardSigmoid", {}),
    "hard_swish": ("HardSwish", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "consensus": ("Consensus", {}),
    "attention_mask": ("AttentionMask", {}),
}


class EngineTestee(QuantisedOperations):
    """An engine of tsm_ref, ``numpy`` or ``numba``, under a profile."""

    def __init__(self, engine: str, conventions: str | Conventions = "mit") -> None:
        self.engine = engine
        self.conventions = conventions_of(conventions)
        self.declaration = {
            "name": f"tsm_ref {engine}",
            "language": "Python, NumPy" + (", Numba" if engine == "numba" else ""),
            "profile": self.conventions.as_dict(),
            "capabilities": {
                "exact": engine != "numba",
                "bitwise_streaming": engine == "numba",
                "quantised": True,
                "architectures": list(ARCHITECTURES),
            },
        }

    # One node

    def temporal_shift(self, x: Array, fold_div: int) -> Array:
        """The profile's shift."""
        d = self.conventions.d(_channels(x), fold_div)
        return self._node("TemporalShift", [x], d=_ints(d), fill=self.conventions.fill)

    def shift_by(self, x: Array, d: Any, fill: str) -> Array:
        """Any shift."""
        return self._node("TemporalShift", [x], d=_ints(d), fill=fill)

    def conv(
        self,
        x: Array,
        weight: Array,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: Array | None = None,
    ) -> Array:
        """A convolution."""
        arrays = [x, weight] if bias is None else [x, weight, bias]
        attributes = {"strides": stride, "pads": [*padding, *padding], "dilations": dilation}
        return self._node("Conv", arrays, group=groups, **_tuples(attributes))

    def batch_norm(
        self, x: Array, mean: Array, variance: Array, scale: Array, shift: Array, eps: float
    ) -> Array:
        """Batch norm."""
        return self._node("BatchNormalization", [x, scale, shift, mean, variance], epsilon=eps)

    def __getattr__(self, name: str) -> Any:
        if name not in SIMPLE:
            raise AttributeError(name)
        op, attributes = SIMPLE[name]
        return lambda x: self._node(op, [x], **attributes)

    def leaky_relu(self, x: Array, slope: float) -> Array:
        """Leaky ReLU."""
        return self._node("LeakyRelu", [x], alpha=slope)

    def softmax(self, x: Array, axis: int) -> Array:
        """Softmax."""
        return self._node("Softmax", [x], axis=axis)

    def max_pool(
        self,
        x: Array,
        kernel: Any,
        stride: Any,
        padding: Any = (0, 0, 0),
        ceil_mode: bool = False,
    ) -> Array:
        """Max pooling."""
        where = {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding]}
        return self._node("MaxPool", [x], ceil_mode=ceil_mode, **_tuples(where))

    def avg_pool(
        self,
        x: Array,
        kernel: Any,
        stride: Any,
        padding: Any = (0, 0, 0),
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> Array:
        """Average pooling."""
        where = {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding]}
        rest = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
        return self._node("AveragePool", [x], **_tuples(where), **rest)

    def global_avg_pool(self, x: Array) -> Array:
        """The mean over the picture."""
        return np.asarray(self._node("GlobalAveragePool", [x])[..., 0, 0])

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """A fully connected layer."""
        return self._node("Linear", [x, weight] if bias is None else [x, weight, bias])

    def non_local(self, theta: Array, phi: Array, g: Array, mode: str) -> Array:
        """The non-local average."""
        return self._node("NonLocal", [theta, phi, g], data=3, mode=mode)

    # Objects

    def decode_boxes(self, boxes: Array, offsets: Array) -> Array:
        """Boxes that offsets make of others, in a picture that holds all of them."""
        return self._box(regions.moved, boxes, offsets, LARGEST)

    def nms(self, boxes: Array, scores: Array, threshold: float, most: int) -> Array:
        """The boxes that are kept."""
        return self._box(regions.suppressed, boxes, scores, threshold, most)

    def ps_roi_pool(self, maps: Array, boxes: Array, bins: int, stride: int) -> Array:
        """Position-sensitive pooling."""
        return self._box(regions.pooled, maps, boxes, bins, stride)

    def _box(self, function: Any, *given: Any) -> Array:
        """What a function of float64 arrays gives, in float32 where it is no whole number."""
        wide = [v.astype(np.float64) if isinstance(v, np.ndarray) else v for v in given]
        found: Array = function(*wide, compiled=self.engine == "numba")
        return found if found.dtype.kind == "i" else found.astype(np.float32)

    # Networks

    def residual_block(self, x: Array, weights: Weights, **attributes: Any) -> Array:
        """One block."""
        graph = graphs.block(_channels(x), weights, attributes, self.conventions)
        return self._run(graph, graphs.tensors(graph, weights), {"x": x})

    def network(self, x: Array, weights: Weights, **attributes: Any) -> Array:
        """A whole network."""
        if attributes["architecture"] in FAMILIES:
            return self._family(x, weights, attributes)
        graph = graphs.network(attributes, self.conventions)
        inputs = {"x": x}
        if attributes["architecture"] == "ts_can":
            inputs = {"motion": x, "appearance": attributes["appearance"]}
        tensors = graphs.tensors(graph, weights, attributes.get("flatten", "hwc"))
        return self._run(graph, tensors, inputs)

    def _family(self, x: Array, weights: Weights, attributes: Mapping[str, Any]) -> Array:
        graph = families.network(attributes, self.conventions, x.shape[2])
        engine = self.make(graph, families.tensors(graph, weights))
        values = engine.run(families.inputs(graph, x, attributes))
        return families.joined(graph, values)

    def frame_logits(self, x: Array, weights: Weights, **attributes: Any) -> Array:
        """The logits of every frame."""
        graph = graphs.network(attributes, self.conventions)
        assert graph.frame_logits is not None
        graph = graph.with_outputs([graph.frame_logits])
        return self._run(graph, graphs.tensors(graph, weights), {"x": x})

    def shifted_blocks(self, blocks: Any, placement: str) -> Array:
        """Which blocks of a ResNet have a shift."""
        return graphs.shifted_blocks(blocks, placement, self.conventions)

    def stream(self, subject: str, weights: Weights | None = None, **attributes: Any) -> Any:
        """A stream of the causal shift or network."""
        return graphs.ChunkStream(self, subject, weights or {}, attributes)

    # Video

    def sample_frames(self, policy: str, num_frames: int, segments: int) -> Array:
        """Frames by policy."""
        from tsm_ref.video import SAMPLERS

        return SAMPLERS[policy](num_frames, segments)

    def resize(self, image: Array, height: int, width: int, arithmetic: str) -> Array:
        """A picture in another size."""
        from tsm_ref.video.resize import RESIZERS

        return RESIZERS[arithmetic](image, height, width)

    def crop(self, height: int, width: int, crop: Any, crops: str, offset: str) -> Array:
        """Where the crops lie."""
        from tsm_ref.profile import Preprocess
        from tsm_ref.video.transforms import views

        spec = Preprocess(crop=tuple(crop), crops=crops, crop_offset=offset)
        return np.array([[int(v) for v in view] for view in views(height, width, spec)])

    def normalize(self, frames: Array, **how: Any) -> Array:
        """Pixels to numbers."""
        from tsm_ref.profile import Preprocess
        from tsm_ref.video import normalize

        return normalize(frames[:, None], Preprocess(**how))

    def preprocess(self, frames: Array, **how: Any) -> Array:
        """Resize, crop, normalise."""
        from tsm_ref.profile import Preprocess
        from tsm_ref.video import preprocess

        return preprocess(frames, Preprocess(**how))

    def recognize(self, film: Any, weights: Weights, **how: Any) -> dict[str, Any]:
        """A video file to JSON, as `tsm_ref.Model.recognize` sees it."""
        from tsm_ref.model import Model

        graph = graphs.network(how, self.conventions)
        tensors = graphs.tensors(graph, weights)
        profile = graphs.recognition_profile(how)
        model = Model(graph, lambda: tensors, profile, engine=self.engine)
        found = model.recognize(film, top=how["classes"])
        predictions = [{"index": p.index, "probability": p.probability} for p in found.predictions]
        return {"frames": np.asarray(found.indices).tolist(), "predictions": predictions}

    # Inside

    def make(self, graph: Any, weights: Weights) -> Any:
        """The engine over a graph."""
        from tsm_ref.engine import make_engine

        return make_engine(graph, weights, self.engine)

    def _node(self, op: str, arrays: list[Array], data: int = 1, **attributes: Any) -> Array:
        """A graph of one node; arrays behind the first `data` ones are parameters."""
        graph, inputs, weights = graphs.one_node(op, arrays, data, attributes)
        return self._run(graph, weights, inputs)

    def _run(self, graph: Any, weights: Weights, inputs: Mapping[str, Array]) -> Array:
        result: Array = self.make(graph, weights).run(inputs)[graph.outputs[0]]
        return result


def _ints(d: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in d)


def _tuples(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) for name, value in attributes.items()}


def _channels(x: Array) -> int:
    if x.ndim != 5:
        raise ValueError(f"a clip has the axes (N, C, T, H, W), not {x.shape}")
    return int(x.shape[1])
