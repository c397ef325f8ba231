"""Optical flow as clips: folders of flow images, and flow that OpenCV computes of a video.

A picture of flow has the motion to the right as one grey image and the motion downwards as another:
from -20 to 20 pixels as 0 to 255, so that 128 is rest. A network sees `STACK` of them in a row as
one frame of ten channels, x and y in turn; frame i is the pictures from i on. Sources: Simonyan,
Zisserman 2014, section 3.1; Wang et al. 2016, section 3.2; MIT's ``ops/dataset.py``.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import MissingDependency, UsageError, VideoError
from tsm_ref.video.clips import Clip, Showing
from tsm_ref.video.source import ASSUMED_RATE, Frame, Pixels, VideoInfo
from tsm_ref.video.stills import Slides, flow_images, is_frames, open_clip, read_picture
from tsm_ref.video.surveys import Survey

__all__ = ["METHODS", "RED_GREEN", "STACK", "FlowFolder", "FlowOf", "open_flow"]

STACK = 5
"""Pictures of flow that make one frame of a network."""
BOUND = 20.0
"""The motion in pixels that is 0 and 255: what is faster is cut off."""
SHORT_SIDE = 256
"""Frames are made as small as that before their flow is computed."""
RED_GREEN = "red-green"
"""What says that a folder has both directions in one picture, as MIT's Something-Something V2."""
METHODS: Mapping[str, str] = {
    "tvl1": "TV-L1",
    "dis": "dense inverse search (DIS)",
    "farneback": "Farneback's method",
}
"""What computes flow, by the name of the option."""

_ACCEPTED = "flow_x_00001.jpg beside flow_y_00001.jpg, x_ beside y_, or 000001-x_ beside 000001-y_"

Grey = NDArray[np.uint8]


def open_flow(
    what: str | os.PathLike[str] | NDArray[Any],
    method: str | None = None,
    *,
    fps: float | None = None,
    allow_partial: bool = False,
    threads: int = 1,
) -> Clip:
    """The optical flow of a clip: a folder of flow images, or what `method` computes of a video.

    ``method`` is one of `METHODS`, `RED_GREEN`, or the folder that has the flow of this video.
    Frames of the clip are uint8 (H, W, 10).

    Raises `UsageError` where nothing says where the flow is to come from, `MissingDependency` for
    an OpenCV that is not there, `VideoError` for what cannot be read.
    """
    if method is not None and method not in METHODS and method != RED_GREEN:
        if not os.path.isdir(method):
            known = ", ".join((*METHODS, RED_GREEN))
            raise UsageError(f"`flow` (={method!r}) must be one of {known}, or a folder")
        return FlowFolder(method, fps, allow_partial=allow_partial)
    frames = not isinstance(what, np.ndarray) and is_frames(os.fspath(what))
    if not isinstance(what, np.ndarray) and frames and method not in METHODS:
        packed = method == RED_GREEN
        return FlowFolder(os.fspath(what), fps, packed=packed, allow_partial=allow_partial)
    if method is None or method == RED_GREEN:
        raise UsageError(
            "the model sees optical flow, and this is a video of pictures: give a folder of flow "
            "images, or --flow tvl1, dis or farneback to have it computed"
        )
    base = open_clip(what, fps=fps, allow_partial=allow_partial, threads=threads)
    return FlowOf(base, method, threads)


