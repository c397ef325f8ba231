"""The command line of the benchmark: ``python -m tsm_ref.bench``."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tsm_ref.bench import clips, latency, precisions, report, roofline
from tsm_ref.bench.ours import OURS
from tsm_ref.bench.own import own_model
from tsm_ref.bench.paper import command as paper
from tsm_ref.bench.peers import PEERS, installed
from tsm_ref.bench.runs import Settings, default_cores, figures, measure_all
from tsm_ref.bench.workloads import OWN, SMOKE, WORKLOADS, workload
from tsm_ref.command import Parser, guarded, positive, say, tell
from tsm_ref.errors import UsageError, VideoError, WriteError
from tsm_ref.options import add_version
from tsm_ref.system.atomic import final_target, replace_file

MOST_SECONDS = 300
"""The longest that a round may be timed; a worker that answers nothing for longer has died."""


def parser() -> Parser:
    """The options."""
    p = Parser(
        prog="python -m tsm_ref.bench",
        description="Times our engines beside other runtimes, in interleaved rounds of processes "
        "pinned to the same cores. Only the ratios within one run mean anything.",
        epilog="python -m tsm_ref.bench paper makes the measurements of the paper; --help there",
    )
    p.add_argument("own", nargs="*", metavar="MODEL", help="model files of your own, instead")
    p.add_argument("--profile", metavar="NAME|FILE", help="what they mean, where they do not say")
    p.add_argument("--online", action="store_true", help="time them one frame at a time")
    p.add_argument("--models", default=",".join(WORKLOADS), help="comma-separated (%(default)s)")
    p.add_argument("--engines", default=",".join(OURS), help="ours to time (%(default)s)")
    p.add_argument(
        "--peers", default="auto",
        help=f"auto: those installed; none; or some of {','.join(PEERS)} (%(default)s)",
    )  # fmt: skip
    p.add_argument(
        "--rounds", type=positive, default=3, help="processes of each pair (%(default)s)"
    )
    p.add_argument(
        "--runs", type=positive, default=5, help="least timed calls a round (%(default)s)"
    )
    p.add_argument("--seconds", type=_seconds, default=1.0, help="or as many as fit (%(default)s)")
    p.add_argument(
        "--threads", type=positive, default=1, help="threads of every engine (%(default)s)"
    )
    p.add_argument("--cores", help="cores to pin to, comma-separated (as many as threads)")
    p.add_argument("--per-layer", action="store_true", help="times per layer of the Numba engine")
    p.add_argument("--roofline", type=Path, metavar="PATH", help="draw the layers as a plot")
    p.add_argument(
        "--json", nargs="?", const="-", metavar="PATH",
        help="write a JSON document instead of the table (to standard output)",
    )  # fmt: skip
    p.add_argument(
        "--latency", action="store_true",
        help="times of single frames of 1 to 16 streams of the online models, and nothing else",
    )  # fmt: skip
    p.add_argument(
        "--clip", nargs="+", metavar="FILE",
        help="video files from end to end beside PyAV decoding them alone, and nothing else",
    )  # fmt: skip
    p.add_argument(
        "--precision", metavar="LIST",
        help=f"some of {','.join(precisions.PRECISIONS)}: in these, in int8 beside ONNX Runtime "
        "and OpenVINO on the same quantised network, with what it costs in accuracy and in memory, "
        "and nothing else",
    )  # fmt: skip
    p.add_argument("--smoke", action="store_true", help="tiny networks, no peers: does it run?")
    p.add_argument("--no-first-start", action="store_true", help="do not time compiling anew")
    add_version(p)
    return p


def settings(options: argparse.Namespace) -> Settings:
    """What the options ask for; raises `UsageError` for what cannot be."""
    if options.roofline is not None:
        roofline.check_plots(options.roofline)
        _check_folder(options.roofline)
    if options.json not in (None, "-"):
        _check_folder(Path(options.json))
    cores = default_cores(options.threads) if options.cores is None else _cores(options.cores)
    if options.smoke:
        return Settings(
            list(SMOKE), list(OURS), rounds=1, runs=2, seconds=0.0, threads=options.threads,
            cores=cores, first_start=False,
        )  # fmt: skip
    peers = _peers(options.peers)
    if options.own:
        own = [own_model(path, options.profile, online=options.online) for path in options.own]
        OWN.update((each.name, each) for each in own)
        if options.peers == "auto":
            onnx = any(each.is_onnx for each in own)
            peers = [peer for peer in peers if peer == "onnxruntime" and onnx]
    elif options.online or options.profile is not None:
        raise UsageError("--online and --profile are for model files of your own: name one")
    models = list(OWN) if options.own else _names(options.models)
    for model in models:
        workload(model)
    engines = _known(_names(options.engines), OURS, "engine") + peers
    if not models or not engines:
        raise UsageError("there is nothing to time: give at least one model and one engine")
    return Settings(
        models, engines, options.rounds, options.threads, options.runs, options.seconds,
        cores, first_start=not options.no_first_start,
    )  # fmt: skip


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} must be 0 to {MOST_SECONDS} seconds")
    return value


def _cores(text: str) -> list[int]:
    try:
        cores = [int(core) for core in _names(text)]
    except ValueError:
        raise UsageError(f"--cores (={text}) must be numbers of cores") from None
    known = default_cores(os.cpu_count() or 1)
    if known and not set(cores) <= set(known):
        raise UsageError(f"--cores (={text}) must be some of {', '.join(map(str, known))}")
    return cores


def _check_folder(path: Path) -> None:
    """Raise `WriteError` where a result could not be written, before it has been measured."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise WriteError(f"{path}: its folder is not there, or may not be written")


