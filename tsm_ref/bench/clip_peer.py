"""A video file as people recognise it today: PyAV, OpenCV's resize, and ONNX Runtime."""

import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.checkpoint import export_onnx
from tsm_ref.model import Model
from tsm_ref.recognition import Recognition

__all__ = ["clip_peer"]

Array = NDArray[Any]


def clip_peer(
    model: Model, seen: Recognition, path: str, threads: int
) -> Callable[[], Array] | None:
    """Return what recognises a file once more, on the frames that `seen` looked at; its logits.

    None where OpenCV or ONNX Runtime is missing, or where the model looks at more than whole
    frames made small. The pictures differ a little, since OpenCV makes small otherwise.
    """
    shape = model.profile.preprocess
    size = shape.size if shape.crop is None and shape.short_side is None else None
    if size is None or seen.indices.ndim != 2:
        return None
    if not (find_spec("cv2") and find_spec("onnxruntime")):
        return None
    session = _session(model, seen.indices.shape[1], size, threads)
    name = session.get_inputs()[0].name

    def run() -> Array:
        small = _small(path, set(seen.indices.ravel().tolist()), size, threads)
        scaled = {k: (v * shape.scale - shape.mean) / shape.std for k, v in small.items()}
        clips = (np.stack([scaled[i] for i in window]) for window in seen.indices.tolist())
        given = (clip.transpose(3, 0, 1, 2)[None].astype(np.float32) for clip in clips)
        return np.concatenate([session.run(None, {name: clip})[0] for clip in given])

    return run


def _session(model: Model, frames: int, size: Sequence[int], threads: int) -> Any:
    onnxruntime: Any = import_module("onnxruntime")
    sizes = {"N": 1, "T": frames, "H": size[0], "W": size[1]}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "network.onnx")
        export_onnx(model.graph, model.weights, made, sizes=sizes, profile=model.profile)
        return onnxruntime.InferenceSession(str(made), options)


def _small(path: str, wanted: set[int], size: Sequence[int], threads: int) -> dict[int, Array]:
    """The wanted frames of a file, each as (H, W, 3) bytes of RGB."""
    import av
    import cv2

    cv2.setNumThreads(threads)
    found = {}
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                picture = frame.to_ndarray(format="rgb24")
                found[index] = cv2.resize(picture, tuple(size)[::-1], interpolation=cv2.INTER_AREA)
    return found
