"""One picture for each measurement, drawn by Matplotlib as SVG."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tsm_ref.errors import MissingDependency

__all__ = ["PLOTS", "check_plots", "drawn"]

Row = Mapping[str, Any]

COLOURS = {"fused": "C0", "copy": "C3", "moved": "C1", "in-place": "C4"}
NAMES = {
    "fused": "taken in by the convolutions (ours)",
    "copy": "naive: a new array",
    "moved": "naive: only what is shifted, in place",
}
REPORTED = ((0.125, 3.0), (1.0, 13.7))
"""Share and overhead in % of the paper's figure 2a, where its text gives them."""


def check_plots() -> None:
    """Raise `MissingDependency` without Matplotlib, before anything is measured."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingDependency("matplotlib", "draw the plots") from None


def drawn(part: str, rows: Sequence[Row]) -> bytes:
    """The picture of a measurement as SVG; raises `MissingDependency`."""
    check_plots()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "tsm_ref", "text.parse_math": False}):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        PLOTS[part](figure.add_subplot(), rows)
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None})
        return data.getvalue()


def _movement(axes: Any, rows: Sequence[Row]) -> None:
    for way, name in NAMES.items():
        some = [row for row in rows if row["way"] == way]
        x = [row["proportion"] for row in some]
        y = [100 * row["overhead"] for row in some]
        off = [[100 * abs(row[end] - row["overhead"]) for row in some] for end in ("low", "high")]
        axes.errorbar(x, y, off, fmt="o-", color=COLOURS[way], label=name, capsize=3)
    axes.plot(*zip(*REPORTED, strict=True), "kx", markersize=9, label="paper, its processor")
    axes.set(xlabel="share of the channels that are shifted", ylabel="% of the network's time")
    axes.axhline(0, color="0.8", linewidth=1, zorder=0)
    axes.legend(frameon=False)


def _in_place(axes: Any, rows: Sequence[Row]) -> None:
    kept = [row for row in rows if row["proportion"]]
    names = [f"{row['way']}\n{row['proportion']:g}" for row in kept]
    bars = axes.bar(names, [100 * row["overhead"] for row in kept],
                    color=[COLOURS[row["way"]] for row in kept])  # fmt: skip
    axes.bar_label(bars, fmt="%+.1f %%")
    axes.axhline(0, color="0.5", linewidth=1)
    axes.margins(y=0.15)
    axes.set(ylabel="% of the time without a shift", xlabel="place of the shift, share shifted")


def _online(axes: Any, rows: Sequence[Row]) -> None:
    kept = [row for row in rows if row["median_ms"] is not None]
    names = [row["kind"] for row in kept]
    bars = axes.bar(
        names, [row["ms_per_frame"] for row in kept], color=["C0", "C1", "C2"][: len(kept)]
    )
    axes.bar_label(
        bars, [f"{row['ms_per_frame']:.2f} ms, {row['memory_mb']:.0f} MB" for row in kept]
    )
    axes.margins(y=0.15)
    axes.set(ylabel="ms for each frame")


def _cost(axes: Any, rows: Sequence[Row]) -> None:
    kept = [row for row in rows if row["median_ms"] is not None]
    for kind, colour in (("shift", "C0"), ("convolution", "C3"), ("none", "C2")):
        some = [row for row in kept if row["temporal"] == kind]
        if some:
            sizes = [10 + row["parameters"] / 3e5 for row in some]
            x = [row["giga_multiply_adds"] for row in some]
            y = [row["median_ms"] for row in some]
            label = {"none": "pictures alone"}.get(kind, f"{kind} in time")
            axes.scatter(x, y, s=sizes, alpha=0.5, color=colour, label=label)
    for row in kept:
        place = (row["giga_multiply_adds"], row["median_ms"])
        axes.annotate(
            row["architecture"], place, fontsize=6, xytext=(3, 3), textcoords="offset points"
        )
    axes.set(xscale="log", yscale="log", ylabel="ms of a clip")
    axes.set_xlabel("10^9 multiply-adds of a clip (areas: parameters)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.legend(frameon=False)


def _early(axes: Any, rows: Sequence[Row]) -> None:
    for model in dict.fromkeys(row["model"] for row in rows):
        some = [row for row in rows if row["model"] == model]
        y = [100 * row["accuracy"] for row in some]
        axes.plot([100 * row["share"] for row in some], y, "o-", label=model)
    axes.axhline(100 / 9, color="0.6", linestyle="--", linewidth=1, label="chance (9 classes)")
    axes.set(xlabel="% of the frames seen", ylabel="% right", ylim=(-3, 103))
    axes.legend(frameon=False)


PLOTS: Mapping[str, Callable[[Any, Sequence[Row]], None]] = {
    "movement": _movement,
    "in-place": _in_place,
    "online": _online,
    "cost": _cost,
    "early": _early,
}
"""How each measurement is drawn."""
