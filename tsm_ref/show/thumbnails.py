"""The frames that the network saw, small, as JPEG: the pictures of a report."""

import base64
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import TsmError
from tsm_ref.video import read_frames, resize_pil

__all__ = ["Thumbnail", "thumbnails"]

Tree = dict[str, Any]
MOST = 16
"""The most pictures of one clip."""


@dataclass(frozen=True)
class Thumbnail:
    """One frame: its index, its second, and a ``data:`` URL of a JPEG."""

    index: int
    time: float
    url: str


def thumbnails(tree: Tree, *, width: int = 160, most: int = MOST) -> tuple[Thumbnail, ...]:
    """At most `most` of the frames of a clip, spread evenly over those that the network saw.

    Reads the file again; none come of a file that is gone or was changed for the worse.
    """
    sampling = tree["sampling"]
    times = dict(zip(np.ravel(sampling["indices"]), np.ravel(sampling["times"]), strict=True))
    seen = sorted(int(index) for index in times)
    picked = sorted({seen[k] for k in np.linspace(0, len(seen) - 1, most).round().astype(int)})
    try:
        frames = read_frames(
            tree["input"]["path"],
            picked,
            convert=lambda frame: _small(frame, width),
            allow_partial=True,
        )
    except TsmError:
        return ()
    return tuple(
        Thumbnail(index, float(times[index]), _url(image))
        for index, image in zip(picked, frames.pixels, strict=True)
    )


def _small(frame: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """A frame that is `width` pixels wide, and even in both sizes as JPEG's colours are halved."""
    height = max(2, round(frame.shape[0] * width / frame.shape[1] / 2) * 2)
    return resize_pil(frame, min(height, 4 * width), width)


def _url(image: NDArray[np.uint8]) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(image)).decode()


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    import av  # there where frames were decoded

    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj420p", Fraction(1, 25)
    codec.options = {"qscale": "5"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    packets = [*codec.encode(frame.reformat(format="yuvj420p")), *codec.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
