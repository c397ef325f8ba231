"""Networks of others: the imported graph computes what an independent forward pass does.

Every file is made here, with the names and shapes of the published ones and random weights.
"""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint import frame_networks as nets
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.facts import Facts
from tsm_ref.checkpoint.tensors.names import translate
from tsm_ref.checkpoint.tensors.networks import network_for, stored_shape
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import CheckpointError
from tsm_ref.passes import streaming
from tsm_ref.profile import PROFILES, ShiftRule

Array = Any
Names = Callable[[Any], tuple[str, tuple[str, str, str, str]]]

DEEP_STEM = ((32, 3, 3), (32, 32, 3), (64, 32, 3))


# How others name the convolution and the norm of a layer


def paddlevideo(block: str, stem: Sequence[str], layer: Any) -> tuple[str, tuple[str, ...]]:
    if isinstance(layer, str):
        place = f"backbone.{stem[int(layer[-1])]}"
    else:
        stage, number, i = layer
        letter = chr(97 + number)
        if block == "res" and stage == 2 and number:
            letter = f"b{number}"  # only where there are more than letters
        name = f"res{stage + 2}{letter}" if block == "res" else f"bb_{stage}_{number}"
        place = f"backbone.{name}.{'short' if i < 0 else f'conv{i}'}"
    roles = ("weight", "bias", "_mean", "_variance")
    return f"{place}._conv.weight", tuple(f"{place}._batch_norm.{role}" for role in roles)


def paddlecv(layer: Any) -> tuple[str, tuple[str, ...]]:
    roles = ("scale", "offset", "mean", "variance")
    if isinstance(layer, str):
        return "conv1_weights", tuple(f"bn_conv1_{role}" for role in roles)
    stage, number, i = layer
    place = f"{stage + 2}{chr(97 + number)}_branch{1 if i < 0 else f'2{chr(97 + i)}'}"
    return f"res{place}_weights", tuple(f"bn{place}_{role}" for role in roles)


def mit(pooled: bool, in_place: bool, layer: Any) -> tuple[str, tuple[str, ...]]:
    roles = ("weight", "bias", "running_mean", "running_var")
    root = "module.base_model"
    if isinstance(layer, str):
        return f"{root}.conv1.weight", tuple(f"{root}.bn1.{role}" for role in roles)
    stage, number, i = layer
    place = f"{root}.layer{stage + 1}{'.net' if pooled and stage == 1 else ''}.{number}"
    place += ".net" if in_place else ""
    if i < 0:
        return f"{place}.downsample.0.weight", tuple(f"{place}.downsample.1.{r}" for r in roles)
    mark = ".net" if i == 0 and not in_place else ""
    norm = f"{place}.bn{i + 1}"
    return f"{place}.conv{i + 1}{mark}.weight", tuple(f"{norm}.{role}" for role in roles)


# The published networks, as narrow as they can be


@dataclass(frozen=True)
class Case:
    """A network: how it is named, its form, its shift; `turned` is how its classifier is stored."""

    file: str
    names: Names
    fc: tuple[str, str]
    shift: Callable[[Array], Array]
    blocks: tuple[int, ...] = (2, 1, 1, 1)
    stem: tuple[tuple[int, int, int], ...] = ((8, 3, 7),)
    bottleneck: bool = True
    turned: bool = True
    vd: bool = False
    pooled: bool = False
    in_place: bool = False
    project: bool = False
    classes: int = 5

    @property
    def features(self) -> int:
        return self.stem[-1][0] * 2 ** (len(self.blocks) - 1) * (4 if self.bottleneck else 1)

    def layers(self) -> dict[Any, tuple[int, ...]]:
        return nets.residual_shapes(
            self.blocks,
            self.stem[-1][0],
            stem=self.stem,
            bottleneck=self.bottleneck,
            project=self.project,
        )

    def shapes(self) -> nets.Shapes:
        found: nets.Shapes = {}
        for layer, shape in self.layers().items():
            weight, norm = self.names(layer)
            found[weight] = shape
            found |= dict.fromkeys(norm, shape[:1])
        size = (self.classes, self.features)
        found[self.fc[0]] = size[::-1] if self.turned else size
        found[self.fc[1]] = (self.classes,)
        return found

    def tensors(self) -> dict[str, Array]:
        made = nets.drawn(self.shapes(), seed=7)
        for layer in self.layers():
            scale, _, _, variance = self.names(layer)[1]
            made[scale], made[variance] = (np.abs(made[n]) + 0.5 for n in (scale, variance))
        return made

    def logits(self, tensors: nets.Tensors, clip: Array) -> Array:
        """What the network makes of a clip (T, 3, H, W)."""

        def layer(x: Array, name: Any, stride: int) -> Array:
            weight, norm = self.names(name)
            y = nets.convolved(x, np.float64(tensors[weight]), stride)
            return nets.normalised(y, *(tensors[n] for n in norm))

        features = nets.residual_network(
            clip,
            layer,
            self.blocks,
            stem=len(self.stem),
            bottleneck=self.bottleneck,
            vd=self.vd,
            shift=self.shift,
            in_place=self.in_place,
            activate=nets.leaky_relu if self.vd else nets.relu,
            pooled=self.pooled,
            project=self.project,
        ).mean(0)
        weight = np.float64(tensors[self.fc[0]])
        return features @ (weight if self.turned else weight.T) + tensors[self.fc[1]]


