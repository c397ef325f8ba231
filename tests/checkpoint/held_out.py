"""New files by PyTorch's own code, of kinds that no test names: how many are read, and right.

``python -m tests.checkpoint.held_out [COUNT] [SEED]`` draws a network, what wraps it and what it is
saved as, independently of each other, so that hardly any combination has been seen before. A file
is *right* where our answer is PyTorch's, *refused* where it is not read, *told* where it is another
answer with a warning, and *wrong* where it is another one without a word. Needs PyTorch.
"""

import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tsm_ref
from tsm_ref.errors import TsmError

Draw = random.Random
CLASSES = 7


def shift(torch: Any, x: Any, frames: int, divisor: int) -> Any:
    """MIT's shift of rows of pictures."""
    fold, y = x.shape[1] // divisor, x.view(-1, frames, *x.shape[1:])
    out = torch.zeros_like(y)
    out[:, :-1, :fold] = y[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = y[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = y[:, :, 2 * fold :]
    return out.view(x.shape)


def network(torch: Any, draw: Draw, about: dict[str, Any]) -> Any:
    """A residual network as MIT's training script names it, of a form that was drawn."""
    nn, frames, divisor = torch.nn, about["segments"], about["divisor"]
    wide, groups = about["inner"], about["groups"]

    class TemporalShift(nn.Module):  # type: ignore[misc]
        def __init__(self, net: Any) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            return self.net(shift(torch, x, frames, divisor))

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self, old: int, planes: int, stride: int) -> None:
            super().__init__()
            deep = about["bottleneck"]
            new, inner = planes * (4 if deep else 1), planes * (wide if deep else 1)
            sizes = [(old, inner, 1, 1), (inner, inner, 3, stride), (inner, new, 1, 1)]
            sizes = sizes if deep else [(old, planes, 3, stride), (planes, new, 3, 1)]
            self.count = len(sizes)
            for i, (a, b, kernel, step) in enumerate(sizes, start=1):
                several = groups if deep and kernel == 3 else 1
                conv = nn.Conv2d(a, b, kernel, step, kernel // 2, groups=several, bias=False)
                first = i == 1 and about["placement"] == "blockres"
                setattr(self, f"conv{i}", TemporalShift(conv) if first else conv)
                setattr(self, f"bn{i}", nn.BatchNorm2d(b))
            self.downsample = None
            if stride != 1 or old != new:
                skip = nn.Conv2d(old, new, 1, stride, bias=False)
                self.downsample = nn.Sequential(skip, nn.BatchNorm2d(new))

        def forward(self, x: Any) -> Any:
            y = x
            for i in range(1, self.count + 1):
                y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
                y = torch.relu(y) if i < self.count else y
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Base(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            width = about["width"]
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
            self.bn1, self.maxpool = nn.BatchNorm2d(width), nn.MaxPool2d(3, 2, 1)
            old = width
            for stage, count in enumerate(about["blocks"]):
                blocks = []
                for i in range(count):
                    planes = width * 2**stage
                    block = Block(old, planes, 2 if stage and not i else 1)
                    old = planes * (4 if about["bottleneck"] else 1)
                    inside = about["placement"] == "block"
                    blocks.append(TemporalShift(block) if inside else block)
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            self.features = old

        def forward(self, x: Any) -> Any:
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            for stage in range(1, 5):
                x = getattr(self, f"layer{stage}")(x)
            return x.mean((2, 3))

    class Recognizer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.base_model = Base()
            self.new_fc = nn.Linear(self.base_model.features, CLASSES)

        def forward(self, x: Any) -> Any:
            logits = self.new_fc(self.base_model(x.reshape(-1, *x.shape[-3:])))
            return logits.view(-1, frames, CLASSES).mean(1)

    made = Recognizer()
    for name, tensor in (*made.named_parameters(), *made.named_buffers()):
        if name.endswith("running_var"):
            tensor.data.uniform_(0.7, 1.4)
        elif tensor.dim() == 1 and tensor.is_floating_point():
            tensor.data.uniform_(-0.2, 0.2).add_(name.endswith("weight"))
    return made.eval()


def form(draw: Draw) -> dict[str, Any]:
    """What a network is like."""
    deep = draw.random() < 0.5
    return {
        "blocks": [draw.randint(1, 2) for _ in range(4)],
        "width": draw.choice((8, 16, 24)),
        "bottleneck": deep,
        "inner": draw.choice((1, 1, 2)) if deep else 1,
        "groups": draw.choice((1, 1, 4)) if deep else 1,
        "placement": draw.choice(("blockres", "blockres", "block", "none")),
        "divisor": draw.choice((4, 8)),
        "segments": draw.choice((2, 3, 4, 8)),
    }


def states(torch: Any, draw: Draw, model: Any) -> Any:
    """The weights, inside of what people put around them."""
    weights = model.state_dict()
    prefix = draw.choice(("", "module.", "_orig_mod.", "model.", "module.model.", "net."))
    weights = {prefix + name: value for name, value in weights.items()}
    if draw.random() < 0.3:
        weights["criterion.weight"] = torch.ones(CLASSES)
    key = draw.choice(("", "state_dict", "model", "weights", "network", "model_state_dict"))
    if not key:
        return weights
    optimizer = torch.optim.AdamW(model.parameters()).state_dict()
    return {"epoch": 3, key: weights, "optimizer": optimizer, "args": {"lr": 0.1}}


def as_pth(torch: Any, draw: Draw, model: Any, clip: Any, path: Path) -> None:
    zipped = draw.random() < 0.7
    torch.save(states(torch, draw, model), path, _use_new_zipfile_serialization=zipped)


def as_script(torch: Any, draw: Draw, model: Any, clip: Any, path: Path) -> None:
    torch.jit.save(torch.jit.trace(model, clip), path)


def as_program(torch: Any, draw: Draw, model: Any, clip: Any, path: Path) -> None:
    torch.export.save(torch.export.export(model, (clip,)), path)


def as_onnx(torch: Any, draw: Draw, model: Any, clip: Any, path: Path) -> None:
    opset = draw.choice((11, 12, 14, 16, 18, 20))
    free = draw.choice((None, {"x": {0: "n"}}))
    options = {"input_names": ["x"], "dynamic_axes": free, "opset_version": opset}
    torch.onnx.export(model, (clip,), str(path), dynamo=False, **options)


Save = Callable[[Any, Draw, Any, Any, Path], None]
SAVED: dict[str, tuple[Save, str]] = {
    "pth": (as_pth, ".pth"),
    "script": (as_script, ".pt"),
    "program": (as_program, ".pt2"),
    "onnx": (as_onnx, ".onnx"),
}


def verdict(torch: Any, draw: Draw, kind: str, folder: Path) -> tuple[str, str]:
    """Save one network and read it; how that went, and why."""
    about = form(draw)
    torch.manual_seed(draw.randrange(10**6))
    model, side = network(torch, draw, about), draw.choice((48, 64, 80))
    clip = torch.randn(1, about["segments"], 3, side, side)
    shifts = about["placement"] != "none"
    told = f"shift{about['divisor']}_{about['placement']}_" if shifts else ""
    name = f"TSM_x_RGB_resnet_{told}avg_segment{about['segments']}_e5"
    save, ending = SAVED[kind]
    path = folder / f"{name}{ending}"
    with torch.no_grad():
        wanted = model(clip).numpy()
    save(torch, draw, model, clip, path)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            ours = tsm_ref.load(path, engine="numpy")
            view = ours.form.inputs[0].name if ours.form else ""
            given = clip.numpy()
            rows = given[0].swapaxes(0, 1)[None]
            found = next(iter(ours.run({view: given}).values())) if view else ours(rows)
        except TsmError as error:
            return "refused", str(error)
    if np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max():
        return "right", ""
    return ("told" if heard else "wrong"), f"{about}, {np.abs(found - wanted).max():.2g}"


def score(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """How many of so many new files went how, and a line for each that is not right."""
    import torch

    draw, counts, lines = Draw(seed), Counter[str](), []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(count):
            kind = draw.choice(list(SAVED))
            place = Path(folder, str(i))
            place.mkdir()
            how, why = verdict(torch, draw, kind, place)
            counts[how] += 1
            if how != "right":
                lines.append(f"{i} {kind} {how}: {why}")
    return counts, lines


if __name__ == "__main__":
    asked = [int(value) for value in sys.argv[1:3]]
    total, said = score(*(asked + [40, 0][len(asked) :]))
    print(*said, sep="\n")
    print(", ".join(f"{how} {number}" for how, number in total.most_common()))
