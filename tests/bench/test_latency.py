import json

import pytest

from tsm_ref.bench.__main__ import main
from tsm_ref.bench.latency import FIELDS, latencies, lines
from tsm_ref.bench.workloads import SMOKE


@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_every_number_of_streams_has_its_row(engine):
    rows = list(latencies(SMOKE["smoke-online"], engine, streams=(1, 3), frames=7))
    assert [row["streams"] for row in rows] == [1, 3]
    for row in rows:
        assert row.keys() == FIELDS.keys()
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["frames"] == 7
        per_second = row["streams"] * 1000 / row["p50_ms"]
        assert row["frames_per_second"] == pytest.approx(per_second)
    assert rows[1]["state_bytes"] == 3 * rows[0]["state_bytes"]
    assert len(list(lines(rows))) == 3


def test_a_network_that_looks_ahead_says_how_far():
    (row,) = latencies(SMOKE["smoke-resnet18"], "numba", streams=(1,), frames=3)
    assert row["delay_frames"] == 8


def test_the_command_prints_the_section(capsys):
    assert main(["--latency", "--smoke", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["streams"] for row in rows} == {1, 2, 4, 8, 16}
    assert main(["--latency", "--models", "tsm-resnet18", "--peers", "none"]) == 2
    assert "there is no stream to time" in capsys.readouterr().err
