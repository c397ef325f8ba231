"""Any program as a testee: JSON lines on its standard input and output, arrays as ``.npy`` files.

::

    -> {"op": "start", "protocol": 1, "folder": "/tmp/..."}
    <- {"name": "mine", "version": "1.0", "language": "C", "profile": "mit", "capabilities": {}}
    -> {"op": "run", "id": 1, "operation": "temporal_shift", "attributes": {"fold_div": 8},
        "inputs": {"x": "in/x.npy"}, "memory": {}, "outputs": "out"}
    <- {"id": 1, "outputs": {"y": "y.npy"}}
    <- {"id": 1, "skipped": {"message": "..."}}
    <- {"id": 1, "error": {"kind": "invalid", "message": "..."}}
    -> {"op": "stop"}

The files of `conformance.exchange.schemas` say exactly what a message may hold. Paths are relative
to the folder; the input ``film`` is a video file. Errors: ``invalid`` and ``not_streamable`` refuse
the input, ``unsupported`` the operation, ``failed`` is anything else. A program that crashes, hangs
or talks nonsense fails the case, and is started afresh for the next.
"""

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.exchange.schemas import Invalid, check
from conformance.questions.case import Call
from conformance.questions.files import FILM, MAX_BYTES, BadFile, inside, read_npy, write_npy
from conformance.testees.base import (
    NoReply,
    Outputs,
    Refused,
    Reply,
    Skipped,
    Unsupported,
    declared,
    printable,
)
from conformance.testees.layouts import NoAxisOfTime, from_testee, in_layout
from tsm_ref.errors import UsageError

PROTOCOL = 1
MAX_LINE = 1 << 20
START_SECONDS = 60.0
ENDED = None


