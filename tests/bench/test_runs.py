"""Ratios, the price of the shift, and what becomes of a wrong answer: figures made up by hand."""

import json

import numpy as np
import pytest

from tsm_ref.bench import runs
from tsm_ref.bench.runs import Measured, Settings, figures, measure_all, run_worker
from tsm_ref.bench.worker import ANSWER, TOLERANCE, compare, time_runs
from tsm_ref.bench.workloads import SMOKE, WORKLOADS, workload


def answer(times, **changes):
    return {
        "version": "v", "error": 1e-7, "agrees": True, "times": times, "memory_mb": 50.0,
        "cold_s": 1.0, **changes,
    }  # fmt: skip


def measured(model, engine, *answers, **fields):
    pair = Measured(model, engine, **fields)
    for one in answers:
        pair.add(one)
    return pair


def rows(pairs, **options):
    result = figures(pairs, **{"threads": 1, "peak": None, **options})
    return result, {(row["model"], row["engine"]): row for row in result["results"]}


def test_ratios_are_to_the_fastest_peer_of_the_same_model():
    pairs = [
        measured("tsm-resnet18", "numba", answer([0.2, 0.1]), answer([0.3, 0.2, 0.2])),
        measured("tsm-resnet18", "openvino", answer([0.5, 0.4, 0.3])),
        measured("tsm-resnet18", "mnn", answer([0.9, 0.9, 0.25])),
        measured("tsn-resnet50", "numba", answer([7.0])),
    ]
    result, found = rows(pairs)
    ours = found["tsm-resnet18", "numba"]
    assert (ours["median_ms"], ours["min_ms"], ours["runs"]) == (200.0, 100.0, 5)
    assert ours["ratio_to_fastest_peer"] == pytest.approx(0.2 / 0.4)
    assert ours["ratio_of_minima"] == pytest.approx(0.1 / 0.25)
    assert found["tsm-resnet18", "mnn"]["ratio_to_fastest_peer"] == pytest.approx(0.9 / 0.4)
    assert found["tsn-resnet50", "numba"]["ratio_to_fastest_peer"] is None
    assert result["ratio_to_fastest_peer"] == {
        "tsm-resnet18": pytest.approx(0.5),
        "tsn-resnet50": None,
    }
    assert result["fastest_peer"] == {"tsm-resnet18": "openvino", "tsn-resnet50": None}


def test_speed_is_the_plain_networks_and_the_share_counts_threads():
    gflop = workload("tsm-resnet18").gflop()
    _, found = rows([measured("tsm-resnet18", "numpy", answer([0.1]))], threads=2, peak=100.0)
    row = found["tsm-resnet18", "numpy"]
    assert row["gflops"] == pytest.approx(gflop / 0.1)
    assert row["share_of_peak"] == pytest.approx(gflop / 0.1 / 200)


def test_a_wrong_answer_has_no_times_and_is_nobodys_measure():
    wrong = answer([], agrees=False, error=0.3)
    del wrong["times"]
    pairs = [
        measured("tsm-resnet18", "numba", answer([0.2])),
        measured("tsm-resnet18", "openvino", wrong),
        measured("tsm-resnet18", "mnn", answer([0.5])),
    ]
    result, found = rows(pairs)
    row = found["tsm-resnet18", "openvino"]
    assert row["median_ms"] is row["ratio_to_fastest_peer"] is None
    assert "3.0e-01" in row["failed"]
    assert result["fastest_peer"]["tsm-resnet18"] == "mnn"


def test_the_price_of_the_shift():
    pairs = [
        measured("tsm-resnet50", "numba", answer([0.303, 0.330])),
        measured("tsn-resnet50", "numba", answer([0.300, 0.300])),
        measured("tsm-resnet50", "openvino", {"failed": "no"}),
        measured("tsn-resnet50", "openvino", answer([0.3])),
    ]
    (entry,) = rows(pairs)[0]["shift_overhead"]
    assert entry["engine"] == "numba"
    assert entry["overhead"] == pytest.approx(0.3165 / 0.3 - 1)
    assert entry["overhead_of_minima"] == pytest.approx(0.01)


def test_cold_starts_leave_the_first_process_out():
    cold = [answer([0.1], cold_s=s) for s in (9.0, 1.0, 2.0, 3.0)]
    _, found = rows(
        [
            measured("tsm-resnet18", "numba", *cold, first_start_s=20.0),
            measured("tsm-resnet18", "mnn", *cold),
        ]
    )
    assert found["tsm-resnet18", "numba"]["cold_start_s"] == 2.0
    assert found["tsm-resnet18", "numba"]["cold_start_first_s"] == 20.0
    assert found["tsm-resnet18", "mnn"]["cold_start_first_s"] == 9.0


