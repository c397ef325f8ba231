"""Updates and early answers as lines: for people on a terminal, as JSON for programs."""

import json
from collections.abc import Iterable, Iterator, Sequence

from tsm_ref.live.early import Early
from tsm_ref.live.loop import Update

__all__ = ["as_jsonl", "as_line", "early_json", "early_lines"]


def as_jsonl(update: Update) -> str:
    """One JSON object: frame index, seconds, best classes, smoothed label, latency in seconds."""
    tree = {
        "frame": update.frame,
        "time": round(update.time, 6),
        "label": update.label,
        "index": update.index,
        "event": update.event,
        "changed": update.changed,
        "top": [
            {"index": index, "label": label, "probability": probability}
            for index, label, probability in update.top
        ],
        "latency": None if update.latency is None else round(update.latency, 6),
        "dropped": update.dropped,
    }
    if update.labels is not None:
        tree["labels"] = list(update.labels)
    return json.dumps(tree, allow_nan=False)


def as_line(update: Update) -> str:
    """One line for a terminal: when, what, how sure.

    >>> top = ((1, "pan left", 0.9), (0, "static", 0.1))
    >>> as_line(Update(40, 1.6, top, 1, "pan left", True, True, 0.004, 0))
    '    1.60 s  pan left  90.0 %  (4.0 ms)'
    """
    chance = next((p for k, _, p in update.top if k == update.index), None)
    sure = "" if chance is None else f"  {100 * chance:.1f} %"
    said = f"{update.label}{sure}" if update.labels is None else ", ".join(update.labels)
    took = "" if update.latency is None else f"  ({1000 * update.latency:.1f} ms)"
    lost = f"  {update.dropped} frames dropped" if update.dropped else ""
    return f"{update.time:8.2f} s  {said}{took}{lost}"


def early_json(path: str, answers: Sequence[Early]) -> str:
    """One JSON object for one clip."""
    rows = [
        {
            "fraction": a.fraction,
            "frames": a.frames,
            "time": round(a.time, 6),
            "index": a.index,
            "label": a.label,
            "probability": a.probability,
        }
        for a in answers
    ]
    return json.dumps({"path": path, "early": rows}, allow_nan=False)


def early_lines(answers: Iterable[Early], width: int = 40) -> Iterator[str]:
    """A plot in characters: a row for every answer, a bar as long as it is sure.

    >>> for line in early_lines([Early(0.5, 1, 0.0, 1, "pan", 0.5), Early(1, 2, 1, 0, "tilt", 1)]):
    ...     print(line)
      50 %      0.00 s  ####################                      50.0 %  pan
     100 %      1.00 s  ######################################## 100.0 %  tilt
    """
    for a in answers:
        bar = "#" * round(width * a.probability)
        chance = f"{100 * a.probability:5.1f} %"
        yield f"{100 * a.fraction:4.0f} %  {a.time:8.2f} s  {bar:{width}} {chance}  {a.label}"
