"""The child of a campaign: reads one spoiled file after another, and says what came of each.

``python -m tests.fuzz.child NAME SEED FIRST LAST FOLDER SECONDS``, under the limits of
`tsm_ref.system.isolated`. One line of JSON per file that ended other than well, one with the
counts at the end. Before each file its number is written to ``FOLDER/at``, so that the parent
knows which one ended the child.
"""

import json
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.fuzz.formats import FORMATS, mutant
from tsm_ref.errors import TsmError

LONGEST = 2000
"""The most characters of a sentence."""


class TooLong(BaseException):
    """The time for one file is up; not even ``except Exception`` may keep it."""


def outcome(name: str, path: Path, seconds: int) -> tuple[str, str]:
    """What came of one file, and where: read, refused, bug, memory, slow, or unreadable words."""
    signal.alarm(seconds)
    try:
        FORMATS[name].read(path)
        return "read", ""
    except TsmError as error:
        words = str(error)
        bad = not words.isprintable() or len(words) > LONGEST or error.exit_code not in (3, 4)
        return ("words", f"{type(error).__name__}: {words[:300]!r}") if bad else ("refused", "")
    except TooLong:
        return "slow", place()
    except MemoryError:
        return "memory", place()
    except Exception:
        return "bug", place()
    finally:
        signal.alarm(0)


def warm() -> None:
    """Compile what running a model compiles, before the time of a file counts."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for name in ("hdf5", "onnx"):
            for number, seed in enumerate(FORMATS[name].seeds()):
                path = Path(folder, f"{name}{number}{FORMATS[name].suffix}")
                path.write_bytes(seed)
                FORMATS[name].read(path)


def place() -> str:
    """The last lines of our own code in a traceback, and the error."""
    kind, error, trace = sys.exc_info()
    frames = traceback.extract_tb(trace)
    ours = [f for f in frames if "/tsm_ref/" in f.filename or "/conformance/" in f.filename]
    where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(ours[-3:]))
    return f"{kind.__name__ if kind else ''} at {where}: {str(error)[:200]}"


def _alarm(number: int, frame: FrameType | None) -> NoReturn:
    raise TooLong


def main() -> None:
    name, seed, first, last, folder, seconds = sys.argv[1:]
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    path = Path(folder, f"file{FORMATS[name].suffix}")
    if name == "registry":
        path = Path(folder, "registry.toml")
    warm()
    at = os.open(Path(folder, "at"), os.O_WRONLY | os.O_CREAT)
    for index in range(int(first), int(last)):
        os.pwrite(at, b"%20d" % index, 0)
        path.write_bytes(mutant(name, int(seed), index))
        what, where = outcome(name, path, int(seconds))
        counts[what] += 1
        if where:
            print(json.dumps({"index": index, "outcome": what, "where": where}), flush=True)
    print(json.dumps({"counts": counts}), flush=True)


if __name__ == "__main__":
    main()