PPTSM = partial(paddlevideo, "bb", ("conv1_1", "conv1_2", "conv1_3"))
RES = partial(paddlevideo, "res", ("conv",))
HEAD = ("head.fc.weight", "head.fc.bias")
NEW_FC = ("module.new_fc.weight", "module.new_fc.bias")
SMALL_STEM = ((4, 3, 3), (4, 4, 3), (8, 4, 3))


def eighth(x: Array) -> Array:
    return nets.paddle_shift(x, 1 / 8)


def of_mit(pooled: bool, in_place: bool, **form: Any) -> Case:
    name = f"TSM_x_shift4_{'block' if in_place else 'blockres'}_avg_segment8_e50_tpool.pth"
    names = partial(mit, pooled, in_place)
    shift = partial(nets.mit_shift, divisor=4)
    return Case(name, names, NEW_FC, shift, turned=False, pooled=pooled, in_place=in_place, **form)


CASES = {
    "ppTSM": Case(
        "ppTSM_k400_uniform.pdparams", PPTSM, HEAD, eighth, stem=SMALL_STEM, vd=True,
    ),
    "ppTSM, 4 segments": Case(
        "ppTSM_x_4frames.pdparams", PPTSM, HEAD, partial(nets.paddle_shift, ratio=1 / 4),
        stem=SMALL_STEM, vd=True,
    ),
    "ppTSM R18": Case(
        "ppTSM_k400.pdparams", partial(paddlevideo, "res", ("conv1_1", "conv1_2", "conv1_3")),
        HEAD, eighth, stem=((8, 3, 3), (8, 8, 3), (16, 8, 3)), bottleneck=False, vd=True,
        project=True,
    ),
    "TSM R101": Case("TSM_k400.pdparams", RES, HEAD, eighth, blocks=(1, 1, 23, 1)),
    "as many classes as features": Case(
        "TSM_k400.pdparams", RES, HEAD, eighth, blocks=(1, 1), classes=64
    ),
    "PaddleCV": Case(
        "TSM_x_16frames.pdparams", paddlecv, ("fc_0.w_0", "fc_0.b_0"), eighth, blocks=(2, 1, 3, 1),
    ),
    "MIT": of_mit(False, False, bottleneck=False),
    "MIT temporal pool": of_mit(True, False, bottleneck=False),
    "MIT temporal pool, bottleneck": of_mit(True, False),
    "MIT temporal pool, in place": of_mit(True, True, bottleneck=False),
}  # fmt: skip


def write(folder: Path, name: str, tensors: nets.Tensors) -> Path:
    """As Paddle does (one pickle of arrays, and a table of other names), or PyTorch."""
    path = folder / name
    if name.endswith(".pdparams"):
        table = {"StructuredToParameterName@@": {key: key for key in tensors}}
        path.write_bytes(pickle.dumps({**tensors, **table}, protocol=2))
    else:
        path.write_bytes(zip_file({"state_dict": dict(tensors)}))
    return path


