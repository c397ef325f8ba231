"""A batch on the screen: one line a clip, more on request, and how far it is on a terminal."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tsm_ref.batch.recipe import Outcome, Tree
from tsm_ref.command import printable, say, tell
from tsm_ref.show.cues import said

__all__ = ["Screen", "clip_progress", "headline"]

MOST_LABELS = 6
"""The most labels of a timeline that one line names."""


def headline(tree: Tree) -> str:
    """The label of a clip with its probability, or the labels one after the other, and its path.

    >>> best = {"label": "pan left", "probability": 0.987}
    >>> headline({"predictions": [best], "segments": [], "input": {"path": "a.mp4"}})
    'pan left (98.7%)  a.mp4'
    """
    labels = [printable(segment["label"]) for segment in tree["segments"]]
    whole = printable(said(tree))
    if len(labels) > 1 and "heads" not in tree:
        more = f", ... ({len(labels)} segments)" if len(labels) > MOST_LABELS else ""
        between = " | " if any(", " in label for label in labels) else ", "
        whole = between.join(labels[:MOST_LABELS]) + more
    return f"{whole}  {printable(tree['input']['path'])}"


def details(tree: Tree) -> Iterator[str]:
    """The other classes and the timeline of a clip, indented under its line."""
    for head, each in tree.get("heads", {"": tree}).items():
        name = f"{printable(head)}: " if head else ""
        for row in each["predictions"]:
            yield f"    {row['probability']:6.1%}  {name}{printable(row['label'])}"
    if len(tree["segments"]) > 1:
        for row in tree["segments"]:
            stretch = f"{row['start']:.2f} to {row['end']:.2f} s"
            yield f"    {stretch}  {printable(row['label'])} ({row['probability']:.1%})"


class Screen:
    """Shows outcomes as they come; use it in a ``with``.

    ``show`` is "lines", "details", "json" (the lines of JSON) or "nothing". On a terminal stderr
    says how many clips are done, how many a second, and how long the rest takes.
    """

    def __init__(self, total: int, show: str = "lines", *, quiet: bool = False):
        self._show, self._quiet, self._total = show, quiet, total
        self._bar: Any = None
        self._task: Any = None
        self.again, self._begin = 0, time.perf_counter()

    def __enter__(self) -> "Screen":
        if not self._quiet:
            self._bar = _bar(rate=True)
        if self._bar is not None:
            self._task = self._bar.add_task("clips", total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *caught: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, outcome: Outcome, again: bool) -> None:
        """One outcome; one that is from the run before is only counted."""
        self.again += again
        if not again:
            with self._paused():
                self._tell(outcome)
        if self._bar is not None:
            self._bar.advance(self._task)

    def summary(self, found: Sequence[Outcome]) -> str:
        """What the batch did, in one line."""
        good, fresh = sum(o.result is not None for o in found), len(found) - self.again
        seconds = time.perf_counter() - self._begin
        before = f", {self.again} of them before" if self.again else ""
        rate = f" ({fresh / seconds:.2f} a second)" if fresh else ""
        return f"{good} of {len(found)} videos recognised{before}, in {seconds:.1f} s{rate}"

    def _tell(self, outcome: Outcome) -> None:
        if outcome.result is None:
            tell(f"error: {outcome.path}: {outcome.error}")
            return
        if not self._quiet:
            for warning in outcome.result["warnings"]:
                tell(f"warning: {outcome.path}: {warning}")
        if self._show == "json":
            say(json.dumps(outcome.result, allow_nan=False))
        elif self._show != "nothing":
            lines = [headline(outcome.result)]
            lines += details(outcome.result) if self._show == "details" else []
            say("\n".join(lines))

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """The bar makes room for what is printed."""
        if self._bar is not None:
            self._bar.stop()
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.start()


def _bar(*, rate: bool) -> Any:
    """A bar of rich on stderr; None where that is no terminal, or rich is not installed."""
    try:
        from rich import progress
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return None
    console = Console(stderr=True)
    if not console.is_terminal:
        return None

    class Speed(progress.ProgressColumn):
        """Clips a second, once there is a first."""

        def render(self, task: progress.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None or not rate else f"{speed:.2f} a second")

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        Speed(),
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


@contextmanager
def clip_progress(path: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """How far one clip is, on a terminal; silence elsewhere."""
    bar = None if quiet else _bar(rate=False)
    if bar is None:
        yield lambda done, total: None
        return
    with bar:
        task = bar.add_task(printable(path), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
