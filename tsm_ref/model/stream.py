"""The streams of a model: what `tsm_ref.engine.stream` runs, with the profile and state files."""

import hashlib
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from numpy.typing import NDArray

from tsm_ref.checkpoint.hdf5.stream_state import load_state, save_state
from tsm_ref.engine.stream.stream import Outputs, Stream
from tsm_ref.errors import UsageError
from tsm_ref.model.described import as_html
from tsm_ref.profile import Profile

__all__ = ["ModelStream"]

Array = NDArray[Any]


class ModelStream(Stream):
    """A `tsm_ref.engine.stream.stream.Stream` that knows its model: see `tsm_ref.Model.stream`.

    ``profile`` is what the results mean; it says so where the network was changed to look nowhere
    ahead. A state can be saved and loaded, by streams of the same network and weights only.

    ``layer`` is empty for a stream of logits, "features" for one of what the head reads, and else
    the layer whose features are given; ``of_features`` makes one of features like this one.
    """

    def __init__(
        self,
        profile: Profile,
        digest: Callable[[], str],
        *args: Any,
        layer: str = "",
        of_features: Callable[[], "ModelStream"] | None = None,
        **options: Any,
    ):
        super().__init__(*args, **options)
        self._of_model, self._of_features = digest, of_features
        self.layer = layer
        self.profile = profile
        if self.lookahead is not None:
            change = f"changed: looks nowhere ahead (lookahead={self.lookahead!r})"
            measured = f"{change}; unchanged it was: {profile.measured or 'not measured'}"
            self.profile = profile.with_changes(measured=measured)

    def __repr__(self) -> str:
        """One line: how many, how late, how far it sees."""
        layer = f", {self.layer}" if self.layer else ""
        return (
            f"<ModelStream of {self.n}{layer}: delay {self.delay}, "
            f"receptive field {self.receptive_field} frames, {self.profile.shift}>"
        )

    def _repr_html_(self) -> str:
        """The same as a table, as notebooks show it."""
        facts = {
            "streams": f"{self.n}",
            "gives": self.layer or "logits",
            "delay": f"{self.delay} frames",
            "receptive field": f"{self.receptive_field} frames",
            "shift": f"{self.profile.shift}",
        }
        return as_html("ModelStream", facts)

    def features(self, frame: Array | Mapping[str, Array]) -> Outputs | None:
        """Give every stream one frame, as `step`: the features (N, D) of that `delay` frames ago.

        A stream that has not begun becomes one of features by the first call, so that `step`,
        `steps` and `flush` give features too; they equal `tsm_ref.Model.features` of the whole
        clip, bit for bit on the Numba engine.

        Raises `UsageError` for a stream that was given frames for its logits, and as `step`.
        """
        if not self.layer:
            if self.frames.any() or self.ended.any() or self._of_features is None:
                raise UsageError(
                    "this stream gives logits and has begun: model.stream(features=True) gives "
                    "features"
                )
            self.__dict__.update(self._of_features().__dict__)
        return self.step(frame)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the state to a file, whole or not at all; raises `WriteError`."""
        save_state(path, self.state, self.digest)

    def load(self, path: str | PathLike[str]) -> None:
        """Go on from a state that was saved; raises `CheckpointError` for one that does not fit."""
        self.state = load_state(path, self.state, self.digest)

    @property
    def digest(self) -> str:
        """The SHA-256 of everything that the state depends on: graph, weights, lookahead."""
        text = f"{self._of_model()} {self.lookahead}" + (f" {self.layer}" if self.layer else "")
        return hashlib.sha256(text.encode()).hexdigest()
