"""What was measured, as a table for people, as JSON and as CSV."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from tsm_ref.pulse.measure import Measured, Pulse
from tsm_ref.pulse.waves import Estimate
from tsm_ref.system.terminal import printable

__all__ = ["NOTICE", "as_csv", "as_json", "estimate_json", "estimate_line", "table"]

SCHEMA_VERSION = 1
NOTICE = (
    "This is no medical device. It estimates from pixels, and may be wrong: decide nothing about "
    "anybody's health by it."
)


def table(found: Pulse) -> str:
    """The pulse, how it was found, and the rate of every window."""
    lines = [f"{_rate(found.pulse)}  {printable(found.path)}", ""]
    for output in found.outputs:
        lines += [*_windows(output, found), ""]
    own = found.info.frame_rate or found.rate
    frames = f"mixed from {own:.4g}" if found.mixed else "as they are"
    lines += [
        f"region: {found.region} ({found.found}); {found.rate:.4g} frames a second, {frames}",
        f"{printable(found.model)}: preprocessing {found.recipe.name} ({found.chosen}), frame "
        f"depth {found.depth}",
    ]
    if any(doubtful(one) for output in found.outputs for one in output.windows):
        lines.append("? more beside the pulse than in it (SNR below 0 dB)")
    return "\n".join([*lines, NOTICE])


def doubtful(one: Estimate) -> bool:
    """True where there is no pulse, or more beside it than in it."""
    return one.snr is None or one.snr < 0


def _rate(output: Measured) -> str:
    if output.rate is None or output.snr is None:
        return f"no {output.name}"
    return f"{output.name} {output.rate:.1f} {output.unit} (SNR {output.snr:.1f} dB)"


def _windows(output: Measured, found: Pulse) -> Iterator[str]:
    if not output.windows:
        yield f"{output.name}: the video is too short for its rate"
        return
    yield f"{'seconds':>15}  {output.unit:>11}  SNR (dB)"
    for one in output.windows:
        yield estimate_line(one)


def estimate_line(one: Estimate) -> str:
    """One window as a row of the table.

    >>> estimate_line(Estimate(0.0, 10.0, 72.04, 8.31))
    '    0.0 -  10.0         72.0       8.3'
    """
    if one.rate is None or one.snr is None:
        return f"{one.start:7.1f} - {one.end:5.1f}  {'none':>11}"
    doubt = " ?" if doubtful(one) else ""
    return f"{one.start:7.1f} - {one.end:5.1f}  {one.rate:11.1f}  {one.snr:8.1f}{doubt}"


def estimate_json(one: Estimate) -> dict[str, Any]:
    """One window: seconds, a rate a minute and dB, or null where there is no pulse."""
    return {
        "start": round(one.start, 4),
        "end": round(one.end, 4),
        "rate": None if one.rate is None else round(one.rate, 3),
        "snr": None if one.snr is None else round(one.snr, 3),
    }


def as_json(found: Pulse) -> str:
    """Everything that was measured, and how, as one line of JSON."""
    tree = {
        "schema_version": SCHEMA_VERSION,
        "notice": NOTICE,
        "input": {
            "path": found.path.encode("utf-8", "backslashreplace").decode(),
            "width": found.info.width,
            "height": found.info.height,
            "frame_rate": found.info.frame_rate,
            "frames": found.info.frame_count,
        },
        "region": {"box": list(found.region), "found": found.found},
        "model": {
            "name": found.model,
            "precision": found.precision,
            "preprocessing": found.recipe.name,
            "chosen": found.chosen,
            "frame_depth": found.depth,
        },
        "start": round(found.start, 6),
        "rate": found.rate,
        "mixed": found.mixed,
        "window": found.window,
        "stride": found.stride,
        "outputs": [
            {
                "name": output.name,
                "unit": output.unit,
                "rate": output.rate,
                "snr": output.snr,
                "windows": [estimate_json(one) for one in output.windows],
                "wave": [float(f"{value:.6g}") for value in output.wave],
            }
            for output in found.outputs
        ],
        "warnings": list(found.warnings),
    }
    return json.dumps(tree, allow_nan=False)


def as_csv(found: Pulse) -> str:
    """The waves: a row for each value, its second first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("second", *(output.name for output in found.outputs)))
    for row, values in enumerate(zip(*(output.wave for output in found.outputs), strict=True)):
        second = found.start + row / found.rate
        writer.writerow((f"{second:.4f}", *(f"{value:.6g}" for value in values)))
    return text.getvalue()
