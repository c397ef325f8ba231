"""Counts and times of a server, in the text form of Prometheus."""

import sys
import traceback
from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from tsm_ref.system.terminal import tell

__all__ = ["MEDIA_TYPE", "Metrics"]

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""Bounds of the classes of a histogram."""


class Metrics:
    """What is counted; every label has few values, none of which a client can choose.

    >>> metrics = Metrics()
    >>> metrics.requests.labels("/recognize", "200").inc()
    >>> 'tsm_requests_total{path="/recognize",status="200"} 1.0' in metrics.text()
    True
    """

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        kept: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "tsm_requests", "HTTP requests and WebSocket handshakes", ("path", "status"), **kept
        )
        self.seconds = Histogram(
            "tsm_recognition_seconds", "from the whole file to its answer", ("model",),
            buckets=SECONDS, **kept,
        )  # fmt: skip
        self.received = Counter("tsm_received_bytes", "bytes of files and frames", **kept)
        self.taken = Gauge("tsm_files", "files that are sent, wait or are recognised", **kept)
        self.running = Gauge("tsm_files_running", "files that are recognised", **kept)
        self.streams = Gauge("tsm_streams", "connections that stream", **kept)
        self.frames = Counter("tsm_stream_frames", "frames that came", ("model",), **kept)
        self.dropped = Counter(
            "tsm_stream_frames_dropped", "frames that came too fast", ("model",), **kept
        )

    def watch(self, taken: Callable[[], float], running: Callable[[], float]) -> None:
        """Ask these for the two numbers that a desk knows."""
        self.taken.set_function(taken)
        self.running.set_function(running)

    def text(self) -> str:
        """All of it as Prometheus reads it."""
        return str(generate_latest(self.registry), "utf-8")

    @staticmethod
    def bug(error: BaseException) -> None:
        """Report an error that should not have been, with its traceback, in the log."""
        for line in "".join(traceback.format_exception(error)).splitlines():
            tell(line)
        sys.stderr.flush()
