"""The vectors: questions with their right answers, in one archive that needs nothing of ours.

::

    tsm-vectors/
      README.md                          how to use them
      manifest.json                      versions, profile, flags, a digest of every file
      index.txt                          a line per question, for programs without JSON
      check.py                           judges a folder of answers with NumPy alone
      cases/L0.shift.clips/case.json     what it checks, the reason why it is there, its flags
      cases/L0.shift.clips/0/...         the question as `vectors` exports it
      cases/L0.shift.clips/0/answer.*.npy   the right answer, and how far it may be missed

The same suite, seed and NumPy make the same bytes. Drawn questions are not in it, nor is a question
that another case asks already: in a file all kinds of memory are the same.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformance.exchange.vectors import call_files, manifest_of
from conformance.questions.case import Case, Question, Setting, make_problem
from conformance.questions.families import FAMILIES
from conformance.questions.files import npy_bytes
from conformance.questions.judges import RULES, VacuousCase
from tsm_ref.errors import WriteError
from tsm_ref.system.atomic import replace_file

ROOT = "tsm-vectors"
VERSION = 1
"""The version of the archive's layout; that of its contents is the version of the suite."""

FLAGS: Mapping[str, str] = {
    **RULES,
    "refusable": "an error of the kind `invalid` or `unsupported` is right as well as the answer",
    "same-bits": "the answers to all questions of the case must be the same bits",
    "streaming": "for implementations that run frame by frame",
    "bitwise_streaming": "for those whose stream gives the bits of the whole clip",
    "quantised": "for those that have layers of 8-bit numbers",
    "float16": "for those that take float16",
    "float64": "for those that take float64",
    "exact": "for those whose algorithm does not transform its data",
    "network": "about any ResNet or MobileNetV2",
    "resnet": "about ResNets",
    "mobilenet_v2": "about MobileNetV2",
    "ts_can": "about TS-CAN",
    "shift": "about the shift alone",
    **{name: f"for those that say that they are {name}" for name in FAMILIES},
    "costly": "takes seconds",
}
"""What each flag of a case says."""

README = """# Test vectors for the Temporal Shift Module

Questions and right answers for an implementation of TSM in any language, by the conventions that
`manifest.json` names (`profile`). All arrays are `.npy` files of format 1.0 in C order, clips are
(N, C, T, H, W).

- `cases/CASE/i/call.json` names the operation, its attributes, and the file of each input.
  `index.txt` says the same on one line per question: place, operation, rule, files, attributes.
- `cases/CASE/i/answer.expected.npy` is the right answer and `answer.tolerance.npy`, where there is
  one, how far each value may be from it. The rule of the question says how to compare:
{rules}
- `cases/CASE/case.json` says what the case checks, the `reason` why it is there, whether it is a
  MUST, a SHOULD or a MAY, and its flags; `manifest.json` says what the flags mean.

Compare in your own tests, or let `check.py` do it, which needs Python 3.10 and NumPy: write answer
i of a case to `outputs/CASE/i/y.npy`, that of `recognize` to `result.json` there, or, to refuse a
question, `error.json` with `{{"kind": "invalid", "message": "why"}}`. What you leave out counts as
not offered: leave out the cases whose flags name what you do not claim.

    python check.py [OUTPUTS]

`tsm-conformance judge FOLDER` judges the same folder, and says which known mistake a wrong answer
looks like. Only `tsm-conformance run` asks every question twice, in every kind of memory, and draws
questions of its own.
"""


@dataclass
class _Archive:
    """The files so far, and what the manifest says of them."""

    files: dict[str, bytes] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    cases: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def write_archive(path: Path, cases: Iterable[Case], setting: Setting, suite: str) -> int:
    """Write the vectors of some cases; returns how many cases they hold. Raises `WriteError`."""
    cases = list(cases)
    made = _Archive()
    for case in cases:
        if reason := _add(made, case, setting):
            made.left_out[case.id] = reason
    made.files["index.txt"] = "".join(f"{line}\n" for line in made.lines).encode()
    made.files["check.py"] = Path(__file__).with_name("answer_checker.py").read_bytes()
    made.files["README.md"] = _readme().encode()
    manifest = _manifest(made, {case.level for case in cases}, setting, suite)
    made.files["manifest.json"] = _json(manifest)
    try:
        replace_file(path, _zipped(made.files))
    except OSError as error:
        raise WriteError(f"cannot write the vectors {path}: {error}") from None
    return len(made.cases)


