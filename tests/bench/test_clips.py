import json

import pytest

from tsm_ref.bench.__main__ import main
from tsm_ref.bench.clips import as_lines, measure_clip
from tsm_ref.checkpoint import weights_folder

pytest.importorskip("av")
CLIP = str(weights_folder() / "samples" / "zoom_in.mp4")


def test_a_file_is_timed_from_end_to_end() -> None:
    times = measure_clip(CLIP, rounds=1)
    assert times.frames == 84
    assert 0 < times.network < times.whole
    assert times.decode > 0
    assert times.ratio == pytest.approx(times.whole / times.decode)
    assert as_lines([times])[1].endswith(CLIP)


def test_the_command_prints_a_line_for_each_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--clip", CLIP, "--rounds", "1", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["path"] == CLIP
    assert main(["--clip", "missing.mp4"]) == 3
    assert "missing.mp4: no such file" in capsys.readouterr().err


def test_a_file_is_timed_beside_opencv_and_onnxruntime() -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("onnxruntime")
    times = measure_clip(CLIP, rounds=2)
    assert times.peer is not None
    assert times.peer > 0
    assert times.peer_agrees == 1
    assert "100 %" in as_lines([times])[1]


def test_without_them_there_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsm_ref.bench.clip_peer.find_spec", lambda name: None)
    times = measure_clip(CLIP, rounds=1)
    assert (times.peer, times.peer_ratio, times.peer_agrees) == (None, None, None)
