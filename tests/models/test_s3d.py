"""S3D: published size, and torchvision's own network."""

import numpy as np
import pytest

from tests.judging import U32, assert_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.models import build_s3d, random_weights

CLIP = {"x": (1, 3, 16, 224, 224)}


def test_what_is_published() -> None:
    """torchvision: 8,320,048 parameters and 17.979 G multiply-adds of 16 frames of 224 pixels."""
    g = build_s3d(num_classes=400)
    assert g.parameter_count == 8_320_048
    assert f"{sum(g.multiply_adds(CLIP).values()) / 1e9:.3f}" == "17.979"


def test_time_is_halved_by_the_stem_and_two_pools() -> None:
    shapes = build_s3d(num_classes=4).shapes(CLIP)
    assert [shapes[f"features.{layer}"][2:] for layer in (1, 4, 7, 13, 15)] == [
        (8, 56, 56), (8, 28, 28), (4, 14, 14), (2, 7, 7), (2, 7, 7)
    ]  # fmt: skip
    assert shapes["twos"] == (1, 1024, 1, 7, 7)


def test_both_engines_are_within_the_bound_of_the_oracle(rng: np.random.Generator) -> None:
    graph = build_s3d(num_classes=3, divisor=8)
    weights = random_weights(graph, seed=2)
    clip = {"x": rng.normal(size=(1, 3, 16, 32, 32)).astype(np.float32)}
    wanted = run_with_bound(graph, weights, clip, U32)
    for engine in ("numpy", "numba"):
        found = make_engine(graph, weights, engine).run(clip)
        assert_within(found[graph.outputs[0]], wanted[graph.outputs[0]])


def test_it_computes_what_torchvision_computes(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("torchvision").models.video.s3d(num_classes=5).double().eval()
    graph = build_s3d(num_classes=5)
    weights = {k: v.astype(np.float64) for k, v in random_weights(graph, seed=3).items()}
    state = {k.replace("fc.", "classifier.1."): torch.tensor(v) for k, v in weights.items()}
    state["classifier.1.weight"] = state["classifier.1.weight"].reshape(5, 1024, 1, 1, 1)
    told = module.load_state_dict(state, strict=False)
    assert told.unexpected_keys == []
    assert all(key.endswith("num_batches_tracked") for key in told.missing_keys)
    x = rng.normal(size=(1, 3, 24, 224, 224))
    wanted = module(torch.tensor(x)).detach().numpy()
    found = run_oracle(graph, weights, {"x": x})[graph.outputs[0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-11)
