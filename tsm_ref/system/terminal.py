"""What reaches a terminal: text from files is shown as text, and nobody's escape sequences act.

Labels, names, notes and messages come out of files that strangers wrote, and out of programs that
are judged. A terminal obeys what it reads: it would move the cursor, change its title, or show
letters in another order. So all that is printed goes through `printable`: by `say` and `tell` on
the command lines.
"""

import argparse
import os
import re
import sys
from contextlib import suppress

from tsm_ref.errors import WriteError

__all__ = [
    "ReaderGone",
    "add_loudness",
    "heed",
    "is_quiet",
    "is_verbose",
    "printable",
    "say",
    "tell",
]

COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
"""The only sequences that a coloured line may have: those that rich writes."""

_ADDRESS = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/\s]*@)?(\S*)")
"""An address: its scheme, who asks, and the rest."""
_SECRET = re.compile(
    r"((?:pass|password|passwd|psw|pwd|token|secret|signature|sig|key|auth)=)[^&;/?\s]*",
    re.IGNORECASE,
)
"""A password or key that an address names behind its host, as those of cameras and signed links."""


_asked = argparse.Namespace()
"""What the command line of this process asked for; see `heed`."""


def add_loudness(parser: argparse.ArgumentParser) -> None:
    """Add ``-q`` and ``-v``, which every command line has: less on stderr, and more."""
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", action="store_true", help="no warnings, no progress")
    amount.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="more of each input or request, and the time and memory of all",
    )


def heed(options: argparse.Namespace | None = None) -> None:
    """From now on, say as much as these options ask for; as usual for None."""
    global _asked
    _asked = options or argparse.Namespace()


def is_quiet() -> bool:
    """Whether no warnings and no progress are to be told."""
    return bool(getattr(_asked, "quiet", False))


def is_verbose() -> bool:
    """Whether more is to be told than usual."""
    return bool(getattr(_asked, "verbose", False))


class ReaderGone(WriteError):
    """Nobody reads stdout any more, as after ``| head -1``: no reason to say anything."""


def printable(text: str) -> str:
    r"""Text from a file or a file name as a terminal may show it: what is not shown is escaped.

    That is every control character, line breaks among them, every mark that turns the direction of
    writing or has no width, and what no font has.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    >>> printable("caf\u00e9 \u202etxt.mp4")
    'café \\u202etxt.mp4'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(text: str, *, colour: bool = False) -> None:
    """Write a result to stdout at once; its lines are `printable`, or coloured by us as well.

    Raises `ReaderGone` where the reader has gone away, `WriteError` where it cannot be written.
    """
    lines = (_coloured(line) if colour else printable(line) for line in text.split("\n"))
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        encoding = sys.stdout.encoding or "utf-8"
        shown = "\n".join(lines).encode(encoding, "backslashreplace").decode(encoding)
        print(shown, flush=True)
    except OSError as error:
        _forget_stdout()
        kind = ReaderGone if isinstance(error, BrokenPipeError) else WriteError
        raise kind(f"cannot write to stdout: {error.strerror or error}") from None


def tell(text: str) -> None:
    """Write a message of one line to stderr; a message that nobody takes is no error.

    Where the command line asked for quiet (`heed`), what begins with "warning:" is not written.
    Names, passwords and keys that stand in an address are not said: messages end up in logs.
    """
    if is_quiet() and text.startswith("warning:"):
        return
    with suppress(OSError):
        if sys.stderr is not None:
            print(printable(_without_secrets(" ".join(text.split()))), file=sys.stderr, flush=True)


def _without_secrets(text: str) -> str:
    """The text without the names, passwords and keys in its addresses.

    >>> _without_secrets("rtsp://me:pw@camera/user=me&password=pw&channel=1 is gone")
    'rtsp://***@camera/user=me&password=***&channel=1 is gone'
    """

    def hidden(found: re.Match[str]) -> str:
        named = "***@" if found.end(1) < found.start(2) else ""
        return found[1] + named + _SECRET.sub(r"\1***", found[2])

    return _ADDRESS.sub(hidden, text)


def _coloured(line: str) -> str:
    parts = COLOUR.split(line)
    return "".join(part if i % 2 else printable(part) for i, part in enumerate(parts))


def _forget_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes stdout at its end."""
    with suppress(OSError, AttributeError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
