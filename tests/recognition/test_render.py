"""The table for people, and the JSON for programs against its schema."""

import builtins
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tsm_ref
from tsm_ref.checkpoint import weights_folder
from tsm_ref.recognition import Recognition, as_json, as_table, recognize, render, sampled

SAMPLES = weights_folder() / "samples"
SCHEMA = json.loads(
    (Path(render.__file__).parent / "recognition.schema.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def tour() -> Recognition:
    return recognize(tsm_ref.load("camera-motion", engine="numpy"), SAMPLES / "tour.mp4")


def test_json_fits_its_schema(tour: Recognition) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    text = as_json(tour)
    assert "\n" not in text
    tree = json.loads(text)
    jsonschema.validate(tree, SCHEMA)
    assert tree["schema_version"] == render.SCHEMA_VERSION
    assert tree["input"]["path"] == str(SAMPLES / "tour.mp4")
    assert tree["input"]["codec"] == "h264"
    assert (tree["input"]["width"], tree["input"]["height"]) == (320, 180)
    assert len(tree["sampling"]["indices"]) == len(tree["sampling"]["times"])
    assert tree["model"]["profile"]["shift"]["rule"] == "online_double"
    assert [s["label"] for s in tree["segments"]][1] == "pan right"
    times = [tree["input"]["duration"], tree["input"]["frame_rate"]]
    times += [segment[edge] for segment in tree["segments"] for edge in ("start", "end")]
    assert times == [round(number, 6) for number in times]


@pytest.mark.parametrize(
    ("name", "precision"),
    [("camera-motion", "float32"), ("camera-motion", "bfloat16"), ("camera-motion-int8", "int8")],
)
def test_an_answer_says_its_precision_and_that_of_its_accuracy(name: str, precision: str) -> None:
    how: dict[str, Any] = {"precision": "bfloat16"} if precision == "bfloat16" else {}
    model = tsm_ref.load(name, engine="numpy", **how)
    result = recognize(model, SAMPLES / "zoom_in.mp4")
    tree = json.loads(as_json(result))
    jsonschema.validate(tree, SCHEMA)
    half = precision == "bfloat16"
    assert tree["model"]["precision"] == precision
    measured = tree["model"]["profile"]["measured"]
    assert measured.startswith("not measured in bfloat16; in float32 it was: 99") is half
    assert measured.endswith(model.profile.measured)
    assert ("on numpy in bfloat16: " in as_table(result)) is half
    assert ("measured       not measured in bfloat16" in model.summary()) is half


def test_json_of_another_policy_fits_its_schema() -> None:
    model = tsm_ref.load("camera-motion", engine="numpy")
    profile = sampled(model.profile, policy="twice")
    result = recognize(model, SAMPLES / "zoom_in.mp4", profile=profile, top=2)
    tree = json.loads(as_json(result))
    assert tree["sampling"]["policy"] == tree["model"]["profile"]["sampling"]["policy"] == "twice"
    jsonschema.validate(tree, SCHEMA)
    assert tree["segments"] == []
    assert len(tree["predictions"]) == 2
    assert [len(row) for row in tree["sampling"]["indices"]] == [8, 8]


def test_every_object_of_the_schema_is_closed_and_complete(tour: Recognition) -> None:
    """A field that is added to the JSON and not to the schema, or the reverse, fails here."""
    tree = json.loads(as_json(tour))
    several = {"heads", "streams"}  # which are there where there is more than one
    for name, part in SCHEMA["properties"].items():
        part = SCHEMA["$defs"].get(part.get("$ref", "").removeprefix("#/$defs/"), part)
        if "properties" in part and name not in several:
            assert set(part["properties"]) == set(tree[name]) == set(part["required"])
    assert set(SCHEMA["properties"]) - several == set(tree) == set(SCHEMA["required"])


def test_table_begins_with_the_label_and_shows_the_timeline(tour: Recognition) -> None:
    lines = as_table(tour).splitlines()
    assert lines[0].startswith(
        "static, pan right, zoom in, roll counter-clockwise, tilt up, static "
    )
    assert lines[0].endswith("tour.mp4")
    assert any("pan right" in line and "1.75" in line and "4.25" in line for line in lines)
    assert f"{tour.frames_seen} of 336 frames" in lines[-1]


def test_table_without_rich_says_the_same_words(tour: Recognition, monkeypatch) -> None:
    with_rich = as_table(tour).split()
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] == "rich":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(render.importlib.util, "find_spec", lambda name: None)
    assert as_table(tour).split() == with_rich


def test_a_label_with_markup_is_printed_as_it_is() -> None:
    text = render._columns(("label",), [("[red]cut[/red] \\ x",)], "l", colour=False)
    assert "[red]cut[/red] \\ x" in text


def test_colour_is_asked_for() -> None:
    assert "\x1b[" in render._columns(("a",), [("b",)], "l", colour=True)
    assert "\x1b[" not in render._columns(("a",), [("b",)], "l", colour=False)


def saying(result: Recognition, **changes: Any) -> Recognition:
    """The same recognition, of which the only head says something else."""
    ((head, answer),) = result.heads.items()
    return replace(result, heads={head: replace(answer, **changes)})


def test_a_long_timeline_is_counted_in_the_first_line(tour: Recognition) -> None:
    shaky = saying(tour, segments=tour.segments * 3)
    assert "static, ... (18 segments)  " in as_table(shaky).splitlines()[0]


def test_names_out_of_files_cannot_command_a_terminal(tour: Recognition) -> None:
    odd = replace(
        saying(tour, segments=(replace(tour.segments[0], label="x\x07y"), *tour.segments[1:])),
        video=replace(tour.video, path="a\x1b[31m\nb\udcff.mp4"),
    )
    text = as_table(odd)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.splitlines()[0].endswith("a\\x1b[31m\\nb\\udcff.mp4")
    as_json(odd).encode("utf-8")
    assert json.loads(as_json(odd))["input"]["path"] == "a\x1b[31m\nb\\udcff.mp4"


def test_long_labels_are_shown_whole(tour: Recognition) -> None:
    label = "a very long label " * 30
    odd = saying(tour, predictions=(replace(tour.predictions[0], label=label),))
    assert label.strip() in as_table(odd)


def test_every_window_says_what_it_saw_alone(tour: Recognition) -> None:
    clips = json.loads(as_json(tour))["clips"]
    assert len(clips) == len(tour.indices) == len(tour.probabilities)
    assert tour.probabilities.shape == (len(clips), len(tour.model.labels))
    assert tour.probabilities.sum(1) == pytest.approx(1)
    leaders = [tour.model.labels[k] for k in tour.probabilities.argmax(1)]
    assert [clip["top"][0]["label"] for clip in clips] == leaders
    whole = {prediction.index for prediction in tour.predictions}
    for clip, chances in zip(clips, tour.probabilities, strict=True):
        told = {row["index"]: row["probability"] for row in clip["top"]}
        assert list(told.values()) == sorted(told.values(), reverse=True)
        assert told.keys() >= whole
        assert told == pytest.approx({k: chances[k] for k in told})
    assert all(clip["start"] < clip["end"] for clip in clips)
    moments = [0.5 + 0.5 * i for i in range(len(clips))]  # a window of a second each half one
    assert all(c["start"] < t < c["end"] for c, t in zip(clips, moments, strict=True))
