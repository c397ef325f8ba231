"""A network of pictures as the start of one of optical flow (Wang et al. 2016, section 3.2).

A frame of flow is a stack of pictures of motion, horizontal and vertical in turn: ten channels for
five frames. MIT's and TSN's training start from the weights of a network of pictures, whose first
filters are averaged over the colours.
"""

import numpy as np
from numpy.typing import NDArray


def flow_filters(weight: NDArray[np.float32], channels: int = 10) -> NDArray[np.float32]:
    """The first filters of a network of flow, (O, channels, ...), from those of one of pictures.

    ``weight`` is (O, 3, ...). Each of the new channels has the mean over the colours.

    >>> flow_filters(np.array([[[1.0], [2.0], [6.0]]], np.float32), 2)
    array([[[3.],
            [3.]]], dtype=float32)
    """
    if weight.ndim < 2 or channels < 1:
        raise ValueError(
            f"`weight` of shape {weight.shape} makes no filters of {channels} channels"
        )
    mean = weight.astype(np.float64).mean(1, keepdims=True).astype(np.float32)
    return np.repeat(mean, channels, axis=1)
