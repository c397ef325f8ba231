"""Profiles: docs/conventions.md as data, JSON round trips, and JSON that is no profile."""

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsm_ref.errors import CheckpointError
from tsm_ref.profile import FOLD_RULES, PROFILES, Preprocess, Profile, Sampling, ShiftRule

# What each rule gives 16 channels; -1 reads the next frame, +1 the one before.
FOLDS = {
    ("none", 8): [0] * 16,
    ("mit", 8): [-1] * 2 + [1] * 2 + [0] * 12,
    ("mit", 3): [-1] * 5 + [1] * 5 + [0] * 6,
    ("online", 8): [1] * 2 + [0] * 14,
    ("online_double", 8): [1] * 4 + [0] * 12,
    ("paddle", 8): [1] * 2 + [-1] * 2 + [0] * 12,
    ("paddle", 16): [1] + [-1] + [0] * 14,
    ("mtts_can", 3): [-1] * 5 + [1] * 5 + [0] * 6,
}


@pytest.mark.parametrize(("rule", "divisor"), FOLDS)
def test_folds(rule, divisor):
    assert ShiftRule(rule, divisor).d(16).tolist() == FOLDS[rule, divisor]


@pytest.mark.parametrize("rule", FOLD_RULES)
def test_causal_means_that_no_channel_reads_the_future(rule):
    shift = ShiftRule(rule, 4)
    assert shift.causal == (shift.d(32) >= 0).all()


