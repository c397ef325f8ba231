"""The archive of vectors: whole, the same bytes again, and judged by its own checker as here."""

import ast
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import conformance
from conformance.__main__ import main
from conformance.catalogue import all_cases, cases_of, find_case
from conformance.exchange import answer_checker
from conformance.exchange.archive import FLAGS, ROOT, write_archive
from conformance.judging.runner import judge_problem
from conformance.mutants import MUTANTS
from conformance.questions.case import Setting, make_problem
from conformance.questions.conventions import PRESETS
from conformance.testees.folder import Folder
from conformance.testees.reference import Reference
from tsm_ref.errors import WriteError

LEVELS = ("L0", "L1", "L5", "L6", "S", "R")


def unpacked(path, folder):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder / ROOT


@pytest.fixture(scope="module")
def vectors(tmp_path_factory, answer_all):
    """The unpacked archive, answered rightly in ``outputs``."""
    folder = tmp_path_factory.mktemp("vectors")
    write_archive(folder / "v.zip", cases_of(LEVELS), Setting(PRESETS["mit"]), "0")
    tree = unpacked(folder / "v.zip", folder)
    answer_all(tree, Reference("mit"))
    # The reference does not claim the same bits for any chunks: the first answer stands for all.
    for i in ("1", "2"):
        shutil.rmtree(tree / "outputs" / "S.network.bits" / i)
        shutil.copytree(*(tree / "outputs" / "S.network.bits" / j for j in ("0", i)))
    return tree


