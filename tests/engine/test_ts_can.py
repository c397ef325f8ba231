"""The trained TS-CAN on both engines: independent outputs, and the pulse of a synthetic face."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.judging import U32, assert_within
from tsm_ref.checkpoint import load_keras
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.graph import Graph
from tsm_ref.models import build_ts_can
from tsm_ref.profile import PROFILES, Profile, ShiftRule

Array = NDArray[Any]
Network = tuple[Graph, Mapping[str, Array]]

TRUE = PROFILES["ts-can-rlap"]
ENGINES = ("numpy", "numba")


@pytest.fixture(scope="module")
def trained(shared_data: Path) -> Network:
    """The checkpoint by path and profile; float16 in the file."""
    loaded = load_keras(shared_data / "checkpoints" / "TSCAN.rlap.weights.h5", TRUE)
    return loaded.graph, loaded.weights


def under(network: Network, rule: ShiftRule) -> Network:
    """The same weights with another shift."""
    return build_ts_can(shift=rule), network[1]


NO_SHIFT = ShiftRule("none")


# Vectors that were computed by others


@pytest.fixture(scope="module")
def vectors(shared_data: Path) -> Mapping[str, Array]:
    with np.load(shared_data / "vectors" / "tscan_rlap.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def inputs(vectors: Mapping[str, Array]) -> dict[str, Array]:
    """The file's NHWC frames as (1, C, T, H, W)."""
    return {
        name: np.ascontiguousarray(vectors[name].transpose(3, 0, 1, 2)[None])
        for name in ("motion", "appearance")
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_the_output_is_the_independent_one(
    engine: str, trained: Network, vectors: Mapping[str, Array], inputs: dict[str, Array]
) -> None:
    y = make_engine(*trained, engine).run(inputs)["pulse"]
    bounded = run_with_bound(*trained, inputs, U32)["pulse"]
    expected = replace(bounded, value=vectors["output_replicate"][None])
    assert_within(y, expected)


def test_the_oracle_is_the_independent_output_to_the_last_digits(
    trained: Network, vectors: Mapping[str, Array], inputs: dict[str, Array]
) -> None:
    y = run_oracle(*trained, inputs)["pulse"]
    np.testing.assert_allclose(y, vectors["output_replicate"][None], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (ShiftRule("mtts_can", 3, "zero", segment=20), "output_zero_fill"),
        (NO_SHIFT, "output_no_shift"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_wrong_profile_gives_what_it_gives_and_not_the_true_output(
    engine: str,
    rule: ShiftRule,
    name: str,
    trained: Network,
    vectors: Mapping[str, Array],
    inputs: dict[str, Array],
) -> None:
    wrong = under(trained, rule)
    y = make_engine(*wrong, engine).run(inputs)["pulse"]
    bounded = run_with_bound(*wrong, inputs, U32)["pulse"]
    assert_within(y, replace(bounded, value=vectors[name][None]))
    assert replace(bounded, value=vectors["output_replicate"][None]).used(y) > 100


@pytest.mark.parametrize(
    "rule",
    [
        ShiftRule("paddle", 3, "replicate", segment=20),
        ShiftRule("mtts_can", 3, "replicate"),
        ShiftRule("mtts_can", 4, "replicate", segment=20),
        ShiftRule("mtts_can", 3, "circular", segment=20),
    ],
    ids=["the other direction", "no segments", "smaller folds", "around the end"],
)
def test_no_other_shift_gives_the_true_output(
    rule: ShiftRule, trained: Network, vectors: Mapping[str, Array], inputs: dict[str, Array]
) -> None:
    bounded = run_with_bound(*under(trained, rule), inputs, U32)["pulse"]
    assert bounded.used(vectors["output_replicate"][None]) > 100


# The pulse of a synthetic face

FRAMES, RATE = 160, 30.0


def face(beats: int, seed: int) -> tuple[dict[str, Array], Array]:
    """The network's inputs for a face that pulses, and dp/dt, which the network is to find.

    A skin-coloured soft ellipse with 8 % static texture, multiplied per frame by
    ``1 - p(t) (0.33, 0.77, 0.53) 0.012 ellipse`` with ``p = sin(2 pi f t) + 0.35 sin(4 pi f t -
    0.6)``, plus noise of 0.004 (the README of the evaluation data).
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:36, 0:36] / 35 - 0.5
    distance = np.sqrt((rows / 0.46) ** 2 + (columns / 0.36) ** 2)
    ellipse = 1 / (1 + np.exp((distance - 1) * 12))
    texture = 1 + 0.08 * rng.standard_normal((36, 36))
    skin = np.array([0.78, 0.57, 0.47])[:, None, None]
    picture = skin * (ellipse * texture) + 0.15 * (1 - ellipse)
    t = np.arange(FRAMES + 1) / RATE
    phase = 2 * np.pi * beats / 60 * t
    pulse = np.sin(phase) + 0.35 * np.sin(2 * phase - 0.6)
    strength = 0.012 * np.array([0.33, 0.77, 0.53])[:, None, None] * ellipse
    frames = picture[:, None] * (1 - pulse[:, None, None] * strength[:, None])
    frames = frames + 0.004 * rng.standard_normal(frames.shape)
    motion = np.diff(frames, axis=1)
    axes = (0, 2, 3)
    motion = (motion - motion.mean(axes, keepdims=True)) / motion.std(axes, keepdims=True)
    appearance = frames.mean(1, keepdims=True)
    arrays = {"motion": motion[None], "appearance": appearance[None]}
    return {name: a.astype(np.float32) for name, a in arrays.items()}, np.diff(pulse)


def correlation(network: Network, engine: str, beats: int, seed: int = 1) -> float:
    arrays, truth = face(beats, seed)
    found = make_engine(*network, engine).run(arrays)["pulse"][0]
    return float(np.corrcoef(found, truth)[0, 1])


@pytest.mark.parametrize("beats", [54, 72, 96, 120])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_pulse_is_found_and_found_less_well_without_the_shift(
    engine: str, beats: int, trained: Network
) -> None:
    true = correlation(trained, engine, beats)
    off = correlation(under(trained, NO_SHIFT), engine, beats)
    assert true >= 0.93
    assert off < true


def test_a_face_without_a_pulse_has_none(trained: Network) -> None:
    """The correlation comes from the pulse, not from how it is measured."""
    arrays, _ = face(0, seed=1)
    _, truth = face(72, seed=1)
    found = make_engine(*trained, "numpy").run(arrays)["pulse"][0]
    assert abs(np.corrcoef(found, truth)[0, 1]) < 0.5


def test_the_profile_is_needed_to_read_the_file(shared_data: Path) -> None:
    """Nothing in the file says how far, in which direction, or with which fill it shifts."""
    other: Profile = PROFILES["mtts-can"]
    path = shared_data / "checkpoints" / "TSCAN.rlap.weights.h5"
    shifts = [load_keras(path, p).graph.node["motion_shift1"].attrs for p in (TRUE, other)]
    assert [attrs["fill"] for attrs in shifts] == ["replicate", "zero"]
