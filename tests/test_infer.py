"""The command line as a user runs it: results on stdout, the rest on stderr, and exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tsm_ref
from tsm_ref import infer, options
from tsm_ref.checkpoint import weights_folder

SAMPLES = weights_folder() / "samples"
PAN = str(SAMPLES / "pan_left.mp4")


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = infer.main(["--engine", "numpy", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_prints_the_label_first(capsys) -> None:
    code, out, err = run(capsys, PAN)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("pan left (")


def test_json_is_one_line_per_video(capsys) -> None:
    code, out, _ = run(capsys, "--json", "--top", "2", PAN, str(SAMPLES / "tour.mp4"))
    assert code == 0
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["predictions"][0]["label"] == "pan left"
    assert len(first["predictions"]) == 2
    assert [s["label"] for s in second["segments"]][2] == "zoom in"


def test_module_and_engines_agree() -> None:
    """As a process, with both engines: the same labels in the same order."""
    labels = []
    for engine in ("numpy", "numba"):
        done = subprocess.run(
            [sys.executable, "-m", "tsm_ref.infer", "--json", "--engine", engine, PAN],
            capture_output=True,
            text=True,
            check=True,
        )
        tree = json.loads(done.stdout)
        assert tree["model"]["engine"] == engine
        labels.append([prediction["label"] for prediction in tree["predictions"]])
    assert labels[0] == labels[1]
    assert labels[0][0] == "pan left"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "no video was given"),
        (["--top", "0", PAN], 2, "--top"),
        (["--threads", "x", PAN], 2, "--threads"),
        (["--engine", "gpu", PAN], 2, "--engine"),
        (["--profile", "nonsense", PAN], 2, "nonsense"),
        (["--sampling", "nonsense", PAN], 2, "nonsense"),
        (["--crops", "3", PAN], 2, "--crops (=3) must be 1"),
        (["--window", "0", PAN], 2, "window"),
        (["--window", "inf", PAN], 2, "window"),
        (["--stride", "1e-9", PAN], 2, "windows"),
        (["--threads", "9" * 30, PAN], 2, "--threads"),
        (["--threads", "100000", PAN], 2, "threads"),
        (["--nonsense", PAN], 2, "--nonsense"),
        ([""], 3, "no such file"),
        (["no-such.mp4"], 3, "no such file"),
        ([str(SAMPLES.parent)], 2, "no video in this folder (--recursive"),
        ([f"{SAMPLES}/*.avi"], 2, "no file matches"),
        (["--from-file", "no-such.txt"], 2, "no-such.txt"),
        (["--root", "x", PAN], 2, "--root"),
        (["--resume", PAN], 2, "--resume needs"),
        (["--labels", "no-such", PAN], 2, "lists that ship"),
        (["--labels", "kinetics400", PAN], 2, "400 labels were given"),
        (["--profile", "no-such.toml", PAN], 2, "no-such.toml"),
        (["--segments", "0", PAN], 2, "--segments"),
        (["--crop", "big", PAN], 2, "--crop"),
        (["--fold-div", "8", PAN], 4, "trained with"),
        (["--csv", "no-such-folder/x.csv", PAN], 5, "no-such-folder/x.csv.journal"),
        (["http://example.org/clip.mp4"], 3, "http"),
        (["--model", "no-such", PAN], 4, "no-such"),
        (["--model", PAN, PAN], 4, "no kind of model file"),
        (["--profile", "mit", PAN], 4, "trained with"),
        (["--layer", "layer1", PAN], 2, "--layer does nothing"),
        (["--features", "x.txt", PAN], 2, "must be .npz"),
        (["--features", "x.npz"], 2, "no video was given"),
        (["--features", "x.npz", "--json", PAN], 2, "--json does nothing with --features"),
        (["--features", "x.npz", "--layer", "conv9", PAN], 2, "no layer 'conv9'; the nearest"),
        (["--features", "x.npz", "no-such.mp4"], 3, "no-such.mp4: no such file"),
        (["--features", "no-such-folder/x.npz", "-q", PAN], 5, "no-such-folder/x.npz"),
    ],
)
def test_bad_input_is_one_line_and_a_code(capsys, arguments, code, sentence) -> None:
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert sentence in err


@pytest.mark.parametrize("junk", [b"", b"hello, I am a text\n", bytes(range(256)) * 40])
def test_files_that_are_no_video(capsys, tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(junk)
    code, out, err = run(capsys, str(path))
    assert (code, out) == (3, "")
    assert str(path) in err
    assert err.count("\n") == 1


def test_a_cut_file_is_refused_or_used_with_a_warning(capsys, tmp_path: Path) -> None:
    """Matroska has its index in front, so what is there decodes; a cut MP4 has lost its index."""
    av = pytest.importorskip("av")
    whole = tmp_path / "whole.mkv"
    with av.open(PAN) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: 3 * whole.stat().st_size // 4])
    assert run(capsys, str(cut))[:2] == (3, "")
    code, out, err = run(capsys, "--allow-partial", str(cut))
    assert code == 0
    assert out.startswith("pan left (")
    assert err.startswith(f"warning: {cut}: ")
    lost = tmp_path / "cut.mp4"
    lost.write_bytes(Path(PAN).read_bytes()[:-5000])
    code, out, err = run(capsys, "--allow-partial", str(lost))
    assert (code, out) == (3, "")
    assert "cut" in err


def test_some_of_several_fail(capsys, tmp_path: Path) -> None:
    code, out, err = run(capsys, "--json", PAN, "no-such.mp4", str(SAMPLES / "zoom_in.mp4"))
    assert code == 6
    labels = [json.loads(line)["predictions"][0]["label"] for line in out.splitlines()]
    assert labels == ["pan left", "zoom in"]
    assert "error: no-such.mp4: no such file" in err
    assert "1 of 3 videos" in err


def test_a_model_file_of_ones_own(capsys, tmp_path: Path) -> None:
    model = tsm_ref.build("resnet18", num_classes=3, segments=4, placement="block", engine="numpy")
    tsm_ref.save(model, tmp_path / "mine.h5", storage="float16")
    code, out, _ = run(capsys, "--json", "--model", str(tmp_path / "mine.h5"), PAN)
    tree = json.loads(out)
    assert code == 0
    assert tree["model"]["name"] == "mine.h5"
    assert tree["sampling"]["policy"] == "uniform"
    assert np.isclose(sum(p["probability"] for p in tree["predictions"]), 1)


def test_features_of_all_that_can_be_read(capsys, tmp_path: Path) -> None:
    out = tmp_path / "features.npz"
    code, said, err = run(
        capsys, "--features", str(out), "--sampling", "uniform", PAN, "no-such.mp4"
    )
    assert (code, said) == (6, "")
    assert "error: no-such.mp4: no such file" in err
    assert "1 rows of 64 features, of one video" in err
    with np.load(out, allow_pickle=False) as file:
        assert file["features"].shape == (1, 64)
        assert file["names"].tolist() == [PAN]
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


def test_lists_the_models_that_ship(capsys) -> None:
    code, out, _ = run(capsys, "--list-models")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names[:3] == ["camera-motion", "camera-motion-offline", "camera-motion-tsn"]


def test_help_is_quick_and_names_the_exit_codes() -> None:
    """`--help` must not import NumPy: the modules are loaded when they are used."""
    code = (
        "import sys; from tsm_ref import infer\n"
        "try: infer.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'h5py', 'av'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "130 interrupted" in done.stdout


def test_threads_reach_blas_before_numpy_is_imported() -> None:
    """An import hook sees the variable at the moment at which NumPy is asked for."""
    code = f"""
