"""Writes the small model files of this folder: ``python -m tests.data.make``.

Each is in a form that people's exporters and trainers write, made without any of them. Beside them
stands ``answers.npz``: what plain NumPy makes of a clip with the same weights, in float64.
"""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.checkpoint import frame_networks as nets
from tests.checkpoint.keras_writer import Writer, save_model
from tests.checkpoint.torch_writer import legacy_file, zip_file
from tests.data import onnx_exports

HERE = Path(__file__).resolve().parent
BLOCKS, WIDTH, CLASSES = (1, 1, 1, 1), 2, 5
CLIP = np.random.default_rng(8).standard_normal((4, 3, 32, 32)).astype(np.float32)
"""Four frames of three channels."""

Array = Any
TENSORS = {
    "TSM_x_shift8_blockres_avg_segment4_e1.pth.tar": "mit",
    "tsm_r18-1x1x4_mmaction2.pth": "mmaction2",
    "mit.safetensors": "mit",
    "TSM_paddlevideo.pdparams": "paddle",
}
"""Files of named tensors, of a network of 4,600 numbers, and whose conventions they follow."""

KERAS = "keras-2-model.h5"


def mit(layer: Any) -> tuple[str, tuple[str, ...]]:
    """The names of a convolution and its norm in files of MIT."""
    roles = ("weight", "bias", "running_mean", "running_var")
    root = "module.base_model"
    if isinstance(layer, str):
        return f"{root}.conv1.weight", tuple(f"{root}.bn1.{role}" for role in roles)
    stage, block, i = layer
    place = f"{root}.layer{stage + 1}.{block}"
    if i < 0:
        return f"{place}.downsample.0.weight", tuple(f"{place}.downsample.1.{r}" for r in roles)
    weight = f"{place}.conv{i + 1}{mark(stage, i)}.weight"
    return weight, tuple(f"{place}.bn{i + 1}.{role}" for role in roles)


def mmaction2(layer: Any) -> tuple[str, tuple[str, ...]]:
    """The same in files of MMAction2."""
    roles = ("weight", "bias", "running_mean", "running_var")
    if isinstance(layer, str):
        place, net = "backbone.conv1", ""
    else:
        stage, block, i = layer
        part = "downsample" if i < 0 else f"conv{i + 1}"
        place, net = f"backbone.layer{stage + 1}.{block}.{part}", mark(stage, i)
    return f"{place}.conv{net}.weight", tuple(f"{place}.bn.{role}" for role in roles)


def paddle(layer: Any) -> tuple[str, tuple[str, ...]]:
    """The same in files of PaddleVideo."""
    roles = ("weight", "bias", "_mean", "_variance")
    if isinstance(layer, str):
        place = "backbone.conv"
    else:
        stage, block, i = layer
        place = f"backbone.res{stage + 2}{chr(97 + block)}.{'short' if i < 0 else f'conv{i}'}"
    return f"{place}._conv.weight", tuple(f"{place}._batch_norm.{role}" for role in roles)


def mark(stage: int, i: int) -> str:
    """What marks a convolution behind a shift; layers of fewer than 8 channels shift nothing."""
    return ".net" if i == 0 and WIDTH * 2 ** (stage - 1) >= 8 else ""


NAMES = {"mit": mit, "mmaction2": mmaction2, "paddle": paddle}
HEADS = {"mit": "module.new_fc", "mmaction2": "cls_head.fc_cls", "paddle": "head.fc"}


def layers() -> dict[Any, tuple[int, ...]]:
    return nets.residual_shapes(BLOCKS, WIDTH, stem=((WIDTH, 3, 7),), bottleneck=False)