def checked(folder, *arguments):
    """What the checker says, run as its user runs it: away from this package."""
    command = [sys.executable, "-I", str(folder / "check.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    return done.returncode, done.stdout, done.stderr


def test_right_answers_are_right(vectors):
    code, out, err = checked(vectors)
    assert (code, err) == (0, "")
    assert "wrong:" not in out
    assert [line.split()[0] for line in out.splitlines() if line.endswith("holds")] == sorted(
        LEVELS
    )


def numbers(change):
    def spoil(folder):
        np.save(folder / "y.npy", change(np.load(folder / "y.npy")))

    return spoil


def text(name, value):
    def spoil(folder):
        (folder / name).write_text(value)

    return spoil


def change_one(y):
    y = y.copy()
    y.flat[y.size // 2] += 1e-3
    return y


def other_nan(y):
    """Another payload of not-a-number, which only a comparison of bits can see."""
    bits = y.view(np.uint32).copy()
    bits[np.isnan(y)] ^= 1
    return bits.view(np.float32)


def a_class_twice(folder):
    told = json.loads((folder / "result.json").read_text())
    told["predictions"][1]["index"] = told["predictions"][0]["index"]
    (folder / "result.json").write_text(json.dumps(told))


def unsorted(folder):
    told = json.loads((folder / "result.json").read_text())
    told["predictions"].reverse()
    (folder / "result.json").write_text(json.dumps(told))


def less_likely(folder):
    told = json.loads((folder / "result.json").read_text())
    told["predictions"][-1]["probability"] *= 0.99
    (folder / "result.json").write_text(json.dumps(told))


SPOILED = [
    ("L0.shift.clips/0", numbers(lambda y: y[:, ::-1]), "values are wrong"),
    ("L0.shift.clips/0", numbers(lambda y: y[0]), "the shape is"),
    ("L0.shift.clips/0", numbers(lambda y: y.astype(np.float64)), "the type is float64"),
    ("L0.shift.clips/0", text("y.npy", "\x93NUMPY"), "cannot be read"),
    ("L0.shift.clips/0", text("error.json", '{"kind": "failed", "message": ""}'), "an error"),
    ("L0.shift.clips/0", text("error.json", '{"kind": "invalid", "message": ""}'), "an error"),
    ("L0.shift.special-values/0", numbers(other_nan), "values are wrong"),
    ("L1.conv.taps/0", numbers(change_one), "1 of"),
    ("L1.conv.bound/0", numbers(change_one), "1 of"),
    ("L1.conv.bound/0", numbers(lambda y: y * np.nan), "values are wrong"),
    ("L5.sampling.own/0", numbers(lambda y: y + 1), "values are wrong"),
    ("S.network.bits/1", numbers(lambda y: np.nextafter(y, np.float32(9))), "the same bits"),
    ("R.shift.rank/0", text("error.json", '{"kind": "failed", "message": ""}'), "an error"),
    ("L6.film.short/0", a_class_twice, "each is needed once"),
    ("L6.film.short/0", unsorted, "falling order"),
    ("L6.film.short/0", less_likely, "1 of 5 values"),
    ("L6.film.short/0", text("result.json", '{"frames": []}'), "result.json"),
    ("L6.film.short/0", text("result.json", '{"frames": [[0]], "predictions": []}'), "frames"),
]


@pytest.mark.parametrize(("place", "spoil", "words"), SPOILED)
def test_a_spoiled_answer_is_wrong(vectors, tmp_path, monkeypatch, capsys, place, spoil, words):
    case = place.split("/")[0]
    shutil.copytree(vectors / "outputs" / case, tmp_path / case)
    spoil(tmp_path / place)
    monkeypatch.setattr(answer_checker, "HERE", vectors)
    assert answer_checker.main([str(tmp_path)]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"wrong: {case} (")
    assert words in first


def test_an_answer_where_an_error_is_right_is_wrong(vectors, tmp_path):
    place = tmp_path / "R.shift.rank" / "0"
    place.mkdir(parents=True)
    np.save(place / "y.npy", np.zeros(3, np.float32))
    code, out, _ = checked(vectors, tmp_path)
    assert code == 1
    assert "wrong: R.shift.rank (MUST): R.shift.rank/0: accepted" in out


def test_no_answers_are_no_success(vectors, tmp_path):
    code, out, _ = checked(vectors, tmp_path)
    assert code == 1
    assert "wrong:" not in out
    assert "holds" not in out


NAMES = ["direction-swapped", "relu-leaky", "bn-sign-folded", "lenient-conv", "cache-shifted",
         "frames-from-one", "colours-swapped", "classes-from-one", "softmax-axis"]  # fmt: skip


def test_the_checker_and_the_judge_agree(vectors, tmp_path, answer_all):
    """A testee with many mistakes fails the same cases before both."""
    methods = {k: v for name in NAMES for k, v in MUTANTS[name].methods.items()}
    tree = tmp_path / "tree"
    shutil.copytree(vectors, tree, ignore=shutil.ignore_patterns("outputs"))
    answer_all(tree, type("Wrong", (Reference,), methods)("mit"))
    _, out, _ = checked(tree)
    there = {line.split()[1] for line in out.splitlines() if line.startswith("wrong: ")}
    testee, here = Folder(tree), set()
    cases = json.loads((tree / "manifest.json").read_text())["cases"]
    for case in map(find_case, cases):
        problem = make_problem(case, Setting(PRESETS["mit"]))
        replies = [testee.ask(question.call, 60) for question in problem.questions]
        if judge_problem(problem, replies)["outcome"] == "failed":
            here.add(case.id)
    assert there == here
    assert 40 < len(here) < len(cases) - 40


def test_the_same_vectors_are_the_same_bytes(tmp_path):
    for name in ("a.zip", "b.zip"):
        assert main(["vectors", str(tmp_path / name), "--level", "L0", "--profile", "paddle"]) == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("name", ["cases/L0.shift.clips/0/x.npy", "README.md", "manifest.json"])
def test_vectors_that_were_changed_judge_nothing(vectors, tmp_path, name):
    shutil.copytree(vectors, tmp_path / "tree", ignore=shutil.ignore_patterns("outputs"))
    (tmp_path / "tree" / name).write_bytes(b"{}")
    code, out, err = checked(tmp_path / "tree")
    assert (code, out) == (2, "")
    assert err.startswith("these vectors are not whole: ")


def test_the_manifest_says_what_there_is(vectors):
    told = json.loads((vectors / "manifest.json").read_text())
    assert told["vectors"] == {
        "version": 1,
        "suite": "0",
        "numpy": np.__version__,
        "accumulation": "float32",
    }
    assert {*told["cases"], *told["left_out"]} == {c.id for c in cases_of(LEVELS)}
    assert told["flags"] == dict(FLAGS)
    for name in told["cases"]:
        case = json.loads((vectors / "cases" / name / "case.json").read_text())
        assert case["reason"]
        assert case["checks"]
        assert case["flags"]
        assert set(case["flags"]) <= set(FLAGS)


def test_every_flag_of_the_catalogue_is_explained():
    told = {word for case in all_cases() for word in (*case.needs, case.architecture) if word}
    assert told <= set(FLAGS)


def test_the_index_says_the_same_as_the_calls(vectors):
    lines = (vectors / "index.txt").read_text().splitlines()
    assert len(lines) == len(list(vectors.glob("cases/*/*/call.json")))
    for line in lines:
        place, operation, _, files, *words = line.split(" ")
        call = json.loads((vectors / "cases" / place / "call.json").read_text())
        pairs = [word.split("=", 1) for word in words]
        assert call["operation"] == operation
        assert call["attributes"] == {name: json.loads(value) for name, value in pairs}
        assert files == (",".join(call["inputs"].values()) or "-")


def test_the_checker_needs_numpy_alone():
    tree = ast.parse(Path(answer_checker.__file__).read_text("utf-8"))
    found = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    found |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in found} - set(sys.stdlib_module_names) == {"numpy"}


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(WriteError, match="cannot write the vectors"):
        write_archive(tmp_path / "no" / "v.zip", cases_of(["L0"]), Setting(PRESETS["mit"]), "0")
    assert list(tmp_path.iterdir()) == []


def test_the_c_program_reads_them(vectors, tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) is installed")
    source = Path(conformance.__file__).parent / "examples" / "c" / "vectors.c"
    flags = ["-O2", "-std=c99", "-Wall", "-Wextra", "-Werror"]
    program = tmp_path / "vectors"
    subprocess.run([compiler, *flags, "-o", program, source, "-lm"], check=True)
    done = subprocess.run([program, vectors], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " 0 wrong" in done.stdout
    shutil.copytree(vectors, tmp_path / "tree", ignore=shutil.ignore_patterns("outputs"))
    for name in ("L0.shift.clips/0", "L1.relu.values/0"):
        answer = tmp_path / "tree" / "cases" / name / "answer.expected.npy"
        np.save(answer, change_one(np.load(answer)))
    done = subprocess.run([program, tmp_path / "tree"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "wrong: L0.shift.clips/0 (temporal_shift): 1 values" in done.stdout
