"""Many at once: nothing is lost, memory stays, what is full says so, and the end is orderly."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.serve.conftest import Running

pytest.importorskip("starlette")
httpx = pytest.importorskip("httpx")


def memory(server: Running) -> float:
    text = httpx.get(f"{server.url}/metrics", trust_env=False).text
    found = re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)
    assert found
    return float(found[1])


def test_64_connections_lose_nothing(start: Any, small: bytes) -> None:
    with (
        start("--engine", "numpy", "--workers", "2") as server,
        httpx.Client(base_url=server.url, timeout=120, trust_env=False) as client,
    ):

        def ask(k: int) -> tuple[int, str, int]:
            found = client.post("/recognize", params={"name": f"{k}.mp4"}, content=small)
            tree = found.json()
            return found.status_code, tree["input"]["path"], tree["input"]["frame_count"]

        grown = []
        with ThreadPoolExecutor(64) as pool:
            for _ in range(2):
                found = list(pool.map(ask, range(64)))
                assert found == [(200, f"{k}.mp4", 8) for k in range(64)]
                grown.append(memory(server))
        assert grown[1] < grown[0] + (64 << 20), "less than one clip's buffers for each request"
        assert server.spooled() == []


def test_what_is_full_says_when_to_come_again(start: Any, pan: bytes) -> None:
    with start("--engine", "numpy", "--workers", "1", "--queue", "1") as server:

        def ask(k: int) -> tuple[int, str | None]:
            found = httpx.post(f"{server.url}/recognize", content=pan, timeout=60, trust_env=False)
            return found.status_code, found.headers.get("retry-after")

        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(ask, range(16)))
        statuses = [status for status, _ in found]
        assert set(statuses) == {200, 503}
        assert all(int(after or 0) >= 1 for status, after in found if status == 503)
        assert ask(0)[0] == 200


def test_a_stop_finishes_what_runs(start: Any, pan: bytes) -> None:
    with start("--engine", "numpy", "--workers", "1") as server:
        answers: list[int] = []

        def ask() -> None:
            found = httpx.post(f"{server.url}/recognize", content=pan, timeout=60, trust_env=False)
            answers.append(found.status_code)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            if httpx.get(f"{server.url}/health", trust_env=False).json()["files"] == 4:
                break
            time.sleep(0.005)
        code, told = server.stop()
        for thread in threads:
            thread.join()
        assert (code, told) == (0, "")
        assert answers == [200] * 4
        assert list(server.folder.iterdir()) == []


def test_work_that_takes_too_long_is_given_up(start: Any, pan: bytes) -> None:
    with start("--engine", "numpy", "--timeout", "0.05") as server:
        found = httpx.post(f"{server.url}/recognize", content=pan, timeout=60, trust_env=False)
        assert found.status_code in (408, 422)
        assert "0.05 s" in found.json()["detail"]
