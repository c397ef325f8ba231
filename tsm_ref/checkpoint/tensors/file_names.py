"""What MIT, MMAction2 and PaddleVideo tell in the names of their files and folders.

MIT's training script writes ``ckpt.best.pth.tar`` into a folder that is named as its published
files are: ``TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50``.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUN = re.compile(r"^(TSM|TSN)_[\w-]+_(RGB|Flow|RGBDiff)_\w+_segment\d+")
"""How MIT's training script names the folder of a run; the modality is in every name."""


def facts_of_names(path: Path, family: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where a name says something, and what: of the file first, then of its folder.

    >>> folder = "TSM_x_RGB_resnet50_shift4_blockres_avg_segment16_e50"
    >>> list(facts_of_names(Path(folder, "ckpt.best.pth.tar"), "MIT"))
    [('the name of the folder', {'placement': 'blockres', 'fold_div': 4, 'segments': 16})]
    """
    said = _of_name(path.name, family)
    if said:
        yield "the name of the file", said
    folder = next((part.name for part in path.parents if RUN.match(part.name)), "")
    if folder:
        yield "the name of the folder", _of_name(folder, family)


def _of_name(name: str, family: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    shift = re.search(r"shift(\d+)_(blockres|block)?", name)
    if shift and not family.startswith("Paddle"):
        if shift[2]:
            found["placement"] = shift[2]
        found["fold_div"] = int(shift[1])
    elif RUN.match(name):
        found["placement"] = "none"
    segments = re.search(r"segment(\d+)|1x1x(\d+)|_(\d+)f(?:\b|_)|(\d+)frames", name)
    if segments:
        found["segments"] = int(next(group for group in segments.groups() if group))
    if "dense" in name:
        found["sampling"] = "dense"
    mode = re.search(r"nl[-_](dot[-_]product|embedded[-_]gaussian|gaussian)", name)
    if mode:
        found["non_local"] = mode[1].replace("-", "_")
    if family.startswith("Paddle") and re.search("tsm", name, re.IGNORECASE):
        found["family"] = "paddle"
    return found
