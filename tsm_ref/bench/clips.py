"""How long a video file takes from end to end, beside two others.

PyAV decodes it and no more; PyAV with OpenCV and ONNX Runtime, where they are installed, recognises
the same frames with the same network.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tsm_ref.bench.clip_peer import clip_peer
from tsm_ref.errors import MissingDependency
from tsm_ref.model import load
from tsm_ref.recognition import Recognition, recognize

__all__ = ["ClipTimes", "as_lines", "measure_clip"]


@dataclass(frozen=True)
class ClipTimes:
    """Medians in seconds of one file: decoding alone and recognition, by the clock on the wall and
    by the processor, and the median of the ratios of the rounds.

    ``peer`` is the time of PyAV, OpenCV and ONNX Runtime, ``peer_ratio`` ours to theirs by the
    processor, ``peer_agrees`` the share of the windows with the same first class; None without
    them.
    """

    path: str
    frames: int
    decode: float
    whole: float
    network: float
    ratio: float
    processor_ratio: float
    peer: float | None = None
    peer_ratio: float | None = None
    peer_agrees: float | None = None


def measure_clip(
    path: str, *, model: str = "camera-motion", threads: int = 1, rounds: int = 3
) -> ClipTimes:
    """Time one file: in each round PyAV decodes it, then the model recognises it.

    Both get so many `threads`; what is compiled once is not timed. Raises as `recognize`.
    """
    loaded = load(model, threads=threads)
    seen = recognize(loaded, path)
    alone, whole, network, others = [], [], [], []
    peer = clip_peer(loaded, seen, path, threads)
    agrees = _agreement(seen, peer()) if peer is not None else None
    for _ in range(rounds):
        alone.append(_timed(lambda: _decode(path, threads)))
        whole.append(_timed(lambda: network.append(recognize(loaded, path).timing["run"])))
        if peer is not None:
            others.append(_timed(peer))
    return ClipTimes(
        path,
        seen.video.frame_count,
        statistics.median(wall for wall, _ in alone),
        statistics.median(wall for wall, _ in whole),
        statistics.median(network),
        statistics.median(w[0] / a[0] for w, a in zip(whole, alone, strict=True)),
        statistics.median(w[1] / max(a[1], 1e-9) for w, a in zip(whole, alone, strict=True)),
        statistics.median(wall for wall, _ in others) if others else None,
        statistics.median(w[1] / o[1] for w, o in zip(whole, others, strict=True))
        if others
        else None,
        agrees,
    )


def _agreement(seen: Recognition, logits: NDArray[Any]) -> float:
    """The share of the windows to which both give the same first class."""
    return float((seen.probabilities.argmax(axis=1) == logits.argmax(axis=1)).mean())


def as_lines(times: Sequence[ClipTimes]) -> list[str]:
    """One line per file under a head.

    >>> as_lines([ClipTimes("a.mp4", 100, 0.5, 0.6, 0.05, 1.2, 1.3, 0.9, 0.7, 1.0)])[1]
    '   100    0.500    0.600    0.050   1.20            1.30    0.900   0.70   100 %  a.mp4'
    """
    head = (
        "frames  PyAV s  whole s  network s  ratio  processor ratio  "
        "peer s  ratio  agrees  file   (peer: PyAV, OpenCV, ONNX Runtime)"
    )
    return [
        head,
        *(
            f"{t.frames:6d}  {t.decode:7.3f}  {t.whole:7.3f}  {t.network:7.3f}  {t.ratio:5.2f}"
            f"  {t.processor_ratio:14.2f}  {_peer(t)}  {t.path}"
            for t in times
        ),
    ]


def _peer(times: ClipTimes) -> str:
    if times.peer is None or times.peer_ratio is None or times.peer_agrees is None:
        return f"{'-':>7}  {'-':>5}  {'-':>6}"
    return f"{times.peer:7.3f}  {times.peer_ratio:5.2f}  {100 * times.peer_agrees:4.0f} %"


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
