"""Files of tensors of every family: which network they turn out to be, and what it means."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import (
    BOTTLENECK,
    Rename,
    Tensors,
    mit,
    mit_in_place,
    mmaction2,
    mmaction2_in_place,
    mmaction2_mobilenet,
    mobilenet,
    paddle,
    resnet,
    tensors_of,
    torchvision_mobilenet,
    wrapped,
)
from tests.checkpoint.torch_writer import legacy_file, zip_file
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import NonLocalSpec, random_weights
from tsm_ref.profile import PROFILES, ShiftRule


def non_local(mode: str, **more: bool) -> Graph:
    spec = NonLocalSpec(mode, **more)
    return resnet(BOTTLENECK, non_local={"layer1.0": spec, "layer2.1": spec})


MODES = ("embedded_gaussian", "dot_product", "gaussian")
MIT_SOFT = non_local("embedded_gaussian")
SOFT, DOT, PLAIN = (non_local(mode, bias=False) for mode in MODES)
"""MMAction2's output convolution has no bias: a norm follows."""
UNPOOLED = non_local("embedded_gaussian", bias=False, pooled=False)
BARE = non_local("dot_product", norm=False)

PADDLE = resnet(BOTTLENECK, shift=ShiftRule("paddle", 8))
ONLINE = mobilenet(ShiftRule("online"))

FILES: Mapping[str, tuple[Graph, Rename, str, str | None, str]] = {
    "MIT": (resnet(), mit(resnet()), "TSM_x_shift8_blockres_avg_segment8_e50.pth", None, "mit"),
    "MIT bottleneck": (resnet(BOTTLENECK), mit(resnet(BOTTLENECK)), "x.pth.tar", None, "mit"),
    "MIT in place": (resnet(placement="block"), mit_in_place, "x_shift8_block_.pth", None, "mit"),
    "MIT MobileNetV2": (mobilenet(), mit(mobilenet()), "x.pth", None, "mit"),
    "MIT TSN": (
        resnet(placement="none"), mit(resnet(placement="none")), "x.pth", None, "tsn",
    ),
    "MIT flow": (
        resnet(BOTTLENECK, in_channels=10), mit(resnet(BOTTLENECK)),
        "TSM_x_Flow_resnet50_shift8_blockres_avg_segment8_e50.pth", None, "mit",
    ),
    "MMAction2": (resnet(BOTTLENECK), mmaction2(resnet(BOTTLENECK)), "x.pth", None, "mmaction2"),
    "MMAction2 TSN": (
        resnet(placement="none"), mmaction2(resnet(placement="none")), "x.pth", None, "tsn",
    ),
    "MIT non-local": (
        MIT_SOFT, wrapped(mit(MIT_SOFT), MIT_SOFT, "MIT"), "x_shift8_blockres_dense_nl.pth", None,
        "mit",
    ),
    "MMAction2 non-local": (
        SOFT, wrapped(mmaction2(SOFT), SOFT, "MM"), "tsm_nl-embedded-gaussian.pth", None,
        "mmaction2",
    ),
    "MMAction2 dot product": (
        DOT, wrapped(mmaction2(DOT), DOT, "MM"), "tsm_nl-dot-product.pth", None, "mmaction2",
    ),
    "MMAction2 gaussian": (
        PLAIN, wrapped(mmaction2(PLAIN), PLAIN, "MM"), "tsm_nl-gaussian.pth", None, "mmaction2",
    ),
    "MMAction2 unpooled": (
        UNPOOLED, wrapped(mmaction2(UNPOOLED), UNPOOLED, "MM flat"), "tsm_nl-embedded-gaussian.pth",
        None, "mmaction2",
    ),
    "MMAction2 without norm": (
        BARE, wrapped(mmaction2(BARE), BARE, "MM"), "tsm_nl-dot-product.pth", None, "mmaction2",
    ),
    "MMAction2 in place": (
        resnet(placement="block"), mmaction2_in_place, "x.pth", None, "mmaction2",
    ),
    "MMAction2 MobileNetV2": (
        mobilenet(), mmaction2_mobilenet(mobilenet()), "x.pth", None, "mmaction2",
    ),
    "torchvision": (resnet(placement="none"), str, "x.pth", "tsn", "tsn"),
    "torchvision MobileNetV2": (ONLINE, torchvision_mobilenet, "x.pth", "mit-online", "mit-online"),
    "online demo": (ONLINE, str, "mobilenetv2_jester_online.pth.tar", "mit-online", "mit-online"),
    "PaddleVideo": (PADDLE, paddle, "TSM_k400.pdparams", None, "paddle"),
}  # fmt: skip

