"""Weights that are kept without their file."""

import pickle
import tempfile

import numpy as np
import pytest

from tsm_ref.model import kept_weights
from tsm_ref.model.kept_weights import KeptWeights


@pytest.fixture
def weights(rng):
    shapes = {"a": (3, 4), "none": (0, 2), "scalar": (), "b": (7,)}
    whole = {
        "bytes": np.int8([-128, 3, 127]),
        "table": np.uint8([255]),
        "sums": np.int32([1 << 30]),
    }
    return {n: np.asarray(rng.standard_normal(s), np.float32) for n, s in shapes.items()} | whole


@pytest.fixture(params=["held", "in a file", "no room for a file"])
def kept(request, weights, monkeypatch):
    monkeypatch.setattr(kept_weights, "_LARGE", 1 << 22 if request.param == "held" else 0)
    if request.param == "no room for a file":

        def full():
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tempfile, "TemporaryFile", full)
    found = KeptWeights(weights)
    assert (found._file is not None) == (request.param == "in a file")
    return found


def same(one, two):
    return one.keys() == two.keys() and all(
        (one[n].shape, one[n].dtype) == (two[n].shape, two[n].dtype) and (one[n] == two[n]).all()
        for n in one
    )


def test_all_values_come_back(kept, weights):
    assert same(kept(), weights)
    assert same(pickle.loads(pickle.dumps(kept))(), weights)
    assert {type(value) for value in kept().values()} == {np.ndarray}
    assert all(value.flags.aligned for value in kept().values())


def test_what_is_changed_is_changed_for_one_reader_alone(kept, weights):
    before = {name: value.copy() for name, value in weights.items()}
    kept()["a"][:] = 5
    weights["a"][:] = 7
    assert same(kept(), before)
