"""What is served: each model loaded once, and what a request may ask of it."""

import argparse
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsm_ref.batch import Recipe
from tsm_ref.command import number
from tsm_ref.errors import TsmError, UsageError
from tsm_ref.live import Inbox, Live
from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.recognition import recognize, sampled
from tsm_ref.recognition.asked import CROPS
from tsm_ref.recognition.render import as_tree
from tsm_ref.serve.work import Order, Ticket
from tsm_ref.video import SAMPLERS, Frame

__all__ = ["Served", "Shelf", "answer"]

Tree = dict[str, Any]
MOST_CLASSES = 1000
"""The most classes that an answer lists."""
POLICIES = (*SAMPLERS, "windows")


@dataclass(frozen=True)
class Served:
    """A model that is loaded, the recipe that it came from, and the profile that is followed."""

    recipe: Recipe
    model: Model
    profile: Profile

    @classmethod
    def load(cls, recipe: Recipe) -> "Served":
        """Load it, and show it some black frames, so that no request waits for kernels.

        Raises `CheckpointError` and `UsageError` as `Recipe.load`.
        """
        model, profile = recipe.load()
        made = cls(recipe, model, profile)
        black = np.zeros((profile.sampling.segments, 48, 64, 3), np.uint8)
        recognize(model, black, fps=8.0, profile=profile)
        if not made.no_stream:
            inbox = Inbox()
            inbox.put(Frame(0, 0.0, black[0]))
            inbox.end()
            deque(Live(model).run(inbox), maxlen=0)
        return made

    @property
    def no_stream(self) -> str:
        """Why it cannot stream; "" where it can."""
        try:
            Live(self.model)
        except TsmError as error:
            return str(error)
        return ""

    def described(self) -> Tree:
        """What ``/models`` says of it."""
        no_stream = self.no_stream
        return {
            "name": self.model.name,
            "sha256": self.model.sha256,
            "engine": self.model.engine.name,
            "precision": self.model.precision,
            "classes": list(self.model.labels),
            "segments": self.profile.sampling.segments,
            "sampling": self.profile.sampling.policy,
            "streams": not no_stream,
            **({"why_not": no_stream} if no_stream else {}),
            "warnings": list(self.model.warnings),
        }


class Shelf:
    """The models of a server by their names; the first one is for requests that name none.

    Raises `UsageError` for none, and for two of one name.
    """

    def __init__(self, served: Sequence[Served]) -> None:
        self._by_name = {each.model.name: each for each in served}
        if not served or len(self._by_name) < len(served):
            names = ", ".join(each.model.name for each in served) or "none"
            raise UsageError(f"models of different names are needed, and there are {names}")
        self.default = served[0].model.name

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_name.values())

    def get(self, name: str | None) -> Served:
        """A model by its name, which is never a path; raises `UsageError` for another."""
        found = self._by_name.get(name or self.default)
        if found is None:
            known = ", ".join(self._by_name)
            raise UsageError(f"there is no model {(name or '')[:80]!r} here: there are {known}")
        return found

    def order(self, asked: Mapping[str, str], path: str, name: str) -> Order:
        """What a request asks for, by the parameters of its address; raises `UsageError`."""
        served = self.get(asked.get("model"))
        sampling: Tree = {
            "policy": _one_of(asked, "sampling", POLICIES),
            "crops": _one_of(asked, "crops", tuple(map(str, CROPS))),
            "window": seconds(asked, "window"),
            "stride": seconds(asked, "stride"),
        }
        if sampling["crops"] is not None:
            sampling["crops"] = int(sampling["crops"])
        given = {key: value for key, value in sampling.items() if value is not None}
        top = whole(asked, "top", MOST_CLASSES) or served.recipe.top
        return Order(served.model.name, path, name, top, given)

    def check(self, order: Order) -> None:
        """See before a file is sent that its order can be meant; raises `UsageError`."""
        served = self.get(order.model)
        _look(served, order)


def answer(served: Served, order: Order, ticket: Ticket) -> Tree:
    """Recognise what an order names: the JSON of ``infer --json``; raises as `recognize`."""
    recipe = replace(served.recipe, top=order.top)
    profile = _look(served, order)
    result = recipe.recognize(served.model, profile, order.path, lambda done, total: ticket.check())
    tree = as_tree(result)
    tree["input"]["path"] = order.name.encode("utf-8", "backslashreplace").decode()
    return tree


def _look(served: Served, order: Order) -> Profile:
    return sampled(served.model.profile, **{**served.recipe.sampling, **order.sampling})


def whole(asked: Mapping[str, str], name: str, most: int) -> int | None:
    """A parameter that counts something; None where it was not given. Raises `UsageError`.

    >>> whole({"top": "3"}, "top", 10)
    3
    """
    text = asked.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise UsageError(f"`{name}` (={text[:20]!r}) must be a whole number of 1 to {most}")
    return int(text)


def seconds(asked: Mapping[str, str], name: str) -> float | None:
    """A parameter that measures something; None where it was not given. Raises `UsageError`."""
    try:
        return number(asked[name]) if name in asked else None
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"`{name}`: {error}") from None


def _one_of(asked: Mapping[str, str], name: str, choices: Sequence[str]) -> str | None:
    text = asked.get(name)
    if text is not None and text not in choices:
        raise UsageError(f"`{name}` (={text[:20]!r}) must be one of {', '.join(choices)}")
    return text
