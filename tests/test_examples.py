"""The examples do what they say, as a user starts them: each in a process of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoint.tensors.renamed_networks import mit, resnet, tensors_of
from tests.checkpoint.torch_writer import zip_file
from tsm_ref.checkpoint import weights_folder

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = weights_folder() / "samples"

CALLS = {
    "recognise": (["pan_left.mp4"], "98.8%  pan left"),
    "stream": (["pan_left.mp4"], "pan left"),
    "many": (["clips", "out.csv"], "clips/zoom_in.mp4 zoom in"),
    "checkpoint": (["mine.pth", "classes.txt", "mine.h5"], "5 classes"),
    "draw": (["resnet18", "network.svg"], "logits"),
    "judge": ([], "right"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the examples are given."""
    (tmp_path / "clips").mkdir()
    for name in ("pan_left.mp4", "zoom_in.mp4"):
        shutil.copy(SAMPLES / name, tmp_path / "clips")
    shutil.copy(SAMPLES / "pan_left.mp4", tmp_path)
    kept = tensors_of(resnet(), mit(resnet()))
    (tmp_path / "mine.pth").write_bytes(zip_file({"state_dict": kept}))
    (tmp_path / "classes.txt").write_text("wave\npoint\nrest\nnod\nclap\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", CALLS)
def test_an_example_runs(name: str, folder: Path) -> None:
    arguments, wanted = CALLS[name]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert wanted in done.stdout
    assert all((folder / path).exists() for path in arguments if "." in path)


def test_every_example_is_run_and_short() -> None:
    files = sorted((ROOT / "examples").glob("*.py"))
    assert [file.stem for file in files] == sorted(CALLS)
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert sum(bool(line.strip()) for line in lines) <= 20, file.name
