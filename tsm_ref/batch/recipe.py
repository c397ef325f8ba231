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
from tsm_ref.recognition import (
    Recognition,
    as_json,
    check_classifies,
    check_streams,
    recognize,
    recognize_streams,
    sampled,
    sees_flow,
)
from tsm_ref.video import is_frames

__all__ = ["Outcome", "Recipe"]

Tree = dict[str, Any]
_SECOND: dict[tuple[str, str | None, str, int], Model] = {}
"""The networks of optical flow that this process has read."""


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

    ``flow`` says where the optical flow of a clip comes from (`tsm_ref.video.open_flow`); with
    ``flow_model`` a second network sees it, whose scores are joined with the others' by the weights
    ``fusion``. ``facts`` go to `tsm_ref.load`, ``sampling`` to `tsm_ref.recognition.sampled`;
    ``fps`` is the rate of frames that are pictures, and says nothing of videos.
    """

    model: str
    profile: str | None = None
    labels: str | None = None
    engine: str = "auto"
    threads: int = 1
    precision: str = "float32"
    facts: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    top: int = 5
    allow_partial: bool = False
    fps: float | None = None
    flow: str | None = None
    flow_model: str | None = None
    fusion: tuple[float, ...] = (1.0, 1.0)

    def load(self) -> tuple[Model, Profile]:
        """The model, and the profile that is followed; raises as `tsm_ref.load` and `sampled`."""
        model = self.model_alone()
        check_classifies(model)
        profile = sampled(model.profile, **self.sampling)
        if self.flow_model is not None:
            second = self._second()
            check_streams([model, second[0]], [profile, second[1]], self.fusion)
        elif self.flow is not None and not sees_flow(model):
            raise UsageError(
                f"`flow` (={self.flow!r}) is for a model of optical flow, and the model "
                f"{model.name!r} sees colours: `flow_model` names a second one"
            )
        return model, profile

    def _second(self) -> tuple[Model, Profile]:
        """The network of optical flow beside the other one, read once in each process."""
        key = (str(self.flow_model), self.labels, self.engine, self.threads)
        if key not in _SECOND:
            model = load(key[0], labels=self.labels, engine=self.engine, threads=self.threads)
            _SECOND[key] = model
        model = _SECOND[key]
        return model, sampled(model.profile, **self.sampling)

    def model_alone(self) -> Model:
        """The model, whatever it is for; raises as `tsm_ref.load`."""
        return load(
            self.model,
            profile=self.profile,
            labels=self.labels,
            engine=self.engine,
            threads=self.threads,
            precision=self.precision,
            **self.facts,
        )

    def settings(self, model: Model, profile: Profile) -> Tree:
        """All that the answers depend on, as plain values: equal settings give equal answers."""
        kept = profile.as_dict(labels=False)
        del kept["measured"]
        second: Tree = {}
        if self.flow_model is not None:
            flow, theirs = self._second()
            second = {
                "flow-model": flow.sha256,
                "flow-profile": theirs.as_dict(labels=False),
                "fusion": list(self.fusion),
            }
        return {
            **second,
            "model": model.sha256,
            "profile": kept,
            "labels": [*model.labels, *([list(pair) for pair in model.profile.heads])],
            "engine": model.engine.name,
            **({} if model.precision == "float32" else {"precision": model.precision}),
            "top": self.top,
            "allow-partial": self.allow_partial,
            "fps": self.fps,
            **({} if self.flow is None else {"flow": self.flow}),
        }

    def recognize(
        self,
        model: Model,
        profile: Profile,
        path: str,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Recognition:
        """One clip; raises as `tsm_ref.recognition.recognize`."""
        limits: Tree = {
            "top": self.top,
            "allow_partial": self.allow_partial,
            "fps": self.fps if is_frames(path) else None,
            "flow": self.flow,
            "progress": progress,
        }
        if self.flow_model is None:
            return recognize(model, path, profile=profile, **limits)
        flow, theirs = self._second()
        return recognize_streams(
            [model, flow], path, profiles=[profile, theirs], weights=self.fusion, **limits
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
