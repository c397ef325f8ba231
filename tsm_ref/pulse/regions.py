"""Where the face is: a region of the picture that is given, or that OpenCV's own detector finds."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tsm_ref.errors import MissingDependency, UsageError

__all__ = ["Region", "detector"]

Pixels = NDArray[np.uint8]

LARGER = 1.5
"""How many times as wide and high as the detected face the region is (rPPG-Toolbox)."""

CASCADE = "haarcascade_frontalface_default.xml"


class Region(NamedTuple):
    """A part of a picture in pixels: its left and upper edge, its width and its height.

    >>> Region.parse("40,30,200,220")
    Region(left=40, top=30, width=200, height=220)
    """

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> "Region":
        """A region by "x,y,w,h"; raises `UsageError` for anything else."""
        found = re.fullmatch(r"([0-9]{1,5}),([0-9]{1,5}),([0-9]{1,5}),([0-9]{1,5})", text)
        region = cls(*(int(part) for part in found.groups())) if found else None
        if region is None or not region.width or not region.height:
            raise UsageError(
                f"`roi` (={text[:40]!r}) must be x,y,w,h: whole numbers of pixels, w and h above 0"
            )
        return region

    def __str__(self) -> str:
        return ",".join(map(str, self))

    def check(self, height: int, width: int) -> None:
        """Raise `UsageError` where the region reaches outside a picture of this size."""
        if self.left + self.width > width or self.top + self.height > height:
            raise UsageError(f"`roi` (={self}) reaches outside the picture of {width}x{height}")

    def cut(self, pixels: Pixels) -> Pixels:
        """The part of a picture (H, W, 3); raises `UsageError` where it reaches outside."""
        self.check(*pixels.shape[:2])
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]

    def larger(self, times: float, height: int, width: int) -> "Region":
        """The region made larger around its middle, and cut off at the edges of the picture.

        >>> Region(10, 40, 20, 20).larger(1.5, 65, 100)
        Region(left=5, top=35, width=30, height=30)
        """
        grow = (times - 1) / 2
        left = max(0, int(self.left - grow * self.width))
        top = max(0, int(self.top - grow * self.height))
        right = min(width, left + int(times * self.width))
        bottom = min(height, top + int(times * self.height))
        return Region(left, top, right - left, bottom - top)


def detector(model: str | None = None) -> Callable[[Pixels], list[Region]]:
    """What finds the faces of a picture, RGB uint8 (H, W, 3), the widest first.

    OpenCV's Haar cascade for frontal faces, which comes with OpenCV 3 and 4; with the ``model`` of
    its YuNet, an ONNX file, that one. Raises `MissingDependency` without OpenCV, `UsageError` where
    the OpenCV that is installed has no detector, or cannot read the model.
    """
    try:
        import cv2
    except ImportError:
        raise MissingDependency(
            "opencv-python-headless", "find a face (or give its place: --roi x,y,w,h)"
        ) from None
    if model is not None:
        return _yunet(cv2, model)
    cascade = os.path.join(getattr(getattr(cv2, "data", None), "haarcascades", ""), CASCADE)
    if not hasattr(cv2, "CascadeClassifier") or not os.path.exists(cascade):
        raise UsageError(
            f"the OpenCV that is installed ({cv2.__version__}) brings no face detector: give the "
            "place of the face (--roi x,y,w,h), the model of YuNet (--face-model FILE.onnx), or "
            "install 'opencv-python-headless<5'"
        )
    return _haar(cv2, cascade)


def _haar(cv2: Any, cascade: str) -> Callable[[Pixels], list[Region]]:
    classifier = cv2.CascadeClassifier(cascade)

    def find(pixels: Pixels) -> list[Region]:
        boxes = classifier.detectMultiScale(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        return _inside(np.reshape(boxes, (-1, 4)), pixels)

    return find


def _yunet(cv2: Any, model: str) -> Callable[[Pixels], list[Region]]:
    if not os.path.isfile(model):
        raise UsageError(f"`face_model` (={model!r}): there is no such file")
    try:
        with suppress(AttributeError):
            log = cv2.utils.logging  # errors alone: OpenCV 5 warns of its own engine
            log.setLogLevel(log.LOG_LEVEL_ERROR)
        network = cv2.FaceDetectorYN.create(model, "", (320, 320))
    except (cv2.error, AttributeError) as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise UsageError(f"`face_model` (={model!r}) is no YuNet of OpenCV: {reason}") from None

    def find(pixels: Pixels) -> list[Region]:
        network.setInputSize((pixels.shape[1], pixels.shape[0]))
        _, rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        return [] if rows is None else _inside(rows[:, :4], pixels)

    return find


def _inside(boxes: NDArray[Any], pixels: Pixels) -> list[Region]:
    """Those of (x, y, w, h) that have something inside the picture, cut off at its edges."""
    height, width = pixels.shape[:2]
    corners = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    inside = np.clip(corners, 0, [width, height, width, height]).astype(int)
    found = [Region(x, y, r - x, b - y) for x, y, r, b in inside.tolist() if r > x and b > y]
    return sorted(found, key=lambda region: -region.width)
