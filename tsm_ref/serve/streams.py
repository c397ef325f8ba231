"""One WebSocket connection: frames in, events out, and a state of its own.

What happens to frames that come faster than they are understood is the client's choice. With
``drop=newest``, the default, one frame waits: the newest; older ones are dropped and counted. With
``drop=none`` nothing is lost: the connection is not read on until there is room, so the client has
to wait. A client that does not read its events makes its own frames wait, by the same rule.
"""

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket, WebSocketDisconnect

from tsm_ref.errors import TsmError, UsageError
from tsm_ref.live import Live
from tsm_ref.live.session import Session
from tsm_ref.live.show import as_jsonl
from tsm_ref.serve.frames import Wire, raw_size
from tsm_ref.serve.metrics import Metrics
from tsm_ref.serve.models import MOST_CLASSES, Shelf, seconds, whole
from tsm_ref.serve.problems import Problem, problem_of
from tsm_ref.serve.work import CalledOff

__all__ = ["PARAMETERS", "Streams"]

MOST_FRAMES = 10_000
"""The most frames of a smoother, a dwell, a pace."""
NUMBERS = ("every", "smooth", "dwell", "persist")
PARAMETERS = (
    *("model", "size", "fps", "drop", "only", "top", "rate", *NUMBERS),
    *("mask", "no_event", "lookahead"),
)
BAD_DATA, POLICY, BUG = 1007, 1008, 1011
"""Codes with which a connection is closed (RFC 6455, section 7.4.1)."""
CLOSES = {408: POLICY, 500: BUG, 503: BUG}
MOST_REASON = 120
"""Bytes of the reason of a close, of which the protocol allows 123."""


@dataclass(frozen=True)
class _Asked:
    """What the parameters of an address ask for."""

    model: str
    live: Live
    wire: Wire
    lossless: bool
    changes: bool


class Streams:
    """All connections that stream: so many at most, each with a thread of its own."""

    def __init__(self, shelf: Shelf, metrics: Metrics, most: int, silence: float) -> None:
        self._shelf, self._metrics, self._most, self._silence = shelf, metrics, most, silence
        self.open = 0
        self._pool = ThreadPoolExecutor(most, "tsm-stream")

    async def serve(self, socket: WebSocket) -> None:
        """One connection from its first message to its last."""
        free = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            if self.open >= self._most:
                said = f"{self.open} connections stream already, the most"
                raise Problem(503, said, {"Retry-After": "10"})
            asked = self._asked(socket.query_params, lambda: loop.call_soon_threadsafe(free.set))
        except (Problem, TsmError) as error:
            await socket.send_denial_response(problem_of(error).response())
            return
        self.open += 1
        self._metrics.streams.inc()
        try:
            await socket.accept()
            await self._run(socket, asked, free)
        finally:
            self.open -= 1
            self._metrics.streams.dec()
            self._metrics.dropped.labels(asked.model).inc(asked.wire.dropped)
            self._metrics.frames.labels(asked.model).inc(asked.wire.count)

    def close(self) -> None:
        """Begin no more; those that run end with their connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, socket: WebSocket, asked: _Asked, free: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            sent = asyncio.run_coroutine_threadsafe(socket.send_text(text), loop)
            try:
                sent.result(self._silence)
            except TimeoutError:
                sent.cancel()
                raise Problem(408, f"no event was read for {self._silence:g} s") from None
            except (RuntimeError, OSError, WebSocketDisconnect):
                raise CalledOff from None

        following = loop.run_in_executor(self._pool, _follow, asked, say)
        reading = asyncio.ensure_future(self._read(socket, asked, free))
        problem: Problem | None = None
        try:
            await asyncio.wait({reading, following}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            await following
        except (CalledOff, WebSocketDisconnect):
            return
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                self._metrics.bug(error)
        finally:
            asked.wire.end(CalledOff())
            reading.cancel()
            await asyncio.gather(reading, following, return_exceptions=True)
        await self._end(socket, asked, problem)

    async def _end(self, socket: WebSocket, asked: _Asked, problem: Problem | None) -> None:
        last: Mapping[str, Any] = {
            "ended": {"frames": asked.wire.count, "dropped": asked.wire.dropped}
        }
        if problem is not None:
            last = {"error": problem.tree()}
        code = 1000 if problem is None else CLOSES.get(problem.status, BAD_DATA)
        reason = "" if problem is None else problem.detail
        try:
            async with asyncio.timeout(self._silence):
                await socket.send_text(json.dumps(last))
                short = reason.encode("utf-8", "replace")[:MOST_REASON].decode("utf-8", "ignore")
                await socket.close(code, short)
        except (RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
            return  # the client is gone

    async def _read(self, socket: WebSocket, asked: _Asked, free: asyncio.Event) -> None:
        """Every message to the wire, until the client says "end"."""
        wire = asked.wire
        while True:
            try:
                message = await asyncio.wait_for(socket.receive(), self._silence)
            except TimeoutError:
                raise Problem(408, f"no frame came for {self._silence:g} s") from None
            if message["type"] == "websocket.disconnect":
                wire.end(CalledOff())
                return
            data, text = message.get("bytes"), message.get("text")
            if text is not None:
                if text.strip() != "end":
                    raise Problem(400, "a frame is a binary message, and the only text is 'end'")
                wire.end()
                return
            frame = bytes(data or b"")
            self._metrics.received.inc(len(frame))
            free.clear()
            wire.receive(frame)
            while asked.lossless and wire.waiting:
                await free.wait()
                free.clear()

    def _asked(self, given: QueryParams, taken: Any) -> _Asked:
        """What an address asks for; raises `UsageError`, and `NotStreamable` as `UsageError`."""
        known = check_parameters(given, PARAMETERS, several=("mask",))
        served = self._shelf.get(known.get("model"))
        size = raw_size(known["size"]) if "size" in known else None
        for name, choices in (("drop", ("newest", "none")), ("only", ("changes",))):
            if known.get(name, choices[0]) not in choices:
                raise UsageError(f"`{name}` must be one of {', '.join(choices)}")
        if known.get("lookahead", "zero") not in ("zero", "past"):
            raise UsageError("`lookahead` must be zero or past")
        counts: dict[str, Any] = {name: whole(known, name, MOST_FRAMES) for name in NUMBERS}
        session = Session(
            source="",
            rate=seconds(known, "rate"),
            mask=tuple(given.getlist("mask")),
            no_event=known.get("no_event"),
            lookahead=known.get("lookahead"),
            top=whole(known, "top", MOST_CLASSES) or 5,
            **{name: value for name, value in counts.items() if value is not None},
        )
        try:
            live = session.live(served.model)
        except UsageError:
            raise
        except TsmError as error:
            raise UsageError(str(error)) from None
        wire = Wire(size, fps=seconds(known, "fps"), pace=live.pace, taken=taken)
        changes = "only" in known
        return _Asked(served.model.name, live, wire, known.get("drop") == "none", changes)


def check_parameters(
    given: QueryParams, known: tuple[str, ...], several: tuple[str, ...] = ()
) -> dict[str, str]:
    """The parameters of an address by name; raises `UsageError` for one unknown or given twice."""
    for name in given:
        if name not in known:
            raise UsageError(f"there is no parameter {name[:40]!r}: there are {', '.join(known)}")
        if name not in several and len(given.getlist(name)) > 1:
            raise UsageError(f"`{name}` is given {len(given.getlist(name))} times")
    return dict(given)


def _follow(asked: _Asked, say: Any) -> None:
    """What the worker thread of a connection does."""
    for update in asked.live.run(asked.wire):
        if update.changed or not asked.changes:
            say(as_jsonl(update))
