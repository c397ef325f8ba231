"""No command lets a terminal obey what a file says: labels, names, notes, paths, testees."""

import ast
import json
import os
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import conformance.__main__
import tsm_ref.bench.__main__
from conformance import plugin
from tsm_ref import convert, infer, warmup
from tsm_ref.bench import report
from tsm_ref.checkpoint import load_checkpoint, save, weights_folder
from tsm_ref.command import guarded
from tsm_ref.errors import VideoError
from tsm_ref.model import load
from tsm_ref.recognition.recognize import recognize
from tsm_ref.recognition.render import as_table
from tsm_ref.system.terminal import printable, say, tell

ROOT = Path(__file__).resolve().parents[2]
EVIL = "ev\x1b]0;owned\x07\x1b[2J\u202eil\r\n\x9b31m\u200b\x00x[red]"
"""It sets a title, clears the screen, turns the writing round, and begins another line."""
NAME = EVIL.replace("\0", "").replace("/", "")

posix = pytest.mark.skipif(os.name == "nt", reason="no such file names there")


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A model that is hostile in every text that it has, and a video whose name is."""
    folder = tmp_path_factory.mktemp("evil")
    found = load_checkpoint(weights_folder() / "camera-motion.h5")
    labels = tuple(f"{EVIL}{k}" for k in range(9))
    profile = found.profile.with_changes(labels=labels, measured=EVIL, family=EVIL)
    save(
        folder / f"{NAME}.h5", replace(found.graph, name=EVIL), found.weights, profile,
        extra={EVIL: EVIL},
    )  # fmt: skip
    shutil.copy(weights_folder() / "samples" / "pan_left.mp4", folder / f"{NAME}.mp4")
    (folder / f"bad{NAME}.mp4").write_text("no video")
    (folder / f"bad{NAME}.h5").write_text(f"<{EVIL}")
    return folder


def printed(capsys):
    out, err = capsys.readouterr()
    for line in (out + err).split("\n"):
        assert line.isprintable(), ascii(line)
    return out + err


MODEL, VIDEO = f"{NAME}.h5", f"{NAME}.mp4"
NUMPY = ("--engine", "numpy")


@posix
@pytest.mark.parametrize(
    ("command", "arguments", "code"),
    [
        (infer, ("--model", MODEL, VIDEO), 0),
        (infer, ("--model", MODEL, VIDEO, "--json"), 0),
        (infer, ("--model", MODEL, "--early", VIDEO, VIDEO), 0),
        (infer, ("--model", MODEL, "--stream", VIDEO), 0),
        (infer, ("--model", MODEL, "--stream", VIDEO, "--mask", EVIL), 2),
        (infer, ("--model", MODEL, "--window", "0.5", VIDEO), 0),
        (infer, ("--model", f"bad{MODEL}", VIDEO), 4),
        (infer, ("--model", f"absent{MODEL}", VIDEO), 4),
        (infer, ("--model", EVIL, VIDEO), 4),
        (infer, ("--model", MODEL, f"bad{VIDEO}"), 3),
        (infer, ("--model", MODEL, f"bad{VIDEO}", f"./bad{VIDEO}"), 6),
        (infer, ("--model", MODEL, f"bad{VIDEO}", f"absent{VIDEO}"), 2),  # a pattern
        (infer, ("--stream", f"camera:{EVIL}"), 2),
        (infer, ("--raw", EVIL, "--stream", "-"), (2, 3)),
        (infer, ("--profile", EVIL, VIDEO), 2),
        (infer, ("--sampling", EVIL, VIDEO), 2),
        (infer, (f"--{EVIL}",), 2),
        (infer, ("--threads", EVIL), 2),
        (infer, ("--list-models",), 0),
        (convert, (MODEL, f"{NAME}.out.h5"), 0),
        (convert, (MODEL, f"{NAME}.out.safetensors"), 0),
        (convert, (MODEL, f"{NAME}.out.onnx"), 0),
        (convert, (MODEL, f"absent{NAME}/x.h5"), 5),
        (convert, (MODEL, EVIL), 2),
        (convert, (f"bad{MODEL}", "x.h5"), 4),
        (convert, (MODEL, "x.h5", "--profile", EVIL), 2),
        (warmup, (EVIL,), 2),
        (tsm_ref.bench.__main__, ("--models", EVIL), 2),
        (tsm_ref.bench.__main__, ("--engines", EVIL), 2),
        (conformance.__main__, ("run", "--testee", f"py:{NAME}"), 2),
        (conformance.__main__, ("run", "--testee", f"cmd:{sys.executable} evil.py"), 1),
        (conformance.__main__, ("run", "--testee", "reference", "--profile", EVIL), 2),
        (conformance.__main__, ("run", "--testee", "reference", "--case", EVIL), 2),
        (conformance.__main__, ("run", "--testee", "reference", "--level", EVIL), 2),
        (conformance.__main__, ("judge", f"absent{NAME}"), 2),
        (conformance.__main__, ("explain", EVIL), 2),
    ],
)
def test_no_command_prints_what_a_terminal_would_obey(
    evil, command, arguments, code, capsys, monkeypatch
):
    monkeypatch.chdir(evil)
    Path("evil.py").write_text(TESTEE)
    more = NUMPY if command is infer and "--list-models" not in arguments else ()
    found = command.main([*arguments, *more])
    text = printed(capsys)
    assert found in (code if isinstance(code, tuple) else (code,)), text
    assert text.strip()


TESTEE = f"""
import json, sys
EVIL = {EVIL!r}
print(EVIL, file=sys.stderr)
for line in sys.stdin:
    message = json.loads(line)
    if message["op"] == "start":
        told = {{"name": EVIL, "version": EVIL, "language": EVIL, "profile": "mit",
                 "capabilities": {{}}}}
    elif message["op"] == "run":
        told = {{"id": message["id"], "error": {{"kind": "failed", "message": EVIL}}}}
    else:
        break
    print(json.dumps(told), flush=True)
