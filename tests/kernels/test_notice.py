import io
import logging

from tsm_ref.kernels import notice
from tsm_ref.kernels.notice import Compiling, ProgressLine


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_listener_hears_of_every_kernel_until_it_stops(caplog):
    seen = []
    stop = notice.listen(seen.append)
    caplog.set_level(logging.INFO, "tsm_ref.kernels")
    with notice.compiling("outer"), notice.compiling("inner"):
        pass
    stop()
    with notice.compiling("unheard"):
        pass
    first = seen[0].number
    assert seen == [
        Compiling("outer", False, first, 1),
        Compiling("inner", False, first + 1, 2),
        Compiling("inner", True, first + 1, 1),
        Compiling("outer", True, first + 1, 0),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"compiling {name}" for name in ("outer", "inner", "unheard")
    ]


def test_a_kernel_that_failed_to_compile_does_not_stay_open():
    seen = []
    stop = notice.listen(seen.append)
    with notice.compiling("outer"):
        notice.begin("fails")
    notice.end("never begun")
    stop()
    assert seen[-1].depth == 0
    assert [event.name for event in seen] == ["outer", "fails", "outer"]


def test_lines_that_stay_are_few(monkeypatch):
    now = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr(notice.time, "monotonic", lambda: next(now))
    stream = io.StringIO()
    line = ProgressLine(stream)
    for i in range(4):
        line(Compiling(f"k{i}", False, i + 1, 1))
    assert stream.getvalue().splitlines() == [
        "compiling kernels, once (later runs find them)",
        "  3 kernels, 6 s",
    ]


def test_on_a_terminal_the_line_vanishes():
    stream = Terminal()
    line = ProgressLine(stream)
    line(Compiling("conv", False, 1, 1))
    line(Compiling("conv", True, 1, 0))
    said, shown, erased = stream.getvalue().partition("\r\x1b[K  1 kernels, 0 s: conv")
    assert said == "compiling kernels, once (later runs find them)\n"
    assert shown
    assert erased == "\r\x1b[K"