class Process:
    """A program that is started, asked, and started again when it broke."""

    def __init__(self, command: Sequence[str], profile: str | None = None) -> None:
        self.command = list(command)
        self.folder = Path()
        self.calls = 0
        self._talk: _Talk | None = None
        try:
            self._told = self._start()
            self.declaration = declared(self._told, profile)
        except BaseException:
            self.close()
            raise

    def ask(self, call: Call, timeout: float) -> Reply:
        """The program's reply to a call."""
        layout = self.declaration.layout_of(call.operation)
        try:
            if self._talk is None:
                self._start()
            reply = self._ask(in_layout(call, layout), timeout)
        except NoAxisOfTime as error:
            return Unsupported(str(error))
        except _TalkEnded as error:
            self._end()
            return NoReply(str(error))
        except UsageError as error:
            self._end()
            return NoReply(f"did not start again: {error}")
        except OSError as error:
            self._end()
            return NoReply(f"made its folder unusable: {error.strerror}")
        return from_testee(call, reply, layout)

    def close(self) -> None:
        """Ask the program to stop, end it if it does not, and remove its folder."""
        if self._talk is not None:
            with contextlib.suppress(_TalkEnded, OSError, subprocess.TimeoutExpired):
                self._talk.send({"op": "stop"})
                self._talk.hang_up()
                self._talk.program.wait(2)
        self._end()

    def _start(self) -> Mapping[str, Any]:
        """Start the program and read what it says of itself; `UsageError` if it cannot."""
        self.folder = Path(tempfile.mkdtemp(prefix="tsm-conformance-"))
        try:
            self._talk = _Talk(self.command)
        except OSError as error:
            self.folder.rmdir()
            raise UsageError(f"cannot start {self.command[0]!r}: {error.strerror}") from None
        try:
            self._talk.send({"op": "start", "protocol": PROTOCOL, "folder": str(self.folder)})
            return self._talk.receive(START_SECONDS)
        except _TalkEnded as error:
            self._end()
            sentence = printable(f"{self.command[0]!r} did not introduce itself: {error}")
            raise UsageError(sentence) from None

    def _ask(self, call: Call, timeout: float) -> Reply:
        talk = self._talk
        assert talk is not None
        self.calls += 1
        files = self._write(call)
        before = _listing(self.folder)
        message = {
            "op": "run",
            "id": self.calls,
            "operation": call.operation,
            "attributes": call.attributes,
            "defaults": call.defaults,
            "inputs": files,
            "memory": call.memory,
            "outputs": "out",
        }
        talk.send(message)
        answer = talk.receive(timeout)
        self._check_folder(before)
        return self._reply(answer)

    def _write(self, call: Call) -> dict[str, str]:
        """The inputs as files, in a folder without anything from the call before."""
        for name in ("in", "out"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir()
        files = {}
        for i, (name, x) in enumerate(call.inputs.items()):
            files[name] = f"in/{i}.npy"
            if name == FILM:
                files[name] = "in/film.avi"
                (self.folder / files[name]).write_bytes(x.tobytes())
            else:
                write_npy(self.folder / files[name], x)
        return files

    def _check_folder(self, before: Mapping[str, tuple[int, int]]) -> None:
        after = _listing(self.folder)
        for name in {**before, **after}:
            if after.get(name) != before.get(name) and not name.startswith("out/"):
                verb = "modified the input" if name in before else "wrote outside its folder:"
                raise _TalkEnded(f"{verb} {name}")
        total = sum(size for name, (size, _) in after.items() if name.startswith("out/"))
        if total > MAX_BYTES:
            raise _TalkEnded(f"wrote {total} bytes; at most {MAX_BYTES} are read")

    def _reply(self, answer: Mapping[str, Any]) -> Reply:
        try:
            check("run_reply", answer)
        except Invalid as error:
            raise _TalkEnded(f"answered what the schema does not allow: {error}") from None
        if answer["id"] != self.calls:
            raise _TalkEnded(f"answered call {answer['id']} when call {self.calls} was asked")
        if "skipped" in answer:
            return Skipped(answer["skipped"]["message"])
        if "error" in answer:
            kind, text = answer["error"]["kind"], answer["error"]["message"]
            if kind == "unsupported":
                return Unsupported(text)
            return NoReply(text) if kind == "failed" else Refused(kind, text)
        return Outputs({name: self._output(file) for name, file in answer["outputs"].items()})

    def _output(self, name: str) -> Any:
        try:
            path = inside(self.folder / "out", name)
            if name.endswith(".json"):
                if path.stat().st_size > MAX_LINE:
                    raise BadFile(f"the file {name} is larger than {MAX_LINE} bytes")
                return json.loads(path.read_text("utf-8"))
            return read_npy(path)
        except (BadFile, OSError, ValueError, RecursionError) as error:
            raise _TalkEnded(str(error)) from None

    def _end(self) -> None:
        """End the program; what it made of its folder goes with it."""
        if self._talk is not None:
            self._talk.end()
            self._talk = None
            shutil.rmtree(self.folder, ignore_errors=True)


class _TalkEnded(Exception):
    """The conversation cannot go on; says why in one sentence."""


class _Talk:
    """One life of a program: its pipes, read by threads so that every reply has a time limit."""

    def __init__(self, command: Sequence[str]) -> None:
        self.program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        _limit_files(self.program.pid)
        self.over = False
        self.lines: queue.Queue[bytes | None] = queue.Queue(maxsize=2)
        self.said: deque[bytes] = deque(maxlen=20)
        for target in (self._read_lines, self._read_errors):
            threading.Thread(target=target, daemon=True).start()

    def send(self, message: Mapping[str, Any]) -> None:
        """One line to the program; raises `_TalkEnded` if it listens no more."""
        assert self.program.stdin is not None
        try:
            self.program.stdin.write(json.dumps(message).encode() + b"\n")
            self.program.stdin.flush()
        except OSError:
            raise _TalkEnded(self.epitaph("closed its input")) from None

    def hang_up(self) -> None:
        """Close the program's input."""
        assert self.program.stdin is not None
        self.program.stdin.close()

    def receive(self, timeout: float) -> Mapping[str, Any]:
        """One JSON object from the program; raises `_TalkEnded`."""
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            raise _TalkEnded(f"no reply within {timeout:g} seconds") from None
        if line is ENDED:
            raise _TalkEnded(self.epitaph("closed its output"))
        if len(line) >= MAX_LINE:
            raise _TalkEnded(f"printed a line of more than {MAX_LINE} bytes")
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise _TalkEnded(f"printed {line[:60]!r}, which is not JSON") from None
        if not isinstance(value, dict):
            raise _TalkEnded(f"printed {line[:60]!r}, which is no JSON object")
        return value

    def epitaph(self, how: str) -> str:
        """How the program ended if it did, with the last line that it wrote to stderr."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.program.wait(1)
        code = self.program.poll()
        if code is not None and code < 0:
            how = f"crashed ({_signal_name(-code)})"
        elif code is not None:
            how = f"ended with exit code {code}"
        last = b"".join(self.said).decode("utf-8", "replace").strip().splitlines()[-1:]
        return how + (f": {last[0][:200]}" if last else "")

    def end(self) -> None:
        """End the program and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.program.pid, signal.SIGKILL)
        self.program.kill()
        self.program.wait()
        with contextlib.suppress(OSError):
            self.hang_up()
        self.over = True
        with contextlib.suppress(queue.Empty):
            while True:
                self.lines.get_nowait()

    # Each thread closes its own pipe at its end: something that the program started may hold it
    # open, and closing it from here would wait for that.
    def _read_lines(self) -> None:
        assert self.program.stdout is not None
        with self.program.stdout as pipe:
            while (line := pipe.readline(MAX_LINE)) and not self.over:
                self.lines.put(line)
        self.lines.put(ENDED)

    def _read_errors(self) -> None:
        assert self.program.stderr is not None
        with self.program.stderr as pipe:
            while line := pipe.readline(4096):
                self.said.append(line)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _limit_files(pid: int) -> None:
    """No file of the program may grow beyond what is read, where the system can see to that."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        resource.prlimit(pid, resource.RLIMIT_FSIZE, (2 * MAX_BYTES, 2 * MAX_BYTES))


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time."""
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if not path.is_dir() or path.is_symlink():
            found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found
