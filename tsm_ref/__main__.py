"""The command ``tsm``: every command line of the package behind one name.

``tsm infer clip.mp4`` is ``python -m tsm_ref.infer clip.mp4``; what is no name of a command is for
``infer``, so ``python -m tsm_ref clip.mp4`` recognises a clip. ``./infer`` is a file of that name.
"""

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from tsm_ref.command import guarded, say
from tsm_ref.errors import UsageError
from tsm_ref.options import versions
from tsm_ref.subcommands import COMMANDS

LIKE = 0.8
"""How much of a word is that of a command, from 0 to 1, for it to be one misspelt."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["-h"], ["--help"], []):
        return guarded(lambda: say(usage()))
    if given == ["--version"]:
        return guarded(lambda: say(versions()))
    if meant := _misspelt(given[0]):
        return guarded(lambda: _refuse(given[0], meant))
    name = given[0] if given[0] in COMMANDS else "infer"
    rest = given[1:] if given[0] in COMMANDS else given
    code: int = import_module(COMMANDS[name][0]).main(rest)
    return code


def _misspelt(word: str) -> str:
    """The command that a word is nearly the name of, if there is no file of that name."""
    if word in COMMANDS or not word.replace("-", "").isalpha() or Path(word).exists():
        return ""
    return next(iter(get_close_matches(word, COMMANDS, 1, LIKE)), "")


def _refuse(word: str, meant: str) -> None:
    raise UsageError(f"there is no command and no file {word!r}; the nearest command is {meant!r}")


def usage() -> str:
    """What there is, a line for each.

    >>> usage().splitlines()[0]
    'usage: tsm [COMMAND] ...'
    """
    width = max(len(name) for name in COMMANDS)
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: tsm [COMMAND] ...",
            "",
            "commands (infer unless one is named):",
            *lines,
            "",
            "tsm COMMAND --help shows the options of one, tsm --version the versions of libraries",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
