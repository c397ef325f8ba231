import threading
from collections.abc import Iterator

import pytest

from tsm_ref.video.ahead import ahead


def test_no_more_is_made_than_is_allowed() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for n in range(100):
            made.append(n)
            if n == 3:
                third.set()
            yield n

    found = ahead(items(), 2)
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

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)


def test_the_thread_ends_when_nobody_asks_any_more() -> None:
    before = threading.active_count()
    found = ahead(iter(range(1000)), 1)
    assert next(found) == 0
    assert threading.active_count() == before + 1
    found.close()
    assert threading.active_count() == before
