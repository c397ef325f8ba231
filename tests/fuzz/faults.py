"""Injected failures: each call to the operating system, and each allocation, fails in its turn.

Whatever writes a file of ours is run again and again. The first time its first call to `os.open`
fails, the second time its second one, until it comes to its end; then the next kind of call. After
each run the file is the old one or the new one, never half of one, and nothing lies beside it.
"""

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from conformance.judging.kill_matrix import Matrix, write_matrix
from conformance.reports import write_text
from tests.fuzz.formats import _causal, network
from tsm_ref import checkpoint
from tsm_ref.checkpoint.disk import write_whole
from tsm_ref.checkpoint.hdf5 import native, stream_state
from tsm_ref.checkpoint.pins import Pin, Pins
from tsm_ref.profile import PROFILES
from tsm_ref.system.atomic import replace_file

CALLS: dict[str, tuple[Any, str]] = {
    "open": (builtins, "open"),
    "io.open": (io, "open"),
    "os.open": (os, "open"),
    "os.write": (os, "write"),
    "os.fsync": (os, "fsync"),
    "os.replace": (os, "replace"),
    "os.close": (os, "close"),
    "os.stat": (os, "stat"),
}
"""The calls that may fail, and where they are found."""
ALLOCATION = "allocation"


class Injected(OSError):
    """A failure that was put in; the disk is full."""

    def __init__(self) -> None:
        super().__init__(28, "No space left on device")


@contextmanager
def failing(call: str, turn: int) -> Iterator[list[bool]]:
    """Let the call number `turn`, from 0, fail; the list is not empty once it has."""
    owner, name = CALLS[call]
    real, count, happened = getattr(owner, name), 0, []

    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == turn + 1:
            happened.append(True)
            if call == "os.close":
                real(*arguments, **options)
            raise Injected
        return real(*arguments, **options)

    setattr(owner, name, wrapped)
    try:
        yield happened
    finally:
        setattr(owner, name, real)


@contextmanager
def starving(turn: int) -> Iterator[list[bool]]:
    """Let the allocation number `turn` of the interpreter fail."""
    import _testcapi

    happened: list[bool] = []
    _testcapi.set_nomemory(turn, turn + 1)
    try:
        yield happened
    except MemoryError:
        happened.append(True)
        raise
    finally:
        _testcapi.remove_mem_hooks()


# What writes files: each makes the file `path` out of nothing but the number `version`


def _weights(version: int) -> dict[str, Any]:
    return {name: value * np.float32(version) for name, value in network()[1].items()}


def _hdf5(path: Path, version: int) -> None:
    native.save(path, network()[0], _weights(version), PROFILES["mit"])


def _safetensors(path: Path, version: int) -> None:
    checkpoint.save_safetensors(path, network()[0], _weights(version), PROFILES["mit"])


def _onnx(path: Path, version: int) -> None:
    checkpoint.export_onnx(
        network()[0],
        _weights(version),
        path,
        sizes={"T": 4, "H": 16, "W": 16},
        profile=PROFILES["mit"],
    )


def _onnx_step(path: Path, version: int) -> None:
    graph, weights = _causal()
    values = {name: value * np.float32(version) for name, value in weights.items()}
    sizes = {"T": 4, "H": 16, "W": 16}
    checkpoint.export_onnx_stream(graph, values, path, sizes=sizes, profile=PROFILES["mit"])


def _state(path: Path, version: int) -> None:
    stream_state.save_state(path, {"x": np.full((3, 4), version, np.float32)}, "0123")


def _pins(path: Path, version: int) -> None:
    pins = Pins(path.parent)
    pins.path = path
    pins.keep("model", Pin(str(version), "1", "2"))


def _bytes(path: Path, version: int) -> None:
    write_whole(path, str(version).encode() * 1000)


def _kernel(path: Path, version: int) -> None:
    replace_file(path, bytes([version]) * 1000, mode=0o600)


def _report(path: Path, version: int) -> None:
    write_text(path, f"{version}" * 1000)


def _matrix(path: Path, version: int) -> None:
    write_matrix(Matrix(kills={f"case{version}": ["mutant"]}), path)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "hdf5": _hdf5,
    "safetensors": _safetensors,
    "onnx": _onnx,
    "onnx-step": _onnx_step,
    "state": _state,
    "pins": _pins,
    "bytes": _bytes,
    "kernel": _kernel,
    "report": _report,
    "matrix": _matrix,
}


def outcomes(
    write: Callable[[Path, int], None], call: str, folder: Path, turns: range
) -> Iterator[tuple[int, str]]:
    """What is in the folder after each failure: "old", "new", or what is wrong.

    Ends where a run needs no further call of that kind.
    """
    path = folder / "out"
    write(path, 2)
    new = path.read_bytes()
    for turn in turns:
        path.unlink(missing_ok=True)
        write(path, 1)
        old, beside = path.read_bytes(), set(os.listdir(folder))
        fault = starving(turn) if call == ALLOCATION else failing(call, turn)
        failed = False
        try:
            with fault as happened:
                write(path, 2)
        except Exception:
            failed = True
        found = path.read_bytes() if path.exists() else b"nothing"
        if more := set(os.listdir(folder)) - beside:
            yield turn, f"left {sorted(more)}"
        else:
            yield turn, "old" if found == old else "new" if found == new else "half"
        if not failed and not happened and call != ALLOCATION:
            return
