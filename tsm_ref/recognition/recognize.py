"""A video file to predictions: decode, sample, preprocess, run, average, label."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine import alone
from tsm_ref.errors import UsageError
from tsm_ref.model import Model
from tsm_ref.model.described import as_html
from tsm_ref.profile import Preprocess, Profile, Sampling
from tsm_ref.recognition import light
from tsm_ref.recognition.answers import Answer, Heads, Prediction
from tsm_ref.recognition.asked import as_usage
from tsm_ref.recognition.cutter import WindowCutter
from tsm_ref.recognition.inputs import check_classifies, check_flow, sees_flow
from tsm_ref.recognition.room import check_memory, takes_finer
from tsm_ref.recognition.stopwatch import Stopwatch
from tsm_ref.recognition.verdict import Verdict
from tsm_ref.recognition.windows import INSTANT, UNSURE, Segment, check_moves, grown, ladder
from tsm_ref.system.terminal import printable
from tsm_ref.video import (
    SAMPLERS,
    Ahead,
    Clip,
    Small,
    Survey,
    VideoInfo,
    Windows,
    normalize,
    open_clip,
    open_flow,
    read_wanted,
    surveyed,
    updated,
)

__all__ = ["Prediction", "Recognition", "recognize"]

Array = NDArray[Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, repr=False)
class Recognition:
    """What was seen in one video, and everything that is needed to see it again.

    ``indices`` and ``times`` (seconds) are the frames that the network saw, of shape (clips, T), of
    sliding windows those that speak; ``frames_seen`` counts the different frames of all windows
    that it saw. ``profile`` is what was followed; ``timing`` is in seconds per stage, of which
    ``compile`` is spent once on a machine; ``asked`` is the sampling that was asked for, whose
    windows grow where they hold too few frames; ``scales`` (clips,) are how many times as large as
    ``profile`` says the frames of each were, for windows that were asked again. ``slowest``
    (clips,) is the speed in widths of the frame a second below which a motion would not have shown;
    None if nobody knows. ``heads`` has what each head of the network says, by the name of its
    output: most networks have one, of which ``predictions``, ``labels`` and so on speak. Of two
    networks whose scores were joined, ``streams`` has what each says, with its weight
    (`tsm_ref.recognition.recognize_streams`), and all else is of both or of the first.
    """

    video: VideoInfo
    sha256: str
    frames_decoded: int
    frames_seen: int
    profile: Profile
    indices: NDArray[np.int64]
    times: NDArray[np.float64]
    model: Model
    timing: dict[str, float]
    warnings: tuple[str, ...]
    asked: Sampling
    heads: Mapping[str, Answer]
    scales: NDArray[np.int64]
    slowest: NDArray[np.float64] | None = None
    streams: Mapping[str, tuple[float, "Recognition"]] = field(default_factory=dict)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The best classes of the first head."""
        return self._first.predictions

    @property
    def labels(self) -> tuple[str, ...]:
        """What the first head says of the whole: one label, or those that hold of several."""
        return self._first.labels

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """All K classes of the first head for each clip or window, (clips, K)."""
        return self._first.probabilities

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The timeline of the first head; empty unless the profile samples windows."""
        return self._first.segments

    @property
    def _first(self) -> Answer:
        return next(iter(self.heads.values()))

    def multi_label(self, head: str = "") -> bool:
        """Whether several labels of a head may hold, or none."""
        return self.profile.multi_label or self.model.independent(head)

    def __repr__(self) -> str:
        """One line: the best class, how sure, of which file, by which model."""
        best = self.predictions[0]
        unsure = f"{UNSURE}, perhaps " if self.labels == (UNSURE,) else ""
        best_label = f"{unsure}{best.label} ({best.probability:.1%})"
        said = f"{best_label} in {self.video.path} by {self.model.name}"
        more = f", {len(self.segments)} segments" if len(self.segments) > 1 else ""
        return f"<Recognition {printable(said)}{more}>"

    def _repr_html_(self) -> str:
        """The best classes and the timeline as a table, as notebooks show it."""
        rows = {p.label: f"{p.probability:.1%}" for p in self.predictions}
        for s in self.segments if len(self.segments) > 1 else ():
            rows[f"{s.start:.2f} to {s.end:.2f} s"] = f"{s.label} ({s.probability:.1%})"
        return as_html(f"{self.video.path} by {self.model.name}", rows)


@dataclass(frozen=True)
class _Seen:
    """The logits (views, K) of every clip in turn, and the frames behind them."""

    logits: list[Array]
    indices: NDArray[np.int64]
    times: NDArray[np.float64]
    frames_decoded: int
    frames_seen: int
    info: VideoInfo
    sampling: Sampling
    windows: Windows | None = None
    notes: Counter[str] = field(default_factory=Counter)
    scales: NDArray[np.int64] | None = None
    slowest: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class _Told:
    """Who is told how far it is, where the time goes, and what the network gives."""

    watch: Stopwatch
    progress: Progress
    heads: Heads


def recognize(
    model: Model,
    path: str | PathLike[str] | Array,
    *,
    profile: Profile | None = None,
    top: int = 5,
    allow_partial: bool = False,
    fps: float | None = None,
    flow: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Recognition:
    """Label a video by the rules of the model's profile, or of another (see `sampled`).

    A video is a file, a folder of numbered frames or a pattern like ``img_%05d.jpg``, or an array
    of RGB frames (T, H, W, 3) uint8, of which `fps` were taken a second (see
    `tsm_ref.video.open_clip`). A model of optical flow takes a folder of flow images; or ``flow``
    says what computes that of a video, or which folder has it (`tsm_ref.video.open_flow`).

    The frames are decoded one at a time and only the small preprocessed ones are kept; of a long
    clip under the policy ``windows`` only those of the windows that are open. ``progress`` is told
    how many clips of how many are done, also while the frames of the first are decoded; what it
    raises ends the work.

    Raises `VideoError` for a video that cannot be read or that changes meanwhile, `CheckpointError`
    for a model that does not classify clips, and `UsageError` for a `top` below 1 or a rule of
    sampling that cannot be followed.

    >>> from tsm_ref.checkpoint import weights_folder
    >>> from tsm_ref.model import load
    >>> clip = weights_folder() / "samples" / "zoom_in.mp4"
    >>> recognize(load("camera-motion", engine="numpy"), clip).predictions[0].label
    'zoom in'
    """
    if type(top) is not int or top < 1:
        raise UsageError(f"`top` (={top!r}) must be a whole number of at least 1")
    if not isinstance(path, str | PathLike | np.ndarray):
        raise UsageError(
            f"one video is recognised at a time, and {type(path).__name__} was given: loop over "
            "paths, or see tsm_ref.batch.run_batch; frames are one array, as numpy.stack makes"
        )
    check_classifies(model)
    profile = profile or model.profile
    if sees_flow(model):
        check_flow(model, profile)
    heads = Heads(model, profile)
    check_memory(model, profile)
    threads = model.threads
    limits: dict[str, Any] = {"fps": fps, "allow_partial": allow_partial, "threads": threads}
    if sees_flow(model):
        clip = open_flow(path, flow, **limits)
    elif flow is not None:
        raise UsageError(f"`flow` (={flow!r}) is for models of optical flow: this one sees colours")
    else:
        clip = open_clip(path, **limits)
    watch = Stopwatch()
    look = _over_windows if profile.sampling.policy == "windows" else _over_clips
    with watch.stage("total"), watch.compiling():
        seen = surveyed(
            clip, lambda known: look(model, profile, clip, known, _Told(watch, progress, heads))
        )
        chances = list(map(heads.chances, seen.logits))
        answers = heads.answers(np.concatenate(seen.logits), chances, seen.windows, top)
    sha256 = clip.sha256()
    return Recognition(
        video=seen.info,
        sha256=sha256,
        frames_decoded=seen.frames_decoded,
        frames_seen=seen.frames_seen,
        profile=replace(profile, sampling=seen.sampling),
        indices=seen.indices,
        times=seen.times,
        model=model,
        timing=watch.spent,
        warnings=model.warnings + seen.info.warnings + _noticed(seen, profile.sampling),
        asked=profile.sampling,
        heads=answers,
        scales=np.ones(len(seen.indices), np.int64) if seen.scales is None else seen.scales,
        slowest=seen.slowest,
    )


def _noticed(seen: _Seen, asked: Sampling) -> tuple[str, ...]:
    """What is to be said of the light, and where the network sees a frame more than once."""
    count, segments = seen.info.frame_count, asked.segments
    total = len(seen.indices)
    said = [f"of {count} of {total} windows: {note}" for note, count in seen.notes.items()]
    if seen.sampling.window != asked.window:
        said.append(
            f"a window of {asked.window:g} s holds fewer than {segments} frames: windows of "
            f"{seen.sampling.window:.4g} s are used"
        )
    elif not asked.longest and 0 < (seen.info.duration or 0) < asked.window:
        said.append(
            f"a window of {asked.window:g} s is longer than the video of {seen.info.duration:.4g} s"
        )
    if seen.windows is not None and (gaps := seen.windows.gaps) > INSTANT:
        said.append(
            f"windows of {seen.sampling.window:.4g} s every {seen.sampling.stride:.4g} s leave out "
            f"{gaps:.4g} of {seen.info.duration or 0:.4g} s: what is said of these is that of the "
            "nearest window"
        )
    if count < segments:
        said.append(
            f"the video has {count} frame{'s' * (count != 1)} and the model sees {segments}: "
            "frames are repeated"
        )
    elif repeating := sum(len(set(row)) < segments for row in seen.indices.tolist()):
        said.append(
            f"{repeating} of {len(seen.indices)} clips show fewer than {segments} different "
            "frames: frames are repeated"
        )
    return tuple(said)


def _over_clips(model: Model, profile: Profile, clip: Clip, known: Survey, told: _Told) -> _Seen:
    """A fixed number of clips, spread over the video by the rule that the profile names."""
    sampling, spec, watch = profile.sampling, profile.preprocess, told.watch
    with as_usage():
        indices = SAMPLERS[sampling.policy](known.info.frame_count, sampling.segments)
    with watch.stage("decode"):
        none_yet = partial(told.progress, 0, len(indices))
        got = read_wanted(clip, known, indices, prepared(model, spec, known), tick=none_yet)
    logits: list[Array] = []
    for rows in got.order:
        logits.append(_run(got.unique[rows], spec, told))
        told.progress(len(logits), len(got.order))
    return _Seen(
        logits, got.indices, got.times, got.frames_decoded, len(got.unique), got.info, sampling
    )


def _over_windows(model: Model, profile: Profile, clip: Clip, known: Survey, told: _Told) -> _Seen:
    """Windows over the whole video, each run as soon as its last frame is decoded.

    Of the windows of several lengths, the one that speaks for each moment is seen; those that
    cannot speak any more are not run. Where the decoder is late the network leaves it the cores.
    """
    spec, watch = profile.preprocess, told.watch
    sampling = _asked(model, profile, known)
    with as_usage():
        made = ladder(known.times, sampling, known.info.duration)
    check_moves(made, known.times, sampling)
    rest, aimless = profile.no_event_index, profile.aimless_indices
    heads, verdict = told.heads, Verdict(made, rest, aimless)
    logits: dict[int, Array] = {}
    notes: dict[int, str | None] = {}
    alike = made.alike()
    rest = rest if names_motions(model) else None
    run = partial(_run, spec=spec, told=told)
    with closing(clip.open()) as source:
        convert = prepared(model, spec, known)
        cutter = WindowCutter(
            known.checked(convert.shown(source)),
            made.windows,
            convert,
            unsure=made.rung > 0,
            most=convert.most_waiting(source),
            closer=prepared(model, spec.enlarged(sampling.finer), known),
            fine=made.scale > 1,
        )
        with closing(Ahead(iter(cutter), model.threads > 1)) as cut:
            while (each := watch.timed("decode", lambda: next(cut, None))) is not None:
                row, frames = each
                if verdict.needs(row):
                    twin = int(alike[row])
                    if twin not in logits:
                        pixels = watch.timed("decode", frames)
                        with alone() if cut.late else nullcontext():
                            logits[twin], notes[twin] = light.judged(pixels, run, rest, aimless)
                    logits[row], notes[row] = logits[twin], notes[twin]
                    verdict.hear(row, heads.first(heads.chances(logits[row])))
                told.progress(row + 1, len(made.windows))
        info = updated(known.info, source)
    spoken = verdict.speaking()
    indices, windows = made.windows.indices[spoken], made.shortest()
    return _Seen(
        logits=[logits[row] for row in spoken],
        indices=indices,
        times=known.times[indices],
        frames_decoded=cutter.decoded,
        frames_seen=len(np.unique(made.windows.indices[list(logits)])),
        info=info,
        sampling=sampling,
        windows=windows,
        notes=Counter(note for row in spoken if (note := notes[row])),
        scales=made.scale[spoken],
        slowest=made.slowest(known.times, profile.slowest)[spoken] if profile.slowest else None,
    )


def _asked(model: Model, profile: Profile, known: Survey) -> Sampling:
    """The windows that are asked of this video.

    They grow where they would hold too few of its frames, but not where somebody asked for them.
    A network of one size is not asked for finer frames.
    """
    sampling = profile.sampling
    if sampling == model.profile.sampling:
        sampling = grown(sampling, known)
    if profile.no_event_index is None:  # nothing that could make a longer window speak
        return replace(sampling, longest=0.0, finer=1)
    return sampling if takes_finer(model, profile) else replace(sampling, finer=1)


def names_motions(model: Model) -> bool:
    """Whether the classes of a model are motions of which one holds.

    Windows of several lengths are asked for them, and the light is looked at: where nothing can be
    seen all are equally probable, which says nothing of classes that are probable each on its own.
    """
    one = len(model.graph.outputs) == 1 and not model.independent()
    return bool(model.profile.sampling.longest) and one


def prepared(model: Model, spec: Preprocess, known: Survey) -> Small:
    """What makes the views of a frame of this video."""
    return Small(known.info, spec, compiled=model.engine.name == "numba")


def _run(pixels: Array, spec: Preprocess, told: _Told) -> Array:
    """Logits (V, K) of the views of one clip, uint8 (T, V, h, w, 3)."""
    with told.watch.stage("preprocess"):
        clip = normalize(pixels, spec)
    with told.watch.stage("run"):
        return np.concatenate([told.heads.logits(view[None]) for view in clip])
