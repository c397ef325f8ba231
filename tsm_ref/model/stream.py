"""The streams of a model: what `tsm_ref.engine.stream` runs, with the profile and state files."""

import hashlib
from collections.abc import Callable
from os import PathLike
from typing import Any

from tsm_ref.checkpoint.hdf5.stream_state import load_state, save_state
from tsm_ref.engine.stream.stream import Stream
from tsm_ref.profile import Profile

__all__ = ["ModelStream"]


class ModelStream(Stream):
    """A `tsm_ref.engine.stream.stream.Stream` that knows its model: see `tsm_ref.Model.stream`.

    ``profile`` is what the results mean; it says so where the network was changed to look nowhere
    ahead. A state can be saved and loaded, by streams of the same network and weights only.
    """

    def __init__(self, profile: Profile, digest: Callable[[], str], *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._of_model = digest
        self.profile = profile
        if self.lookahead is not None:
            change = f"changed: looks nowhere ahead (lookahead={self.lookahead!r})"
            measured = f"{change}; unchanged it was: {profile.measured or 'not measured'}"
            self.profile = profile.with_changes(measured=measured)

    def __repr__(self) -> str:
        """One line: how many, how late, how far it sees."""
        return (
            f"<ModelStream of {self.n}: delay {self.delay}, "
            f"receptive field {self.receptive_field} frames, {self.profile.shift}>"
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the state to a file, whole or not at all; raises `WriteError`."""
        save_state(path, self.state, self.digest)

    def load(self, path: str | PathLike[str]) -> None:
        """Go on from a state that was saved; raises `CheckpointError` for one that does not fit."""
        self.state = load_state(path, self.state, self.digest)

    @property
    def digest(self) -> str:
        """The SHA-256 of everything that the state depends on: graph, weights, lookahead."""
        text = f"{self._of_model()} {self.lookahead}"
        return hashlib.sha256(text.encode()).hexdigest()
