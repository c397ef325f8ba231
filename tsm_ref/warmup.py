"""Compiles all kernels ahead of the first run: ``python -m tsm_ref.warmup``."""

import importlib.util
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np

from tsm_ref.command import Parser, guarded, say, tell
from tsm_ref.detection.boxes import Settings, boxes_of
from tsm_ref.engine import make_engine
from tsm_ref.errors import MissingDependency, WriteError
from tsm_ref.kernels import notice
from tsm_ref.models import MAPS, build_graph, random_weights
from tsm_ref.options import add_version
from tsm_ref.profile import ShiftRule
from tsm_ref.video.resize import RESIZERS


def compile_all() -> int:
    """Run a small network, resize a picture, find boxes; returns how many kernels were compiled.

    A program is one compiled function that contains every kind of layer, so any network does.
    """
    seen: list[notice.Compiling] = []
    stop = notice.listen(seen.append)
    graph = build_graph(
        "mobilenetv2", num_classes=2, placement="blockres", shift=ShiftRule("mit"), width=0.35
    )
    try:
        engine = make_engine(graph, random_weights(graph), "numba")
        engine.run({"x": np.zeros((1, 3, 2, 32, 32), np.float32)})
        for resizer in RESIZERS.values():
            resizer(np.zeros((9, 9, 3), np.uint8), 4, 4, compiled=True)
        channels = dict(zip(MAPS, (18, 36, 2, 4), strict=True))
        maps = {name: np.zeros((count, 1, 1), np.float32) for name, count in channels.items()}
        boxes_of(maps, (16, 16), Settings(), compiled=True)
    finally:
        stop()
    return sum(not event.done for event in seen)


def parser() -> Parser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.warmup",
        description="Compiles the kernels of the Numba engine, once, so that no later run has to. "
        "Set NUMBA_CACHE_DIR to choose where they are kept.",
    )
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, say how many and where they are; returns the exit code."""
    return guarded(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> None:
    parser().parse_args(arguments)
    if importlib.util.find_spec("numba") is None:
        raise MissingDependency("numba", "compile kernels")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        count = compile_all()
        from tsm_ref.kernels import cache
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        tell(f"warning: {message}")
    place, seconds = cache.folder(), time.perf_counter() - started
    say(f"{count} kernels compiled in {seconds:.1f} s" if count else "nothing had to be compiled")
    if place is None:
        raise WriteError(
            "the kernels are not kept: set NUMBA_CACHE_DIR to a folder that only you can write"
        )
    say(f"they are kept in {place}")


if __name__ == "__main__":
    sys.exit(main())
