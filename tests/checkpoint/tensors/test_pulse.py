"""TS-CAN, MTTS-CAN, EfficientPhys and BigSmall as the rPPG-Toolbox saves them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import tensors_of
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.engine.oracle import run_oracle
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import build_big_small, build_efficient_phys, build_ts_can, random_weights
from tsm_ref.profile import ShiftRule

RULE = ShiftRule("mtts_can", 3, "zero", segment=10)
HEADS = ("pulse", "respiration")


def can(size: int, heads: Any = ("pulse",)) -> Graph:
    name = "ts-can" if len(heads) == 1 else "mtts-can"
    small = {"filters": (4, 8), "hidden": 6, "size": size, "order": "CHW"}
    return build_ts_can(heads=heads, shift=RULE, name=name, **small)


NETWORKS = {
    "TS-CAN, 36 px": can(36),
    "TS-CAN, 72 px": can(72),
    "MTTS-CAN, 72 px": can(72, HEADS),
    "EfficientPhys, 36 px": build_efficient_phys(shift=RULE, filters=(4, 8), hidden=6, size=36),
    "EfficientPhys, 72 px": build_efficient_phys(shift=RULE, filters=(4, 8), hidden=6, size=72),
}


def theirs(graph: Graph) -> Any:
    two = "dense1_respiration.weight" in graph.parameters

    def rename(name: str) -> str:
        name = name.replace("appearance_conv", "apperance_conv")
        name = name.replace("attention", "apperance_att_conv")
        name = re.sub(r"dense(\d)_respiration", r"final_dense_\1_r", name)
        return re.sub(r"^dense(\d)", r"final_dense_\1_y" if two else r"final_dense_\1", name)

    return rename


@pytest.fixture(params=NETWORKS)
def graph(request: Any) -> Graph:
    return NETWORKS[request.param]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_networks_are_recognised(tmp_path: Path, graph: Graph, prefix: str) -> None:
    tensors = {prefix + key: value for key, value in tensors_of(graph, theirs(graph)).items()}
    path = tmp_path / "PURE_TSCAN.pth"
    path.write_bytes(zip_file(tensors))
    found = load_checkpoint(path)
    assert found.graph == graph
    assert found.warnings[0].startswith("neither the file nor its name tells")
    assert "--frame-depth 10 " in found.warnings[0]
    for key, value in random_weights(graph, seed=4).items():
        np.testing.assert_array_equal(found.weights[key], value)
    other = load_checkpoint(path, options={"frame_depth": 20})
    assert other.warnings == ()
    assert {node.attrs["segment"] for node in other.graph.select("TemporalShift")} == {20}


def test_a_dense_layer_of_no_known_size(tmp_path: Path, refused: Any) -> None:
    graph = NETWORKS["TS-CAN, 36 px"]
    tensors = tensors_of(graph, theirs(graph))
    tensors["final_dense_1.weight"] = tensors["final_dense_1.weight"][:, :-1]
    path = tmp_path / "x.pth"
    path.write_bytes(zip_file(tensors))
    with refused(CheckpointError, "takes 391 numbers of a frame", "36, 72"):
        load_checkpoint(path)


# BigSmall: two sizes, three heads, and a shift around the ends of three frames

BIG_SMALL = build_big_small(filters=(6, 9), hidden=5)


def theirs_big_small(name: str) -> str:
    for suffix, head in (("_respiration", "resp"), ("_action_units", "au"), ("", "bvp")):
        name = re.sub(rf"^dense(\d){suffix}\.", rf"{head}_fc\1.", name)
    return name


@pytest.mark.parametrize("prefix", ["", "module."])
def test_big_small_is_recognised_and_its_depth_is_told(tmp_path: Path, prefix: str) -> None:
    tensors = {prefix + k: v for k, v in tensors_of(BIG_SMALL, theirs_big_small).items()}
    path = tmp_path / "BP4D_BigSmall_Multitask_Fold1.pth"
    path.write_bytes(zip_file(tensors))
    found = load_checkpoint(path)
    assert found.graph == BIG_SMALL
    assert found.warnings == ()
    assert "frame_depth 3 (the code of BigSmall)" in map(str, found.facts)
    assert {node.attrs["fill"] for node in found.graph.select("TemporalShift")} == {"circular"}
    for key, value in random_weights(BIG_SMALL, seed=4).items():
        np.testing.assert_array_equal(found.weights[key], value)


def test_big_small_computes_what_pytorch_computes() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    weights = {k: v.astype(np.float64) for k, v in random_weights(BIG_SMALL, seed=4).items()}
    w = {k: torch.tensor(v[:, :, 0] if v.ndim == 5 else v) for k, v in weights.items()}
    rng = np.random.default_rng(0)
    clip = {"small": rng.normal(size=(2, 3, 3, 9, 9)), "big": rng.normal(size=(2, 3, 1, 144, 144))}

    def conv(x: Any, name: str) -> Any:
        y = functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)
        return torch.relu(y)

    def wrap(x: Any) -> Any:
        parts = x.reshape(2, 3, *x.shape[1:])
        fold = x.shape[1] // 3
        left = torch.roll(parts[:, :, :fold], -1, dims=1)
        right = torch.roll(parts[:, :, fold : 2 * fold], 1, dims=1)
        return torch.cat([left, right, parts[:, :, 2 * fold :]], 2).reshape(x.shape)

    small = torch.tensor(clip["small"].swapaxes(1, 2).reshape(6, 3, 9, 9))
    big = torch.tensor(clip["big"][:, :, 0])
    for i in range(1, 5):
        small = conv(wrap(small), f"small_conv{i}")
    for i in range(1, 7):
        big = conv(big, f"big_conv{i}")
        big = functional.avg_pool2d(big, 4 if i == 6 else 2) if i % 2 == 0 else big
    flat = (small + big.repeat_interleave(3, 0)).reshape(6, -1)
    found = run_oracle(BIG_SMALL, weights, clip)
    for head, suffix in zip(BIG_SMALL.outputs, ("", "_respiration", "_action_units"), strict=True):
        first, second = (
            (w[f"dense{i}{suffix}.weight"], w[f"dense{i}{suffix}.bias"]) for i in (1, 2)
        )
        wanted = functional.linear(torch.relu(functional.linear(flat, *first)), *second)
        ours = found[head] if found[head].ndim == 3 else found[head][:, None]
        ours = ours.swapaxes(1, 2).reshape(6, -1)
        np.testing.assert_allclose(ours, wanted.numpy(), rtol=1e-9, atol=1e-12)


# Against PyTorch's own layers, wired as the paper and the published code wire them


def test_they_compute_what_pytorch_computes(graph: Graph) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    weights = {k: v.astype(np.float64) for k, v in random_weights(graph, seed=4).items()}
    w = {k: torch.tensor(v[:, :, 0] if v.ndim == 5 else v) for k, v in weights.items()}
    size = graph.inputs[0].shape[3]
    rng = np.random.default_rng(0)
    clip = {i.name: rng.normal(size=(1, 3, 20, size, size)) for i in graph.inputs}
    x = torch.tensor(clip["motion"][0].swapaxes(0, 1))
    seen = torch.tensor(clip.get("appearance", clip["motion"])[0].swapaxes(0, 1))

    def shift(x: Any) -> Any:
        parts = x.reshape(2, 10, *x.shape[1:])
        fold, y = x.shape[1] // 3, torch.zeros_like(parts)
        y[:, :-1, :fold] = parts[:, 1:, :fold]
        y[:, 1:, fold : 2 * fold] = parts[:, :-1, fold : 2 * fold]
        y[:, :, 2 * fold :] = parts[:, :, 2 * fold :]
        return y.reshape(x.shape)

    def conv(x: Any, name: str, padding: int = 0) -> Any:
        return functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=padding)

    if "appearance" not in clip:
        roles = ("running_mean", "running_var", "weight", "bias")
        x = functional.batch_norm(x, *(w[f"batch_norm.{role}"] for role in roles))
    for stage in (1, 2):
        for i, padding in ((2 * stage - 1, 1), (2 * stage, 0)):
            x = torch.tanh(conv(shift(x), f"motion_conv{i}", padding))
            if "appearance" in clip:
                seen = torch.tanh(conv(seen, f"appearance_conv{i}", padding))
        mask = torch.sigmoid(conv(seen if "appearance" in clip else x, f"attention{stage}"))
        mask = mask / mask.sum((2, 3), keepdim=True) * mask.shape[2] * mask.shape[3] * 0.5
        x, seen = functional.avg_pool2d(x * mask, 2), functional.avg_pool2d(seen, 2)
    flat = x.reshape(20, -1)
    found = run_oracle(graph, weights, clip)
    for head, suffix in zip(graph.outputs, ("", "_respiration"), strict=False):
        first, second = (
            (w[f"dense{i}{suffix}.weight"], w[f"dense{i}{suffix}.bias"]) for i in (1, 2)
        )
        wanted = functional.linear(torch.tanh(functional.linear(flat, *first)), *second)
        np.testing.assert_allclose(found[head][0], wanted[:, 0].numpy(), rtol=1e-9, atol=1e-12)
