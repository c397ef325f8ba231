"""What a foreign file does with its answer behind the network: it averages views, picks a class.

A network of ours ends in one row of scores per clip and class. Files go on: they take the mean over
several clips or crops of one video, a softmax of that, the index of the best class. These steps
are kept beside the graph, in the layout of the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.reference import log_softmax, sigmoid, softmax

Array = NDArray[Any]

KINDS = {
    "Softmax": "probabilities",
    "LogSoftmax": "log-probabilities",
    "Sigmoid": "independent probabilities",
    "ArgMax": "class index",
    "TopK": "top classes",
}
"""What an answer is behind a step; a mean, and a change of shape, leave it what it was."""


@dataclass(frozen=True)
class Step:
    """One step, named as ONNX names it, along one axis of the file.

    ``keep`` leaves a reduced axis there with size 1; ``count`` is how many classes TopK picks,
    ``part`` whether their "values" or their "indices"; ``last`` prefers the last of equals, and
    ``least`` picks the smallest.

    >>> Step("ArgMax", 1).apply(np.array([[1.0, 3.0, 2.0]]))
    array([1])
    >>> Step("TopK", 1, count=2, part="values").apply(np.array([[1.0, 3.0, 2.0]]))
    array([[3., 2.]])
    """

    op: str
    axis: int = 0
    keep: bool = False
    count: int = 0
    part: str = ""
    last: bool = False
    least: bool = False

    def apply(self, x: Array) -> Array:
        """The step on an array in the layout of the file."""
        return np.asarray(getattr(self, f"_{self.op.lower()}")(x))

    def _mean(self, x: Array) -> Array:
        return np.asarray(x.mean(self.axis, keepdims=self.keep))

    def _softmax(self, x: Array) -> Array:
        return softmax(x, self.axis)

    def _logsoftmax(self, x: Array) -> Array:
        return log_softmax(x, self.axis)

    def _sigmoid(self, x: Array) -> Array:
        return sigmoid(x)

    def _squeeze(self, x: Array) -> Array:
        return x.squeeze(self.axis)

    def _unsqueeze(self, x: Array) -> Array:
        return np.expand_dims(x, self.axis)

    def _argmax(self, x: Array) -> Array:
        best = np.argmin if self.least else np.argmax
        found = best(np.flip(x, self.axis) if self.last else x, self.axis, keepdims=True)
        found = x.shape[self.axis] - 1 - found if self.last else found
        return np.asarray(found if self.keep else found.squeeze(self.axis), np.int64)

    def _topk(self, x: Array) -> Array:
        if self.least:
            order = np.argsort(x, self.axis, kind="stable")
        else:  # of equals the first one, too, where nothing can be negated
            up = np.argsort(np.flip(x, self.axis), self.axis, kind="stable")
            order = x.shape[self.axis] - 1 - np.flip(up, self.axis)
        index = np.take(order, range(self.count), self.axis)
        return index if self.part == "indices" else np.take_along_axis(x, index, self.axis)


def kind_after(steps: Sequence[Step], kind: str) -> str:
    """What an answer is behind some steps.

    >>> kind_after([Step("Mean"), Step("Softmax", 1)], "logits")
    'probabilities'
    """
    for step in steps:
        kind = KINDS.get(step.op, kind)
    return kind
