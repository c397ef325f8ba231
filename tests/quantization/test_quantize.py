"""A float model and clips in, a model of whole numbers out that does the same."""

import json

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import export_onnx, weights_folder
from tsm_ref.engine import make_engine
from tsm_ref.engine.oracle import run_oracle
from tsm_ref.errors import TsmError, UsageError, VideoError
from tsm_ref.model import Model
from tsm_ref.quantization import Report, quantize
from tsm_ref.quantization.place import layers_of
from tsm_ref.quantization.report import NOTE, loss_of

SAMPLES = sorted((weights_folder() / "samples").glob("*.mp4"))


def clips_for(model, count=3, seed=0, size=32, frames=8):
    rng = np.random.default_rng(seed)
    shapes = {
        entry.name: [d if isinstance(d, int) else {"N": 1, "T": frames}.get(d, size) for d in
                     entry.shape]
        for entry in model.graph.inputs
    }  # fmt: skip
    return [
        {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(count)
    ]


NETWORKS = [
    ("resnet18", {"num_classes": 5}),
    ("resnet18", {"num_classes": 5, "causal": True}),
    ("mobilenetv2", {"num_classes": 5, "width": 0.35}),
    ("mobilenetv2", {"num_classes": 5, "width": 0.35, "causal": True}),
]


def built(name, options):
    try:
        return tsm_ref.build(name, engine="numpy", **options)
    except UsageError:
        pytest.skip(f"no architecture {name}")


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_logits_stay_near_those_of_float32(name, options):
    model = built(name, options)
    clips = clips_for(model)
    made = quantize(model, clips, keep=(), timed=False)
    report = Report.from_json(made.notes[NOTE])
    assert made.graph.quantised
    assert all(layer.precision == "int8" and layer.snr > 25 for layer in report.layers)
    assert report.loss.rms < 0.03
    fresh = clips_for(model, 1, seed=9)[0]
    found = loss_of(model(fresh["x"]), made(fresh["x"]))
    assert found.rms < 0.05
    whole = {node.op for node in made.graph.nodes}
    assert not {"Conv", "Linear", "Add", "Relu", "Clip", "GlobalAveragePool"} & whole
    assert [s.d.tolist() for s in made.shifts] == [s.d.tolist() for s in model.shifts]


def test_the_result_is_a_file_like_any_other(tmp_path):
    made = quantize(built("resnet18", {"num_classes": 5, "causal": True}), clips_for(
        tsm_ref.build("resnet18", num_classes=5, engine="numpy")), timed=False)  # fmt: skip
    tsm_ref.save(made, tmp_path / "m.h5")
    again = tsm_ref.load(tmp_path / "m.h5", engine="numpy")
    x = clips_for(made, 1)[0]["x"]
    assert (again(x) == made(x)).all()
    expected = run_oracle(made.graph, made.weights, {"x": x}, np.float32)["consensus"]
    np.testing.assert_allclose(made(x), expected, rtol=1e-6)
    assert (tmp_path / "m.h5").stat().st_size < 0.27 * 4 * 11_179_077
    stream = again.stream()
    frames = np.concatenate([stream.step(x[:, :, t])[:, None] for t in range(8)], 1)
    assert (frames == made.frame_logits(x)).all()


def test_layers_that_are_to_stay_float_do():
    model = built("resnet18", {"num_classes": 5})
    made = quantize(model, clips_for(model, 1), keep=["bn1", "fc"], timed=False)
    assert made.graph.node["fc"].op == "Linear"
    assert sum(1 for _ in made.graph.select("Conv")) == 1
    report = Report.from_json(made.notes[NOTE])
    assert [layer.name for layer in report.layers if layer.precision == "float32"] == ["bn1", "fc"]


def test_a_network_of_two_inputs_is_calibrated_on_arrays():
    model = tsm_ref.build("ts-can", engine="numpy")
    names = [entry.name for entry in model.graph.inputs]
    shapes = model.input_shapes()
    rng = np.random.default_rng(0)
    clips = [{n: rng.standard_normal(shapes[n]).astype(np.float32) for n in names}]
    made = quantize(model, clips, keep=(), timed=False)
    expected = model.run(clips[0])
    for name, value in made.run(clips[0]).items():
        assert np.abs(value - expected[name]).max() < 0.2 * np.abs(expected[name]).max()
    assert "LookUp" in {node.op for node in made.graph.nodes}


def test_the_shipped_model_says_the_same_of_videos():
    model = tsm_ref.load("camera-motion", engine="numpy")
    made = quantize(model, SAMPLES, timed=False)
    for path in SAMPLES:
        assert (
            made.recognize(path).predictions[0].label == model.recognize(path).predictions[0].label
        )
    report = json.loads(made.notes[NOTE])
    assert report["loss"]["agreement"] == 1
    assert "in float32 it was: 99.5%" in made.profile.measured


@pytest.mark.parametrize("dtype", [np.float32])
def test_what_measures_chose_nothing_where_there_are_enough_clips(dtype):
    model = tsm_ref.build("mobilenetv2", num_classes=2, width=0.35, engine="numpy")
    made = quantize(model, clips_for(model, 8), keep=(), equalise=False, timed=False)
    report = Report.from_json(made.notes[NOTE])
    assert (report.held_out, report.clips, report.measured_on) == (True, 6, 2)


@pytest.mark.parametrize(
    ("clips", "options", "kind", "sentence"),
    [
        ([], {}, UsageError, "there are no clips"),
        ([SAMPLES[0]], {"method": "best"}, UsageError, "must be one of min-max, percentile, mse"),
        ([SAMPLES[0]], {"keep": ["no.such"]}, UsageError, "no layer 'no.such' with weights"),
        (["no-such.mp4"], {}, VideoError, "no-such.mp4"),
    ],
)
def test_what_cannot_be_is_refused(clips, options, kind, sentence):
    model = tsm_ref.load("camera-motion", engine="numpy")
    with pytest.raises(kind, match=sentence):
        quantize(model, clips, **options)


def test_what_is_quantised_stays_as_it_is():
    model = tsm_ref.build("resnet18", num_classes=2, engine="numpy")
    made = quantize(model, clips_for(model, 1), keep=(), timed=False)
    half = tsm_ref.build("resnet18", num_classes=2, engine="numpy", precision="bfloat16")
    with pytest.raises(TsmError, match="in float32, which 8 bits are held against"):
        quantize(half, [])
    with pytest.raises(TsmError, match="is quantised already"):
        quantize(made, clips_for(model, 1))


def test_the_function_and_the_module_of_its_name_are_both_called_the_same():
    import tsm_ref.quantize

    model = tsm_ref.build("mobilenetv2", num_classes=2, width=0.35, engine="numpy")
    made = tsm_ref.quantize(model, clips_for(model, 1), keep=(), timed=False)
    assert isinstance(made, Model)
    assert len(layers_of(made.graph)) == 0


def test_a_shift_along_height_and_width_is_one_of_whole_numbers(tmp_path):
    model = tsm_ref.build(
        "resnet18", num_classes=5, segments=2, spatial_shift=8, causal=True, engine="numpy"
    )
    rng = np.random.default_rng(0)
    clips = [{"x": x} for x in rng.standard_normal((3, 1, 3, 2, 40, 40)).astype(np.float32)]
    made = quantize(model, clips, keep=(), equalise=False, timed=False)
    ops = [node.op for node in made.graph.nodes]
    assert (ops.count("SpatialShift"), ops.count("QuantizeLinear")) == (8, 1)
    assert "DequantizeLinear" not in ops
    for node in made.graph.select("SpatialShift"):
        assert node.attr("x_zero_point") == made.graph.types[node.name].zero_point
    expected = made(clips[0]["x"])
    for engine in ("loops", "numba"):
        twin = make_engine(made.graph, made.weights, engine)
        assert np.array_equal(twin.run(clips[0])[made.graph.outputs[0]], expected), engine
    oracle = run_oracle(made.graph, made.weights, clips[0], np.float32)
    assert np.allclose(oracle[made.graph.outputs[0]], expected, rtol=0, atol=1e-6)
    path = tmp_path / "m.onnx"
    export_onnx(made.graph, made.weights, path, sizes={"N": 1, "T": 2, "H": 40, "W": 40})
    again = tsm_ref.load(path, engine="numpy")
    assert np.array_equal(again(clips[0]["x"]), expected)
    assert [n.op for n in again.graph.nodes].count("QuantizeLinear") == 1
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, clips[0])
    assert np.allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
