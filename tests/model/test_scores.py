"""Scores of networks: fused ones of several streams."""

from typing import Any

import numpy as np
import pytest

import tsm_ref
from tsm_ref.errors import UsageError
from tsm_ref.model import fused_scores


def test_two_streams_are_fused(rng: Any) -> None:
    """Pictures and flow, 1 to 1.5, as TSN does; the mean over networks, as MIT's script has it."""
    pictures = tsm_ref.build("resnet18", num_classes=5, engine="numpy")
    flow = tsm_ref.build("resnet18", num_classes=5, engine="numpy", in_channels=10, seed=1)
    shapes = [(1, channels, 8, 32, 32) for channels in (3, 10)]
    clips = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    logits = [pictures(clips[0]), flow(clips[1])]
    np.testing.assert_allclose(
        fused_scores(logits, [1, 1.5]), (logits[0] + 1.5 * logits[1]) / 2, rtol=1e-6
    )
    shares = fused_scores(logits, softmax_first=True)
    assert shares.sum() == pytest.approx(1, abs=1e-6)
    with pytest.raises(UsageError, match="sees optical flow, and this is a video of pictures"):
        flow.recognize("clip.mp4")


@pytest.mark.parametrize(
    ("shapes", "weights", "words"),
    [
        ([], None, "they have none"),
        ([(1, 2), (1, 3)], None, r"they have \(1, 2\), \(1, 3\)"),
        ([(1, 2), (1, 2)], [1], "2 networks need as many weights, not 1"),
    ],
)
def test_what_cannot_be_fused(shapes: Any, weights: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fused_scores([np.zeros(shape) for shape in shapes], weights)
