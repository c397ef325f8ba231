"""The command line of the server: ``python -m tsm_ref.serve``."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tsm_ref.command import Parser, guarded, limit_blas, number, positive, size, tell
from tsm_ref.errors import MissingDependency, UsageError
from tsm_ref.options import (
    add_facts,
    add_model,
    add_partial,
    add_sampling,
    add_version,
    by_option,
    recipe_of,
)

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.batch import Recipe
    from tsm_ref.serve.settings import Settings

NEEDED = ("starlette", "uvicorn", "websockets", "python_multipart", "prometheus_client")
"""The packages of the extra ``serve``."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser(
        prog="python -m tsm_ref.serve",
        description="Serve recognition over HTTP and WebSocket: POST /recognize takes a video, "
        "/stream frames; /models, /health, /metrics, /openapi.json, and a page at /.",
    )
    add = made.add_argument
    add_model(made, several=True)
    add("--top", type=positive, default=5, metavar="K", help="classes to list (default: 5)")
    add_partial(made)
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="default: this machine alone")
    add("--port", type=int, default=8000, metavar="N", help="0 is any (default: %(default)s)")
    add("--allow-host", action="append", default=[], metavar="NAME",
        help="a name by which it may be called, and whose pages may ask")  # fmt: skip
    limits = made.add_argument_group("how much is allowed").add_argument
    limits("--max-bytes", type=size, default=256 << 20, metavar="SIZE",
           help="the largest file (default: 256M)")  # fmt: skip
    limits("--timeout", type=number, default=120.0, metavar="S",
           help="seconds to send a file, or to recognise it (default: 120)")  # fmt: skip
    limits("--workers", type=positive, metavar="N",
           help="files recognised at a time (default: one for each core)")  # fmt: skip
    limits("--queue", type=positive, default=64, metavar="N",
           help="files that are sent or wait besides; more get 503 (default: 64)")  # fmt: skip
    limits("--streams", type=positive, default=8, metavar="N",
           help="connections that stream (default: 8)")  # fmt: skip
    limits("--grace", type=number, default=30.0, metavar="S",
           help="seconds to finish what runs when it is stopped (default: 30)")  # fmt: skip
    limits("--isolate", action="store_true",
           help="read files in processes that may be lost; each loads the models")  # fmt: skip
    limits("--max-memory", type=size, metavar="SIZE", help="what each of those may take")
    add_sampling(made)
    add_facts(made)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server until it is told to stop; returns the exit code."""
    return guarded(lambda: _main(sys.argv[1:] if arguments is None else arguments))


def _main(arguments: Sequence[str]) -> None:
    made = parser()
    options = made.parse_args(arguments)
    limit_blas(options.threads)
    _check_packages()
    if not 0 <= options.port < 1 << 16:
        raise UsageError(f"--port {options.port} must be a whole number of 0 to 65535")
    with by_option(made):
        _serve(_recipes(options), _settings(options), options)


def _check_packages() -> None:
    from importlib.util import find_spec

    for name in NEEDED:
        if find_spec(name) is None:
            shown = name.replace("_", "-")
            raise MissingDependency(shown, "serve ('tsm-ref[serve]' has all that is)")


def _recipes(options: argparse.Namespace) -> "list[Recipe]":
    names = options.model or ["camera-motion"]
    one = recipe_of(options)
    return [replace(one, model=name) for name in dict.fromkeys(names)]


def _settings(options: argparse.Namespace) -> "Settings":
    from tsm_ref.serve.settings import Settings

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Settings(
        host=options.host,
        max_bytes=options.max_bytes,
        timeout=options.timeout,
        workers=options.workers or max(1, (cores or 1) // options.threads),
        queue=options.queue,
        streams=options.streams,
        grace=options.grace,
        isolate=options.isolate,
        max_memory=options.max_memory or 0,
        names=tuple(options.allow_host),
    )


def _serve(recipes: "list[Recipe]", settings: "Settings", options: argparse.Namespace) -> None:
    from tsm_ref.serve.app import make_app
    from tsm_ref.serve.guard import is_loopback
    from tsm_ref.serve.models import Served, Shelf

    with _listening(options.host, options.port) as listening:
        shelf = Shelf([Served.load(recipe) for recipe in recipes])
        app, house = make_app(shelf, settings, tell if options.verbose else lambda line: None)
        try:
            house.desk.start()
            names = ", ".join(served.model.name for served in shelf)
            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            if not is_loopback(host) and not options.allow_host:
                tell("warning: whoever reaches this machine may ask: there are no accounts")
            _run(app, settings, listening, f"serving {names} at http://{shown}:{port}/")
        finally:
            house.close()
            if house.busy:  # a file from which its decoder does not come back ends with us
                os._exit(0)


def _run(app: object, settings: "Settings", listening: socket.socket, ready: str) -> None:
    """Serve until a signal says stop."""
    import uvicorn

    from tsm_ref.serve.connections import Ending, Patient
    from tsm_ref.serve.frames import MOST_PIXELS

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=Patient.within(settings.timeout),
            ws=Ending,
            ws_max_size=3 * MOST_PIXELS,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, round(settings.grace)),
        )
    )

    came = []

    def stop(number: int, frame: object) -> None:
        came.append(number)
        server.should_exit = True

    # uvicorn has handlers of its own while it runs, and at its end sends itself the same signal
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        tell(f"{ready} (Ctrl-C stops)")
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGINT in came:
        raise KeyboardInterrupt


def _listening(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        said: object = getattr(error, "strerror", None) or error
        if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
            said = os.strerror(error.errno or 0)  # without the address, which is said already
        raise UsageError(f"cannot listen at {host} on port {port}: {said}") from None


if __name__ == "__main__":
    sys.exit(main())
