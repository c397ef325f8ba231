"""Files as MMEngine's Runner writes them: weights in the middle of everything else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tensors.renamed_networks import (
    BOTTLENECK,
    marked,
    mmaction2,
    resnet,
    tensors_of,
)
from tests.checkpoint.torch_writer import Raw, call, name, number, text, zip_file
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.checkpoint.tensors.mmengine import MAX_TEXT, facts_of_meta, read_config
from tsm_ref.errors import CheckpointError
from tsm_ref.profile import ShiftRule

CONFIG = """\
default_scope = 'mmaction'
model = dict(
    backbone=dict(
        depth=50,
        norm_eval=False,
        num_segments=16,
        shift_div=4,
        style='caffe',
        type='ResNetTSM'),
    cls_head=dict(average_clips='prob', num_classes=5, type='TSMHead'),
    data_preprocessor=dict(
        mean=[
            120.5,
            110.25,
            100.0,
        ], std=[
            50.0,
            60.0,
            70.0,
        ], type='ActionDataPreprocessor'),
    type='Recognizer2D')
val_pipeline = [
    dict(io_backend='disk', type='DecordInit'),
    dict(clip_len=1, frame_interval=1, num_clips=16, test_mode=True, type='SampleFrames'),
    dict(scale=(
        -1,
        128,
    ), type='Resize'),
    dict(crop_size=112, type='CenterCrop'),
]
work_dir = 'work_dirs/x'
"""


def hub() -> Raw:
    """A message hub: buffers of a class of MMEngine, methods by name, an ordered dictionary."""
    buffer = name("mmengine.logging.history_buffer", "HistoryBuffer")
    method = call(name("__builtin__", "getattr"), buffer, text("mean"))
    state = b"}(" + text("_statistics_methods") + b"}" + text("mean") + method + b"s"
    state += text("max_length") + number(10**6) + b"u"
    made = call(name("collections", "OrderedDict")) + text("train/loss") + buffer + b")\x81" + state
    return Raw(b"}" + text("log_scalars") + made + b"bs" + b"s")


def scheduler() -> Raw:
    counter = call(name("collections", "Counter"), b"}" + number(20) + number(1) + b"s")
    return Raw(b"]" + b"}" + text("milestones") + counter + b"s" + b"a")


def written(
    folder: Path, weights: Any, config: str = CONFIG, file: str = "epoch_50.pth", **more: Any
) -> Path:
    meta = {"epoch": 50, "iter": 9, "cfg": config, "mmengine_version": "0.10.7",
            "dataset_meta": {"classes": ["a", "b", "c", "d", "e"]}}  # fmt: skip
    optimizer = {"state": {0: {"momentum_buffer": np.ones((2, 3), np.float32)}}, "param_groups": []}
    tree = {"meta": meta, "state_dict": weights, "message_hub": hub(), "optimizer": optimizer,
            "param_schedulers": scheduler(), **more}  # fmt: skip
    path = folder / file
    path.write_bytes(zip_file(tree))
    return path


def sources(found: Checkpoint) -> dict[str, tuple[Any, str]]:
    return {fact.name: (fact.value, fact.source) for fact in found.facts}


@pytest.fixture
def weights() -> Any:
    graph = resnet(BOTTLENECK)
    return tensors_of(graph, mmaction2(graph))


def test_the_file_tells_everything(tmp_path: Path, weights: Any) -> None:
    found = load_checkpoint(written(tmp_path, weights))
    assert found.warnings == ()
    assert found.profile.shift == ShiftRule("mit", 4)
    assert found.profile.labels == ("a", "b", "c", "d", "e")
    assert (found.profile.sampling.policy, found.profile.sampling.segments) == ("mmaction2", 16)
    seen = found.profile.preprocess
    assert (seen.mean, seen.std, seen.scale) == ((120.5, 110.25, 100.0), (50.0, 60.0, 70.0), 1.0)
    assert (seen.short_side, seen.crop) == (128, (112, 112))
    assert found.profile.average == "probabilities"
    said = sources(found)
    assert said["fold_div"] == (4, "the file (meta.cfg, model)")
    assert said["segments"] == (16, "the file (meta.cfg, pipeline)")
    assert said["labels"][1] == "the file (meta, classes)"
    assert said["long_side"] == ("half_up", "the convention mmaction2")
    strides = {n.name: n.attrs["strides"] for n in found.graph.select("Conv")}
    assert strides["layer2.0.conv1"] == (1, 2, 2)
    assert strides["layer2.0.conv2"] == (1, 1, 1)
    assert any("HistoryBuffer' (1), 'builtins.getattr' (1)" in r for r in found.remarks)


def test_the_average_is_only_taken_if_it_is_wanted(tmp_path: Path, weights: Any) -> None:
    doubled = {f"module.{key}": value * 2 for key, value in weights.items()}
    path = written(tmp_path, weights, ema_state_dict={"steps": np.array(3), **doubled})
    plain, average = load_checkpoint(path), load_checkpoint(path, options={"weights": "ema"})
    assert "other weights: ema_state_dict.module" in plain.remarks
    for key, value in plain.weights.items():
        np.testing.assert_array_equal(average.weights[key], value * 2)


def test_what_the_file_does_not_say_is_assumed(tmp_path: Path, weights: Any) -> None:
    """A constructor that is not plain is no configuration."""
    path = written(tmp_path, weights, config="model = build('tsm')")
    (sentence,) = load_checkpoint(path).warnings
    assert "--fold-div 8 --segments 8 --strides pytorch" in sentence
    options = {"fold_div": 4, "segments": 16, "strides": "caffe"}
    told, found = (
        load_checkpoint(path, options=options),
        load_checkpoint(written(tmp_path, weights)),
    )
    assert told.warnings == ()
    assert told.graph == found.graph


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("x_shift8_blockres_.pth", {}, ("fold_div is 4", "the name of the file says 8")),
        ("x.pth", {"fold_div": 8}, ("meta.cfg, model", "the option says 8")),
        ("x.pth", {"strides": "pytorch"}, ("strides is caffe", "the option says pytorch")),
        ("tsm_1x1x8.pth", {}, ("segments is 16", "the name of the file says 8")),
    ],
)  # fmt: skip
def test_two_facts_that_disagree(
    tmp_path: Path, weights: Any, refused: Any, file: str, options: Any, words: tuple[str, ...]
) -> None:
    path = written(tmp_path, weights, file=file)
    with refused(CheckpointError, *words):
        load_checkpoint(path, options=options)


def test_how_many_frames_are_seen_is_a_choice(tmp_path: Path, weights: Any) -> None:
    found = load_checkpoint(written(tmp_path, weights), options={"segments": 8})
    assert found.profile.sampling.segments == 8
    assert found.profile.shift.divisor == 4


def test_a_network_that_does_not_shift(tmp_path: Path) -> None:
    graph = resnet(BOTTLENECK, placement="none")
    config = CONFIG.replace("ResNetTSM", "ResNet").replace("shift_div=4,\n        ", "")
    found = load_checkpoint(written(tmp_path, tensors_of(graph, mmaction2(graph)), config))
    assert found.profile.placement == "none"
    assert not list(found.graph.select("TemporalShift"))
    assert marked(graph, "layer1.0.conv1.weight") is False


@pytest.mark.parametrize(
    "option", ["strides=(1, 1, 2, 2)", "dilations=(1, 1, 2, 2)", "num_stages=3"]
)
def test_options_that_no_tensor_tells(
    tmp_path: Path, weights: Any, refused: Any, option: str
) -> None:
    config = CONFIG.replace("depth=50", f"depth=50,\n        {option}")
    with refused(CheckpointError, option.partition("=")[0], "is known"):
        load_checkpoint(written(tmp_path, weights, config))


# The text


def test_the_text_is_parsed_and_never_run(tmp_path: Path) -> None:
    evil = f"x = open({str(tmp_path / 'made')!r}, 'w')\ny = 3\nimport os\nz = [1, os, (2.5, -1)]"
    assert read_config(evil)["y"] == 3
    assert read_config(evil)["z"][2] == [2.5, -1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "bad",
    ["x = (", "x" * MAX_TEXT + "yy", "(" * 5000, "x = " + "-" * 50_000 + "1", "\0", "x=\ud800"],
)
def test_other_texts_are_refused(refused: Any, bad: str) -> None:
    with refused(CheckpointError, "the configuration in the file"):
        read_config(bad)


def test_deep_texts_are_unknown() -> None:
    assert read_config("x = " + "[" * 60 + "]" * 60)["x"]
    assert facts_of_meta({"cfg": "model = " + "dict(backbone=" * 30 + "1" + ")" * 30}) is not None


@pytest.mark.parametrize("meta", [None, [], {}, {"cfg": 3}, {"cfg": "model = 3"}, {"CLASSES": [1]}])
def test_meta_of_any_other_kind_says_nothing(meta: Any) -> None:
    assert not any(facts_of_meta(meta).values())


def test_old_files_keep_the_classes_under_another_name() -> None:
    assert facts_of_meta({"CLASSES": ("x", "y")})["meta, classes"] == {"labels": ("x", "y")}
