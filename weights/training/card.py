"""Write the model cards from the measured figures: `python -m weights.training.card`."""

import argparse
import json
from pathlib import Path
from typing import Any

from . import motion

HERE = Path(__file__).parent
TWINS = {"online": "camera-motion", "offline": "camera-motion-offline", "tsn": "camera-motion-tsn"}
TITLES = {
    "online": "TSM online (causal): the default, for clips and streams",
    "offline": "TSM offline (bi-directional): for clips",
    "tsn": "TSN (no shift): the control, not for use",
}
SHIFTS = {
    "online": "The first half of the channels of each block's input reads the frame before "
    "(d = +1), the rest stays (d = 0); zeros enter at the start.",
    "offline": "The first quarter of the channels of each block's input reads the frame after "
    "(d = -1), the second quarter the frame before (d = +1), the rest stays; zeros enter at both "
    "ends.",
    "tsn": "No channel is shifted. A mean over frames without a shift cannot know their order, so "
    "a clip and its reverse get the same label and at most half of such a pair can be right. The "
    "gap to its twins on pairs is therefore arithmetic; this model exists to show it.",
}
ROWS = {
    "procedural": "procedural, held out",
    "reversal": "the moving ones and their reverses",
    "frozen": "real frames, frozen",
    "frozen / slow": "- slow",
    "frozen / medium": "- medium",
    "frozen / fast": "- fast",
    "still": "live footage, still camera",
    "still / slow": "- slow",
    "still / medium": "- medium",
    "still / fast": "- fast",
    "handheld": "live footage, handheld",
    "handheld / as seen": "- where both motions together are clear, by these",
    "own motion": "real camera work (agreement)",
}


def percent(x: float) -> str:
    """98.76 -> '98.8 %'."""
    return f"{100 * x:.1f} %"


def accuracy_table(report: dict[str, Any], name: str) -> str:
    """Accuracies of one model beside the registration baseline."""
    lines = ["| set | clips | this model | registration |", "|---|---:|---:|---:|"]
    for key, text in ROWS.items():
        if key in report[name]:
            mine, base = report[name][key], report["registration"][key]
            other = "(its word)" if key == "own motion" else percent(base["accuracy"])
            accuracies = f"{percent(mine['accuracy'])} | {other}"
            lines.append(f"| {text} | {mine['clips']} | {accuracies} |")
    return "\n".join(lines)


def recall_table(report: dict[str, Any], name: str) -> str:
    """Recall per class on each part."""
    parts = [p for p in ("procedural", "frozen", "still", "handheld") if p in report[name]]
    lines = ["| class | " + " | ".join(parts) + " |", "|---|" + "---:|" * len(parts)]
    for k, label in enumerate(motion.CLASSES[: motion.CLEAN]):
        cells = [percent(report[name][p]["recall"][k]) for p in parts]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def swaps(report: dict[str, Any], name: str) -> str:
    """The sentence about reversed clips."""
    if report[name]["reversal"]["swap"] is None:
        return "It never names a direction."
    s = percent(report[name]["reversal"]["swap"])
    text = (
        f"Reversing a clip swaps the direction that the model says in {s} of the procedural clips"
    )
    if "frozen / reversal" in report[name]:
        text += f" and {percent(report[name]['frozen / reversal']['swap'])} of the frozen real ones"
    return text + "."


def speed_table(found: dict[str, Any]) -> str:
    """The section about every speed: what the plain command says, and one second alone."""
    lines = [
        "## Every speed",
        "",
        "A virtual camera moves for up to six seconds over single pictures of twelve public videos "
        "that no training saw (the thresholds that choose between windows were set on other "
        "draws from them), at 25 frames a second; the speed is per seventh of a second, the step "
        "of a window of one second. *Clips* is what the plain command says of a clip, *moments* "
        "its timeline, *sure and wrong* the share of moments with a wrong label of more than 95 %; "
        "`python -m weights.training.speeds FOLDER` measures it on other footage. Moves begin late "
        "and end early: a moment is right if it says what the camera does then, within a second.",
        "",
        "| move | clips | right clips | right moments | sure and wrong | windows of 1 s alone |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in found["rows"].items():
        shares = row["every length"]
        figures = [shares[key] for key in ("clips", "moments", "sure and wrong")]
        cells = [percent(x) for x in (*figures, row["one second"]["clips"])]
        lines.append(f"| {name} | {row['clips']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Of all {found['moments']:,} moments of moves and of the camera that stands, "
        f"{percent(found['sure and wrong'])} are sure and wrong; the expected calibration error "
        f"(15 bins) is {percent(found['calibration error'])}.",
    ]
    return "\n".join(lines) + "\n\n"


LARGER = {
    "slowest": ", in larger frames on moves from 0.3 % on",
    "finer": ", and the longest again in frames of twice the size",
    "coarse": ", 0.4 % in the larger frames",
    "drift": " In the larger frames a slow drift shows: of 120 clips without a move over footage "
    'that counts as still 95.8 % are "static" with them and 99.2 % without; the five others drift '
    "by 0.23 % of the width per step or more, and none is sure and wrong.",
}
"""What is said of a network that was trained on frames of two sizes."""


def larger(meta: dict[str, Any]) -> str:
    """The sentences about the stage on frames of two sizes, where there was one."""
    if "before" not in meta:
        return ""
    return (
        f"Then {meta['steps']:,} steps ({meta['views']:,} clip views, peak 1.5e-3, seed "
        f"{meta['seed']}) take 32 of these clips and 16 of 8,000 others in turn: those are "
        "128x128, their moves begin at 0.3 % of the width per step, every fifth stands still, and "
        "in every fifth two to six things move on their own. "
    )


def card(
    name: str, report: dict[str, Any], meta: dict[str, Any], found: dict[str, Any] | None = None
) -> str:
    """One model card; ``found`` is the table of `speeds.py`, where it was measured."""
    template, first = (HERE / "card.md").read_text(), meta.get("before", meta)
    return template.format(
        file=TWINS[name],
        title=TITLES[name],
        shift=SHIFTS[name],
        steps=first["steps"],
        views=f"{first['views']:,}",
        seed=first["seed"],
        larger=larger(meta),
        **{key: text if "before" in meta else "" for key, text in LARGER.items()},
        accuracy=accuracy_table(report, name),
        recall=recall_table(report, name),
        swaps=swaps(report, name),
        speeds=speed_table(found) if found else "",
    )


def main() -> None:
    """Write the three cards."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--logs", type=Path, default=HERE / "logs")
    ap.add_argument("--out", type=Path, default=HERE.parent / "cards")
    args = ap.parse_args()
    report = json.loads((args.logs / "evaluation.json").read_text())
    for name, file in TWINS.items():
        meta = json.loads((args.logs / f"{name}.json").read_text())
        speeds = args.logs / f"{name}_speeds.json"
        found = json.loads(speeds.read_text()) if speeds.exists() else None
        (args.out / f"{file}.md").write_text(card(name, report, meta, found))


if __name__ == "__main__":
    main()
