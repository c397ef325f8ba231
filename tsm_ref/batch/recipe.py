"""What is done with each clip, written down so that another process does exactly the same."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tsm_ref.batch.lists import Clip
from tsm_ref.errors import TsmError, UsageError, WriteError
from tsm_ref.model import Model, load
from tsm_ref.profile import Profile
from tsm_ref.recognition import Recognition, as_json, check_classifies, recognize, sampled
from tsm_ref.video import is_frames

__all__ = ["Outcome", "Recipe"]

Tree = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of one clip: the JSON of its recognition, or the sentence and code of its error.

    ``stamp`` is the size and the time of the last change of the file, when it was recognised.
    """

    path: str
    stamp: tuple[int, int]
    result: Tree | None = None
    error: str = ""
    code: int = 0


@dataclass(frozen=True)
class Recipe:
    """Which model, what it means, and how a clip is looked at; plain values that can be sent.

    ``facts`` go to `tsm_ref.load`, ``sampling`` to `tsm_ref.recognition.sampled`; ``fps`` is the
    rate of frames that are pictures, and says nothing of videos.
    """

    model: str
    profile: str | None = None
    labels: str | None = None
    engine: str = "auto"
    threads: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    top: int = 5
    allow_partial: bool = False
    fps: float | None = None

    def load(self) -> tuple[Model, Profile]:
        """The model, and the profile that is followed; raises as `tsm_ref.load` and `sampled`."""
        model = self.model_alone()
        check_classifies(model)
        return model, sampled(model.profile, **self.sampling)

    def model_alone(self) -> Model:
        """The model, whatever it is for; raises as `tsm_ref.load`."""
        return load(
            self.model,
            profile=self.profile,
            labels=self.labels,
            engine=self.engine,
            threads=self.threads,
            **self.facts,
        )

    def settings(self, model: Model, profile: Profile) -> Tree:
        """All that the answers depend on, as plain values: equal settings give equal answers."""
        kept = profile.as_dict(labels=False)
        del kept["measured"]
        return {
            "model": model.sha256,
            "profile": kept,
            "labels": [*model.labels, *([list(pair) for pair in model.profile.heads])],
            "engine": model.engine.name,
            "top": self.top,
            "allow-partial": self.allow_partial,
            "fps": self.fps,
        }

    def recognize(
        self,
        model: Model,
        profile: Profile,
        path: str,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Recognition:
        """One clip; raises as `tsm_ref.recognition.recognize`."""
        return recognize(
            model,
            path,
            profile=profile,
            top=self.top,
            allow_partial=self.allow_partial,
            fps=self.fps if is_frames(path) else None,
            progress=progress,
        )

    def outcome(self, model: Model, profile: Profile, clip: Clip) -> Outcome:
        """What comes of one clip. What is wrong with all of them is raised, not kept."""
        before = stamp_of(clip.path)
        try:
            tree = json.loads(as_json(self.recognize(model, profile, clip.path)))
        except (WriteError, UsageError):
            raise
        except TsmError as error:
            return Outcome(clip.path, before, error=str(error), code=error.exit_code)
        except Exception as error:  # one clip of thousands must not end the others
            said = f"a bug of ours, please report it: {type(error).__name__}: {error}"
            return Outcome(clip.path, before, error=said, code=1)
        return Outcome(clip.path, before, result=tree)

    def alone(self) -> "Recipe":
        """The same for one of several processes, which share the cores among them."""
        return replace(self, threads=1)


def stamp_of(path: str) -> tuple[int, int]:
    """Size and time of the last change, of a pattern those of its folder; zeros without either.

    >>> stamp_of("no/such/file")
    (0, 0)
    """
    try:
        pattern = is_frames(path) and not os.path.isdir(path)
        found = os.stat((os.path.dirname(path) or ".") if pattern else path)
    except (OSError, ValueError):
        return 0, 0
    return found.st_size, found.st_mtime_ns