Load = Callable[..., Checkpoint]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def run(tensors: Tensors, name: str = "x.pth", profile: str | None = None) -> Checkpoint:
        path = tmp_path / name
        path.write_bytes(zip_file({"state_dict": tensors}))
        return load_checkpoint(path, None if profile is None else PROFILES[profile])

    return run


@pytest.mark.parametrize("family", FILES)
def test_a_family_is_recognised(family: str, load: Load) -> None:
    graph, rename, name, profile, meant = FILES[family]
    found = load(tensors_of(graph, rename, family == "PaddleVideo"), name, profile)
    assert found.graph.nodes == graph.nodes
    assert found.profile.family == meant
    flow = family == "MIT flow"  # a mean of 0.5, and the mean of the colours' deviations
    mean = PROFILES["mit-flow" if flow else meant].preprocess.mean
    assert found.profile.preprocess.mean == mean
    weights = random_weights(graph, seed=4)
    assert list(found.weights) == list(graph.parameters)
    for parameter, values in found.weights.items():
        np.testing.assert_array_equal(values, weights[parameter])
        assert values.dtype == np.float32


# The file of a real trainer


def test_the_mit_checkpoint_computes_what_its_network_did(shared_data: Path) -> None:
    (path,) = (shared_data / "onnx").glob("*.pth.tar")
    found, data = load_checkpoint(path), np.load(f"{path}.npz")
    assert (found.profile.shift, found.profile.placement) == (ShiftRule("mit", 8), "blockres")
    assert found.profile.sampling.segments == 8
    assert found.extra == {"epoch": "45", "arch": "resnet18"}
    assert len(list(found.graph.select("TemporalShift"))) == 8
    x = {"x": data["input"].swapaxes(1, 2)}
    y = NumpyEngine(found.graph, found.weights).run(x)["consensus"]
    bound = run_with_bound(found.graph, found.weights, x, 2**-24)["consensus"]
    assert (np.abs(y - data["expected"]) < bound.tolerance()).all()


def test_the_trained_cifar_network_has_its_shortcuts(shared_data: Path) -> None:
    """Shortcuts without weights: every second pixel, and zeros for the channels that are new."""
    path = shared_data / "checkpoints" / "cifar10_resnet20.th"
    found = load_checkpoint(path)
    assert found.profile.family == "tsn"
    assert found.graph.parameter_count == 269_722 + 16 * 32 + 32 * 64
    weights = {k: v.astype(np.float64) for k, v in found.weights.items()}
    x = np.random.default_rng(1).normal(size=(1, 3, 1, 32, 32))
    expected = cifar_resnet20(x[0, :, 0], weights)
    y = run_oracle(found.graph, weights, {"x": x})["consensus"]
    np.testing.assert_allclose(y[0], expected, rtol=1e-9)


def cifar_resnet20(x: Any, w: Mapping[str, Any]) -> Any:
    """The network of He et al. 2015, section 4.2, in plain NumPy on one picture (C, H, W)."""

    def conv_norm(x: Any, conv: str, norm: str, stride: int = 1) -> Any:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        y = np.einsum(
            "chwij,ocij->ohw", windows[:, ::stride, ::stride], w[f"{conv}.weight"][:, :, 0]
        )
        scale = w[f"{norm}.weight"] / np.sqrt(w[f"{norm}.running_var"] + 1e-5)
        shift = w[f"{norm}.bias"] - w[f"{norm}.running_mean"] * scale
        return y * scale[:, None, None] + shift[:, None, None]

    x = np.maximum(conv_norm(x, "conv1", "bn1"), 0)
    for stage in (1, 2, 3):
        for block in range(3):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = np.maximum(conv_norm(x, f"{name}.conv1", f"{name}.bn1", stride), 0)
            y = conv_norm(y, f"{name}.conv2", f"{name}.bn2")
            new = (y.shape[0] - x.shape[0]) // 2
            x = np.maximum(y + np.pad(x[:, ::stride, ::stride], ((new, new), (0, 0), (0, 0))), 0)
    return w["fc.weight"] @ x.mean((1, 2)) + w["fc.bias"]


