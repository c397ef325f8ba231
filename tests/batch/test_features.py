"""The features of many videos: the cache gives the same again, and only for the same."""

from pathlib import Path

import numpy as np
import pytest

import tsm_ref
from tsm_ref.batch import Clip, Extractor
from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import UsageError, VideoError
from tsm_ref.recognition import features, sampled

SAMPLES = weights_folder() / "samples"
CLIPS = [Clip(str(SAMPLES / name)) for name in ("pan_left.mp4", "zoom_in.mp4")]


@pytest.fixture(scope="module")
def model():
    return tsm_ref.load("camera-motion", engine="numpy")


def never(path: str, error: Exception) -> None:
    raise AssertionError(f"{path}: {error}")


def test_a_video_that_cannot_be_read_is_told_and_passed_by(model) -> None:
    said = []
    clips = [CLIPS[0], Clip("no-such.mp4"), CLIPS[1]]
    found = list(
        Extractor(model, model.profile).each(clips, lambda *of: said.append((of[0], type(of[1]))))
    )
    assert [made is not None for _, made in found] == [True, False, True]
    assert said == [("no-such.mp4", VideoError)]


def test_what_is_wrong_with_all_is_raised(model) -> None:
    with pytest.raises(UsageError, match="no layer"):
        list(Extractor(model, model.profile, layer="x").each(CLIPS, never))


def test_a_second_run_finds_what_the_first_kept(model, tmp_path: Path, monkeypatch) -> None:
    extractor = Extractor(model, model.profile, cache=str(tmp_path / "kept"))
    first = [made for _, made in extractor.each(CLIPS, never)]
    assert len(list((tmp_path / "kept").iterdir())) == 2
    monkeypatch.setattr(
        "tsm_ref.batch.features.features_of", lambda *a, **k: pytest.fail("made again")
    )
    again = [made for _, made in extractor.each(CLIPS, never)]
    for one, other in zip(first, again, strict=True):
        assert (one.path, one.sha256) == (other.path, other.sha256)
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.times, other.times)


def test_nothing_is_found_for_another_layer_sampling_or_file(model, tmp_path: Path) -> None:
    kept, copy = tmp_path / "kept", tmp_path / "copy.mp4"
    copy.write_bytes(Path(CLIPS[0].path).read_bytes())
    other = sampled(model.profile, policy="uniform")
    for number, extractor in enumerate(
        (
            Extractor(model, model.profile, cache=str(kept)),
            Extractor(model, model.profile, layer="layer2", cache=str(kept)),
            Extractor(model, other, cache=str(kept)),
        ),
        1,
    ):
        list(extractor.each([Clip(str(copy))], never))
        assert len(list(kept.iterdir())) == number
    copy.write_bytes(Path(CLIPS[1].path).read_bytes())
    ((_, made),) = extractor.each([Clip(str(copy))], never)
    assert made.sha256 == features.features_of(model, CLIPS[1].path).sha256


def test_nothing_is_found_for_another_precision(model, tmp_path: Path) -> None:
    half = tsm_ref.load("camera-motion", engine="numpy", precision="bfloat16")
    found = []
    for each in (model, half):
        extractor = Extractor(each, each.profile, cache=str(tmp_path / "kept"))
        found += [made for _, made in extractor.each(CLIPS[:1], never)]
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert not np.array_equal(found[0].clips, found[1].clips)


def test_a_spoiled_cache_is_made_again(model, tmp_path: Path) -> None:
    extractor = Extractor(model, model.profile, cache=str(tmp_path))
    ((_, first),) = extractor.each(CLIPS[:1], never)
    (file,) = tmp_path.iterdir()
    for junk in (b"", b"junk", file.read_bytes()[:-200]):
        file.write_bytes(junk)
        ((_, again),) = extractor.each(CLIPS[:1], never)
        np.testing.assert_array_equal(first.frames, again.frames)