class FlowFolder:
    """A `Clip` of numbered flow images: pairs of files, or with `packed` x in red and y in green.

    Raises `VideoError` for a folder without them, and for one half of a pair.
    """

    def __init__(
        self, path: str, fps: float | None, *, packed: bool = False, allow_partial: bool = False
    ) -> None:
        self._path, self._fps, self._partial = path, fps or ASSUMED_RATE, allow_partial
        found = flow_images(path, packed=packed)
        self._numbers = sorted(found["x"])
        self._packed = packed
        for side, other in (("x", "y"), ("y", "x")):
            if alone := sorted(found[side].keys() - found[other].keys()):
                raise VideoError(
                    f"the flow image {found[side][alone[0]].name} is without its {other}: both "
                    "directions of each picture are needed"
                )
        if not self._numbers:
            raise VideoError(
                f"no flow images are in this folder: {_ACCEPTED} are accepted, and pictures with "
                f"--flow {RED_GREEN} or with what computes their flow ({', '.join(METHODS)})"
            )
        self._pairs = [(found["x"][n], found["y"][n]) for n in self._numbers]
        self._stamps = self._stamped()
        self._last: Pixels | None = None
        self._size: tuple[int, ...] = ()
        self._warnings: dict[str, None] = {}
        if fps is None:
            self._warn(f"frames in files have no times: {ASSUMED_RATE:g} a second are assumed")
        if len(self._pairs) < STACK:
            self._warn(_few(len(self._pairs)))
        missing = self._numbers[-1] - self._numbers[0] + 1 - len(self._numbers)
        if missing:
            self._warn(
                f"{missing} of the numbers of the flow images are missing: what is there is taken "
                "one after the other"
            )

    def survey(self, *, decode: bool | None = None) -> Survey:
        """What it holds, by its files; the first picture is decoded."""
        first = self._picture(0)
        if not 64 <= np.median(first) <= 192:
            self._warn(
                f"most of the first flow image is {np.median(first):.0f}, and rest is 128 of 255: "
                "other values than those of TSN's tools (-20 to 20 pixels) mean other motions"
            )
        count = max(1, len(self._pairs) - STACK + 1)
        kind = self._pairs[0][0].suffix[1:].lower().replace("jpg", "jpeg")
        height, width = first.shape[:2]
        info = VideoInfo(
            self._path, kind, width, height, 0, "flow", float(self._fps),
            len(self._pairs) / self._fps, count, tuple(self._warnings),
        )  # fmt: skip
        return Survey(info, np.arange(count) / self._fps, decoded=True)

    def open(self) -> Slides:
        """Show it from its first frame."""
        count = max(1, len(self._pairs) - STACK + 1)
        return Slides((np.arange(count) / self._fps).tolist(), self._stack, self._warnings)

    def sha256(self) -> str:
        """The SHA-256 of the bytes of its files, x and y in turn, each file once."""
        digest = hashlib.sha256()
        for file in dict.fromkeys(file for pair in self._pairs for file in pair):
            digest.update(file.read_bytes())
        if self._stamped() != self._stamps:
            raise VideoError("a flow image was changed while it was read; files that stay are "
                             "needed")  # fmt: skip
        return digest.hexdigest()

    def _stack(self, index: int) -> Pixels:
        """The pictures from this one on; the last one again where there are too few."""
        last = len(self._pairs) - 1
        pictures = [self._picture(min(index + k, last)) for k in range(STACK)]
        return np.concatenate(pictures, 2)

    def _picture(self, index: int) -> Pixels:
        """Both directions of a picture, (H, W, 2)."""
        files = self._pairs[index]
        try:
            if self._packed:
                picture = read_picture(files[0], "RGB")[:, :, :2]
            else:
                x, y = (read_picture(file, "L") for file in files)
                if x.shape != y.shape:
                    raise VideoError(f"{files[0].name} and {files[1].name} are of two sizes")
                picture = np.stack([x, y], 2)
        except VideoError as error:
            if not self._partial or self._last is None:
                raise
            self._warn(f"{error}: the flow before is taken again")
            picture = self._last
        self._size = self._size or picture.shape
        if picture.shape != self._size:
            raise VideoError(
                f"the flow image {files[0].name} is of {picture.shape[1]}x{picture.shape[0]} and "
                f"the first of {self._size[1]}x{self._size[0]}: one size is needed"
            )
        self._last = picture
        return picture

    def _stamped(self) -> list[tuple[int, int]]:
        try:
            stats = [os.stat(file) for pair in self._pairs for file in pair]
        except OSError:
            return []
        return [(found.st_size, found.st_mtime_ns) for found in stats]

    def _warn(self, message: str) -> None:
        self._warnings[message] = None


class FlowOf:
    """A `Clip` of the optical flow between each frame of another clip and the next one."""

    def __init__(self, clip: Clip, method: str, threads: int = 1) -> None:
        self._clip, self._flow = clip, computing(method, threads)
        self._note = (
            f"the optical flow was computed here by OpenCV's {METHODS[method]}, on frames of at "
            f"most {SHORT_SIDE} pixels on their short side: published weights of flow were made "
            f"with TV-L1{', by other programs' if method == 'tvl1' else ''}"
        )

    def survey(self, *, decode: bool | None = None) -> Survey:
        """What it holds: fewer frames than the clip, as each looks at the six from its own on."""
        known = self._clip.survey(decode=decode)
        count = max(1, known.info.frame_count - STACK)
        notes = [self._note]
        if known.info.frame_count <= STACK:
            notes.append(_few(known.info.frame_count - 1))
        info = replace(known.info, frame_count=count, warnings=(*known.info.warnings, *notes))
        return replace(known, info=info, times=known.times[:count])

    def open(self) -> "_FlowShowing":
        """Show it from its first frame."""
        return _FlowShowing(self._clip.open(), self._flow)

    def sha256(self) -> str:
        """The SHA-256 of the clip whose flow this is."""
        return self._clip.sha256()


