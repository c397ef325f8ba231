"""A camera of this machine as a source of frames."""

import os
import sys
from typing import Any

from tsm_ref.errors import VideoError
from tsm_ref.video.decode import VideoFile

__all__ = ["Camera"]


class Camera(VideoFile):
    """A `FrameSource` over camera `number`: ``/dev/video0``, by Video4Linux (Linux only).

    It gives frames until it is closed; a damaged one is left out. Raises `VideoError` where there
    is no such camera, it may not be used, or the installed FFmpeg cannot read cameras.
    """

    def __init__(self, number: int = 0) -> None:
        super().__init__(f"/dev/video{number}", allow_partial=True)

    def _checked(self, path: str | os.PathLike[str], regular: bool) -> str:
        name = os.fspath(path)
        if not sys.platform.startswith("linux"):
            raise VideoError("cameras are read on Linux only: pipe frames into '-' instead")
        if not os.path.exists(name):
            raise VideoError(f"there is no camera {name}")
        return name

    def _open(self) -> Any:
        try:
            return self._av.open(self._name, format="video4linux2,v4l2")
        except (self._av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the installed FFmpeg reads no cameras"
            raise VideoError(f"the camera {self._name} cannot be read: {reason}") from None
