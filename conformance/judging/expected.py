"""Expected failures: a file of ``case  # beginning of the message  # url``, one per line.

An entry that passes, fails differently, or names a case that does not exist fails the run, so that
the file can never hide more than it says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.catalogue import all_cases
from conformance.judging.results import Run
from tsm_ref.errors import UsageError, WriteError
from tsm_ref.system.atomic import replace_file

FAILING = ("failed", "unsupported", "skipped")


@dataclass(frozen=True)
class Entry:
    """A case, how the message of its failure begins, and where it is tracked."""

    case: str
    prefix: str
    url: str = ""

    def line(self) -> str:
        """The entry as it stands in the file."""
        return f"{self.case}  # {self.prefix}  # {self.url}".rstrip("# ").rstrip()


@dataclass(frozen=True)
class Expectations:
    """The entries of one file."""

    entries: Sequence[Entry]

    def problems(self, run: Run) -> list[str]:
        """Every way in which a run is not what the file expects, one sentence each."""
        known = {case.id for case in all_cases()}
        results = {result.id: result for result in run.results}
        expected = {entry.case: entry for entry in self.entries}
        sentences = []
        for entry in self.entries:
            result = results.get(entry.case)
            if entry.case not in known:
                sentences.append(f"{entry.case} is expected to fail, and no such case exists")
            elif result and result.outcome not in FAILING:
                sentences.append(f"{entry.case} is expected to fail, and {result.outcome}")
            elif result and not result.message.startswith(entry.prefix):
                sentences.append(
                    f"{entry.case} is expected to fail with {entry.prefix!r}, and failed with "
                    f"{result.message!r}"
                )
        for result in run.results:
            gap = result.requirement == "MUST" and result.outcome in FAILING
            if (result.outcome == "failed" or gap) and result.id not in expected:
                sentences.append(f"{result.id} {result.outcome}, which is not expected")
        return sentences


def read(path: Path, *, missing_ok: bool = False) -> Expectations:
    """The expectations in a file; raises `UsageError` naming the line that cannot be read."""
    if missing_ok and not path.exists():
        return Expectations(())
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the expected failures {path}: {error}") from None
    entries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        case, *rest = [part.strip() for part in line.split("  # ")]
        if " " in case or len(rest) > 2:
            raise UsageError(
                f"{path}, line {number} (={line!r}) must be: case  # start of the message  # url"
            )
        entries.append(Entry(case, *rest) if rest else Entry(case, ""))
    return Expectations(entries)


def write(path: Path, run: Run, before: Expectations) -> None:
    """Rewrite the file so that it expects exactly what happened, keeping the urls.

    Entries of cases that were not run stay as they are.
    """
    urls = {entry.case: entry.url for entry in before.entries}
    not_run = {case.id for case in all_cases()} - {result.id for result in run.results}
    entries = [entry for entry in before.entries if entry.case in not_run]
    entries += [
        Entry(r.id, r.message[:60].replace("  # ", " "), urls.get(r.id, ""))
        for r in run.results
        if r.outcome == "failed" or (r.requirement == "MUST" and r.outcome in FAILING)
    ]
    text = "# case  # beginning of the message  # url\n"
    text += "".join(entry.line() + "\n" for entry in entries)
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise WriteError(f"cannot write the expected failures {path}: {error}") from None
