"""The command ``tsm-conformance``: arguments in, exit code out, and nothing else.

0: the levels that were asked for are reached; 1: they are not; 2: a wrong request; 5: a report or
file that cannot be written; 70: the judge itself is broken (``TSM_DEBUG=1`` shows the traceback);
130: interrupted.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from conformance import commands
from conformance.testees.parse import KINDS
from tsm_ref.errors import TsmError
from tsm_ref.system.memory import peak, shown
from tsm_ref.system.terminal import ReaderGone, add_loudness, heed, is_verbose, tell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = parser().parse_args(argv)
    heed(arguments)
    begin = time.perf_counter()
    try:
        code: int = arguments.command(arguments)
        if is_verbose():
            tell(f"took {time.perf_counter() - begin:.2f} s, at most {shown(peak())}")
    except TsmError as error:
        if os.environ.get("TSM_DEBUG") == "1":
            raise
        if not isinstance(error, ReaderGone):
            tell(f"tsm-conformance: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if os.environ.get("TSM_DEBUG") == "1":
            raise
        words = f"a bug of the judge: {type(error).__name__}: {error}"
        tell(f"tsm-conformance: {words} (TSM_DEBUG=1 shows where)")
        return commands.JUDGE_BROKE
    finally:
        heed()
    return code


class _Parser(argparse.ArgumentParser):
    """Says in one printable line what is wrong."""

    def error(self, message: str) -> NoReturn:
        tell(f"{self.prog}: {message} (--help shows the options)")
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; every command has its own ``--help``."""
    p = _Parser(
        prog="tsm-conformance",
        description="Judge any implementation of the Temporal Shift Module.",
        epilog="exit codes: 0 what was asked for is reached, 1 it is not, 2 usage, 5 cannot write, "
        "70 a bug of the judge, 130 interrupted",
    )
    verbs = p.add_subparsers(required=True, metavar="COMMAND")
    run = verbs.add_parser("run", help="put the cases to a testee and say which level it reaches")
    _testee(run)
    _choice(run)
    run.add_argument("--report", metavar="DIR", help="write report.json, junit.xml, report.html")
    run.add_argument("--expected", metavar="FILE", help="failures that are known")
    run.add_argument("--fix", action="store_true", help="rewrite the file of expected failures")
    run.set_defaults(command=commands.run_command)

    ls = verbs.add_parser("list", help="list the cases")
    ls.add_argument("--level", default="all", metavar="LEVELS")
    ls.set_defaults(command=commands.list_command)

    explain = verbs.add_parser("explain", help="what a case checks, why, and how to reproduce it")
    explain.add_argument("case", metavar="CASE")
    explain.add_argument("--profile", default="mit")
    explain.add_argument("--seed", type=whole, default=0)
    explain.set_defaults(command=commands.explain_command)

    export = verbs.add_parser("export", help="write the questions to a folder, to be run anywhere")
    export.add_argument("folder", metavar="DIR")
    export.add_argument("--level", default="L3", metavar="LEVELS")
    export.add_argument("--profile", default="mit")
    export.add_argument("--seed", type=whole, default=0)
    export.add_argument("--format", choices=("npy", "onnx"), default="npy")
    export.set_defaults(command=commands.export_command)

    vectors = verbs.add_parser("vectors", help="write questions with right answers to one archive")
    vectors.add_argument("file", metavar="FILE.zip")
    vectors.add_argument("--level", default="L3,S,R", metavar="LEVELS")
    vectors.add_argument("--profile", default="mit")
    vectors.add_argument("--seed", type=whole, default=0)
    vectors.set_defaults(command=commands.vectors_command)

    judge = verbs.add_parser("judge", help="judge the answers in a folder that was exported")
    judge.add_argument("folder", metavar="DIR")
    judge.add_argument("--report", metavar="DIR")
    judge.set_defaults(command=commands.judge_command)

    badge = verbs.add_parser("badge", help="the verdict of a report as a badge: SVG or JSON")
    badge.add_argument("report", metavar="REPORT", help="a report.json, or the folder of one")
    badge.add_argument("file", metavar="FILE", help="badge.svg, or badge.json for shields.io")
    badge.set_defaults(command=commands.badge_command)

    compare = verbs.add_parser("compare", help="what changed from one report to another")
    compare.add_argument("before", metavar="A", help="a report.json, or the folder of one")
    compare.add_argument("after", metavar="B")
    compare.set_defaults(command=commands.compare_command)

    mutants = verbs.add_parser("mutants", help="judge the judge: wrong implementations must fail")
    mutants.add_argument("--level", default="all", metavar="LEVELS")
    mutants.add_argument("--output", metavar="FILE", help="write the kill matrix as JSON")
    mutants.add_argument("--names", action="store_true", help="how many are named, and how rightly")
    mutants.set_defaults(command=commands.mutants_command)
    for verb in verbs.choices.values():
        add_loudness(verb)
    return p


def _testee(p: argparse.ArgumentParser) -> None:
    p.add_argument("--testee", required=True, metavar="TESTEE", help=" ".join(KINDS.split()))
    p.add_argument("--profile", help="judge against this profile, whatever the testee declares")
    p.add_argument("--in-process", action="store_true", help="run py: and onnx: in this process")
    p.add_argument("--timeout", type=seconds, default=20.0, help="seconds per answer (default 20)")


def _choice(p: argparse.ArgumentParser) -> None:
    p.add_argument("--level", default="L3", metavar="LEVELS", help="L0 to L6, S, Q, R or all")
    p.add_argument("--case", action="append", default=[], metavar="ID", help="only these cases")
    p.add_argument("--seed", type=whole, default=0)
    p.add_argument(
        "--examples",
        type=whole,
        default=20,
        help="drawn examples per identity (default 20; 200 is thorough)",
    )


def whole(text: str) -> int:
    """An option that is a whole number, in plain digits.

    >>> whole("7")
    7
    """
    if not re.fullmatch("-?[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} must be a whole number of 0 to 999999999")
    return int(text)


def seconds(text: str) -> float:
    """An option that is a time in seconds, in plain digits."""
    if text.isascii() and len(text) <= 20 and "_" not in text:
        with suppress(ValueError):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text[:20]!r} must be a number of seconds")


if __name__ == "__main__":
    sys.exit(main())
