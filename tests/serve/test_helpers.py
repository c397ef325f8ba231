"""Files in processes that may be lost: the answer is the same, and a loss is one request's."""

import os
import signal
import threading
from typing import Any

import pytest

from tests.serve.conftest import SAMPLES
from tsm_ref.batch import Recipe
from tsm_ref.errors import CheckpointError, UsageError, VideoError
from tsm_ref.serve.helpers import InProcesses, InThreads
from tsm_ref.serve.models import Served, Shelf
from tsm_ref.serve.problems import Problem
from tsm_ref.serve.work import CalledOff, Order, Ticket

RECIPE = Recipe("camera-motion", engine="numpy")


def order(path: Any, **more: Any) -> Order:
    return Order("camera-motion", str(path), "its name", 3, more)


def begun(seconds: float) -> Ticket:
    ticket = Ticket(seconds)
    ticket.begin()
    return ticket


@pytest.fixture(scope="module")
def hands() -> Any:
    made = InProcesses([RECIPE])
    made.start()
    yield made
    made.close()


def test_answers_are_those_of_this_process(hands: InProcesses) -> None:
    here = InThreads(Shelf([Served.load(RECIPE)]))
    clip = order(SAMPLES / "pan_left.mp4")
    one, other = hands.recognize(clip, begun(60)), here.recognize(clip, begun(60))
    assert one["input"] == other["input"]
    assert one["predictions"] == other["predictions"]


def test_errors_are_those_of_this_process(hands: InProcesses) -> None:
    with pytest.raises(VideoError, match="no such file"):
        hands.recognize(order("missing.mp4"), begun(60))
    with pytest.raises(UsageError):
        hands.recognize(order(SAMPLES / "pan_left.mp4", window=1.0, policy="dense"), begun(60))


def test_a_process_that_is_lost_is_one_file(hands: InProcesses) -> None:
    process = hands._mine.helper._process
    os.kill(process.pid, signal.SIGSTOP)  # it will be at the file when it is lost
    threading.Timer(0.2, os.kill, (process.pid, signal.SIGKILL)).start()
    with pytest.raises(VideoError, match="was ended by SIGKILL"):
        hands.recognize(order(SAMPLES / "pan_left.mp4"), begun(60))
    found = hands.recognize(order(SAMPLES / "pan_left.mp4"), begun(60))
    assert found["predictions"][0]["label"] == "pan left"


def test_a_process_that_is_lost_between_files_is_nobodys_fault(hands: InProcesses) -> None:
    process = hands._mine.helper._process
    process.kill()
    process.join()
    found = hands.recognize(order(SAMPLES / "pan_left.mp4"), begun(60))
    assert found["predictions"][0]["label"] == "pan left"


def test_what_is_late_or_unwanted_is_ended(hands: InProcesses) -> None:
    process = hands._mine.helper._process
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(Problem, match=r"takes more than 0\.1 s"):
        hands.recognize(order(SAMPLES / "pan_left.mp4"), begun(0.1))
    assert process.exitcode == -signal.SIGKILL
    ticket = begun(60)
    ticket.call_off()
    with pytest.raises(CalledOff):
        hands.recognize(order(SAMPLES / "tour.mp4"), ticket)


def test_models_that_do_not_load_are_told(tmp_path: Any) -> None:
    made = InProcesses([Recipe(str(tmp_path / "missing.h5"))])
    with pytest.raises(CheckpointError, match=r"missing\.h5"):
        made.start()
    made.close()
