"""Who may ask, what every answer carries, and who is told of it: in front of all routes.

A server on this machine alone can be reached by every web page that its user opens. So a page of
another origin is refused, and so is a name of this server that is not its own, to which somebody
may have bent the address of theirs (DNS rebinding).
"""

import ipaddress
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from tsm_ref.serve.metrics import Metrics
from tsm_ref.serve.problems import Problem
from tsm_ref.serve.settings import Settings

__all__ = ["Guard", "is_loopback"]

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""
LOCAL = ("localhost", "127.0.0.1", "::1")


class Guard:
    """Stands in front of an application: checks, headers, counts, and a line for each request."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        paths: frozenset[str],
        told: Callable[[str], None],
    ) -> None:
        self._app, self._metrics, self._paths, self._told = app, metrics, paths, told
        self._names: set[str] = set()
        if settings.names or is_loopback(settings.host):
            self._names = {*LOCAL, settings.host, *(name.lower() for name in settings.names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        begin, status = time.monotonic(), "499"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = str(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
            elif message["type"] == "websocket.accept":
                status = "101"
            await send(message)

        try:
            problem = self._refused(scope)
            if problem is None:
                await self._app(scope, receive, watched)
            elif scope["type"] == "http":
                await problem.response()(scope, receive, watched)
            else:
                socket = WebSocket(scope, receive, watched)
                await socket.send_denial_response(problem.response())
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(path, status).inc()
            client = scope.get("client") or ("-",)
            what = f"{scope.get('method', 'WEBSOCKET')} {scope['path'][:200]}"
            self._told(f"{client[0]} {what} {status} {time.monotonic() - begin:.3f} s")

    def _refused(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._names and _name(f"//{host}") not in self._names:
            return Problem(421, f"this server is not {host[:80]!r}: see --allow-host")
        asks = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if asks and origin is not None and not self._own(origin, host):
            return Problem(403, f"pages of {origin[:80]!r} may not ask here: see --allow-host")
        return None

    def _own(self, origin: str, host: str) -> bool:
        try:
            page = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return page == host.lower() or _name(origin) in self._names.difference(LOCAL)


def _name(address: str) -> str:
    """The host of an address without its port; "" for what is none."""
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
