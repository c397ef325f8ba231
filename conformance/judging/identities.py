"""Properties that hypothesis explores: draws questions for a testee, and shrinks what fails.

Without hypothesis the cases are skipped and say so.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from conformance.judging.results import Options
from conformance.questions.case import Call, Case, Setting
from conformance.questions.dialogue import MAX_PLAIN, Dialogue, Violated
from conformance.testees.base import Outputs, Skipped, Testee, Unsupported


class NotAnswered(Exception):
    """The testee does not offer what the identity needs."""


def explore(case: Case, testee: Testee, setting: Setting, options: Options) -> dict[str, Any]:
    """The fields of a `Result` for a property, from as many examples as the options say."""
    try:
        from hypothesis import HealthCheck, Phase, given, seed, settings
        from hypothesis import strategies as st
        from hypothesis.errors import Flaky
    except ImportError:
        return {
            "outcome": "skipped",
            "message": "hypothesis is not installed: pip install hypothesis",
        }
    last: list[Dialogue] = []
    violations: list[str] = []
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
        thorough = options.examples > MAX_PLAIN
        dialogue = Dialogue(_Quiet(data), _answers(testee, options.timeout), setting, thorough)
        last[:] = [dialogue]
        try:
            prop(dialogue)
        except Violated as error:
            violations[:] = [str(error)]
            raise

    try:
        examples()
    except NotAnswered as missing:
        return {"outcome": "unsupported", "message": str(missing)}
    except Violated as error:
        saved = _save(case, last[0], options)
        return {"outcome": "failed", "message": f"{error} ({_shapes(last[0])})", "diagnosis": saved}
    except Flaky:
        seen = violations[0] if violations else "the testee answered once and then did not"
        return {"outcome": "failed", "message": f"{TWO_ANSWERS}: {seen}; asked again it holds"}
    return {"outcome": "passed"}


TWO_ANSWERS = "two answers to one question"
"""How a sentence about a testee that is not deterministic begins."""


def _answers(testee: Testee, timeout: float) -> Callable[[Call], Any]:
    """The testee as a function from calls to arrays, for a dialogue."""

    def answer(call: Call) -> Any:
        reply = testee.ask(call, timeout)
        if isinstance(reply, (Unsupported, Skipped)):
            raise NotAnswered(reply.message)
        if not isinstance(reply, Outputs):
            raise Violated(f"`{call.operation}` gave no output: {reply.message}")
        return next(iter(reply.values.values()), None)

    return answer


class _Quiet:
    """Draws without the notes that hypothesis prints for a failing example."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def draw(self, strategy: Any) -> Any:
        return self._data.conjecture_data.draw(strategy)


def _shapes(dialogue: Dialogue) -> str:
    shapes = [f"{name} {x.shape}" for name, x in dialogue.calls[-1].inputs.items()]
    return "the smallest failing example has " + ", ".join(shapes)


def _save(case: Case, dialogue: Dialogue, options: Options) -> tuple[str, ...]:
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
