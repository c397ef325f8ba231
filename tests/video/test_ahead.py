import threading
from collections.abc import Iterator

import pytest

from tsm_ref.video.ahead import Ahead


def test_no_more_is_made_than_is_allowed() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for n in range(100):
            made.append(n)
            if n == 3:
                third.set()
            yield n

    found = Ahead(items(), most=2)
    assert next(found) == 0
    third.wait(10)  # two wait in the queue, and the next one waits for room
    assert next(found) == 1
    assert len(made) <= 6
    found.close()
    assert len(made) <= 7


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    found = Ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)


def test_the_thread_ends_when_nobody_asks_any_more() -> None:
    before = threading.active_count()
    found = Ahead(iter(range(1000)), most=1)
    assert next(found) == 0
    assert threading.active_count() == before + 1
    found.close()
    assert threading.active_count() == before


def test_it_tells_who_waits_for_whom() -> None:
    asked, ready = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        asked.wait(10)
        yield 0
        yield 1
        ready.set()
        yield 2

    found = Ahead(items(), most=3)
    threading.Timer(0.05, asked.set).start()
    assert (next(found), found.late) == (0, True)
    ready.wait(10)
    assert (next(found), found.late) == (1, False)
    found.close()
    assert list(found) == []


def test_without_a_thread_nothing_is_made_before_it_is_asked_for() -> None:
    before, made = threading.active_count(), []
    found = Ahead((made.append(n) or n for n in range(3)), threaded=False)  # type: ignore[func-returns-value]
    assert made == []
    assert next(found) == 0
    assert made == [0]
    assert threading.active_count() == before
    assert not found.late
    assert list(found) == [1, 2]
