"""A whole batch: what is left to do, the outcomes in order, and the files that it leaves."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tsm_ref.batch.cluster import outcomes_on
from tsm_ref.batch.journal import Journal
from tsm_ref.batch.lists import Clip
from tsm_ref.batch.outputs import as_csv, as_jsonl, file_names, make_folder
from tsm_ref.batch.recipe import Outcome, Recipe, stamp_of
from tsm_ref.batch.workers import outcomes
from tsm_ref.errors import UsageError
from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.show.files import write_file
from tsm_ref.system.atomic import is_device

__all__ = ["Targets", "run_batch"]


@dataclass(frozen=True)
class Targets:
    """Where the results go besides the screen; the journal stands beside the first file of them."""

    output_dir: str | None = None
    jsonl: str | None = None
    csv: str | None = None
    beside: str | None = None

    @property
    def journal(self) -> Path | None:
        """The journal of the run; None where nothing is written."""
        if self.output_dir is not None:
            return Path(self.output_dir, "journal.jsonl")
        files = (path for path in (self.jsonl, self.csv, self.beside) if path is not None)
        first = next((path for path in files if not is_device(path)), None)
        return None if first is None else Path(f"{first}.journal")

    def write(self, clips: Sequence[Clip], found: Sequence[Outcome]) -> None:
        """The files over all clips; raises `WriteError`."""
        if self.jsonl is not None:
            write_file(self.jsonl, as_jsonl(found))
        if self.csv is not None:
            write_file(self.csv, as_csv(found))


def run_batch(
    recipe: Recipe,
    clips: Sequence[Clip],
    targets: Targets | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    resume: bool = False,
    loaded: tuple[Model, Profile] | None = None,
    tell: Callable[[Outcome, bool], None] = lambda outcome, again: None,
) -> list[Outcome]:
    """Recognise every clip and write what `targets` ask for; returns the outcomes in order.

    ``tell`` hears of every outcome in the order of the clips, and whether it is from the run
    before. ``scheduler`` is the address of one of Dask, or "local". With `resume`, clips whose
    files are as they were then are not looked at again; those that failed are.

    Raises `UsageError` for a journal that belongs to another run, `WriteError`, and whatever is
    wrong with all clips alike, such as a model that labels nothing.
    """
    targets = targets or Targets()
    if resume and targets.journal is None:
        raise UsageError("--resume needs --output-dir, --jsonl, --csv or --report: none was given")
    model, profile = loaded or recipe.load()
    if targets.output_dir is not None:
        make_folder(targets.output_dir)
    settings = recipe.settings(model, profile)
    path = targets.journal
    with Journal(path, settings, resume=resume) if path else nullcontext() as journal:
        done = {} if journal is None else _still_true(clips, journal)
        rest = [clip for clip in clips if clip.path not in done]
        if scheduler is None:
            coming = outcomes(recipe, model, profile, rest, workers)
        else:
            coming = outcomes_on(scheduler, recipe, model, rest, workers)
        fresh = _kept(coming, journal)
        found = []
        names = file_names(clips, ".json")
        for outcome in _in_order(clips, done, fresh):
            if targets.output_dir is not None and outcome.result is not None:
                write_file(
                    os.path.join(targets.output_dir, names[outcome.path]),
                    json.dumps(outcome.result, indent=1, allow_nan=False) + "\n",
                )
            tell(outcome, outcome.path in done)
            found.append(outcome)
        targets.write(clips, found)
        if journal is not None:
            journal.finish()
    return found


def _still_true(clips: Iterable[Clip], journal: Journal) -> dict[str, Outcome]:
    """What the journal knows of these clips: recognised, and not changed since."""
    known = {clip.path: journal.done.get(clip.path) for clip in clips}
    return {
        path: outcome
        for path, outcome in known.items()
        if outcome is not None and outcome.result is not None and outcome.stamp == stamp_of(path)
    }


def _kept(found: Iterable[Outcome], journal: Journal | None) -> Iterator[Outcome]:
    for outcome in found:
        if journal is not None:
            journal.add(outcome)
        yield outcome


def _in_order(
    clips: Sequence[Clip], done: dict[str, Outcome], fresh: Iterable[Outcome]
) -> Iterator[Outcome]:
    """The outcomes in the order of the clips, whatever the order in which they are known."""
    ready = dict(done)
    coming = iter(fresh)
    for clip in clips:
        while clip.path not in ready:
            outcome = next(coming)
            ready[outcome.path] = outcome
        yield ready[clip.path]
