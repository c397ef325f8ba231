"""Fixtures and hypothesis profiles that every test may use."""

import os
from pathlib import Path

# Tests run side by side: BLAS threads of several processes would wait for each other, spinning.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("TSM_REF_DATA", ROOT.parent / "shared" / "data"))

settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile(
    "thorough",
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips, checkpoints and vectors; the tests that need them are skipped without them."""
    if not DATA.is_dir():
        pytest.skip(f"no evaluation data at {DATA} (set TSM_REF_DATA)")
    return DATA


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of random numbers."""
    return np.random.default_rng(20181120)
