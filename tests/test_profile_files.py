"""Profiles from files and changed fact by fact: what is said, and what is refused."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given

from tests.test_profile import profiles
from tsm_ref.errors import UsageError
from tsm_ref.profile import PROFILES, Profile
from tsm_ref.profile_files import _from_tree, changed, find_profile, read_profile, to_toml

MIT = PROFILES["mit"]


@given(profiles())
def test_toml_gives_back_what_was_written(profile: Profile) -> None:
    assert _from_tree(tomllib.loads(to_toml(profile, {"shift.rule": "from\nthe file"}))) == profile


def test_a_file_may_say_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "mmaction2"\naverage = "logits"\n[shift]\ndivisor = 4\n'
        "[preprocess]\nsize = [64, 96]\ncrop = 'none'\n"
    )
    found = find_profile(path)
    assert (found.average, found.shift.divisor) == ("logits", 4)
    assert found.preprocess.frame_size == (64, 96)
    assert found.preprocess.resize == "opencv"
    path.with_suffix(".json").write_text(found.to_json())
    assert find_profile(path.with_suffix(".json")) == found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it lacks shift, sampling, preprocess"),
        ("base = 'caffe'", "must be one of mit"),
        ("base = 5", "must be one of mit"),
        ("base = 'mit'\nsegments = 5", "no field 'segments'"),
        ("base = 'mit'\n[shift]\ndivisor = 0", "`divisor` (=0)"),
        ("base = 'mit'\nshift = 5", "not a profile"),
        ("base = ", "not a profile"),
        ("base = 'mit'\n[sampling]\npolicy = 'none'", "`policy`"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_is_no_profile(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError) as caught:
        read_profile(path)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read"):
        find_profile(tmp_path / "absent.toml")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        find_profile(tmp_path / "folder.json")
    with pytest.raises(UsageError, match=r"there is no profile 'nonsense'.*mit-online"):
        find_profile("nonsense")
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100000)
    with pytest.raises(UsageError, match="deep"):
        find_profile(deep)


def test_every_fact_alone() -> None:
    assert changed(MIT) == MIT
    assert changed(MIT, segments=16).sampling.segments == 16
    assert changed(MIT, fold_div=4).shift.divisor == 4
    assert changed(MIT, size="320").preprocess.short_side == 320
    assert changed(MIT, size="112x96").preprocess.frame_size == (112, 96)
    assert changed(MIT, size="300x400", crop="224").preprocess.crop == (224, 224)
    assert changed(MIT, crop="112x96").preprocess.crop == (112, 96)
    assert changed(MIT, crop="none").preprocess.frame_size == (0, 0)
    assert changed(MIT, bgr=True).preprocess.channel_order == "bgr"
    assert changed(MIT, bgr=False) == MIT
    assert changed(MIT, average="probabilities").average == "probabilities"
    assert changed(MIT, std=(1, 1, 1)).preprocess.std == (1, 1, 1)


def test_the_range_of_pixels_is_that_of_the_mean() -> None:
    caffe = changed(MIT, mean="104,117,128", std="1,1,1", bgr=True).preprocess
    assert (caffe.scale, caffe.mean) == (1.0, (104, 117, 128))
    assert changed(
        PROFILES["mmaction2"], mean="0.5,0.5,0.5", std="0.5,0.5,0.5"
    ).preprocess.scale == (1 / 255)
    assert changed(MIT, mean="0.4,0.4,0.4").preprocess.scale == 1 / 255
    assert changed(MIT, mean="0,0,0", std="1,1,1").preprocess.scale == 1 / 255
    with pytest.raises(UsageError, match="give both"):
        changed(MIT, mean="104,117,128")


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"segments": 0}, "--segments (=0)"),
        ({"segments": "8"}, "--segments (='8')"),
        ({"fold_div": 0}, "--fold-div (=0)"),
        ({"size": "big"}, "--size (='big')"),
        ({"size": "0"}, "--size (=0)"),
        ({"size": "224x"}, "--size (='224x')"),
        ({"size": "128"}, "--crop 224 is larger than the frame of --size 128"),
        ({"size": "128x300", "crop": "200"}, "--crop 200 is larger"),
        ({"crop": "300"}, "--crop 300 is larger than the frame of --size 256"),
        ({"crop": "0"}, "--crop"),
        ({"mean": "1,2"}, "--mean (='1,2')"),
        ({"std": "1,0,1"}, "--std"),
        ({"std": "a,b,c"}, "--std (='a,b,c')"),
        ({"average": "votes"}, "--average"),
        ({"colour": "red"}, "no fact 'colour'"),
    ],
)
def test_facts_that_cannot_be(facts: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        changed(MIT, **facts)
    assert sentence in str(caught.value)
