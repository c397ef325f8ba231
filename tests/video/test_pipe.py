"""Videos that come as bytes: the frames of the file, as they come, and Ctrl-C is heard."""

import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tsm_ref.errors import VideoError
from tsm_ref.video import Pipe, frames

Make = Callable[..., Path]


NOISE = np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3), np.uint8)
"""Pictures of a film that is larger than what FFmpeg reads at once."""


class Interrupted(KeyboardInterrupt):
    """What a signal handler may raise."""


class Waiting(io.BytesIO):
    """Bytes, and then a wait that somebody interrupts."""

    def read(self, count: int | None = -1) -> bytes:
        data = super().read(count)
        if not data:
            raise Interrupted
        return data


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_a_pipe_gives_the_frames_of_the_file(make_clip: Make, name: str) -> None:
    path = make_clip(name, 12, codec="mpeg2video", pix_fmt="yuv420p")
    with frames(path) as file:
        expected = list(file)
    ours, theirs = socket.socketpair()
    threading.Thread(target=lambda: (theirs.sendall(path.read_bytes()), theirs.close())).start()
    with ours, Pipe(os.fdopen(os.dup(ours.fileno()), "rb", buffering=0)) as pipe:
        found = list(pipe)
    assert [(f.index, f.time) for f in found] == [(f.index, f.time) for f in expected]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("part", [0.0, 0.6])
def test_an_interrupted_wait_ends_it(make_clip: Make, part: float, capfd) -> None:
    """At the opening, and on the way; PyAV would print the exception and go on."""
    data = make_clip("a.mkv", NOISE, codec="mpeg2video", pix_fmt="yuv420p").read_bytes()
    stream = Waiting(data[: int(part * len(data))])
    seen = []
    with pytest.raises(Interrupted), Pipe(stream) as pipe:
        seen += list(pipe)
    assert stream.closed
    assert capfd.readouterr().err == ""


def test_what_is_no_video_is_refused_and_closed() -> None:
    stream = io.BytesIO(b"hello, I am a text\n" * 100)
    with pytest.raises(VideoError, match="not a video that can be read"):
        Pipe(stream)
    assert stream.closed


def test_an_mp4_whose_index_is_behind_is_told_so(make_clip: Make) -> None:
    data = make_clip("a.mp4", NOISE, codec="mpeg4", pix_fmt="yuv420p").read_bytes()
    with Pipe(io.BytesIO(data)) as pipe, pytest.raises(VideoError, match="its index in front"):
        list(pipe)
