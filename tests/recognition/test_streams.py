"""Networks of optical flow, and two streams of one video: what each says, and both together."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tests.video.test_flow import folder_of
from tsm_ref.errors import UsageError, VideoError
from tsm_ref.infer import main
from tsm_ref.model import fused_scores
from tsm_ref.profile import PROFILES
from tsm_ref.profile_files import changed
from tsm_ref.recognition import as_json, as_table, recognize, recognize_streams, sampled
from tsm_ref.reference import softmax

Image = pytest.importorskip("PIL.Image")


def model_of(channels: int = 3, classes: int = 3, seed: int = 0, **facts: Any) -> tsm_ref.Model:
    options = {} if channels == 3 else {"in_channels": channels}
    model = tsm_ref.build(
        "resnet18", num_classes=classes, seed=seed, engine="numpy", segments=4, **options
    )
    spec = {"size": "32", "crop": "32"} | facts
    model.profile = changed(model.profile, **spec)
    return model


def other_frames(model: tsm_ref.Model) -> tsm_ref.Model:
    model.profile = sampled(model.profile, policy="val")
    return model


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A folder with pictures and flow, as MIT's UCF101."""
    folder = folder_of(tmp_path / "clip", 12, size=(48, 40))
    pixels = np.random.default_rng(4).integers(0, 256, (13, 40, 48, 3), np.uint8)
    for number, frame in enumerate(pixels, 1):
        Image.fromarray(frame).save(folder / f"img_{number:05d}.png")
    return folder


def test_a_folder_of_flow_is_labelled(both) -> None:
    model = model_of(10)
    assert model.profile.preprocess.mean == (0.5,) * 3
    result = recognize(model, both, fps=25)
    assert result.indices.tolist() == [[1, 3, 5, 7]]
    assert result.video.frame_count == 8
    assert sum(p.probability for p in result.predictions) == pytest.approx(1)


def test_the_scores_of_both_are_joined_as_mit_does(both) -> None:
    pictures, flow = model_of(), model_of(10, seed=1)
    alone = [recognize(model, both, fps=25) for model in (pictures, flow)]
    logits = [
        np.array([p.logit for p in sorted(each.predictions, key=lambda p: p.index)])
        for each in alone
    ]
    result = recognize_streams([pictures, flow], both, weights=(1, 1.5), fps=25)
    wanted = (logits[0] * 1 + logits[1] * 1.5) / 2  # test_models.py
    best = int(wanted.argmax())
    assert result.predictions[0].index == best
    assert result.predictions[0].logit == pytest.approx(wanted[best])
    assert result.predictions[0].probability == pytest.approx(softmax(wanted[None])[0, best])
    np.testing.assert_allclose(result.probabilities, softmax(wanted[None]), rtol=1e-6)
    assert result.labels == (f"class {best}",)
    for name, each in zip(("pictures", "flow"), alone, strict=True):
        _, seen = result.streams[name]
        assert seen.predictions == each.predictions
    assert result.streams["flow"][0] == 1.5


def test_probabilities_are_joined_where_they_are_averaged(both) -> None:
    models = [model_of(average="probabilities"), model_of(10, seed=1)]
    chances = [
        [p.probability for p in sorted(recognize(m, both, fps=25).predictions,
                                       key=lambda p: p.index)] for m in models
    ]  # fmt: skip
    result = recognize_streams(models, both, weights=(1, 3), fps=25)
    wanted = fused_scores([np.array(each) for each in chances], [1, 3]) / 2
    found = [p.probability for p in sorted(result.predictions, key=lambda p: p.index)]
    np.testing.assert_allclose(found, wanted)
    assert sum(found) == pytest.approx(1)


