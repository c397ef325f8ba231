"""Frames over a WebSocket: the events of a stream, a stated rule for frames that come too fast."""

import contextlib
import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.serve.conftest import SAMPLES, Running
from tsm_ref.live import Live
from tsm_ref.live.show import as_jsonl
from tsm_ref.model import load
from tsm_ref.video import frames

pytest.importorskip("starlette")
httpx = pytest.importorskip("httpx")
connect = pytest.importorskip("websockets.sync.client").connect
exceptions = pytest.importorskip("websockets.exceptions")

Picture = Any


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """The frames of a clip, RGB."""
    with frames(SAMPLES / "zoom_in.mp4") as source:
        return [frame.pixels for frame in source][:24]


def jpeg(picture: Picture) -> bytes:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(picture).save(file, "JPEG")
    return file.getvalue()


@contextlib.contextmanager
def streaming(server: Running, asked: str = "") -> Iterator[Any]:
    with connect(f"{server.stream}?{asked}", open_timeout=30, proxy=None) as line:
        yield line


def events(line: Any) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(exceptions.ConnectionClosedError):  # who looks at the code knows
        for text in line:
            found.append(json.loads(text))
    return found


def untimed(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"latency": None}


def test_events_are_those_of_a_stream(server: Running, pictures: list[Picture]) -> None:
    height, width = pictures[0].shape[:2]
    with streaming(server, f"size={width}x{height}&fps=24&drop=none") as line:
        for picture in pictures:
            line.send(picture.tobytes())
        line.send("end")
        *found, last = events(line)
    with frames(SAMPLES / "zoom_in.mp4") as source:
        live = Live(load("camera-motion", engine="numpy"))
        expected = [json.loads(as_jsonl(update)) for update in live.run(source)]
    count = len(found) - live.stream.delay  # the last ones are of the end of the frames
    assert count > 5
    assert list(map(untimed, found))[:count] == list(map(untimed, expected))[:count]
    assert last == {"ended": {"frames": 24, "dropped": 0}}
    assert line.close_code == 1000


def test_jpeg_pictures_are_frames(server: Running, pictures: list[Picture]) -> None:
    with streaming(server, "drop=none&every=2&top=2&fps=24") as line:
        for picture in pictures:
            line.send(jpeg(picture))
        line.send("end")
        *found, last = events(line)
    assert [event["frame"] for event in found] == list(range(0, 24, 2))
    assert {len(event["top"]) for event in found} == {2}
    assert last["ended"]["frames"] == 24


def test_changes_alone(server: Running, pictures: list[Picture]) -> None:
    with streaming(server, "drop=none&only=changes") as line:
        for picture in pictures:
            line.send(jpeg(picture))
        line.send("end")
        *found, _ = events(line)
    assert found
    assert all(event["changed"] for event in found)


def test_frames_that_come_too_fast_are_dropped_and_counted(
    server: Running, pictures: list[Picture]
) -> None:
    data = [jpeg(picture) for picture in pictures]
    with streaming(server, "every=1&fps=1000") as line:
        for _ in range(20):
            for each in data:
                line.send(each)
        line.send("end")
        *found, last = events(line)
    ended = last["ended"]
    assert ended["frames"] == 480
    assert ended["dropped"] > 0
    assert len(found) == 480 - ended["dropped"]
    assert found[-1]["dropped"] == ended["dropped"]
    assert found[-1]["frame"] == 479, "the newest frame is never the one that is lost"


def test_each_connection_has_a_state_of_its_own(server: Running, pictures: list[Picture]) -> None:
    height, width = pictures[0].shape[:2]

    def follow(turned: bool) -> list[dict[str, Any]]:
        with streaming(server, f"size={width}x{height}&fps=24&drop=none") as line:
            for picture in reversed(pictures) if turned else pictures:
                line.send(np.ascontiguousarray(picture).tobytes())
            line.send("end")
            return [untimed(event) for event in events(line)[:-1]]

    alone = [follow(False), follow(True)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(follow, [False, True, False, True]))
    assert found == alone * 2


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        (b"no picture", 1007, "no JPEG"),
        ("no command", 1007, "binary message"),
        (b"\xff\xd8\xff\xe0 cut", 1007, "no JPEG"),
    ],
)
def test_messages_that_cannot_be(server: Running, message: Any, code: int, said: str) -> None:
    with streaming(server) as line:
        line.send(message)
        told = json.loads(line.recv())
        assert said in told["error"]["detail"]
        with pytest.raises(exceptions.ConnectionClosed):
            line.recv()
        assert line.close_code == code
        assert said in line.close_reason


def test_raw_frames_of_another_size(server: Running) -> None:
    with streaming(server, "size=4x4") as line:
        line.send(bytes(47))
        told = json.loads(line.recv())
        assert told["error"]["detail"] == "frame 0 has 47 bytes: 4x4 RGB are 48"


def test_a_picture_of_absurd_size_is_not_decoded(server: Running) -> None:
    data = bytearray(jpeg(np.zeros((8, 8, 3), np.uint8)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    with streaming(server) as line:
        line.send(bytes(data))
        assert "larger than 4096x4096" in json.loads(line.recv())["error"]["detail"]


def test_silence_ends_a_stream_and_nothing_else(server: Running) -> None:
    with streaming(server, "size=8x8&only=changes") as line:
        for _ in range(2):  # together they take longer than the 5 s of everything
            line.send(bytes(192))
            time.sleep(3)
        *_, told = events(line)
        assert line.close_code == 1008
        assert told["error"]["status"] == 408
        assert "no frame came for 5 s" in told["error"]["detail"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("size=0x4", "`size`"),
        ("size=99999x99999", "`size`"),
        ("drop=some", "`drop`"),
        ("only=events", "`only`"),
        ("mask=nothing", "there is no label"),
        ("every=2&rate=3", "not both"),
        ("smooth=100000000", "`smooth`"),
        ("lookahead=none", "`lookahead`"),
        ("model=../x", "there is no model"),
        ("speed=3", "there is no parameter"),
        ("fps=0", "`fps`"),
    ],
)
def test_parameters_that_cannot_be(server: Running, asked: str, said: str) -> None:
    with pytest.raises(exceptions.InvalidStatus) as caught, streaming(server, asked):
        pass
    answer = caught.value.response
    assert answer.status_code == 400
    assert said in json.loads(answer.body)["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_pages_of_others_are_refused(server: Running) -> None:
    with (
        pytest.raises(exceptions.InvalidStatus) as caught,
        connect(server.stream, origin="http://evil.example", proxy=None),
    ):
        pass
    assert caught.value.response.status_code == 403


def count(server: Running) -> int:
    found = httpx.get(f"{server.url}/health", trust_env=False).json()
    return int(found["streams"])


def test_clients_that_hang_up_leave_nothing(server: Running, pictures: list[Picture]) -> None:
    data = jpeg(pictures[0])

    def hang_up(k: int) -> None:
        gone = (exceptions.InvalidStatus, exceptions.ConnectionClosed, OSError)
        with contextlib.suppress(*gone), streaming(server) as line:
            for _ in range(k % 4):
                line.send(data)
            line.socket.shutdown(socket.SHUT_RDWR)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(hang_up, range(64)))
    for _ in range(200):
        if count(server) == 0:
            break
        time.sleep(0.05)
    assert count(server) == 0


def test_there_are_so_many_streams_at_most(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(streaming(server))
        with pytest.raises(exceptions.InvalidStatus) as caught:
            stack.enter_context(streaming(server))
        assert caught.value.response.status_code == 503
        assert caught.value.response.headers["retry-after"]
