"""The conversation that explores a property: it draws data, asks, and says what must be equal.

A property is a function of a `Dialogue`. Where the answers come from it does not know.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.case import Call, Setting
from conformance.questions.conventions import Conventions

MAX_PLAIN = 100
"""How many examples are drawn small; more are a thorough run, which draws larger clips."""


class Violated(AssertionError):
    """The identity does not hold for what was drawn; the message says where."""


class Dialogue:
    """One example of a property: draws from hypothesis, and answers of a testee."""

    def __init__(
        self, data: Any, answer: Callable[[Call], Any], setting: Setting, thorough: bool = False
    ) -> None:
        self._data = data
        self._answer = answer
        self._most = (5, 17, 18) if thorough else (3, 7, 3)
        self.setting = setting
        self.calls: list[Call] = []

    @property
    def conventions(self) -> Conventions:
        """The testee's conventions."""
        return self.setting.conventions

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high."""
        from hypothesis import strategies as st

        value: int = self._data.draw(st.integers(low, high))
        return value

    def array(self, *shape: int) -> Array:
        """Small integers as float32; the numbers depend on one drawn seed."""
        rng = np.random.default_rng(self.integer(0, 2**16))
        return rng.integers(-9, 10, shape).astype(np.float32)

    def clip(self, channels: int | None = None) -> Array:
        """A clip with N from 1 to 3, T from 1 to 7 and a small picture; larger if thorough."""
        C = self.integer(1, 3 * self.conventions.fold_div) if channels is None else channels
        N, T, side = self._most
        return self.array(
            self.integer(1, N), C, self.integer(1, T), self.integer(1, side), self.integer(1, side)
        )

    def ask(self, operation: str, inputs: Mapping[str, Array], **attributes: Any) -> Array:
        """The testee's answer, one array; `Violated` if it is none."""
        div = {"fold_div": self.conventions.fold_div}
        call = Call(operation, inputs, attributes, div)
        self.calls.append(call)
        y = self._answer(call)
        if not isinstance(y, np.ndarray):
            raise Violated(f"`{operation}` gave {type(y).__name__}, not an array")
        return y

    def shift(self, x: Array) -> Array:
        """The testee's own shift."""
        return self.ask("temporal_shift", {"x": x}, fold_div=self.conventions.fold_div)

    def same(self, left: Array, right: Array, sentence: str) -> None:
        """Require equal shapes and numbers."""
        if left.shape != right.shape:
            raise Violated(f"{sentence}: the shapes are {left.shape} and {right.shape}")
        if not np.array_equal(left, right):
            at = tuple(int(i) for i in np.unravel_index(int(np.argmax(left != right)), left.shape))
            raise Violated(
                f"{sentence}: at {list(at)} one side is {left[at]!s} and the other {right[at]!s}"
            )

    def near(self, left: Array, right: Array, bound: Array, sentence: str) -> None:
        """Require equal shapes, and numbers that are nowhere further apart than a bound."""
        if not left.shape == right.shape == bound.shape:
            raise Violated(
                f"{sentence}: the shapes are {left.shape} and {right.shape}; {bound.shape} is right"
            )
        gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
        if not (gap <= bound).all():
            at = tuple(int(i) for i in np.unravel_index(int(np.argmax(~(gap <= bound))), gap.shape))
            raise Violated(
                f"{sentence}: at {list(at)} one side is {left[at]:.9g} and the other "
                f"{right[at]:.9g}; they may differ by {bound[at]:.2g}"
            )
