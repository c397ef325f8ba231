"""``python -m conformance.adapters FOLDER``: judge the public implementations in a folder.

FOLDER holds a checkout of each repository under its own name; packages are those that are
installed. What is not there is left out, and the page says so.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from conformance.adapters.results import judge_all, page
from conformance.adapters.table import TABLE
from conformance.adapters.taking import SOURCES
from conformance.reports import write_text
from tsm_ref.errors import TsmError, UsageError
from tsm_ref.system.terminal import say, tell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m conformance.adapters", description=__doc__)
    p.add_argument("folder", metavar="FOLDER", type=Path)
    p.add_argument("--only", action="append", default=[], metavar="NAME")
    p.add_argument("--output", metavar="FILE", type=Path, help="write the page there")
    a = p.parse_args(argv)
    try:
        unknown = set(a.only) - {public.name for public in TABLE}
        if unknown:
            known = ", ".join(public.name for public in TABLE)
            raise UsageError(f"there is no implementation {sorted(unknown)[0]!r}; known: {known}")
        os.environ[SOURCES] = str(a.folder.resolve())
        text = page(judge_all(a.folder, a.only), date.today())
        if a.output is None:
            say(text)
        else:
            write_text(a.output, text)
    except TsmError as error:
        tell(f"conformance.adapters: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
