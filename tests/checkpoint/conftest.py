"""What the tests of this room share: a small network, its file, and a way to damage it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tsm_ref.checkpoint.hdf5 import native
from tsm_ref.errors import TsmError
from tsm_ref.graph import Graph, Input, Node
from tsm_ref.profile import PROFILES

SHAPES = {"conv.weight": (4, 3, 1, 3, 3), "conv.bias": (4,), "fc.weight": (5, 4)}


def _graph(shapes: dict[str, tuple[int, ...]]) -> Graph:
    nodes = (Node("y", "Relu", ("x",)),)
    return Graph("tiny", (Input("x", ("N", 2)),), nodes, ("y",), shapes)


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., Graph]:
    """A graph that declares these parameters; what its nodes do is of no interest here."""
    return _graph


@pytest.fixture
def graph() -> Graph:
    return _graph(SHAPES)


@pytest.fixture
def weights(rng: np.random.Generator) -> dict[str, Any]:
    return {name: rng.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}


@pytest.fixture
def saved(tmp_path: Path, graph: Graph, weights: dict[str, Any]) -> Path:
    """A good native file, to be damaged."""
    path = tmp_path / "model.h5"
    native.save(path, graph, weights, PROFILES["mit"], extra={"licence": "MIT"})
    return path


@pytest.fixture
def refused() -> Callable[..., Any]:
    """A block in which an error of this kind must be raised, in one line with these words."""

    @contextmanager
    def check(kind: type[TsmError], *words: str) -> Iterator[None]:
        with pytest.raises(kind) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < 300
        for word in words:
            assert word in message

    return check


@pytest.fixture
def h5(tmp_path: Path) -> Iterator[h5py.File]:
    """An HDF5 file that is being made; `finished` closes it."""
    with h5py.File(tmp_path / "attack.h5", "w") as file:
        yield file


@pytest.fixture
def finished(h5: h5py.File) -> Callable[[], Path]:
    """Close the file that is being made, and tell its path."""
    path = Path(h5.filename)

    def close() -> Path:
        h5.close()
        return path

    return close
