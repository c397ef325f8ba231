"""TRN's head: the frames it relates, the published formula, every engine, what is refused."""

from math import comb

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import NotStreamable, UsageError
from tsm_ref.models import build_resnet, random_weights
from tsm_ref.models.resnet import ResNetSpec
from tsm_ref.passes.relations import relations_of, with_relations

SMALL = ResNetSpec((1, 1), width=4, strides=(1, 2), stem_kernel=3, stem_stride=1, stem_pool=False)


def made(segments: int):
    plain = build_resnet(SMALL, num_classes=5, placement="none", name="tsn-small")
    return with_relations(plain, segments, 5, hidden=6, bottleneck=7)


@pytest.mark.parametrize("segments", [2, 3, 8, 16])
def test_all_frames_and_three_tuples_of_each_smaller_number(segments):
    found = list(relations_of(segments))
    assert found[0] == tuple(range(segments))
    assert len(set(found)) == len(found)
    for size in range(2, segments + 1):
        own = [frames for frames in found if len(frames) == size]
        assert len(own) == min(3, comb(segments, size))
        assert all(tuple(sorted(set(frames))) == frames for frames in own)


def test_it_is_the_published_formula(rng):
    """h_k(relu(g_k(relu(x) of k frames))), summed: TRN's code, with tuples that are given."""
    graph = made(4)
    weights = {k: v.astype(np.float64) for k, v in random_weights(graph, seed=1).items()}
    clip = {"x": rng.normal(size=(2, 3, 4, 12, 12))}
    values = run_oracle(graph.with_outputs(["relation_features", "consensus"]), weights, clip)
    x = np.maximum(values["relation_features"], 0)  # (N, 6, T)
    total = np.zeros((2, 5))
    for frames in relations_of(4):
        first, second = (f"relation{len(frames)}.{i}" for i in (1, 3))
        joined = np.concatenate([x[:, :, t] for t in frames], axis=1)
        hidden = joined @ weights[f"{first}.weight"].T + weights[f"{first}.bias"]
        total += np.maximum(hidden, 0) @ weights[f"{second}.weight"].T + weights[f"{second}.bias"]
    np.testing.assert_allclose(values["consensus"], total, rtol=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "numba", "loops"])
def test_every_engine_is_within_the_bound_of_the_oracle(engine, rng):
    graph = made(5)
    weights = random_weights(graph, seed=2)
    clip = {"x": rng.normal(size=(2, 3, 5, 12, 12)).astype(np.float32)}
    wanted = run_with_bound(graph, weights, clip, U32)["consensus"]
    assert_within(make_engine(graph, weights, engine).run(clip)["consensus"], wanted)


def test_it_is_built_beside_the_average(rng):
    options = {"num_classes": 5, "placement": "none", "engine": "numpy"}
    trn = tsm_ref.build("resnet18", head="trn", **options)
    tsn = tsm_ref.build("resnet18", **options)
    assert trn.graph.name == "trn-resnet18"
    assert trn(np.zeros((2, 3, 8, 32, 32), np.float32)).shape == (2, 5)
    clip = rng.normal(size=(1, 3, 8, 32, 32))
    related, averaged = {}, {}
    for model, found in ((trn, related), (tsn, averaged)):
        for name, x in (("forth", clip), ("back", clip[:, :, ::-1])):
            found[name] = run_oracle(model.graph, model.weights, {"x": x})["consensus"]
    np.testing.assert_allclose(averaged["forth"], averaged["back"], rtol=1e-9)
    assert np.abs(related["forth"] - related["back"]).max() > 1e-3


def test_what_cannot_be():
    with pytest.raises(NotStreamable, match="chooses frames of the whole clip"):
        tsm_ref.build("resnet18", num_classes=5, head="trn", engine="numpy").stream()
    with pytest.raises(UsageError, match=r"`segments` \(=17\) must be 2 to 16"):
        tsm_ref.build("resnet18", segments=17, head="trn")
    for options in ({"head": "lstm"}, {"head": "trn", "num_classes": {"verb": 2, "noun": 3}}):
        with pytest.raises(UsageError, match="must be one of mean, trn"):
            tsm_ref.build("resnet18", **options)
    with pytest.raises(UsageError, match="must be one of mean, trn"):
        tsm_ref.build("ts-can", head="trn")
