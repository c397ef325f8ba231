"""The campaign itself: files begin whole, are spoiled alike each time, and findings are kept."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import child
from tests.fuzz.formats import FORMATS, Format, mutant, usable
from tests.fuzz.mutations import Rng, spoiled, spoiled_message, spoiled_tree
from tsm_ref.errors import CheckpointError, UsageError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs signals of POSIX")
READ_WHOLE = ("hdf5", "state", "onnx", "safetensors", "profile", "registry", "npy", "video.mkv")


@pytest.mark.parametrize("name", READ_WHOLE)
def test_a_whole_file_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / ("registry.toml" if name == "registry" else f"x{FORMATS[name].suffix}")
    for seed in FORMATS[name].seeds():
        path.write_bytes(seed)
        FORMATS[name].read(path)


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_spoiled_the_same_way_each_time(name: str) -> None:
    if not usable(name):
        pytest.skip("this FFmpeg has no such encoder")
    files = [mutant(name, 7, index) for index in range(12)]
    assert files == [mutant(name, 7, index) for index in range(12)]
    assert len(set(files) - set(FORMATS[name].seeds())) > 6


@pytest.mark.parametrize("spoil", [spoiled, spoiled_message])
def test_anything_can_be_spoiled(spoil: Callable[[bytes, Rng], bytes]) -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 300):
        for _ in range(50):
            assert isinstance(spoil(rng.bytes(size), rng), bytes)
    for tree in ({}, [], {"a": [1, 2.5, "x"]}):
        spoiled_tree(tree, rng)


def refuses(error: Exception) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        raise error

    return read


def sleeps(path: Path) -> None:
    while True:
        pass


def too_much(path: Path) -> None:
    bytearray(1 << 62)


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (lambda path: None, "read"),
        (refuses(CheckpointError("it is damaged")), "refused"),
        (refuses(CheckpointError("\x1b[31m")), "words"),
        (refuses(CheckpointError("x" * 5000)), "words"),
        (refuses(UsageError("no such option")), "words"),
        (refuses(KeyError("x")), "bug"),
        (sleeps, "slow"),
        (too_much, "memory"),
    ],
)
def test_outcomes(
    read: Callable[[Path], None], wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(FORMATS, "npy", Format(".npy", list, read))  # type: ignore[arg-type]
    before = signal.signal(signal.SIGALRM, child._alarm)
    try:
        assert child.outcome("npy", tmp_path / "x", 1)[0] == wanted
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_short_campaign_finds_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    code = command.main(
        [
            *("--minutes", "5", "--batch", "30", "--files", "120"),
            *("--findings", str(tmp_path / "findings")),
            *("--formats", "state", "npy", "profile", "safetensors"),
        ]
    )
    out = capsys.readouterr().out
    assert code == 0, out
    assert out.splitlines()[-1].split()[-1] == "120"
    assert not (tmp_path / "findings").exists()


CRASHER = """
import json, os, sys
from pathlib import Path
name, seed, first, last, folder, seconds = sys.argv[1:]
for index in range(int(first), int(last)):
    Path(folder, "at").write_bytes(b"%20d" % index)
    if index == 3:
        os.abort()
print(json.dumps({"index": 7, "outcome": "bug", "where": "KeyError at x.py:1: y"}))
print(json.dumps({"counts": {"read": int(last) - int(first) - 1, "bug": 1}}))
"""


def test_a_child_that_is_ended_is_a_finding_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "crasher.py"
    script.write_text(CRASHER)
    monkeypatch.setattr(
        command, "command", lambda module, arguments, limits: [sys.executable, script, *arguments]
    )
    campaign = command.Campaign(5, tmp_path / "findings", batch=10)
    campaign.turn("npy")
    assert campaign.counts["npy"] == Counter(read=5, refused=3, bug=1, crash=1)
    assert sorted(os.listdir(tmp_path / "findings")) == [
        *("npy-bug-5-7.npy", "npy-bug-5-7.txt", "npy-crash-5-3.npy", "npy-crash-5-3.txt")
    ]
    assert (tmp_path / "findings" / "npy-crash-5-3.npy").read_bytes() == mutant("npy", 5, 3)
    assert [line.split()[-1] for line in campaign.table()] == ["all", "10", "10"]
