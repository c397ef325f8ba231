"""The command ``tsm``: every command line of the package behind one name.

``tsm infer clip.mp4`` is ``python -m tsm_ref.infer clip.mp4``; what is no name of a command is for
``infer``, so ``python -m tsm_ref clip.mp4`` recognises a clip. ``./infer`` is a file of that name.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from tsm_ref.command import guarded, say
from tsm_ref.options import versions

COMMANDS: Mapping[str, tuple[str, str]] = {
    "infer": ("tsm_ref.infer", "videos in, labels out"),
    "evaluate": ("tsm_ref.evaluate", "the accuracy of a model on a list of clips with labels"),
    "fit-head": ("tsm_ref.fit_head", "a head for your own classes, from labelled clips"),
    "serve": ("tsm_ref.serve.__main__", "recognition over HTTP and WebSocket, and a page"),
    "explain": ("tsm_ref.explain", "draw what the shift does"),
    "convert": ("tsm_ref.convert", "any readable model file to HDF5, safetensors or ONNX"),
    "inspect": ("tsm_ref.inspect", "what a model file is, and who says so"),
    "bench": ("tsm_ref.bench.__main__", "speed beside other runtimes"),
    "warmup": ("tsm_ref.warmup", "compile the kernels before they are needed"),
    "conformance": ("conformance.__main__", "judge another implementation"),
}
"""What each command is called, where its `main` lives, and what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["-h"], ["--help"], []):
        return guarded(lambda: say(usage()))
    if given == ["--version"]:
        return guarded(lambda: say(versions()))
    name = given[0] if given[0] in COMMANDS else "infer"
    rest = given[1:] if given[0] in COMMANDS else given
    code: int = import_module(COMMANDS[name][0]).main(rest)
    return code


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
