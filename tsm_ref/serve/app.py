"""The routes: a file to its recognition, frames to events, and what a server says of itself."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp

from tsm_ref import __version__
from tsm_ref.serve import metrics, page
from tsm_ref.serve.guard import Guard
from tsm_ref.serve.helpers import InProcesses, InThreads
from tsm_ref.serve.models import Shelf
from tsm_ref.serve.openapi import described
from tsm_ref.serve.problems import Problem, problem_of
from tsm_ref.serve.settings import Settings
from tsm_ref.serve.streams import Streams, check_parameters
from tsm_ref.serve.uploads import Spool, receive
from tsm_ref.serve.work import CalledOff, Desk

__all__ = ["House", "make_app"]

PARAMETERS = ("model", "top", "sampling", "crops", "window", "stride", "name")
HUNG_UP = 499
"""The status of a request whose client went away: nobody reads it, and the counts know it."""


class House:
    """All that a server keeps between requests."""

    def __init__(self, shelf: Shelf, settings: Settings) -> None:
        self.shelf, self.settings, self.metrics = shelf, settings, metrics.Metrics()
        self.spool = Spool()
        hands: InProcesses | InThreads = InThreads(shelf)
        if settings.isolate:
            recipes = [served.recipe for served in shelf]
            hands = InProcesses(recipes, settings.max_memory)
        self.desk = Desk(hands, settings.workers, settings.queue, settings.timeout)
        self.streams = Streams(shelf, self.metrics, settings.streams, settings.timeout)
        self.metrics.watch(lambda: self.desk.taken, lambda: self.desk.running)
        self.models = {
            "default": shelf.default,
            "models": [served.described() for served in shelf],
        }

    @property
    def busy(self) -> bool:
        """Whether a thread is still at something."""
        return bool(self.desk.running or self.streams.open)

    def close(self) -> None:
        """Begin nothing more, and clear away."""
        self.desk.close()
        self.streams.close()
        self.spool.close()

    async def recognize(self, request: Request) -> Response:
        """``POST /recognize``."""
        try:
            tree = await self._recognized(request)
        except (ClientDisconnect, CalledOff):
            return Response(status_code=HUNG_UP)
        except asyncio.CancelledError:  # by a server that has waited for long enough
            return Problem(503, "the server is stopping", {"Retry-After": "60"}).response()
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                self.metrics.bug(error)
            return problem.response()
        return JSONResponse(tree)

    async def _recognized(self, request: Request) -> dict[str, Any]:
        place = self.desk.place()
        asked = order = upload = None
        try:
            asked = check_parameters(request.query_params, PARAMETERS)
            order = self.shelf.order(asked, "", "")
            self.shelf.check(order)
            upload = self.spool.new()
            await receive(request, upload, self.settings.max_bytes, self.settings.timeout)
            self.metrics.received.inc(upload.size)
        except BaseException:
            if upload is not None:
                upload.remove()
            place.leave()
            raise
        order = replace(order, path=str(upload.path), name=upload.name)
        gone = asyncio.ensure_future(_hung_up(request))
        try:
            with self.metrics.seconds.labels(order.model).time():
                return await self.desk.recognize(order, place, gone, upload.remove)
        finally:
            gone.cancel()

    async def health(self, request: Request) -> Response:
        """``GET /health``."""
        counts = {"files": self.desk.taken, "streams": self.streams.open}
        return JSONResponse({"status": "ok", "version": __version__, **counts})

    async def list_models(self, request: Request) -> Response:
        """``GET /models``."""
        return JSONResponse(self.models)

    async def count(self, request: Request) -> Response:
        """``GET /metrics``."""
        return Response(self.metrics.text(), headers={"Content-Type": metrics.MEDIA_TYPE})

    async def openapi(self, request: Request) -> Response:
        """``GET /openapi.json``."""
        return JSONResponse(described(self.shelf, self.settings))

    async def show(self, request: Request) -> Response:
        """``GET /``."""
        return Response(page.HTML, headers=dict(page.HEADERS))


def make_app(
    shelf: Shelf, settings: Settings, told: Callable[[str], None] = lambda line: None
) -> tuple[ASGIApp, House]:
    """The application for an ASGI server, and what it keeps; `told` hears of every request."""
    house = House(shelf, settings)
    routes = [
        Route("/", house.show, methods=["GET"]),
        Route("/recognize", house.recognize, methods=["POST"]),
        WebSocketRoute("/stream", house.streams.serve),
        Route("/models", house.list_models, methods=["GET"]),
        Route("/health", house.health, methods=["GET"]),
        Route("/metrics", house.count, methods=["GET"]),
        Route("/openapi.json", house.openapi, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _http, Exception: _bug},
    )
    paths = frozenset(str(getattr(route, "path", "")) for route in routes)
    return Guard(app, settings, house.metrics, paths, told), house


async def _hung_up(request: Request) -> None:
    """Until the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _http(request: Request, error: Exception) -> Response:
    """What no route answers: 404, 405 with the methods that there are."""
    if not isinstance(error, HTTPException):  # pragma: no cover - registered for no other
        raise error
    path = request.url.path[:80]
    said = {404: f"there is nothing at {path!r}", 405: f"{request.method} is not for {path!r}"}
    detail = said.get(error.status_code, str(error.detail))
    return Problem(error.status_code, detail, error.headers).response()


async def _bug(request: Request, error: Exception) -> Response:
    return problem_of(RuntimeError(str(error))).response()
