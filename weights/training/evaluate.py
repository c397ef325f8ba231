"""Everything that the model cards claim, in one command: `python -m weights.training.evaluate`.

It judges any callable `logits = f(clip)` with clip float32 (N, 3, T, S, S), normalised, and logits
(N, K).  Models are given as NAME=FILE: a `.pt` of `train.py` runs in PyTorch, anything else through
`tsm_ref.load` on the CPU, which is how the shipped files are judged.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.system.terminal import tell

from . import footage, motion, registration
from .generator import TEST_BANK, make_set
from .scenes import Bank

Array = NDArray[Any]
Classifier = Callable[[Array], Array]  # clips of bytes (N, T, S, S, 3) -> labels (N,)

MEAN, STD = 0.45, 0.25
TEST_SEED, TEST_COUNT = 90, 2700
BATCH = 30
PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8))


def torch_logits(path: Path) -> Callable[[Array], Array]:
    """A checkpoint of `train.py` as a callable on (N, 3, T, S, S)."""
    import torch

    from .network import CameraNet

    torch.set_num_threads(1)
    kept = torch.load(path, weights_only=True)
    arch = kept["arch"]
    net = CameraNet(
        arch["mode"],
        tuple(arch["widths"]),
        tuple(arch["depths"]),
        arch["stem"]["stride"],
        len(kept["state"]["fc.bias"]),
    )
    net.load_state_dict(kept["state"])
    net.eval()

    def run(clip: Array) -> Array:
        with torch.no_grad():
            frames = torch.from_numpy(np.ascontiguousarray(clip)).transpose(1, 2).flatten(0, 1)
            return net(frames.contiguous(memory_format=torch.channels_last)).numpy()

    return run


def classifier(name: str) -> Classifier:
    """The labels that a model file, or `registration`, gives to clips of bytes."""
    if name == "registration":
        return registration.classify
    if name.endswith(".pt"):
        logits = torch_logits(Path(name))
    else:
        import tsm_ref

        logits = tsm_ref.load(name)

    def labels(clips: Array) -> Array:
        parts = []
        for i in range(0, len(clips), BATCH):
            progress(name, i, len(clips))
            x = (clips[i : i + BATCH].astype(np.float32) / 255 - MEAN) / STD
            parts.append(np.asarray(logits(np.ascontiguousarray(x.transpose(0, 4, 1, 2, 3)))))
        progress(name, len(clips), len(clips))
        return np.concatenate(parts).argmax(1)

    return labels


def progress(name: str, done: int, total: int) -> None:
    """How far a model has come, on a terminal alone."""
    if sys.stderr.isatty():
        end = "\r" if done < total else "\r\033[K"
        print(f"{name}: {done} of {total} clips", end=end, file=sys.stderr, flush=True)


def procedural(cache: Path | None) -> dict[str, Array]:
    """The held-out procedural set, from another bank and seed than any training clip."""
    if cache and (cache / "x.npy").exists():
        return {k: np.load(cache / f"{k}.npy") for k in ("x", "y", "v", "aspect")}
    data = make_set(TEST_SEED, TEST_COUNT, Bank(TEST_BANK))
    if cache:
        cache.mkdir(parents=True, exist_ok=True)
        for k, value in data.items():
            np.save(cache / f"{k}.npy", value)
    return data


def folded(said: Array) -> Array:
    """Labels by the classes of these sets, in which a camera that shakes on the spot is static."""
    return np.where(said == motion.HANDHELD, motion.STATIC, said)


def score(said: Array, truth: Array) -> dict[str, Any]:
    """Accuracy, per-class recall and the accuracy on moving clips of the sign within the axis."""
    right = said == truth
    moving = truth > 0
    axis = np.array([-1 if a is None else a for a in motion.AXIS])
    same_axis = moving & (axis[said] == axis[truth])
    return {
        "clips": len(truth),
        "accuracy": float(right.mean()),
        "direction": float(right[same_axis].mean()) if same_axis.any() else None,
        "recall": [
            float(right[truth == k].mean()) if (truth == k).any() else None
            for k in range(motion.CLEAN)
        ],
    }


def sections(
    classify: Classifier, data: dict[str, Array], cases: list[footage.Case]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Score one classifier on each part of the evaluation."""

    def f(clips: Array) -> Array:
        return folded(classify(clips))

    said = f(data["x"])
    yield "procedural", score(said, data["y"])
    moving = data["y"] > 0
    backwards = f(data["x"][moving][:, ::-1])
    both = np.concatenate([said[moving] == data["y"][moving],
                           backwards == motion.REVERSE[data["y"][moving]]])  # fmt: skip
    directed = said[moving] > 0
    swapped = backwards == motion.REVERSE[said[moving]]
    yield (
        "reversal",
        {
            "clips": int(2 * moving.sum()),
            "accuracy": float(both.mean()),
            "swap": float(swapped[directed].mean()) if directed.any() else None,
        },
    )
    for group in (*footage.GROUPS, "own motion"):
        part = [c for c in cases if c.group == group]
        if not part:
            continue
        said = f(np.stack([c.frames for c in part]))
        truth = np.array([c.label for c in part])
        yield group, score(said, truth)
        clear = np.array([c.seen is not None for c in part])
        if group == "handheld" and clear.any():
            seen = np.array([c.seen for c in part if c.seen is not None])
            yield "handheld / as seen", score(said[clear], folded(seen))
        for key in ("speed", "footage"):
            for value in sorted({getattr(c, key) for c in part}):
                m = np.array([getattr(c, key) == value for c in part])
                yield f"{group} / {value}", score(said[m], truth[m])
        if group == "frozen":
            back = f(np.stack([c.frames[::-1] for c in part]))
            directed = (said > 0) & (truth > 0)
            yield (
                "frozen / reversal",
                {
                    "clips": int(directed.sum()),
                    "accuracy": float((back == motion.REVERSE[truth])[truth > 0].mean()),
                    "swap": float((back == motion.REVERSE[said])[directed].mean())
                    if directed.any()
                    else None,
                },
            )