"""


@posix
def test_a_coloured_table_has_no_sequences_but_our_own(evil, monkeypatch):
    monkeypatch.chdir(evil)
    result = recognize(load(MODEL, engine="numpy"), VIDEO)
    for colour in (True, False):
        table = as_table(result, colour=colour)
        for sequence in ("\x1b]", "\x1b[2J", "\x9b", "\u202e", "\x07", "\r"):
            assert sequence not in table


def test_what_is_said_keeps_colours_only_where_they_are_ours(capsys):
    say("\x1b[1mbold\x1b[0m\x1b]0;x\x07", colour=True)
    assert capsys.readouterr().out == "\x1b[1mbold\x1b[0m\\x1b]0;x\\x07\n"
    say("\x1b[1mbold\nline")
    assert capsys.readouterr().out == "\\x1b[1mbold\nline\n"


def test_messages_warnings_and_tracebacks(capsys, monkeypatch):
    tell(EVIL)
    monkeypatch.setenv("TSM_DEBUG", "1")

    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(EVIL, stacklevel=1)
        raise VideoError(EVIL)

    assert guarded(run) == 3
    assert "Traceback" in printed(capsys)


@pytest.mark.parametrize("plain", [True, False])
def test_tables_of_the_benchmark(capsys, plain):
    row = dict.fromkeys([key for _, key, _ in report._COLUMNS])
    row |= {"model": EVIL, "engine": EVIL, "failed": EVIL, "median_ms": 1.0, "version": EVIL}
    document = {
        "results": [row],
        "shift_overhead": [{"engine": EVIL, "overhead": 0.1, "overhead_of_minima": 0.1}],
        "layers": {EVIL: [{"name": EVIL, "kind": EVIL, "ms": 1.0, "gflop": 1.0, "gflops": 1.0}]},
    }
    report.print_tables(document, plain)
    printed(capsys)


def test_failures_in_pytest(monkeypatch):
    class Testee:
        pass

    monkeypatch.setattr(
        "conformance.judging.runner.run_case",
        lambda case, *_: type("R", (), {"requirement": "MUST", "message": EVIL, "outcome": "failed",
                                        "diagnosis": (EVIL,), "reproduce": EVIL}),
    )  # fmt: skip
    case = plugin.case_ids("L0")[0]
    with pytest.raises(pytest.fail.Exception) as caught:
        plugin.check_case(Testee(), case)
    assert all(line.isprintable() for line in caught.value.msg.split("\n"))


def test_json_stays_json(capsys):
    say(json.dumps({"label": EVIL}))
    assert json.loads(capsys.readouterr().out) == {"label": EVIL}


@pytest.mark.parametrize(
    "text", ["\x1b", "\n", "\r", "\x85", "\u2028", "\u202e", "\u2066", "\u200f", "\ufeff", "\ud800"]
)
def test_what_is_not_shown_is_escaped(text):
    assert printable(f"a{text}b").isprintable()
    assert printable(f"a{text}b") != f"a{text}b"


def test_what_people_write_is_left_alone():
    for text in ("café", "日本語", "שלום", "👍", "a b"):
        assert printable(text) == text


PRINTERS = {
    "conformance/commands.py",
    "conformance/exchange/answer_checker.py",  # stands alone, in the archive of vectors
    "tsm_ref/system/terminal.py",
    "tsm_ref/command.py",
    "tsm_ref/checkpoint/downloads.py",
    "tsm_ref/bench/worker.py",
}
"""The files that print; each shows `printable` text, or JSON for a program."""


def test_nothing_else_prints():
    found = set()
    for part in ("tsm_ref", "conformance"):
        for path in (ROOT / part).rglob("*.py"):
            if "examples" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == PRINTERS


def test_name_and_password_of_an_address_are_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    tell("error: rtsp://me:secr@et@camera:554/a@b and http://camera/c@d: no")
    assert capsys.readouterr().err == "error: rtsp://***@camera:554/a@b and http://camera/c@d: no\n"
