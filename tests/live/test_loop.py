import json

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.live import Live, Pace, Smoother, early
from tsm_ref.live.loop import default_pace
from tsm_ref.live.show import as_jsonl, as_line, early_json, early_lines
from tsm_ref.video import frames, preprocess, read_frames

SAMPLES = weights_folder() / "samples"


@pytest.fixture(scope="module", params=["camera-motion", "camera-motion-offline"])
def model(request):
    return tsm_ref.load(request.param, engine="numba")


def updates(live, path):
    with frames(path) as source:
        return list(live.run(source))


def without_latency(found):
    return [{**vars(update), "latency": None} for update in found]


def test_updates_are_those_of_the_clip(model):
    """Every taken frame has one update, and the logits of the run over all of them at once.

    But for the first of a causal network: one picture shows no motion, and is asked as if it had
    stood.
    """
    path = SAMPLES / "pan_left.mp4"
    found = updates(Live(model, smoother=Smoother(window=1), pace=Pace(every=5), top=9), path)
    indices = [update.frame for update in found]
    assert indices == list(range(0, indices[-1] + 1, 5))
    pixels = read_frames(path, indices)
    logits = model.frame_logits(preprocess(pixels.pixels, model.profile.preprocess))[0]
    if not model.stream().delay:
        logits[0] = model(preprocess(pixels.pixels[:1].repeat(8, 0), model.profile.preprocess))[0]
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    for update, expected, seconds in zip(found, chances, pixels.times, strict=True):
        given = np.zeros(9)
        for k, _, probability in update.top:
            given[k] = probability
        np.testing.assert_allclose(given, expected, atol=1e-5)
        assert update.index == expected.argmax()
        assert update.time == pytest.approx(seconds)


def test_a_film_is_told_in_order(model):
    """The sample film says of itself what its camera does; the smoothed labels follow."""
    film = json.loads((SAMPLES / "tour.json").read_text())
    live = Live(model, smoother=Smoother(window=8, persist=3, no_event=0))
    found = updates(live, SAMPLES / film["video"])
    for part in film["segments"]:
        middle = [u for u in found if part["start"] + 1.2 < u.time < part["end"]]
        assert middle
        assert {u.label for u in middle} == {part["label"]}
        assert {u.event for u in middle} == {part["label"] != "static"}


@pytest.mark.parametrize("stop", [1, 9, 40, -2])  # the last two are told when the film has ended
def test_stopped_and_resumed_is_as_if_never_stopped(model, stop, tmp_path):
    path = SAMPLES / "tour.mp4"
    make = lambda: Live(model, smoother=Smoother(window=6, dwell=2), pace=Pace(rate=5))  # noqa: E731
    expected = without_latency(updates(make(), path))
    first = make()
    with frames(path) as source:
        run = first.run(source)
        found = [next(run) for _ in range(stop % len(expected))]
        first.save(tmp_path / "state.h5")
        next(run)  # what happens after the state was saved is lost
    second = make()
    second.load(tmp_path / "state.h5")
    found += updates(second, path)
    assert without_latency(found) == expected


def test_a_state_of_another_model_is_refused(model, tmp_path):
    Live(model).save(tmp_path / "state.h5")
    other = tsm_ref.load("camera-motion-tsn", engine="numba")
    with pytest.raises(CheckpointError, match="another model"):
        Live(other).load(tmp_path / "state.h5")
    with pytest.raises(
        CheckpointError, match=r"'logits' has the shape \(8, 9\); expected \(3, 9\)"
    ):
        Live(model, smoother=Smoother(window=3)).load(tmp_path / "state.h5")


def test_a_source_that_was_followed_to_its_end_gives_nothing_more(model, tmp_path):
    first, second = Live(model), Live(model)
    before = updates(first, SAMPLES / "pan_left.mp4")
    first.save(tmp_path / "state.h5")
    second.load(tmp_path / "state.h5")
    assert updates(second, SAMPLES / "pan_left.mp4") == []
    second.begin_source()
    again = updates(second, SAMPLES / "pan_left.mp4")
    assert [u.frame for u in again] == [u.frame for u in before]


def test_the_pace_is_that_of_the_profile(model):
    assert default_pace(model).rate == 8.0
    assert default_pace(tsm_ref.build("resnet18", num_classes=2, engine="numba")).rate is None


def test_a_model_without_labels_for_frames_is_refused():
    can = tsm_ref.build("ts-can", causal=True, engine="numba")
    with pytest.raises(UsageError, match="gives no labels for frames"):
        Live(can)


@pytest.mark.parametrize("smoother", [Smoother(masked=[1, 9]), Smoother(no_event=-1)])
def test_a_class_that_there_is_not_is_refused(model, smoother):
    with pytest.raises(UsageError, match=r"there is no class (9|-1); there are 0 to 8"):
        Live(model, smoother=smoother)


def test_early_answers_end_in_the_consensus():
    model = tsm_ref.load("camera-motion", engine="numba")
    path = SAMPLES / "zoom_in.mp4"
    with frames(path) as source:
        answers = early(model, source, pace=Pace(every=6))
    indices = list(range(0, 6 * len(answers), 6))
    assert [a.fraction for a in answers] == [(k + 1) / len(answers) for k in range(len(answers))]
    for k in (1, len(answers) // 2, len(answers)):
        clip = preprocess(read_frames(path, indices[:k]).pixels, model.profile.preprocess)
        logits = model(clip)[0]
        chances = np.exp(logits) / np.exp(logits).sum()
        assert answers[k - 1].index == chances.argmax()
        assert answers[k - 1].probability == pytest.approx(chances.max(), rel=1e-4)
    assert answers[-1].label == "zoom in"
    lines = list(early_lines(answers))
    assert len(lines) == len(answers)
    assert lines[-1].startswith(" 100 %")
    tree = json.loads(early_json("a.mp4", answers))
    assert tree["early"][-1]["label"] == "zoom in"


def test_only_a_causal_model_answers_early():
    model = tsm_ref.load("camera-motion-offline", engine="numba")
    with (
        pytest.raises(UsageError, match="looks 5 frames ahead"),
        frames(SAMPLES / "zoom_in.mp4") as s,
    ):
        early(model, s)


def test_lines_say_what_is_known(model):
    found = updates(Live(model, top=2), SAMPLES / "pan_left.mp4")
    tree = json.loads(as_jsonl(found[-1]))
    assert (tree["label"], tree["frame"], len(tree["top"])) == ("pan left", found[-1].frame, 2)
    assert (tree["latency"] is None) == (live_delay := bool(Live(model).stream.delay))
    assert ("ms)" in as_line(found[-1])) != live_delay
