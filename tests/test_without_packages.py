"""What works with NumPy and h5py alone, and what is said where another package is needed.

Each script runs in a Python of its own in which some packages cannot be found.
"""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
OPTIONAL = (
    *("numba", "llvmlite", "onnx", "av", "rich", "threadpoolctl"),
    *("jsonschema", "PIL", "cv2", "matplotlib"),
)

PRELUDE = """
import json, sys

class Without:
    '''A finder that does not find some packages, as if they were not installed.'''
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
import numpy as np

def said(call, *args, **kwargs):
    '''The kind and the words of the error of a call.'''
    try:
        call(*args, **kwargs)
    except Exception as error:
        return [type(error).__name__, str(error)]
"""


def script(
    code: str, *arguments: str, missing: tuple[str, ...] = OPTIONAL
) -> subprocess.CompletedProcess[str]:
    text = f"MISSING = {set(missing)!r}\n{PRELUDE}\n{dedent(code)}"
    return subprocess.run(
        [sys.executable, "-c", text, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def result(code: str, *arguments: str, missing: tuple[str, ...] = OPTIONAL) -> Any:
    """The JSON that a script prints; it must end well and say nothing else."""
    done = script(code, *arguments, missing=missing)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_packages_are_really_missing():
    code = (
        "import importlib.util as u; print(json.dumps([u.find_spec(n) is None for n in MISSING]))"
    )
    assert all(result(code))
    assert result("print(json.dumps(said(__import__, 'numba')[0]))") == "ModuleNotFoundError"


def test_a_model_is_built_saved_loaded_and_run(tmp_path):
    code = """
        import tsm_ref
        from tsm_ref.reference import temporal_shift
        built = tsm_ref.build("mobilenetv2", num_classes=5, width=0.35, seed=3)
        clip = np.random.default_rng(0).standard_normal((2, 3, 4, 64, 64)).astype(np.float32)
        tsm_ref.save(built, sys.argv[1])
        loaded = tsm_ref.load(sys.argv[1])
        print(json.dumps({
            "engines": [built.engine.name, loaded.engine.name],
            "shape": loaded(clip).shape,
            "same": bool((built(clip) == loaded(clip)).all()),
            "shift": bool((tsm_ref.temporal_shift(clip, [1, 0, -1]) ==
                           temporal_shift(clip, [1, 0, -1])).all()),
            "summary": "features.3.shift" in loaded.summary(),
        }))
    """
    assert result(code, str(tmp_path / "model.h5")) == {
        "engines": ["numpy", "numpy"],
        "shape": [2, 5],
        "same": True,
        "shift": True,
        "summary": True,
    }


def test_the_shipped_model_runs_and_streams():
    code = """
        import tsm_ref
        model = tsm_ref.load("camera-motion")
        clip = np.random.default_rng(0).standard_normal((1, 3, 8, 64, 64)).astype(np.float32)
        stream = model.stream()
        frames = np.stack([stream.step(clip[:, :, t]) for t in range(8)], axis=1)
        print(json.dumps(bool(np.allclose(frames, model.frame_logits(clip), atol=1e-4))))
    """
    assert result(code) is True


def test_the_core_needs_numpy_alone():
    code = """
        from tsm_ref.engine.on_numpy.engine import NumpyEngine
        from tsm_ref.models import build_ts_can, random_weights
        from tsm_ref.profile import PROFILES
        graph = build_ts_can(shift=PROFILES["mtts-can"].shift)
        zeros = np.zeros((1, 3, 20, 36, 36), np.float32)
        engine = NumpyEngine(graph, random_weights(graph))
        y = engine.run({"motion": zeros, "appearance": zeros + 1})
        foreign = {name.partition(".")[0] for name in sys.modules} & {"h5py", "scipy", "torch"}
        print(json.dumps([y["pulse"].shape, sorted(foreign)]))
    """
    assert result(code, missing=(*OPTIONAL, "h5py")) == [[1, 20], []]


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("h5py", "import tsm_ref; print(json.dumps(said(tsm_ref.load, 'camera-motion')))"),
        (
            "numba",
            """
            import tsm_ref
            print(json.dumps(said(tsm_ref.load, "camera-motion", engine="numba")))
            """,
        ),
        (
            "av",
            """
            import tsm_ref
            model = tsm_ref.load("camera-motion", engine="numpy")
            film = sorted(__import__("pathlib").Path("weights/samples").glob("*.mp4"))[0]
            print(json.dumps(said(model.recognize, film)))
            """,
        ),
        (
            "onnx",
            """
            import tsm_ref, tempfile
            with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
                file.write(bytes([8, 8, 18, 7]) + b"pytorch" + bytes([58, 0]))
                file.flush()
                print(json.dumps(said(tsm_ref.load, file.name)))
            """,
        ),
    ],
)
def test_a_package_that_is_needed_is_named_in_one_sentence(package, code):
    kind, words = result(code, missing=(package,))
    assert kind == "MissingDependency"
    assert "\n" not in words
    assert f"the package '{package}' is needed to " in words
    assert words.endswith(f": pip install {package}")


COMMAND = "from tsm_ref.infer import main\nsys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize(("option", "word"), [("--help", "usage"), ("--list-models", "camera")])
def test_the_command_line_explains_itself_without_them(option, word):
    done = script(COMMAND, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert word in done.stdout


def test_the_command_line_ends_with_one_line_and_code_2_without_a_decoder():
    film = sorted((ROOT / "weights" / "samples").glob("*.mp4"))[0]
    done = script(COMMAND, str(film))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert "the package 'av' is needed to decode a video: pip install av" in line


def test_the_command_line_labels_a_film_with_a_decoder_alone():
    film = sorted((ROOT / "weights" / "samples").glob("*.mp4"))[0]
    done = script(COMMAND, str(film), missing=tuple(n for n in OPTIONAL if n != "av"))
    assert done.returncode == 0, done.stderr
    assert "(" in done.stdout


def test_what_is_not_needed_is_not_imported():
    """With everything installed, a model on an array must not wait for a compiler or a decoder."""
    code = """
        import tsm_ref
        tsm_ref.load("camera-motion", engine="numpy")(np.zeros((1, 3, 8, 64, 64), np.float32))
        names = ("numba", "onnx", "av", "rich", "torch", "PIL", "cv2", "onnxruntime")
        print(json.dumps([name for name in names if name in sys.modules]))
    """
    assert result(code, missing=()) == []
