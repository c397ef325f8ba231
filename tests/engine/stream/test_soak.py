"""Streams for minutes, with Ctrl-C and forked children in between: right, and no leak."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.stream.families import SLOW

SECONDS = 300
MOST_GROWTH = 24 << 20
"""Bytes: what allocators may keep back, less than one leaked frame in ten would take."""

SOAK = """
import os, random, resource, signal, sys, time
import numpy as np, tsm_ref
signal.signal(signal.SIGALRM, signal.default_int_handler)
n, seconds = int(sys.argv[1]), float(sys.argv[2])
model = tsm_ref.build("mobilenetv2", num_classes=5, width=0.35, causal=True, threads=2)
film = np.random.default_rng(0).standard_normal((40, n, 3, 64, 64)).astype(np.float32)
quiet = model.stream(n)
answers = [quiet.step(frame).tobytes() for frame in film]
stream, steps, hits, forks, first = model.stream(n), 0, 0, 0, 0

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def next_frame(stream):
    return int(stream.frames[0]) % len(film)

begin, forked = time.monotonic(), time.monotonic()
while time.monotonic() - begin < seconds:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 0.3))
        while True:
            t = next_frame(stream)
            if t == 0:
                stream.reset()
            assert stream.step(film[t]).tobytes() == answers[t], "a step"
            steps += 1
    except KeyboardInterrupt:
        hits += 1
    if time.monotonic() - forked > 2:
        forked = time.monotonic()
        child = os.fork()
        if child == 0:
            t = next_frame(stream)
            if t == 0:
                stream.reset()
            os._exit(0 if stream.step(film[t]).tobytes() == answers[t] else 1)
        assert os.waitpid(child, 0)[1] == 0, "a forked child"
        forks += 1
        first = first or (resident() if time.monotonic() - begin > seconds / 5 else 0)
print(steps * n, "frames", hits, "interrupts", forks, "forks", resident() - first, "bytes more")
"""


@SLOW
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("streams", [8, 32])
def test_streams_survive_minutes_of_interrupts_and_forks(streams):
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(streams), str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=SECONDS * 4,
    )
    found = re.fullmatch(
        r"(\d+) frames (\d+) interrupts (\d+) forks (-?\d+) bytes more\n", done.stdout
    )
    assert found, done.stderr
    frames, interrupts, forks, growth = map(int, found.groups())
    assert min(frames // streams, interrupts, forks) > 50
    assert growth < MOST_GROWTH


LONG = """
import os, numpy as np, tsm_ref

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

model = tsm_ref.load("camera-motion")
stream = model.stream()
rng = np.random.default_rng(9)
pool = rng.standard_normal((64, 3, 64, 64)).astype(np.float32)
order = rng.integers(0, 64, 100_000)
for t in order[:1000]:
    stream.step(pool[t])
before = resident()
for t in order[1000:]:
    last = stream.step(pool[t])
grown = resident() - before
fresh = model.stream()
for t in order[-stream.receptive_field :]:
    again = fresh.step(pool[t])
print(int(stream.frames[0]), last.tobytes() == again.tobytes(), grown)
"""
"""Afterwards the stream gives what a new one gives on the last frames of its causal window."""


@SLOW
def test_a_hundred_thousand_frames_in_flat_memory():
    """In a process of its own: the memory of this one breathes with the tests before."""
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    frames, identical, grown = done.stdout.split()
    assert (frames, identical) == ("100000", "True")
    assert int(grown) < 500_000
