"""The model cards say what the logs say."""

import json
from pathlib import Path

import pytest

from weights.training import card

CARDS = Path(card.HERE).parent / "cards"
LOGS = card.HERE / "logs"


@pytest.mark.parametrize(("name", "file"), card.TWINS.items())
def test_a_card_is_what_the_logs_give(name, file):
    report = json.loads((LOGS / "evaluation.json").read_text())
    meta = json.loads((LOGS / f"{name}.json").read_text())
    speeds = LOGS / f"{name}_speeds.json"
    found = json.loads(speeds.read_text()) if speeds.exists() else None
    assert (CARDS / f"{file}.md").read_text() == card.card(name, report, meta, found)


def test_the_default_is_right_at_the_speeds_that_six_seconds_show_well():
    """Long windows and finer frames make the slowest moves visible; all else is right anyway."""
    found = json.loads((LOGS / "online_speeds.json").read_text())
    slowest, slow, *others = found["rows"].values()
    for row in (slowest, slow):
        assert row["every length"]["clips"] > max(0.8, row["one second"]["clips"] + 0.5)
    assert min(row["every length"]["clips"] for row in others) >= 0.95
    assert max(row["every length"]["sure and wrong"] for row in found["rows"].values()) < 0.03


def test_the_default_is_fit_to_be_one():
    report = json.loads((LOGS / "evaluation.json").read_text())["online"]
    assert report["procedural"]["clips"] >= 2000
    assert report["procedural"]["accuracy"] >= 0.95
    assert report["frozen"]["accuracy"] >= 0.95
    assert report["still"]["accuracy"] >= 0.90
    assert report["reversal"]["swap"] >= 0.95


@pytest.mark.parametrize("name", card.TWINS)
def test_the_twins_were_trained_alike(name):
    """But for the last stage of the default one, in frames of two sizes."""
    meta, online = (json.loads((LOGS / f"{n}.json").read_text()) for n in (name, "online"))
    for key in ("parameters", "input", "classes"):
        assert meta[key] == online[key]
    for key in ("seed", "steps", "views", "phases"):
        assert meta.get("before", meta)[key] == online["before"][key]