@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    """On sides that are odd from the second stage on, and in every frame of the clip."""
    case = CASES[name]
    tensors = case.tensors()
    found = load_checkpoint(write(tmp_path, case.file, tensors))
    clips = np.random.default_rng(1).normal(size=(2, 8, 3, 40, 52))
    weights = {key: value.astype(np.float64) for key, value in found.weights.items()}
    ours = run_oracle(found.graph, weights, {"x": clips.swapaxes(1, 2)})["consensus"]
    theirs = np.array([case.logits(tensors, clip) for clip in clips])
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())
    backwards = [case.logits(tensors, clip[::-1]) for clip in clips]
    assert np.abs(theirs - backwards).max() > 1e-6 * np.abs(theirs).max()  # the shift matters


def test_an_engine_stays_within_the_bound(tmp_path: Path) -> None:
    case = CASES["ppTSM"]
    found = load_checkpoint(write(tmp_path, case.file, case.tensors()))
    x = {"x": np.random.default_rng(2).normal(size=(1, 3, 8, 33, 41)).astype(np.float32)}
    bound = run_with_bound(found.graph, found.weights, x, 2**-24)["consensus"]
    y = NumpyEngine(found.graph, found.weights).run(x)["consensus"]
    assert (np.abs(y - bound.value) <= bound.tolerance()).all()


# The sizes of the published files


@pytest.mark.parametrize(
    ("case", "kind", "shifts", "parameters"),
    [
        (
            Case("", PPTSM, HEAD, eighth, (3, 4, 6, 3), DEEP_STEM, vd=True, classes=400),
            "tsm-resnet50-vd", 16, 25_576_264 - 600 * 2049,
        ),
        (
            Case(
                "", PPTSM, HEAD, eighth, (2, 2, 2, 2), DEEP_STEM, False, vd=True, project=True,
                classes=400,
            ),
            "tsm-resnet18-vd", 8, 11_405_168,
        ),
        (
            Case("", RES, HEAD, eighth, (3, 4, 23, 3), ((64, 3, 7),), classes=400),
            "tsm-resnet101", 33, 44_549_160 - 600 * 2049,
        ),
        (
            Case("", paddlecv, ("fc_0.w_0", "fc_0.b_0"), eighth, (3, 4, 6, 3), ((64, 3, 7),)),
            "tsm-resnet50", 16, 25_557_032 - 995 * 2049,
        ),
    ],
    ids=["ppTSM", "ppTSM R18", "TSM R101", "PaddleCV"],
)  # fmt: skip
def test_every_tensor_of_the_full_size_has_its_place(
    case: Case, kind: str, shifts: int, parameters: int
) -> None:
    theirs = case.shapes()
    found = translate(theirs)
    shapes = {ours: theirs[name] for ours, name in found.names.items()}
    graph = network_for(shapes, PROFILES["paddle"], found, Facts()).graph
    assert {n: stored_shape(n, s, found) for n, s in graph.parameters.items()} == shapes
    assert (graph.name, graph.parameter_count) == (kind, parameters)
    assert len(list(graph.select("TemporalShift"))) == shifts


# What the files mean


@pytest.mark.parametrize(
    ("name", "segments", "policy", "rule"),
    [
        ("ppTSM", 8, "paddle", ShiftRule("paddle", 8)),
        ("ppTSM, 4 segments", 4, "paddle", ShiftRule("paddle", 4)),
        ("PaddleCV", 16, "paddle", ShiftRule("paddle", 8)),
        ("MIT temporal pool", 8, "uniform", ShiftRule("mit", 4)),
    ],
)
def test_the_profile_of_a_file(
    name: str, segments: int, policy: str, rule: ShiftRule, tmp_path: Path
) -> None:
    """PaddleVideo shifts by one over its segments; PaddleCV always by an eighth."""
    case = CASES[name]
    profile = load_checkpoint(write(tmp_path, case.file, case.tensors())).profile
    assert (profile.sampling.segments, profile.sampling.policy) == (segments, policy)
    assert profile.shift == rule


def test_dense_sampling_is_in_the_name_of_a_file(tmp_path: Path) -> None:
    """PaddleVideo's rule is MIT's: ten clips whose starts are spread evenly."""
    path = write(tmp_path, "ppTSM_k400_dense.pdparams", CASES["ppTSM"].tensors())
    sampling = load_checkpoint(path).profile.sampling
    assert (sampling.policy, sampling.segments) == ("dense", 8)


