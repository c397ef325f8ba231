"""The features of many videos, and a folder that keeps them for a run that goes on."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsm_ref.batch.lists import Clip
from tsm_ref.batch.outputs import make_folder
from tsm_ref.batch.recipe import stamp_of
from tsm_ref.errors import TsmError, UsageError, WriteError
from tsm_ref.model import Model
from tsm_ref.profile import Profile
from tsm_ref.recognition import ClipFeatures, features_of
from tsm_ref.show.files import write_file

__all__ = ["Extractor"]

ARRAYS = ("frames", "start", "end", "indices", "times")


@dataclass(frozen=True)
class Extractor:
    """What is done with each video: the network up to a layer, and how its frames are sampled.

    In ``cache``, a folder, the features of every video are kept as they are made, so that a run
    that was cut off goes on; they are found again for the same file, network, layer and sampling.
    """

    model: Model
    profile: Profile
    layer: str | None = None
    allow_partial: bool = False
    cache: str | None = None

    def each(
        self, clips: Iterable[Clip], tell: Callable[[str, TsmError], None]
    ) -> Iterator[tuple[Clip, ClipFeatures | None]]:
        """Every video with its features, None where it cannot be read: ``tell`` hears why.

        Raises `WriteError` for a cache that cannot be written, and whatever is wrong with all
        videos alike.
        """
        if self.cache is not None:
            make_folder(self.cache)
        for clip in clips:
            try:
                yield clip, self._kept(clip.path)
            except (WriteError, UsageError):
                raise
            except TsmError as error:
                tell(clip.path, error)
                yield clip, None

    def _kept(self, path: str) -> ClipFeatures:
        """The features of one video, from the cache where they are there."""
        if self.cache is None:
            return self._made(path)
        file = Path(self.cache, f"{self._key(path)}.npz")
        with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            kept = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
            return ClipFeatures(path, str(kept["sha256"]), **{name: kept[name] for name in ARRAYS})
        made, buffer = self._made(path), io.BytesIO()
        arrays = {name: getattr(made, name) for name in (*ARRAYS, "sha256")}
        np.savez(buffer, **arrays)
        write_file(file, buffer.getvalue())
        return made

    def _made(self, path: str) -> ClipFeatures:
        return features_of(
            self.model,
            path,
            profile=self.profile,
            layer=self.layer,
            allow_partial=self.allow_partial,
        )

    def _key(self, path: str) -> str:
        """A digest of all that the features of a video depend on."""
        profile = self.profile.as_dict(labels=False)
        settings = {
            "path": os.path.abspath(path),
            "stamp": stamp_of(path),
            "model": self.model.digest(),
            "engine": self.model.engine.name,
            "precision": self.model.precision,
            "layer": self.layer,
            "sampling": profile["sampling"],
            "preprocess": profile["preprocess"],
            "allow_partial": self.allow_partial,
        }
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
