"""A few new files of PyTorch: none is read as another network. The score is `held_out`'s."""

import pytest

from tests.checkpoint.held_out import score


@pytest.mark.filterwarnings("ignore")
def test_no_new_file_is_silently_wrong() -> None:
    pytest.importorskip("torch")
    counts, lines = score(4, seed=100)
    assert counts["wrong"] == 0, lines
    assert counts["right"] == 4, lines
