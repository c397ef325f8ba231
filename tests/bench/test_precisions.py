"""Several precisions: one quantised network for every engine, and rows that say what was run."""

import json

import pytest

from tsm_ref.bench import __main__ as command
from tsm_ref.bench import precisions
from tsm_ref.bench.peers import installed
from tsm_ref.bench.precisions import PRECISIONS, QDQ_PEERS, Timed, lines, rows_of
from tsm_ref.bench.runs import Settings
from tsm_ref.bench.workloads import SMOKE
from tsm_ref.kernels.bfloat16 import units

PRESENT = [peer for peer in QDQ_PEERS if peer in installed()]


@pytest.fixture(scope="module")
def rows():
    """Rows of all small networks, on our compiled engine and on the runtimes that are here."""
    wanted = Settings(list(SMOKE), ["numba", *PRESENT], rounds=1, runs=2, seconds=0.0)
    said: list[str] = []
    found = rows_of(precisions.measure_precisions(wanted, PRECISIONS, said.append))
    assert said[0] == "preparing smoke-resnet18"
    return found


def one(rows, engine, precision, by_itself=False):
    """The rows of an engine in a precision, one for each network."""
    key = (engine, precision, by_itself)
    return [r for r in rows if (r["engine"], r["precision"], r["by_itself"]) == key]


def test_ours_runs_in_every_precision(rows):
    for row in one(rows, "numba", "float32"):
        assert row["failed"] is None
        assert (row["rms"], row["error"], row["agreement"], row["of_float32"]) == (0, 0, 1, 1)
    for row in one(rows, "numba", "int8"):
        assert row["failed"] is None
        assert 0 < row["rms"] < row["error"] < 0.2
        assert row["wall_ms"] > 0
        assert row["processor_ms"] > 0
        assert (row["processor_ratio"] is None) == (not PRESENT)
    for row in one(rows, "numba", "bfloat16"):
        assert row["failed"] is None
        assert 1e-4 < row["rms"] < row["error"] < 0.05
        assert row["version"] == f"tsm_ref, on {units.UNIT.name}"


@pytest.mark.parametrize("peer", QDQ_PEERS)
def test_another_runtime_answers_in_float32_as_ours_and_in_int8_about_so(peer, rows):
    if peer not in PRESENT:
        pytest.skip(f"{peer} is not installed")
    assert len(one(rows, peer, "float32")) == len(one(rows, peer, "int8")) == len(SMOKE)
    for row in one(rows, peer, "float32"):
        assert row["failed"] is None
        assert row["error"] < 1e-4
    for row in one(rows, peer, "int8"):
        assert row["failed"] is None
        assert 1e-4 < row["error"] < 0.3, "it is not the quantised network that was run"


def test_a_runtime_that_chooses_says_what_and_one_that_must_not_is_left_out(rows):
    if "openvino" not in PRESENT:
        pytest.skip("openvino is not installed")
    for precision in ("float32", "int8"):
        for row in one(rows, "openvino", precision, by_itself=True):
            assert ", chose " in row["version"]
    for row in one(rows, "openvino", "bfloat16"):
        assert (row["failed"] is None) != (row["failed"] or "").startswith("on this processor")


def test_every_row_has_the_members_that_are_described(rows):
    assert all(list(row) == list(precisions.FIELDS) for row in rows)


def test_memory_is_that_of_a_process_of_each_engine(rows):
    for row in rows:
        if row["failed"] is None:
            assert 10 < row["resident_mb"] <= row["peak_mb"]


def test_another_runtime_that_has_no_quantised_network_says_so(monkeypatch):
    prepared, asked, said = [], [], []

    def worker(request, timeout):
        (prepared if request["task"].startswith("prepare") else asked).append(request)
        if request.get("engine") == "mnn" and request["task"] == "prepare":
            return {"failed": "it has no converter"}
        answer = {"wall": [1.0], "processor": [1.0], "agrees": True, "version": "v"}
        return {**answer, "rms": 0.0, "error": 0.0, "agreement": 1.0}

    monkeypatch.setattr(precisions, "run_worker", worker)
    wanted = Settings(["smoke-resnet18"], ["numba", "litert", "mnn", "openvino"], rounds=1)
    rows = rows_of(precisions.measure_precisions(wanted, PRECISIONS, said.append))
    failed = {(r["engine"], r["precision"]): r["failed"] for r in rows if r["failed"]}
    for precision in ("int8", "bfloat16"):
        for peer in ("litert", "mnn"):
            why = failed.pop((peer, precision))
            assert "onnxruntime and openvino alone" in why
            assert said.count(f"{peer} {precision} is left out: {why}") == 1
            assert f"  {peer} {precision} has no times: {why}" in list(lines(rows))
    assert failed == {("mnn", "float32"): "it has no converter"}, "others are timed all the same"
    assert [r["engine"] for r in prepared if "engine" in r] == ["litert", "mnn", "openvino"]
    ran = {(r["engine"], r["precision"], r["by_itself"]) for r in asked}
    assert ("litert", "float32", False) in ran
    assert ("openvino", "int8", True) in ran
    assert not {("litert", "int8", False), ("mnn", "float32", False)} & ran


def timed(engine, precision, *wall, processor=None):
    """A row whose rounds took so many seconds."""
    row = Timed("net", engine, precision)
    for each in wall:
        answer = {"wall": [each], "processor": [processor or each], "agrees": True}
        row.add({**answer, "version": "v", "rms": 0.01, "error": 0.02, "agreement": 0.5})
    return row


def test_ratios_are_those_of_rounds_within_a_precision():
    mine, base = timed("numba", "int8", 2, 4, 60), timed("numba", "float32", 4, 8, 120)
    fast, slow = timed("onnxruntime", "int8", 4, 8, 8), timed("openvino", "int8", 9, 9, 9)
    other = timed("openvino", "float32", 1, 1, 1)
    row, *_ = rows_of([mine, base, fast, slow, other])
    assert (row["ratio"], row["of_float32"]) == (0.5, 0.5)
    text = "\n".join(lines([row]))
    assert "1.00%" in text
    assert "50%" in text


def test_a_wrong_output_has_no_times_and_no_part_in_ratios():
    wrong = timed("onnxruntime", "float32", 1)
    wrong.add({"agrees": False, "error": 0.5})
    row, other = rows_of([timed("numba", "float32", 2), wrong])
    assert row["ratio"] is None
    assert other["failed"] == "wrong output: off by 5.0e-01 of the largest logit"
    assert "has no times: wrong output" in "\n".join(lines([other]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int4"], "there is no precision 'int4'; known are float32, int8"),
        (["--precision", ","], "give some of float32, int8, bfloat16"),
        (["camera-motion", "--precision", "int8"], "times the networks of the bench"),
        (["--precision", "int8", "--engines", ",", "--peers", "none"], "nothing to time"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(command.precisions, "measure_precisions", lambda *_: pytest.fail("it ran"))
    monkeypatch.setattr(command, "OWN", {})
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_engine_of_ours_that_fails_is_a_failure(precision, monkeypatch, capsys):
    row = Timed("net", "numba", precision, failed="why")
    monkeypatch.setattr(command.precisions, "measure_precisions", lambda *_: [row])
    assert command.main(["--smoke", "--precision", precision, "--json"]) == 1
    (shown,) = json.loads(capsys.readouterr().out)["precisions"]
    assert shown["failed"] == "why"
