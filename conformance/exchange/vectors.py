"""Questions in a folder: exported for machines that cannot be talked to, and found again there.

::

    README.md                       how to answer
    manifest.json                   seed, profile, levels, and every call with its place
    cases/L0.shift.clips/0/x.npy    the inputs of call 0; weights are weights.NAME.npy
    cases/L0.shift.clips/0/call.json   operation, attributes, the names of the inputs
    outputs/L0.shift.clips/0/y.npy  where the answer belongs

Nothing in the folder tells an expected output. ``--format onnx`` writes the layers among the cases
as ONNX's own test data instead (see `onnx_layout`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.exchange.schemas import Invalid, check
from conformance.questions.case import Call, Case, Setting, make_problem
from conformance.questions.files import FILM, npy_bytes
from tsm_ref.errors import UsageError, WriteError

HOW = """# How to answer these questions

`cases/CASE/i/call.json` names an operation, its attributes, and the files of its inputs (float32
unless the file says otherwise, in the order N, C, T, H, W; programs may read `.npy` format 1.0).

Write the answer to `outputs/CASE/i/y.npy`, in the order of axes that you declare (N, C, T, H, W if
you declare nothing). The answer of `recognize` is JSON, `outputs/CASE/i/result.json`. To refuse a
question, write `outputs/CASE/i/error.json`: `{"kind": "invalid", "message": "why"}`; the kind
`unsupported` says that you do not offer it. What you leave out counts as not offered.

Say who you are in `testee.json`: `{"name": "mine", "profile": "mit", "capabilities": {"layout":
"NCTHW"}}`. Then judge the folder: `tsm-conformance judge FOLDER`.
"""
"""The page that an exported folder begins with."""

PLACE = re.compile(r"[\w.-]*\w/\d+")


@dataclass(frozen=True)
class Manifest:
    """What was exported: from which seed, for which profile, and where every call lies."""

    seed: int
    profile: Any
    levels: tuple[str, ...]
    places: Mapping[str, str]

    def find(self, call: Call) -> str | None:
        """The place ``CASE/i`` of a call, by its content."""
        return self.places.get(call.fingerprint)


def export(folder: Path, cases: Iterable[Case], setting: Setting, format: str = "npy") -> int:
    """Write the questions of some cases to a folder; returns how many cases there are."""
    cases = list(cases)
    levels = {case.level for case in cases}
    places: dict[str, str] = {}
    count = 0
    try:
        for case, calls in questions(setting, cases):
            count += 1
            if format == "onnx":
                from conformance.exchange.onnx_layout import write_case

                count -= not write_case(folder, case, setting)
                continue
            for i, call in enumerate(calls):
                places[call.fingerprint] = f"{case.id}/{i}"
                place = folder / "cases" / case.id / str(i)
                place.mkdir(parents=True, exist_ok=True)
                for name, data in call_files(call).items():
                    (place / name).write_bytes(data)
        if format == "npy":
            text = json.dumps(manifest_of(setting, levels, places), indent=1) + "\n"
            (folder / "manifest.json").write_text(text, "utf-8")
            (folder / "README.md").write_text(HOW, "utf-8")
    except OSError as error:
        raise WriteError(f"cannot export to {folder}: {error}") from None
    return count


def manifest_of(
    setting: Setting, levels: Iterable[str], places: Mapping[str, str]
) -> dict[str, Any]:
    """What `read_manifest` reads: what the questions were made for, and where each lies."""
    return {
        "format": 1,
        "seed": setting.seed,
        "profile": setting.conventions.as_dict(),
        "levels": sorted(levels),
        "places": dict(places),
    }


def questions(setting: Setting, cases: Iterable[Case]) -> Iterator[tuple[Case, list[Call]]]:
    """The cases that can be asked without a conversation, with their calls."""
    for case in cases:
        if case.interactive is None and case.applies(setting.conventions):
            yield case, [question.call for question in make_problem(case, setting).questions]


def call_files(call: Call) -> dict[str, bytes]:
    """One call as files: an array for each input, and a ``call.json``."""
    names = {n: "film.avi" if n == FILM else n.replace("/", ".") + ".npy" for n in call.inputs}
    told = {"operation": call.operation, "attributes": dict(call.attributes), "inputs": names}
    files = {
        names[name]: x.tobytes() if name == FILM else npy_bytes(x)
        for name, x in call.inputs.items()
    }
    return {"call.json": (json.dumps(told, indent=1) + "\n").encode(), **files}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an exported folder; raises `UsageError` if there is none."""
    try:
        tree = json.loads((folder / "manifest.json").read_text("utf-8"))
        check("manifest", tree)
        for place in tree["places"].values():
            if not PLACE.fullmatch(place):
                raise Invalid(f"the place {place!r} must be a case and a number")
        levels, places = tuple(tree["levels"]), tree["places"]
        return Manifest(int(tree["seed"]), tree["profile"], levels, places)
    except FileNotFoundError:
        raise UsageError(
            f"there is no manifest.json in {folder}: `tsm-conformance export` writes one"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{folder / 'manifest.json'} is not as it should be: {error}") from None
