"""A camera of this machine, or one in the network, as a source of frames."""

import os
import sys
from collections.abc import Iterator
from typing import Any

from tsm_ref.errors import VideoError
from tsm_ref.video.containers import DEMUXERS
from tsm_ref.video.decode import VideoFile

__all__ = ["NETWORK", "Camera", "NetworkSource"]

NETWORK = ("rtsp://", "http://", "https://")
"""How the name of a source in the network begins."""

_DEVICES = {"linux": "video4linux2,v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's devices that read cameras."""
_SOON = 100
"""Frames of a server after which its timestamps are missed."""
_PATIENCE = (10.0, 10.0)
"""Seconds in which a server has to answer, and in which each frame has to come."""


class Camera(VideoFile):
    """A `FrameSource` over camera `number`, counted from 0 as the system counts them.

    It is read by Video4Linux (``/dev/video0``), by AVFoundation on macOS and DirectShow on Windows.
    It gives frames until it is closed; a damaged one is left out. Raises `VideoError` where there
    is no such camera, it may not be used, or the installed FFmpeg cannot read cameras.
    """

    def __init__(self, number: int = 0) -> None:
        self._number = number
        on_linux = sys.platform.startswith("linux")
        super().__init__(f"/dev/video{number}" if on_linux else str(number), allow_partial=True)

    def _checked(self, path: str | os.PathLike[str], regular: bool) -> str:
        name = os.fspath(path)
        if sys.platform not in _DEVICES:
            raise VideoError(
                f"cameras are not read on {sys.platform}: pipe frames into '-' instead"
            )
        if sys.platform == "linux" and not os.path.exists(name):
            raise VideoError(f"there is no camera {name}")
        return name

    def _open(self) -> Any:
        device = _DEVICES[sys.platform]
        try:
            return self._av.open(self._device_name(device), format=device)
        except (self._av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the installed FFmpeg reads no cameras"
            raise VideoError(f"the camera {self._name} cannot be read: {reason}") from None

    def _device_name(self, device: str) -> str:
        if device == "avfoundation":
            return f"{self._number}:none"  # without a microphone
        if device != "dshow":
            return self._name
        found = [d.name for d in self._av.enumerate_input_devices(device)]
        if self._number >= len(found):
            raise VideoError(f"there is no camera {self._number}; there are {len(found)}")
        return f"video={found[self._number]}"


class NetworkSource(VideoFile):
    """A `FrameSource` over RTSP, HTTP or HTTPS: only for who asks for it by its address.

    A server that does not answer within 10 seconds, or lets a frame wait so long, ends the source
    with a `VideoError`; nothing is connected again. Of RTSP nobody can tell whether a server that
    hangs up has come to the end: that is a warning. No other protocol and no playlist is followed.
    """

    def __init__(self, address: str, *, allow_partial: bool = True) -> None:
        self._without_times = 0
        super().__init__(address, allow_partial=allow_partial)

    def _checked(self, path: str | os.PathLike[str], regular: bool) -> str:
        return os.fspath(path)

    def _open(self) -> Any:
        rtsp = self._name.startswith("rtsp://")
        options = {
            "format_whitelist": "rtsp,rtp,sdp" if rtsp else DEMUXERS,
            "protocol_whitelist": "rtp,udp,tcp" if rtsp else "http,https,tls,tcp",
        }
        options |= {"rtsp_transport": "tcp"} if rtsp else {}
        try:
            return self._av.open(self._name, container_options=options, timeout=_PATIENCE)
        except self._av.FFmpegError as error:
            reason = (error.strerror or str(error)).lower()
            raise VideoError(f"the server gives no video that can be read ({reason})") from None

    def _broken(self, reason: str) -> None:
        raise VideoError(f"the connection broke or stood still ({reason}): start it again")

    def packets(self) -> Iterator[Any]:
        """The stream's compressed packets, as they come."""
        yield from super().packets()
        if self.format_name == "rtsp":
            self.warn("the server has hung up: the video ends here, or the connection is lost")

    def _unstamped(self) -> None:
        """The first frames of RTSP may come before the time that they belong to is known."""
        self._without_times += 1
        if self._without_times == _SOON:
            super()._unstamped()
