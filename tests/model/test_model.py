"""The public API: load, build, save, run, and what a model says about itself."""

from pathlib import Path

import numpy as np
import pytest

import tsm_ref
from tests.judging import U32, assert_within
from tsm_ref.checkpoint import weights_folder
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import CheckpointError, GraphError, UsageError, VideoError, WriteError
from tsm_ref.model import Model

ENGINES = ("numpy", "numba")
SHIPPED = ("camera-motion", "camera-motion-offline", "camera-motion-tsn")


@pytest.fixture
def small() -> Model:
    return tsm_ref.build("mobilenetv2", num_classes=5, width=0.35, engine="numpy")


def clip(rng, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_within_the_bound_of_the_oracle(name, engine, rng) -> None:
    model = tsm_ref.load(name, engine=engine)
    x = clip(rng, 2, 3, 8, 64, 64)
    bounded = run_with_bound(model.graph, model.weights, {"x": x}, U32)["consensus"]
    assert_within(model(x), bounded)


def test_what_decodes_of_a_damaged_video_is_used_if_asked_for(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    whole = tmp_path / "whole.mkv"
    with (
        av.open(str(weights_folder() / "samples" / "pan_left.mp4")) as source,
        av.open(str(whole), "w") as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: 3 * whole.stat().st_size // 4])
    model = tsm_ref.load("camera-motion", engine="numpy")
    with pytest.raises(VideoError):
        model.recognize(cut)
    found = model.recognize(cut, allow_partial=True)
    assert found.predictions[0].label == "pan left"
    assert found.warnings
    assert all(warning.endswith("what decodes is used") for warning in found.warnings)


def test_shipped_model_needs_no_network_and_has_its_labels() -> None:
    model = tsm_ref.load("camera-motion")
    assert model.labels[:3] == ("static", "pan left", "pan right")
    assert len(model.labels) == 9
    assert model.profile.shift.causal
    assert all(shift.streaming for shift in model.shifts)
    assert len(model.sha256) == 64
    assert not any(shift.streaming for shift in tsm_ref.load("camera-motion-offline").shifts)
    assert tsm_ref.load("camera-motion-tsn").shifts == []


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files_are_small(name: str) -> None:
    assert (weights_folder() / f"{name}.h5").stat().st_size < 3_000_000


def test_frame_logits_average_to_the_logits(small: Model, rng) -> None:
    x = clip(rng, 2, 3, 4, 32, 32)
    frames = small.frame_logits(x)
    assert frames.shape == (2, 4, 5)
    np.testing.assert_allclose(frames.mean(1), small(x), rtol=1e-5, atol=1e-6)
    assert not np.allclose(frames[:, 0], frames[:, 1])


def test_run_takes_and_gives_what_the_graph_names(small: Model, rng) -> None:
    x = clip(rng, 1, 3, 4, 32, 32)
    outputs = small.run({"x": x})
    assert list(outputs) == ["consensus"]
    np.testing.assert_array_equal(outputs["consensus"], small(x))


def test_two_inputs_go_through_run(rng) -> None:
    model = tsm_ref.build("ts-can", engine="numpy")
    inputs = {
        "motion": clip(rng, 1, 3, 20, 36, 36),
        "appearance": clip(rng, 1, 3, 1, 36, 36),
    }
    assert model.run(inputs)["pulse"].shape == (1, 20)
    with pytest.raises(UsageError, match="'motion', 'appearance'"):
        model(inputs["motion"])
    with pytest.raises(UsageError, match="no consensus"):
        model.frame_logits(inputs["motion"])


def test_bad_clips_are_refused(small: Model) -> None:
    with pytest.raises(UsageError, match="uint8"):
        small(np.zeros((1, 3, 4, 32, 32), np.uint8))
    with pytest.raises(GraphError, match="'x'"):
        small(np.zeros((1, 4, 4, 32, 32), np.float32))
    with pytest.raises(GraphError, match="'x'"):
        small(np.zeros((3, 4, 32, 32), np.float32))
    with pytest.raises(GraphError, match="'x'"):
        small(np.zeros((1, 3, 0, 32, 32), np.float32))


def test_the_clip_is_left_alone_and_the_result_is_ones_own(small: Model, rng) -> None:
    x = clip(rng, 1, 3, 4, 32, 32)
    x.flags.writeable = False
    first = small(x)
    kept = first.copy()
    small(2 * x)
    np.testing.assert_array_equal(first, kept)


def test_strides_and_byte_order_do_not_matter(small: Model, rng) -> None:
    x = clip(rng, 1, 3, 4, 32, 32)
    turned = np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_array_equal(small(turned), small(x))
    np.testing.assert_array_equal(small(x.astype(">f4")), small(x))
    np.testing.assert_array_equal(small(x.astype(np.float64)), small(x))


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_save_and_load_keep_the_model(small: Model, storage: str, tmp_path: Path, rng) -> None:
    digest = tsm_ref.save(small, tmp_path / "m.h5", storage=storage)
    again = tsm_ref.load(tmp_path / "m.h5", engine="numpy")
    assert again.sha256 == digest
    assert again.profile == small.profile
    assert again.graph == small.graph
    exact = storage == "float32"
    for name, value in small.weights.items():
        kept = value if exact else value.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(again.weights[name], kept)
    x = clip(rng, 1, 3, 4, 32, 32)
    np.testing.assert_allclose(again(x), small(x), rtol=0, atol=0 if exact else 0.05)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fate", ["deleted", "replaced", "overwritten"])
def test_a_loaded_model_needs_its_file_no_more(small, tmp_path, rng, engine, fate) -> None:
    path = tmp_path / "m.h5"
    tsm_ref.save(small, path)
    model = tsm_ref.load(path, engine=engine)
    if fate == "overwritten":
        path.write_bytes(b"rubble")
    else:
        path.unlink()
    if fate == "replaced":
        tsm_ref.save(tsm_ref.build("resnet18", num_classes=2), path)
    assert model.digest() == small.digest()
    for size in (32, 64):  # another size calls for other forms of the weights
        assert (
            model(clip(rng, 1, 3, 4, size, size)).shape == small(clip(rng, 1, 3, 4, 32, 32)).shape
        )
    for name, value in small.weights.items():
        np.testing.assert_array_equal(model.weights[name], value)
    tsm_ref.save(model, tmp_path / "again.h5")
    assert tsm_ref.load(tmp_path / "again.h5").digest() == small.digest()


def test_the_state_of_a_stream_is_saved_without_file_or_another_digest(
    tmp_path, monkeypatch, rng
) -> None:
    path = tmp_path / "m.h5"
    tsm_ref.save(tsm_ref.build("mobilenetv2", num_classes=3, width=0.35, causal=True), path)
    model = tsm_ref.load(path)
    path.unlink()
    stream = model.stream()
    stream.step(clip(rng, 3, 224, 224))
    stream.save(tmp_path / "state.h5")
    monkeypatch.setattr(model, "_get_weights", lambda: pytest.fail("the weights are hashed again"))
    stream.step(clip(rng, 3, 224, 224))
    stream.save(tmp_path / "state.h5")
    model.stream().load(tmp_path / "state.h5")


def test_a_model_of_a_relative_path_can_be_saved_from_elsewhere(
    small: Model, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tsm_ref.save(small, "m.h5")
    model = tsm_ref.load("m.h5", engine="numpy")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert tsm_ref.save(model, "copy.h5") == model.sha256


def test_save_refuses_what_cannot_be(small: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int8"):
        tsm_ref.save(small, tmp_path / "m.h5", storage="int8")
    with pytest.raises(UsageError, match=r"m\.ONNX: `save` writes HDF5.*tsm_ref\.convert"):
        tsm_ref.save(small, tmp_path / "m.ONNX")
    with pytest.raises(WriteError, match=r"no-such.m\.h5: "):
        tsm_ref.save(small, tmp_path / "no-such" / "m.h5")
    with pytest.raises(WriteError, match="zero byte"):
        tsm_ref.save(small, "a\0b")
    assert list(tmp_path.iterdir()) == []


def test_labels_are_one_per_class(small: Model, tmp_path: Path) -> None:
    small.profile = small.profile.with_changes(labels=("one", "two"))
    tsm_ref.save(small, tmp_path / "m.h5")
    with pytest.raises(CheckpointError, match="5 classes and 2 labels"):
        tsm_ref.load(tmp_path / "m.h5", engine="numpy")


def test_a_profile_is_a_profile() -> None:
    with pytest.raises(UsageError, match="profile"):
        tsm_ref.load("camera-motion", profile=5)  # type: ignore[arg-type]


def test_a_pulse_network_without_shifts() -> None:
    assert tsm_ref.build("ts-can", placement="none", engine="numpy").shifts == []


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    path.write_text("hello")
    with pytest.raises(CheckpointError, match=r"text\.h5: "):
        tsm_ref.load(path)


def test_the_same_seed_gives_the_same_weights() -> None:
    one, two, other = (
        tsm_ref.build("resnet18", num_classes=3, seed=seed, engine="numpy").weights
        for seed in (1, 1, 2)
    )
    assert all((one[name] == two[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"architecture": "resnet19"}, "resnet19"),
        ({"architecture": "resnet18", "placement": "sideways"}, "placement"),
        ({"architecture": "mobilenetv2", "placement": "block"}, "block"),
        ({"architecture": "resnet18", "nonsense": 1}, "nonsense"),
        ({"architecture": "resnet18", "fill": "mirror"}, "fill"),
        ({"architecture": "resnet18", "segments": 0}, "segments"),
        ({"architecture": "resnet18", "engine": "gpu"}, "gpu"),
        ({"architecture": "resnet18", "threads": 0}, "threads"),
        ({"architecture": "resnet18", "threads": 1.5}, "threads"),
        ({"architecture": "resnet18", "num_classes": 0}, "num_classes"),
        ({"architecture": "resnet18", "num_classes": 2.5}, "num_classes"),
        ({"architecture": "resnet18", "num_classes": 10**12}, "num_classes"),
        ({"architecture": "resnet18", "num_classes": 2**31 - 1}, "parameters were asked for"),
        ({"architecture": "resnet18", "seed": -1}, "seed"),
        ({"architecture": "resnet18", "segments": 1.5}, "segments"),
        ({"architecture": "resnet18", "fold_div": 2.5}, "fold_div"),
        ({"architecture": "mobilenetv2", "width": 0}, "width"),
        ({"architecture": "mobilenetv2", "width": 100}, "width"),
        ({"architecture": "ts-can", "placement": "block"}, "block"),
        ({"architecture": "ts-can", "num_classes": 7}, "no classes"),
        ({"architecture": 5}, "no architecture 5"),
    ],
)
def test_build_refuses_what_cannot_be(options, sentence) -> None:
    with pytest.raises(UsageError, match=sentence):
        tsm_ref.build(**options)


def test_causal_and_replicated_models_shift_as_they_say() -> None:
    causal = tsm_ref.build("resnet18", num_classes=3, causal=True, fold_div=4, engine="numpy")
    assert [(s.d >= 0).all() for s in causal.shifts] == [True] * 8
    assert causal.shifts[0].d.tolist() == [1] * 16 + [0] * 48
    circular = tsm_ref.build("resnet18", num_classes=3, fill="circular", engine="numpy")
    assert {s.fill for s in circular.shifts} == {"circular"}
    assert not any(s.streaming for s in circular.shifts)


def test_public_names_are_sorted_complete_and_importable() -> None:
    assert tsm_ref.__all__ == sorted(tsm_ref.__all__)
    for name in tsm_ref.__all__:
        assert getattr(tsm_ref, name) is not None
    assert set(tsm_ref.__all__) <= set(dir(tsm_ref))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tsm_ref.nonsense


ROWS = [[1.0], [1.0, 2.0]]


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_unequal_lengths_are_refused(engine) -> None:
    model = tsm_ref.load("camera-motion", engine=engine)
    for call in (model, model.frame_logits, lambda x: model.run({"x": x})):
        with pytest.raises(UsageError, match="'x' has rows of unequal lengths"):
            call(ROWS)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "shape", [(3, 8, 64, 64), (2, 4, 8, 64, 64), (2, 3, 0, 64, 64), (0, 3, 8, 64, 64), (64,), ()]
)
def test_a_shape_that_does_not_fit_is_quoted_as_it_is(engine, shape) -> None:
    model = tsm_ref.load("camera-motion", engine=engine)
    with pytest.raises(GraphError) as caught:
        model(np.zeros(shape, np.float32))
    assert f"'x' has shape {shape}; expected (N" in str(caught.value)


def test_a_chunk_that_does_not_fit_is_quoted_as_it_is() -> None:
    stream = tsm_ref.load("camera-motion", engine="numpy").stream()
    for shape in ((1, 3, 64, 64), (1, 4, 2, 64, 64)):
        with pytest.raises(GraphError) as caught:
            stream.steps(np.zeros(shape, np.float32))
        assert f"'x' has the shape {shape}" in str(caught.value)


def test_an_option_that_an_architecture_does_not_have_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        tsm_ref.build("resnet18", num_classes=3, depth=5)
    said = "cannot build 'resnet18': it has no option 'depth'; beside those of all, it has "
    assert str(caught.value).startswith(said)
