"""Cameras by their FFmpeg devices, and sources in the network, without a device and a network."""

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tsm_ref.errors import VideoError
from tsm_ref.live import open_source
from tsm_ref.video import Camera, NetworkSource, camera

av = pytest.importorskip("av")
Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("system", "name", "device"),
    [
        ("darwin", "1:none", "avfoundation"),
        ("win32", "video=second", "dshow"),
    ],
)
def test_a_camera_is_opened_by_the_device_of_its_system(
    monkeypatch: pytest.MonkeyPatch, system: str, name: str, device: str
) -> None:
    asked: list[tuple[str, str]] = []

    def opened(file: str, format: str) -> None:
        asked.append((file, format))
        raise ValueError("no such format")

    devices = [SimpleNamespace(name="first"), SimpleNamespace(name="second")]
    monkeypatch.setattr(camera.sys, "platform", system)
    monkeypatch.setattr(av, "open", opened)
    monkeypatch.setattr(av, "enumerate_input_devices", lambda format: devices, raising=False)
    with pytest.raises(VideoError, match="the camera 1 cannot be read"):
        Camera(1)
    assert asked == [(name, device)]
    if system == "win32":
        with pytest.raises(VideoError, match="there is no camera 7; there are 2"):
            Camera(7)


def test_a_system_without_cameras_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.sys, "platform", "aix")
    with pytest.raises(VideoError, match="not read on aix"):
        Camera(0)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()
        thread.join()


def test_an_address_is_followed_when_it_is_asked_for(make_clip: Make, server: str) -> None:
    make_clip("a.ts", 12, codec="libx264", pix_fmt="yuv420p")
    source = open_source(f"{server}/a.ts")
    assert len(list(source)) == 12
    source.close()


def test_only_addresses_that_are_followed_are_sources() -> None:
    for address in ("rtmp://server/live", "udp://239.0.0.1:1234", "file:///clip.mp4"):
        with pytest.raises(VideoError, match=r"those that begin with rtsp://, http://, https://"):
            open_source(address)


def test_a_server_that_has_no_video_is_one_sentence(tmp_path: Path, server: str) -> None:
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n")
    for name in ("missing.mp4", "list.m3u8"):
        with pytest.raises(VideoError, match="gives no video that can be read"):
            open_source(f"{server}/{name}")


class _Dropping(http.server.BaseHTTPRequestHandler):
    """Serves a file, and leaves or falls silent in the middle of it."""

    body = b""
    silent = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body[: len(self.body) // 2])
        self.wfile.flush()
        self.silent.wait(20)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("silent", [False, True])
def test_a_server_that_drops_ends_the_source_with_a_sentence_after_its_frames(
    silent: bool, make_clip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip("a.ts", 60, codec="libx264", pix_fmt="yuv420p", codec_options={"g": "10"})
    monkeypatch.setattr(camera, "_PATIENCE", (10.0, 0.5))
    monkeypatch.setattr(_Dropping, "body", path.read_bytes() * 8)
    monkeypatch.setattr(_Dropping, "silent", threading.Event())
    if not silent:
        _Dropping.silent.set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Dropping) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        seen: list[int] = []
        try:
            with NetworkSource(f"http://127.0.0.1:{served.server_address[1]}/live.ts") as source:
                frames = iter(source)
                with pytest.raises(VideoError, match=r"broke or stood still .*: start it again"):
                    seen.extend(frame.index for frame in frames)
        finally:
            _Dropping.silent.set()
            served.shutdown()
    assert len(seen) > 100
