"""The options that several command lines share: which model, what it means, and how it runs."""

import argparse
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tsm_ref import __version__
from tsm_ref.command import limit_blas, number, positive, say, size
from tsm_ref.errors import TsmError, UsageError, VideoError
from tsm_ref.system import isolated, memory, patience
from tsm_ref.system.terminal import heed, tell

if TYPE_CHECKING:  # imported late: the number of threads has to be set before NumPy is
    from tsm_ref.batch import Recipe
    from tsm_ref.model import Model

__all__ = [
    "add_engine",
    "add_facts",
    "add_flow",
    "add_limits",
    "add_model",
    "add_partial",
    "add_patience",
    "add_precision",
    "add_run",
    "add_sampling",
    "add_version",
    "by_option",
    "coloured",
    "facts_of",
    "limited",
    "load_model",
    "patient",
    "recipe_of",
    "versions",
]

LIBRARIES = ("numpy", "numba", "h5py", "onnx", "av", "rich", "safetensors")
"""The libraries whose versions are told."""

MODES = ("embedded_gaussian", "dot_product", "gaussian")


def add_model(
    made: argparse.ArgumentParser, default: str | None = "camera-motion", *, several: bool = False
) -> None:
    """Which model runs, and on what; with `several`, a list of them, or None for `default`."""
    add = made.add_argument
    add(
        "--model",
        action="append" if several else "store",
        default=None if several else default,
        required=default is None,
        metavar="NAME|PATH",
        help="a model that ships or is fetched (--list-models), or a model file"
        + (f"; default: {default}" if default else "")
        + ("; may be given several times" if several else ""),
    )
    add("--profile", metavar="NAME|FILE", help="what a model file means: mit, ..., or a .toml")
    add("--labels", metavar="FILE|NAME", help="its classes: one a line, CSV, JSON, kinetics400")
    add_engine(made)
    add_precision(made)
    add("--threads", type=positive, default=1, metavar="N", help="default: %(default)s")


def add_engine(made: argparse.ArgumentParser) -> None:
    """What computes."""
    made.add_argument("--engine", choices=("auto", "numba", "numpy", "loops"), default="auto")


def add_precision(made: argparse.ArgumentParser) -> None:
    """What convolutions multiply in."""
    told = "what convolutions multiply in; default: %(default)s"
    choices = ("float32", "bfloat16")
    made.add_argument("--precision", choices=choices, default="float32", help=told)


def add_sampling(made: argparse.ArgumentParser) -> None:
    """What the network sees of a video."""
    add = made.add_argument_group(
        "what the network sees, instead of what the model's profile says"
    ).add_argument
    policies = "uniform, twice, val, dense, mmaction2, paddle, windows"
    add("--sampling", metavar="POLICY", help=policies)
    add("--crops", type=positive, metavar="N", help="1, 3, 5 or 10 crops per frame")
    add("--window", type=number, metavar="S", help="sliding windows of S seconds")
    add("--stride", type=number, metavar="S", help="one every S seconds")


def add_flow(made: argparse.ArgumentParser) -> None:
    """What a network of optical flow sees, alone or beside one of pictures."""
    add = made.add_argument_group("optical flow").add_argument
    add(
        "--flow",
        metavar="HOW|DIR",
        help="tvl1, dis or farneback: computed by OpenCV; a folder of flow images; red-green",
    )
    add("--flow-model", metavar="NAME|PATH", help="a second network, of flow, beside --model")
    add(
        "--fusion",
        type=weights,
        metavar="W,W",
        help="weights of the scores of pictures and flow; default: 1,1",
    )


def weights(text: str) -> tuple[float, ...]:
    """An option of two numbers above 0, one for each stream.

    >>> weights("1,1.5")
    (1.0, 1.5)
    """
    parts = text.split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} must be two numbers, as 1,1.5")
    return tuple(number(part) for part in parts)


def add_partial(made: argparse.ArgumentParser) -> None:
    """What is done with a damaged video."""
    made.add_argument(
        "--allow-partial", action="store_true", help="use what decodes of a damaged video"
    )


