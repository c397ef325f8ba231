"""Train one twin: `python -m weights.training.train --mode online --data DIR --out DIR`."""

import argparse
import copy
import csv
import json
import math
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

import tsm_ref

from . import motion
from .network import CameraNet, begin_from, exported, shift_of

Array = NDArray[Any]

MEAN, STD = (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)
OWN = 0
"""The frame size of a phase that leaves clips at theirs."""
FLOW_UNIT = 0.03
VELOCITY_UNIT = np.float32([0.03, 0.03, 0.07, 0.07])


class Clips:
    """Rendered clips of one frame size in one or more folders, read through the page cache."""

    def __init__(self, folders: list[Path]) -> None:
        self.x = [np.load(f / "x.npy", mmap_mode="r") for f in folders]
        (self.size,) = {x.shape[2] for x in self.x}
        self.y, self.v, self.aspect = (
            np.concatenate([np.load(f / f"{k}.npy") for f in folders]) for k in ("y", "v", "aspect")
        )
        self.starts = np.cumsum([0] + [len(x) for x in self.x])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def clip(self, i: int) -> Array:
        """Frames (T, S, S, 3) of clip i."""
        k = int(np.searchsorted(self.starts, i, side="right")) - 1
        return self.x[k][i - self.starts[k]]

    def batch(self, index: Array, rng: np.random.Generator | None) -> tuple[Array, ...]:
        """Clips of `index`, each under a random one of its 16 views where `rng` is given."""
        xs, ys, vs, aspects = [], [], [], []
        for i in index:
            code = int(rng.integers(16)) if rng else 0
            x, y, v, a = motion.view(self.clip(i), self.y[i], self.v[i], self.aspect[i], code)
            xs.append(x)
            ys.append(y)
            vs.append(v)
            aspects.append(a)
        return np.stack(xs), np.array(ys), np.float32(vs), np.float32(aspects)


def by_size(folders: list[Path]) -> list[Clips]:
    """The clips of all folders, those of each frame size together, the smallest first."""
    groups: dict[int, list[Path]] = {}
    for folder in folders:
        groups.setdefault(np.load(folder / "x.npy", mmap_mode="r").shape[2], []).append(folder)
    return [Clips(groups[size]) for size in sorted(groups)]


class Deck:
    """Clips in a random order that starts again when it ends."""

    def __init__(self, clips: Clips, limit: int) -> None:
        self.clips = clips
        self._count = min(len(clips), limit or len(clips))
        self._order = np.empty(0, np.int64)

    def deal(self, rng: np.random.Generator, count: int) -> Array:
        """The indices of the next `count` clips."""
        if len(self._order) < count:
            self._order = rng.permutation(self._count)
        index, self._order = self._order[:count], self._order[count:]
        return index


