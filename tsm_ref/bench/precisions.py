"""int8 beside float32 and bfloat16: ``python -m tsm_ref.bench --precision float32,int8``.

Other runtimes are timed in the same precision and, where they choose one by themselves (OpenVINO),
in that one too. All are in float32; in int8 those are that run a quantised ONNX on whole numbers,
and the rows of others say so instead of times. Speed stands beside what it cost: the logits of the
same clips against our float32, and the memory of a process of its own.
The weights are random, so that cost compares engines; what a trained network loses is told by
`tsm_ref.quantize`. Ratios are medians of the ratios of rounds, by the clock on the wall and by the
processor's time, which a busy machine disturbs less.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsm_ref.bench.ours import OURS
from tsm_ref.bench.runs import Settings, run_worker
from tsm_ref.bench.workloads import workload

__all__ = ["FIELDS", "PRECISIONS", "QDQ_PEERS", "Timed", "lines", "measure_precisions", "rows_of"]

PRECISIONS = ("float32", "int8", "bfloat16")
"""What ``--precision`` may name."""
QDQ_PEERS = ("onnxruntime", "openvino")
"""The other runtimes that are timed in int8: they run a quantised ONNX on whole numbers."""
_LEFT_OUT = {
    "int8": "the quantised network is an ONNX QDQ, which this bench gives to "
    f"{' and '.join(QDQ_PEERS)} alone",
    "bfloat16": f"this bench asks {' and '.join(QDQ_PEERS)} alone for it",
}
"""Why there are no times of other runtimes than these in a precision."""
_CHOOSERS = {"openvino": ("float32", "int8")}
"""The runtimes that choose a precision by themselves, and of which files."""

FIELDS = {
    "model": "name of the network",
    "engine": "numba and numpy are ours",
    "precision": "of the file; for bfloat16 of the computation, the file is float32",
    "by_itself": "whether the engine chose the precision of what is not int8; else it was told",
    "version": "what the engine calls itself, and what it chose",
    "failed": "null, or in one line why there are no times",
    "wall_ms": "median time of a call: one clip, or one frame of an online network",
    "processor_ms": "the same in time of the processor, of all threads together",
    "ratio": "wall time over that of the fastest other runtime in this precision",
    "processor_ratio": "the same in time of the processor",
    "of_float32": "processor time over that of our float32",
    "rms": "root mean square of the logits' errors, relative to the largest logit of float32",
    "error": "the largest of them",
    "agreement": "share of clips, or frames, with the best class of float32",
    "resident_mb": "memory of a process that only opens the engine and runs it, in 2^20 bytes",
    "peak_mb": "the most that it ever had; kernels have been compiled before",
}
"""The members of a row."""


@dataclass
class Timed:
    """One engine in one precision, and the answers of its workers: one a round."""

    model: str
    engine: str
    precision: str
    by_itself: bool = False
    answers: list[dict[str, Any]] = field(default_factory=list)
    failed: str | None = None
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether the engine is one of this package."""
        return self.engine in OURS

    def add(self, answer: dict[str, Any]) -> None:
        """Take in an answer; a failure or a wrong output ends this row."""
        self.failed = answer.get("failed")
        if self.failed is None:
            self.answers.append(answer)
            if not answer["agrees"]:
                self.failed = f"wrong output: off by {answer['error']:.1e} of the largest logit"

    def medians(self, clock: str) -> list[float]:
        """The median seconds of every round."""
        return [statistics.median(answer[clock]) for answer in self.answers]


def measure_precisions(
    settings: Settings, precisions: Sequence[str], tell: Callable[[str], None]
) -> list[Timed]:
    """Prepare every network, then run the rounds; `tell` is told what happens."""
    every = [row for m in settings.models for row in _wanted(m, settings.engines, precisions)]
    for who, why in dict.fromkeys((_name(row), row.failed) for row in every if row.failed):
        tell(f"{who} is left out: {why}")
    with tempfile.TemporaryDirectory(prefix="tsm_ref-bench-") as name:
        folders = {model: Path(name, str(i)) for i, model in enumerate(settings.models)}
        for model, folder in folders.items():
            tell(f"preparing {model}")
            rows = [row for row in every if row.model == model and row.failed is None]
            _prepare(model, rows, settings, precisions, folder)
            for who, why in dict.fromkeys((row.engine, row.failed) for row in rows if row.failed):
                tell(f"{model}: {who} is left out: {why}")
        for number in range(settings.rounds):
            for row in (row for row in every if row.failed is None):
                row.add(_ask(row, settings, folders[row.model]))
                tell(f"round {number + 1}: {_brief(row)}")
        for row in (row for row in every if row.failed is None):
            row.memory = _ask(row, settings, folders[row.model], "measure memory")
    return every


