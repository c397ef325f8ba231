"""A whole batch: equal results however it is run, a killed run that goes on, and its files."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from tsm_ref import recognition
from tsm_ref.batch import Clip, Outcome, Recipe, Targets, run_batch
from tsm_ref.checkpoint import weights_folder
from tsm_ref.errors import UsageError, WriteError
from tsm_ref.model import Model
from tsm_ref.profile import Profile

SAMPLES = weights_folder() / "samples"
RECIPE = Recipe("camera-motion", engine="numpy")
SCHEMA = json.loads(
    (Path(recognition.__file__).parent / "recognition.schema.json").read_text("utf-8")
)


@pytest.fixture(scope="module")
def loaded() -> tuple[Model, Profile]:
    return RECIPE.load()


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    """Five clips, of which the middle one is broken."""
    made = []
    for k, name in enumerate(("pan_left", "zoom_in", "", "roll_clockwise", "pan_left")):
        path = tmp_path / "clips" / f"{k}.mp4"
        path.parent.mkdir(exist_ok=True)
        if name:
            shutil.copy(SAMPLES / f"{name}.mp4", path)
        else:
            path.write_bytes(b"no video")
        made.append(Clip(str(path)))
    return made


LABELS = ["pan left", "zoom in", None, "roll clockwise", "pan left"]


def labels(found: list[Outcome]) -> list[str | None]:
    return [o.result["predictions"][0]["label"] if o.result else None for o in found]


def untimed(found: list[Outcome]) -> list[object]:
    return [o.result and o.result | {"timing": 0} for o in found]


def test_files_that_it_leaves(clips, loaded, tmp_path: Path) -> None:
    out = tmp_path / "out"
    targets = Targets(str(out), str(tmp_path / "all.jsonl"), str(tmp_path / "all.csv"))
    found = run_batch(RECIPE, clips, targets, loaded=loaded)
    assert labels(found) == LABELS
    assert sorted(p.name for p in out.iterdir()) == [
        *("0.mp4.json", "1.mp4.json", "3.mp4.json", "4.mp4.json", "journal.jsonl")
    ]
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert lines == [o.result for o in found if o.result]
    assert json.loads((out / "3.mp4.json").read_text()) == found[3].result
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [label or "" for label in LABELS]
    assert [row["status"] for row in rows] == ["recognised"] * 2 + ["failed"] + ["recognised"] * 2
    assert "not a video" in rows[2]["error"]


def test_what_is_done_is_not_done_again(clips, loaded, tmp_path: Path) -> None:
    targets = Targets(jsonl=str(tmp_path / "all.jsonl"))
    heard: list[tuple[str, bool]] = []

    def run(**options: object) -> list[Outcome]:
        heard.clear()
        return run_batch(
            RECIPE,
            clips,
            targets,
            loaded=loaded,
            tell=lambda o, again: heard.append((o.path, again)),
            **options,  # type: ignore[arg-type]
        )

    first = run()
    assert [again for _, again in heard] == [False] * 5
    again = run(resume=True)
    assert [again for _, again in heard] == [True, True, False, True, True]
    assert again == first
    shutil.copy(SAMPLES / "zoom_in.mp4", clips[2].path)
    os.utime(clips[0].path, (1, 1))
    assert labels(run(resume=True)) == [
        "pan left",
        "zoom in",
        "zoom in",
        "roll clockwise",
        "pan left",
    ]
    assert [again for _, again in heard] == [False, True, False, True, True]


def test_another_model_or_other_options_are_refused(clips, loaded, tmp_path: Path) -> None:
    targets = Targets(csv=str(tmp_path / "all.csv"))
    run_batch(RECIPE, clips[:1], targets, loaded=loaded)
    for recipe, sentence in (
        (Recipe("camera-motion", engine="numpy", top=2), "top 5 and not 2"),
        (Recipe("camera-motion-tsn", engine="numpy"), "model"),
        (Recipe("camera-motion", engine="numpy", sampling={"window": 2.0}), "sampling.window 1.0"),
    ):
        with pytest.raises(UsageError, match=sentence):
            run_batch(recipe, clips[:1], targets, resume=True)


def test_several_processes_give_the_same(clips, loaded) -> None:
    alone = run_batch(RECIPE, clips, loaded=loaded)
    together = run_batch(RECIPE, clips, loaded=loaded, workers=2)
    assert untimed(together) == untimed(alone)
    assert [o.error for o in together] == [o.error for o in alone]


class Deadly(Recipe):
    """A recipe whose process dies at one of the clips."""

    def outcome(self, model: Model, profile: Profile, clip: Clip) -> Outcome:
        if clip.path.endswith("2.mp4"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().outcome(model, profile, clip)


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by a signal")
def test_a_process_that_dies_takes_one_clip_with_it(clips, loaded) -> None:
    found = run_batch(Deadly("camera-motion", engine="numpy"), clips, loaded=loaded, workers=2)
    assert labels(found) == LABELS
    assert "the process that read it died" in found[2].error


class Bug(Recipe):
    def recognize(self, *arguments: object, **more: object) -> object:  # type: ignore[override]
        raise ZeroDivisionError("oh")


def test_a_bug_at_one_clip_is_said_and_does_not_end_the_others(clips, loaded) -> None:
    found = run_batch(Bug("camera-motion", engine="numpy"), clips[:2], loaded=loaded)
    assert [o.code for o in found] == [1, 1]
    assert "a bug of ours, please report it: ZeroDivisionError: oh" in found[0].error


def test_resume_needs_somewhere_to_go_on(clips, loaded) -> None:
    with pytest.raises(UsageError, match="--resume needs"):
        run_batch(RECIPE, clips, loaded=loaded, resume=True)


def test_where_one_cannot_write(clips, loaded, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for targets in (
        Targets(str(tmp_path / "file")),
        Targets(jsonl=str(tmp_path / "no" / "x.jsonl")),
        Targets(csv=str(tmp_path)),
    ):
        with pytest.raises(WriteError):
            run_batch(RECIPE, clips[:1], targets, loaded=loaded)


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by a signal")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_run_that_is_killed_loses_and_repeats_nothing(clips, tmp_path: Path, how: str) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for k in range(12):
        shutil.copy(clips[k % 2].path, many / f"{k:02}.mp4")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tsm_ref", "--engine", "numpy", "-o", str(out), str(many)]
    journal = out / "journal.jsonl"
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(getattr(signal, how))
    run.communicate(timeout=60)
    assert run.returncode == (130 if how == "SIGINT" else -signal.SIGKILL)
    done = [json.loads(line)["path"] for line in journal.read_bytes().split(b"\n")[1:-1]]
    assert 3 <= len(done) < 12
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)
    assert len(resumed.stdout.splitlines()) == 12 - len(done)
    paths = [json.loads(line).get("path") for line in journal.read_text().splitlines()[1:-1]]
    assert sorted(paths) == [str(many / f"{k:02}.mp4") for k in range(12)]
    assert len(list(out.glob("*.mp4.json"))) == 12
