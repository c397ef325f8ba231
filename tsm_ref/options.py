"""The options that several command lines share: which model, what it means, and how it runs."""

import argparse
from typing import TYPE_CHECKING

from tsm_ref.command import positive
from tsm_ref.errors import UsageError

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.model import Model

__all__ = ["add_facts", "add_model", "load_model"]


def add_model(made: argparse.ArgumentParser, default: str | None = "camera-motion") -> None:
    """Which model runs, and on what."""
    add = made.add_argument
    add(
        "--model",
        default=default,
        required=default is None,
        metavar="NAME|PATH",
        help="a model that ships or is fetched (--list-models), or a model file"
        + ("; default: %(default)s" if default else ""),
    )
    add("--profile", metavar="NAME|FILE", help="what a model file means: mit, ..., or a .toml")
    add("--labels", metavar="FILE|NAME", help="its classes: one a line, CSV, JSON, kinetics400")
    add("--engine", choices=("auto", "numpy", "numba"), default="auto")
    add("--threads", type=positive, default=1, metavar="N", help="default: %(default)s")


def add_facts(made: argparse.ArgumentParser) -> None:
    """Single facts about the model, each on its own."""
    add = made.add_argument_group("single facts about the model, instead of its profile's")
    add.add_argument("--segments", type=positive, metavar="T", help="frames per clip")
    add.add_argument("--fold-div", type=positive, metavar="N", help="divisor of the shift")
    add.add_argument("--size", metavar="N|HxW", help="short side in pixels, or both")
    add.add_argument("--crop", metavar="N|HxW|none", help="what the network sees of that")
    add.add_argument("--mean", metavar="R,G,B", help="of pixels in 0..1, or in 0..255")
    add.add_argument("--std", metavar="R,G,B", help="in the same range")
    add.add_argument("--bgr", action=argparse.BooleanOptionalAction, help="blue first")
    add.add_argument("--average", choices=("logits", "probabilities"), help="over clips and crops")


def load_model(options: argparse.Namespace) -> "Model":
    """The model that the options of `add_model` and `add_facts` describe.

    Raises `CheckpointError` and `UsageError` as `tsm_ref.load`.
    """
    from tsm_ref.model import load
    from tsm_ref.profile_files import FACTS

    facts = {name: getattr(options, name, None) for name in FACTS}
    try:
        return load(
            options.model,
            profile=options.profile,
            labels=options.labels,
            engine=options.engine,
            threads=options.threads,
            **{name: value for name, value in facts.items() if value is not None},
        )
    except UsageError as error:
        raise UsageError(str(error).replace("`labels`", "--labels")) from None
