"""Checks answers to the vectors beside this file. Needs Python 3.10 and NumPy, and nothing else.

    python check.py [OUTPUTS]

OUTPUTS is the folder of answers, ``outputs`` beside this file if it is not given. Exit code 0: no
answer is wrong; 1: one is, or there is none at all; 2: the vectors are not whole.
"""

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
REFUSALS = ("invalid", "unsupported", "not_streamable")
Verdict = tuple[str, str]
"""``right``, ``wrong`` or ``missing``, and what is wrong."""

RIGHT, MISSING = ("right", ""), ("missing", "")


def wrong(words: str) -> Verdict:
    """The verdict on a wrong answer."""
    return "wrong", words


def check_bits(y: Any, key: dict[str, Any], facts: Any) -> Verdict:
    """Every bit."""
    expected = key["expected"]
    if words := misfit(y, expected):
        return wrong(words)
    a, b = (np.ascontiguousarray(v, expected.dtype) for v in (y, expected))
    bits = f"u{expected.dtype.itemsize}"
    return counted(a.view(bits) != b.view(bits), y, expected)


def check_values(y: Any, key: dict[str, Any], facts: Any) -> Verdict:
    """Every number; not-a-number equals itself."""
    expected = key["expected"]
    if words := misfit(y, expected):
        return wrong(words)
    return counted((y != expected) & ~(np.isnan(y) & np.isnan(expected)), y, expected)


def check_within(y: Any, key: dict[str, Any], facts: Any) -> Verdict:
    """Nowhere further from the expected value than the tolerance says there."""
    expected, tolerance = key["expected"], key["tolerance"]
    if facts["may_be_single"] and (1, *y.shape) == expected.shape:
        y = y[None]
    if words := misfit(y, expected.astype(facts["dtype"])):
        return wrong(words)
    with np.errstate(all="ignore"):
        off = ~(np.abs(y.astype(np.float64) - expected) <= tolerance)
    return counted(off, y, expected)


def check_recognition(told: Any, key: dict[str, Any], facts: Any) -> Verdict:
    """Frames exactly, probabilities within their tolerance, classes in falling order."""
    try:
        classes = [entry["index"] for entry in told["predictions"]]
        listed = np.array([entry["probability"] for entry in told["predictions"]], np.float64)
        if not np.array_equal(np.array(told["frames"]), key["frames"]):
            return wrong(f"the frames are {told['frames']}; {key['frames'].tolist()} are right")
        if sorted(classes) != list(range(len(key["expected"]))):
            return wrong(f"the classes are {classes}; each is needed once")
        if np.any(np.diff(listed) > 0):
            return wrong("the classes are not in falling order of probability")
        found = listed[np.argsort(classes)]
    except (KeyError, TypeError, ValueError) as error:
        return wrong(f"result.json is not as it should be: {error!r}")
    return counted(~(np.abs(found - key["expected"]) <= key["tolerance"]), found, key["expected"])


RULES = {
    "bits": check_bits,
    "values": check_values,
    "within": check_within,
    "recognition": check_recognition,
}


def misfit(y: Any, expected: Any) -> str:
    """What is wrong with the shape or the type of an answer, if anything is."""
    if y.shape != expected.shape:
        return f"the shape is {y.shape}; {expected.shape} is right"
    whole = expected.dtype.kind in "iub" and y.dtype.kind in "iub"
    if not whole and y.dtype.newbyteorder("=") != expected.dtype:
        return f"the type is {y.dtype}; {expected.dtype} is right"
    return ""


def counted(off: Any, y: Any, expected: Any) -> Verdict:
    """A verdict from the places that are wrong."""
    if not off.any():
        return RIGHT
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
    many = f"{int(off.sum())} of {off.size} values are wrong"
    return wrong(f"at {list(at)} the value is {y[at]!s}; {expected[at]!s} is right; {many}")


