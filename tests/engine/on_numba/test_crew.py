"""A crew can be left in the middle of a run, and called again."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tsm_ref.engine import alone
from tsm_ref.engine.on_numba import crew as rooms
from tsm_ref.engine.on_numba.crew import Crew
from tsm_ref.kernels.blocked import aligned
from tsm_ref.kernels.move import COPY
from tsm_ref.kernels.plans import planned
from tsm_ref.kernels.program import COPY_STEP, Assembler

ROOT = rooms.__file__.rpartition("/tsm_ref/")[0]


class Chain:
    """A program that copies a buffer to the next one, many times."""

    def __init__(self, length=50):
        self.buffers = [aligned(1 << 12) for _ in range(length + 1)]
        self.assembler = Assembler()
        for x, y in zip(self.buffers, self.buffers[1:], strict=False):
            rows = {"count": 64, "x_step": 64, "y_step": 64, "pieces": 1, "size": 64}
            self.assembler.step(COPY_STEP, planned(COPY, x=x, y=y, **rows))
        self.program = self.assembler.program()

    def carries(self, crew, value):
        self.buffers[0][:] = value
        crew.run(self.program, self)
        return bool((self.buffers[-1] == value).all())


@pytest.fixture
def chain():
    return Chain()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_all_steps_are_run(chain, threads):
    crew = Crew(threads)
    assert all(chain.carries(crew, value) for value in range(1, 100))


def test_alone_no_helper_is_called(chain):
    crew = Crew(2)
    with alone():
        assert chain.carries(crew, 1)
    assert crew._inboxes == []
    assert chain.carries(crew, 2)
    assert len(crew._inboxes) == 1


@pytest.mark.parametrize("threads", [2, 3])
def test_a_run_that_was_left_does_not_hold_up_the_next(chain, threads, monkeypatch):
    crew, run, main = Crew(threads), rooms.run, threading.main_thread()
    assert chain.carries(crew, 1)

    def left(*arguments):
        if threading.current_thread() is main:
            time.sleep(0.05)  # the helpers are waiting after their first step
            raise KeyboardInterrupt
        run(*arguments)

    for value in range(2, 6):
        monkeypatch.setattr(rooms, "run", left)
        with pytest.raises(KeyboardInterrupt):
            crew.run(chain.program, chain)
        monkeypatch.setattr(rooms, "run", run)
        assert chain.carries(crew, value)


def test_only_some_helpers_were_told(chain, monkeypatch):
    crew = Crew(3)
    assert chain.carries(crew, 1)
    put, first = crew._inboxes[1].put, []

    class Interrupted:
        def put(self, given):
            if not first:
                first.append(1)
                raise KeyboardInterrupt
            put(given)

    monkeypatch.setattr(crew, "_inboxes", [crew._inboxes[0], Interrupted()])
    with pytest.raises(KeyboardInterrupt):
        crew.run(chain.program, chain)
    assert chain.carries(crew, 2)


def test_an_interrupt_while_it_gathers_is_made_up_for_later(chain, monkeypatch):
    crew, run, main = Crew(2), rooms.run, threading.main_thread()
    assert chain.carries(crew, 1)

    class Impatient:
        def acquire(self, timeout=None):
            if timeout is not None:
                raise KeyboardInterrupt

        def release(self):
            pass

    def left(*arguments):
        if threading.current_thread() is main:
            raise KeyboardInterrupt
        run(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(rooms, "run", left)
        patched.setattr(rooms.threading, "Lock", Impatient)
        with pytest.raises(KeyboardInterrupt):
            crew.run(chain.program, chain)
    assert chain.carries(crew, 2)


def test_what_a_helper_meets_is_raised(chain, monkeypatch):
    crew, run, main = Crew(2), rooms.run, threading.main_thread()

    def failing(*arguments):
        if threading.current_thread() is not main:
            raise MemoryError("no room")
        run(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(rooms, "run", failing)
        with pytest.raises(MemoryError, match="no room"):
            crew.run(chain.program, chain)
    assert chain.carries(crew, 3)


def test_helpers_leave_with_their_crew(chain):
    def helpers():
        return [thread for thread in threading.enumerate() if thread.name == "tsm_ref"]

    gc.collect()
    before = helpers()
    crew = Crew(3)
    assert chain.carries(crew, 1)
    mine = [thread for thread in helpers() if thread not in before]
    assert len(mine) == 2
    del crew
    gc.collect()
    for thread in mine:
        thread.join(timeout=30)
        assert not thread.is_alive()


INTERRUPTED = """
import random, signal, numpy as np, tsm_ref
from tsm_ref.engine.stream.stream import Stream
signal.signal(signal.SIGALRM, signal.default_int_handler)
random.seed(7)
model = tsm_ref.build("mobilenetv2", num_classes=5, width=0.35, causal=True, threads=2)
rng = np.random.default_rng(0)
x = rng.standard_normal((1, 3, 8, 64, 64)).astype(np.float32)
film = rng.standard_normal((40, 3, 64, 64)).astype(np.float32)
expected = model(x).tobytes()
quiet = Stream(model.engine)
answers = [quiet.step(frame).tobytes() for frame in film]
stream = Stream(model.engine)
hits = 0
while hits < 100:
    t = int(stream.frames[0]) % len(film)
    if t == 0:
        stream.reset()
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 4e-3))
        for t in range(t, len(film)):
            assert stream.step(film[t]).tobytes() == answers[t], "a step after an interrupt"
        model(x)
        while True:
            model(x)
    except KeyboardInterrupt:
        hits += 1
    assert model(x).tobytes() == expected, "a clip after an interrupt"
print("sound", hits)
"""
"""Ctrl-C at any time of 100 runs: the engine goes on, and a stream from where its counter says."""


def test_ctrl_c_at_any_time():
    code = (
        "import signal; signal.signal(signal.SIGALRM, signal.default_int_handler)\n" + INTERRUPTED
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.stdout == "sound 100\n", done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_every_command_ends_after_ctrl_c(tmp_path):
    sample = Path(ROOT, "weights", "samples", "pan_left.mp4").read_bytes()
    videos = [tmp_path / f"{i}.mp4" for i in range(200)]
    for video in videos:
        video.write_bytes(sample)
    command = [sys.executable, "-m", "tsm_ref.infer", "--threads", "2", *map(str, videos)]
    rng = np.random.default_rng(5)
    codes = []
    for _ in range(25 if os.environ.get("TSM_REF_SLOW") == "1" else 3):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        time.sleep(rng.uniform(0, 0.4))
        for _ in range(1 + len(codes) % 2):  # some people press it twice
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        finally:
            process.kill()
        codes.append(process.returncode)
    assert set(codes[::2]) == {130}
    assert set(codes[1::2]) <= {130, -signal.SIGINT}
