"""Video over RTSP: followed to its end, and what is said where that does not come.

Of a server of our own that ends as it is told, and of GStreamer's, which belongs to the system's
Python: ``apt install gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-{base,good,bad}``.
"""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.video.rtsp_server import RtspServer, pictures_of
from tsm_ref import infer
from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import VideoError
from tsm_ref.live import open_source
from tsm_ref.video import camera

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


Pictures = list[list[bytes]]


@pytest.fixture
def pictures(make_clip: Callable[..., Path]) -> Pictures:
    """Sixty pictures, every tenth a key picture."""
    options = {"g": "10", "bf": "0", "x264-params": "threads=1"}
    path = make_clip("a.h264", 60, codec="libx264", pix_fmt="yuv420p", codec_options=options)
    return pictures_of(path)


def followed(server: RtspServer, *, partial: bool = False) -> tuple[list[float], str, str]:
    """The times of what is shown, the warnings, and the error at the end."""
    times, error = [], ""
    with server.running() as address:
        source = open_source(address, allow_partial=partial)
        try:
            for frame in source:
                times.append(frame.time)
        except VideoError as caught:
            error = str(caught)
        source.close()
    return times, "; ".join(source.warnings), error


def test_what_was_promised_ends_without_a_word(pictures: Pictures) -> None:
    times, warnings, error = followed(RtspServer(pictures))
    assert times == pytest.approx([n / 25 for n in range(60)])
    assert not error
    assert "lost" not in warnings


@pytest.mark.parametrize("end", ["bye", "drop"])
@pytest.mark.parametrize(
    ("live", "words"),
    [(False, r"the connection was lost after 1\.2 of 2\.4 s"), (True, "the server has hung up")],
)
def test_a_server_that_leaves_early_is_an_error_after_its_frames(
    live: bool, words: str, end: str, pictures: Pictures
) -> None:
    server = {"count": 30, "live": live, "end": end}
    times, _, error = followed(RtspServer(pictures, **server))
    assert len(times) == 30
    assert re.match(f"{words}.*: start it again", error)
    times, warnings, error = followed(RtspServer(pictures, **server), partial=True)
    assert (len(times), error) == (30, "")
    assert re.match(f"{words}.*: this is taken for the end", warnings)


def test_a_server_that_falls_silent_is_an_error(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera, "_PATIENCE", (5.0, 0.5))
    times, _, error = followed(RtspServer(pictures, count=30, end="silence"))
    assert times
    assert re.match("the connection (broke or stood still|was lost).*: start it again", error)


def test_a_live_stream_begins_with_its_first_whole_picture(pictures: Pictures) -> None:
    times, _, _ = followed(RtspServer(pictures, begin=15, live=True))
    assert times == pytest.approx([n / 25 for n in range(40)])


def test_the_command_line_names_no_password_and_keeps_the_state(
    pictures: Pictures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.h5"
    server = RtspServer(pictures, count=30, live=True, end="drop", password="hush")
    with server.running() as address:
        address = address.replace("//", "//me:hush@").replace("rtsp", "RTSP")
        options = ["--engine", "numpy", "--state", str(state), "--every", "10"]
        assert infer.main([*options, "--stream", address]) == 3
        written = state.stat().st_mtime_ns
        assert infer.main([*options, "--stream", address.replace("hush", "wrong")]) == 3
    out, err = capsys.readouterr()
    assert out.count('"frame"') >= 1
    assert "the server has hung up" in err
    assert "gives no video that can be read" in err
    assert "hush" not in out + err
    assert "wrong" not in err
    assert written


def test_a_stream_is_followed_to_its_end(server: Server) -> None:
    source = open_source(f"{server[0]}/clip")
    frames = list(source)
    source.close()
    assert 70 <= len(frames) <= 84
    assert frames[-1].time == pytest.approx((len(frames) - 1) / 24, rel=0.1)
    assert not any("there are no timestamps" in warning for warning in source.warnings)
    assert not any("lost" in warning for warning in source.warnings)


def test_a_server_that_is_gone_ends_the_stream(server: Server) -> None:
    source = open_source(f"{server[0]}/clip")
    frames = iter(source)
    for _ in range(5):
        next(frames)
    server[1].kill()
    with pytest.raises(VideoError, match="the connection was lost after"):
        list(frames)
    source.close()


def test_what_a_server_does_not_have_is_one_sentence(server: Server) -> None:
    with pytest.raises(VideoError, match=r"gives no video that can be read \(.*404"):
        open_source(f"{server[0]}/nowhere")
    server[1].kill()
    server[1].wait()
    with pytest.raises(VideoError, match="connection refused"):
        open_source(f"{server[0]}/clip")
