"""The default model in 8 bits, as it ships: `python -m weights.training.whole_numbers`.

It is calibrated on procedural clips of the bank that training draws from, from a seed of its own:
no clip of any evaluation chose anything in it. Writes ``weights/camera-motion-int8.h5``; ``--card``
writes its card instead, from ``logs/int8.json``, which is what `evaluate` measured of both:
``python -m weights.training.evaluate float=camera-motion int8=camera-motion-int8``, and from
``logs/int8_speeds.json``, which is what `speeds` measured.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np

import tsm_ref
from tsm_ref.quantization import Report, quantize
from tsm_ref.quantization.report import NOTE

from .card import HERE, ROWS, percent, speed_table
from .evaluate import MEAN, STD
from .generator import TRAIN_BANK, make_set
from .scenes import Bank
from .ship import WEIGHTS

NAME = "camera-motion-int8"
SEED, COUNT = 700, 128


def ship() -> None:
    """Calibrate, write the file, print the report."""
    data = make_set(SEED, COUNT, Bank(TRAIN_BANK))
    x = (data["x"].astype(np.float32) / 255 - MEAN) / STD
    clips = [{"x": np.ascontiguousarray(clip.transpose(3, 0, 1, 2)[None])} for clip in x]
    model = tsm_ref.load("camera-motion", engine="numpy")
    where = "procedural clips of the training bank"
    made = quantize(model, clips, keep=(), source=where, timed=False)  # all: the same bits anywhere
    digest = tsm_ref.save(made, WEIGHTS / f"{NAME}.h5")
    sys.stdout.write("\n".join([*Report.from_json(made.notes[NOTE]).lines(), digest, ""]))


def card(report: dict[str, Any], made: Report, speeds: dict[str, Any]) -> str:
    """The card: both networks on every line of the table, what quantising cost, every speed."""
    rows = [
        f"| {text} | {report['int8'][key]['clips']} | {percent(report['int8'][key]['accuracy'])} | "
        f"{percent(report['float'][key]['accuracy'])} |"
        for key, text in ROWS.items()
        if key in report["int8"]
    ]
    loss, swap = made.loss, report["int8"]["reversal"]["swap"]
    equalised = "channels are equalised and " if made.equalised else ""
    return (
        f"# {NAME}: camera-motion in whole numbers of 8 bits\n\n"
        "The same network as [camera-motion](camera-motion.md), causal TSM, for clips and streams, "
        "with weights of int8 (a scale for each output channel), values of uint8 and sums of "
        "int32: it gives the same bits on every engine and in streams. Everything that its card "
        "says of data, meaning and limits holds here.\n\n"
        "## How it was made\n\n"
        f"`python -m weights.training.whole_numbers`: {made.clips} procedural clips of the "
        f"training bank chose the ranges ({made.method}), {equalised}biases corrected, all layers "
        f"compute in 8 bits. {made.bytes_after / 1e6:.2f} MB of parameters instead of "
        f"{made.bytes_before / 1e6:.2f}. On {made.measured_on} clips that chose nothing the logits "
        f"are {loss.rms:.2%} (root mean square) and {loss.largest:.2%} (at most) of the largest "
        f"logit from those in float32; the label is the same for {loss.agreement:.0%}.\n\n"
        "## Accuracy\n\n"
        "By `python -m weights.training.evaluate` on the clips of the other cards:\n\n"
        "| set | clips | int8 | float32 |\n|---|---:|---:|---:|\n"
        + "\n".join(rows)
        + f"\n\nReversing a clip swaps the direction that the model says in {percent(swap)} of the "
        f"procedural clips.\n\n{speed_table(speeds).rstrip()}\n"
    )


def main() -> None:
    """Make the file, or write its card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--card", action="store_true", help="write the card from the logs")
    if not parser.parse_args().card:
        ship()
        return
    report = json.loads((HERE / "logs" / "int8.json").read_text())
    made = Report.from_json(tsm_ref.load(WEIGHTS / f"{NAME}.h5", engine="numpy").notes[NOTE])
    speeds = json.loads((HERE / "logs" / "int8_speeds.json").read_text())
    (WEIGHTS / "cards" / f"{NAME}.md").write_text(card(report, made, speeds))


if __name__ == "__main__":
    main()
