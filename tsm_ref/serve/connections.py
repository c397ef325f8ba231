"""The protocols of uvicorn, for those who never finish: a header that does not end, a body that
nobody reads any more, events that nobody fetches. The time of a body that is read has a limit of
its own.
"""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tsm_ref.serve.problems import MEDIA_TYPE, Problem

__all__ = ["Ending", "Patient"]


PATIENCE = 20.0
"""Seconds for the head of a request, and for the rest of a body that nobody reads."""


class Patient(H11Protocol):  # type: ignore[misc]  # no types are read of these packages
    """Ends a connection that has been in no request and not idle for `seconds`.

    It answers 408 where no request was finished, and 503 where there are `MOST` connections.
    """

    MOST = 512
    seconds = PATIENCE

    @classmethod
    def within(cls, seconds: float) -> type["Patient"]:
        """The same protocol with another patience, of at most `PATIENCE`."""
        return type("Patient", (cls,), {"seconds": min(seconds, PATIENCE)})

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._upgraded = False  # a WebSocket now: nothing may be written into it from here

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Wait for its first request."""
        super().connection_made(transport)
        if len(self.connections) > self.MOST:
            self._refuse(Problem(503, "there are too many connections", {"Retry-After": "10"}))
        else:
            self._timer = self.loop.call_later(self.seconds, self._too_slow)

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop()
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Wait for the end of what began, unless a request is answered now."""
        super().data_received(data)
        if self._answering() or self._upgraded:
            self._stop()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.seconds, self._too_slow)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Leave it to the other protocol."""
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """An idle connection is left to uvicorn; one that goes on sending is not."""
        super().on_response_complete()
        self._stop()
        if not self.transport.is_closing() and self.cycle is not None and self.cycle.more_body:
            self._timer = self.loop.call_later(self.seconds, self._too_slow)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _too_slow(self) -> None:
        self._timer = None
        if self._answering() or self.transport.is_closing():
            return
        if self.cycle is None:
            self._refuse(Problem(408, f"no request came within {self.seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        body = json.dumps(problem.tree()).encode()
        title = str(problem.tree()["title"])
        head = (
            f"HTTP/1.1 {problem.status} {title}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send_400_response(self, message: str) -> None:
        """What is no HTTP, in the form of all problems."""
        self._refuse(Problem(400, message))


class Ending(WebSocketsSansIOProtocol):  # type: ignore[misc]
    """Drops a connection `PATIENCE` after its end, also where the client does not read the rest."""

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """The application is done with it."""
        super().on_task_complete(task)
        self.loop.call_later(PATIENCE, self.transport.abort)
