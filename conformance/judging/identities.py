"""Properties that hypothesis explores: draws questions for a testee, and shrinks what fails.

A property is a function of a `Dialogue`: it draws data, asks the testee, and calls `same` with what
must be equal. Without hypothesis the cases are skipped and say so.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.questions.arrays import Array
from conformance.questions.case import Call, Case, Setting
from conformance.testees.base import Outputs, Skipped, Testee, Unsupported


class Violated(AssertionError):
    """The identity does not hold for what was drawn; the message says where."""


class NotAnswered(Exception):
    """The testee does not offer what the identity needs."""


class Dialogue:
    """One example of a property: draws from hypothesis, and a testee that is asked."""

    def __init__(self, data: Any, testee: Testee, setting: Setting, timeout: float) -> None:
        self._data = data
        self._testee = testee
        self._timeout = timeout
        self.setting = setting
        self.calls: list[Call] = []

    @property
    def profile(self) -> Any:
        """The testee's profile."""
        return self.setting.profile

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
        """A clip with N from 1 to 3, T from 1 to 7 and a small picture."""
        C = self.integer(1, 3 * self.profile.fold_div) if channels is None else channels
        return self.array(
            self.integer(1, 3), C, self.integer(1, 7), self.integer(1, 3), self.integer(1, 3)
        )

    def ask(self, operation: str, inputs: Mapping[str, Array], **attributes: Any) -> Array:
        """The testee's answer, one array; `Violated` if it has none."""
        div = {"fold_div": self.profile.fold_div}
        call = Call(operation, inputs, attributes, div)
        self.calls.append(call)
        reply = self._testee.ask(call, self._timeout)
        if isinstance(reply, (Unsupported, Skipped)):
            raise NotAnswered(reply.message)
        if not isinstance(reply, Outputs):
            raise Violated(f"`{operation}` gave no output: {reply.message}")
        y = next(iter(reply.values.values()), None)
        if not isinstance(y, np.ndarray):
            raise Violated(f"`{operation}` gave {type(y).__name__}, not an array")
        return y

    def shift(self, x: Array) -> Array:
        """The testee's own shift."""
        return self.ask("temporal_shift", {"x": x}, fold_div=self.profile.fold_div)

    def same(self, left: Array, right: Array, sentence: str) -> None:
        """Require equal shapes and numbers."""
        if left.shape != right.shape:
            raise Violated(f"{sentence}: the shapes are {left.shape} and {right.shape}")
        if not np.array_equal(left, right):
            at = tuple(int(i) for i in np.unravel_index(int(np.argmax(left != right)), left.shape))
            raise Violated(
                f"{sentence}: at {list(at)} one side is {left[at]!s} and the other {right[at]!s}"
            )


def explore(case: Case, testee: Testee, options: Any) -> dict[str, Any]:
    """The fields of a `Result` for a property, from as many examples as the options say."""
    try:
        from hypothesis import HealthCheck, Phase, given, seed, settings
        from hypothesis import strategies as st
    except ImportError:
        return {
            "outcome": "skipped",
            "message": "hypothesis is not installed: pip install hypothesis",
        }
    from conformance.judging.runner import setting_of

    last: list[Dialogue] = []
    prop: Callable[[Dialogue], None] = case.interactive  # type: ignore[assignment]

    @seed(options.seed)
    @settings(
        max_examples=options.examples,
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.data())
    def examples(data: Any) -> None:
        dialogue = Dialogue(_Quiet(data), testee, setting_of(testee, options.seed), options.timeout)
        last[:] = [dialogue]
        prop(dialogue)

    try:
        examples()
    except NotAnswered as missing:
        return {"outcome": "unsupported", "message": str(missing)}
    except Violated as error:
        saved = _save(case, last[0], options)
        return {"outcome": "failed", "message": f"{error} ({_shapes(last[0])})", "diagnosis": saved}
    return {"outcome": "passed"}


class _Quiet:
    """Draws without the notes that hypothesis prints for a failing example."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def draw(self, strategy: Any) -> Any:
        return self._data.conjecture_data.draw(strategy)


def _shapes(dialogue: Dialogue) -> str:
    shapes = [f"{name} {x.shape}" for name, x in dialogue.calls[-1].inputs.items()]
    return "the smallest failing example has " + ", ".join(shapes)


def _save(case: Case, dialogue: Dialogue, options: Any) -> tuple[str, ...]:
    """Keep the shrunk example as a vector, where the run writes a report."""
    if options.vectors is None:
        return ()
    folder = Path(options.vectors)
    folder.mkdir(parents=True, exist_ok=True)
    call = dialogue.calls[-1]
    path = folder / f"{case.id}.npz"
    about = json.dumps(
        {
            "case": case.id,
            "seed": options.seed,
            "operation": call.operation,
            "attributes": dict(call.attributes),
            "inputs": list(call.inputs),
        }
    )
    arrays: dict[str, Any] = {f"input_{i}": x for i, x in enumerate(call.inputs.values())}
    np.savez_compressed(path, about=np.array(about), **arrays)
    return (f"the smallest failing example is kept in {path}",)
