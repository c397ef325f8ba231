"""The output files by the options that ask for them."""

from pathlib import Path
from typing import Any

import pytest

from tsm_ref.errors import UsageError, WriteError
from tsm_ref.show.files import Pictures, write_file
from tsm_ref.show.report import Shown


def test_every_kind(tour: dict[str, Any], tmp_path: Path) -> None:
    for subtitles, cuts in (("x.srt", "x.edl"), ("x.VTT", "y.csv")):
        wanted = Pictures(
            str(tmp_path / "x.html"), None, str(tmp_path / subtitles), str(tmp_path / cuts)
        )
        wanted.check(1)
        wanted.write([Shown("tour.mp4", tour)])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["x.html", "x.srt", "x.VTT", "x.edl", "y.csv"]
    )


@pytest.mark.parametrize(("name", "head"), [("x.png", b"\x89PNG"), ("x.svg", b"<?xml")])
def test_plots(tour: dict[str, Any], tmp_path: Path, name: str, head: bytes) -> None:
    pytest.importorskip("matplotlib")
    hostile = tour | {"input": tour["input"] | {"path": "$\\bad{<b>\n.mp4"}}
    Pictures(plot=str(tmp_path / name)).write([Shown("tour.mp4", hostile)])
    data = (tmp_path / name).read_bytes()
    assert data.startswith(head)
    if name == "x.svg":
        assert data.count(b'<g id="line2d') >= len(tour["predictions"])
        assert b"<b>" not in data


def test_a_plot_without_matplotlib(tour: dict[str, Any], monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        Pictures(plot="x.svg").write([Shown("tour.mp4", tour)])
    assert not Path("x.svg").exists()


@pytest.mark.parametrize(
    ("wanted", "count", "sentence"),
    [
        (Pictures(plot="x.gif"), 1, "--plot x.gif: the ending must be one of .png, .svg"),
        (Pictures(subtitles="x"), 1, "--subtitles x: the ending must be one of .srt, .vtt"),
        (Pictures(edl="x.xml"), 1, "--edl"),
        (Pictures(edl="x.edl"), 2, "--edl shows one video, and 2 were given"),
    ],
)
def test_what_cannot_be_made_is_said_before(wanted: Pictures, count: int, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        wanted.check(count)
    assert sentence in str(caught.value)


def test_where_one_cannot_write(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "x", "a\0b"):
        with pytest.raises(WriteError):
            write_file(path, "x")


def test_a_clip_that_failed_has_a_page_and_no_plot(tmp_path: Path) -> None:
    wanted = Pictures(str(tmp_path / "x.html"), str(tmp_path / "x.svg"))
    wanted.write([Shown("a.mp4", error="the file is empty")])
    assert [p.name for p in tmp_path.iterdir()] == ["x.html"]


@pytest.mark.parametrize("option", ["report", "plot", "subtitles", "edl", "save_video"])
def test_a_folder_that_is_not_there_is_known_before(tmp_path: Path, option: str) -> None:
    path = str(tmp_path / "no" / "such.mp4")
    with pytest.raises(WriteError, match=r"such\.mp4: its folder is not there"):
        Pictures(**{option: path}).check(1)