def _names(text: str) -> list[str]:
    return [name for name in dict.fromkeys(part.strip() for part in text.split(",")) if name]


def _peers(text: str) -> list[str]:
    if text == "auto":
        return installed()
    return [] if text == "none" else _known(_names(text), PEERS, "peer")


def _known(names: list[str], table: Any, kind: str) -> list[str]:
    for name in names:
        if name not in table:
            raise UsageError(f"there is no {kind} {name!r}; known are {', '.join(table)}")
    return names


def document(wanted: Settings, layers: bool) -> dict[str, Any]:
    """Measure everything; see `report.SCHEMA`."""
    limits = roofline.measure_limits()
    pairs = measure_all(wanted, tell)
    result = {
        "schema": report.SCHEMA_VERSION,
        "machine": report.machine(limits),
        "settings": _told(wanted),
        **figures(pairs, wanted.threads, limits["fma_gflops"]),
    }
    if layers:
        result["layers"] = {m: roofline.layer_times(workload(m)) for m in wanted.models}
    return result


def _told(wanted: Settings) -> dict[str, Any]:
    """The settings as documents tell them."""
    return {
        "models": list(wanted.models),
        "engines": list(wanted.engines),
        "rounds": wanted.rounds,
        "threads": wanted.threads,
        "cores": list(wanted.cores),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["paper"]:
        return paper.main(given[1:])
    return guarded(lambda: _main(parser().parse_args(given)))


def _main(options: argparse.Namespace) -> int:
    if options.clip:
        _clips(options)
        return 0
    if options.precision is not None:
        return _precisions(options)
    wanted = settings(options)
    if options.latency:
        _latency(wanted, options)
        return 0
    result = document(wanted, options.per_layer or options.roofline is not None)
    if options.roofline is not None:
        roofline.plot(result, options.roofline)
    if options.json is None:
        report.print_tables(result)
    elif options.json == "-":
        say(report.to_json(result))
    else:
        _write(Path(options.json), report.to_json(result))
    # A peer that is missing is a line; an engine of ours that is wrong is a failure.
    return 1 if any(r["failed"] for r in result["results"] if r["engine"] in OURS) else 0


def _clips(options: argparse.Namespace) -> None:
    """Time video files from end to end."""
    times = []
    for path in options.clip:
        try:
            found = clips.measure_clip(path, threads=options.threads, rounds=options.rounds)
        except VideoError as error:
            raise error.about(path) from None
        times.append(found)
    text = json.dumps([asdict(each) for each in times]) if options.json else ""
    text = text or "\n".join(clips.as_lines(times))
    if options.json in (None, "-"):
        say(text)
    else:
        _write(Path(options.json), text)


def _latency(wanted: Settings, options: argparse.Namespace) -> None:
    """Time the online models of our engines, frame by frame."""
    rows: list[dict[str, Any]] = []
    online = [model for model in wanted.models if workload(model).online]
    for model in online:
        for engine in (name for name in wanted.engines if name in OURS):
            frames = 5 if options.smoke else 100
            rows += latency.latencies(
                workload(model), engine, threads=wanted.threads, frames=frames, tell=tell
            )
    if not rows:
        raise UsageError("there is no stream to time: give an online model and an engine of ours")
    text = json.dumps(rows) if options.json else "\n".join(latency.lines(rows))
    if options.json in (None, "-"):
        say(text)
    else:
        _write(Path(options.json), text)


def _precisions(options: argparse.Namespace) -> int:
    """Time our engines and others in several precisions; returns the exit code."""
    if options.own:
        raise UsageError("--precision times the networks of the bench, not model files")
    chosen = _known(_names(options.precision), dict.fromkeys(precisions.PRECISIONS), "precision")
    if not chosen:
        raise UsageError(f"--precision: give some of {', '.join(precisions.PRECISIONS)}")
    wanted, machine = settings(options), report.machine(None)
    rows = precisions.rows_of(precisions.measure_precisions(wanted, chosen, tell))
    if options.json:
        text = report.to_json({"machine": machine, "settings": _told(wanted), "precisions": rows})
    else:
        how = f"threads {wanted.threads}, rounds {wanted.rounds}, {machine['processor']}"
        text = "\n".join([how, *precisions.lines(rows)])
    if options.json in (None, "-"):
        say(text)
    else:
        _write(Path(options.json), text)
    return 1 if any(r["failed"] and r["engine"] in OURS for r in rows) else 0


def _write(path: Path, text: str) -> None:
    try:
        replace_file(final_target(path), f"{text}\n".encode())
    except OSError as error:
        raise WriteError(f"{path}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
