"""What was recognised, as a table for people and as JSON for programs.

The JSON is described by ``recognition.schema.json`` beside this file, whose version is
`SCHEMA_VERSION`.
"""

import importlib.util
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.model.described import measured_in
from tsm_ref.recognition.recognize import Recognition
from tsm_ref.recognition.windows import NONE, UNSURE
from tsm_ref.system.terminal import printable

__all__ = ["SCHEMA_VERSION", "as_json", "as_table", "as_tree"]

SCHEMA_VERSION = 1
MOST_LABELS = 6
"""The most labels of a timeline that the first line of a table names."""

Rows = Sequence[Sequence[str]]


def as_json(result: Recognition) -> str:
    """One JSON object on one line; numbers are finite, times are seconds, indices start at 0."""
    return json.dumps(as_tree(result), allow_nan=False)


def as_tree(result: Recognition) -> dict[str, Any]:
    """The JSON as plain values."""
    video = result.video
    return {
        "schema_version": SCHEMA_VERSION,
        "input": {
            "path": _encodable(video.path),
            "sha256": result.sha256,
            "codec": video.codec,
            "width": video.width,
            "height": video.height,
            "rotation": video.rotation,
            "mirrored": video.mirrored,
            "pixel_aspect": float(video.pixel_aspect),
            "interlaced": video.interlaced,
            "pixel_format": video.pixel_format,
            "frame_rate": _rounded(video.frame_rate),
            "duration": _rounded(video.duration),
            "frame_count": video.frame_count,
            "frames_decoded": result.frames_decoded,
            "frames_seen": result.frames_seen,
            "repairs": [asdict(repair) for repair in video.repairs],
        },
        "sampling": asdict(result.profile.sampling)
        | {
            "asked_window": result.asked.window,
            "scales": result.scales.tolist(),
            "slowest": _finite(result.slowest),
            "indices": result.indices.tolist(),
            "times": result.times.round(6).tolist(),
        },
        "model": _model(result),
        "labels": list(result.labels),
        **_answer(result, next(iter(result.heads))),
        **_heads(result),
        **_streams(result),
        "timing": {stage: round(seconds, 6) for stage, seconds in result.timing.items()},
        "warnings": list(result.warnings),
    }


def _finite(values: NDArray[np.float64] | None) -> list[float | None] | None:
    """Numbers for JSON, which knows none that are infinite."""
    return values if values is None else [v if math.isfinite(v) else None for v in values.tolist()]


def _model(result: Recognition) -> dict[str, Any]:
    model, profile = result.model, result.profile
    return {
        "name": model.name,
        "sha256": model.sha256,
        "engine": model.engine.name,
        "precision": model.precision,
        "output": model.output,
        "profile": profile.as_dict(labels=False)
        | {"measured": measured_in(model.precision, profile.measured)},
    }


def _streams(result: Recognition) -> dict[str, Any]:
    """What each of two networks says whose scores were joined; nothing for one alone."""
    if not result.streams:
        return {}
    return {
        "streams": {
            name: {
                "weight": weight,
                "model": _model(seen),
                "indices": seen.indices.tolist(),
                "times": seen.times.round(6).tolist(),
                "predictions": [asdict(prediction) for prediction in seen.predictions],
            }
            for name, (weight, seen) in result.streams.items()
        }
    }


def _heads(result: Recognition) -> dict[str, Any]:
    """What each of several heads says, by the name of its output; nothing for one alone."""
    if len(result.heads) == 1:
        return {}
    return {
        "heads": {
            head: {"labels": list(answer.labels), **_answer(result, head)}
            for head, answer in result.heads.items()
        }
    }


def _answer(result: Recognition, head: str) -> dict[str, Any]:
    answer = result.heads[head]
    return {
        "predictions": [asdict(prediction) for prediction in answer.predictions],
        "clips": list(_clips(result, head)),
        "segments": [
            asdict(segment) | {"start": _rounded(segment.start), "end": _rounded(segment.end)}
            for segment in answer.segments
        ],
    }


def _rounded(number: float | None) -> float | None:
    """Seconds, or frames a second, to a millionth."""
    return None if number is None else round(number, 6)


def _clips(result: Recognition, head: str) -> Iterator[dict[str, Any]]:
    """What was seen in each clip or window alone: its best classes, and those of the whole."""
    answer = result.heads[head]
    whole = [prediction.index for prediction in answer.predictions]
    for times, chances in zip(result.times, answer.probabilities, strict=True):
        order = np.argsort(-chances, kind="stable").tolist()
        told = {*order[: len(whole)], *whole}
        yield {
            "start": _rounded(float(times.min())),
            "end": _rounded(float(times.max())),
            "top": [
                {
                    "index": k,
                    "label": result.model.profile.label_of(k, head),
                    "probability": float(chances[k]),
                }
                for k in order
                if k in told
            ],
        }


