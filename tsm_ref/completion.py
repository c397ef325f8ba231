"""What a shell needs to complete the command ``tsm`` and all of its options.

``tsm completion bash`` prints it; ``eval "$(tsm completion bash)"`` in the file that the shell
reads at its start is all that there is to do. It is made from the options themselves, by shtab.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from tsm_ref.command import Parser, guarded, say
from tsm_ref.errors import MissingDependency
from tsm_ref.options import add_version
from tsm_ref.subcommands import every_option

__all__ = ["SHELLS", "main", "parser", "script"]

SHELLS = ("bash", "zsh", "fish")
FOLDERS = ("DIR",)
WORDS = ("N", "T", "K", "S", "C", "SIZE", "LABEL", "ADDRESS", "FPS", "WxH[@FPS]", "R,G,B", "POLICY")
"""What stands for something else than a path in the help of an option."""


def parser() -> argparse.ArgumentParser:
    """The options, as ``--help`` prints them."""
    made = Parser(
        prog="python -m tsm_ref.completion",
        description="Print what a shell needs to complete tsm: "
        'eval "$(tsm completion bash)", eval "$(tsm completion zsh)" behind compinit, or '
        "tsm completion fish | source",
        epilog="exit codes: 0 fine, 1 a bug of ours, 2 usage, 130 interrupted",
    )
    made.add_argument("shell", choices=SHELLS)
    add_version(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return guarded(lambda: say(script(parser().parse_args(arguments).shell)))


def script(shell: str) -> str:
    """The script for a shell of `SHELLS`; raises `MissingDependency` without shtab.

    >>> "--write-profile" in script("bash")
    True
    """
    try:
        shtab: Any = import_module("shtab")
    except ImportError:
        raise MissingDependency("shtab", "complete the words of a shell") from None
    whole = every_option()
    for action in _actions(whole):
        name = action.metavar if isinstance(action.metavar, str) else ""
        if action.choices is None and action.nargs != 0 and name and name not in WORDS:
            action.complete = shtab.DIRECTORY if name in FOLDERS else shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(whole, shell))


def _actions(made: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option of a parser and of its commands."""
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from _actions(own)
        else:
            yield action


if __name__ == "__main__":
    sys.exit(main())
