"""Streams on the command line: lines, pipes, states, and what happens when it is interrupted."""

import io
import json
import os
import signal
import subprocess
import sys

import av
import pytest

from tsm_ref import infer
from tsm_ref.checkpoint import weights_folder
from tsm_ref.video import read_frames

SAMPLES = weights_folder() / "samples"
TOUR = str(SAMPLES / "tour.mp4")
COMMAND = [sys.executable, "-m", "tsm_ref.infer", "--engine", "numba"]


def run(capsys, *arguments):
    code = infer.main(["--engine", "numba", *arguments])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def told(lines):
    """What the lines say, but for how long it took."""
    return [{**json.loads(line), "latency": None} for line in lines]


def test_a_file_gives_a_json_line_per_frame(capsys):
    code, lines, err = run(capsys, "--stream", TOUR, "--every", "10", "--top", "3")
    assert code == 0
    assert [line["frame"] for line in told(lines)] == list(range(0, 10 * len(lines), 10))
    assert {len(line["top"]) for line in told(lines)} == {3}
    assert f"{len(lines)} frames in " in err


def test_a_terminal_gets_a_line_per_event(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    _, lines, _ = run(capsys, "--stream", TOUR, "--no-event", "static", "--persist", "3")
    events = [line.split(" s  ")[1].split("  ")[0] for line in lines]
    assert events[-4:] == ["pan right", "zoom in", "roll counter-clockwise", "tilt up"]
    code, lines, _ = run(capsys, "--stream", TOUR, "--json")
    assert code == 0
    assert len(told(lines)) == 112


def test_a_masked_label_does_not_show(capsys):
    _, lines, _ = run(capsys, "--stream", TOUR, "--mask", "tilt up", "--mask", "1")
    shown = {line["label"] for line in told(lines)}
    assert "zoom in" in shown
    assert not shown & {"tilt up", "pan left"}


def test_a_pipe_gives_what_the_file_gives(capsys):
    _, lines, _ = run(capsys, "--stream", TOUR)
    with open(TOUR, "rb") as file:
        piped = subprocess.run([*COMMAND, "--stream", "-"], stdin=file, capture_output=True)
    assert piped.returncode == 0
    assert told(piped.stdout.decode().splitlines()) == told(lines)


def test_raw_frames_on_a_pipe(capsys):
    pixels = read_frames(TOUR, list(range(0, 100, 4))).pixels
    height, width = pixels.shape[1:3]
    raw = ["--stream", "-", "--raw", f"{width}x{height}@6", "--every", "1"]
    piped = subprocess.run([*COMMAND, *raw], input=pixels.tobytes(), capture_output=True)
    lines = told(piped.stdout.decode().splitlines())
    _, expected, _ = run(capsys, "--stream", TOUR, "--every", "4")
    assert [line["top"] for line in lines] == [line["top"] for line in told(expected)[:25]]
    assert lines[6]["time"] == 1.0


def test_killed_and_resumed_from_its_state_gives_the_same_lines(capsys, tmp_path):
    """Killed for good in the middle: the second run goes on from what the first had saved."""
    state = str(tmp_path / "state.h5")
    options = ["--stream", TOUR, "--rate", "6", "--state", state]
    _, expected, _ = run(capsys, "--stream", TOUR, "--rate", "6")
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE) as process:
        first = [process.stdout.readline().decode() for _ in range(20)]
        process.send_signal(signal.SIGTERM)
        first += process.stdout.read().decode().splitlines()
    assert process.returncode in (0, 130)
    code, second, _ = run(capsys, *options)
    assert code == 0
    assert told(first) + told(second) == told(expected)


def test_a_run_that_is_killed_without_warning_resumes_from_its_last_state(tmp_path, capsys):
    state = tmp_path / "state.h5"
    film = ["--stream", TOUR, "--every", "1"]
    _, expected, _ = run(capsys, *film)
    options = [*film, "--state", str(state)]
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE) as process:
        for _ in range(102):
            process.stdout.readline()
        process.kill()
    code, second, _ = run(capsys, *options)
    assert code == 0
    assert told(second) == told(expected)[len(expected) - len(second) :]
    assert len(second) <= len(expected) - 100


