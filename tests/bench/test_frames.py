"""The network that other runtimes are given, held against our engine through ONNX's evaluator."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from tsm_ref.bench.formats import write_ncnn, write_onnx
from tsm_ref.bench.frames import as_frames
from tsm_ref.bench.workloads import Workload
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.errors import UsageError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.models import build_resnet, random_weights
from tsm_ref.models.resnet import ResNetSpec
from tsm_ref.profile import ShiftRule

SMALL = ResNetSpec((1, 1), bottleneck=True, width=16, strides=(1, 2))


def frames_of(clip):
    return np.ascontiguousarray(clip[0].swapaxes(0, 1))


@pytest.mark.parametrize("rule", ["mit", "online", "none"])
def test_a_clip_in_a_batch_gives_the_same_logits(rule, tmp_path, rng):
    graph = build_resnet(SMALL, num_classes=4, shift=ShiftRule(rule))
    weights = random_weights(graph)
    clip = rng.standard_normal((1, 3, 5, 32, 32)).astype(np.float32)
    write_onnx(as_frames(graph, weights, 5, 32), tmp_path / "network.onnx")
    session = ReferenceEvaluator(str(tmp_path / "network.onnx"))
    (answer,) = session.run(None, {"x": frames_of(clip)})
    expected = NumpyEngine(graph, weights, np.float64).run({"x": clip})["consensus"]
    np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max())


def test_one_frame_at_a_time_with_state_is_the_whole_clip(tmp_path):
    job = Workload("test", "mobilenetv2", 3, 3, 32, "online", True, (("width", 0.35),))
    graph, weights, clip = job.graph(), job.weights(), job.clip()
    network = as_frames(graph, weights, 1, 32, online=True)
    write_onnx(network, tmp_path / "network.onnx")
    session = ReferenceEvaluator(str(tmp_path / "network.onnx"))
    states = [np.zeros(shape, np.float32) for shape in network.states]
    answers = []
    for frame in np.split(frames_of(clip), 3):
        answer, *states = session.run(
            None, dict(zip(network.inputs, [frame, *states], strict=True))
        )
        answers.append(answer[0])
    logits = graph.frame_logits
    whole = NumpyEngine(graph.with_outputs([logits]), weights, np.float64).run({"x": clip})[logits]
    np.testing.assert_allclose(np.array(answers), whole[0].T, atol=1e-4 * np.abs(whole).max())
    assert np.abs(np.diff(answers, axis=0)).max() > 1e-3


def test_ncnn_gets_every_layer_and_every_value_is_read_once(tmp_path):
    job = Workload("test", "mobilenetv2", 3, 1, 32, "online", True, (("width", 0.35),))
    network = as_frames(job.graph(), job.weights(), 1, 32, online=True)
    write_ncnn(network, tmp_path / "a.param", tmp_path / "a.bin")
    magic, sizes, *lines = (tmp_path / "a.param").read_text().splitlines()
    assert magic == "7767517"
    made, read = [], []
    for line in lines:
        _, _, inputs, outputs, *rest = line.split()
        read += rest[: int(inputs)]
        made += rest[int(inputs) : int(inputs) + int(outputs)]
    assert sizes == f"{len(lines)} {len(made)}"
    assert len(set(made)) == len(made)
    assert len(set(read)) == len(read)
    assert set(read) < set(made)
    convolutions = [op for op in network.ops if op.kind in ("conv", "linear")]
    floats = sum(network.tensors[name].size for op in convolutions for name in op.inputs[1:])
    assert (tmp_path / "a.bin").stat().st_size == 4 * floats + 4 * len(convolutions)


def test_ncnn_refuses_what_joins_pictures(tmp_path):
    graph = build_resnet(SMALL, num_classes=4)
    network = as_frames(graph, random_weights(graph), 2, 32)
    with pytest.raises(UsageError, match="one picture at a time"):
        write_ncnn(network, tmp_path / "a.param", tmp_path / "a.bin")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node("y", "Softmax", ("x",)), "not timed on Softmax"),
        (Node("y", "Conv", ("x", "w"), {"strides": (2, 1, 1)}), "such a Conv"),
        (Node("y", "Conv", ("x", "w"), {"pads": (0, 1, 1, 0, 0, 0)}), "such a Conv"),
    ],
)
def test_what_cannot_be_said_is_refused(node, message):
    parameters = {"w": (4, 3, 1, 1, 1)} if node.op == "Conv" else {}
    graph = Graph("g", (Input("x", ("N", 3, "T", 8, 8)),), (node,), ("y",), parameters)
    weights = {name: np.ones(shape, np.float32) for name, shape in parameters.items()}
    with pytest.raises(UsageError, match=message):
        as_frames(graph, weights, 2, 8)


@pytest.mark.parametrize(("fill", "online"), [("circular", False), ("zero", True)])
def test_a_shift_that_cannot_be_carried_is_refused(fill, online):
    graph = build_resnet(SMALL, num_classes=4, shift=ShiftRule("mit", fill=fill))
    with pytest.raises(UsageError, match="shift" if online else "fill"):
        as_frames(graph, random_weights(graph), 1, 32, online)
