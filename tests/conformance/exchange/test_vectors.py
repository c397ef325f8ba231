"""Questions in a folder: complete, without answers, and judged like any others."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from conformance.catalogue import cases_of
from conformance.exchange.vectors import export
from conformance.judging.results import Options
from conformance.judging.runner import run
from conformance.questions.case import Call, Setting
from conformance.questions.conventions import PRESETS
from conformance.testees.folder import Folder
from conformance.testees.reference import Reference
from tsm_ref.errors import UsageError

LEVELS = ("L0", "L3", "S", "R")


@pytest.fixture(scope="module")
def answered(tmp_path_factory, answer_all):
    folder = tmp_path_factory.mktemp("exported")
    export(folder, cases_of(LEVELS), Setting(PRESETS["paddle"], 3))
    answer_all(folder, Reference("paddle"))
    return folder


def judged(folder):
    testee = Folder(folder)
    return run(testee, cases_of(testee.levels), Options(testee.seed))


def test_a_folder_of_right_answers_reaches_its_levels(answered):
    finished = judged(answered)
    assert [(r.id, r.message) for r in finished.results if r.outcome == "failed"] == []
    assert finished.reached == ("L0", "S", "R")
    asked = {r.id for r in finished.results if r.outcome == "unsupported"}
    assert all(".identity." in id for id in asked)


def test_nothing_in_the_folder_tells_the_answer(answered):
    finished = {path.name for path in (answered / "cases").rglob("*") if path.is_file()}
    assert not any(name.startswith(("y.", "output", "expected")) for name in finished - {"y.npy"})
    calls = [json.loads(path.read_text()) for path in answered.glob("cases/*/*/call.json")]
    assert {key for call in calls for key in call} == {"operation", "attributes", "inputs"}


def test_a_wrong_a_missing_and_a_broken_answer_are_told_apart(answered, tmp_path):
    for path in answered.rglob("*"):
        target = tmp_path / path.relative_to(answered)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    places = tmp_path / "outputs"
    wrong = places / "L0.shift.clips" / "0" / "y.npy"
    np.save(wrong, np.load(wrong)[:, ::-1])
    (places / "L0.shift.reshape" / "0" / "y.npy").write_bytes(b"\x93NUMPY")
    (places / "L0.shift.one-frame" / "0" / "y.npy").unlink()
    (places / "L0.shift.one-frame" / "0").rmdir()
    results = {r.id: r for r in judged(tmp_path).results}
    assert results["L0.shift.clips"].outcome == "failed"
    assert "y.npy is no npy file" in results["L0.shift.reshape"].message
    assert results["L0.shift.one-frame"].outcome == "unsupported"


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(UsageError, match="export"):
        Folder(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="not as it should be"):
        Folder(tmp_path)


def test_a_fingerprint_sees_every_part_of_a_call():
    x = np.zeros((1, 2), np.float32)
    calls = [
        Call("relu", {"x": x}),
        Call("relu6", {"x": x}),
        Call("relu", {"y": x}),
        Call("relu", {"x": x + 1}),
        Call("relu", {"x": x.reshape(2, 1)}),
        Call("relu", {"x": x.astype(np.int32)}),
        Call("relu", {"x": x}, {"slope": 1}),
    ]
    assert len({call.fingerprint for call in calls}) == len(calls)


def test_onnx_test_data_runs_on_onnx(tmp_path):
    count = export(tmp_path, cases_of(["L0", "L1"]), Setting(PRESETS["mit"]), "onnx")
    models = sorted(tmp_path.glob("*/model.onnx"))
    assert count > 30
    operations = set()
    for path in models:
        model = onnx.load(path)
        operations |= {node.op_type for node in model.graph.node}
        data = path.parent / "test_data_set_0"
        inputs = {
            value.name: read_tensor(data / f"input_{i}.pb")
            for i, value in enumerate(model.graph.input)
        }
        if path.parent.name.startswith("L0"):
            (y,) = ReferenceEvaluator(model).run(None, inputs)
            np.testing.assert_array_equal(y, read_tensor(data / "output_0.pb"))
    assert {"Conv", "MaxPool", "AveragePool", "BatchNormalization", "Softmax", "Pad"} <= operations


def read_tensor(path: Path):
    return onnx.numpy_helper.to_array(onnx.load_tensor(path))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": -1}, "`seed` (=-1) must be at least 0"),
        ({"seed": float("inf")}, "`seed` is float; integer is needed"),
        ({"levels": ["L9"]}, "`levels[0]` (='L9') must be one of"),
        ({"places": {"x": 5}}, "`places.x` is int; string is needed"),
        ({"places": {"x": "../../etc/0"}}, "the place '../../etc/0' must be a case and a number"),
    ],
)
def test_a_manifest_is_what_its_schema_says(tmp_path, change, sentence):
    right = {"format": 1, "seed": 0, "profile": "mit", "levels": ["L0"], "places": {"x": "L0.a/0"}}
    (tmp_path / "manifest.json").write_text(json.dumps(right))
    Folder(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(right | change))
    with pytest.raises(UsageError) as caught:
        Folder(tmp_path)
    assert sentence in str(caught.value)


def test_who_answers_is_a_dictionary(tmp_path):
    export(tmp_path, cases_of(["L0"]), Setting(PRESETS["mit"]))
    (tmp_path / "testee.json").write_text('"me"')
    with pytest.raises(UsageError, match="the message is str; object is needed"):
        Folder(tmp_path)