def matroska(path):
    """A film in a container that can be read as it comes."""
    target = io.BytesIO()
    with av.open(path) as film, av.open(target, "w", format="matroska") as output:
        stream = output.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(film.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return target.getvalue()


def piped(arguments, data, lines):
    """Feed a pipe that stays open, interrupt the run when it has said so much and waits."""
    command = [*COMMAND, "--stream", "-", *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        process.stdin.write(data)
        process.stdin.flush()
        said = [process.stdout.readline().decode() for _ in range(lines)]
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
        process.stdin.close()
        return code, said + process.stdout.read().decode().splitlines(), process.stderr.read()


@pytest.mark.parametrize("raw", [True, False])
def test_a_run_that_waits_for_a_pipe_is_stopped_at_once(tmp_path, raw):
    """Its state is saved: a second run goes on as one that was never stopped."""
    options = ["--every", "1", "--state", str(tmp_path / "state.h5")]
    if raw:
        pixels = read_frames(TOUR, list(range(12))).pixels
        options += ["--raw", f"{pixels.shape[2]}x{pixels.shape[1]}"]
        parts = pixels[:8].tobytes(), pixels[8:].tobytes()
        _, expected, _ = piped([*options[:2], *options[4:]], b"".join(parts), 12)
        code, first, err = piped(options, parts[0], 8)
        _, second, _ = piped(options, parts[1], 4)
        tops = [line["top"] for line in told(expected)]
        assert [line["top"] for line in told(first) + told(second)] == tops
    else:
        code, _, err = piped(options, matroska(TOUR)[:60_000], 8)
    assert code == 130
    assert err.endswith(b"interrupted\n")
    assert (tmp_path / "state.h5").exists()


def test_a_state_that_cannot_be_written_is_known_before_the_first_frame(capsys, tmp_path):
    code, lines, err = run(capsys, "--stream", TOUR, "--state", str(tmp_path / "no" / "state.h5"))
    assert (code, lines) == (5, [])
    assert f"error: {tmp_path / 'no' / 'state.h5'}: the file cannot be written" in err


def test_a_state_whose_source_has_ended_says_so(capsys, tmp_path):
    options = ["--stream", str(SAMPLES / "pan_left.mp4"), "--state", str(tmp_path / "state.h5")]
    assert run(capsys, *options)[2].count("\n") == 1
    code, lines, err = run(capsys, *options)
    assert (code, lines) == (0, [])
    assert "state.h5: its source was followed to the end, so nothing is left to do" in err


def test_frames_that_come_too_fast_are_dropped_and_counted(capsys):
    code, lines, err = run(capsys, "--stream", str(SAMPLES / "pan_left.mp4"), "--realtime")
    assert code == 0
    last = told(lines)[-1]
    assert f"{len(lines)} frames in" in err
    assert f"{last['dropped']} dropped" in err
    assert len(lines) + last["dropped"] <= 28


def test_early_is_one_bar_per_frame_or_json(capsys):
    pan = str(SAMPLES / "pan_left.mp4")
    code, lines, _ = run(capsys, "--early", "--every", "8", pan)
    assert code == 0
    assert lines[-1].endswith("pan left")
    _, lines, _ = run(capsys, "--early", "--json", "--every", "8", pan)
    assert json.loads(lines[0])["early"][-1]["label"] == "pan left"


def test_early_goes_on_after_a_video_that_fails(capsys):
    pan, zoom = (str(SAMPLES / name) for name in ("pan_left.mp4", "zoom_in.mp4"))
    code, lines, err = run(capsys, "--early", "--every", "30", pan, "missing.mp4", zoom)
    assert code == 6
    assert [line for line in lines if line in (pan, zoom)] == [pan, zoom]
    assert "error: missing.mp4: no such file" in err
    assert "1 of 3 videos" in err


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--stream", "missing.mp4"], 3, "error: missing.mp4: no such file"),
        (["--stream", TOUR, TOUR], 2, "give it to --stream, and no VIDEO"),
        (["--stream", TOUR, "--mask", "sideways"], 2, "there is no label 'sideways'; there are st"),
        (["--stream", TOUR, "--rate", "-1"], 2, "'-1' must be a number of"),
        (["--stream", TOUR, "--raw", "2x2"], 2, "give '-' as the source"),
        (["--stream", TOUR, "--state", "/"], 4, "this is a directory"),
        (["--stream", TOUR, "--every", "2", "--rate", "5"], 2, "(=2) or --rate (=5.0), not both"),
        (["--stream", TOUR, *(f"--mask={k}" for k in range(9))], 2, "all 9 classes are masked"),
        (["--stream", TOUR, "--early"], 2, "--early does nothing with --stream"),
        (["--stream", TOUR, "--sampling", "dense"], 2, "--sampling does nothing with --stream"),
        (["--early", TOUR, "--no-event", "static"], 2, "--no-event does nothing with --early"),
        (["--state", "s.h5", TOUR], 2, "--state does nothing for whole clips"),
        (["--every", "2", TOUR], 2, "--every does nothing for whole clips"),
        (["--early", "missing.mp4"], 3, "error: missing.mp4: no such file"),
        (["--early", "--model", "camera-motion-offline", TOUR], 2, "looks 5 frames ahead"),
    ],
)
def test_errors_are_one_line_and_a_code(capsys, arguments, code, sentence):
    found, _, err = run(capsys, *arguments)
    assert found == code
    assert sentence in err


def test_without_delay_is_asked_for_and_warned_of():
    done = subprocess.run(
        [*COMMAND, "--model", "camera-motion-offline", "--stream", TOUR, "--lookahead", "past"],
        capture_output=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0
    assert b"published accuracy does not hold" in done.stderr
