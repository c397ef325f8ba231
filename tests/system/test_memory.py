"""What a whole run may take: the product of sizes that are each within bounds."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tsm_ref
from tsm_ref import convert, infer
from tsm_ref.checkpoint import load_checkpoint, save, weights_folder
from tsm_ref.errors import CheckpointError, UsageError
from tsm_ref.system import memory

SAMPLE = str(weights_folder() / "samples" / "zoom_in.mp4")


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "1")
    monkeypatch.delenv(memory.VARIABLE)


@pytest.fixture(scope="module")
def greedy(tmp_path_factory) -> Path:
    """A model file of 0.4 MB that asks for 84 frames of 4096x4096."""
    path = tmp_path_factory.mktemp("greedy") / "greedy.h5"
    found = load_checkpoint(weights_folder() / "camera-motion.h5")
    spec = replace(found.profile.preprocess, short_side=None, size=(4096, 4096), crop=None)
    sampling = replace(found.profile.sampling, policy="uniform", segments=84)
    save(
        path, found.graph, found.weights, replace(found.profile, preprocess=spec, sampling=sampling)
    )
    return path


def test_a_small_model_may_not_ask_for_much(greedy, capsys) -> None:
    assert infer.main(["--engine", "numpy", "--model", str(greedy), SAMPLE]) == 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "84 frames of 4096x4096" in err
    assert "for a model of 0.6" in err or "half of what is free" in err
    assert "--max-memory allows more" in err


def test_nor_when_it_is_converted(greedy, tmp_path, capsys) -> None:
    assert convert.main([str(greedy), str(tmp_path / "x.h5")]) == 4
    assert "--max-memory allows more" in capsys.readouterr().err
    assert not (tmp_path / "x.h5").exists()


def test_more_can_be_allowed(monkeypatch) -> None:
    with pytest.raises(CheckpointError, match=r"half of what is free|for a model"):
        memory.check(1 << 50, "it", weights=1)
    memory.allow(1 << 50)
    memory.check(1 << 50, "it", weights=1)
    with pytest.raises(CheckpointError, match="--max-memory"):
        memory.check((1 << 50) + 1, "it")


def test_the_limit_grows_with_the_model(monkeypatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1 << 60)
    memory.check(8 << 30, "it", weights=100 << 20)
    with pytest.raises(CheckpointError, match=r"for a model of 0\.4 MB"):
        memory.check(8 << 30, "it", weights=400_000)


def test_the_limit_is_half_of_what_is_free(monkeypatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1000)
    memory.check(500, "it")
    with pytest.raises(CheckpointError, match="half of what is free"):
        memory.check(501, "it", weights=1 << 30)


@pytest.mark.parametrize("name", ["camera-motion", "camera-motion-offline"])
def test_what_ships_is_far_from_the_limit(name, monkeypatch) -> None:
    monkeypatch.setattr(memory, "SMALLEST", memory.SMALLEST // 10)
    tsm_ref.load(name, engine="numpy").recognize(SAMPLE)


def test_smoothing_is_bounded(tmp_path, capsys) -> None:
    state = tmp_path / "state.h5"
    code = infer.main(
        ["--engine", "numpy", "--smooth", "99999999", "--state", str(state), "--stream", SAMPLE]
    )
    assert code == 2
    assert "smoothing over 99999999 frames takes 7.2 GB" in capsys.readouterr().err
    assert not state.exists()
    model = tsm_ref.load("camera-motion", engine="numpy")
    from tsm_ref.live import Live, Smoother

    Live(model, smoother=Smoother(window=100_000))
    with pytest.raises(UsageError, match="--max-memory"):
        Live(model, smoother=Smoother(window=10_000_000))


def test_an_allowance_reaches_child_processes() -> None:
    memory.allow(12345)
    code = "from tsm_ref.system import memory; print(memory.allowed())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"12345"


@pytest.mark.parametrize("text", ["", "-1", "1e9", "\u0663", "9" * 30])
def test_an_allowance_that_is_none_is_ignored(text, monkeypatch) -> None:
    monkeypatch.setenv(memory.VARIABLE, text)
    assert memory.allowed() == 0
