"""The command line of the paper's measurements: ``python -m tsm_ref.bench paper``."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tsm_ref.bench import report
from tsm_ref.bench.paper import cost, moves, online
from tsm_ref.bench.paper.facts import PARTS
from tsm_ref.bench.paper.movement import movement
from tsm_ref.bench.paper.page import page, print_parts
from tsm_ref.bench.paper.plots import check_plots
from tsm_ref.bench.paper.rounds import pinned
from tsm_ref.bench.runs import default_cores
from tsm_ref.command import Parser, guarded, positive, say, tell
from tsm_ref.errors import UsageError, WriteError
from tsm_ref.options import add_version
from tsm_ref.show.files import write_file

__all__ = ["main", "parser"]

SCHEMA_VERSION = 1


def parser() -> Parser:
    """The options."""
    p = Parser(
        prog="python -m tsm_ref.bench paper",
        description="Makes the measurements of the paper on this machine: what the shift costs by "
        "the share of the channels, residual against in-place, offline against online, the cost of "
        "all networks, early recognition.",
    )
    p.add_argument(
        "--plot", type=Path, metavar="DIR",
        help="write paper.html, plots beside the paper's numbers, and paper.json into a folder",
    )  # fmt: skip
    p.add_argument(
        "--json", nargs="?", const="-", metavar="PATH",
        help="write a JSON document instead of the tables (to standard output)",
    )  # fmt: skip
    p.add_argument("--only", default=",".join(PARTS), help="comma-separated (%(default)s)")
    p.add_argument("--rounds", type=positive, default=5, help="timed calls of each (%(default)s)")
    p.add_argument("--threads", type=positive, default=1, help="of the engine (%(default)s)")
    p.add_argument(
        "--quick", action="store_true",
        help="small networks and two rounds: does it run? The times mean nothing",
    )  # fmt: skip
    add_version(p)
    return p


def main(arguments: Sequence[str]) -> int:
    """Make the measurements; returns the exit code."""
    return guarded(lambda: _main(parser().parse_args(arguments)))


def _main(options: argparse.Namespace) -> int:
    wanted = _parts(options.only)
    if options.plot is not None:
        check_plots()
        _make_folder(options.plot)
    if options.json not in (None, "-"):
        _check_folder(Path(options.json).parent, options.json)
    result = document(wanted, options.rounds, options.threads, quick=options.quick)
    text = report.to_json(result) + "\n"
    if options.plot is not None:
        write_file(options.plot / "paper.json", text)
        write_file(options.plot / "paper.html", page(result))
        tell(f"written: {options.plot / 'paper.html'}")
    if options.json == "-":
        say(text.rstrip())
    elif options.json is not None:
        write_file(options.json, text)
    else:
        print_parts(result)
    return 1 if any(row.get("failed") for rows in result["parts"].values() for row in rows) else 0


def document(wanted: Sequence[str], rounds: int, threads: int, *, quick: bool) -> dict[str, Any]:
    """Make the measurements by name; ``parts`` holds the rows of each, see `page.COLUMNS`."""
    rounds = min(rounds, 2) if quick else rounds
    cores = default_cores(threads)
    with pinned(cores):
        parts = _measured(wanted, rounds, threads, cores, quick)
    return {
        "schema": SCHEMA_VERSION,
        "paper": "arXiv 1811.08383",
        "machine": report.machine(None),
        "settings": {"rounds": rounds, "threads": threads, "cores": cores, "quick": quick},
        "parts": {name: parts[name] for name in PARTS if name in parts},
        "reported": {name: dict(PARTS[name].reported) for name in PARTS if name in parts},
    }


def _measured(
    wanted: Sequence[str], rounds: int, threads: int, cores: Sequence[int], quick: bool
) -> dict[str, list[dict[str, Any]]]:
    parts: dict[str, list[dict[str, Any]]] = {}
    if {"movement", "in-place"} & set(wanted):
        size = ("resnet18", 4, 64) if quick else ("resnet50", 8, 224)
        rows = movement(*size, rounds=rounds, threads=threads, tell=tell)
        parts["movement"] = [row for row in rows if row["way"] != "in-place"]
        compared = {row["proportion"] for row in rows if row["way"] == "in-place"}
        parts["in-place"] = [
            row for row in rows
            if row["way"] in ("fused", "in-place") and row["proportion"] in compared
        ]  # fmt: skip
    if "online" in wanted:
        parts["online"] = online.online(
            online.QUICK_KINDS if quick else online.KINDS,
            rounds=1 if quick else rounds, threads=threads, cores=cores,
            seconds=0.0 if quick else 1.0, tell=tell,
        )  # fmt: skip
    if "cost" in wanted:
        base, timed = ("resnet18", cost.QUICK) if quick else (cost.BASE, None)
        parts["cost"] = cost.costs(base, timed, rounds=rounds, threads=threads, tell=tell)
    if "early" in wanted:
        parts["early"] = moves.early(4 if quick else 50, threads=threads, tell=tell)
    return {name: rows for name, rows in parts.items() if name in wanted}


def _parts(text: str) -> list[str]:
    names = [name for name in dict.fromkeys(part.strip() for part in text.split(",")) if name]
    for name in names:
        if name not in PARTS:
            raise UsageError(f"there is no measurement {name!r}; known are {', '.join(PARTS)}")
    if not names:
        raise UsageError(f"there is nothing to measure: give some of {', '.join(PARTS)}")
    return names


def _make_folder(folder: Path) -> None:
    """Make the folder of the page, before anything is measured."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: the folder cannot be made: {error.strerror}") from None
    _check_folder(folder, folder)


def _check_folder(folder: Path, path: object) -> None:
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise WriteError(f"{path}: its folder is not there, or may not be written")
