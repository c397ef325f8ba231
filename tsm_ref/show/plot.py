"""The probabilities of a clip over time, drawn by Matplotlib as SVG or PNG."""

import io
import os
from typing import Any

from tsm_ref.errors import MissingDependency
from tsm_ref.terminal import printable

__all__ = ["plot"]

Tree = dict[str, Any]
KINDS = (".png", ".svg")


def plot(tree: Tree, kind: str = "svg") -> bytes:
    """The best classes of every clip or window against its middle in seconds, as "svg" or "png".

    Raises `MissingDependency` without Matplotlib.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "draw a plot") from None
    with matplotlib.rc_context({"svg.hashsalt": "tsm_ref", "text.parse_math": False}):
        figure = Figure(figsize=(9, 4), layout="constrained")
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
        drawn = io.BytesIO()
        dateless = {"Date": None} if kind == "svg" else {}
        figure.savefig(drawn, format=kind, dpi=120, metadata=dateless)
    return drawn.getvalue()


def _middle(clip: Tree) -> float:
    return float(clip["start"] + clip["end"]) / 2


def _chance(clip: Tree, index: int) -> float:
    return next(float(row["probability"]) for row in clip["top"] if row["index"] == index)