def _wanted(model: str, engines: Sequence[str], precisions: Sequence[str]) -> Iterator[Timed]:
    for precision in precisions:
        for engine in engines:
            known = precision == "float32" or engine in (*OURS, *QDQ_PEERS)
            yield Timed(model, engine, precision, failed=None if known else _LEFT_OUT[precision])
            if precision in _CHOOSERS.get(engine, ()):
                yield Timed(model, engine, precision, by_itself=True)


def _prepare(
    model: str, rows: Sequence[Timed], settings: Settings, precisions: Sequence[str], folder: Path
) -> None:
    """Write the files of a network; a runtime that cannot have its own loses its rows alone."""
    request = _request(model, settings, folder)
    task = {"task": "prepare precisions", "precisions": list(precisions)}
    ours = run_worker({**request, **task}, settings.timeout).get("failed")
    for row in rows:
        row.failed = ours
    for peer in dict.fromkeys(row.engine for row in rows if not row.ours and ours is None):
        task = {"task": "prepare", "engine": peer, "folder": str(folder / "float32")}
        failed = run_worker({**request, **task}, settings.timeout).get("failed")
        for row in (row for row in rows if row.engine == peer):
            row.failed = failed


def _ask(
    row: Timed, settings: Settings, folder: Path, task: str = "measure precision"
) -> dict[str, Any]:
    which = {"engine": row.engine, "precision": row.precision, "by_itself": row.by_itself}
    request = {"task": task, **which, **_request(row.model, settings, folder)}
    return run_worker(request, settings.timeout)


def _request(model: str, settings: Settings, folder: Path) -> dict[str, Any]:
    return {
        "model": model,
        "online": workload(model).online,
        "folder": str(folder),
        "threads": settings.threads,
        "cores": list(settings.cores),
        "runs": settings.runs,
        "seconds": settings.seconds,
    }


def _name(row: Timed) -> str:
    return f"{row.engine} {row.precision}{' by itself' if row.by_itself else ''}"


def _brief(row: Timed) -> str:
    said = f"{row.model} {_name(row)}"
    if row.failed is not None:
        return f"{said} is left out: {row.failed}"
    return f"{said} {1e3 * row.medians('wall')[-1]:.2f} ms"


def rows_of(every: Sequence[Timed]) -> list[dict[str, Any]]:
    """One row, see `FIELDS`, for each engine in each precision."""
    return [_row(each, every) for each in every]


def _row(each: Timed, every: Sequence[Timed]) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(each, name, None) for name in FIELDS}
    if each.failed is not None or not each.answers:
        return row
    beside = [r for r in every if r.model == each.model and r.failed is None and r.answers]
    same = [r for r in beside if r.precision == each.precision and not r.ours]
    base = [r for r in beside if r.precision == "float32" and r.engine == "numba"]
    last = each.answers[-1]
    row |= {
        "version": last["version"],
        "wall_ms": 1e3 * statistics.median(each.medians("wall")),
        "processor_ms": 1e3 * statistics.median(each.medians("processor")),
        "ratio": _ratio(each, same, "wall"),
        "processor_ratio": _ratio(each, same, "processor"),
        "of_float32": _ratio(each, base, "processor"),
        "rms": last["rms"],
        "error": last["error"],
        "agreement": last["agreement"],
        "resident_mb": each.memory.get("resident_mb"),
        "peak_mb": each.memory.get("peak_mb"),
    }
    return row


def _ratio(row: Timed, others: Sequence[Timed], clock: str) -> float | None:
    """Over the fastest of others, as the median of the ratios of the rounds."""
    if not others:
        return None
    best = min(others, key=lambda other: statistics.median(other.medians(clock)))
    pairs = zip(row.medians(clock), best.medians(clock), strict=True)
    return statistics.median(mine / max(theirs, 1e-9) for mine, theirs in pairs)


_COLUMNS = (
    ("wall ms", "wall_ms", "{:.2f}"),
    ("proc. ms", "processor_ms", "{:.2f}"),
    ("ratio", "ratio", "{:.2f}"),
    ("proc.", "processor_ratio", "{:.2f}"),
    ("of f32", "of_float32", "{:.2f}"),
    ("rms", "rms", "{:.2%}"),
    ("most", "error", "{:.2%}"),
    ("top-1", "agreement", "{:.0%}"),
    ("MB", "resident_mb", "{:.0f}"),
    ("peak MB", "peak_mb", "{:.0f}"),
)


def lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rows as tables, one for each network."""
    for model in dict.fromkeys(row["model"] for row in rows):
        yield model
        yield f"  {'engine':24} " + " ".join(f"{head:>9}" for head, _, _ in _COLUMNS) + "  version"
        for row in (row for row in rows if row["model"] == model):
            who = f"{row['engine']} {row['precision']}{' by itself' if row['by_itself'] else ''}"
            if row["failed"]:
                yield f"  {who} has no times: {row['failed']}"
                continue
            cells = ("" if row[k] is None else form.format(row[k]) for _, k, form in _COLUMNS)
            yield f"  {who:24} " + " ".join(f"{c:>9}" for c in cells) + f"  {row['version']}"
