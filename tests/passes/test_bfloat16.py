"""What convolutions multiply is rounded to bfloat16, and nothing else."""

import numpy as np
import pytest

import tsm_ref
from tests.quantised_networks import network
from tsm_ref.checkpoint.onnx_out.export import export_onnx
from tsm_ref.engine import PRECISIONS, make_engine
from tsm_ref.engine.oracle import run_oracle, run_with_bound
from tsm_ref.errors import GraphError, UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import build_mobilenet_v2, build_resnet, random_weights
from tsm_ref.models.resnet import RESNETS
from tsm_ref.passes import fold_batch_norm
from tsm_ref.passes.bfloat16 import in_bfloat16
from tsm_ref.reference.rounding import bfloat16, unit_roundoff

U32 = unit_roundoff(np.float32)


def one(rng, group=1):
    """A convolution of 6 channels, and its weights."""
    weights = {
        "w": rng.standard_normal((6, 6 // group, 1, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(6).astype(np.float32),
    }
    node = Node("y", "Conv", ("x", "w", "b"), {"pads": (0, 1, 1, 0, 1, 1), "group": group})
    shapes = {name: value.shape for name, value in weights.items()}
    return Graph("one", (Input("x", ("N", 6, "T", 5, 7)),), (node,), ("y",), shapes), weights


@pytest.mark.parametrize("group", [1, 2])
def test_inputs_and_weights_are_rounded_and_the_bias_is_not(group, rng):
    graph, weights = one(rng, group)
    x = rng.standard_normal((1, 6, 2, 5, 7))
    rounded = {"w": bfloat16(weights["w"]), "b": weights["b"]}
    expected = run_oracle(graph, rounded, {"x": bfloat16(x)})["y"]
    found = run_oracle(*in_bfloat16(graph, weights), {"x": x})["y"]
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - run_oracle(graph, weights, {"x": x})["y"]).max() > 1e-3


def test_depthwise_convolutions_stay_what_they_are(rng):
    graph, weights = one(rng, 6)
    assert in_bfloat16(graph, weights)[0] == graph


def test_a_weight_that_a_depthwise_convolution_reads_too_is_not_changed_for_it(rng):
    graph, weights = one(rng, 6)
    other = Node("z", "Conv", ("y", "w6", "b"), {"pads": (0, 1, 1, 0, 1, 1)})
    graph = Graph("two", graph.inputs, (*graph.nodes, other), ("z",),
                  {**graph.parameters, "w6": (6, 6, 1, 3, 3)})  # fmt: skip
    weights["w6"] = np.repeat(weights["w"], 6, axis=1)
    _, made = in_bfloat16(graph, weights)
    np.testing.assert_array_equal(made["w"], weights["w"])
    np.testing.assert_array_equal(made["w6.bfloat16"], bfloat16(weights["w6"]))


@pytest.mark.parametrize("engine", ["numpy", "loops"])
@pytest.mark.parametrize("make", [
    lambda: build_resnet(RESNETS["resnet18"], num_classes=5),
    lambda: build_mobilenet_v2(num_classes=5, width=0.35),
], ids=["resnet18", "mobilenetv2"])  # fmt: skip
def test_engines_stay_within_the_bound_of_the_rounded_network(make, engine, rng):
    """A value that has an error may round to the next number: the bound is wide, but below all."""
    graph = make()
    weights = random_weights(graph)
    size = 32 if engine == "loops" else 64
    x = rng.standard_normal((1, 3, 4, size, size)).astype(np.float32)
    expected = run_with_bound(*in_bfloat16(graph, weights), {"x": x}, U32)["consensus"]
    found = make_engine(graph, weights, engine, precision="bfloat16").run({"x": x})["consensus"]
    assert 0 < expected.used(found) <= 1
    signal = np.abs(expected.value - expected.value.mean()).max()
    assert expected.tolerance().max() < signal


def test_the_bound_tells_rounding_from_none(rng):
    """One layer: exact inputs, so that nothing may fall to another number."""
    graph, weights = one(rng)
    x = rng.standard_normal((1, 6, 2, 5, 7)).astype(np.float32)
    expected = run_with_bound(*in_bfloat16(graph, weights), {"x": x}, U32)["y"]
    for precision in PRECISIONS:
        found = make_engine(graph, weights, "numpy", precision=precision).run({"x": x})["y"]
        assert (expected.used(found) <= 1) == (precision == "bfloat16")


def test_batch_norms_are_folded_before_weights_are_rounded(rng):
    graph = build_resnet(RESNETS["resnet18"], num_classes=5)
    weights = random_weights(graph)
    folded, plain = fold_batch_norm(graph, weights)
    _, made = in_bfloat16(graph, weights)
    name = next(folded.select("Conv")).inputs[1]
    np.testing.assert_array_equal(made[f"{name}.bfloat16"], bfloat16(plain[name]))


def test_quantised_networks_and_unknown_precisions_are_refused():
    graph, weights = network()
    with pytest.raises(UsageError, match="this one is quantised"):
        make_engine(graph, weights, "numpy", precision="bfloat16")
    with pytest.raises(
        UsageError, match=r"`precision` \(='half'\) must be one of float32, bfloat16"
    ):
        tsm_ref.build("resnet18", num_classes=2, precision="half")


def test_onnx_has_no_form_for_it(rng, tmp_path):
    graph, weights = in_bfloat16(*one(rng))
    with pytest.raises(GraphError, match="of bfloat16 has no form in ONNX"):
        export_onnx(graph, weights, tmp_path / "y.onnx", sizes={"N": 1, "T": 2})
    assert not list(tmp_path.iterdir())


def test_a_model_keeps_its_precision_wherever_it_goes():
    import copy
    import pickle

    model = tsm_ref.build("resnet18", num_classes=3, engine="numpy", precision="bfloat16")
    clip = np.random.default_rng(3).standard_normal((1, 3, 4, 32, 32)).astype(np.float32)
    plain = tsm_ref.build("resnet18", num_classes=3, engine="numpy")
    logits = model(clip)
    assert model.precision == "bfloat16"
    assert plain.precision == "float32"
    assert not np.array_equal(logits, plain(clip))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.precision == "bfloat16"
        np.testing.assert_array_equal(other(clip), logits)
    assert not np.array_equal(model.features(clip), plain.features(clip))
