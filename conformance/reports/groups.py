"""What belongs together in a report: failures that look alike, and gaps of one kind."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from conformance.judging.voting import KNOWN

T = TypeVar("T")

OUTCOMES = ("failed", "error", "unsupported", "skipped")
"""The outcomes that are described, in this order."""


def groups(results: Iterable[T], words: Callable[[T], tuple[Sequence[str], str]]) -> list[list[T]]:
    """Results that did not pass, those that say the same together; required ones come first.

    ``words`` gives the diagnosis and the message of a result. Failures are alike if they look like
    the same known mistake, or else if their messages differ in nothing but numbers.
    """
    found: dict[tuple[Any, ...], list[T]] = {}
    for result in results:
        outcome, requirement = _field(result, "outcome"), _field(result, "requirement")
        if outcome not in OUTCOMES:
            continue
        diagnosis, message = words(result)
        named = tuple(d for d in diagnosis if d.startswith(KNOWN))
        key = (OUTCOMES.index(outcome), requirement != "MUST", named or _shape(message))
        found.setdefault(key, []).append(result)
    return [found[key] for key in sorted(found, key=lambda key: key[:2])]


def _shape(message: str) -> str:
    """A message without its numbers and names."""
    return re.sub(r"-?\d[\d.e+-]*|\[[\d, ]*\]|`[^`]*`|'[^']*'", "#", message)


def _field(result: Any, name: str) -> Any:
    return result[name] if isinstance(result, dict) else getattr(result, name)