def percent(x: float | None, width: int = 5, digits: int = 1) -> str:
    """A share as a percentage of fixed width; a dash where nothing was counted."""
    return "-".rjust(width) if x is None else f"{100 * x:{width}.{digits}f}"


def show(name: str, part: str, s: dict[str, Any]) -> None:
    """Print one line of figures."""
    line = f"{name:12s} {part:26s} {s['clips']:5d} clips  {percent(s['accuracy'])} %"
    if "swap" in s:
        line += f"  labels swapped {percent(s['swap'])} %"
    if "recall" in s:
        recall = " ".join(percent(r, 4, 0) for r in s["recall"])
        line += f"  direction {percent(s['direction'])} %  recall {recall}"
    print(line, flush=True)


def main() -> None:
    """Parse the command line, print the table, keep it as JSON if asked."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("models", nargs="+", help="NAME=FILE, or `registration`")
    ap.add_argument("--footage", type=Path, help="a folder with the real clips of footage.py")
    ap.add_argument("--per", type=int, default=10, help="moves per clip, speed and label")
    ap.add_argument("--cache", type=Path, help="keep the procedural test set here")
    ap.add_argument("--json", type=Path)
    args = ap.parse_args()
    tell("making the procedural set, some minutes the first time (--cache keeps it)")
    data = procedural(args.cache)
    cases = footage.build(args.footage, per=args.per) if args.footage else []
    print("recall, in %: " + ", ".join(motion.CLASSES[: motion.CLEAN]))
    report: dict[str, Any] = {}
    for entry in args.models:
        name, _, path = entry.partition("=")
        for part, s in sections(classifier(path or name), data, cases):
            show(name, part, s)
            report.setdefault(name, {})[part] = s
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
