"""Video over RTSP from GStreamer's server: followed to its end, and what is said without it.

The server belongs to the system's Python: ``apt install gir1.2-gst-rtsp-server-1.0 python3-gi
gstreamer1.0-plugins-{base,good,bad}``.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import VideoError
from tsm_ref.live import open_source

pytest.importorskip("av")
CLIP = weights_folder() / "samples" / "zoom_in.mp4"
SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server, media = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
server.set_address("127.0.0.1")
server.set_service(sys.argv[2])
parts = "filesrc location={} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96"
media.set_launch("( " + parts.format(sys.argv[1]) + " )")
server.get_mount_points().add_factory("/clip", media)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""
Server = tuple[str, "subprocess.Popen[str]"]


@pytest.fixture
def server() -> Iterator[Server]:
    python = shutil.which("python3", path="/usr/bin")
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port = str(some.getsockname()[1])
    command = [python or "python3", "-c", SERVER, str(CLIP), port]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            if child.stdout is None or child.stdout.readline() != "ready\n":
                pytest.skip("no RTSP server of GStreamer is installed")
            yield f"rtsp://127.0.0.1:{port}", child
        finally:
            child.kill()


def test_a_stream_is_followed_to_its_end(server: Server) -> None:
    source = open_source(f"{server[0]}/clip")
    frames = list(source)
    source.close()
    assert 70 <= len(frames) <= 84
    assert frames[-1].time == pytest.approx((len(frames) - 1) / 24, rel=0.1)
    assert not any("there are no timestamps" in warning for warning in source.warnings)
    assert any("has hung up" in warning for warning in source.warnings)


def test_a_server_that_is_gone_ends_the_stream(server: Server) -> None:
    source = open_source(f"{server[0]}/clip")
    count = 0
    for count, _ in enumerate(source, 1):
        if count == 5:
            server[1].kill()
    source.close()
    assert 5 <= count < 84
    assert any("has hung up" in warning for warning in source.warnings)


def test_what_a_server_does_not_have_is_one_sentence(server: Server) -> None:
    with pytest.raises(VideoError, match=r"gives no video that can be read \(.*404"):
        open_source(f"{server[0]}/nowhere")
    server[1].kill()
    server[1].wait()
    with pytest.raises(VideoError, match="connection refused"):
        open_source(f"{server[0]}/clip")
