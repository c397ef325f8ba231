"""Lists of classes: those that ship, and every form in which people keep them."""

import json
from pathlib import Path

import pytest

from tsm_ref.checkpoint import registry, weights_folder
from tsm_ref.checkpoint.labels import MAX_BYTES, read_labels, shipped_labels
from tsm_ref.errors import UsageError

SHIPPED = shipped_labels(weights_folder())


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "labels.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("walk\nrun\n", ("walk", "run")),
        ("walk\r\nrun\r\n\r\n", ("walk", "run")),
        (b"\xef\xbb\xbfwalk\nrun", ("walk", "run")),
        ("id,name\n1,walk\n0,run\n", ("run", "walk")),
        ("0,walk\n1,run\n", ("walk", "run")),
        ('0,"walk, slowly"\n1,run\n', ("walk, slowly", "run")),
        ("name\tid\nwalk\t1\nrun\t0\n", ("run", "walk")),
        ("walk;1\nrun;0\n", ("run", "walk")),
        ("0 walk\n1 run\n", ("walk", "run")),
        ("1 ApplyEyeMakeup\n2 Archery\n", ("ApplyEyeMakeup", "Archery")),
        ("2 fingers left\n2 fingers right\n", ("2 fingers left", "2 fingers right")),
        ("walk, then run\nrun, then walk\n", ("walk, then run", "run, then walk")),
        ('["walk", "run"]', ("walk", "run")),
        ('{"walk": 1, "run": "0"}', ("run", "walk")),
        ('{"0": "walk", "1": "run"}', ("walk", "run")),
        ('{"\\"walk\\"": 0, "run": 1}', ("walk", "run")),
        ('{"classes": ["walk", "run"]}', ("walk", "run")),
        ('[{"id": 1, "name": "walk"}, {"id": 0, "name": "run"}]', ("run", "walk")),
        ("[Something] falls\nWiping [it]\n", ("[Something] falls", "Wiping [it]")),
        ("été\n走る\n", ("été", "走る")),
    ],
)
def test_every_form(tmp_path: Path, text: str | bytes, labels: tuple[str, ...]) -> None:
    assert read_labels(write(tmp_path, text)) == labels


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("walk\n\nrun\n", "line 2 is empty"),
        ("walk\nrun\nwalk\n", "'walk' is class 0 and class 2"),
        ("0,walk\n0,run\n", "number 0 is given twice"),
        ("0,walk\n2,run\n", "none has number 1"),
        ("5,walk\n6,run\n", "none has number 1"),
        ("0,walk\n1,\n", "class 1 has no name"),
        (b"walk\xff\n", "byte 4 is not UTF-8"),
        (b"\xff\xfew\0a\0", "not UTF-8"),
        ('["walk", 5]', "texts alone"),
        ('["walk"', "begins like JSON"),
        ('{"walk": "fast"}', "'walk' has no number"),
        ('{"walk": {}}', "'walk' has no number"),
        ('{"a":' * 100000, "labels.txt"),
    ],
)
def test_what_is_no_list_of_classes(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_labels(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a file"):
        read_labels(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        read_labels(tmp_path / "absent")
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UsageError, match="no list of labels"):
        read_labels(big)


def test_lists_that_ship() -> None:
    counts = {name: len(read_labels(path)) for name, path in SHIPPED.items()}
    assert counts == {
        "imagenet_vid": 30,
        "jester_alphabetical": 27,
        "jester_mmaction2": 27,
        "kinetics400": 400,
        "something_something_v1": 174,
        "something_something_v1_mmaction2": 174,
        "something_something_v2": 174,
    }
    lists = {name: read_labels(path) for name, path in SHIPPED.items()}
    assert lists["kinetics400"][398] == "yoga"
    assert lists["kinetics400"][5:7] == ("archery", "arm wrestling")
    assert lists["jester_alphabetical"] == tuple(sorted(lists["jester_mmaction2"]))
    assert lists["jester_mmaction2"][0] == "Swiping Left"
    v1 = lists["something_something_v1"]
    assert v1 == tuple(sorted(lists["something_something_v1_mmaction2"]))
    for name in ("kinetics400", "imagenet_vid", "something_something_v1", "something_something_v2"):
        assert lists[name] == tuple(sorted(lists[name]))


@pytest.mark.parametrize("name", ["kinetics400", "something_something_v2"])
def test_lists_are_those_of_the_publishers(shared_data: Path, name: str) -> None:
    assert read_labels(SHIPPED[name]) == read_labels(shared_data / "labels" / f"{name}.txt")


def test_every_published_model_has_its_classes() -> None:
    for name, entry in registry.published().items():
        assert len(entry.meaning(weights_folder()).labels) == entry.classes, name


def test_a_map_of_the_data_set_in_json(tmp_path: Path) -> None:
    names = read_labels(SHIPPED["something_something_v2"])
    path = write(tmp_path, json.dumps({name: str(k) for k, name in enumerate(names)}))
    assert read_labels(path) == names
