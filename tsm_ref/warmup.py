"""Compiles all kernels ahead of the first run: ``python -m tsm_ref.warmup``."""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np

from tsm_ref.engine import make_engine
from tsm_ref.errors import MissingDependency, TsmError, UsageError
from tsm_ref.kernels import notice
from tsm_ref.models import build_graph, random_weights
from tsm_ref.profile import ShiftRule


def compile_all() -> int:
    """Run a small network; returns how many kernels had to be compiled.

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
    finally:
        stop()
    return sum(not event.done for event in seen)


def main(argv: Sequence[str] | None = None) -> int:
    """Compile, say how many and where they are; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tsm_ref.warmup",
        description="Compiles the kernels of the Numba engine, once, so that no later run has to. "
        "Set NUMBA_CACHE_DIR to choose where they are kept.",
    )
    parser.parse_args(argv)
    stop = notice.show()
    try:
        return _warm()
    except TsmError as error:
        print(f"tsm_ref.warmup: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    finally:
        stop()


def _warm() -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        try:
            from tsm_ref.kernels import cache
        except ImportError:
            raise MissingDependency("numba", "compile kernels") from None
        count = compile_all()
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"warning: {message}", file=sys.stderr)
    place = cache.folder()
    seconds = time.perf_counter() - started
    print(f"{count} kernels compiled in {seconds:.1f} s" if count else "nothing had to be compiled")
    if place is None:
        raise UsageError("the kernels could not be kept; set NUMBA_CACHE_DIR to a writable folder")
    print(f"they are kept in {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
