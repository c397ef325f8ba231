"""How long a video file takes from end to end, beside PyAV that decodes it and no more."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tsm_ref.errors import MissingDependency
from tsm_ref.model import load
from tsm_ref.recognition import recognize

__all__ = ["ClipTimes", "as_lines", "measure_clip"]


@dataclass(frozen=True)
class ClipTimes:
    """Medians in seconds of one file: decoding alone and recognition, by the clock on the wall and
    by the processor, and the median of the ratios of the rounds.
    """

    path: str
    frames: int
    decode: float
    whole: float
    network: float
    ratio: float
    processor_ratio: float


def measure_clip(
    path: str, *, model: str = "camera-motion", threads: int = 1, rounds: int = 3
) -> ClipTimes:
    """Time one file: in each round PyAV decodes it, then the model recognises it.

    Both get so many `threads`; what is compiled once is not timed. Raises as `recognize`.
    """
    loaded = load(model, threads=threads)
    seen = recognize(loaded, path)
    alone, whole, network = [], [], []
    for _ in range(rounds):
        alone.append(_timed(lambda: _decode(path, threads)))
        whole.append(_timed(lambda: network.append(recognize(loaded, path).timing["run"])))
    return ClipTimes(
        path,
        seen.video.frame_count,
        statistics.median(wall for wall, _ in alone),
        statistics.median(wall for wall, _ in whole),
        statistics.median(network),
        statistics.median(w[0] / a[0] for w, a in zip(whole, alone, strict=True)),
        statistics.median(w[1] / max(a[1], 1e-9) for w, a in zip(whole, alone, strict=True)),
    )


def as_lines(times: Sequence[ClipTimes]) -> list[str]:
    """One line per file under a head.

    >>> as_lines([ClipTimes("a.mp4", 100, 0.5, 0.6, 0.05, 1.2, 1.3)])[1]
    '   100    0.500    0.600    0.050   1.20            1.30  a.mp4'
    """
    head = "frames  PyAV s  whole s  network s  ratio  processor ratio  file"
    return [
        head,
        *(
            f"{t.frames:6d}  {t.decode:7.3f}  {t.whole:7.3f}  {t.network:7.3f}  {t.ratio:5.2f}"
            f"  {t.processor_ratio:14.2f}  {t.path}"
            for t in times
        ),
    ]


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor


def _decode(path: str, threads: int) -> int:
    try:
        import av
    except ImportError:
        raise MissingDependency("av", "decode a video") from None
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream))
