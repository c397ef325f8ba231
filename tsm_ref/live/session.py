"""One live session of the command line: a source is followed, lines are said, the state is kept."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from tsm_ref.errors import UsageError, VideoError
from tsm_ref.live.loop import Live
from tsm_ref.live.show import as_jsonl, as_line
from tsm_ref.live.smoothing import Smoother
from tsm_ref.live.sources import Newest, Pace, Playing, open_source
from tsm_ref.model import Model
from tsm_ref.system.terminal import ReaderGone
from tsm_ref.video import FrameSource, is_address

__all__ = ["Session", "follow"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Session:
    """What the options of the command line say about a stream; see ``tsm-infer --help``."""

    source: str
    jsonl: bool = True
    raw: str | None = None
    every: int | None = None
    rate: float | None = None
    realtime: bool = False
    smooth: int | None = None
    dwell: int = 1
    persist: int = 1
    mask: tuple[str, ...] = field(default=())
    no_event: str | None = None
    lookahead: str | None = None
    state: str | None = None
    save_every: int = 100
    top: int = 5
    allow_partial: bool = False

    def live(self, model: Model) -> Live:
        """The live loop of these options; raises `UsageError` for an unknown label."""
        pace = None
        if self.every is not None or self.rate is not None:
            pace = Pace(self.every or 1, self.rate)
        smoother = Smoother(
            window=self.smooth or model.profile.sampling.segments,
            dwell=self.dwell,
            persist=self.persist,
            masked=[_index(model, label) for label in self.mask],
            no_event=None if self.no_event is None else _index(model, self.no_event),
        )
        return Live(model, smoother=smoother, pace=pace, top=self.top, lookahead=self.lookahead)

    def open(self, live: Live) -> FrameSource:
        """The source; what comes by itself, or is played in real time, may lose frames."""
        source = open_source(
            self.source,
            raw=self.raw,
            allow_partial=self.allow_partial,
            stdin=None if sys.stdin is None else sys.stdin.buffer,
            threads=live.model.threads,
        )
        if self.realtime:
            source = Playing(source, live.next_frame)
        return Newest(source, live.pace) if self.realtime or self.comes_by_itself else source

    @property
    def comes_by_itself(self) -> bool:
        """True for a camera or a server, which does not wait."""
        return self.source.startswith("camera:") or is_address(self.source)


def follow(model: Model, session: Session, say: Say, tell: Say) -> None:
    """Say a line for every update (JSON), or for every event, until the source ends.

    With a state file the run goes on from it if it is there, and writes it at the beginning, every
    `save_every` updates, at the end or where the source fails, and when it is interrupted or
    terminated: at once where it waits for a frame, after the update where it is at one. Raises what
    `Live`, the source and the file raise.
    """
    live = session.live(model)
    if session.state is not None:
        _go_on(live, session, session.state, tell)
    source = session.open(live)
    latencies: list[float] = []
    begin, count, dropped = time.perf_counter(), 0, 0
    try:
        with _saved(live, session.state) as stop:
            for update in live.run(source):
                if session.jsonl:
                    say(as_jsonl(update))
                elif update.changed and update.event:
                    say(as_line(update))
                count, dropped = count + 1, update.dropped
                if update.latency is not None:
                    latencies = [*latencies[-999:], update.latency]
                if stop:
                    raise _Stopped
                if session.state is not None and count % session.save_every == 0:
                    live.save(session.state)
    except ReaderGone:
        tell = _nothing
        raise
    finally:
        source.close()
        for warning in source.warnings:
            tell(f"warning: {session.source}: {warning}")
        for note, many in live.notes.items():
            tell(f"warning: {session.source}: of {many} of {count} updates: {note}")
        tell(_summary(count, dropped, time.perf_counter() - begin, latencies))


def _nothing(text: str) -> None:
    """Say nothing: nobody listens."""


def _go_on(live: Live, session: Session, path: str, tell: Say) -> None:
    """Take the state from its file if that is there; write it, so that a bad path costs nothing."""
    if os.path.exists(path):
        live.load(path)
        if session.source == "-" or session.comes_by_itself:
            live.begin_source()
        elif live.stream.ended.any():
            tell(f"{path}: its source was followed to the end, so nothing is left to do")
    live.save(path)


def _summary(count: int, dropped: int, seconds: float, latencies: list[float]) -> str:
    text = f"{count} frames in {seconds:.1f} s, {dropped} dropped"
    if not latencies:
        return text
    middle, most = np.percentile(latencies, (50, 95)) * 1000
    return f"{text}; latency {middle:.1f} ms (median), {most:.1f} ms (95 %)"


class _Stopped(KeyboardInterrupt):
    """An interruption where the state is whole."""


@contextmanager
def _saved(live: Live, path: str | None) -> Iterator[list[int]]:
    """Save the state at the end, and when a run is stopped where that is whole.

    The first interruption ends a run that waits for a frame; one that does not looks into the list
    after its update. The second one ends the run at once.
    """
    stop: list[int] = []
    if path is None:
        yield stop
        return

    def handle(number: int, _: object) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.append(number)
        if live.idle:
            raise _Stopped

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
        live.save(path)
    except (_Stopped, VideoError):  # a source that fails does so while a frame is waited for
        live.save(path)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _index(model: Model, label: str) -> int:
    """The index of a label, or of a class by its number."""
    if label in model.labels:
        return model.labels.index(label)
    number = int(label) if re.fullmatch("[0-9]{1,9}", label) else -1
    if number >= 0 and (not model.labels or number < len(model.labels)):
        return number
    there_are = f"there are {', '.join(model.labels)}" if model.labels else "give its number"
    raise UsageError(f"there is no label {label[:80]!r}; {there_are}")
