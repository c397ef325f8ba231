"""Files of numbers from strangers: what NumPy's own reader stumbles over is one sentence."""

from pathlib import Path

import numpy as np
import pytest

from conformance.questions.files import BadFile, read_npy, write_npy


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)",  # open at its end
        b"(" * 5000,
        b"'''",
        b"{'descr': '<f4'}",
        b"{'descr': 'O', 'fortran_order': False, 'shape': (2,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999)}",
        b"\xff\xfe",
    ],
)
def test_a_header_that_is_none_is_one_sentence(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "y.npy"
    path.write_bytes(npy(header))
    with pytest.raises(BadFile, match=r"y\.npy"):
        read_npy(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_npy(tmp_path / "y.npy", np.arange(6).reshape(2, 3))
    assert read_npy(tmp_path / "y.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