def recolour(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Colour changes that leave motion alone, one draw per clip; x (N, T, H, W, 3) in 0..1."""
    n = len(x)
    mix = np.empty((n, 3, 3), np.float32)
    for i in range(n):
        mix[i] = np.eye(3)[rng.permutation(3)]
        if rng.random() < 0.15:
            mix[i] = 1 / 3
    contrast = np.exp(rng.normal(0, 0.25, n)) * np.where(rng.random(n) < 0.15, -1, 1)
    mix *= contrast[:, None, None].astype(np.float32)
    offset = torch.from_numpy(rng.normal(0.45, 0.08, n).astype(np.float32))
    x = (x - 0.45).flatten(1, 3) @ torch.from_numpy(mix)
    return x + offset[:, None, None]


def prepare(x: Array, size: int, rng: np.random.Generator | None) -> Tensor:
    """Bytes (N, T, S, S, 3) -> normalised network input (N * T, 3, size, size), channels last."""
    n, t, s = x.shape[:3]
    clip = torch.from_numpy(x).float() / 255
    if rng is not None:
        clip = recolour(clip, rng)
    clip = clip.view(n * t, s, s, 3).sub_(MEAN[0]).div_(STD[0]).permute(0, 3, 1, 2)
    if size != s:
        clip = functional.interpolate(clip, (size, size), mode="area")
    return clip.contiguous(memory_format=torch.channels_last)


def true_flow(v: Tensor, aspect: Tensor, size: int) -> Tensor:
    """The displacement d of motion.py on a grid: v (N, T-1, 4) -> (N, T-1, 2, size, size)."""
    p = (torch.arange(size) + 0.5) / size - 0.5
    py, px = p[:, None], p[None, :]
    x, y, zoom, roll = (v[:, :, k, None, None] for k in range(4))
    a = aspect[:, None, None, None]
    return torch.stack([x - zoom * px - roll * py / a, y - zoom * py + roll * px * a], dim=2)


def wanted(y: Tensor, classes: int, smooth: float) -> Tensor:
    """Probabilities (N, K) of labels (N,), smoothed; a clip of no class (-1) may be any of them."""
    share = functional.one_hot(y.clamp(min=0), classes).float()
    share = share * (1 - smooth) + smooth / classes
    return torch.where(y[:, None] < 0, 1 / classes, share)


def auxiliary_loss(velocity: Tensor, flows: list[Tensor], v: Tensor, aspect: Tensor) -> Tensor:
    """Velocity and dense flow of the step into each frame, which every twin's frames 1.. can see.

    Each twin is given the same task; the one without a shift cannot do it.
    """
    loss = functional.smooth_l1_loss(velocity.float()[:, 1:], v / torch.from_numpy(VELOCITY_UNIT))
    for flow in flows:
        truth = true_flow(v, aspect, flow.shape[-1]) / FLOW_UNIT
        loss = loss + functional.smooth_l1_loss(flow.float()[:, 1:], truth, beta=0.5) / len(flows)
    return loss


@torch.no_grad()
def predict(net: CameraNet, x: Array, size: int, batch: int = 60) -> Array:
    """Logits (N, K) of clips (N, T, S, S, 3) of bytes."""
    net.eval()
    parts = [net(prepare(x[i : i + batch], size, None)) for i in range(0, len(x), batch)]
    net.train()
    return torch.cat(parts).numpy()


def rate(step: int, total: int, peak: float, warmup: int = 200) -> float:
    """Linear warm-up, then a half cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


@torch.no_grad()
def average(ema: CameraNet, net: CameraNet, decay: float) -> None:
    """Move the averaged weights and statistics a little towards the current ones."""
    for a, b in zip(ema.state_dict().values(), net.state_dict().values(), strict=True):
        if a.is_floating_point():
            a.lerp_(b, 1 - decay)
        else:
            a.copy_(b)


def save(net: CameraNet, args: argparse.Namespace, facts: dict[str, Any], where: Path) -> None:
    """Write MODE.npz (float32 arrays, torchvision names) and MODE.json (what they mean)."""
    where.mkdir(parents=True, exist_ok=True)
    arrays = {k: v.float().contiguous().numpy() for k, v in exported(net.state_dict()).items()}
    np.savez(where / f"{args.mode}.npz", **arrays)
    d, c = {}, net.arch["widths"][0]
    for s, (width, depth) in enumerate(zip(net.arch["widths"], net.arch["depths"], strict=True)):
        for b in range(depth):
            d[f"layer{s + 1}.{b}"] = shift_of(args.mode, c)
            c = width
    meta = {
        "architecture": net.arch | {"placement": "blockres", "fill": "zero", "d": d},
        "input": {
            "frames": motion.FRAMES, "size": args.size, "mean": MEAN, "std": STD, "colour": "RGB",
            "resize": "the whole frame squashed to size x size, antialiased bilinear (PIL rule)",
        },
        "head": "global average pool per frame, linear per frame, mean of the logits over frames",
        "parameters": sum(v.size for k, v in arrays.items() if "running" not in k),
        "bn_eps": 1e-5, "classes": motion.CLASSES[: args.classes], "seed": args.seed, **facts,
    }  # fmt: skip
    (where / f"{args.mode}.json").write_text(json.dumps(meta, indent=1) + "\n")
    torch.save({"state": net.state_dict(), "arch": net.arch}, where / f"{args.mode}.pt")


def known_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a `.pt` of an earlier stage, or of any model file."""
    if path.suffix == ".pt":
        state: dict[str, Tensor] = torch.load(path, weights_only=True)["state"]
        return state
    weights = tsm_ref.load(str(path), engine="numpy").weights
    return {name: torch.tensor(value) for name, value in weights.items()}


def history(path: Path | None) -> dict[str, Any]:
    """What the log of an earlier stage says of it, where one was begun from."""
    if path is None or not path.with_suffix(".json").exists():
        return {}
    before = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return {"before": {key: before[key] for key in ("seed", "steps", "views", "phases")}}


def schedule(text: str) -> list[tuple[int, int]]:
    """'32:4000,64:6000' -> [(32, 4000), (64, 6000)]: frame size and number of steps.

    A size takes the clips of the smallest frames. That of 'own:2000' is `OWN`, that of the clips:
    it takes those of every size in turn.
    """
    parts = (part.split(":") for part in text.split(","))
    return [(OWN if size == "own" else int(size), int(count)) for size, count in parts]


def measured(net: CameraNet, groups: list[tuple[Array, Array]], size: int) -> float:
    """The accuracy over clips (N, T, S, S, 3) of bytes with labels (N,), of one or more sizes."""
    right = [predict(net, x, size or x.shape[2]).argmax(1) == y for x, y in groups]
    return float(np.concatenate(right).mean())


def learn(args: argparse.Namespace, log: TextIO) -> None:
    """The training loop; its figures are logged as CSV."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    decks = [Deck(clips, args.limit) for clips in by_size(args.data)]
    val = []
    for clips in by_size(args.val):
        named = np.flatnonzero(clips.y >= 0)[: args.val_count]
        val.append((np.concatenate(clips.x)[named], clips.y[named]))  # copies in memory
    net = CameraNet(args.mode, tuple(args.widths), tuple(args.depths), classes=args.classes)
    if args.start:
        begin_from(net, known_weights(args.start))
    net = net.to(memory_format=torch.channels_last)
    ema = copy.deepcopy(net)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    free = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": args.decay}, {"params": free, "weight_decay": 0.0}]
    )
    phases = schedule(args.phases)
    sizes = [s for s, n in phases for _ in range(n)]
    total, views, rows, before = len(sizes), 0, [], history(args.start)
    writer, start = csv.writer(log), time.time()
    writer.writerow(["step", "views", "size", "loss", "aux", "accuracy", "val", "seconds"])
    for step, size in enumerate(sizes):
        deck = decks[step % len(decks) if size == OWN else 0]
        index = deck.deal(rng, args.batch * decks[0].clips.size // deck.clips.size)
        bytes_, y, v, aspect = deck.clips.batch(index, rng if args.augment else None)
        x = prepare(bytes_, size or deck.clips.size, rng if args.augment else None)
        y = torch.from_numpy(y)
        for group in optimiser.param_groups:
            group["lr"] = rate(step, total, args.lr)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            logits, velocity, flows = net.forward_train(x)
        loss = functional.cross_entropy(logits.float(), wanted(y, logits.shape[1], args.smooth))
        one = (y >= 0) & (y != motion.TRANSITION)  # clips of one camera, whose motion is known
        truth = torch.from_numpy(v)[one], torch.from_numpy(aspect)[one]
        aux = auxiliary_loss(velocity[one], [flow[one] for flow in flows], *truth)
        weight = args.aux * (1 - 0.8 * step / total)
        optimiser.zero_grad(set_to_none=True)
        (loss + weight * aux).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        average(ema, net, min(args.ema, (step + 1) / (step + 10)))
        views += len(index)
        rows.append((loss.item(), aux.item(), float((logits.argmax(1) == y).float().mean())))
        last = step + 1 == total
        if (step + 1) % args.every == 0 or last:
            mean, rows = np.mean(rows, axis=0), []
            accuracy = measured(ema, val if size == OWN else val[:1], size)
            seconds = time.time() - start
            row = [step + 1, views, size, *(f"{m:.4f}" for m in mean), f"{accuracy:.4f}"]
            writer.writerow([*row, f"{seconds:.0f}"])
            log.flush()
            print(args.mode + args.tag, *row, f"{seconds:.0f} s", flush=True)
            facts = {"steps": step + 1, "views": views, "phases": args.phases, "val": accuracy}
            facts |= before
            if last or (step + 1) % (4 * args.every) == 0:
                save(ema, args, facts, args.out)


def main() -> None:
    """Parse the command line and train."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--mode", choices=["tsn", "offline", "online"], default="online")
    ap.add_argument("--data", type=Path, nargs="+", required=True)
    ap.add_argument("--val", type=Path, nargs="+", required=True)
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--tag", default="", help="appended to the name of the log")
    ap.add_argument(
        "--start",
        type=Path,
        help="weights to begin from: a .pt, or a model file with the first classes",
    )
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    ap.add_argument("--depths", type=int, nargs="+", default=[1, 2, 2])
    ap.add_argument(
        "--classes", type=int, default=motion.CLEAN, choices=range(2, len(motion.CLASSES) + 1),
        help="so many of the classes, from the first",
    )  # fmt: skip
    ap.add_argument("--phases", default="32:4000,64:6000")
    ap.add_argument("--size", type=int, default=64, help="frame size at inference")
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--lr", type=float, default=4e-3)
    ap.add_argument("--decay", type=float, default=0.05)
    ap.add_argument("--ema", type=float, default=0.998)
    ap.add_argument("--aux", type=float, default=1.0)
    ap.add_argument("--smooth", type=float, default=0.02)
    ap.add_argument("--limit", type=int, default=0, help="use only the first clips (a self-check)")
    ap.add_argument("--val-count", type=int, default=540)
    ap.add_argument("--every", type=int, default=250)
    ap.add_argument("--augment", action=argparse.BooleanOptionalAction, default=True)
    ap.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    args = ap.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / f"{args.mode}{args.tag}.csv").open("w", newline="", encoding="utf-8") as log:
        learn(args, log)


if __name__ == "__main__":
    main()
