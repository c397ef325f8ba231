import io
import os
import threading
import time

import av
import numpy as np
import pytest

from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import UsageError, VideoError
from tsm_ref.live.sources import Newest, Pace, Playing, RawFrames, open_source
from tsm_ref.video import Camera, Frame, Pipe


class Listed:
    """A source of numbered frames; it may wait for a signal before each."""

    def __init__(self, count, ready=None, error=None, rate=25):
        self.count, self.ready, self.error, self.rate = count, ready, error, rate
        self.given = 0
        self.warnings = ("one",)
        self.closed = False

    def __iter__(self):
        for index in range(self.count):
            if self.ready is not None:
                self.ready.acquire()
            self.given += 1
            yield Frame(index, index / self.rate, np.full((2, 2, 3), index, np.uint8))
        if self.error is not None:
            raise self.error

    def close(self):
        self.closed = True


def test_every_kth_frame_is_taken():
    pace = Pace(every=3)
    assert [n for n in range(8) if pace.takes(n, n / 25)] == [0, 3, 6]


@pytest.mark.parametrize(("fps", "rate"), [(25, 8), (30, 8), (24, 8), (30, 10), (10, 25)])
def test_a_rate_takes_the_first_frame_at_each_time_of_the_grid(fps, rate):
    times = [0.5 + n / fps for n in range(60)]
    pace = Pace(rate=rate)
    taken = [n for n, t in enumerate(times) if pace.takes(n, t)]
    grid = range(int((times[-1] - 0.5) * rate + 1e-6) + 1)
    expected = [next(n for n, t in enumerate(times) if t - 0.5 >= k / rate - 1e-6) for k in grid]
    assert taken == sorted(set(expected))


def test_a_pace_goes_on_from_its_state():
    whole, first, second = Pace(rate=7), Pace(rate=7), Pace(rate=7)
    expected = [whole.takes(n, n / 30) for n in range(50)]
    found = [first.takes(n, n / 30) for n in range(20)]
    second.state = first.state
    assert found + [second.takes(n, n / 30) for n in range(20, 50)] == expected
    second.state = Pace().state
    assert second.takes(0, 0.0)


def test_a_state_does_not_bind_a_pace_to_its_rate():
    first, second = Pace(rate=10), Pace(rate=2)
    assert [n for n in range(30) if first.takes(n, n / 10)] == list(range(30))
    second.state = first.state
    assert [n for n in range(30, 46) if second.takes(n, n / 10)] == [30, 35, 40, 45]


@pytest.mark.parametrize(("options", "words"), [({"every": 0}, "every"), ({"rate": 0.0}, "rate")])
def test_a_pace_that_takes_nothing_is_refused(options, words):
    with pytest.raises(UsageError, match=rf"`{words}` \(=0"):
        Pace(**options)


def test_raw_frames_are_cut_by_their_size():
    data = bytes(range(36)) + b"xy"
    source = RawFrames.described(io.BytesIO(data), "3x2@5")
    frames = list(source)
    assert [(f.index, f.time) for f in frames] == [(0, 0.0), (1, 0.2)]
    assert b"".join(f.pixels.tobytes() for f in frames) == data[:36]
    assert frames[0].pixels.shape == (2, 3, 3)
    assert source.warnings == ("the last frame has 2 of 18 bytes: left out",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "WIDTHxHEIGHT"),
        ("3", "WIDTHxHEIGHT"),
        ("3x", "WIDTHxHEIGHT"),
        ("3x2@", "WIDTHxHEIGHT"),
        ("-3x2", "WIDTHxHEIGHT"),
        ("0x2", "0x2@25 is not a size"),
        ("3x2@0", "3x2@0 is not a size"),
        ("99999x99999", "is not a size"),
    ],
)
def test_a_size_that_cannot_be_is_refused(text, words):
    with pytest.raises(UsageError, match=words):
        RawFrames.described(io.BytesIO(), text)