def test_the_public_conventions():
    """The rows of docs/conventions.md 2, 4 and 5 that people's checkpoints follow."""
    facts = {
        name: (p.shift.rule, p.shift.divisor, p.shift.fill, p.shift.segment, p.average)
        for name, p in PROFILES.items()
    }
    assert facts == {
        "mit": ("mit", 8, "zero", 0, "logits"),
        "mit-flow": ("mit", 8, "zero", 0, "logits"),
        "mit-online": ("online", 8, "zero", 0, "logits"),
        "mmaction2": ("mit", 8, "zero", 0, "probabilities"),
        "paddle": ("paddle", 8, "zero", 0, "logits"),
        "tsn": ("none", 8, "zero", 0, "logits"),
        "rfcn": ("online", 8, "zero", 0, "logits"),
        "mtts-can": ("mtts_can", 3, "zero", 10, "logits"),
        "big-small": ("mtts_can", 3, "circular", 3, "logits"),
        "ts-can-rlap": ("mtts_can", 3, "replicate", 20, "logits"),
    }
    mit, mmaction2 = PROFILES["mit"].preprocess, PROFILES["mmaction2"].preprocess
    assert (mit.short_side, mit.crop, mit.resize, mit.crop_offset) == (
        256, (224, 224), "pil", "round",
    )  # fmt: skip
    assert (mit.mean, mit.std, mit.scale) == (
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 1 / 255,
    )  # fmt: skip
    assert (mmaction2.resize, mmaction2.long_side, mmaction2.crop_offset) == (
        "opencv", "half_up", "floor",
    )  # fmt: skip
    assert (mmaction2.mean, mmaction2.std, mmaction2.scale) == (
        (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 1.0,
    )  # fmt: skip
    assert PROFILES["mit-online"].preprocess.channel_order == "bgr"
    assert PROFILES["tsn"].placement == "none"


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_survives_json(name):
    profile = PROFILES[name].with_changes(labels=("walk", "Ünïcode"), measured="71.2 %")
    assert Profile.from_json(profile.to_json()) == profile


@st.composite
def profiles(draw):
    fills = st.sampled_from(["zero", "replicate", "circular"])
    rule = draw(st.sampled_from(FOLD_RULES))
    divisor = st.floats(1, 100) if rule == "paddle" else st.integers(1, 64)
    shift = ShiftRule(rule, draw(divisor), draw(fills), draw(st.integers(0, 64)))
    size = draw(st.none() | st.tuples(st.integers(1, 8192), st.integers(1, 8192)))
    preprocess = Preprocess(
        short_side=draw(st.integers(1, 4000)) if size is None else None,
        size=size,
        crop=draw(st.none() | st.tuples(st.integers(1, 300), st.integers(1, 300))),
        channel_order=draw(st.sampled_from(["rgb", "bgr"])),
    )
    sampling = Sampling("windows", draw(st.integers(1, 64)), draw(st.floats(0.1, 9)), 1.0)
    labels = draw(st.lists(st.text(max_size=9), max_size=4))
    names = draw(st.lists(st.text(max_size=5), max_size=2, unique=True))
    return Profile(
        *("any", shift, "block", sampling, preprocess),
        labels=tuple(labels),
        multi_label=draw(st.booleans()),
        threshold=draw(st.floats(0.01, 0.99)),
        heads=tuple((name, tuple(labels)) for name in names),
    )


@given(profiles())
def test_any_profile_survives_json(profile):
    assert Profile.from_json(profile.to_json()) == profile
    assert Profile.from_json(json.dumps(json.loads(profile.to_json()))) == profile


def test_what_came_later_is_written_only_where_it_says_something():
    assert "multi_label" not in PROFILES["mit"].to_json()
    assert "multi_label" in PROFILES["mit"].with_changes(multi_label=True).to_json()


def test_labels_may_be_left_out():
    profile = PROFILES["mit"].with_changes(labels=("a", "b"))
    assert "labels" not in profile.as_dict(labels=False)
    assert profile.as_dict()["labels"] == ("a", "b")


REFUSED = [
    (lambda: ShiftRule("tsm"), "`rule`"),
    (lambda: ShiftRule(divisor=0.5), "`divisor`"),
    (lambda: ShiftRule(divisor=float("nan")), "`divisor`"),
    (lambda: ShiftRule(divisor=float("inf")), "`divisor`"),
    (lambda: ShiftRule(fill="edge"), "`fill`"),
    (lambda: ShiftRule(segment=-1), "`segment`"),
    (lambda: Sampling("random"), "`policy`"),
    (lambda: Sampling(segments=0), "`segments`"),
    (lambda: Sampling(segments=4096), "`segments`"),
    (lambda: Sampling("windows", 8, 0.0, 1.0), "`window`"),
    (lambda: Sampling("windows", 8, 2.0, 0.0), "`stride`"),
    (lambda: Sampling(finer=0), "`finer`"),
    (lambda: Profile(sampling=Sampling(finer=8), preprocess=Preprocess(2000)), "`short_side`"),
    (lambda: Profile(slowest=1.0), "`slowest`"),
    (lambda: Preprocess(size=(256, 256)), "`size`"),
    (lambda: Preprocess(short_side=None), "`size`"),
    (lambda: Preprocess(short_side=0), "`short_side`"),
    (lambda: Preprocess(short_side=10**9), "`short_side`"),
    (lambda: Preprocess(scale=0.0), "`scale`"),
    (lambda: Preprocess(crop=(0, 224)), "`crop`"),
    (lambda: Preprocess(crop=(224, 9000)), "`crop`"),
    (lambda: Preprocess(crop=(1, 2, 3)), "`crop`"),
    (lambda: Preprocess(resize="lanczos"), "`resize`"),
    (lambda: Preprocess(long_side="ceil"), "`long_side`"),
    (lambda: Preprocess(crops="two"), "`crops`"),
    (lambda: Preprocess(channel_order="grb"), "`channel_order`"),
    (lambda: Preprocess(std=(1.0, 0.0, 1.0)), "`std`"),
    (lambda: Preprocess(mean=(1.0,)), "`mean`"),
    (lambda: Profile(placement="everywhere"), "`placement`"),
    (lambda: Profile(average="votes"), "`average`"),
    (lambda: Profile(multi_label=1), "`multi_label`"),
    (lambda: Profile(threshold=1.0), "`threshold`"),
    (lambda: Profile(heads=(("verb", ("a",)), ("verb", ("b",)))), "`heads`"),
    (lambda: Profile(heads=(("verb", "abc"),)), "`heads`"),
    (lambda: Profile(heads=(("verb",),)), "`heads`"),
]


@pytest.mark.parametrize(("make", "name"), REFUSED)
def test_a_field_that_cannot_be_is_named_with_what_it_may_be(make, name):
    with pytest.raises(ValueError, match=f"{name} .*must be"):
        make()


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", '"mit"', "7", "{}", "[" * 100_000, '{"shift": {}}', "\ud800", "NaN"],
)
def test_what_is_no_profile_is_a_checkpoint_error(text):
    with pytest.raises(CheckpointError, match="not a profile"):
        Profile.from_json(text)


NUMBER = (int, float)
TYPES = {
    ("family",): str,
    ("placement",): str,
    ("average",): str,
    ("labels",): tuple,
    ("no_event",): str,
    ("measured",): str,
    ("multi_label",): bool,
    ("threshold",): NUMBER,
    ("heads",): tuple,
    ("sure",): NUMBER,
    ("aimless",): tuple,
    ("slowest",): NUMBER,
    ("shift", "rule"): str,
    ("shift", "divisor"): NUMBER,
    ("shift", "fill"): str,
    ("shift", "segment"): int,
    ("sampling", "policy"): str,
    ("sampling", "segments"): int,
    ("sampling", "window"): NUMBER,
    ("sampling", "stride"): NUMBER,
    ("sampling", "longest"): NUMBER,
    ("sampling", "finer"): int,
    ("preprocess", "short_side"): (int, type(None)),
    ("preprocess", "size"): (tuple, type(None)),
    ("preprocess", "resize"): str,
    ("preprocess", "long_side"): str,
    ("preprocess", "crop"): (tuple, type(None)),
    ("preprocess", "crops"): str,
    ("preprocess", "crop_offset"): str,
    ("preprocess", "channel_order"): str,
    ("preprocess", "scale"): NUMBER,
    ("preprocess", "mean"): tuple,
    ("preprocess", "std"): tuple,
}
"""What later code relies upon."""

BRANCHES = [("shift",), ("sampling",), ("preprocess",)]
GARBAGE = [None, True, -1, 0, 2.5, 1e308, float("inf"), float("nan"), 10**400, "", "x", [], {}]
GARBAGE += [[[]], ["a", "b", "c"], [1, 2], [None] * 3, [float("nan")] * 3, {"a": 1}]


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def test_the_types_are_those_of_every_field():
    tree = asdict(PROFILES["mit"])
    names = [(k, i) for k, v in tree.items() if isinstance(v, dict) for i in v]
    assert {*TYPES} == {*names, *((k,) for k, v in tree.items() if not isinstance(v, dict))}


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("path", [*TYPES, *BRANCHES], ids=".".join)
def test_a_profile_of_wrong_values_is_refused_or_of_the_right_types(path, garbage):
    tree = json.loads(PROFILES["mit"].to_json())
    at(tree, path[:-1])[path[-1]] = garbage
    try:
        profile = Profile.from_json(json.dumps(tree))
    except CheckpointError:
        return
    profile.shift.d(64)
    assert len(profile.preprocess.frame_size) == 2
    made = asdict(profile)
    for where, kind in TYPES.items():
        value = at(made, where)
        assert isinstance(value, kind)
        assert kind is bool or not isinstance(value, bool)
        numbers = value if isinstance(value, tuple) else (value,)
        assert all(math.isfinite(v) for v in numbers if isinstance(v, float))
    assert all(isinstance(label, str) for label in profile.labels)
    assert all(isinstance(v, NUMBER) for v in profile.preprocess.mean + profile.preprocess.std)


@pytest.mark.parametrize("path", [(), *BRANCHES])
def test_a_field_that_does_not_exist_is_named(path):
    tree = json.loads(PROFILES["mit"].to_json())
    at(tree, path)["colour"] = 1
    with pytest.raises(CheckpointError, match="no field 'colour'"):
        Profile.from_json(json.dumps(tree))
