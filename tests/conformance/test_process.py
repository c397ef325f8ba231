"""Programs as testees: whatever they do, the case fails with a sentence and the run goes on."""

import json
import sys
from pathlib import Path

import jsonschema
import pytest

from conformance.catalogue import find_case
from conformance.exchange.schemas import check, schema
from conformance.judging.results import Options
from conformance.judging.runner import run_case
from conformance.testees.base import LONGEST
from conformance.testees.process import Process
from tsm_ref.errors import UsageError

PROGRAM = Path(__file__).with_name("bad_program.py")

SENTENCES = {
    "hang": "no reply within 2 seconds",
    "crash": "crashed (SIGABRT)",
    "exit": "ended with exit code 3: out of cheese",
    "orphan": "no reply within 2 seconds",
    "garbage": "printed b'Segmentation fault (core dumped)",
    "list": "which is no JSON object",
    "endless line": "printed a line of more than 1048576 bytes",
    "deep json": "which is not JSON",
    "out of order": "answered call 2 when call 1 was asked",
    "schema": "answered what the schema does not allow: `outputs.y` is int; string is needed",
    "two answers": "must be exactly one of 3 forms",
    "skip": "skipped without having declared that it lacks anything: not today",
    "failed": "no device",
    "refuses": "refused a valid input (invalid): too small",
    "odd words": "refused a valid input (invalid): lone ?, ?[31mred, ? and two lines!!!",
    "no file": "the file y.npy was not written",
    "path": "must be a plain name inside the output folder",
    "link": "wrote outside its folder: elsewhere.npy",
    "outside": "wrote outside its folder: mine.npy",
    "pipe": "the output file 'y.npy' is a link, a folder or a pipe",
    "pipe json": "the output file 'y.json' is a link, a folder or a pipe",
    "no folder": "modified the input in/0.npy",
    "other folder": "wrote outside its folder: out",
    "removes input": "modified the input in/0.npy",
    "changes input": "modified the input in/0.npy",
    "pickle": "the file y.npy holds object; numbers are needed",
    "header lies": "claims float32 of shape (9999999999,",
    "cut": "claims float32 of shape",
    "huge": "wrote 314572800 bytes; at most 268435456 are read",
    "text": "holds <U1; numbers are needed",
    "shape": "the output has shape (1, 18, 5, 3, 2); (1, 19, 5, 3, 2) is right",
    "dtype": "the output is float64; float32 is right, as the input",
    "nan": "at [0, 0, 0, 0, 0] the value is nan; 7.0 is right",
    "other name": "no output `y` came back, but z",
}


@pytest.mark.parametrize("mode", SENTENCES)
def test_a_bad_program_fails_one_case_and_the_run_goes_on(mode, tmp_path):
    command = [sys.executable, str(PROGRAM), mode, str(tmp_path / "memory")]
    testee = Process(command)
    try:
        case, options = (
            find_case("L0.shift.directions"),
            Options(timeout=2 if mode in ("hang", "orphan") else 30),
        )
        first = run_case(case, testee, options)
        again = run_case(case, testee, options)
    finally:
        testee.close()
    assert first.outcome == "failed"
    assert SENTENCES[mode] in first.message
    assert first.message.isprintable()
    assert len(first.message) <= LONGEST
    assert (again.outcome, again.message) == ("passed", "")
    assert not testee.folder.exists()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["/nonexistent/program"], "cannot start '/nonexistent/program'"),
        ([sys.executable, "-c", "pass"], "did not introduce itself: ended with exit code 0"),
        ([sys.executable, "-c", "print('hello')"], "which is not JSON"),
        (
            [sys.executable, "-c", 'print(\'{"name": "x", "profile": "pytorch"}\')'],
            "there is no profile 'pytorch'",
        ),
        ([sys.executable, "-c", "print('{\"nom\": 1}')"], "`name` is missing"),
        ([sys.executable, "-c", 'print(\'{"name": ""}\')'], "must have at least 1 char"),
    ],
)
def test_a_program_that_does_not_introduce_itself_is_refused(command, sentence):
    with pytest.raises(UsageError) as caught:
        Process(command)
    assert sentence in str(caught.value)


def test_what_a_program_calls_itself_is_printable():
    name = r"{\"name\": \"lone \\ud800 \\u001b[31m\"}"
    testee = Process([sys.executable, "-c", f"input(); print('{name}', flush=True); input()"])
    testee.close()
    assert testee.declaration.name == "lone ? ?[31m"


def test_every_message_that_is_sent_is_what_the_schema_says(tmp_path):
    """A program that writes down what it is told; every line is checked."""
    log = tmp_path / "log"
    code = (
        "import sys\n"
        f"log = open({str(log)!r}, 'a')\n"
        "for line in sys.stdin:\n"
        "    log.write(line); log.flush()\n"
        "    print('{\"name\": \"scribe\"}' if '\"start\"' in line else '{}', flush=True)\n"
    )
    testee = Process([sys.executable, "-c", code])
    for name in ("L0.shift.strided", "L3.network.one-frame", "S.shift.reset"):
        assert run_case(find_case(name), testee, Options()).outcome == "failed"
    testee.close()
    messages = [json.loads(line) for line in log.read_text().splitlines()]
    assert [m["op"] for m in messages].count("run") == 3
    for message in messages:
        check("run_request", message)
        jsonschema.validate(message, schema("run_request"))
    assert messages[1]["memory"] == {"x": "strided"}


def test_a_python_object_in_its_own_process_may_crash(tmp_path, monkeypatch):
    (tmp_path / "crashing.py").write_text(
        "import os\n"
        "class Crashing:\n"
        "    def temporal_shift(self, x, fold_div=8):\n"
        "        print('noise on stdout')\n"
        "        if x.shape[0] == 1:\n"
        "            os.abort()\n"
        "        return x\n"
    )
    monkeypatch.chdir(tmp_path)
    testee = Process([sys.executable, "-m", "conformance.worker", "py:crashing:Crashing"])
    try:
        results = [
            run_case(find_case(f"L0.shift.{name}"), testee, Options(timeout=20))
            for name in ("directions", "clips")
        ]
    finally:
        testee.close()
    assert "crashed (SIGABRT)" in results[0].message
    assert "values are wrong" in results[1].message


def test_an_output_cannot_be_named_out_of_its_folder(tmp_path, monkeypatch):
    (tmp_path / "naming.py").write_text(
        "def temporal_shift(x, fold_div=8):\n    return {'../../stolen': x}\n"
    )
    monkeypatch.chdir(tmp_path)
    testee = Process([sys.executable, "-m", "conformance.worker", "py:naming:temporal_shift"])
    try:
        result = run_case(find_case("L0.shift.directions"), testee, Options(timeout=20))
    finally:
        testee.close()
    assert "cannot write its output: the output file '../../stolen.npy' must" in result.message