# What names say, and what they do not


@pytest.mark.parametrize(
    ("name", "segments", "policy", "divisor"),
    [
        ("TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment16_e50.pth", 16, "uniform", 8),
        ("TSM_kinetics_RGB_resnet50_shift4_blockres_avg_segment8_e100_dense.pth", 8, "dense", 4),
        ("some_name.pth", 8, "uniform", 8),
    ],
)
def test_file_names_of_mit_are_read(
    load: Load, name: str, segments: int, policy: str, divisor: int
) -> None:
    profile = load(tensors_of(resnet(), mit(resnet())), name).profile
    assert (profile.sampling.segments, profile.sampling.policy) == (segments, policy)
    assert profile.shift == ShiftRule("mit", divisor)


@pytest.mark.parametrize(
    ("name", "words"), [("x_segment0_y.pth", "`segments` (=0)"), ("x_shift0_y", "`divisor` (=0)")]
)
def test_a_file_name_that_says_the_impossible(
    load: Load, refused: Any, name: str, words: str
) -> None:
    tensors = tensors_of(resnet(), mit(resnet()))
    with refused(CheckpointError, "the name of the file says what cannot be", words):
        load(tensors, name)


def test_names_without_marks_need_a_profile(load: Load, refused: Any) -> None:
    """The same tensors are an offline network, an online one, or none that shifts."""
    tensors = tensors_of(ONLINE, str)
    with refused(CheckpointError, "do not say whether and how", "mit-online"):
        load(tensors)
    kinds = {p: load(tensors, profile=p).graph for p in ("tsn", "mit", "mit-online")}
    d = {p: [n.attrs["d"] for n in g.select("TemporalShift")] for p, g in kinds.items()}
    assert d["tsn"] == []
    assert len(d["mit"]) == len(d["mit-online"]) == 10
    assert min(d["mit"][0]) == -1
    assert min(d["mit-online"][0]) == 0


def test_paddle_names_without_a_telling_file_name_need_a_profile(load: Load, refused: Any) -> None:
    tensors = tensors_of(PADDLE, paddle, turned=True)
    with refused(CheckpointError, "PaddleVideo", "give a profile"):
        load(tensors, "model.pdparams")
    assert load(tensors, "model.pdparams", "paddle").profile == PROFILES["paddle"]


def test_an_offline_checkpoint_becomes_online_only_if_asked(load: Load) -> None:
    tensors = tensors_of(mobilenet(), mit(mobilenet()))
    assert not load(tensors).profile.shift.causal
    assert load(tensors, profile="mit-online").profile.shift.causal


def test_marks_that_are_not_where_the_network_shifts(load: Load, refused: Any) -> None:
    rename = mit(resnet())
    tensors = tensors_of(
        resnet(), lambda n: rename(n).replace("layer2.0.conv1.net", "layer2.0.conv1")
    )
    with refused(CheckpointError, "mark 4 layers", "shifts 5", "'layer2.0'"):
        load(tensors)


def test_the_placement_that_the_names_show_is_taken(load: Load) -> None:
    found = load(tensors_of(resnet(placement="block"), mit_in_place), profile="mit")
    assert found.profile.placement == "block"


# What does not fit


def test_missing_and_unexpected_tensors_are_listed(load: Load, refused: Any) -> None:
    tensors = tensors_of(resnet(), mit(resnet()))
    for layer in ("1.0.bn1.bias", "1.1.bn2.bias", "2.0.bn1.bias", "3.0.bn1.bias"):
        del tensors[f"module.base_model.layer{layer}"]
    tensors["module.base_model.extra.weight"] = np.ones(3, np.float32)
    with refused(
        CheckpointError,
        "4 tensors are missing ('layer1.0.bn1.bias', 'layer1.1.bn2.bias', 'layer2.0.bn1.bias', ",
        "1 tensor is not expected ('module.base_model.extra.weight')",
    ):
        load(tensors)


