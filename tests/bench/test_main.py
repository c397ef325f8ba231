"""The command line: a small run from end to end, its JSON, and what it refuses."""

import json
import subprocess
import sys

import pytest

from tsm_ref.bench import __main__ as command
from tsm_ref.bench import report, roofline
from tsm_ref.bench.workloads import SMOKE


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    """The JSON of a smoke run in a process of its own."""
    path = tmp_path_factory.mktemp("bench") / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "tsm_ref.bench", "--smoke", "--per-layer", "--json", str(path)],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return json.loads(path.read_text())


def test_the_document_is_what_the_schema_says(document):
    assert set(document) == set(report.SCHEMA)
    assert document["schema"] == report.SCHEMA_VERSION
    for row in document["results"]:
        assert set(row) == set(report.ROW)
        assert row["failed"] is None
        assert 0 < row["min_ms"] <= row["median_ms"]
        assert row["error"] < 1e-4
        assert row["memory_mb"] > 10
        assert row["cold_start_s"] > 0
    pairs = [(row["model"], row["engine"]) for row in document["results"]]
    assert pairs == [(model, engine) for model in SMOKE for engine in ("numba", "numpy")]
    assert document["ratio_to_fastest_peer"] == dict.fromkeys(SMOKE)
    assert document["machine"]["limits"]["fma_gflops"] > 0.1


def test_every_layer_has_a_time(document):
    for model in SMOKE:
        layers = document["layers"][model]
        assert sum(layer["gflop"] for layer in layers) == pytest.approx(
            SMOKE[model].gflop(), rel=0.01
        )
        assert all(layer["ms"] > 0 and layer["bytes"] > 0 for layer in layers)
    kinds = {layer["kind"] for layer in document["layers"]["smoke-resnet18"]}
    assert {"direct", "pool", "linear"} <= kinds


@pytest.mark.parametrize("plain", [True, False])
def test_tables_show_every_engine_and_why_one_is_missing(document, plain, capsys):
    changed = json.loads(json.dumps(document))
    changed["results"][0] |= {"failed": "wrong output", "median_ms": None}
    changed["shift_overhead"] = [
        {"engine": "numba", "overhead": 0.0123, "overhead_of_minima": -0.004}
    ]
    report.print_tables(changed, plain)
    shown = capsys.readouterr().out
    assert "numba has no times: wrong output" in shown
    assert "the shift costs numba +1.2% (of minima -0.4%)" in shown
    assert "layers of smoke-resnet18" in shown
    assert f"{changed['results'][1]['median_ms']:.2f}" in shown


def test_what_is_not_a_number_is_null():
    assert json.loads(report.to_json({"a": float("inf"), "b": [float("nan"), 1.5]})) == {
        "a": None,
        "b": [None, 1.5],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "resnet9000"], "resnet9000"),
        (["--peers", "tensorrt"], "tensorrt"),
        (["--engines", "fortran"], "fortran"),
        (["--rounds", "0"], "--rounds"),
        (["--threads", "-1"], "--threads"),
        (["--cores", "one"], "--cores"),
        (["--cores", "9999"], "--cores (=9999) must be some of "),
        (["--smoke", "--cores", "9999"], "--cores (=9999) must be some of "),
        (["--seconds", "nan"], "'nan' must be 0 to 300 seconds"),
        (["--seconds", "inf"], "'inf' must be 0 to 300 seconds"),
        (["--seconds", "-1"], "'-1' must be 0 to 300 seconds"),
        (["--seconds", "soon"], "'soon' must be 0 to 300 seconds"),
        (["--models", ","], "nothing to time"),
        (["--engines", ",", "--peers", "none"], "nothing to time"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(command, "document", lambda *_: pytest.fail("it ran"))
    assert command.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_option_is_exit_code_2(capsys):
    assert command.main(["--fast"]) == 2
    assert "--fast" in capsys.readouterr().err


def test_a_plot_without_matplotlib_is_refused_at_once(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(roofline.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(command, "document", lambda *_: pytest.fail("it ran"))
    assert command.main(["--smoke", "--roofline", str(tmp_path / "a.png")]) == 2
    assert "matplotlib" in capsys.readouterr().err


def test_a_plot_shows_the_layers(document, tmp_path):
    pytest.importorskip("matplotlib")
    roofline.plot(document, tmp_path / "roofline.svg")
    assert "smoke-resnet18" in (tmp_path / "roofline.svg").read_text()


@pytest.mark.parametrize("option", ["--json", "--roofline"])
def test_a_result_that_cannot_be_written_is_known_at_once(option, monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "document", lambda *_: pytest.fail("it ran"))
    assert command.main(["--smoke", option, str(tmp_path / "no" / "folder.png")]) == 5
    assert "folder.png: its folder is not there" in capsys.readouterr().err


def test_a_result_that_cannot_be_written_after_all_is_exit_code_5(
    document, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(command, "document", lambda *_: document)
    assert command.main(["--smoke", "--json", str(tmp_path)]) == 5
    assert str(tmp_path) in capsys.readouterr().err


def test_a_plot_of_an_unknown_kind_is_refused_at_once(monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(command, "document", lambda *_: pytest.fail("it ran"))
    assert command.main(["--smoke", "--roofline", str(tmp_path / "a.txt")]) == 2
    assert "no plot can be a .txt file; known are" in capsys.readouterr().err


def test_without_the_compiler_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(roofline.config, "DISABLE_JIT", 1)
    assert command.main(["--smoke"]) == 2
    assert "NUMBA_DISABLE_JIT is set" in capsys.readouterr().err


def test_an_engine_of_ours_that_is_wrong_fails_the_run(document, monkeypatch, capsys):
    changed = json.loads(json.dumps(document))
    changed["results"][0]["failed"] = "wrong output"
    monkeypatch.setattr(command, "document", lambda *_: changed)
    assert command.main(["--smoke", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == changed