def _encodable(name: str) -> str:
    """A file name as UTF-8 can hold it: bytes that are no text are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def as_table(result: Recognition, *, colour: bool = False) -> str:
    """The label, the best classes, the timeline of a long clip, and what it took.

    Drawn by rich where it is installed, in plain columns elsewhere; the words are the same.
    """
    return "\n".join(_lines(result, colour))


def _lines(result: Recognition, colour: bool) -> Iterator[str]:
    several = len(result.heads) > 1
    heads = [_headline(result, head) for head in result.heads]
    if several:
        heads = [
            f"{printable(head)}: {said}" for head, said in zip(result.heads, heads, strict=True)
        ]
    yield f"{'; '.join(heads)}  {printable(result.video.path)}"
    for head in result.heads:
        yield ""
        if several:
            yield printable(head)
        yield from _tables(result, head, colour)
    for name, (weight, seen) in result.streams.items():
        yield ""
        yield f"{name} alone, of weight {weight:g}, by {printable(seen.model.name)}"
        yield from _tables(seen, next(iter(seen.heads)), colour)
    yield ""
    yield from _limit(result)
    model, timing = result.model, result.timing
    how = model.engine.name + (" in bfloat16" if model.precision == "bfloat16" else "")
    yield (
        f"{printable(model.name)} on {how}: {result.frames_seen} of "
        f"{result.video.frame_count} frames in {timing['total']:.2f} s "
        f"(network {timing['run']:.2f} s{_compiled(timing['compile'])})"
    )


def _limit(result: Recognition) -> Iterator[str]:
    """What "nothing moves" means of this video, where that is said of any of it."""
    rest = result.profile.no_event_index
    if rest is None or result.slowest is None:
        return
    chances = result.probabilities
    said = (chances.argmax(1) == rest) & (chances.max(1) >= result.profile.sure)
    slowest = result.slowest[said]
    if slowest.size and np.isfinite(slowest).all():
        ends = dict.fromkeys(_two_digits(100 * end) for end in (slowest.min(), slowest.max()))
        yield (
            f"{printable(result.profile.no_event)}: a motion slower than {' to '.join(ends)} % of "
            "the width a second would not show"
        )


def _two_digits(number: float) -> str:
    """A number to two digits, in plain figures.

    >>> _two_digits(0.5333), _two_digits(336.0)
    ('0.53', '340')
    """
    return f"{float(f'{number:.2g}'):g}"


def _tables(result: Recognition, head: str, colour: bool) -> Iterator[str]:
    """The best classes of one head, and its timeline."""
    answer = result.heads[head]
    titles, align = ["rank", "label", "probability", "logit"], "rlrr"
    classes = [
        [str(p.rank), printable(p.label), f"{p.probability:.1%}", f"{p.logit:.2f}"]
        for p in answer.predictions
    ]
    if result.multi_label(head):
        titles, align = [*titles, "holds"], "rlrrl"
        for row, prediction in zip(classes, answer.predictions, strict=True):
            row.append("yes" if prediction.probability >= result.profile.threshold else "no")
    yield _columns(titles, classes, align, colour)
    if len(answer.segments) > 1:
        stretches = [
            (f"{s.start:.2f}", f"{s.end:.2f}", printable(s.label), f"{s.probability:.1%}")
            for s in answer.segments
        ]
        yield ""
        yield _columns(("from s", "to s", "label", "probability"), stretches, "rrlr", colour)


def _compiled(seconds: float) -> str:
    return f", compiled once in {seconds:.1f} s" if seconds > 0.05 else ""


def _headline(result: Recognition, head: str) -> str:
    """The label, the labels that hold, or those one after the other where they change."""
    answer = result.heads[head]
    if len(answer.segments) > 1:
        labels = [printable(segment.label) for segment in answer.segments]
        more = f", ... ({len(labels)} segments)" if len(labels) > MOST_LABELS else ""
        between = " | " if result.multi_label(head) else ", "
        return between.join(labels[:MOST_LABELS]) + more
    if answer.labels == (UNSURE,):
        best = answer.predictions[0]
        return f"{UNSURE}, perhaps {printable(best.label)} ({best.probability:.1%})"
    chances = {p.label: p.probability for p in answer.predictions}
    labels = [
        f"{printable(label)} ({chances[label]:.1%})" for label in answer.labels if label in chances
    ]
    more = (
        f", and {len(answer.labels) - len(labels)} more" if len(answer.labels) > len(labels) else ""
    )
    return (", ".join(labels) or NONE) + more


def _columns(head: Sequence[str], rows: Rows, align: str, colour: bool) -> str:
    """A table of text; `align` has one of ``l`` and ``r`` per column."""
    if importlib.util.find_spec("rich") is None:
        return _plain_columns(head, rows, align)
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, side in zip(head, align, strict=True):
        table.add_column(name, justify="right" if side == "r" else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row), style="green" if row[0] == "1" else "")
    text = io.StringIO()
    console = Console(file=text, force_terminal=colour, no_color=not colour, width=1000)
    console.print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _plain_columns(head: Sequence[str], rows: Rows, align: str) -> str:
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    sides = [str.rjust if side == "r" else str.ljust for side in align]
    return "\n".join(
        "  ".join(
            side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