import os, sys
class Watch:
    seen = None
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            Watch.seen = os.environ.get("OPENBLAS_NUM_THREADS")
sys.meta_path.insert(0, Watch())
from tsm_ref import infer, options
infer.main(["--engine", "numpy", "--threads", "3", {PAN!r}])
assert Watch.seen == "3", Watch.seen
"""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE
    )


def test_a_model_that_labels_nothing_is_blamed_and_not_the_videos(capsys, tmp_path: Path) -> None:
    tsm_ref.save(tsm_ref.build("ts-can", engine="numpy"), tmp_path / "pulse.h5")
    code, out, err = run(capsys, "--model", str(tmp_path / "pulse.h5"), PAN, PAN)
    assert (code, out) == (4, "")
    assert err.count("\n") == 1
    assert "pulse.h5" in err


def test_nothing_is_printed_for_a_video_that_fails(capsys) -> None:
    code, out, _ = run(capsys, "no-such.mp4", PAN)
    assert code == 6
    assert out.startswith("pan left (")


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX here")
def test_ctrl_c_is_130_and_one_line(tmp_path: Path) -> None:
    many = [str(tmp_path / f"{k}.mp4") for k in range(200)]
    for path in many:
        os.symlink(SAMPLES / "tour.mp4", path)
    with subprocess.Popen(
        [sys.executable, "-m", "tsm_ref.infer", "--engine", "numpy", "--json", *many],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted\n"


def test_many_are_a_line_each(capsys) -> None:
    code, out, err = run(capsys, str(SAMPLES))
    assert code == 0
    assert [line.split(" (")[0] for line in out.splitlines()[:2]] == ["pan left", "roll clockwise"]
    assert out.splitlines()[2].startswith("static, pan right, zoom in")
    assert "4 of 4 videos recognised" in err
    assert len(out.splitlines()) == 4
    code, out, err = run(capsys, "-v", PAN, str(SAMPLES / "tour.mp4"))
    assert "    1.75 to 4.25 s  pan right" in out
    assert len(out.splitlines()) == 18


def test_quiet_says_nothing_but_the_answer(capsys) -> None:
    code, out, err = run(capsys, "-q", PAN, str(SAMPLES / "zoom_in.mp4"))
    assert (code, err, len(out.splitlines())) == (0, "", 2)


def test_a_list_and_its_files(capsys, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{PAN} 1\n{tmp_path}/no-such.mp4 2\n")
    code, out, err = run(
        capsys,
        *("--from-file", str(tmp_path / "list.txt"), "--csv", str(tmp_path / "all.csv")),
        *("--jsonl", str(tmp_path / "all.jsonl"), "--json"),
    )
    assert code == 6
    assert "no such file" in err
    assert (tmp_path / "all.jsonl").read_text() == out
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 3


def test_version_says_those_of_libraries(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(capsys, "--version")
    out = capsys.readouterr().out
    assert f"numpy {np.__version__}" in out
    assert out.startswith(f"tsm_ref {tsm_ref.__version__} ")


def test_no_color(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert options.coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not options.coloured()


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rate", "0", "--early", PAN),
        *(("--crops", text, PAN) for text in (DIGITS, "\u0663", "-1")),
        *(("--window", text, PAN) for text in (DIGITS, "\u0663", "nan", "inf", "1e999")),
        *(("--stride", text, "--window", "1", PAN) for text in ("0", "1e-99")),
        *(("--stream", PAN, "--rate", text) for text in ("0", "nan", "\u0663")),
        *(("--stream", PAN, "--mask", text) for text in (DIGITS, "\u0663")),
        *(("--stream", f"camera:{text}") for text in (DIGITS, "\u0663")),
        *(("--stream", "-", "--raw", text) for text in (DIGITS, "\u0663x\u0663", f"2x2@{DIGITS}")),
    ],
    ids=lambda arguments: " ".join(arguments)[:30],
)
def test_numbers_that_cannot_be_are_refused_in_one_short_line(capsys, arguments) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) in ((2, ""), (3, ""))
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 400


@pytest.mark.parametrize("count", [0, 11])
def test_raw_frames_of_which_not_one_is_whole_are_no_video(count: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tsm_ref.infer",
            "--engine",
            "numpy",
            "--raw",
            "2x2",
            "--stream",
            "-",
        ],
        input=bytes(count),
        capture_output=True,
    )
    assert done.returncode == 3
    assert done.stdout == b""
    assert b"error: -: " in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_reader_that_leaves_is_told_nothing(more) -> None:
    command = [sys.executable, "-m", "tsm_ref.infer", "--engine", "numpy", *more, "--stream", PAN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if more:
            process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (5, b"")


@pytest.fixture
def picture_folders(tmp_path):
    """The frames of a film of two seconds as numbered pictures, in two folders, and a list."""
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("av")
    from tsm_ref.video import frames

    with frames(PAN) as film:
        pictures = [frame.pixels for frame in film][:40]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index, pixels in enumerate(pictures):
            image.fromarray(pixels).save(tmp_path / name / f"img_{index + 1:05d}.png")
    (tmp_path / "list.txt").write_text("a 40 1\nb/img_%05d.png 40 1\n")
    return tmp_path


def test_folders_of_pictures_have_the_rate_that_is_given(capsys, picture_folders):
    folder = str(picture_folders / "a")
    code, out, err = run(capsys, folder, "--fps", "20", "--json")
    known = json.loads(out)["input"]
    assert (code, known["frame_rate"], known["duration"], known["frame_count"]) == (0, 20, 2, 40)
    assert "assumed" not in err
    code, out, err = run(capsys, folder, "--json")
    assert json.loads(out)["input"]["frame_rate"] == 25
    assert "25 a second are assumed" in err


def test_a_list_may_name_folders_and_patterns_of_pictures_beside_videos(capsys, picture_folders):
    out_file = picture_folders / "all.jsonl"
    listed = str(picture_folders / "list.txt")
    code, _, err = run(capsys, PAN, "--from-file", listed, "--fps", "20", "--jsonl", str(out_file))
    assert code == 0, err
    found = [json.loads(line) for line in out_file.read_text().splitlines()]
    assert [f["input"]["frame_count"] for f in found][1:] == [40, 40]
    assert [f["input"]["frame_rate"] for f in found][1:] == [20, 20]
    assert found[0]["input"]["frame_rate"] != 20
    assert {f["predictions"][0]["label"] for f in found} == {"pan left"}


def test_a_rate_is_for_pictures(capsys):
    code, _, err = run(capsys, PAN, "--fps", "20")
    assert (code, "a video has its own" in err) == (2, True)
    code, _, err = run(capsys, "--stream", PAN, "--fps", "20")
    assert (code, "--fps does nothing" in err) == (2, True)
