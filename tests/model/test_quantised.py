"""A quantised network as a model: it keeps its whole numbers, runs, streams, and gives features."""

import copy
import pickle

import numpy as np
import pytest

import tsm_ref
from tests.quantised_networks import clip, drawn, network
from tsm_ref.checkpoint import weights_folder
from tsm_ref.convert import convert
from tsm_ref.engine.oracle import run_oracle
from tsm_ref.model import Model
from tsm_ref.model.kept_weights import KeptWeights
from tsm_ref.profile import PROFILES, Preprocess, Sampling

PROFILE = PROFILES["mit"].with_changes(
    sampling=Sampling(segments=7), preprocess=Preprocess(short_side=16, crop=(13, 11))
)


@pytest.fixture(params=["auto", "numpy"])
def model(request):
    graph, weights = network(causal=True)
    return Model(graph, KeptWeights(weights), PROFILE, engine=request.param)


def test_a_file_keeps_the_network_bit_for_bit(model, tmp_path):
    tsm_ref.save(model, tmp_path / "m.h5")
    again = tsm_ref.load(tmp_path / "m.h5", engine="numpy")
    assert again.digest() == model.digest()
    assert {name: value.dtype for name, value in again.weights.items()} == {
        name: value.dtype for name, value in model.weights.items()
    }
    x = clip()["x"]
    assert (again.run({"x": x})["logits"] == model.run({"x": x})["logits"]).all()


@pytest.mark.parametrize("ending", ["h5", "safetensors"])
def test_every_kind_of_file_of_ours_keeps_it(model, tmp_path, ending):
    tsm_ref.save(model, tmp_path / "m.h5")
    lines = convert(str(tmp_path / "m.h5"), str(tmp_path / f"n.{ending}"))
    assert "equal bit for bit" in lines[-1]
    again = tsm_ref.load(tmp_path / f"n.{ending}", engine="numpy")
    assert again.digest() == model.digest()


def test_other_whole_numbers_are_another_network(model):
    weights = dict(model.weights)
    weights["w1"] = weights["w1"] ^ np.int8(1)
    assert Model(model.graph, KeptWeights(weights), PROFILE).digest() != model.digest()


def test_it_travels(model):
    x = clip()["x"]
    expected = model.run({"x": x})["logits"]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (twin.run({"x": x})["logits"] == expected).all()


def test_a_stream_of_it_gives_the_bits_of_the_clip(model):
    x = clip()["x"]
    expected = model.frame_logits(x)
    stream = model.stream(2)
    made = [y for t in range(x.shape[2]) if (y := stream.step(x[:, :, t])) is not None]
    assert (np.concatenate([np.stack(made, 1), stream.flush()], 1) == expected).all()


def test_features_are_the_reals_that_whole_numbers_stand_for(model):
    x = clip()["x"]
    graph = model.graph.with_outputs(["flat", "stem"])
    wanted = run_oracle(graph, model.weights, {"x": x})
    flat = (wanted["flat"].astype(float) - 7) * np.float32(0.03)
    np.testing.assert_allclose(model.features(x, layer="flat"), flat.mean(-1), rtol=1e-5)
    stem = ((wanted["stem"].astype(float) - 7) * np.float32(0.03)).mean((-1, -2))
    found = model.features(x, layer="stem", per_frame=True)
    np.testing.assert_allclose(found, stem.swapaxes(1, 2), rtol=1e-5)
    assert model.features(x).shape == (2, 8)


def test_its_weights_take_a_byte_each(model):
    graph, _ = network(channels=64)
    wide = Model(graph, KeptWeights(drawn(graph)), PROFILE, engine="numpy")
    whole = sum(v.size for name, v in wide.weights.items() if name[0] == "w")
    assert sum(v.nbytes for name, v in wide.weights.items() if name[0] == "w") == whole


def test_the_shipped_one_says_what_the_float_one_says():
    small, whole = tsm_ref.load("camera-motion-int8"), tsm_ref.load("camera-motion")
    assert small.graph.quantised
    assert not {node.op for node in small.graph.nodes} & {"Conv", "Linear"}
    samples = sorted((weights_folder() / "samples").glob("*.mp4"))
    for path in samples:
        assert (
            small.recognize(path).predictions[0].label == whole.recognize(path).predictions[0].label
        )
    size = (weights_folder() / "camera-motion-int8.h5").stat().st_size
    assert size < 0.55 * (weights_folder() / "camera-motion.h5").stat().st_size
