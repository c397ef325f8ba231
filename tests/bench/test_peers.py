"""Every other runtime that is installed here answers as our engine does; none has to be."""

import numpy as np
import pytest

from tsm_ref.bench.export import prepare
from tsm_ref.bench.peers import PACKAGES, PEERS, installed
from tsm_ref.bench.runs import run_worker
from tsm_ref.bench.workloads import SMOKE
from tsm_ref.errors import MissingDependency

JOB = SMOKE["smoke-online"]


@pytest.mark.parametrize("name", PEERS)
def test_a_runtime_agrees_or_says_why_not(name, tmp_path):
    if name not in installed():
        pytest.skip(f"{PACKAGES[name]} is not installed")
    JOB.prepare(tmp_path)
    request = {
        "model": JOB.name, "engine": name, "folder": str(tmp_path), "online": True, "threads": 1,
        "cores": [], "runs": 1, "seconds": 0.0,
    }  # fmt: skip
    answer = run_worker({"task": "prepare", **request}, 120)
    if "failed" not in answer:
        answer = run_worker({"task": "measure", **request}, 120)
    assert answer.get("agrees") or "one picture at a time" in answer["failed"], answer


def test_a_runtime_that_is_absent_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(PACKAGES, "mnn", "no_such_package")
    with pytest.raises(MissingDependency, match="no_such_package"):
        prepare("mnn", JOB, tmp_path)


def test_what_is_written_for_a_runtime_names_its_state(tmp_path, monkeypatch):
    from tsm_ref.bench import export
    from tsm_ref.bench.frames import FrameNetwork
    from tsm_ref.bench.peers import read_names

    shapes = {"x": (1, 3, 8, 8), "s": (1, 2, 4, 4), "y": (1, 5)}
    export._write_names(FrameNetwork(["x", "s"], ["y", "s2"], [], {}, shapes), tmp_path)
    names = read_names(tmp_path)
    assert names == (["x", "s"], ["y", "s2"], [(1, 2, 4, 4)])
    assert [zeros.shape for zeros in names.zeros()] == [(1, 2, 4, 4)]
    assert not np.any(names.zeros())
