"""A server in a process of its own, and what is sent to it."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tsm_ref.checkpoint import weights_folder

SAMPLES = weights_folder() / "samples"


@dataclass
class Running:
    """A server that runs: where it is, and its process."""

    url: str
    process: "subprocess.Popen[str]"
    folder: Path

    @property
    def stream(self) -> str:
        return self.url.replace("http", "ws") + "/stream"

    def spooled(self) -> list[str]:
        """The files that it keeps now."""
        return [p.name for folder in self.folder.glob("tsm-serve-*") for p in folder.iterdir()]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it; returns its exit code and what is left of its stderr."""
        self.process.send_signal(number)
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told


@contextlib.contextmanager
def running(*options: str) -> Iterator[Running]:
    """A server with these options at a free port."""
    command = [sys.executable, "-m", "tsm_ref.serve", "--port", "0", *options]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": folder}
        )
        try:
            assert process.stderr is not None
            told = ""
            for line in process.stderr:
                told += line
                if found := re.search(r"at (http://\S+?)/ ", line):
                    yield Running(found[1], process, Path(folder))
                    break
            else:
                raise AssertionError(f"the server did not start: {told}")
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """A server for tests that leave it as it was; files up to 2 MB, in 5 s."""
    with running("--engine", "numpy", "--max-bytes", "2M", "--timeout", "5") as found:
        yield found


@pytest.fixture(scope="session")
def client(server: Running) -> Iterator[Any]:
    """An HTTP client of that server."""
    httpx = pytest.importorskip("httpx")
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """`running`, for tests that want a server of their own."""
    return running


@pytest.fixture(scope="session")
def small() -> bytes:
    """A grey clip of a few kilobytes, which is recognised in no time."""
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        track = container.add_stream("mpeg4", rate=8)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for shade in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * shade, np.uint8), "rgb24")
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return file.getvalue()


@pytest.fixture(scope="session")
def pan() -> bytes:
    """A clip of a camera that pans left."""
    return (SAMPLES / "pan_left.mp4").read_bytes()