def test_sources_by_name(tmp_path, monkeypatch):
    stdin = io.BytesIO(bytes(12))
    assert len(list(open_source("-", raw="2x2", stdin=stdin))) == 1
    with pytest.raises(UsageError, match="give '-' as the source"):
        open_source("clip.mp4", raw="2x2", stdin=stdin)
    with pytest.raises(UsageError, match="must be camera:0, camera:1"):
        open_source("camera:front")
    with pytest.raises(VideoError, match="there is no camera /dev/video4711"):
        open_source("camera:4711")
    with pytest.raises(VideoError, match="no such file"):
        open_source(str(tmp_path / "missing.mp4"))
    for raw in (None, "2x2"):
        with pytest.raises(VideoError, match="standard input is closed"):
            open_source("-", raw=raw)
        monkeypatch.setattr(stdin := io.BytesIO(), "isatty", lambda: True, raising=False)
        with pytest.raises(UsageError, match="standard input is a terminal"):
            open_source("-", raw=raw, stdin=stdin)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_is_a_pipe(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    film = tmp_path / "film.ts"
    with av.open(str(film), "w") as output:
        stream = output.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(12):
            output.mux(stream.encode(av.VideoFrame(48, 32, "yuv420p")))
        output.mux(stream.encode(None))
    writer = threading.Thread(target=fifo.write_bytes, args=(film.read_bytes(),))
    writer.start()
    with open_source(str(fifo)) as source:
        assert isinstance(source, Pipe)
        assert len(list(source)) == 12
    writer.join()


def test_a_camera_is_a_device_that_gives_frames(tmp_path, monkeypatch):
    """A file stands for the device, and a decoder that reads cameras for FFmpeg's."""
    pan = weights_folder() / "samples" / "pan_left.mp4"
    opened = []

    def reads_cameras(name, format):
        opened.append((name, format))
        return genuine(str(pan))

    genuine = av.open
    monkeypatch.setattr(Camera, "_checked", lambda self, path, regular: str(path))
    monkeypatch.setattr(av, "open", reads_cameras)
    with Camera(3) as camera:
        frame = next(iter(camera))
    assert opened == [("/dev/video3", "video4linux2,v4l2")]
    assert frame.pixels.shape[2] == 3


def test_a_camera_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "video").write_bytes(b"")
    monkeypatch.setattr(Camera, "_checked", lambda self, path, regular: str(tmp_path / "video"))
    with pytest.raises(VideoError, match=r"the camera .*video cannot be read: "):
        Camera(0)


def test_too_many_frames_are_dropped_and_the_newest_is_kept():
    ready = threading.Semaphore(0)
    source = Newest(inner := Listed(10, ready))
    frames = iter(source)
    ready.release()
    assert next(frames).index == 0
    for _ in range(4):
        ready.release()
    while inner.given < 5 or source._newest is None or source._newest.index < 4:
        time.sleep(0.001)
    assert next(frames).index == 4
    assert source.dropped == 3
    for _ in range(5):
        ready.release()
    rest = [frame.index for frame in frames]
    assert rest[-1] == 9
    assert source.dropped == 3 + 5 - len(rest)
    source.close()
    assert inner.closed
    assert source.warnings == ("one",)


def test_frames_that_the_pace_leaves_out_are_not_dropped():
    source = Newest(Playing(Listed(20, rate=1000)), Pace(every=4))
    seen = []
    for frame in source:
        seen.append(frame.index)
        time.sleep(0.0005)
    assert set(seen) <= {0, 4, 8, 12, 16}
    assert len(seen) + source.dropped == 5


@pytest.mark.parametrize("error", [VideoError("cut"), OSError("cut"), MemoryError("cut")])
def test_an_error_of_the_source_reaches_who_asks(error):
    source = Newest(Listed(1, error=error))
    with pytest.raises(type(error), match="cut"):
        list(source)


def test_a_source_that_is_being_read_is_not_closed():
    ready = threading.Semaphore(1)
    source = Newest(inner := Listed(2, ready))
    assert next(iter(source)).index == 0
    source.close()  # the thread waits for the second frame
    assert not inner.closed
    ready.release()


def test_playing_takes_as_long_as_the_film():
    begin = time.monotonic()
    frames = list(Playing(source := Listed(6, rate=50)))
    assert time.monotonic() - begin >= 0.1 - 0.001
    assert [frame.index for frame in frames] == list(range(6))
    assert Playing(source).warnings == ("one",)


def test_playing_does_not_wait_for_what_was_seen():
    begin = time.monotonic()
    assert [frame.index for frame in Playing(Listed(200, rate=1), first=199)] == [199]
    assert time.monotonic() - begin < 30  # of 199 seconds
