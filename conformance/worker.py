"""A Python object behind the process protocol: ``python -m conformance.worker py:module:object``.

ONNX models too: ``onnx:model.onnx``. Whatever the object prints goes to stderr, so that it cannot
disturb the conversation. This file is also the protocol's example in Python.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.case import Call
from conformance.questions.files import FILM, inside, read_npy, write_npy
from conformance.testees.base import NoReply, Outputs, Refused, Reply, Unsupported
from conformance.testees.in_process import InProcess
from conformance.testees.parse import load_target
from tsm_ref.errors import TsmError
from tsm_ref.system.terminal import tell

NEVER = 1e6
"""Seconds: the time limit is kept by whoever asks."""


def main(text: str) -> int:
    """Serve the object that a testee's specification names, until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    try:
        testee = InProcess(load_target(text))
    except TsmError as error:
        tell(str(error))
        return 2
    folder = Path()
    for line in sys.stdin:
        message = json.loads(line)
        if message["op"] == "start":
            folder = Path(message["folder"])
            _send(replies, introduction(testee))
        elif message["op"] == "run":
            _send(replies, {"id": message["id"], **answer(testee, message, folder)})
        else:
            break
    return 0


def introduction(testee: InProcess) -> dict[str, Any]:
    """What the object says of itself; clips reach it in its own layout, so ours is NCTHW."""
    told = testee.declaration
    scope = {"operations": told.operations, "architectures": told.architectures}
    return {
        "name": told.name,
        "version": told.version,
        "language": told.language,
        "profile": told.conventions.as_dict(),
        "capabilities": {
            "accumulation": told.accumulation,
            "exact": told.exact,
            "dtypes": list(told.dtypes),
            "streaming": told.streaming,
            "bitwise_streaming": told.bitwise_streaming,
            "quantised": told.quantised,
            "fixed": dict(told.fixed),
            **{k: list(v) for k, v in scope.items() if v is not None},
        },
    }


def answer(testee: InProcess, message: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The reply to one ``run`` message."""
    call = Call(
        message["operation"],
        {name: _read(name, folder / file) for name, file in message["inputs"].items()},
        message["attributes"],
        message.get("defaults", {}),
        message.get("memory", {}),
    )
    return as_message(testee.ask(call, NEVER), folder / message["outputs"])


def _read(name: str, path: Path) -> Array:
    if name == FILM:
        return np.frombuffer(path.read_bytes(), np.uint8)
    return read_npy(path)


def as_message(reply: Reply, out: Path) -> dict[str, Any]:
    """A reply as JSON, with its arrays written to a folder."""
    if isinstance(reply, Outputs):
        try:
            return {"outputs": {name: _write(name, v, out) for name, v in reply.values.items()}}
        except (OSError, TypeError, ValueError) as error:
            return {"error": {"kind": "failed", "message": f"cannot write its output: {error}"}}
    if isinstance(reply, Unsupported):
        return {"error": {"kind": "unsupported", "message": reply.message}}
    if isinstance(reply, Refused):
        return {"error": {"kind": reply.kind, "message": reply.message}}
    assert isinstance(reply, NoReply)
    return {"error": {"kind": "failed", "message": reply.message}}


def _write(name: str, value: Any, out: Path) -> str:
    if isinstance(value, np.ndarray):
        write_npy(inside(out, f"{name}.npy"), value)
        return f"{name}.npy"
    inside(out, f"{name}.json").write_text(json.dumps(value), "utf-8")
    return f"{name}.json"


def _send(replies: IO[str], message: Mapping[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