def test_both_scores_are_told(both, tmp_path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    for channels in (3, 10):
        tsm_ref.save(model_of(channels), tmp_path / f"{channels}.h5")
    models = [tsm_ref.load(tmp_path / f"{channels}.h5", engine="numpy") for channels in (3, 10)]
    result = recognize_streams(models, both, weights=(1, 2), top=2, fps=25)
    schema = Path(tsm_ref.__file__).parent / "recognition" / "recognition.schema.json"
    tree = json.loads(as_json(result))
    jsonschema.validate(tree, json.loads(schema.read_text()))
    assert tree["streams"]["flow"]["weight"] == 2
    assert len(tree["streams"]["pictures"]["predictions"]) == 2
    text = as_table(result)
    assert "pictures alone, of weight 1, by " in text
    assert "flow alone, of weight 2, by " in text


@pytest.mark.parametrize(
    ("models", "weights", "words"),
    [
        (
            lambda: (model_of(10), model_of()),
            (1, 1),
            "sees flow: the first of two",
        ),
        (
            lambda: (model_of(), model_of()),
            (1, 1),
            "sees colours: the first of",
        ),
        (
            lambda: (model_of(), model_of(10, classes=4)),
            (1, 1),
            "has 3 classes and the other 4",
        ),
        (lambda: (model_of(), model_of(10)), (1, 0), "must be two weights above 0"),
        (
            lambda: (model_of(multi_label=True), model_of(10)),
            (1, 1),
            "are of one label",
        ),
        (
            lambda: (model_of(), other_frames(model_of(10))),
            (1, 1),
            "uniform and the other val",
        ),
    ],
)
def test_what_cannot_be_joined(both, models, weights, words) -> None:
    with pytest.raises(UsageError, match=words):
        recognize_streams(models(), both, weights=weights, fps=25)


def test_what_is_missing_is_asked_for(both) -> None:
    flow, pictures = model_of(10), model_of()
    with pytest.raises(UsageError, match="give a folder of flow images, or --flow tvl1, dis or"):
        recognize(flow, "clip.mp4")
    with pytest.raises(UsageError, match="is for models of optical flow: this one sees colours"):
        recognize(pictures, both, flow="dis")
    flow.profile = flow.profile.with_changes(preprocess=PROFILES["mit"].preprocess)
    with pytest.raises(UsageError, match="its profile normalises colours: give --profile mit-flow"):
        recognize(flow, both)
    with pytest.raises(UsageError, match="is not for optical flow"):
        recognize(model_of(10), both, profile=sampled(model_of(10).profile, policy="dense"))
    (both / "flow_x_00002.jpg").unlink()
    with pytest.raises(VideoError, match=r"flow_y_00002\.jpg is without its x"):
        recognize(model_of(10), both)


def test_the_command_takes_both(both, tmp_path, capsys) -> None:
    for name, channels in (("rgb", 3), ("flow", 10)):
        tsm_ref.save(model_of(channels), tmp_path / f"{name}.h5")
    rgb, flow = (str(tmp_path / f"{name}.h5") for name in ("rgb", "flow"))
    two = ["--model", rgb, "--flow-model", flow, "--engine", "numpy"]
    page = tmp_path / "page.html"
    given = [str(both), *two, "--fusion", "1,1.5", "--json", "-q", "--report", str(page)]
    assert main(given) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["streams"]["flow"]["weight"] == 1.5
    assert "flow alone, of weight 1.5" in page.read_text()
    for wrong, said in (
        ([str(both), "--model", rgb, "--fusion", "1,1"], "--flow-model names the second one"),
        ([str(both), "--model", rgb, "--flow", "dis"], "--flow-model names a second one"),
        ([str(both), *two, "--fusion", "1"], "must be two numbers, as 1,1.5"),
        ([str(both), *two, "--window", "1"], "for whole clips, not for windows"),
        (["--stream", str(both), "--model", flow], "sees optical flow, which is taken of whole"),
        ([str(both), "--early", "--model", flow], "sees optical flow, which is taken of whole"),
    ):
        assert main([*wrong, "--engine", "numpy"]) == 2, wrong
        assert said in capsys.readouterr().err


def test_many_videos_of_two_streams_in_several_processes(both, tmp_path, capsys) -> None:
    import shutil

    shutil.copytree(both, tmp_path / "again")
    for name, channels in (("rgb", 3), ("flow", 10)):
        tsm_ref.save(model_of(channels), tmp_path / f"{name}.h5")
    given = ["--model", str(tmp_path / "rgb.h5"), "--flow-model", str(tmp_path / "flow.h5")]
    given += ["--engine", "numpy", "--workers", "2", "--json", "-q", str(both)]
    assert main([*given, str(tmp_path / "again")]) == 0
    trees = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert trees[0]["predictions"] == trees[1]["predictions"]
    assert all("streams" in tree for tree in trees)
