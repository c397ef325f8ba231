"""Subtitles and cut lists: times as the formats write them, and names that are hostile."""

import csv
import io
import re
from typing import Any

import pytest

from tsm_ref.show.cues import edl, srt, timeline_csv, vtt


def tree(*rows: tuple[float, float, str], rate: float | None = 25.0) -> dict[str, Any]:
    segments = [
        {"start": start, "end": end, "label": label, "index": k, "probability": 0.875}
        for k, (start, end, label) in enumerate(rows)
    ]
    return {"segments": segments, "input": {"path": "dir/a.mp4", "frame_rate": rate}}


def test_times_of_subtitles() -> None:
    clip = tree((0, 1.75, "static"), (1.75, 3725.9996, "pan left"))
    assert srt(clip) == (
        "1\n00:00:00,000 --> 00:00:01,750\nstatic (88%)\n\n"
        "2\n00:00:01,750 --> 01:02:06,000\npan left (88%)\n"
    )
    assert vtt(clip).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.750\nstatic (88%)\n\n")


def test_a_clip_without_a_timeline_is_one_stretch(tour: dict[str, Any]) -> None:
    whole = tour | {"segments": []}
    assert srt(whole).startswith("1\n00:00:00,000 --> 00:00:14,0")
    assert tour["predictions"][0]["label"] in srt(whole)


def test_cuts_count_frames() -> None:
    lines = edl(tree((0, 1.48, "static"), (1.48, 3600.04, "pan left"))).splitlines()
    assert lines[:2] == ["TITLE: a.mp4", "FCM: NON-DROP FRAME"]
    span = "00:00:00:00 00:00:01:12"
    assert lines[2] == f"001  AX       V     C        {span} {span}"
    assert lines[4].endswith(" 00:00:01:12 01:00:00:01 00:00:01:12 01:00:00:01")
    assert lines[5] == "* COMMENT: pan left (88%)"
    assert edl(tree((0, 2, "x"), rate=None)).count("00:00:02:00") == 2
    assert edl(tree((0, 2, "x"), rate=29.97)).count("00:00:02:00") == 2


def test_the_timeline_as_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(timeline_csv(tree((0, 1, 'a "b", c'), (1, 2, "d"))))))
    assert [row["label"] for row in rows] == ['a "b", c', "d"]
    assert rows[1]["start"] == "1.000"


@pytest.mark.parametrize("label", ["a\n\n2\nb", "a --> b", "<script>", "\x1b[31m", "a\r\nb"])
def test_a_label_stays_one_line_of_its_own_cue(label: str) -> None:
    for text in (srt(tree((0, 1, label))), vtt(tree((0, 1, label))), edl(tree((0, 1, label)))):
        assert len(re.findall("-->", text)) == (0 if text.startswith("TITLE") else 1)
        assert len(text.strip().splitlines()) <= 4
        assert "\x1b" not in text
    assert "<script>" not in vtt(tree((0, 1, label)))
