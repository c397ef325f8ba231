"""The reference as a testee: `tsm_ref.reference` in the dtype it is given, under any profile.

It is also the body of every mutant: a wrong implementation is this one with one method replaced.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.questions import film, pixels
from conformance.questions.arrays import Array
from conformance.questions.conventions import Conventions, conventions_of
from conformance.questions.families import ARCHITECTURES, Families
from conformance.questions.quantised import Quantised
from conformance.questions.structure import Weights
from conformance.testees.reference_stream import ReferenceStream
from tsm_ref import reference


class Reference(Quantised, Families):
    """Every operation of the suite, in plain NumPy.

    >>> x = np.ones((1, 8, 2, 1, 1), np.float32)
    >>> Reference("mit").temporal_shift(x, 8)[0, :2, :, 0, 0]
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    add = staticmethod(np.add)
    multiply = staticmethod(np.multiply)
    shift_by = staticmethod(reference.temporal_shift)
    conv = staticmethod(reference.conv)
    batch_norm = staticmethod(reference.batch_norm)
    relu = staticmethod(reference.relu)
    relu6 = staticmethod(reference.relu6)
    leaky_relu = staticmethod(reference.leaky_relu)
    hard_sigmoid = staticmethod(reference.hard_sigmoid)
    hard_swish = staticmethod(reference.hard_swish)
    tanh = staticmethod(reference.tanh)
    sigmoid = staticmethod(reference.sigmoid)
    softmax = staticmethod(reference.softmax)
    max_pool = staticmethod(reference.max_pool)
    avg_pool = staticmethod(reference.avg_pool)
    global_avg_pool = staticmethod(reference.global_avg_pool)
    linear = staticmethod(reference.linear)
    consensus = staticmethod(reference.consensus)
    attention_mask = staticmethod(reference.attention_mask)
    non_local = staticmethod(reference.non_local)
    spatial_shift_by = staticmethod(reference.spatial_shift)
    decode_boxes = staticmethod(reference.decode_boxes)
    nms = staticmethod(reference.nms)
    ps_roi_pool = staticmethod(reference.ps_roi_pool)

    stream_class = ReferenceStream
    sample_frames = staticmethod(pixels.sample_frames)
    resize = staticmethod(pixels.resize)
    geometry = staticmethod(pixels.geometry)
    views = staticmethod(pixels.views)

    def __init__(self, conventions: str | Conventions = "mit") -> None:
        self.conventions = conventions_of(conventions)
        self.declaration: Mapping[str, Any] = {
            "name": "reference",
            "language": "Python, NumPy",
            "profile": self.conventions.as_dict(),
            "capabilities": {
                "dtypes": ["float16", "float32", "float64"],
                "quantised": True,
                "architectures": list(ARCHITECTURES),
            },
        }

    def moved(self, x: Array, move: Any) -> Array:
        """Any movement of data."""
        return np.ascontiguousarray(move(x))

    def concatenate(self, x: Array, y: Array) -> Array:
        """The channels of two values, one behind the other."""
        return np.concatenate([x, y], axis=1)

    def constant(self, like: Array, number: float) -> Array:
        """A number for every value of another array."""
        return np.full_like(like, number)

    def temporal_shift_adjoint(self, y: Array, fold_div: int) -> Array:
        """The transpose of the profile's shift."""
        d: Any = self.folds(y.shape[1], fold_div)
        fill: Any = self.conventions.fill
        return reference.temporal_shift_adjoint(y, d, fill)

    def stream(self, subject: str, weights: Weights | None = None, **attributes: Any) -> Any:
        """A stream of the causal shift or network."""
        return self.stream_class(self, subject, weights, **attributes)

    def crop(self, height: int, width: int, crop: Any, crops: str, offset: str) -> Array:
        """Where the crops of a picture lie."""
        return self.views(height, width, crop, crops, offset)

    def normalize(
        self, frames: Array, mean: Any, std: Any, scale: float, channel_order: str
    ) -> Array:
        """Pixels as the network wants them, in float32."""
        y = pixels.normalize(frames, mean, std, scale, channel_order)
        return y.astype(np.float32)

    def preprocess(self, frames: Array, **how: Any) -> Array:
        """Resize, crop the centre, normalise."""
        height, width = self.geometry(
            frames.shape[1], frames.shape[2], how["short_side"], how["long_side"]
        )
        (h, w), offset = how["crop"], how["crop_offset"]
        top, left, _ = self.crop(height, width, (h, w), "center", offset)[0]
        sized = [self.resize(frame, height, width, how["resize"]) for frame in frames]
        cut = np.stack([picture[top : top + h, left : left + w] for picture in sized])
        return self.normalize(cut, *(how[k] for k in ("mean", "std", "scale", "channel_order")))

    def recognize(self, path: Any, weights: Weights, **how: Any) -> dict[str, Any]:
        """A video file to frames and predictions."""
        frames = film.read_avi(Path(path))
        indices = self.sample_frames(how["policy"], len(frames), how["segments"])
        clips = np.concatenate([self.preprocess(frames[row], **how) for row in indices])
        logits = self.network(clips, weights, **how)
        p = self.averaged(logits, how["average"])
        order = np.argsort(-p, kind="stable")
        predictions = [{"index": int(k), "probability": float(p[k])} for k in order]
        return {"frames": indices.tolist(), "predictions": predictions}

    def averaged(self, logits: Array, average: str) -> Array:
        """Probabilities from the logits of every clip."""
        if average == "probabilities":
            return np.asarray(self.softmax(logits).mean(axis=0))
        return np.asarray(self.softmax(logits.mean(axis=0, keepdims=True))[0])
