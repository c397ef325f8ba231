"""A quick run from end to end: its document, its page, and what is refused before it begins."""

import json
import re
import subprocess
import sys

import pytest

from tsm_ref.bench import __main__ as bench
from tsm_ref.bench.paper import command
from tsm_ref.bench.paper.facts import PARTS
from tsm_ref.bench.paper.page import COLUMNS, page
from tsm_ref.models import ARCHITECTURES


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The JSON of a quick run in a process of its own."""
    path = tmp_path_factory.mktemp("paper") / "paper.json"
    done = subprocess.run(
        [sys.executable, "-m", "tsm_ref.bench", "paper", "--quick", "--json", str(path)],
        capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return json.loads(path.read_text())


def test_every_measurement_has_its_rows(document):
    assert list(document["parts"]) == list(PARTS)
    assert document["settings"]["quick"] is True
    assert {"processor", "tsm_ref", "python", "numpy", "numba"} <= set(document["machine"])
    for name, rows in document["parts"].items():
        assert rows
        members = {key for _, key, _, _ in COLUMNS[name]}
        assert all(set(row) >= members for row in rows)


def test_only_what_is_shifted_grows_with_the_share(document):
    rows = document["parts"]["movement"]
    moved = [row["moved_mb"] for row in rows if row["way"] == "moved"]
    assert moved == pytest.approx([moved[0] * factor for factor in (1, 2, 4, 8)])
    assert moved[0] > 0
    assert all(row["median_ms"] > 0 for row in rows)
    plain = next(row for row in rows if row["proportion"] == 0)
    assert plain["overhead"] == 0


def test_both_places_are_compared_at_the_same_shares(document):
    ways = {}
    for row in document["parts"]["in-place"]:
        ways.setdefault(row["way"], []).append(row["proportion"])
    assert ways == {"fused": [0.25, 1.0], "in-place": [0.25, 1.0]}


def test_a_stream_keeps_state_where_it_shifts_and_is_right(document):
    rows = {row["kind"]: row for row in document["parts"]["online"]}
    assert rows["online TSM"]["state_kb"] > 0 == rows["TSN, frame by frame"]["state_kb"]
    assert rows["offline TSM"]["state_kb"] is None
    assert all(row["failed"] is None and row["error"] < 1e-4 for row in rows.values())


def test_all_networks_are_counted(document):
    rows = {row["architecture"]: row for row in document["parts"]["cost"]}
    assert set(rows) == set(ARCHITECTURES)
    assert rows["resnet50"]["parameters"] == 24_327_632
    assert round(rows["resnet50"]["giga_multiply_adds"]) == 33
    assert round(rows["i3d-resnet50"]["giga_multiply_adds"]) in (152, 153)
    assert rows["s3d"]["temporal"] == "convolution"
    timed = [row for row in rows.values() if row["median_ms"] is not None]
    assert timed
    assert all(row["ratio"] > 0 for row in timed)


def test_one_frame_shows_no_motion_and_all_show_it(document):
    by = {(row["model"], row["frames"]): row["accuracy"] for row in document["parts"]["early"]}
    assert by["camera-motion", 1] < 0.25
    assert by["camera-motion", 8] > 0.9
    assert by["camera-motion-tsn", 8] < 0.25


def test_the_page_holds_everything_and_asks_for_nothing(document):
    pytest.importorskip("matplotlib")
    text = page(document)
    for part in PARTS.values():
        assert part.where in text
    assert text.count("data:image/svg+xml;base64,") == len(PARTS)
    assert "<script" not in text
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert document["machine"]["processor"] in text
    assert "times mean nothing" in text


def test_the_tables_show_where_the_paper_says_it(document, monkeypatch, capsys):
    monkeypatch.setattr(command, "document", lambda *_, **__: document)
    assert bench.main(["paper"]) == 0
    shown = " ".join(capsys.readouterr().out.split())  # wherever the title wraps
    assert "figure 2a" in shown
    assert "24,327,632" in shown


def test_the_folder_gets_both_files(document, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "document", lambda *_, **__: document)
    assert bench.main(["paper", "--plot", str(tmp_path / "new"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert json.loads((tmp_path / "new" / "paper.json").read_text()) == document
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["paper.html", "paper.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--only", "speed"], 2, "no measurement 'speed'; known are movement"),
        (["--only", ","], 2, "nothing to measure"),
        (["--rounds", "0"], 2, "--rounds"),
        (["--fast"], 2, "--fast"),
        (["--json", "no/such/folder/a.json"], 5, "its folder is not there"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    arguments, code, message, monkeypatch, capsys
):
    monkeypatch.setattr(command, "document", lambda *_, **__: pytest.fail("it ran"))
    assert bench.main(["paper", *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_known_at_once(monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "document", lambda *_, **__: pytest.fail("it ran"))
    (tmp_path / "file").write_text("")
    assert bench.main(["paper", "--plot", str(tmp_path / "no" / "folder")]) == 5
    assert bench.main(["paper", "--plot", str(tmp_path / "file")]) == 5
    assert "the folder cannot be made" in capsys.readouterr().err


def test_ctrl_c_writes_nothing(monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "document", interrupted)
    assert bench.main(["paper", "--json", str(tmp_path / "a.json")]) == 130
    assert not list(tmp_path.iterdir())


def test_an_engine_that_is_wrong_fails_the_run(document, monkeypatch, capsys):
    changed = json.loads(json.dumps(document))
    changed["parts"]["online"][0]["failed"] = "wrong output"
    monkeypatch.setattr(command, "document", lambda *_, **__: changed)
    assert bench.main(["paper", "--json"]) == 1
