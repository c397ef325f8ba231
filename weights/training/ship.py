"""The trained twins as the files that ship: `python -m weights.training.ship RUN_FOLDER`.

Reads ``MODE.npz`` (weights in PyTorch's names and shapes) and ``MODE.json`` (architecture, classes,
accuracy) of `train.py`, writes ``weights/NAME.h5`` in float16, and lists it in the registry.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.checkpoint import save
from tsm_ref.checkpoint.disk import write_whole
from tsm_ref.graph import Graph
from tsm_ref.models import ResNetSpec, build_resnet
from tsm_ref.profile import Preprocess, Profile, Sampling, ShiftRule

from . import motion

WEIGHTS = Path(__file__).resolve().parent.parent
NAMES = {
    "online": "camera-motion",
    "offline": "camera-motion-offline",
    "tsn": "camera-motion-tsn",
}
RULES = {"online": "online_double", "offline": "mit", "tsn": "none"}
SPEC = ResNetSpec((1, 2, 2), width=16, strides=(1, 2, 2), stem_kernel=3, stem_pool=False)
AIMLESS = {motion.CLASSES[motion.HANDHELD], motion.CLASSES[motion.TRANSITION]}
SURE = 0.5
"""Below it two labels in five are right, on live footage of twelve public videos that chose nothing
else."""
WINDOW, STRIDE, LONGEST = 1.0, 0.5, 8.0
"""Seconds: eight frames in about one second are what the training speeds mean; slower moves are
seen in longer windows."""
FINER = {"online": 2}
"""How many times as large the frames are in which the slowest moves are looked for: as large as the
twin was trained on. In larger ones pictures are coarser than any that it saw, and other moves are
seen; twins that saw one size alone take joints of shots for moves."""


def profile_of(mode: str, facts: dict[str, Any]) -> Profile:
    """What the weights of one twin mean; `facts` is its JSON."""
    size, finer = facts["input"]["size"], FINER.get(mode, 1)
    accuracy = facts["accuracy"]
    parts = {
        "procedural clips": "procedural",
        "frozen real frames": "frozen",
        "live footage from a still camera": "still",
        "handheld footage": "handheld",
    }
    return Profile(
        family="camera-motion",
        shift=ShiftRule(RULES[mode], facts["architecture"]["fold_div"]),
        placement="none" if mode == "tsn" else "blockres",
        sampling=Sampling("windows", facts["input"]["frames"], WINDOW, STRIDE, LONGEST, finer),
        preprocess=Preprocess(
            short_side=None,
            size=(size, size),
            crop=None,
            mean=tuple(facts["input"]["mean"]),
            std=tuple(facts["input"]["std"]),
        ),
        average="probabilities",
        labels=tuple(facts["classes"]),
        sure=facts.get("sure", SURE),
        slowest=motion.SPEED_MIN,
        aimless=tuple(name for name in facts["classes"] if name in AIMLESS),
        no_event=facts["classes"][0],
        measured="; ".join(f"{accuracy[k]:.1%} of {words}" for words, k in parts.items()),
    )


def graph_of(name: str, profile: Profile) -> Graph:
    """The network of one twin."""
    return build_resnet(
        SPEC,
        num_classes=len(profile.labels),
        placement=profile.placement,
        shift=profile.shift,
        name=name,
    )


def ship(run: Path, mode: str) -> dict[str, str]:
    """Write the file of one twin; returns its entry for the registry."""
    facts = json.loads((run / f"{mode}.json").read_text(encoding="utf-8"))
    name, profile = NAMES[mode], profile_of(mode, facts)
    graph = graph_of(name, profile)
    with np.load(run / f"{mode}.npz", allow_pickle=False) as arrays:
        weights = {k: arrays[k].reshape(shape) for k, shape in graph.parameters.items()}
    notes = {
        "licence": "MIT",
        "seed": str(facts["seed"]),
        "recipe": "weights/training/reproduce.sh",
    }
    digest = save(WEIGHTS / f"{name}.h5", graph, weights, profile, storage="float16", extra=notes)
    how = {"online": "causal TSM", "offline": "bi-directional TSM", "tsn": "TSN, no shift"}
    return {
        "file": f"{name}.h5",
        "sha256": digest,
        "task": "what the camera does: static, pan, tilt, zoom or roll",
        "profile": f"{how[mode]}, 8 frames in a second, 64x64",
        "card": f"cards/{name}.md",
    }


def listed(text: str, name: str, entry: dict[str, str]) -> str:
    """The registry with this entry in the place of the one of that name; all else stays."""
    lines = [f"[shipped.{name}]", *(f"{key} = {json.dumps(v)}" for key, v in entry.items())]
    old = re.compile(rf"^\[shipped\.{re.escape(name)}\]\n(?:\w+ = .*\n)*", re.MULTILINE)
    new, count = old.subn(lambda _: "\n".join(lines) + "\n", text)
    if count != 1:
        raise ValueError(f"the registry has {count} entries of {name!r}; there must be one")
    return new


def main() -> None:
    """Ship all three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="the --out folder of train.py")
    run = parser.parse_args().run
    registry = WEIGHTS / "registry.toml"
    text = registry.read_text(encoding="utf-8")
    for mode, name in NAMES.items():
        text = listed(text, name, ship(run, mode))
    write_whole(registry, text.encode())


if __name__ == "__main__":
    main()