def read_answer(folder: Path, rule: str) -> tuple[Any, Any]:
    """The answer in a folder and the kind of its error; nothing where there is neither."""
    if (folder / "error.json").is_file():
        return None, json.loads((folder / "error.json").read_text("utf-8"))["kind"]
    if rule == "recognition":
        file = folder / "result.json"
        return (json.loads(file.read_text("utf-8")) if file.is_file() else None), None
    file = folder / "y.npy"
    return (np.load(file, allow_pickle=False) if file.is_file() else None), None


def check_question(question: dict[str, Any], outputs: Path) -> tuple[Verdict, Any]:
    """The verdict on one answer, and the answer."""
    rule, place = question["rule"], question["place"]
    try:
        y, kind = read_answer(outputs / place, rule)
    except Exception as error:  # NumPy reads a header with Python's own tokenizer and parser
        return wrong(f"the answer cannot be read: {error}"), None
    if kind == "unsupported" or (y is None and kind is None):
        return (RIGHT if kind and rule == "refusal" else MISSING), None
    if kind is not None:
        allowed = rule == "refusal" or question["facts"].get("may_refuse")
        right = allowed and kind in REFUSALS
        return (RIGHT if right else wrong(f"ended in an error ({kind})")), None
    if rule == "refusal":
        return wrong(f"accepted {question['facts']['why']}"), None
    arrays = HERE / "cases" / place
    key = {name: np.load(arrays / f"answer.{name}.npy") for name in question["answer"]}
    return RULES[rule](y, key, question["facts"]), y


def check_case(case: dict[str, Any], outputs: Path) -> Verdict:
    """The verdict on a case: wrong if one answer is, missing if one is not there."""
    found = [check_question(question, outputs) for question in case["questions"]]
    for question, (verdict, _) in zip(case["questions"], found, strict=True):
        if verdict[0] == "wrong":
            return wrong(f"{question['place']}: {verdict[1]}")
    if any(verdict[0] == "missing" for verdict, _ in found):
        return MISSING
    answers = [y for _, y in found]
    if case["same_bits"] and any(y.tobytes() != answers[0].tobytes() for y in answers[1:]):
        return wrong("the answers to this case must be the same bits, and are not")
    return RIGHT


def damaged(manifest: dict[str, Any]) -> list[str]:
    """The files that are missing or not what the manifest says."""
    bad = []
    for name, digest in manifest["files"].items():
        path = HERE / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            bad.append(name)
    return bad


def main(arguments: list[str]) -> int:
    """Check every case; returns the exit code."""
    outputs = Path(arguments[0]) if arguments else HERE / "outputs"
    try:
        manifest = json.loads((HERE / "manifest.json").read_text("utf-8"))
        bad = damaged(manifest)
    except (OSError, ValueError, KeyError) as error:
        bad = [f"manifest.json: {error}"]
    if bad:
        print(f"these vectors are not whole: {bad[0]} ({len(bad)} in all)", file=sys.stderr)
        return 2
    table: dict[str, Counter[str]] = {level: Counter() for level in manifest["levels"]}
    for name in manifest["cases"]:
        case = json.loads((HERE / "cases" / name / "case.json").read_text("utf-8"))
        outcome, words = check_case(case, outputs)
        table[case["level"]][outcome] += 1
        table[case["level"]]["lacking"] += case["requirement"] == "MUST" and outcome == "missing"
        if words:
            print(f"wrong: {name} ({case['requirement']}): {words}")
            print(f"       it is there to catch this: {case['reason']}")
    return report(table)


def report(table: dict[str, Any]) -> int:
    """Print a line per level; the exit code."""
    for level, row in table.items():
        holds = row["right"] and not row["wrong"] and not row["lacking"]
        print(
            f"{level:3} {row['right']:4} right {row['wrong']:4} wrong {row['missing']:4} not "
            f"answered ({row['lacking']} required){'  holds' if holds else ''}"
        )
    right, off = (sum(row[name] for row in table.values()) for name in ("right", "wrong"))
    return 0 if right and not off else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
