"""Files of tensors of every family: which network they turn out to be, and what it means."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.torch_writer import legacy_file, zip_file
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import CheckpointError
from tsm_ref.graph import Graph
from tsm_ref.models import (
    NonLocalSpec,
    ResNetSpec,
    build_mobilenet_v2,
    build_resnet,
    random_weights,
)
from tsm_ref.profile import PROFILES, ShiftRule

Tensors = dict[str, Any]
Rename = Callable[[str], str]

BASIC = ResNetSpec((2, 1, 1, 1), width=16)
BOTTLENECK = ResNetSpec((1, 2, 1, 1), bottleneck=True, width=8)


def resnet(spec: ResNetSpec = BASIC, placement: str = "blockres", **more: Any) -> Graph:
    return build_resnet(spec, num_classes=5, placement=placement, **more)


def mobilenet(shift: ShiftRule | None = None) -> Graph:
    return build_mobilenet_v2(num_classes=5, width=0.35, shift=shift)


def tensors_of(graph: Graph, rename: Rename, turned: bool = False) -> Tensors:
    """Random weights under other names, two-dimensional as everybody else keeps them."""
    found: Tensors = {}
    for name, values in random_weights(graph, seed=4).items():
        flat = values[:, :, 0] if values.ndim == 5 and ".nl." not in name else values
        found[rename(name)] = flat.T if turned and flat.ndim == 2 else flat
        if rename(name).endswith("running_var"):
            found[rename(name).replace("running_var", "num_batches_tracked")] = np.array(3)
    return found


def marked(graph: Graph, name: str) -> bool:
    """True for the weight of a convolution that reads a shift."""
    shifts = {node.name for node in graph.select("TemporalShift")}
    return any(n.inputs[0] in shifts and n.inputs[1] == name for n in graph.select("Conv"))


def mit(graph: Graph) -> Rename:
    def rename(name: str) -> str:
        name = name.replace(".weight", ".net.weight") if marked(graph, name) else name
        last = re.sub("^(fc|classifier)", "new_fc", name)
        return f"module.{last}" if last != name else f"module.base_model.{name}"

    return rename


def mit_in_place(name: str) -> str:
    name = re.sub(r"^(layer\d\.\d)\.", r"\1.net.", name)
    return f"module.new_fc{name[2:]}" if name.startswith("fc") else f"module.base_model.{name}"


def mmaction2(graph: Graph) -> Rename:
    def rename(name: str) -> str:
        net = ".net" if marked(graph, name) else ""
        name = re.sub(r"conv(\d)\.weight", rf"conv\1.conv{net}.weight", name)
        name = re.sub(r"bn(\d)\.", r"conv\1.bn.", name)
        name = name.replace("downsample.0", "downsample.conv")
        name = name.replace("downsample.1", "downsample.bn")
        return name.replace("fc.", "cls_head.fc_cls.") if "fc." in name else f"backbone.{name}"

    return rename


def mmaction2_in_place(name: str) -> str:
    name = mmaction2(resnet(placement="none"))(name)
    return re.sub(r"^backbone\.(layer\d\.\d)\.", r"backbone.\1.net.", name)


def wrapped(rename: Rename, graph: Graph, kind: str) -> Rename:
    """A block with a non-local one behind it stands in a wrapper, with it."""
    behind = {name.partition(".nl.")[0] for name in graph.parameters if ".nl." in name}

    def rename_all(name: str) -> str:
        block, _, part = name.partition(".nl.")
        if part and kind == "MIT":
            for ours, theirs in (("g", "g.0"), ("phi", "phi.0"), ("W", "W.0"), ("bn", "W.1")):
                part = re.sub(rf"^{ours}\.", f"{theirs}.", part)
            return f"module.base_model.{block}.nl.{part}"
        if part:
            for ours, theirs in (
                ("g", "g.0.conv"), ("phi", "phi.0.conv"), ("theta", "theta.conv"),
                ("W", "conv_out.conv"), ("bn", "conv_out.bn"),
            ):  # fmt: skip
                theirs = theirs.replace(".0", "") if kind == "MM flat" else theirs
                part = re.sub(rf"^{ours}\.", f"{theirs}.", part)
            return f"backbone.{block}.non_local_block.{part}"
        theirs = rename(name)
        block = ".".join(name.split(".")[:2])
        return theirs.replace(f"{block}.", f"{block}.block.") if block in behind else theirs

    return rename_all


def mmaction2_mobilenet(graph: Graph) -> Rename:
    """Features 1 to 17 are seven layers of 1, 2, 3, 4, 3, 3 and 1 blocks."""
    places = [(s + 1, b) for s, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for b in range(count)]

    def rename(name: str) -> str:
        if name.startswith("classifier"):
            return name.replace("classifier", "cls_head.fc_cls")
        feature, rest = re.fullmatch(r"features\.(\d+)\.(.+)", name).groups()  # type: ignore[union-attr]
        if feature in ("0", "18"):
            layer = "conv1" if feature == "0" else "conv2"
            kind = "conv" if rest.startswith("0.") else "bn"
            return f"backbone.{layer}.{kind}.{rest[2:]}"
        stage, block = places[int(feature) - 1]
        _, number, role = rest.split(".")
        layer, kind = int(number) // 3, ("conv", "bn")[int(number) % 3]
        net = "net." if marked(graph, name) else ""
        return f"backbone.layer{stage}.{block}.conv.{layer}.{net}{kind}.{role}"

    return rename


def torchvision_mobilenet(name: str) -> str:
    """Convolution, norm and activation stand in a list of their own, but for the last."""
    name = name.replace("classifier.", "classifier.1.")
    first = r"features\.1\.conv\.(\d)"
    if re.match(first, name):
        new = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}
        return re.sub(first, lambda m: f"features.1.conv.{new[m[1]]}", name)
    new = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}
    return re.sub(r"(features\.\d+\.conv)\.(\d)", lambda m: f"{m[1]}.{new[m[2]]}", name)


def paddle(name: str) -> str:
    name = re.sub(r"^conv1\.", "conv._conv.", name)
    name = re.sub(r"^bn1\.", "conv._batch_norm.", name)
    name = re.sub(r"layer(\d)\.(\d)", lambda m: f"res{int(m[1]) + 1}{'abc'[int(m[2])]}", name)
    name = re.sub(r"\.conv(\d)\.", lambda m: f".conv{int(m[1]) - 1}._conv.", name)
    name = re.sub(r"\.bn(\d)\.", lambda m: f".conv{int(m[1]) - 1}._batch_norm.", name)
    name = name.replace("downsample.0", "short._conv").replace("downsample.1", "short._batch_norm")
    name = name.replace("running_mean", "_mean").replace("running_var", "_variance")
    return f"head.{name}" if name.startswith("fc") else f"backbone.{name}"


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
