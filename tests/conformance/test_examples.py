"""The example programs in C and JavaScript are built, run, and reach level L1."""

import shutil
import subprocess
from pathlib import Path

import pytest

from conformance.catalogue import cases_of
from conformance.judging.results import Options
from conformance.judging.runner import run
from conformance.questions.levels import parse_levels
from conformance.testees.process import Process

EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples"


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) is installed")
    program = tmp_path_factory.mktemp("c") / "tsm"
    flags = ["-O2", "-std=c99", "-Wall", "-Wextra", "-Werror"]
    source = EXAMPLES / "c" / "tsm.c"
    subprocess.run([compiler, *flags, "-o", program, source, "-lm"], check=True)
    return [str(program)]


@pytest.fixture(scope="module")
def javascript_program():
    node = shutil.which("node")
    if node is None:
        pytest.skip("no JavaScript runtime (node) is installed")
    return [node, str(EXAMPLES / "javascript" / "tsm.mjs")]


def judged(command, levels):
    testee = Process(command)
    try:
        finished = run(testee, cases_of(parse_levels(levels)), Options(examples=5))
    finally:
        testee.close()
    failed = [(r.id, r.message) for r in finished.results if r.outcome == "failed"]
    assert failed == []
    return finished


def test_the_c_program_reaches_l1(c_program):
    finished = judged(c_program, "L1,R")
    assert finished.reached == ("L0", "L1")
    gaps = {r.id for r in finished.results if r.outcome == "unsupported" and r.level != "R"}
    assert gaps == {"L1.non_local.bound", "L1.memory.non_local", "L1.softmax.axes"}


def test_the_javascript_program_reaches_l1_and_streams_a_shift(javascript_program):
    finished = judged(javascript_program, "L1,S")
    assert finished.reached == ("L0", "L1")
    streamed = {r.id for r in finished.results if r.level == "S" and r.outcome == "passed"}
    assert {"S.shift.frames", "S.shift.chunks", "S.shift.state", "S.identity.chunks"} <= streamed
