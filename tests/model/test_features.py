"""Features of clips and of streams: the same numbers, and what the head makes logits of."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.model.features import KEPT
from tsm_ref.passes.features import features

MODELS = ("camera-motion", "camera-motion-offline")
LAYERS = (None, "layer2", "layer1.0.conv1")


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return tsm_ref.load(request.param)


def clips(count: int, n: int = 2) -> np.ndarray:
    shape = (n, 3, count, 64, 64)
    return np.random.default_rng(count).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("layer", LAYERS)
def test_features_are_within_the_bound_of_the_oracle(engine, layer) -> None:
    model, x = tsm_ref.load("camera-motion", engine=engine), clips(8)
    cut = features(model.graph, layer)
    kept = {name: model.weights[name] for name in cut.parameters}
    (bounded,) = run_with_bound(cut, kept, {"x": x}, U32).values()
    assert_within(model.features(x, layer=layer, per_frame=True).swapaxes(1, 2), bounded)


def test_the_head_makes_the_logits_of_them(model) -> None:
    x = clips(8)
    weight, bias = model.weights["fc.weight"], model.weights["fc.bias"]
    frames = model.features(x, per_frame=True)
    assert (frames.shape, model.features(x).shape) == ((2, 8, 64), (2, 64))
    made = frames @ weight.T + bias
    np.testing.assert_allclose(made, model.frame_logits(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.features(x) @ weight.T + bias, model(x), rtol=1e-4, atol=1e-4)


def test_the_shift_is_in_them(model) -> None:
    x = clips(8)
    backwards = model.features(x[:, :, ::-1], per_frame=True)[:, ::-1]
    assert np.abs(backwards - model.features(x, per_frame=True)).max() > 0.01


@pytest.mark.parametrize("layer", LAYERS)
def test_a_stream_gives_the_bits_of_the_whole_clip(model, layer) -> None:
    x = clips(11)
    whole = model.features(x, layer=layer, per_frame=True)
    stream = model.stream(2, features=layer or True)
    made = [stream.features(x[:, :, t]) for t in range(3)]
    made = [frame[:, None] for frame in made if frame is not None]
    made += [part for part in (stream.steps(x[:, :, 3:]), stream.flush()) if part is not None]
    assert np.concatenate(made, 1).tobytes() == whole.tobytes()


def test_a_stream_that_has_not_begun_becomes_one_of_features(model) -> None:
    x = clips(7, 1)
    stream = model.stream()
    made = [stream.features(x[0, :, t]) for t in range(7)]
    made = [frame[:, None] for frame in made if frame is not None]
    made += [part for part in (stream.flush(),) if part is not None]
    assert np.concatenate(made, 1).tobytes() == model.features(x, per_frame=True).tobytes()
    assert repr(stream).startswith("<ModelStream of 1, features: delay")
    begun = model.stream()
    begun.step(x[0, :, 0])
    with pytest.raises(UsageError, match=r"features=True"):
        begun.features(x[0, :, 1])


def test_states_of_features_and_of_logits_are_told_apart(model, tmp_path) -> None:
    stream = model.stream(features=True)
    stream.features(clips(1, 1)[0, :, 0])
    stream.save(tmp_path / "state.h5")
    model.stream(features=True).load(tmp_path / "state.h5")
    with pytest.raises(CheckpointError):
        model.stream().load(tmp_path / "state.h5")


def test_copies_and_pickles_give_the_same_features(model) -> None:
    x = clips(8, 1)
    expected = model.features(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.features(x).tobytes() == expected.tobytes()


def test_threads_may_ask_for_features_of_any_layer_at_once(model) -> None:
    x, layers = clips(4, 1), model.layers[::4]
    expected = [model.features(x, layer=layer).tobytes() for layer in layers]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda layer: model.features(x, layer=layer).tobytes(), layers * 2))
    assert made == expected * 2
    assert len(model._features._made) == KEPT


def test_several_inputs_are_given_by_name(rng) -> None:
    model = tsm_ref.build("ts-can", engine="numpy")
    shapes = model.input_shapes()
    inputs = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    assert model.features(inputs).shape[0] == 1
    assert model.features({"appearance": inputs["appearance"]}, layer="attention1").ndim == 2
    with pytest.raises(UsageError, match="'motion' is missing"):
        model.features({"appearance": inputs["appearance"]})
    with pytest.raises(UsageError, match="give them"):
        model.features(inputs["motion"])


def test_a_layer_that_does_not_exist_is_named_with_those_that_do(model) -> None:
    assert model.layers[0] == "conv1"
    assert "consensus" not in model.layers
    with pytest.raises(UsageError, match="there are conv1, bn1, relu1, layer1, layer2, layer3"):
        model.stream(features="layer7")
    with pytest.raises(UsageError, match=r"the nearest are layer3\.1\.conv2"):
        model.features(clips(8), layer="layer3.9.conv2")
