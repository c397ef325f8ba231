"""Every format that we read: whole files to begin with, how they are spoiled, and who reads them.

A reader gets the path of a file and does with it what a user would: a model is loaded and run, a
video is looked through. What it raises is judged in `tests.fuzz.child`.
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.checkpoint.keras_writer import Writer, save_keras_2, save_keras_3, save_model
from tests.checkpoint.torch_writer import Pickle, legacy_file, zip_file
from tests.fuzz.mutations import (
    Rng,
    as_json,
    spoiled,
    spoiled_message,
    spoiled_safetensors,
    spoiled_tree,
)
from tsm_ref import checkpoint
from tsm_ref.checkpoint.hdf5 import native, stream_state
from tsm_ref.errors import CheckpointError, VideoError
from tsm_ref.graph import Graph
from tsm_ref.graph_json import to_json
from tsm_ref.models import random_weights
from tsm_ref.models.builder import Builder
from tsm_ref.profile import PROFILES, Profile, ShiftRule

Spoil = Callable[[bytes, Rng], bytes]

LARGEST_RUN = 50_000_000
"""Multiply-adds and values up to which a model that was read is run, too."""


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    suffix: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[Path], None]
    spoil: Spoil = spoiled


# Whole files


@cache
def network() -> tuple[Graph, dict[str, Any]]:
    """A small network of what these networks are made of."""
    b = Builder("small")
    rule = ShiftRule("mit", 4)
    x = b.input("x", ("N", 3, "T", "H", "W"))
    x = b.relu(b.conv(x, "conv1", 8, kernel=3, stride=2, padding=1, bias=True), "relu1")
    y = b.conv(b.shift(x, "shift1", rule), "conv2", 8, kernel=3, padding=1)
    y = b.batch_norm(y, "bn2")
    x = b.relu(b.add(y, x, "add"), "relu2")
    x = b.node("MaxPool", "pool", [x], 8, kernel_shape=(1, 3, 3), strides=(1, 2, 2))
    x = b.conv(x, "depthwise", 8, kernel=3, padding=1, groups=8)
    graph = b.graph([b.head(x, "fc", 4)])
    return graph, random_weights(graph)


def _written(write: Callable[[Path], Any], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"seed{suffix}")
        write(path)
        return path.read_bytes()


def _native() -> list[bytes]:
    profile = PROFILES["mit"].with_changes(labels=("a", "b", "c", "d"))
    return [
        _written(lambda p, kind=kind: native.save(p, *network(), profile, storage=kind), ".h5")
        for kind in native.STORAGES
    ]


def _native_texts() -> list[bytes]:
    """The texts of our own file, to be put into whole ones."""
    graph, _ = network()
    profile = PROFILES["mit"].with_changes(labels=("a", "b", "c", "d"))
    return [as_json({"graph": json.loads(to_json(graph)), "profile": profile.as_dict()}).encode()]


def _spoiled_native(data: bytes, rng: Rng) -> bytes:
    """Our own file with every digest right and another graph or profile."""
    tree = json.loads(data)
    part = "graph" if rng.random() < 0.6 else "profile"
    texts = {name: as_json(value) for name, value in tree.items()}
    texts[part] = as_json(spoiled_tree(tree[part], rng))
    texts["extra"] = "{}"
    arrays = {name: np.frombuffer(text.encode(), np.uint8) for name, text in texts.items()}
    _, weights = network()
    return native._image(arrays, weights, "float32")


def _states() -> list[bytes]:
    state = {"x[0:3]": np.ones((1, 3), np.float32), "counts": np.arange(3)}
    return [_written(lambda p: stream_state.save_state(p, state, "0123"), ".h5")]


def _keras() -> list[bytes]:
    w = Writer(16, 16)
    x = w.relu(w.norm(w.conv("input", "conv", 8, 3), "bn", 1e-3), "relu")
    w.classes(x, 4)
    rng = np.random.default_rng(0)
    shapes = {"conv/kernel": (3, 3, 3, 8), "conv/bias": (8,), "predictions/kernel": (8, 4)}
    shapes |= {f"bn/{role}": (8,) for role in ("gamma", "beta", "moving_mean", "moving_variance")}
    shapes |= {"predictions/bias": (4,)}
    values = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    return [
        _written(lambda p: save_model(p, values, w.json()), ".h5"),
        _written(lambda p: save_keras_2(p, values), ".h5"),
        _written(lambda p: save_keras_3(p, values), ".weights.h5"),
    ]


def _spoiled_keras(data: bytes, rng: Rng) -> bytes:
    """A whole Keras model whose JSON says something else; or any accident."""
    if rng.random() < 0.5:
        return spoiled(data, rng)
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as h5:
        if "model_config" in h5.attrs:
            tree = spoiled_tree(json.loads(h5.attrs["model_config"]), rng)
            h5.attrs["model_config"] = as_json(tree)
    return file.getvalue()


def _onnx() -> list[bytes]:
    sizes = {"T": 4, "H": 16, "W": 16}
    mit, online = (
        PROFILES["mit"].with_changes(shift=ShiftRule(rule, 3)) for rule in ("mit", "online")
    )
    whole, step = checkpoint.export_onnx, checkpoint.export_onnx_stream
    return [
        _written(lambda p: whole(*network(), p, sizes=sizes, profile=mit), ".onnx"),
        _written(lambda p: step(*_causal(), p, sizes=sizes, profile=online), ".onnx"),
    ]


def _causal() -> tuple[Graph, dict[str, Any]]:
    b = Builder("causal")
    x = b.input("x", ("N", 3, "T", "H", "W"))
    x = b.conv(b.shift(x, "shift", ShiftRule("online", 3)), "conv", 4, kernel=3, padding=1)
    graph = b.graph([b.head(b.relu(x, "relu"), "fc", 3)])
    return graph, random_weights(graph)


TREE = {
    "epoch": 3,
    "state_dict": {
        "module.conv.weight": np.ones((2, 3, 3, 3), np.float32),
        "module.fc.bias": np.arange(5, dtype=np.float64),
        "module.count": np.array(7),
    },
    "args": ["x", 2.5, None, True, (1, 2)],
}


def _torch_zip() -> list[bytes]:
    return [zip_file(TREE), zip_file(TREE["state_dict"], compression=zipfile.ZIP_DEFLATED)]


def _torch_legacy() -> list[bytes]:
    return [legacy_file(TREE), Pickle().finished({"a": [1, 2.5, "x"], "b": {"c": (None, True)}})]


def _spoiled_zip(data: bytes, rng: Rng) -> bytes:
    """A zip file of right checksums around a pickle that is not; or any accident."""
    if rng.random() < 0.3:
        return spoiled(data, rng)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        wanted = names[int(rng.integers(len(names)))] if rng.random() < 0.3 else "archive/data.pkl"
        for name in names:
            content = old.read(name)
            new.writestr(name, spoiled(content, rng) if name == wanted else content)
    return made.getvalue()


def _safetensors() -> list[bytes]:
    graph, weights = network()
    profile = PROFILES["mit"]
    write = checkpoint.save_safetensors
    return [_written(lambda p: write(p, graph, weights, profile), ".safetensors")]


def _safetensors_either(data: bytes, rng: Rng) -> bytes:
    return (spoiled if rng.random() < 0.4 else spoiled_safetensors)(data, rng)


VIDEOS: Mapping[str, tuple[str, str]] = {
    ".mp4": ("mpeg4", "yuv420p"),
    ".mov": ("libx264", "yuv420p"),
    ".mkv": ("libx264", "yuv420p"),
    ".webm": ("libvpx-vp9", "yuv420p"),
    ".avi": ("mjpeg", "yuvj420p"),
    ".ts": ("mpeg2video", "yuv420p"),
    ".flv": ("flv1", "yuv420p"),
    ".gif": ("gif", "rgb8"),
    ".ogv": ("libtheora", "yuv420p"),
    ".y4m": ("rawvideo", "yuv420p"),
    ".nut": ("ffv1", "yuv420p"),
    ".mxf": ("mpeg2video", "yuv420p"),
}
"""Containers, and a codec for each."""


def _video(suffix: str) -> list[bytes]:
    import av

    codec, pixels = VIDEOS[suffix]

    def write(path: Path) -> None:
        names = {".y4m": "yuv4mpegpipe", ".ogv": "ogg", ".ts": "mpegts"}
        with av.open(str(path), "w", format=names.get(suffix)) as output:
            stream = output.add_stream("wrapped_avframe" if suffix == ".y4m" else codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
            y, x = np.mgrid[0:32, 0:48]
            for index in range(8):
                image = np.stack([x * 3, y * 5, x + 2 * y + 7 * index], -1).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                output.mux(stream.encode(frame.reformat(format=pixels)))
            output.mux(stream.encode(None))

    try:
        return [_written(write, suffix)]
    except (av.FFmpegError, ValueError):  # an FFmpeg without that encoder
        return []


# Readers


def _run(found: checkpoint.Checkpoint) -> None:
    """Run what was read, on both engines, where it is small."""
    from tsm_ref.engine.on_numba.engine import NumbaEngine
    from tsm_ref.engine.on_numpy.engine import NumpyEngine

    sizes = {"N": 1, "T": 4, "H": 16, "W": 16}
    shapes = {
        entry.name: tuple(sizes.get(d, 1) if isinstance(d, str) else d for d in entry.shape)
        for entry in found.graph.inputs
    }
    values = sum(int(np.prod(shape, dtype=float)) for shape in found.graph.shapes(shapes).values())
    if values + sum(found.graph.multiply_adds(shapes).values()) > LARGEST_RUN:
        return
    clips = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for engine in (NumpyEngine, NumbaEngine):
        engine(found.graph, found.weights).run(clips)


def _model(path: Path) -> None:
    _run(checkpoint.load_checkpoint(path))


def _foreign(path: Path) -> None:
    """A file of others: as it is, and where it does not say enough, under a profile."""
    try:
        _run(checkpoint.load_checkpoint(path))
    except CheckpointError:
        _run(checkpoint.load_checkpoint(path, PROFILES["mit"]))


def _tensors(path: Path) -> None:
    """Every tensor of a file that belongs to no network of ours; then what a user would do."""
    from tsm_ref.checkpoint.tensors.torch import read_torch

    for entry in read_torch(path).entries.values():
        entry.read()
    _foreign(path)


def _state(path: Path) -> None:
    like = {"x[0:3]": np.zeros((1, 3), np.float32), "counts": np.zeros(3, np.int64)}
    stream_state.load_state(path, like, "0123")


def _clip(path: Path) -> None:
    """Look through a video as a user does, once strictly and once with what decodes."""
    from tsm_ref.video import frames, survey

    try:
        survey(path, max_pixels=1 << 20)
    except VideoError:
        with frames(path, allow_partial=True, max_pixels=1 << 20, max_frames=50) as source:
            for _ in source:
                pass
        raise
    with frames(path, max_pixels=1 << 20, max_frames=50) as source:
        for _ in source:
            pass


def _profile(path: Path) -> None:
    Profile.from_json(path.read_text("utf-8", "replace"))


def _registry(path: Path) -> None:
    from tsm_ref.checkpoint import registry

    registry.published(path.parent)


def _npy(path: Path) -> None:
    from conformance.questions.files import BadFile, read_npy

    try:
        read_npy(path)
    except BadFile as error:
        raise CheckpointError(str(error)) from None


def _npy_seeds() -> list[bytes]:
    made = []
    for array in (np.ones((2, 3), np.float32), np.arange(6).reshape(2, 3).T):
        file = io.BytesIO()
        np.save(file, array)
        made.append(file.getvalue())
    return made


def _profile_seeds() -> list[bytes]:
    return [profile.to_json().encode() for profile in PROFILES.values()]


def _registry_seeds() -> list[bytes]:
    return [(checkpoint.weights_folder() / "registry.toml").read_bytes()]


def _spoiled_json(data: bytes, rng: Rng) -> bytes:
    if rng.random() < 0.3:
        return spoiled(data, rng)
    return as_json(spoiled_tree(json.loads(data), rng)).encode()


FORMATS: Mapping[str, Format] = {
    "hdf5": Format(".h5", _native, _model),
    "hdf5-texts": Format(".h5", _native_texts, _model, _spoiled_native),
    "state": Format(".h5", _states, _state),
    "keras": Format(".h5", _keras, _foreign, _spoiled_keras),
    "onnx": Format(".onnx", _onnx, _model),
    "onnx-message": Format(".onnx", _onnx, _model, spoiled_message),
    "torch-zip": Format(".pth", _torch_zip, _tensors, _spoiled_zip),
    "torch-legacy": Format(".pth", _torch_legacy, _tensors),
    "safetensors": Format(".safetensors", _safetensors, _model, _safetensors_either),
    "profile": Format(".json", _profile_seeds, _profile, _spoiled_json),
    "registry": Format(".toml", _registry_seeds, _registry),
    "npy": Format(".npy", _npy_seeds, _npy),
    **{
        f"video{suffix}": Format(suffix, lambda suffix=suffix: _video(suffix), _clip)
        for suffix in VIDEOS
    },
}


def mutant(name: str, seed: int, index: int) -> bytes:
    """The file number `index` of a format: the same for the same numbers, whoever asks."""
    kind = FORMATS[name]
    seeds = _seeds(name)
    rng = np.random.default_rng([seed, index, *name.encode()])
    return kind.spoil(seeds[index % len(seeds)], rng)


@cache
def _seeds(name: str) -> Sequence[bytes]:
    return FORMATS[name].seeds()


def usable(name: str) -> bool:
    """Whether there is a file to begin with: not every FFmpeg writes every codec."""
    return bool(_seeds(name))
