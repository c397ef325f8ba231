"""The probabilities or the pulse of a clip over time, drawn by Matplotlib as SVG or PNG."""

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import MissingDependency
from tsm_ref.system.terminal import printable

__all__ = ["confusion_plot", "plot", "wave_plot"]

Tree = dict[str, Any]
KINDS = (".png", ".svg")
STYLE = {"svg.hashsalt": "tsm_ref", "text.parse_math": False}
"""Equal plots are equal bytes, and a dollar in a name is a dollar."""


def plot(tree: Tree, kind: str = "svg") -> bytes:
    """The best classes of every clip or window against its middle in seconds, as "svg" or "png".

    Raises `MissingDependency` without Matplotlib.
    """
    matplotlib, figure_of = _matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = figure_of(figsize=(9, 4), layout="constrained")
        axes = figure.add_subplot()
        clips = sorted(tree["clips"], key=_middle)
        times = [_middle(clip) for clip in clips]
        for row in tree["predictions"]:
            known = [_chance(clip, row["index"]) for clip in clips]
            axes.plot(times, known, marker="o", markersize=3, label=printable(row["label"]))
        for segment in tree["segments"][1:]:
            axes.axvline(segment["start"], color="0.8", linewidth=1, zorder=0)
        axes.set(xlabel="seconds", ylabel="probability", ylim=(-0.02, 1.02))
        axes.set_title(printable(os.path.basename(tree["input"]["path"])))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        return _saved(figure, kind)


def confusion_plot(confusion: NDArray[np.int64], names: Sequence[str], kind: str = "svg") -> bytes:
    """Who is taken for whom: counts (K, K) of true by predicted class, as "svg" or "png".

    Each row is a share of its class. Names are written for up to 40 classes, counts for up to 20.
    Raises `MissingDependency` without Matplotlib.
    """
    matplotlib, figure_of = _matplotlib()
    count = len(names)
    side = min(14.0, 3 + 0.35 * count)
    with matplotlib.rc_context(STYLE):
        figure = figure_of(figsize=(side, side), layout="constrained")
        axes = figure.add_subplot()
        rows = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
        drawn = axes.imshow(rows, vmin=0, vmax=1, cmap="Blues")
        axes.set(xlabel="predicted", ylabel="true")
        if count <= 40:
            shown = [printable(name) for name in names]
            axes.set_xticks(range(count), shown, rotation=90)
            axes.set_yticks(range(count), shown)
        if count <= 20:
            for i, j in zip(*confusion.nonzero(), strict=True):
                colour = "white" if rows[i, j] > 0.5 else "black"
                axes.text(j, i, str(confusion[i, j]), ha="center", va="center", color=colour)
        figure.colorbar(drawn, shrink=0.6, label="share of the class")
        return _saved(figure, kind)


def wave_plot(tree: Tree, kind: str = "svg") -> bytes:
    """The waves of a face and their rates against seconds, as "svg" or "png".

    `tree` is what `tsm_ref.pulse.render.as_json` writes. A rate with more beside it than in it
    (a ratio below 0 dB) is drawn hollow. Raises `MissingDependency` without Matplotlib.
    """
    matplotlib, figure_of = _matplotlib()
    outputs = tree["outputs"]
    with matplotlib.rc_context(STYLE):
        figure = figure_of(figsize=(9, 4 * len(outputs)), layout="constrained")
        rows = figure.subplots(2 * len(outputs), 1, sharex=True, squeeze=False)[:, 0]
        for output, above, below in zip(outputs, rows[::2], rows[1::2], strict=True):
            times = tree["start"] + np.arange(len(output["wave"])) / tree["rate"]
            above.plot(times, output["wave"], linewidth=0.8)
            above.set(ylabel=output["name"], yticks=[])
            for sure, face in ((True, "C0"), (False, "none")):
                shown = [w for w in output["windows"] if w["rate"] and (w["snr"] >= 0) == sure]
                middles = [(w["start"] + w["end"]) / 2 for w in shown]
                found = [w["rate"] for w in shown]
                below.plot(middles, found, "o", color="C0", markerfacecolor=face, markersize=4)
            below.set(ylabel=output["unit"])
        rows[-1].set(xlabel="seconds")
        title = printable(os.path.basename(tree["input"]["path"]))
        rows[0].set_title(f"{title} - no medical device", fontsize="medium")
        return _saved(figure, kind)


def _matplotlib() -> tuple[Any, Any]:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "draw a plot") from None
    return matplotlib, Figure


def _saved(figure: Any, kind: str) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else {})
    return drawn.getvalue()


def _middle(clip: Tree) -> float:
    return float(clip["start"] + clip["end"]) / 2


def _chance(clip: Tree, index: int) -> float:
    return next(float(row["probability"]) for row in clip["top"] if row["index"] == index)