@pytest.mark.parametrize("name", ["ppTSM", "PaddleCV"])
def test_a_file_that_does_not_say_tsm_needs_a_profile(
    name: str, tmp_path: Path, refused: Any
) -> None:
    """TSN and ppTSN have the same names."""
    tensors = CASES[name].tensors()
    path = write(tmp_path, "best.pdparams", tensors)
    with refused(CheckpointError, "do not say whether and how", "give a profile"):
        load_checkpoint(path)
    assert list(load_checkpoint(path, PROFILES["paddle"]).graph.select("TemporalShift"))
    assert not list(load_checkpoint(path, PROFILES["tsn"]).graph.select("TemporalShift"))


def test_basic_blocks_that_paddlevideo_cannot_make_need_a_profile(
    tmp_path: Path, refused: Any
) -> None:
    """Its TSM of depth 18 fails when it is made, and would not shift; that of others may."""
    case = Case("TSM_k400.pdparams", RES, HEAD, eighth, bottleneck=False)
    path = write(tmp_path, case.file, case.tensors())
    with refused(CheckpointError, "cannot be made of basic blocks", "paddle: they do"):
        load_checkpoint(path)
    assert list(load_checkpoint(path, PROFILES["paddle"]).graph.select("TemporalShift"))
    assert not list(load_checkpoint(path, PROFILES["tsn"]).graph.select("TemporalShift"))


def test_the_frames_behind_a_pool_over_time_are_half_as_many(tmp_path: Path) -> None:
    case = CASES["MIT temporal pool"]
    found = load_checkpoint(write(tmp_path, case.file, case.tensors()))
    shapes = found.graph.shapes({"x": (1, 3, 8, 64, 64)})
    assert shapes["layer1.1.relu"][2:] == (8, 16, 16)
    assert shapes["temporal_pool"][2:] == shapes["layer2.0.shift"][2:] == (4, 16, 16)
    assert shapes["fc"] == (1, 5, 4)
    assert streaming(found.graph).clocks["fc"].period == 2


# What does not fit


@pytest.mark.parametrize("name", CASES)
def test_what_is_missing_is_counted(name: str, tmp_path: Path, refused: Any) -> None:
    case = CASES[name]
    tensors = case.tensors()
    gone = [case.names((stage, 0, 1))[1][1] for stage in range(len(case.blocks))]
    for key in gone:
        del tensors[key]
    with refused(CheckpointError, f"{len(gone)} tensors are missing ("):
        load_checkpoint(write(tmp_path, case.file, tensors))


@pytest.mark.parametrize("name", CASES)
def test_what_has_another_shape_is_counted(name: str, tmp_path: Path, refused: Any) -> None:
    case = CASES[name]
    tensors = case.tensors()
    bad = [case.names((stage, 0, 1))[1][1] for stage in range(len(case.blocks))]
    for key in bad:
        tensors[key] = np.ones(3, np.float32)
    words = f"{len(bad)} tensors have another shape", f"'{bad[0]}' is (3,), not"
    with refused(CheckpointError, *words):
        load_checkpoint(write(tmp_path, case.file, tensors))


def test_a_pool_over_time_elsewhere_is_refused(tmp_path: Path, refused: Any) -> None:
    case = CASES["MIT temporal pool"]
    moved = {
        key.replace("layer2.net", "layer2").replace("layer3", "layer3.net"): value
        for key, value in case.tensors().items()
    }
    with refused(CheckpointError, "a pool over time stands in front of layer2, not of layer3"):
        load_checkpoint(write(tmp_path, case.file, moved))


@pytest.mark.parametrize("shape", [(), (5,), (5, 5, 5)])
def test_a_classifier_that_is_no_matrix(
    shape: tuple[int, ...], tmp_path: Path, refused: Any
) -> None:
    case = CASES["ppTSM"]
    tensors = case.tensors() | {"head.fc.weight": np.ones(shape, np.float32)}
    with refused(CheckpointError, "'fc.weight' is missing or not (classes, features)"):
        load_checkpoint(write(tmp_path, case.file, tensors))