class _FlowShowing:
    """Frames of flow, each computed when its pixels are asked for."""

    patient = False

    def __init__(self, source: Showing, flow: Callable[[Grey, Grey], Pixels]) -> None:
        self._source, self._flow = source, flow
        self._known: dict[int, Pixels] = {}

    @property
    def interlaced(self) -> bool:
        """Whether the frames behind it are of two fields."""
        return self._source.interlaced

    @property
    def damaged(self) -> bool:
        """Whether something did not decode."""
        return self._source.damaged

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know of the frames behind it."""
        return self._source.warnings

    def shown(self) -> Iterator[tuple[int, float, Callable[[], Pixels]]]:
        """Index and seconds of each frame, and what computes its pixels."""
        held: deque[tuple[int, float, Grey]] = deque(maxlen=STACK + 1)
        whole = False
        for index, time, pixels in self._source.shown():
            held.append((index, time, _grey(pixels())))
            if whole := len(held) == STACK + 1:
                yield *held[0][:2], partial(self._stack, list(held))
        if not whole:
            if len(held) < 2:
                raise VideoError("one frame shows no motion: at least two are needed for flow")
            yield *held[0][:2], partial(self._stack, list(held))

    def shown_in_planes(self) -> Iterator[tuple[int, float, Callable[[], Pixels]]]:
        """As `shown`: flow has no colours."""
        return self.shown()

    def __iter__(self) -> Iterator[Frame]:
        return (Frame(index, time, pixels()) for index, time, pixels in self.shown())

    def close(self) -> None:
        """Let go of the file behind it."""
        self._source.close()

    def _stack(self, held: list[tuple[int, float, Grey]]) -> Pixels:
        known, self._known = self._known, {}
        for (index, _, before), (_, _, after) in pairwise(held):
            self._known[index] = known[index] if index in known else self._flow(before, after)
        pictures = list(self._known.values())
        return np.concatenate([*pictures, *pictures[-1:] * (STACK - len(pictures))], 2)


def as_bytes(flow: NDArray[np.float32]) -> Pixels:
    """Motion in pixels as 0 to 255: from -20 to 20, rounded half to even, cut off beyond.

    >>> as_bytes(np.array([-30.0, -20.0, 0.0, 1.0, 20.0], np.float32)).tolist()
    [0, 0, 128, 134, 255]
    """
    scaled = 255 * (flow.astype(np.float64) + BOUND) / (2 * BOUND)
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def computing(method: str, threads: int = 1) -> Callable[[Grey, Grey], Pixels]:
    """What computes the flow from a grey frame to the next one, uint8 (H, W, 2).

    Raises `MissingDependency` for an OpenCV that is not there, or without this method.
    """
    try:
        import cv2
    except ImportError:
        raise MissingDependency("opencv-python-headless", "compute optical flow") from None
    of: Any = cv2
    of.setNumThreads(threads)
    if method == "farneback":  # the values of OpenCV's own example

        def compute(before: Grey, after: Grey) -> Pixels:
            found = of.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)
            return as_bytes(found)

        return compute
    if method == "dis":
        made = of.DISOpticalFlow_create(of.DISOPTICAL_FLOW_PRESET_MEDIUM)
    elif hasattr(getattr(of, "optflow", None), "DualTVL1OpticalFlow_create"):
        made = of.optflow.DualTVL1OpticalFlow_create()
    else:
        raise MissingDependency("opencv-contrib-python-headless", "compute TV-L1 (dis needs none)")
    return lambda before, after: as_bytes(made.calc(before, after, None))


def _grey(pixels: Pixels) -> Grey:
    """A frame in grey, no more than `SHORT_SIDE` high or wide."""
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = SHORT_SIDE / min(height, width)
    if scale < 1:
        size = (round(width * scale), round(height * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.uint8)


def _few(count: int) -> str:
    return (
        f"there {'is' if count == 1 else 'are'} {count} picture{'s' * (count != 1)} of flow and "
        f"the network sees {STACK} at once: the last one is repeated"
    )
