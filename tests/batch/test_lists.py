"""Which clips there are: folders, patterns, and the lists that other projects keep."""

import os
from pathlib import Path

import pytest

from tsm_ref.batch.lists import Clip, clips_of, read_list
from tsm_ref.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mp4", "A.MOV", "notes.txt", ".hidden.mp4", "deep/c.webm", "frames/img_1.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(clips: list[Clip], folder: Path) -> list[str]:
    return [os.path.relpath(clip.path, folder) for clip in clips]


def test_a_folder_is_its_videos(folder: Path) -> None:
    assert names(clips_of([str(folder)]), folder) == ["A.MOV", "b.mp4"]
    found = clips_of([str(folder)], recursive=True)
    assert names(found, folder) == ["A.MOV", "b.mp4", "deep/c.webm", "frames"]
    assert names(clips_of([str(folder / "frames")]), folder) == ["frames"]


def test_a_file_is_taken_as_it_is_and_once(folder: Path) -> None:
    notes = str(folder / "notes.txt")
    assert clips_of([notes, notes]) == [Clip(notes)]
    assert clips_of(["no-such.mp4"]) == [Clip("no-such.mp4")]
    listed = [Clip(notes, "3"), Clip("other.mp4", "4")]
    assert clips_of([notes], listed=listed) == [Clip(notes, "3"), Clip("other.mp4", "4")]


def test_patterns(folder: Path) -> None:
    assert names(clips_of([f"{folder}/*.mp4"]), folder) == ["b.mp4"]
    assert names(clips_of([f"{folder}/**/*.webm"]), folder) == ["deep/c.webm"]
    assert names(clips_of([f"{folder}/*s"]), folder) == ["frames"]
    with pytest.raises(UsageError, match="no file matches"):
        clips_of([f"{folder}/*.avi"])
    odd = folder / "take[1].mp4"
    odd.write_bytes(b"x")
    assert clips_of([str(odd)]) == [Clip(str(odd))]


def test_a_folder_without_videos(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with pytest.raises(UsageError, match="--recursive"):
        clips_of([str(tmp_path)])
    with pytest.raises(UsageError, match=r"no video in this folder$"):
        clips_of([str(tmp_path)], recursive=True)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_loop_of_links_ends(folder: Path) -> None:
    (folder / "deep" / "again").symlink_to(folder)
    assert len(clips_of([str(folder)], recursive=True)) == 4


@pytest.mark.parametrize(
    ("text", "clips"),
    [
        ("a.mp4\nb.mp4\n", [("a.mp4", None), ("b.mp4", None)]),
        ("a.mp4\r\n\r\n  b.mp4\r\n", [("a.mp4", None), ("b.mp4", None)]),
        ("\ufeff'my clip.mp4'\n\"b.mp4\"", [("my clip.mp4", None), ("b.mp4", None)]),
        ("a.mp4\na.mp4\n", [("a.mp4", None)]),
        ("some clip.mp4 3\nb.mp4 12\n", [("some clip.mp4", "3"), ("b.mp4", "12")]),
        ("a.mp4,3\nb.mp4,12\n", [("a.mp4", "3"), ("b.mp4", "12")]),
        ("dir/x y 120 3\ndir/z 64 0\n", [("dir/x y", "3"), ("dir/z", "0")]),
        ('path,label\na.mp4,yoga\n"b,c.mp4",3\n', [("a.mp4", "yoga"), ("b,c.mp4", "3")]),
        ("youtube_id,filename\n5,a.mp4\n", [("a.mp4", None)]),
        ("a.mp4 3\nb.mp4\n", [("a.mp4 3", None), ("b.mp4", None)]),
    ],
)
def test_lists(tmp_path: Path, text: str, clips: list[tuple[str, str | None]]) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    assert [(c.path, c.label) for c in read_list(str(path))] == clips


def test_a_file_whose_name_ends_in_a_number_is_no_label(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("take 3").write_bytes(b"x")
    Path("list.txt").write_text("take 3\n")
    assert read_list("list.txt") == [Clip("take 3")]


def test_folders_and_patterns_of_frames_are_listed_beside_the_list(folder: Path) -> None:
    (folder / "list.txt").write_text("frames 1 3\n")
    assert read_list(str(folder / "list.txt")) == [Clip(str(folder / "frames"), "3")]
    (folder / "list.txt").write_text("frames/img_%05d.jpg 4\nb.mp4 5\n")
    frames = Clip(str(folder / "frames/img_%05d.jpg"), "4")
    assert read_list(str(folder / "list.txt")) == [frames, Clip(str(folder / "b.mp4"), "5")]
    assert clips_of([], listed=[frames]) == [frames]
    (folder / "list.csv").write_text("path,label\nframes/img_%05d.jpg,x\n")
    assert read_list(str(folder / "list.csv")) == [Clip(frames.path, "x")]


def test_paths_begin_beside_the_list(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("a.mp4\nelsewhere.mp4\n/abs/c.mp4\n")
    found = read_list(str(tmp_path / "list.txt"))
    assert [c.path for c in found] == [str(tmp_path / "a.mp4"), "elsewhere.mp4", "/abs/c.mp4"]
    found = read_list(str(tmp_path / "list.txt"), root="videos")
    assert [c.path for c in found] == ["videos/a.mp4", "videos/elsewhere.mp4", "/abs/c.mp4"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "no clip is listed"),
        (b"\n\r\n", "no clip is listed"),
        (b"a\0b", "not text"),
        (b"a.mp4 3\na.mp4 4\n", "under the labels 3 and 4"),
        (b"path,label\na.mp4\n", "line 2 has 1 columns"),
    ],
)
def test_what_is_no_list(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_list(str(path))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_list(str(tmp_path / "absent.txt"))
    with pytest.raises(UsageError, match="directory"):
        read_list(str(tmp_path))


def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\xff.mp4\n")
    assert os.fsencode(read_list(str(tmp_path / "list.txt"))[0].path) == b"a\xff.mp4"
