"""What the command ``tsm`` can do: a table of command lines, and all their options as one parser.

The parser is for what has to know every option: the completion of shells, the pages of the manual.
"""

import argparse
from collections.abc import Mapping
from importlib import import_module

__all__ = ["COMMANDS", "PARTS", "every_option", "parser_of"]

COMMANDS: Mapping[str, tuple[str, str]] = {
    "infer": ("tsm_ref.infer", "videos in, labels out"),
    "evaluate": ("tsm_ref.evaluate", "the accuracy of a model on a list of clips with labels"),
    "fit-head": ("tsm_ref.fit_head", "a head for your own classes, from labelled clips"),
    "serve": ("tsm_ref.serve.__main__", "recognition over HTTP and WebSocket, and a page"),
    "quantize": ("tsm_ref.quantize", "whole numbers of 8 bits, calibrated on your clips"),
    "explain": ("tsm_ref.explain", "draw what the shift does"),
    "pulse": ("tsm_ref.pulse.__main__", "the pulse of a face in a video; no medical device"),
    "detect": ("tsm_ref.detect", "objects in a video, frame by frame"),
    "convert": ("tsm_ref.convert", "any readable model file to HDF5, safetensors or ONNX"),
    "inspect": ("tsm_ref.inspect", "what a model file is, and who says so"),
    "bench": ("tsm_ref.bench.__main__", "speed beside other runtimes"),
    "warmup": ("tsm_ref.warmup", "compile the kernels before they are needed"),
    "conformance": ("conformance.__main__", "judge another implementation"),
    "completion": ("tsm_ref.completion", "what bash, zsh or fish needs to complete all of this"),
}
"""What each command is called, where its `main` lives, and what it does."""

PARTS: Mapping[str, tuple[str, str]] = {
    "bench paper": ("tsm_ref.bench.paper.command", "the measurements of the paper, on this machine")
}
"""Parts of commands that have options of their own, in the same way."""


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one command, or of a part of one.

    >>> parser_of("inspect").prog
    'python -m tsm_ref.inspect'
    """
    made: argparse.ArgumentParser = import_module({**COMMANDS, **PARTS}[name][0]).parser()
    return made


def every_option() -> argparse.ArgumentParser:
    """One parser with a command for each of `COMMANDS`.

    >>> every_option().parse_args(["inspect", "camera-motion"]).source
    'camera-motion'
    """
    made = argparse.ArgumentParser(prog="tsm", description="Every command of tsm_ref.")
    made.add_argument("--version", action="store_true", help="versions, also of libraries")
    commands = made.add_subparsers(metavar="COMMAND")
    for name, (_, what) in COMMANDS.items():
        own = parser_of(name)
        own.prog = f"tsm {name}"
        commands.add_parser(name, help=what)
        commands.choices[name] = own
    return made
