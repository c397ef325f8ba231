"""A camera of this machine, or one in the network, as a source of frames."""

import os
import sys
from collections.abc import Iterator
from typing import Any

from tsm_ref.errors import VideoError
from tsm_ref.video.containers import DEMUXERS
from tsm_ref.video.decode import VideoFile

__all__ = ["NETWORK", "Camera", "NetworkSource", "is_address"]

NETWORK = ("rtsp://", "http://", "https://")
"""How the name of a source in the network begins, in small letters or large ones."""

_DEVICES = {"linux": "video4linux2,v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's devices that read cameras."""
_SOON = 100
"""Frames of a server after which its timestamps are missed."""
_PATIENCE = (10.0, 10.0)
"""Seconds in which a server has to answer, and in which each frame has to come."""
_SHORT = 1.0
"""Seconds by which a server may end before what it promised: key pictures are waited for."""


def is_address(name: str) -> bool:
    """Whether a source is one in the network, by how its name begins.

    >>> is_address("RTSP://camera/1"), is_address("clip.mp4")
    (True, False)
    """
    return name.lower().startswith(NETWORK)


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

    Where the connection is lost, the source ends with a `VideoError` after the frames that came,
    and with ``allow_partial`` with a warning; nothing is connected again. It is lost where the
    server does not answer, or lets a frame wait, for 10 seconds; where HTTP breaks off; and where
    an RTSP server hangs up before the end that it promised. A live one promises none: whether it
    has ended or is lost nobody can tell, so that is an error, too. Damaged pictures are left out
    with a warning, as a stream can begin, and break off, within one. No other protocol and no
    playlist is followed.
    """

    def __init__(self, address: str, *, allow_partial: bool = False) -> None:
        self._without_times, self._lenient = 0, allow_partial
        self._rtsp = address.lower().startswith("rtsp:")
        super().__init__(address, allow_partial=True)

    def _checked(self, path: str | os.PathLike[str], regular: bool) -> str:
        scheme, rest = os.fspath(path).split(":", 1)
        return f"{scheme.lower()}:{rest}"

    def _open(self) -> Any:
        options = {
            "format_whitelist": "rtsp,rtp,sdp" if self._rtsp else DEMUXERS,
            "protocol_whitelist": "rtp,udp,tcp" if self._rtsp else "http,https,tls,tcp",
        }
        options |= {"rtsp_transport": "tcp"} if self._rtsp else {}
        try:
            return self._av.open(self._name, container_options=options, timeout=_PATIENCE)
        except self._av.FFmpegError as error:
            reason = (error.strerror or str(error)).lower()
            raise VideoError(f"the server gives no video that can be read ({reason})") from None

    def packets(self) -> Iterator[Any]:
        """The stream's compressed packets, as they come."""
        yield from super().packets()
        if self._rtsp and self.look is not None:
            self._hung_up()

    def _hung_up(self) -> None:
        """FFmpeg does not tell an RTSP server that says goodbye from one that is lost."""
        promised = (self._container.duration or 0) / self._av.time_base
        end = self.clock.timeline().end
        if not promised:
            self._lost("the server has hung up, and a live stream has no end of its own")
        elif end < promised - _SHORT:
            self._lost(f"the connection was lost after {end:.1f} of {promised:.1f} s")

    def _broken(self, reason: str) -> None:
        self._lost(f"the connection broke or stood still ({reason})")

    def _lost(self, what: str) -> None:
        if not self._lenient:
            raise VideoError(f"{what}: start it again")
        self.warn(f"{what}: this is taken for the end")

    def _unstamped(self) -> None:
        """The first frames of RTSP may come before the time that they belong to is known."""
        self._without_times += 1
        if self._without_times == _SOON:
            super()._unstamped()