def tensors(family: str) -> dict[str, Array]:
    """The same numbers under the names of a family."""
    found: dict[str, Array] = {}
    for seed, (layer, shape) in enumerate(layers().items()):
        weight, norm = NAMES[family](layer)
        own = nets.drawn({weight: shape, **dict.fromkeys(norm, shape[:1])}, seed)
        scale, _, _, variance = norm
        own[scale], own[variance] = (np.abs(own[n]) + np.float32(0.5) for n in (scale, variance))
        found |= own
    size = WIDTH * 2 ** (len(BLOCKS) - 1)
    head = nets.drawn({"weight": (CLASSES, size), "bias": (CLASSES,)}, 99)
    weight = head["weight"].T.copy() if family == "paddle" else head["weight"]
    return found | {f"{HEADS[family]}.weight": weight, f"{HEADS[family]}.bias": head["bias"]}


def answer(family: str) -> Array:
    """The logits (K,) of `CLIP` in float64."""
    held = {name: np.float64(value) for name, value in tensors(family).items()}

    def layer(x: Array, name: Any, stride: int) -> Array:
        weight, norm = NAMES[family](name)
        return nets.normalised(nets.convolved(x, held[weight], stride), *(held[n] for n in norm))

    def shift(x: Array) -> Array:
        return nets.paddle_shift(x, 1 / 8) if family == "paddle" else nets.mit_shift(x, 8)

    clip = np.float64(CLIP)
    features = nets.residual_network(clip, layer, BLOCKS, bottleneck=False, shift=shift).mean(0)
    weight = held[f"{HEADS[family]}.weight"]
    return features @ (weight if family == "paddle" else weight.T) + held[f"{HEADS[family]}.bias"]


def keras() -> tuple[str, dict[str, Array], Array]:
    """A whole model of Keras 2 for single frames: its JSON, its weights, and its logits (K,)."""
    values = nets.drawn(
        {"conv": (8, 3, 3, 3), "bias": (8,), "fc": (CLASSES, 8), "b": (CLASSES,)}, 21
    )
    network = Writer(32, 32)
    x = network.conv("input", "conv", 8, 3)
    network.classes(network.relu(x, "relu"), CLASSES)
    held = {
        "conv/kernel": values["conv"].transpose(2, 3, 1, 0),
        "conv/bias": values["bias"],
        "predictions/kernel": values["fc"].T,
        "predictions/bias": values["b"],
    }
    y = nets.convolved(np.float64(CLIP), np.float64(values["conv"]))
    features = nets.relu(y + values["bias"][:, None, None]).mean((0, 2, 3))
    return network.json(), held, features @ np.float64(values["fc"]).T + values["b"]


def write(folder: Path) -> None:
    """Every file of this folder, into another one or over the old ones."""
    answers: dict[str, Array] = {}
    for name, form in onnx_exports.FORMS.items():
        made = onnx_exports.model(form.write, form.opset)
        (folder / f"{name}.onnx").write_bytes(made.SerializeToString(deterministic=True))
        answers[f"{name}.onnx"] = onnx_exports.answer(form.d, form.fill)
    others = {"broken": onnx_exports.model(onnx_exports.lost, 11), "online": onnx_exports.online()}
    for name, made in others.items():
        (folder / f"onnx-{name}.onnx").write_bytes(made.SerializeToString(deterministic=True))
    late = [1] * onnx_exports.F + [0] * (onnx_exports.C - onnx_exports.F)
    answers["onnx-online.onnx"] = onnx_exports.answer(late, "zero")
    for name, family in TENSORS.items():
        _write_tensors(folder / name, tensors(family))
        answers[name] = answer(family)
    network, held, answers[KERAS] = keras()
    save_model(folder / KERAS, held, network)
    np.savez(folder / "answers.npz", **answers)


def _write_tensors(path: Path, values: dict[str, Array]) -> None:
    if path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file(values, path)
    elif path.suffix == ".pdparams":
        path.write_bytes(pickle.dumps(values, protocol=2))
    elif path.suffix == ".tar":
        path.write_bytes(zip_file({"epoch": 1, "arch": "resnet18", "state_dict": values}))
    else:
        path.write_bytes(legacy_file({"meta": {"epoch": 1}, "state_dict": values}))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
