"""A long clip takes no more memory than a short one: but for its packets and for its answers."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.video.conftest import picture
from tsm_ref.video.kept import MOST_BYTES
from tsm_ref.video.reading import _MOST_WAITING

av = pytest.importorskip("av")

RATE, PART = 25, 50
PER_PICTURE = 1000
"""Bytes that may stay of each picture: its timestamps, and its share of the windows' answers."""

CHILD = """
import resource, sys
import tsm_ref
seen = tsm_ref.load("camera-motion", threads=2).recognize(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, seen.video.frame_count)
"""


def long_clip(path: Path, seconds: int, width: int, height: int) -> Path:
    """Two seconds of video again and again: they are encoded once."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=RATE, options={"g": str(PART), "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        images = (picture(i, height, width) for i in range(PART))
        made = [stream.encode(av.VideoFrame.from_ndarray(image)) for image in images]
        part = [(bytes(p), p.is_keyframe) for some in [*made, stream.encode()] for p in some]
        for index in range(seconds * RATE):
            data, key = part[index % PART]
            packet = av.Packet(data)
            packet.stream, packet.is_keyframe, packet.duration = stream, key, 1
            packet.pts = packet.dts = index
            packet.time_base = Fraction(1, RATE)
            output.mux(packet)
    return path


@pytest.mark.skipif(
    os.environ.get("TSM_REF_SLOW") != "1", reason="minutes of work: set TSM_REF_SLOW=1"
)
@pytest.mark.parametrize(
    ("width", "height", "short", "long"), [(64, 48, 60, 1200), (1280, 720, 10, 120)]
)
def test_memory_does_not_grow_with_the_length(
    tmp_path: Path, width: int, height: int, short: int, long: int
) -> None:
    """The pictures alone would be 138 MB, and 4 GB."""
    peaks = []
    for seconds in (short, short, long):  # the first one compiles
        clip = long_clip(tmp_path / f"{seconds}.mp4", seconds, width, height)
        made = subprocess.run(
            [sys.executable, "-c", CHILD, clip], capture_output=True, text=True, check=True
        )
        peak, count = map(int, made.stdout.split())
        assert count == seconds * RATE
        peaks.append(peak)
    waiting = 0 if height < 64 else _MOST_WAITING
    assert peaks[2] - peaks[1] < MOST_BYTES + waiting + PER_PICTURE * long * RATE


def test_the_long_clip_is_what_it_says(tmp_path: Path) -> None:
    with av.open(str(long_clip(tmp_path / "a.mp4", 6, 64, 48))) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 6 * RATE
    np.testing.assert_array_equal(shown[PART + 7], shown[7])
