"""The files that hold compiled kernels: whole, damaged, and impossible to write."""

import importlib.util
import os
import warnings

import numpy as np
import pytest

from tsm_ref.kernels import cache, notice, store

SOURCE = '''
def tripled(x):
    """Three times x."""
    return 3 * x
'''


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A function that binds the same kernel anew, as a new process would, and calls it."""
    path = tmp_path / "kernel_source.py"
    path.write_text(SOURCE)
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(cache, "folder", lambda: folder)

    def bind():
        spec = importlib.util.spec_from_file_location("kernel_source", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kernel = cache.compiled()(module.tripled)
        compiled = []
        stop = notice.listen(compiled.append)
        result = kernel(np.float64(14.0))
        stop()
        return result, [event.name for event in compiled if not event.done]

    bind.folder = folder
    return bind


def files(folder, kind):
    found = list(folder.rglob(f"*.{kind}"))
    assert found
    return found


def test_what_is_kept_is_found_and_nothing_is_said(start):
    assert start() == (42.0, ["kernel_source.tripled"])
    assert start() == (42.0, [])


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "noise"])
def test_a_damaged_file_is_compiled_again_and_replaced(start, kind, damage, rng):
    start()
    for path in files(start.folder, kind):
        content = bytearray(path.read_bytes())
        if damage == "flipped":
            content[len(content) // 2] ^= 1
        path.write_bytes(
            {
                "cut": content[: len(content) // 2],
                "empty": b"",
                "flipped": bytes(content),
                "noise": rng.bytes(500),
            }[damage]
        )
    assert start() == (42.0, ["kernel_source.tripled"])
    assert start() == (42.0, [])


def test_a_file_of_another_hand_is_not_unpickled(start):
    """A pickle without our checksum, however well formed, is never carried out."""
    start()
    for path in files(start.folder, "nbc"):
        path.write_bytes(b"cbuiltins\nexit\n(I7\ntR.")
    assert start()[0] == 42.0


def test_a_removed_file_is_compiled_again(start):
    start()
    for path in files(start.folder, "nbc"):
        path.unlink()
    assert start() == (42.0, ["kernel_source.tripled"])


def test_a_disk_that_is_full_costs_one_warning(start, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store._CheckedFiles, "_write", full)
    monkeypatch.setattr(store.KernelCache, "_warned", False)
    with pytest.warns(UserWarning, match="compiled kernels cannot be kept: .*No space left"):
        assert start()[0] == 42.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert start()[0] == 42.0


def test_without_a_folder_kernels_still_run_and_are_announced(start, monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda: None)
    assert start() == start() == (42.0, ["kernel_source.tripled"])
    assert not list(start.folder.rglob("*"))


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners on this system")
@pytest.mark.parametrize("what", ["folder", "index"])
def test_a_place_that_others_can_write_is_noticed_at_the_next_load(start, what, monkeypatch):
    monkeypatch.setattr(store.KernelCache, "_warned", False)
    start()
    (index,) = files(start.folder, "nbi")
    (index if what == "index" else index.parent).chmod(0o777)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert start() == (42.0, ["kernel_source.tripled"])
    assert len(said) == (what == "folder")


def test_what_is_kept_is_for_us_alone_whatever_the_umask_says(start):
    before = os.umask(0)
    try:
        start()
    finally:
        os.umask(before)
    for path in start.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert start() == (42.0, [])
