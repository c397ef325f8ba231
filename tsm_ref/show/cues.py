"""The timeline of a clip as subtitles, and as a list of cuts for video editors."""

import csv
import io
from collections.abc import Iterator
from typing import Any

from tsm_ref.system.terminal import printable

__all__ = ["edl", "labels_of", "said", "srt", "stretches", "timeline_csv", "vtt"]

Tree = dict[str, Any]


def stretches(tree: Tree) -> list[Tree]:
    """The segments of a clip; one over all of it where there is no timeline."""
    if tree["segments"]:
        return list(tree["segments"])
    best = tree["predictions"][0]
    end = tree["input"]["duration"] or max(clip["end"] for clip in tree["clips"])
    row = {"start": 0.0, "end": end, "label": ", ".join(labels_of(tree)) or "none"}
    return [row | {k: best[k] for k in ("index", "probability")}]


def labels_of(tree: Tree) -> list[str]:
    """What is said of the whole: the best class, or all that hold of several that may."""
    labels: list[str] = tree.get("labels", [tree["predictions"][0]["label"]])
    return labels


def said(tree: Tree) -> str:
    """What is said of the whole, with probabilities; of each head where there are several.

    >>> row = {"label": "pan left", "probability": 0.987}
    >>> said({"labels": ["pan left"], "predictions": [row]})
    'pan left (98.7%)'
    >>> said({"labels": [], "predictions": [row]})
    'none'
    """
    if "heads" in tree:
        return "; ".join(f"{head}: {said(each)}" for head, each in tree["heads"].items())
    chances = {row["label"]: row["probability"] for row in tree["predictions"]}
    labels = labels_of(tree)
    told = [f"{label} ({chances[label]:.1%})" for label in labels if label in chances]
    more = f", and {len(labels) - len(told)} more" if len(labels) > len(told) else ""
    return (", ".join(told) or "none") + more


def srt(tree: Tree) -> str:
    """SubRip subtitles: one per segment, the label and its probability.

    >>> row = {"start": 0.0, "end": 61.5, "label": "pan left", "index": 1, "probability": 0.9}
    >>> print(srt({"segments": [row]}), end="")
    1
    00:00:00,000 --> 00:01:01,500
    pan left (90%)
    """
    cues = enumerate(stretches(tree), 1)
    blocks = (f"{n}\n{_span(row, ',')}\n{_said(row)}\n" for n, row in cues)
    return "\n".join(blocks)


def vtt(tree: Tree) -> str:
    """WebVTT subtitles, as browsers show them."""
    blocks = (f"{_span(row, '.')}\n{_escaped(_said(row))}\n" for row in stretches(tree))
    return "WEBVTT\n\n" + "\n".join(blocks)


def timeline_csv(tree: Tree) -> str:
    """One row per segment: start and end in seconds, label, index, probability."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("start", "end", "label", "index", "probability"))
    for row in stretches(tree):
        times = (f"{row['start']:.3f}", f"{row['end']:.3f}")
        writer.writerow((*times, row["label"], row["index"], f"{row['probability']:.6f}"))
    return text.getvalue()


def edl(tree: Tree) -> str:
    """A CMX 3600 edit decision list: one event per segment, with the label as a comment.

    Timecodes count frames of the clip's rate, rounded to a whole number as the format has it.
    """
    return "\n".join(_edl_lines(tree)) + "\n"


def _edl_lines(tree: Tree) -> Iterator[str]:
    rate = max(1, round(tree["input"]["frame_rate"] or 25))
    yield "TITLE: " + _one_line(tree["input"]["path"].replace("\\", "/").rpartition("/")[2])
    yield "FCM: NON-DROP FRAME"
    for number, row in enumerate(stretches(tree), 1):
        begin, end = _timecode(row["start"], rate), _timecode(row["end"], rate)
        yield f"{number:03d}  AX       V     C        {begin} {end} {begin} {end}"
        yield f"* COMMENT: {_said(row)}"


def _timecode(seconds: float, rate: int) -> str:
    frames = round(seconds * rate)
    whole, rest = divmod(frames, rate)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{rest:02d}"


def _span(row: Tree, point: str) -> str:
    return f"{_clock(row['start'], point)} --> {_clock(row['end'], point)}"


def _clock(seconds: float, point: str) -> str:
    thousands = round(seconds * 1000)
    hours, rest = divmod(thousands, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"


def _said(row: Tree) -> str:
    return f"{_one_line(row['label'])} ({row['probability']:.0%})"


def _one_line(text: str) -> str:
    """A name as these formats can hold it: no line of its own, nothing that ends a cue."""
    return printable(text).replace("-->", "->")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
