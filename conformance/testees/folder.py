"""A folder of answers as a testee: exported, run anywhere, and judged here.

``export`` writes the questions (see `vectors`); whoever answers them writes the outputs of call i
of a case to ``outputs/CASE/i/NAME.npy`` (or ``NAME.json``) and, to be judged by its own words, a
``testee.json`` like a program's reply to ``start``. A call that is refused is a file
``outputs/CASE/i/error.json`` with ``kind`` and ``message``.
"""

import json
from pathlib import Path
from typing import Any

from conformance.exchange.schemas import Invalid, check
from conformance.exchange.vectors import Manifest, read_manifest
from conformance.questions.case import Call
from conformance.questions.files import BadFile, inside, read_npy
from conformance.testees.base import NoReply, Outputs, Refused, Reply, Unsupported, declared
from conformance.testees.layouts import from_testee
from tsm_ref.errors import UsageError

MAX_JSON = 1 << 20


class Folder:
    """Answers that lie in a folder, found by the questions that were exported to it."""

    def __init__(self, folder: Path, profile: str | None = None) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        told: Any = {"name": folder.resolve().name}
        if (folder / "testee.json").is_file():
            told = _json(folder / "testee.json")
        if isinstance(told, dict):
            told = {"profile": self.manifest.profile, **told}
        self.declaration = declared(told, profile)
        self._asked: dict[str, int] = {}

    @property
    def seed(self) -> int:
        """The seed that the questions were made from."""
        return self.manifest.seed

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that were exported."""
        return self.manifest.levels

    def ask(self, call: Call, timeout: float) -> Reply:
        """The answer that lies where the question was exported to."""
        place = self.manifest.find(call)
        if place is None:
            return Unsupported("this question was not exported to the folder")
        folder = self.folder / "outputs" / place
        if not folder.is_dir():
            return Unsupported(f"there is no answer in outputs/{place}")
        try:
            return from_testee(call, self._read(folder), self.declaration.layout_of(call.operation))
        except (BadFile, UsageError, OSError) as error:
            return NoReply(str(error))

    def close(self) -> None:
        """Nothing was started."""

    def _read(self, folder: Path) -> Reply:
        values: dict[str, Any] = {}
        for path in sorted(folder.iterdir()):
            file = inside(folder, path.name)
            if path.suffix == ".npy":
                values[path.stem] = read_npy(file)
            elif path.suffix == ".json":
                values[path.stem] = _json(file)
        if "error" in values:
            try:
                check("run_reply", {"id": 0, "error": values["error"]})
            except Invalid as error:
                raise BadFile(f"error.json is not as the schema says: {error}") from None
            told = values["error"]
            if told["kind"] == "unsupported":
                return Unsupported(told["message"])
            return Refused(told["kind"], told["message"])
        return Outputs(values)


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_JSON:
            raise BadFile(f"the file {path.name} is larger than {MAX_JSON} bytes")
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, BadFile):
            raise
        raise UsageError(f"{path} is no JSON file: {error}") from None