def add_run(made: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Who does the work on many clips."""
    add = made.add_argument
    add("--workers", type=positive, default=1, metavar="N", help="processes side by side")
    add("--scheduler", metavar="ADDRESS", help="of Dask, as tcp://host:8786, or local")


def add_facts(made: argparse.ArgumentParser) -> None:
    """Single facts about the model, each on its own."""
    add = made.add_argument_group("single facts about the model, instead of its profile's")
    add.add_argument("--segments", type=positive, metavar="T", help="frames per clip")
    add.add_argument("--fold-div", type=positive, metavar="N", help="divisor of the shift")
    add.add_argument("--frame-depth", type=positive, metavar="N", help="frames of a TS-CAN shift")
    add.add_argument("--size", metavar="N|HxW", help="short side in pixels, or both")
    add.add_argument("--crop", metavar="N|HxW|none", help="what the network sees of that")
    add.add_argument("--mean", metavar="R,G,B", help="of pixels in 0..1, or in 0..255")
    add.add_argument("--std", metavar="R,G,B", help="in the same range")
    add.add_argument("--bgr", action=argparse.BooleanOptionalAction, help="blue first")
    add.add_argument("--average", choices=("logits", "probabilities"), help="over clips and crops")
    add.add_argument(
        "--multi-label",
        action=argparse.BooleanOptionalAction,
        help="a sigmoid for each class: several may hold",
    )
    add.add_argument("--threshold", type=number, metavar="P", help="from which on one does")
    add.add_argument("--strides", choices=("pytorch", "caffe"), help="of a bottleneck in a file")
    add.add_argument("--non-local", choices=MODES, help="mode of the non-local blocks in a file")
    add.add_argument("--weights", metavar="NAME", help="which set of weights of a file: ema, ...")


def add_limits(made: argparse.ArgumentParser, *, videos: bool = True) -> None:
    """What files of strangers may do to us; those that are `videos` may not hang, either."""
    add = made.add_argument_group("files of strangers").add_argument
    add("--max-memory", type=size, metavar="SIZE", help="what one run may take, such as 8G")
    add("--isolate", action="store_true", help="read them in a process that may be lost")
    if videos:
        add_patience(add)


def add_patience(add: Callable[..., Any]) -> None:
    """How long a decoder may hang."""
    add(
        "--patience",
        type=number,
        default=patience.LIMIT,
        metavar="S",
        help="seconds for one step of a decoder, then it is given up (default: 120)",
    )


@contextmanager
def patient(options: argparse.Namespace) -> Iterator[None]:
    """End this process, with one line, where a decoder hangs for longer than `add_patience`."""

    def end(said: str) -> None:
        tell(f"error: {said}")
        os._exit(VideoError.exit_code)

    patience.let(options.patience)
    stop = patience.watch(end)
    try:
        yield
    finally:
        stop()
        patience.let(patience.LIMIT)


def limited(
    options: argparse.Namespace, module: str, arguments: Sequence[str], kind: type[TsmError]
) -> int | None:
    """Heed the limits of `add_limits`: None, or the exit code of a child that did the work.

    Raises `kind` where the child did not end by itself.
    """
    if options.max_memory:
        memory.allow(options.max_memory)
    if not options.isolate:
        return None
    rest = [argument for argument in arguments if argument != "--isolate"]
    room = isolated.OVERHEAD + (options.max_memory or memory.available() // 2)
    code = isolated.run(module, rest, isolated.Limits(memory=room))
    heed()  # the child has said what there is to say of time and memory
    if said := isolated.ended(code):
        raise kind(f"the process that read the files {said}: one of them is not what it says")
    return code


def carried_out(
    made: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    module: str,
    kind: type[TsmError],
    work: Callable[[argparse.Namespace], None],
) -> int | None:
    """Parse a command line (that of the process for None) and do its work within its limits.

    Returns the exit code of a child that did the work, or None; errors name options. For `module`
    and `kind` see `limited`.
    """
    given = sys.argv[1:] if arguments is None else arguments
    options = made.parse_args(given)
    limit_blas(options.threads)
    code = limited(options, module, given, kind)
    if code is None:
        with by_option(made), patient(options):
            work(options)
    return code


def facts_of(options: argparse.Namespace) -> dict[str, Any]:
    """The facts that were given, by name."""
    from tsm_ref.checkpoint.facts import FILE_FACTS
    from tsm_ref.profile_files import FACTS

    given = {name: getattr(options, name, None) for name in (*FACTS, *FILE_FACTS)}
    return {name: value for name, value in given.items() if value is not None}


def add_version(made: argparse.ArgumentParser) -> None:
    """The version of the package, and of the libraries that its answers depend on."""
    made.add_argument("--version", action=_Version, nargs=0, help="versions, also of libraries")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *rest: object) -> None:
        say(versions())
        parser.exit()


def versions() -> str:
    """One line: tsm_ref, Python, and the libraries that are installed.

    >>> versions().split()[0]
    'tsm_ref'
    """
    found = []
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return f"tsm_ref {__version__} (Python {platform.python_version()}, {', '.join(found)})"


@contextmanager
def by_option(made: argparse.ArgumentParser) -> Iterator[None]:
    """Errors name the options of a command line, not the arguments of functions behind it."""
    known = {
        action.dest: action.option_strings[-1] for action in made._actions if action.option_strings
    }
    known |= {"policy": known.get("sampling", "`policy`")}
    try:
        yield
    except UsageError as error:
        error.args = (re.sub(r"`(\w+)`", lambda m: known.get(m[1], m[0]), str(error)),)
        raise


def coloured() -> bool:
    """Whether stdout takes colours: a terminal, unless ``NO_COLOR`` is set (no-color.org)."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    return on_terminal and not os.environ.get("NO_COLOR")


def recipe_of(options: argparse.Namespace) -> "Recipe":
    """What is done with each clip, as the options say; `load_model` for one that is sent."""
    from tsm_ref.batch import Recipe

    flow_model, fusion = getattr(options, "flow_model", None), getattr(options, "fusion", None)
    if fusion is not None and flow_model is None:
        raise UsageError("--fusion is for two networks: --flow-model names the second one")
    sampling = {
        name: getattr(options, option, None)
        for name, option in (
            *(("policy", "sampling"), ("crops", "crops")),
            *(("window", "window"), ("stride", "stride")),
        )
    }
    return Recipe(
        model=options.model,
        profile=options.profile,
        labels=options.labels,
        engine=options.engine,
        threads=options.threads,
        precision=options.precision,
        facts=facts_of(options),
        sampling={name: value for name, value in sampling.items() if value is not None},
        top=getattr(options, "top", 5),
        allow_partial=options.allow_partial,
        fps=getattr(options, "fps", None),
        flow=getattr(options, "flow", None),
        flow_model=flow_model,
        fusion=fusion or (1.0, 1.0),
    )


def load_model(options: argparse.Namespace) -> "Model":
    """The model that the options of `add_model` and `add_facts` describe.

    Raises `CheckpointError` and `UsageError` as `tsm_ref.load`.
    """
    return recipe_of(options).model_alone()