@pytest.mark.parametrize(
    ("got", "expected", "error"),
    [
        ([[1.0, -2.0]], [[1.0, -2.0]], 0.0),
        ([[1.0, -2.0]], [[1.0, -2.5]], 0.2),
        ([[1.0, np.inf]], [[1.0, -2.5]], np.inf),
        ([1.0, -2.0], [[1.0, -2.0]], np.inf),
        ([[0.5]], [[0.0]], 0.5),
    ],
)
def test_the_comparison(got, expected, error):
    assert compare(np.array(got), np.array(expected)) == pytest.approx(error)


def test_calls_are_at_least_as_many_as_asked_and_inputs_take_turns():
    seen = []
    times = time_runs(seen.append, ["a", "b", "c"], runs=4, seconds=0.0)
    assert seen == ["a", "b", "c", "a"]
    assert len(times) == 4
    assert min(times) >= 0


@pytest.fixture
def request_of(tmp_path):
    def make(**changes):
        name = "smoke-online"
        if not (tmp_path / "clip.npy").exists():
            SMOKE[name].prepare(tmp_path)
        return {
            "task": "measure", "model": name, "engine": "numpy", "folder": str(tmp_path),
            "online": True, "threads": 1, "cores": [], "runs": 2, "seconds": 0.0, **changes,
        }  # fmt: skip

    return make


def test_a_worker_catches_an_engine_that_answers_wrongly(request_of, tmp_path):
    right = run_worker(request_of(), 120)
    assert right["agrees"]
    assert right["error"] < 1e-5 < TOLERANCE
    assert len(right["times"]) == 2
    assert right["memory_mb"] > 10
    assert 0 < right["first_s"] < right["cold_s"]
    expected = np.load(tmp_path / "expected.npy")
    expected[0, 0] += 1e-3 * np.abs(expected).max()
    np.save(tmp_path / "expected.npy", expected)
    wrong = run_worker(request_of(), 120)
    assert not wrong["agrees"]
    assert wrong["error"] == pytest.approx(1e-3, rel=0.01)
    assert "times" not in wrong


def test_what_goes_wrong_in_a_worker_is_one_line(request_of, monkeypatch):
    assert "no engine 'no-such'" in run_worker(request_of(engine="no-such"), 120)["failed"]
    missing = run_worker(request_of(folder="/nowhere"), 120)["failed"]
    assert missing.startswith("FileNotFoundError")
    assert run_worker(request_of(), 0.01)["failed"] == "no answer after 0 s"
    monkeypatch.setattr(runs.sys, "executable", "/bin/false")
    assert "ended with 1" in run_worker(request_of(), 60)["failed"]


def test_rounds_are_interleaved_and_a_failure_ends_only_its_pair(monkeypatch):
    asked = []

    def ask(request, timeout, **environment):
        asked.append((request["task"], request["model"], request["engine"]))
        assert json.dumps(request)
        if request["engine"] == "mnn":
            return {"failed": "broken"}
        return {} if request["task"] == "prepare" else answer([0.1])

    monkeypatch.setattr(runs, "run_worker", ask)
    said = []
    pairs = measure_all(
        Settings(list(SMOKE)[:1], ["numpy", "mnn", "litert"], rounds=2), said.append
    )
    model = next(iter(SMOKE))
    assert asked == [
        ("prepare", model, "mnn"),
        ("prepare", model, "litert"),
        *[("measure", model, "numpy"), ("measure", model, "litert")] * 2,
    ]
    assert [pair.failed for pair in pairs] == [None, "broken", None]
    assert f"{model}: mnn is left out: broken" in said


def test_the_answer_is_found_among_what_a_runtime_prints(monkeypatch):
    class Done:
        stdout = f"banner\n{ANSWER}" + '{"a": 1}\nfarewell\n'
        stderr, returncode = "", 0

    monkeypatch.setattr(runs.subprocess, "run", lambda *_, **__: Done)
    assert run_worker({"threads": 1}, 1) == {"a": 1}


def test_workloads_are_what_the_targets_name():
    work = {name: round(job.gflop(), 2) for name, job in WORKLOADS.items()}
    assert work["tsm-resnet50"] == work["tsn-resnet50"] == pytest.approx(65.4, abs=0.1)
    assert work["online-mobilenetv2"] == pytest.approx(0.60, abs=0.01)
    assert work["causal-mobilenetv2"] == pytest.approx(8 * 0.599, abs=0.02)
    assert work["tsm-resnet18"] == pytest.approx(7.76, abs=0.02)
