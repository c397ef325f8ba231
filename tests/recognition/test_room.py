"""Whether larger frames fit the network, and have room."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

import tsm_ref
from tsm_ref.errors import CheckpointError, GraphError
from tsm_ref.model import Model
from tsm_ref.profile import Sampling
from tsm_ref.recognition.room import check_memory, takes_finer
from tsm_ref.system import memory


@pytest.fixture(scope="module")
def camera() -> Model:
    return tsm_ref.load("camera-motion", engine="numpy")


def test_a_network_that_takes_every_size_takes_finer_frames_where_they_are_asked(camera: Model):
    assert takes_finer(camera, camera.profile)
    once = replace(camera.profile, sampling=replace(camera.profile.sampling, finer=1))
    assert not takes_finer(camera, once)
    few = replace(camera.profile, sampling=replace(camera.profile.sampling, policy="uniform"))
    assert not takes_finer(camera, few)  # a few clips are not asked again


def test_a_network_of_one_size_does_not(camera: Model):
    def shapes(given: dict[str, Any]) -> dict[str, Any]:
        if next(iter(given.values()))[-1] != 64:
            raise GraphError("64 columns are needed")
        return {}

    graph = SimpleNamespace(inputs=camera.graph.inputs, shapes=shapes)
    assert not takes_finer(cast(Model, SimpleNamespace(graph=graph)), camera.profile)


def test_finer_frames_are_reckoned_with(camera: Model, monkeypatch):
    monkeypatch.setattr(memory, "_limit", lambda *_: (1e7, "as a test says"))
    check_memory(camera, camera.profile)
    sampling = Sampling("windows", 8, 1.0, 0.5, 8.0, finer=8)
    with pytest.raises(CheckpointError, match="512x512"):
        check_memory(camera, replace(camera.profile, sampling=sampling))
