"""A video to predictions: what is sampled, averaged and cut into a timeline, on real pictures."""

import importlib
import json
import os
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import export_onnx_stream, sha256_of, weights_folder
from tsm_ref.errors import CheckpointError, UsageError, VideoError
from tsm_ref.kernels import notice
from tsm_ref.live.session import Session, follow
from tsm_ref.model import Model
from tsm_ref.profile import PROFILES, Preprocess, Sampling
from tsm_ref.recognition import as_table, recognize, sampled
from tsm_ref.recognition.stopwatch import Stopwatch
from tsm_ref.video import preprocess, read_frames

SAMPLES = weights_folder() / "samples"


@pytest.fixture(scope="module")
def camera() -> Model:
    return tsm_ref.load("camera-motion", engine="numpy")


@pytest.mark.parametrize("sample", ["pan_left", "zoom_in", "roll_clockwise"])
def test_names_the_motion_of_every_sample(camera: Model, sample: str) -> None:
    result = recognize(camera, SAMPLES / f"{sample}.mp4")
    assert result.predictions[0].label == sample.replace("_", " ")
    assert result.predictions[0].probability > 0.9
    assert [segment.label for segment in result.segments] == [sample.replace("_", " ")]
    assert result.sha256 == sha256_of(SAMPLES / f"{sample}.mp4")


def test_timeline_of_the_tour_is_the_truth_within_a_stride(camera: Model) -> None:
    truth = json.loads((SAMPLES / "tour.json").read_text())["segments"]
    found = recognize(camera, SAMPLES / "tour.mp4").segments
    assert [s.label for s in found] == [s["label"] for s in truth]
    for segment, real in zip(found, truth, strict=True):
        assert abs(segment.start - real["start"]) <= camera.profile.sampling.stride
        assert abs(segment.end - real["end"]) <= camera.profile.sampling.stride


def test_prediction_is_the_mean_of_the_windows_run_by_hand(camera: Model) -> None:
    result = recognize(camera, SAMPLES / "tour.mp4", top=9)
    logits = []
    for indices in result.indices:
        clip = preprocess(
            read_frames(SAMPLES / "tour.mp4", indices).pixels, camera.profile.preprocess
        )
        logits.append(camera(clip)[0].astype(np.float64))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for prediction in result.predictions:
        assert prediction.probability == pytest.approx(shares.mean(0)[prediction.index])
        assert prediction.logit == pytest.approx(np.mean(logits, 0)[prediction.index])
    assert [p.rank for p in result.predictions] == list(range(1, 10))
    ordered = [p.probability for p in result.predictions]
    assert ordered == sorted(ordered, reverse=True)


def test_reversed_frames_swap_the_direction(camera: Model) -> None:
    frames = read_frames(SAMPLES / "pan_left.mp4", np.arange(20, 44, 3)).pixels
    forward = preprocess(frames, camera.profile.preprocess)
    assert camera.labels[int(camera(forward).argmax())] == "pan left"
    backward = np.ascontiguousarray(forward[:, :, ::-1])
    assert camera.labels[int(camera(backward).argmax())] == "pan right"


@pytest.mark.parametrize(
    ("policy", "crops", "clips", "views"),
    [("uniform", 1, 1, 1), ("twice", 3, 2, 3), ("uniform", 5, 1, 5), ("dense", 10, 10, 10)],
)
def test_clips_and_crops_are_all_run_and_averaged(
    policy: str, crops: int, clips: int, views: int
) -> None:
    model = tsm_ref.build("mobilenetv2", num_classes=4, width=0.35, segments=2, engine="numpy")
    small = Preprocess(short_side=40, crop=(32, 32))
    profile = sampled(replace(model.profile, preprocess=small), policy=policy, crops=crops)
    result = recognize(model, SAMPLES / "zoom_in.mp4", profile=profile, top=4)
    assert result.indices.shape == (clips, 2)
    batch = np.concatenate(
        [
            preprocess(read_frames(SAMPLES / "zoom_in.mp4", row).pixels, profile.preprocess)
            for row in result.indices
        ]
    )
    assert len(batch) == clips * views
    mean = model(batch).mean(0, dtype=np.float64)
    for prediction in result.predictions:
        assert prediction.logit == pytest.approx(mean[prediction.index], rel=1e-6)
        share = np.exp(mean[prediction.index]) / np.exp(mean).sum()
        assert prediction.probability == pytest.approx(share, rel=1e-6)
        assert prediction.label == f"class {prediction.index}"
    assert result.segments == ()


