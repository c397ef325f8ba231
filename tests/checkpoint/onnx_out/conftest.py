"""What the tests of this room share: the way back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tsm_ref.checkpoint import load_checkpoint


@pytest.fixture
def back(tmp_path: Path) -> Callable[..., Any]:
    """What our own importer reads out of the bytes."""

    def read(data: bytes) -> Any:
        (tmp_path / "m.onnx").write_bytes(data)
        return load_checkpoint(tmp_path / "m.onnx")

    return read
