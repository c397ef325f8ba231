"""The desk: a bounded number of places, work that is called off, and who is told of its end."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tsm_ref.errors import VideoError
from tsm_ref.serve.problems import Problem
from tsm_ref.serve.work import CalledOff, Desk, Order, Ticket

ORDER = Order("m", "p", "n", 1)


class Slow:
    """Works until it is told, looking at its ticket all the while."""

    def __init__(self, do: Callable[[], Any] = dict) -> None:
        self.go, self.do, self.begun = threading.Event(), do, threading.Event()

    def start(self) -> None:
        pass

    def recognize(self, order: Order, ticket: Ticket) -> Any:
        self.begun.set()
        while not self.go.wait(0.01):
            ticket.check()
        return self.do()

    def close(self) -> None:
        self.go.set()


def run(hands: Slow, scene: Callable[[Desk, list[str]], Any], seconds: float = 60.0) -> Any:
    desk, ended = Desk(hands, workers=1, queue=1, seconds=seconds), []
    desk.start()

    async def whole() -> Any:
        try:
            return await scene(desk, ended)
        finally:
            desk.close()

    try:
        return asyncio.run(whole())
    finally:
        desk._pool.shutdown()
        assert desk.taken == desk.running == 0


def test_places_are_bounded_and_given_back_once() -> None:
    async def scene(desk: Desk, ended: list[str]) -> None:
        places = [desk.place(), desk.place()]
        with pytest.raises(Problem, match="try again in") as caught:
            desk.place()
        assert caught.value.status == 503
        assert int(caught.value.headers["Retry-After"]) >= 1
        for place in (*places, *places):
            place.leave()

    run(Slow(), scene)


def test_an_answer_and_an_error_come_through() -> None:
    async def scene(desk: Desk, ended: list[str]) -> Any:
        never: asyncio.Future[None] = asyncio.Future()
        return await desk.recognize(ORDER, desk.place(), never, lambda: ended.append("done"))

    hands = Slow(lambda: {"a": 1})
    hands.go.set()
    assert run(hands, scene) == {"a": 1}

    def fail() -> None:
        raise VideoError("bad")

    hands = Slow(fail)
    hands.go.set()
    with pytest.raises(VideoError):
        run(hands, scene)


def test_work_ends_with_its_client_and_the_file_after_the_work() -> None:
    ends: list[str] = []

    async def scene(desk: Desk, ended: list[str]) -> None:
        gone: asyncio.Future[None] = asyncio.Future()
        asking = asyncio.ensure_future(
            desk.recognize(ORDER, desk.place(), gone, lambda: ends.append("done"))
        )
        await asyncio.to_thread(hands.begun.wait)
        gone.set_result(None)
        with pytest.raises(CalledOff):
            await asking

    hands = Slow()
    run(hands, scene)
    assert ends == ["done"]


def test_work_that_waits_is_called_off_before_it_begins() -> None:
    ends: list[int] = []

    async def scene(desk: Desk, ended: list[str]) -> None:
        never: asyncio.Future[None] = asyncio.Future()
        gone: asyncio.Future[None] = asyncio.Future()
        asking = [
            asyncio.ensure_future(
                desk.recognize(ORDER, desk.place(), left, lambda k=k: ends.append(k))
            )
            for k, left in enumerate((never, gone))
        ]
        await asyncio.to_thread(hands.begun.wait)
        gone.set_result(None)
        with pytest.raises(CalledOff):
            await asking[1]
        assert (ends, desk.taken) == ([1], 1)
        hands.go.set()
        assert await asking[0] == {}

    hands = Slow()
    run(hands, scene)
    assert ends == [1, 0]


def test_what_is_late_is_told_so() -> None:
    async def scene(desk: Desk, ended: list[str]) -> None:
        never: asyncio.Future[None] = asyncio.Future()
        with pytest.raises(Problem, match=r"takes more than 0\.1 s") as caught:
            await desk.recognize(ORDER, desk.place(), never, lambda: None)
        assert caught.value.status == 422

    run(Slow(), scene, seconds=0.1)
