"""What is kept of a run that was cut off, and which runs may go on with it."""

from pathlib import Path

import pytest

from tsm_ref.batch.journal import Journal
from tsm_ref.batch.recipe import Outcome
from tsm_ref.errors import UsageError, WriteError

SETTINGS = {"model": "5e", "top": 5, "profile": {"shift": {"divisor": 8}}}
DONE = Outcome("a.mp4", (5, 7), result={"x": 1})
BROKEN = Outcome("b.mp4", (0, 0), error="it is empty", code=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The journal of a run that did not end."""
    path = tmp_path / "j"
    with Journal(path, SETTINGS) as journal:
        journal.add(DONE)
        journal.add(BROKEN)
    return path


def test_a_run_goes_on_with_what_was_done(path: Path) -> None:
    with Journal(path, SETTINGS, resume=True) as journal:
        assert journal.done == {"a.mp4": DONE, "b.mp4": BROKEN}
        journal.add(Outcome("b.mp4", (9, 9), result={"x": 2}))
        journal.finish()
    with Journal(path, SETTINGS, resume=True) as journal:
        assert journal.done["b.mp4"].result == {"x": 2}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_is_dropped_and_no_other(path: Path, cut: int) -> None:
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, SETTINGS, resume=True) as journal:
        assert list(journal.done) == ["a.mp4"]
        journal.add(BROKEN)
    with Journal(path, SETTINGS, resume=True) as journal:
        assert journal.done == {"a.mp4": DONE, "b.mp4": BROKEN}


def test_nothing_is_thrown_away(path: Path) -> None:
    with pytest.raises(UsageError, match=r"left 2 clips here: --resume"):
        Journal(path, SETTINGS)
    with Journal(path, SETTINGS, resume=True) as journal:
        journal.finish()
    with Journal(path, SETTINGS) as journal:
        assert journal.done == {}
    assert len(path.read_bytes().splitlines()) == 1


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"model": "ff"}, 'model "5e" and not "ff"'),
        ({"top": 3}, "top 5 and not 3"),
        ({"profile": {"shift": {"divisor": 4}}}, "profile.shift.divisor 8 and not 4"),
        ({"model": "a", "top": 1, "new": 1, "more": 2}, ", and 1 more"),
    ],
)
def test_another_run_says_what_is_different(path: Path, other: object, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Journal(path, SETTINGS | other, resume=True)
    assert sentence in str(caught.value)
    assert len(path.read_bytes().splitlines()) == 3


def test_two_runs_on_one_journal(path: Path) -> None:
    pytest.importorskip("fcntl")
    with (
        Journal(path, SETTINGS, resume=True),
        pytest.raises(UsageError, match="another run writes"),
    ):
        Journal(path, SETTINGS, resume=True)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([b"no json"], "line 1 is no line"),
        ([b"[]"], "line 1 is no line"),
        ([b"[" * 100000], "line 1 is no line"),
        ([b"{}"], "no journal of a batch"),
        ([b'{"journal": 9, "settings": {}}'], "no journal of a batch"),
        (
            [b'{"journal": 1, "settings": {"top": 5}}', b"{}"],
            "line 2 is no outcome",
        ),
    ],
)
def test_what_is_no_journal(tmp_path: Path, lines: list[bytes], sentence: str) -> None:
    path = tmp_path / "j"
    path.write_bytes(b"\n".join([*lines, b""]))
    before = path.read_bytes()
    with pytest.raises(UsageError, match=sentence):
        Journal(path, {"top": 5}, resume=True)
    assert path.read_bytes() == before


def test_where_one_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be opened"):
        Journal(tmp_path / "no" / "j", SETTINGS)
    with pytest.raises(WriteError, match="cannot be opened"):
        Journal(tmp_path, SETTINGS)


def test_a_full_disk(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is full")
    with Journal(tmp_path / "j", SETTINGS) as journal:
        real = journal._file
        with full.open("wb") as journal._file, pytest.raises(WriteError, match="No space"):
            journal.add(DONE)
        journal._file = real


def test_a_run_that_did_nothing_is_in_nobodys_way(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", SETTINGS):
        pass
    with Journal(tmp_path / "j", SETTINGS | {"top": 3}) as journal:
        journal.add(DONE)
    with Journal(tmp_path / "j", SETTINGS | {"top": 3}, resume=True) as journal:
        assert journal.done == {"a.mp4": DONE}