def test_mis_shaped_tensors_are_listed(load: Load, refused: Any) -> None:
    tensors = tensors_of(resnet(), mit(resnet()))
    for layer in ("1.0.bn1", "1.1.bn2", "2.0.bn1", "3.0.bn1"):
        tensors[f"module.base_model.layer{layer}.bias"] = np.ones(3, np.float32)
    with refused(
        CheckpointError,
        "4 tensors have another shape",
        "'module.base_model.layer1.0.bn1.bias' is (3,), not (16,)",
    ):
        load(tensors)


def test_a_missing_stage_is_counted_though_its_marks_are_missing_too(
    load: Load, refused: Any
) -> None:
    tensors = tensors_of(resnet(), mit(resnet()))
    kept = {name: v for name, v in tensors.items() if "layer2" not in name}
    with refused(CheckpointError, "30 tensors are not expected", "'module.base_model.layer3.0"):
        load(kept)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers(load: Load, refused: Any, bad: float) -> None:
    tensors = tensors_of(resnet(), mit(resnet()))
    tensors["module.new_fc.bias"] = np.array([1, 2, bad, 4, 5], np.float32)
    with refused(CheckpointError, "'module.new_fc.bias' holds a NaN or an infinity (1 of 5"):
        load(tensors)


def test_weights_that_are_integers(load: Load, refused: Any) -> None:
    tensors = tensors_of(resnet(), mit(resnet()))
    tensors["module.new_fc.bias"] = np.arange(5)
    with refused(CheckpointError, "'module.new_fc.bias' is int64; a float is needed"):
        load(tensors)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"encoder.weight": (3, 3)}, "no known implementation has these tensors"),
        ({"module.base_model.encoder.weight": (3, 3)}, "no known implementation"),
        ({"backbone.res2a.conv0._conv.weight": (3, 3)}, "give a profile"),
        (
            {
                "module.base_model.conv1.weight": (8, 3, 7, 7),
                "module.base_model.layer1.0.conv1.weight": (8, 8, 3, 3),
            },
            "'fc.weight' is missing",
        ),
        (
            {
                "module.base_model.conv1.weight": (),
                "module.base_model.layer1.0.conv1.weight": (8,),
                "module.new_fc.weight": (2, 2),
            },
            "it must have four axes",
        ),
    ],
)
def test_other_tensors_are_refused(
    load: Load, refused: Any, tensors: dict[str, tuple[int, ...]], words: str
) -> None:
    with refused(CheckpointError, words):
        load({name: np.zeros(shape, np.float32) for name, shape in tensors.items()})


def test_two_names_of_one_tensor(load: Load, refused: Any) -> None:
    tensors = tensors_of(resnet(), mit(resnet()))
    shifted = "module.base_model.layer1.0.conv1"
    tensors[f"{shifted}.weight"] = tensors[f"{shifted}.net.weight"]
    with refused(CheckpointError, "are the same one here"):
        load(tensors)


def test_half_precision_and_the_legacy_format(tmp_path: Path) -> None:
    tensors = {
        name: v.astype(np.float16) if v.dtype == np.float32 else v
        for name, v in tensors_of(resnet(), mit(resnet())).items()
    }
    path = tmp_path / "x.pth"
    path.write_bytes(legacy_file({"state_dict": tensors}))
    found = load_checkpoint(path)
    assert found.storage == "float16"
    np.testing.assert_array_equal(
        found.weights["fc.weight"], tensors["module.new_fc.weight"].astype(np.float32)
    )


def test_safetensors_with_names_of_others(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x.safetensors"
    library.save_file(tensors_of(resnet(), mit(resnet())), path)
    found = load_checkpoint(path)
    assert found.profile.family == "mit"
    assert found.graph.nodes == resnet().nodes