def test_a_clip_shorter_than_the_model_repeats_frames_and_says_so(
    camera: Model, tmp_path: Path
) -> None:
    path = _clip(tmp_path / "one.mkv", 1)
    result = recognize(camera, path)
    assert result.predictions[0].label == "static"
    assert (result.indices == 0).all()
    assert any("1 frame and the model sees 8" in warning for warning in result.warnings)


def test_windows_report_progress(camera: Model) -> None:
    told: list[tuple[int, int]] = []
    recognize(camera, SAMPLES / "zoom_in.mp4", progress=lambda *done: told.append(done))
    asked = 6 + 3 + 2  # windows of one second, of two, and twice one over the whole clip
    assert told == [(i, asked) for i in range(1, asked + 1)]


def test_sampled_changes_only_what_is_asked() -> None:
    profile = PROFILES["mit"]
    assert sampled(profile) == profile
    assert sampled(profile, policy="dense").sampling == Sampling("dense", 8)
    assert sampled(profile, window=2.0).sampling == Sampling("windows", 8, 2.0, 1.0)
    assert sampled(profile, window=2.0, stride=0.5).sampling == Sampling("windows", 8, 2.0, 0.5)
    assert sampled(profile, crops=10).preprocess.crops == "ten"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"policy": "nonsense"}, "nonsense"),
        ({"policy": "dense", "window": 1.0}, "cannot be combined"),
        ({"crops": 4}, r"`crops` \(=4\)"),
        ({"window": -1.0}, "window"),
        ({"stride": 0.0}, "stride"),
        ({"window": float("nan")}, "window"),
        ({"window": float("inf")}, "window"),
        ({"stride": 1e10}, "stride"),
    ],
)
def test_sampled_refuses_what_cannot_be(asked: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        sampled(PROFILES["mit"], **asked)  # type: ignore[arg-type]


def test_a_whole_frame_model_has_no_crops(camera: Model) -> None:
    with pytest.raises(UsageError, match="whole frame"):
        sampled(camera.profile, crops=3)


def test_refuses_a_model_that_labels_nothing() -> None:
    model = tsm_ref.build("ts-can", engine="numpy")
    with pytest.raises(CheckpointError, match="motion, appearance and gives pulse"):
        recognize(model, SAMPLES / "zoom_in.mp4")


def test_a_file_that_runs_frame_by_frame_labels_what_its_network_does(
    camera: Model, tmp_path: Path
) -> None:
    """It has no consensus of its own: what it gives for the frames of a clip is averaged."""
    path = tmp_path / "step.onnx"
    export_onnx_stream(
        camera.graph, camera.weights, path, sizes={"H": 64, "W": 64}, profile=camera.profile
    )
    step = tsm_ref.load(path, engine="numpy")
    wanted = recognize(camera, SAMPLES / "zoom_in.mp4", top=9).predictions
    assert recognize(step, SAMPLES / "zoom_in.mp4", top=9).predictions == wanted
    lines: list[str] = []
    follow(step, Session(str(SAMPLES / "zoom_in.mp4")), lines.append, lambda text: None)
    assert "zoom in" in lines[-1]


def test_refuses_a_model_that_gives_something_else(camera: Model) -> None:
    pictures = Model(camera.graph.with_outputs(["relu1"]), lambda: camera.weights, camera.profile)
    with pytest.raises(CheckpointError, match=r"does not label clips: .* shape \(16, 8, 32, 32\)"):
        recognize(pictures, SAMPLES / "zoom_in.mp4")


def test_refuses_values_that_are_not_finite(camera: Model, monkeypatch) -> None:
    monkeypatch.setattr(Model, "__call__", lambda self, clip: np.full((1, 9), np.nan, np.float32))
    with pytest.raises(CheckpointError, match="not finite"):
        recognize(camera, SAMPLES / "zoom_in.mp4")


def test_errors_of_the_video_come_through(camera: Model, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((SAMPLES / "tour.mp4").read_bytes()[:20000])
    with pytest.raises(VideoError, match="cut"):
        recognize(camera, cut)
    with pytest.raises(UsageError, match="top"):
        recognize(camera, cut, top=0)


def test_the_timeline_of_real_clips_has_no_gaps(camera: Model, shared_data: Path) -> None:
    for name in ("archery.avi", "arm_wrestling.mp4"):
        result = recognize(camera, shared_data / "clips" / name)
        assert result.segments[0].start == 0
        assert result.segments[-1].end == pytest.approx(result.video.duration, abs=0.1)
        for before, after in zip(result.segments, result.segments[1:], strict=False):
            assert before.end == after.start
            assert before.label != after.label


def _rewritten(path: Path, pictures: np.ndarray, rate: int, **context: object) -> Path:
    """These pictures (T, H, W, 3) as a film of so many frames a second."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png", rate=rate)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "rgb24"
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(stream.encode())
    return path


def test_few_frames_a_second_are_seen_one_after_the_other(camera: Model, tmp_path: Path) -> None:
    """At two a second each window of a second would show one picture eight times."""
    pictures = read_frames(SAMPLES / "pan_left.mp4", np.arange(0, 48, 4)).pixels
    path = _rewritten(tmp_path / "slow.mov", pictures, rate=2)
    result = recognize(camera, path)
    assert result.predictions[0].label == "pan left"
    assert result.profile.sampling == replace(camera.profile.sampling, window=4.0, stride=2.0)
    assert result.asked == camera.profile.sampling
    assert [len(set(row)) for row in result.indices.tolist()] == [8] * 2
    assert any("windows of 4 s are used" in warning for warning in result.warnings)
    said: list[str] = []
    follow(camera, Session(source=str(path)), said.append, lambda text: None)
    assert json.loads(said[-1])["label"] == "pan left"


def test_a_window_that_was_asked_for_stays_and_its_repeats_are_said(
    camera: Model, tmp_path: Path
) -> None:
    path = _rewritten(tmp_path / "slow.mov", np.zeros((12, 48, 64, 3), np.uint8), rate=2)
    result = recognize(camera, path, profile=sampled(camera.profile, window=2.0))
    assert result.profile.sampling.window == 2.0
    assert any(
        "5 of 5 clips show fewer than 8 different frames" in warning for warning in result.warnings
    )


def test_a_window_longer_than_the_video_is_said(camera: Model, tmp_path: Path) -> None:
    path = _rewritten(tmp_path / "short.mov", np.zeros((16, 48, 64, 3), np.uint8), rate=8)
    said = "a window of 3 s is longer than the video of 2 s"
    assert said in recognize(camera, path, profile=sampled(camera.profile, window=3.0)).warnings
    for profile in (camera.profile, sampled(camera.profile, window=2.0)):
        assert "longer" not in " ".join(recognize(camera, path, profile=profile).warnings)


def creeping(seconds: float, rate: int = 10) -> np.ndarray:
    """Frames of a view that moves to the right by 0.3 percent of its width a second."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 45, 3), np.uint8)
    wide = noise.repeat(16, 0).repeat(16, 1)
    starts = np.arange(round(seconds * rate)) * 0.003 * 600 / rate
    return np.stack([wide[:, round(x) : round(x) + 600] for x in starts])


def test_a_motion_too_slow_for_the_longest_window_shows_in_finer_frames(camera: Model) -> None:
    pictures, profile = creeping(6), camera.profile
    plain = replace(profile, sampling=replace(profile.sampling, finer=1))
    coarse, fine = (recognize(camera, pictures, fps=10, profile=p) for p in (plain, profile))
    assert (coarse.labels, fine.labels) == (("static",), ("pan right",))
    assert set(coarse.scales) == {1}
    assert set(fine.scales) == {2}
    assert fine.slowest == pytest.approx(profile.slowest / 2 / (6 / 8), rel=0.02)


def test_a_network_of_one_size_is_not_asked_for_finer_frames(camera: Model, monkeypatch) -> None:
    module = importlib.import_module("tsm_ref.recognition.recognize")
    monkeypatch.setattr(module, "takes_finer", lambda *_: False)
    result = recognize(camera, creeping(6), fps=10)
    assert (result.labels, result.profile.sampling.finer) == (("static",), 1)
    assert result.asked.finer == 2
    assert not result.warnings


def test_classes_none_of_which_is_rest_are_asked_for_in_one_length(camera: Model) -> None:
    """And the result says so: a profile may keep what its labels make idle."""
    profile = camera.profile.with_changes(labels=tuple("abcdefghi"))
    result = recognize(camera, creeping(6), fps=10, profile=profile)
    assert (profile.sampling.longest, profile.sampling.finer) == (8, 2)
    assert (result.profile.sampling.longest, result.profile.sampling.finer) == (0, 1)
    assert np.ptp(result.times, 1).max() < profile.sampling.window
    np.testing.assert_array_equal(result.scales, 1)


def test_what_rest_means_depends_on_the_length_of_the_clip(camera: Model) -> None:
    pictures = np.repeat(creeping(0.1), 60, 0)
    short, long = (recognize(camera, pictures[:n], fps=10) for n in (20, 60))
    assert short.labels == long.labels == ("static",)
    assert short.slowest.max() == pytest.approx(3 * long.slowest.max(), rel=0.1)
    said = as_table(long)
    assert "static: a motion slower than 0.53 % of the width a second would not show" in said
    assert "slower than 340 % of" in as_table(recognize(camera, pictures[:3], fps=240))
    assert "slower" not in as_table(recognize(camera, SAMPLES / "zoom_in.mp4"))


def test_the_network_sees_square_pixels(tmp_path: Path) -> None:
    """Half of the columns are left out, and the file says that a pixel is twice as wide."""
    model = tsm_ref.build("mobilenetv2", num_classes=4, width=0.35, engine="numpy")
    pictures = np.repeat(read_frames(SAMPLES / "pan_left.mp4", np.arange(8)).pixels, 2, axis=2)
    square = recognize(model, _rewritten(tmp_path / "a.mov", pictures, 8), top=4)
    path = _rewritten(
        tmp_path / "b.mov", pictures[:, :, ::2], 8, sample_aspect_ratio=Fraction(2, 1)
    )
    wide = recognize(model, path, top=4)
    assert wide.video.pixel_aspect == 2
    for a, b in zip(square.predictions, wide.predictions, strict=True):
        assert (a.label, a.logit) == (b.label, pytest.approx(b.logit, abs=0.02))


def test_arrays_and_folders_are_recognised_as_their_film_is(camera: Model, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    film = recognize(camera, SAMPLES / "pan_left.mp4")
    frames = read_frames(SAMPLES / "pan_left.mp4", np.arange(film.video.frame_count)).pixels
    for number, pixels in enumerate(frames):
        image.fromarray(pixels).save(tmp_path / f"img_{number:05d}.bmp")
    rate = film.video.frame_rate
    for what in (frames, tmp_path, tmp_path / "img_%05d.bmp"):
        found = camera.recognize(what, fps=rate)
        assert found.predictions == film.predictions
        np.testing.assert_array_equal(found.indices, film.indices)
        assert len(found.sha256) == 64


def test_a_preprocessed_array_is_told_where_to_go(camera: Model) -> None:
    with pytest.raises(UsageError, match=r"preprocessed ones go to model\(clip\)"):
        recognize(camera, np.zeros((1, 3, 8, 64, 64)), fps=8)


def _counted(call, runs: list[int]):
    def counting(self: Model, clip: np.ndarray) -> object:
        runs.append(len(clip))
        return call(self, clip)

    return counting


def _clip(path: Path, count: int) -> Path:
    """A gray clip of so many frames."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(count):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8))
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return path


def test_a_window_that_holds_one_frame_is_refused(camera: Model) -> None:
    short = sampled(camera.profile, window=0.01)
    with pytest.raises(
        VideoError, match=r"holds one frame .* 0\.0417 s apart: give one of 0\.333 s"
    ):
        recognize(camera, SAMPLES / "zoom_in.mp4", profile=short)
    still = recognize(camera, np.zeros((1, 48, 64, 3), np.uint8), fps=25, profile=short)
    assert any("frames are repeated" in warning for warning in still.warnings)


def test_windows_of_the_same_frames_are_run_once(camera: Model, monkeypatch) -> None:
    runs: list[int] = []
    monkeypatch.setattr(Model, "head_logits", _counted(Model.head_logits, runs))
    frames = read_frames(SAMPLES / "pan_left.mp4", np.arange(40)).pixels
    dense = recognize(camera, frames, fps=10, profile=sampled(camera.profile, window=1, stride=0.1))
    once = len(runs)
    denser = recognize(
        camera, frames, fps=10, profile=sampled(camera.profile, window=1, stride=0.01)
    )
    assert len(denser.indices) > 9 * len(dense.indices)
    assert len(runs) - once < 3 * once
    for row, chances in zip(denser.indices, denser.probabilities, strict=True):
        same = (dense.indices == row).all(1)
        np.testing.assert_array_equal(
            dense.probabilities[same], chances[None].repeat(same.sum(), 0)
        )


def test_what_lies_between_windows_is_said(camera: Model) -> None:
    apart = sampled(camera.profile, window=1.0, stride=2.0)
    result = recognize(camera, SAMPLES / "zoom_in.mp4", profile=apart)
    assert any("every 2 s leave out 1 of 3.5 s" in warning for warning in result.warnings)


def test_a_window_is_noticed_once_however_often_it_was_asked(camera: Model) -> None:
    """Where nothing shows, the larger frames of a window doubt it, too."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3)).astype(np.uint8)
    result = recognize(camera, noise, fps=25)
    assert len(result.indices) == 1
    assert [w.partition(": ")[0] for w in result.warnings] == ["of 1 of 1 windows"]


@pytest.mark.parametrize("frames", [[np.zeros((4, 4, 3), np.uint8)] * 8, iter("ab"), 3, None])
def test_what_is_neither_a_path_nor_an_array_is_refused(camera: Model, frames: object) -> None:
    with pytest.raises(UsageError, match=r"loop over paths.*frames are one array"):
        recognize(camera, frames, fps=25)


def test_the_frames_that_were_seen_are_those_of_all_windows(camera: Model) -> None:
    """Rest is said by the window over all, and the shorter ones were asked before."""
    still = read_frames(SAMPLES / "zoom_in.mp4", np.zeros(75, int)).pixels
    result = recognize(camera, still, fps=25)
    assert result.predictions[0].label == "static"
    assert np.unique(result.indices).size < result.frames_seen <= 75
    assert f"{result.frames_seen} of 75 frames in" in as_table(result)
    alone = recognize(camera, still, fps=25, profile=sampled(camera.profile, policy="uniform"))
    assert alone.frames_seen == np.unique(alone.indices).size == 8


@pytest.mark.parametrize("asked", [{"stride": 1e-9}, {"window": 1e-9}])
def test_windows_without_number_are_refused_before_any_memory_is_taken(camera, asked) -> None:
    with pytest.raises(UsageError, match="more than 262144 windows"):
        recognize(camera, SAMPLES / "zoom_in.mp4", profile=sampled(camera.profile, **asked))


def test_a_rule_that_cannot_be_followed_is_a_mistake_of_usage() -> None:
    model = tsm_ref.build("mobilenetv2", num_classes=3, width=0.35, segments=65, engine="numpy")
    dense = sampled(model.profile, policy="dense")
    with pytest.raises(UsageError, match="at most 64"):
        recognize(model, SAMPLES / "zoom_in.mp4", profile=dense)


def test_a_video_that_changes_meanwhile_is_refused(camera: Model, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes((SAMPLES / "zoom_in.mp4").read_bytes())

    def touch(done: int, total: int) -> None:
        os.utime(path, ns=(0, done))

    with pytest.raises(VideoError, match="changed while"):
        recognize(camera, path, progress=touch)


def test_what_is_compiled_is_not_counted_to_the_network(camera: Model, monkeypatch) -> None:
    call = Model.__call__

    def slow(self: Model, clip: np.ndarray) -> np.ndarray:
        with notice.compiling("kernel"), notice.compiling("inner"):
            time.sleep(0.02)
        return call(self, clip)

    monkeypatch.setattr(Model, "__call__", slow)
    timing = recognize(camera, SAMPLES / "zoom_in.mp4").timing
    assert timing["compile"] >= 6 * 0.02
    assert 0 < timing["run"] < timing["total"] - timing["compile"]


def test_a_video_that_is_gone_meanwhile_is_a_bad_video(camera: Model, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes((SAMPLES / "zoom_in.mp4").read_bytes())
    with pytest.raises(VideoError, match="changed while it was read: there is no such file"):
        recognize(camera, path, progress=lambda done, total: path.unlink(missing_ok=True))


@pytest.mark.parametrize("given", [["a.mp4", "b.mp4"], None])
def test_what_is_no_path_says_what_to_do(camera: Model, given: object) -> None:
    with pytest.raises(UsageError, match=r"loop over paths, or see tsm_ref.batch.run_batch"):
        camera.recognize(given)  # type: ignore[arg-type]


def test_what_is_compiled_while_decoding_is_not_taken_from_the_network() -> None:
    watch = Stopwatch()
    with watch.compiling():
        with watch.stage("decode"), notice.compiling("resize"):
            time.sleep(0.01)
        with watch.stage("run"):
            pass
        with notice.compiling("elsewhere"):
            time.sleep(0.01)
    assert watch.spent["compile"] >= 0.02
    assert min(watch.spent.values()) >= 0
