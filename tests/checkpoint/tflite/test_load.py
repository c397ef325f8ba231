"""Networks of TensorFlow Lite files: shifts found, and results those of LiteRT."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.checkpoint.tflite.writer import Sketch, clip_network, fine, rounded_clip_network
from tsm_ref.checkpoint.tflite.schema import OPS, OPTIONS, OTHER_TYPES, TYPES


def litert(data: bytes, *inputs: Any, plain: bool = False) -> Any:
    """What LiteRT computes of a file, with XNNPACK or with its own kernels."""
    module = pytest.importorskip("ai_edge_litert.interpreter")
    kind = module.OpResolverType.BUILTIN_REF if plain else module.OpResolverType.AUTO
    runner = module.Interpreter(model_content=data, experimental_op_resolver_type=kind)
    runner.allocate_tensors()
    for place, values in zip(runner.get_input_details(), inputs, strict=True):
        runner.set_tensor(place["index"], values)
    runner.invoke()
    return runner.get_tensor(runner.get_output_details()[0]["index"])


def loaded(folder: Path, data: bytes) -> Any:
    path = folder / "model.bin"
    path.write_bytes(data)
    return tsm_ref.load(path)


@pytest.fixture
def clip() -> Any:
    return np.random.default_rng(5).normal(size=(1, 3, 4, 8, 8)).astype(np.float32)


def in_frames(clip: Any) -> Any:
    return np.ascontiguousarray(clip[0].transpose(1, 2, 3, 0))


@pytest.mark.parametrize(
    ("how", "fill"),
    [("pad", "zero"), ("zeros", "zero"), ("times zero", "zero"), ("roll", "circular")],
)
def test_a_shift_is_found_however_it_is_exported(
    tmp_path: Path, clip: Any, how: str, fill: str
) -> None:
    sketch, x, y = clip_network(how)
    model = loaded(tmp_path, sketch.file([x], [y]))
    (shift,) = model.graph.select("TemporalShift")
    assert shift.attr("d") == (1, -1, 0, 0, 0, 0, 0, 0)
    assert shift.attr("fill") == fill
    assert model(clip).shape == (1, 5)
    assert model.profile.family == "tflite"


@pytest.mark.parametrize("how", ["pad", "zeros", "times zero", "roll"])
def test_the_results_are_those_of_litert(tmp_path: Path, clip: Any, how: str) -> None:
    sketch, x, y = clip_network(how)
    data = sketch.file([x], [y])
    wanted = litert(data, in_frames(clip))
    np.testing.assert_allclose(loaded(tmp_path, data)(clip), wanted, rtol=0, atol=1e-6)


def test_weights_of_half_precision(tmp_path: Path, clip: Any) -> None:
    sketch, x, y = clip_network()
    exact = loaded(tmp_path, sketch.file([x], [y]))(clip)
    for operator in list(sketch.operators):
        if operator["op"] == "CONV_2D":
            weight = sketch.tensors[operator["inputs"][1]]
            half = sketch.const(np.asarray(weight["data"], np.float16), "float16")
            weight["data"] = None
            entry = {"op": "DEQUANTIZE", "inputs": [half], "outputs": [operator["inputs"][1]]}
            sketch.operators.insert(0, {**entry, "options": {}})
    data = sketch.file([x], [y])
    model = loaded(tmp_path, data)
    made = model(clip)
    assert 0 < np.abs(made - exact).max() < 5e-3
    np.testing.assert_allclose(made, litert(data, in_frames(clip)), rtol=0, atol=1e-6)


def test_a_frame_of_zeros_belongs_to_the_window_behind_it(tmp_path: Path, clip: Any) -> None:
    sketch = Sketch()
    x = sketch.value((4, 8, 8, 3))
    around = sketch.const([[0, 0], [1, 1], [1, 1], [0, 0]])
    wide = sketch.do("PAD", [x, around], (4, 10, 10, 3))
    inputs = [wide, sketch.random(6, 3, 3, 3), sketch.random(6)]
    strides = {"stride_w": 2, "stride_h": 2, "padding": 1}
    y = sketch.do("CONV_2D", inputs, (4, 4, 4, 6), activation=1, **strides)
    wide = sketch.do("PAD", [y, around], (4, 6, 6, 6))
    z = sketch.do("MAX_POOL_2D", [wide], (4, 2, 2, 6), width=3, height=3, **strides)
    data = sketch.file([x], [sketch.classify(z)])
    model = loaded(tmp_path, data)
    assert [n.attr("pads") for n in model.graph.nodes if n.op in ("Conv", "MaxPool")] == [
        (0, 1, 1, 0, 1, 1)
    ] * 2
    np.testing.assert_allclose(model(clip), litert(data, in_frames(clip)), rtol=0, atol=1e-6)


def test_several_clips_at_once(tmp_path: Path, clip: Any) -> None:
    sketch, x, y = clip_network()
    data = sketch.file([x], [y])
    model = loaded(tmp_path, data)
    two = np.concatenate([clip, 2 * clip])
    np.testing.assert_allclose(model(two)[:1], model(clip), rtol=0, atol=1e-6)


def in_steps(values: Any, tensor: Any) -> Any:
    """Reals as the whole numbers of a tensor."""
    scale, zero, _ = tensor["steps"]
    info = np.iinfo(tensor["dtype"])
    return np.clip(np.rint(values / np.float32(scale)) + zero, info.min, info.max).astype(
        tensor["dtype"]
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("how", ["pad", "roll"])
def test_whole_numbers_are_computed_with(tmp_path: Path, clip: Any, dtype: str, how: str) -> None:
    sketch, x, y = rounded_clip_network(dtype, how)
    model = loaded(tmp_path, sketch.file([x], [y]))
    ops = [node.op for node in model.graph.nodes]
    assert ops.count("QLinearConv") == 3
    assert {"QLinearAdd", "QLinearMatMul", "QLinearGlobalAveragePool"} <= {*ops}
    (shift,) = model.graph.select("TemporalShift")
    assert shift.attr("d") == (1, -1, 0, 0, 0, 0, 0, 0)
    assert shift.attr("x_zero_point") == sketch.zero
    scores = model(clip)
    assert np.ptp(scores) > 0
    other = tsm_ref.load(tmp_path / "model.bin", engine="numpy")
    assert np.array_equal(scores, other(clip))


def test_one_scale_has_no_axis_whatever_the_file_says(tmp_path: Path, clip: Any) -> None:
    sketch, x, y = rounded_clip_network("uint8")
    scores = loaded(tmp_path, sketch.file([x], [y]))(clip)
    for tensor in sketch.tensors:
        if tensor.get("steps") is not None:
            tensor["steps"] = (*tensor["steps"][:2], 44)
    np.testing.assert_array_equal(loaded(tmp_path, sketch.file([x], [y]))(clip), scores)


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("how", ["pad", "roll"])
def test_whole_numbers_are_those_of_litert_with_xnnpack(
    tmp_path: Path, clip: Any, how: str, seed: int
) -> None:
    """Behind each layer, to the bit; the mean over frames, of reals, is a step away at halves."""
    sketch, x, _ = rounded_clip_network("int8", how, seed)
    whole = in_steps(in_frames(clip), sketch.tensors[x])
    for operator in sketch.operators:
        if operator["op"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MAX_POOL_2D", "MEAN"):
            (y,) = operator["outputs"]
            data = sketch.file([x], [y])
            (made,) = loaded(tmp_path, data).run({"t0": in_frames(clip)}).values()
            found = in_steps(made, sketch.tensors[y]).astype(int)
            away = np.abs(found - litert(data, whole)).max()
            assert away <= (operator is sketch.operators[-1]), operator["op"]


def test_rows_of_two_rows_are_no_clips_of_two_frames(tmp_path: Path) -> None:
    """The first axis of pictures might be time, but for the mean that leaves their columns."""
    sketch = Sketch()
    x = sketch.value((64, 2, 2, 8))
    y = sketch.do("MEAN", [x, sketch.const([1, 2])], (64, 8))
    model = loaded(tmp_path, sketch.file([x], [y]))
    given = np.random.default_rng(0).normal(size=(64, 2, 2, 8)).astype(np.float32)
    (made,) = model.run({"t0": given}).values()
    np.testing.assert_allclose(made, given.mean((1, 2)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 2, 2, 3), (32, 3, 3, 3), (16, 7, 7, 3)])
@pytest.mark.parametrize("steps", [((0.05, 3), (0.05, 3)), ((0.05, 3), (0.031, -7))])
@pytest.mark.parametrize("op", ["MEAN", "AVERAGE_POOL_2D"])
def test_means_are_those_of_litert(tmp_path: Path, shape: Any, steps: Any, op: str) -> None:
    """Values of which every fourth mean is a half; a pool has the steps of what it reads."""
    sketch, (x_steps, y_steps) = Sketch(), steps
    x = sketch.value(shape, "int8", steps=(*x_steps, 0))
    how = {"dtype": "int8", "steps": (*(y_steps if op == "MEAN" else x_steps), 0)}
    if op == "MEAN":
        y = sketch.do(op, [x, sketch.const([1, 2])], (shape[0], shape[3]), **how)
    else:
        how |= {"height": shape[1], "width": shape[2], "stride_w": 1, "stride_h": 1, "padding": 1}
        y = sketch.do(op, [x], (shape[0], 1, 1, shape[3]), **how)
    data = sketch.file([x], [y])
    q = np.random.default_rng(0).integers(-50, 60, shape).astype(np.int8)
    reals = ((q.astype(np.float32) - x_steps[1]) * np.float32(x_steps[0])).astype(np.float32)
    (made,) = loaded(tmp_path, data).run({"t0": reals}).values()
    found = in_steps(made, sketch.tensors[y])
    np.testing.assert_array_equal(found.reshape(-1), litert(data, q).reshape(-1))


@pytest.mark.parametrize("op", ["QUANTIZE", "RELU6", "LEAKY_RELU", "HARD_SWISH"])
def test_functions_of_one_value_are_those_of_litert(tmp_path: Path, op: str) -> None:
    sketch, shape = Sketch(), (4, 8, 8, 3)
    x = sketch.value(shape, "int8", steps=(0.05, 3, 0))
    more = {"alpha": 0.2} if op == "LEAKY_RELU" else {}
    y = sketch.do(op, [x], shape, dtype="int8", steps=(0.037, -7, 0), **more)
    data = sketch.file([x], [y])
    q = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    reals = ((q.astype(np.float32) - 3) * np.float32(0.05)).astype(np.float32)
    model = loaded(tmp_path, data)
    (made,) = model.run({"t0": reals}).values()
    np.testing.assert_array_equal(in_steps(made, sketch.tensors[y]), litert(data, q))
    assert "LookUp" in {node.op for node in model.graph.nodes}


def test_weights_alone_of_8_bits_are_told(tmp_path: Path, clip: Any) -> None:
    sketch, x, y = clip_network()
    weight = sketch.tensors[sketch.operators[0]["inputs"][1]]
    scales = np.abs(weight["data"]).reshape(8, -1).max(1) / 127
    whole = np.rint(weight["data"] / scales.reshape(-1, 1, 1, 1)).astype(np.int8)
    exact = loaded(tmp_path, sketch.file([x], [y]))(clip)
    weight.update(data=whole, dtype="int8", steps=(scales, np.zeros(8), 0))
    data = sketch.file([x], [y])
    with pytest.warns(UserWarning, match="1 layers have weights of 8 bits and read reals"):
        made = loaded(tmp_path, data)(clip)
    assert 0 < np.abs(made - exact).max() < 0.05
    np.testing.assert_allclose(made, litert(data, in_frames(clip)), rtol=0, atol=0.05)


def test_values_of_16_bits_stay_real_which_is_told(tmp_path: Path, clip: Any) -> None:
    sketch, x, y = clip_network()
    exact = loaded(tmp_path, sketch.file([x], [y]))(clip)
    fine(sketch)
    sketch.tensors[sketch.operators[-1]["inputs"][1]]["steps"] = (0.0, 0, 0)  # the axes of a mean
    with pytest.warns(UserWarning, match="values are of 16 bits: LiteRT rounds them"):
        model = loaded(tmp_path, sketch.file([x], [y]))
    assert 0 < np.abs(model(clip) - exact).max() < 0.05
    (shift,) = model.graph.select("TemporalShift")
    assert shift.attr("d") == (1, -1, 0, 0, 0, 0, 0, 0)


def test_values_of_16_bits_end_where_their_range_does(tmp_path: Path, clip: Any) -> None:
    sketch, x, y = clip_network()
    fine(sketch, largest=0.5)
    sketch.tensors[sketch.operators[-1]["inputs"][1]]["steps"] = (0.0, 0, 0)  # the axes of a mean
    sketch.tensors[y]["steps"] = (np.float32(8 / 32767), 0, 0)
    with pytest.warns(UserWarning, match="cut off"):
        model = loaded(tmp_path, sketch.file([x], [y]))
    ends = [(n.attr("min"), n.attr("max")) for n in model.graph.select("Clip")]
    assert len(ends) == 4
    assert max(end[1] for end in ends) == pytest.approx(0.5, rel=1e-4)
    assert [end[0] for end in ends].count(0) == 2  # behind a ReLU, and a ReLU6


@pytest.mark.parametrize("end", ["", "SOFTMAX"])
def test_what_rounds_the_answer_is_left_out_of_a_stream(
    tmp_path: Path, clip: Any, end: str
) -> None:
    sketch, x, y = rounded_clip_network("int8")
    if end:
        how: dict[str, Any] = {"dtype": "int8", "steps": (1 / 256, -128, 0)}
        y = sketch.do(end, [y], sketch.shape(y), beta=1.0, **how)
    model = loaded(tmp_path, sketch.file([x], [y]))
    assert model.output == ("probabilities" if end else "logits")
    stream = model.stream()
    frames = [stream.step(clip[:, :, t]) for t in range(4)] + [stream.flush()]
    rows = np.concatenate([np.reshape(v, (-1, 5)) for v in frames if v is not None])
    step = sketch.tensors[sketch.operators[-1 - bool(end)]["outputs"][0]]["steps"][0]
    np.testing.assert_allclose(model.logits(clip)[0], rows.mean(0), rtol=0, atol=0.51 * step)
    (made,) = model.run({"t0": in_frames(clip)}).values()
    np.testing.assert_array_equal(model(clip), made.reshape(1, 5))


def test_the_schema_is_that_of_litert() -> None:
    module = pytest.importorskip("ai_edge_litert.schema_py_generated")
    for code, name in OPS.items():
        assert getattr(module.BuiltinOperator, name) == code
    names = {code: name for code, (name, _) in TYPES.items()} | OTHER_TYPES
    assert names == {v: k.lower() for k, v in vars(module.TensorType).items() if k[0] != "_"}
    members = {v: k for k, v in vars(module.BuiltinOptions).items() if k[0] != "_"}
    for op, options in OPTIONS.items():
        found = members[options.member].removesuffix("Options").replace("Reducer", op)
        assert found.replace("2D", "").upper()[:4] in op.replace("_", "") or found == "Pool2D"


@pytest.mark.parametrize(
    ("steps", "ends"), [((1.0, -128), (0, 255)), ((1 / 255, -128), (0, 1)), ((2 / 255, 0), (-1, 1))]
)
def test_how_far_an_input_of_whole_numbers_reaches(
    tmp_path: Path, steps: tuple[float, int], ends: tuple[int, int]
) -> None:
    sketch, x, y = rounded_clip_network()
    sketch.tensors[x]["steps"] = (*steps, 0)
    sketch.tensors[sketch.operators[0]["inputs"][2]]["steps"] = None  # those of the products
    with pytest.warns(UserWarning, match=f"reaches from {ends[0]} to {ends[1]}"):
        spec = loaded(tmp_path, sketch.file([x], [y])).profile.preprocess
    made = [(p * spec.scale - spec.mean[0]) / spec.std[0] for p in (0, 255)]
    np.testing.assert_allclose(made, ends, rtol=0, atol=1e-6)
