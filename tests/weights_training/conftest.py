"""Make the training recipe importable from a checkout, whatever way pytest was started."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from weights.training.scenes import Bank  # noqa: E402


@pytest.fixture(scope="session")
def bank() -> Bank:
    """A small set of scenes."""
    return Bank(seed=5, canvases=6, stencils=2)
