"""Cases from examples that once failed somewhere: shrunk by hypothesis and kept for ever.

A file of the folder ``permanent`` is what a failing identity leaves in ``--report DIR/vectors``; to
keep one, copy it there. Only the question is kept. The answer is the oracle's, under the profile
that is judged.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from conformance.catalogue._questions import shift_question
from conformance.catalogue.l0_shift import SHIFT
from conformance.questions.arrays import Array
from conformance.questions.case import Problem, Setting, case

FOLDER = Path(__file__).resolve().parent.parent / "permanent"


def read_vector(path: Path) -> tuple[dict[str, Any], list[Array]]:
    """What a vector file says of itself, and its inputs in order."""
    with np.load(path, allow_pickle=False) as file:
        about: dict[str, Any] = json.loads(str(file["about"]))
        return about, [file[f"input_{i}"] for i in range(len(about["inputs"]))]


def _register(path: Path) -> None:
    about, (x, *_) = read_vector(path)

    def build(s: Setting) -> Problem:
        return Problem((shift_question(s, x),))

    shape = " x ".join(map(str, x.shape))
    build.__doc__ = f"A clip of {shape} that was found by {about['case']} (seed {about['seed']})."
    case(
        f"L0.vector.{path.stem}",
        operation="temporal_shift",
        formula=SHIFT,
        defect="what once went wrong may go wrong again",
    )(build)


for _path in sorted(FOLDER.glob("*.npz")):
    _register(_path)
