"""Graph to numbers: engines that run any graph, streams of them, and the oracle that judges them.

The engines are imported when one is made, so that NumPy alone is enough where Numba is absent.

::

    contract     what every engine offers: clips, and the steps of streams
    on_numpy/    from NumPy alone; the ops that the others fall back on
    on_numba/    compiled kernels, one program per network, threads
    on_loops     every op by the plain loop that says what it is
    stream/      frames one at a time, with the state between them
    exact        quantised layers by the functions of the reference
    oracle       node by node with the functions of the reference, and how far others may be off
    inputs       what is asked of every input
    arena        where every value lies
    plan_cache   what has been made ready to run, and whose turn it is
    alone        runs that leave the other cores to other work
    forking      what a forked child has to make anew
"""

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from tsm_ref.engine.alone import alone
from tsm_ref.engine.contract import Engine
from tsm_ref.errors import MissingDependency, UsageError
from tsm_ref.graph import Graph
from tsm_ref.passes.bfloat16 import in_bfloat16

__all__ = ["ENGINES", "PRECISIONS", "Engine", "alone", "make_engine"]

Array = NDArray[Any]

ENGINES = ("auto", "numba", "numpy", "loops")
"""The engines by name.

``numba`` is the fast one, ``numpy`` needs nothing but NumPy, ``loops`` computes every op by the
plain loop that defines it, slowly (see `tsm_ref.engine.on_loops`); ``auto`` is ``numba`` where that
is installed and compiles, ``numpy`` elsewhere.
"""


PRECISIONS = ("float32", "bfloat16")
"""What the convolutions of a network of real numbers may multiply in."""

MOST_THREADS = 256


def make_engine(
    graph: Graph,
    weights: Mapping[str, Array],
    name: str = "auto",
    threads: int = 1,
    again: Callable[[], Mapping[str, Array]] | None = None,
    precision: str = "float32",
) -> Engine:
    """An engine that runs `graph` with `weights`, which ``again`` can read once more if need be.

    ``name`` is one of `ENGINES`. ``threads`` is how many threads a run may take: those of the
    kernels of "numba", those of the BLAS library of "numpy" (`tsm_ref.engine.on_numpy.blas`);
    "loops" takes one. ``precision`` is one of `PRECISIONS`: "bfloat16" rounds what convolutions
    multiply (see `tsm_ref.passes.bfloat16`).

    Raises `UsageError` for an unknown name or less than one thread, `MissingDependency` where
    ``numba`` is asked for and not installed.

    >>> from tsm_ref.models import build_ts_can, random_weights
    >>> graph = build_ts_can()
    >>> make_engine(graph, random_weights(graph), "numpy").name
    'numpy'
    """
    if name not in ENGINES:
        raise UsageError(f"there is no engine {name!r}; known are {', '.join(ENGINES)}")
    if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"`threads` (={threads!r}) must be 1 to {MOST_THREADS}")
    if precision not in PRECISIONS:
        raise UsageError(f"`precision` (={precision!r}) must be one of {', '.join(PRECISIONS)}")
    if precision == "bfloat16":
        graph, weights = in_bfloat16(graph, weights)
    if name == "auto":
        name = "numba" if _compiles() else "numpy"
    if name == "numpy":
        from tsm_ref.engine.on_numpy.engine import NumpyEngine

        return NumpyEngine(graph, weights, threads=threads)
    if not _installed("numba"):
        raise MissingDependency("numba", "run compiled engines (the engine 'numpy' needs none)")
    if name == "loops":
        from tsm_ref.engine.on_loops import LoopsEngine

        return LoopsEngine(graph, weights)
    if any(node.attrs.get("precision") == "bfloat16" for node in graph.nodes):
        from tsm_ref.engine.on_numba.bfloat16 import BFloat16Engine
        from tsm_ref.kernels.bfloat16 import units

        if not units.UNIT.needs:
            warnings.warn(units.SLOW, stacklevel=4)  # who loads or builds a model
        return BFloat16Engine(graph, weights, threads)
    if graph.quantised:
        from tsm_ref.engine.on_numba.whole_numbers import WholeNumbersEngine

        return WholeNumbersEngine(graph, weights, threads, again)
    from tsm_ref.engine.on_numba.engine import NumbaEngine

    return NumbaEngine(graph, weights, threads, again)


def _compiles() -> bool:
    """Whether Numba is there and was not told to leave functions as they are."""
    if not _installed("numba"):
        return False
    from tsm_ref.kernels.cache import config

    return not config.DISABLE_JIT


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
