"""The standing campaign: ``python -m tests.fuzz --minutes N --seed S``.

Every format takes its turn: a child under limits reads a batch of spoiled files, and another one
goes on behind a file that ended it. What ends other than read or refused is a finding: its file and
where it happened are saved, one per place. The table at the end counts outcomes by format. The same
seed gives the same files.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.formats import FORMATS, mutant, usable
from tsm_ref.system.isolated import Limits, command, ended

OUTCOMES = ("read", "refused", "words", "bug", "memory", "slow", "crash")
GOOD = ("read", "refused")


@dataclass
class Campaign:
    """What to do, and what has come of it."""

    seed: int
    findings: Path
    batch: int = 500
    seconds: int = 5
    memory: int = 3 << 30
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    places: dict[tuple[str, str, str], int] = field(default_factory=dict)
    next: Counter[str] = field(default_factory=Counter)

    def turn(self, name: str) -> None:
        """One batch of one format."""
        first = self.next[name]
        last = self.next[name] = first + self.batch
        counts = self.counts.setdefault(name, Counter())
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            while first < last:
                first = self._child(name, first, last, Path(folder), counts)

    def _child(self, name: str, first: int, last: int, folder: Path, counts: Counter[str]) -> int:
        """Run one child from a file on; returns where the next one goes on."""
        limits = Limits(self.memory, 60 + self.seconds * (last - first))
        arguments = [name, str(self.seed), str(first), str(last), str(folder), str(self.seconds)]
        (folder / "at").write_bytes(b"%20d" % first)
        done, late = _ran(command("tests.fuzz.child", arguments, limits), self.seconds)
        told = Counter[str]()
        for line in _lines(done.stdout):
            if "counts" in line:
                counts.update(line["counts"])
                return last
            told[line["outcome"]] += 1
            self._found(name, line["index"], line["outcome"], line["where"])
        at = int((folder / "at").read_bytes())
        counts.update(told)
        counts["refused"] += at - first - told.total()  # or read: it did not live to tell
        what = "slow" if late else "crash"
        counts[what] += 1
        end = ended(done.returncode) or f"exit code {done.returncode}"
        self._found(name, at, what, f"{end}: {done.stderr.strip().splitlines()[-1:]}")
        return at + 1

    def _found(self, name: str, index: int, what: str, where: str) -> None:
        key = name, what, where.partition(": ")[0] if what != "words" else where[:60]
        self.places[key] = self.places.get(key, 0) + 1
        if self.places[key] > 1:
            return
        self.findings.mkdir(parents=True, exist_ok=True)
        stem = f"{name.replace('.', '-')}-{what}-{self.seed}-{index}"
        path = self.findings / f"{stem}{FORMATS[name].suffix}"
        path.write_bytes(mutant(name, self.seed, index))
        path.with_name(f"{stem}.txt").write_text(f"{where}\n")
        print(f"{name} {index} {what}: {where}", file=sys.stderr, flush=True)

    def table(self) -> Iterator[str]:
        """The counts by format and outcome."""
        yield f"{'format':14}" + "".join(f"{outcome:>10}" for outcome in (*OUTCOMES, "all"))
        total = Counter[str]()
        for name, counts in self.counts.items():
            total.update(counts)
            yield _row(name, counts)
        yield _row("all", total)


def _row(name: str, counts: Counter[str]) -> str:
    cells = [*(counts[outcome] for outcome in OUTCOMES), counts.total()]
    return f"{name:14}" + "".join(f"{cell:10}" for cell in cells)


def _ran(arguments: Sequence[str], seconds: int) -> tuple[subprocess.CompletedProcess[str], bool]:
    """A finished child, and whether it had to be ended."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with subprocess.Popen(arguments, stdout=out, stderr=err) as child:
            late = _watched(child, seconds, Path(arguments[-2], "at"))
        for file in (out, err):
            file.seek(0)
        done = subprocess.CompletedProcess(arguments, child.returncode, out.read(), err.read())
        return done, late


def _watched(child: "subprocess.Popen[bytes]", seconds: int, at: Path) -> bool:
    """Wait for a child that goes on from file to file; end one that stays at the same."""
    seen, since = b"", time.monotonic()
    while True:
        try:
            child.wait(1)
            return False
        except subprocess.TimeoutExpired:
            now = at.read_bytes()
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > 60 + 3 * seconds:
                child.kill()
                child.wait()
                return True


def _lines(text: str) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign; 0 where nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=500, help="files per child")
    parser.add_argument("--files", type=int, help="stop after so many files, too")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), metavar="FOLDER")
    options = parser.parse_args(arguments)
    campaign = Campaign(options.seed, options.findings, options.batch)
    names = [name for name in options.formats if usable(name)]
    end = time.monotonic() + 60 * options.minutes
    done = 0
    try:
        while names and time.monotonic() < end:
            for name in names:
                if time.monotonic() >= end or (options.files and done >= options.files):
                    names = []
                    break
                campaign.turn(name)
                done += options.batch
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    print("\n".join(campaign.table()))
    for (name, what, where), count in sorted(campaign.places.items()):
        print(f"{count:7}  {name} {what}: {where}")
    return 1 if campaign.places else 0


if __name__ == "__main__":
    sys.exit(main())
