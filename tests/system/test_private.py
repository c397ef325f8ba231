"""Whose folders are trusted: owners, modes and links, along the whole path."""

import os

import pytest

from tsm_ref.system import private

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners on this system")
administrator = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def place(tmp_path):
    private.make_folder(tmp_path / "a" / "b")
    return tmp_path / "a" / "b"


def test_what_we_make_is_ours(place):
    assert private.flaw(place) == ""
    assert place.stat().st_mode & 0o777 == place.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("parent", [False, True])
def test_a_part_that_others_can_write_is_named(place, mode, parent, monkeypatch):
    monkeypatch.setattr(private, "_own_group", lambda gid, uid: False)
    part = place.parent if parent else place
    part.chmod(mode)
    assert private.flaw(place) == f"{part} can be written by others"
    assert part.stat().st_mode & 0o777 == mode


def test_a_group_of_our_own_is_nobody_else(place, monkeypatch):
    monkeypatch.setattr(private, "_own_group", lambda gid, uid: True)
    place.chmod(0o770)
    assert private.flaw(place) == ""


def test_what_is_ours_in_a_temporary_folder_stays_ours(place):
    place.parent.chmod(0o1777)
    assert private.flaw(place) == ""


@administrator
@pytest.mark.parametrize("parent", [False, True])
def test_another_owner_is_named(place, parent):
    part = place.parent if parent else place
    os.chown(part, 65534, 65534)
    assert private.flaw(place) == f"{part} belongs to another user"


def test_the_place_itself_must_not_be_a_link(place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(place)
    assert private.flaw(link) == f"{link} is a symbolic link"


def test_a_link_of_ours_on_the_way_is_followed_and_looked_at(place, tmp_path):
    (tmp_path / "link").symlink_to("a")
    assert private.flaw(tmp_path / "link" / "b") == ""
    place.parent.chmod(0o777)
    assert "can be written by others" in private.flaw(tmp_path / "link" / "b")


@administrator
def test_a_link_of_somebody_else_is_not(place, tmp_path):
    (tmp_path / "link").symlink_to("a")
    os.lchown(tmp_path / "link", 65534, 65534)
    assert "belongs to another user" in private.flaw(tmp_path / "link" / "b")


def test_the_way_is_walked_as_the_system_walks_it(place, tmp_path):
    """`link/..` is the folder above the target, not the one that holds the link."""
    other = tmp_path / "other"
    private.make_folder(other / "deep")
    (tmp_path / "link").symlink_to(other / "deep")
    other.chmod(0o777)
    assert "can be written by others" in private.flaw(tmp_path / "link" / ".." / ".." / "a")


def test_a_link_that_leads_to_itself_ends(tmp_path):
    (tmp_path / "x").symlink_to("y")
    (tmp_path / "y").symlink_to("x")
    assert "symbolic links" in private.flaw(tmp_path / "x" / "below").lower()


def test_what_is_missing_is_not_trusted(place):
    assert "No such file" in private.flaw(place / "absent")


def test_a_private_file_is_read_and_another_is_not(place):
    path = place / "x"
    path.write_bytes(b"abc")
    assert private.read_private(path) == b"abc"
    path.chmod(0o666)
    with pytest.raises(PermissionError, match="can be written by others"):
        private.read_private(path)


def test_a_link_in_place_of_a_file_is_not_read(place, tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    (place / "x").symlink_to(tmp_path / "x")
    with pytest.raises(PermissionError, match="is a symbolic link"):
        private.read_private(place / "x")