def _add(made: _Archive, case: Case, setting: Setting) -> str:
    """Add the questions of a case, or say why it has none here."""
    if case.interactive is not None:
        return "its questions are drawn while it runs"
    if not case.applies(setting.conventions):
        return "these conventions decide nothing here"
    try:
        problem = make_problem(case, setting)
    except VacuousCase as error:
        return str(error)
    new = {q.call.fingerprint: q for q in problem.questions}
    questions = [q for key, q in new.items() if key not in made.places]
    if not questions:
        return "other cases ask its questions: " + ", ".join(_askers(made, new))
    told = []
    for i, question in enumerate(questions):
        place = f"{case.id}/{i}"
        made.places[question.call.fingerprint] = place
        told.append(_add_question(made, question, place))
    made.cases.append(case.id)
    about = _about(case, told, problem.same_bits)
    made.files[f"cases/{case.id}/case.json"] = _json(about)
    return ""


def _askers(made: _Archive, keys: Iterable[str]) -> list[str]:
    return sorted({made.places[key].split("/")[0] for key in keys})


def _add_question(made: _Archive, question: Question, place: str) -> dict[str, Any]:
    """Add the files of one question; what ``case.json`` says of it."""
    call, key = question.call, question.judge.key()
    files = call_files(call)
    inputs = [name for name in files if name != "call.json"]
    files |= {f"answer.{name}.npy": npy_bytes(x) for name, x in key.arrays.items()}
    made.files |= {f"cases/{place}/{name}": data for name, data in files.items()}
    words = [f"{k}={json.dumps(v, separators=(',', ':'))}" for k, v in call.attributes.items()]
    line = [place, call.operation, key.rule, ",".join(inputs) or "-", *words]
    made.lines.append(" ".join(line))
    told = {"place": place, "operation": call.operation, "rule": key.rule}
    return told | {"answer": list(key.arrays), "facts": dict(key.facts)}


def _about(case: Case, questions: list[dict[str, Any]], same_bits: bool) -> dict[str, Any]:
    return {
        "id": case.id,
        "level": case.level,
        "requirement": case.requirement,
        "checks": case.checks,
        "formula": case.formula,
        "reason": case.defect,
        "flags": _flags(case, questions, same_bits),
        "same_bits": same_bits,
        "questions": questions,
    }


def _flags(case: Case, questions: list[dict[str, Any]], same_bits: bool) -> list[str]:
    found = {question["rule"] for question in questions} | {*case.needs, case.architecture}
    found |= {"same-bits"} if same_bits else set()
    found |= {"costly"} if case.costly else set()
    if any(question["facts"].get("may_refuse") for question in questions):
        found.add("refusable")
    return [flag for flag in FLAGS if flag in found]


def _manifest(
    made: _Archive, levels: Iterable[str], setting: Setting, suite: str
) -> dict[str, Any]:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(made.files.items())}
    return {
        **manifest_of(setting, levels, made.places),
        "vectors": {
            "version": VERSION,
            "suite": suite,
            "numpy": np.__version__,
            "accumulation": setting.accumulation,
        },
        "flags": dict(FLAGS),
        "cases": made.cases,
        "left_out": made.left_out,
        "files": digests,
    }


def _readme() -> str:
    return README.format(rules="\n".join(f"  - `{name}`: {words}" for name, words in RULES.items()))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip file of the same bytes for the same files: stored, sorted, and without a date."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{ROOT}/{name}")
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, files[name])
    return buffer.getvalue()
