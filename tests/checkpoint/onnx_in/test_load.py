"""ONNX files of real exporters: what they compute, and which shifts they turn out to hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tsm_ref
from tsm_ref.checkpoint import Checkpoint, load_checkpoint
from tsm_ref.engine.on_numba.engine import NumbaEngine
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.oracle import run_with_bound
from tsm_ref.errors import CheckpointError, GraphError
from tsm_ref.profile import PROFILES

OFFLINE = ["k01", *(f"o{i:02}" for i in range(1, 12)), *("o13", "o14", "o15", "o17", "p01")]
SHIFTED = [name for name in OFFLINE if name != "o17"]
OPEN_BATCH = ["o02", "o06", "o07", "o11"]
ENGINES = {"numpy": NumpyEngine, "numba": NumbaEngine}

Entry = dict[str, Any]


@pytest.fixture(scope="session")
def manifest(shared_data: Path) -> dict[str, Entry]:
    tree = json.loads((shared_data / "onnx" / "manifest.json").read_text())
    return {entry["id"]: entry for entry in tree["files"]}


@pytest.fixture(scope="session")
def folder(shared_data: Path) -> Path:
    return shared_data / "onnx"


def read(folder: Path, entry: Entry) -> tuple[Checkpoint, Any]:
    return load_checkpoint(folder / entry["file"]), np.load(folder / entry["npz"])


def errors(found: Checkpoint, engine: Any, given: Any, expected: Any) -> np.ndarray[Any, Any]:
    """Errors of an engine, as multiples of what its rounding explains."""
    (view,), (out,) = found.inputs, found.outputs
    x = {view.value: view.to_graph(given)}
    y = out.to_file(engine(found.graph, found.weights).run(x)[out.value])
    bound = run_with_bound(found.graph, found.weights, x, 2**-24)[out.value]
    assert y.shape == expected.shape
    return np.asarray(np.abs(y - expected) / out.to_file(bound.tolerance()))


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("name", OFFLINE)
def test_every_export_computes_what_its_exporter_did(
    name: str, engine: Any, folder: Path, manifest: dict[str, Entry]
) -> None:
    found, data = read(folder, manifest[name])
    assert errors(found, engine, data["input"], data["expected"]).max() < 1


@pytest.mark.parametrize("name", OPEN_BATCH)
def test_an_open_batch_takes_any_number_of_clips(
    name: str, folder: Path, manifest: dict[str, Entry]
) -> None:
    found, data = read(folder, manifest[name])
    assert errors(found, NumpyEngine, data["input_b"], data["expected_b"]).max() < 1


@pytest.mark.parametrize("name", SHIFTED)
def test_the_shift_is_lifted(name: str, folder: Path, manifest: dict[str, Entry]) -> None:
    found, _ = read(folder, manifest[name])
    (node,) = found.graph.select("TemporalShift")
    (wanted,) = manifest[name]["shifts"]
    d = np.zeros(wanted["C"], int)
    for part in wanted["map"]:
        d[slice(*part["channels"])] = part["d"]
        assert node.attrs["fill"] == part["fill"]
    assert list(node.attrs["d"]) == d.tolist()


@pytest.mark.parametrize("name", SHIFTED)
def test_no_trace_of_the_export_is_left(
    name: str, folder: Path, manifest: dict[str, Entry]
) -> None:
    """A graph of a stem, a block and a head, whatever the 16 to 345 nodes of the file were."""
    found, _ = read(folder, manifest[name])
    ops = [node.op for node in found.graph.nodes if node.op != "BatchNormalization"]
    assert ops == [
        *("Conv", "Relu", "TemporalShift", "Conv", "Relu", "Conv", "Relu", "Conv"),
        *("Add", "Relu", "GlobalAveragePool", "Flatten", "Linear", "Consensus"),
    ]


def test_shift_in_front_of_the_block_feeds_the_skip_path_too(
    folder: Path, manifest: dict[str, Entry]
) -> None:
    inside, before = (
        load_checkpoint(folder / manifest[name]["file"]).graph for name in ("o01", "o04")
    )
    for graph, reads_shift in ((inside, False), (before, True)):
        (shift,), (add,) = graph.select("TemporalShift"), graph.select("Add")
        assert (shift.name in add.inputs) == reads_shift


def test_a_network_without_shift_has_none(folder: Path, manifest: dict[str, Entry]) -> None:
    found, _ = read(folder, manifest["o17"])
    assert not list(found.graph.select("TemporalShift"))
    assert found.profile.shift.rule == "none"
    assert found.graph.inputs[0].shape == ("N", 3, 4, 32, 32)


def test_a_broken_export_is_refused_by_name(folder: Path, manifest: dict[str, Entry]) -> None:
    with pytest.raises(CheckpointError, match="no longer depends on the input") as caught:
        read(folder, manifest["o16"])
    assert "/blocks/blocks.0/conv1/net/Conv" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("o01", ("mit", 8, "zero")),
        ("o08", ("paddle", 8, "zero")),
        ("o09", ("mit", 8, "circular")),
        ("o10", ("mit", 8, "replicate")),
        ("o11", ("online", 8, "zero")),
        ("o14", ("mit", 3, "zero")),
    ],
)
def test_the_profile_says_whose_shift_it_is(
    name: str, rule: tuple[str, int, str], folder: Path, manifest: dict[str, Entry]
) -> None:
    shift = read(folder, manifest[name])[0].profile.shift
    assert (shift.rule, shift.divisor, shift.fill) == rule


def test_a_given_profile_must_agree_with_the_file(folder: Path, manifest: dict[str, Entry]) -> None:
    path = folder / manifest["o01"]["file"]
    assert load_checkpoint(path, PROFILES["mmaction2"]).profile == PROFILES["mmaction2"]
    with pytest.raises(CheckpointError, match=r"mit.*the profile asks for.*online"):
        load_checkpoint(path, PROFILES["mit-online"])
    with pytest.raises(CheckpointError, match="shifts nothing; the profile asks for"):
        load_checkpoint(folder / manifest["o17"]["file"], PROFILES["mit"])


def test_the_layout_of_the_file_is_kept(folder: Path, manifest: dict[str, Entry]) -> None:
    wanted = {
        "k01": "input (N*T, H, W, C)",
        "o01": "input (N, T, C, H, W)",
        "o07": "input (N*T, C, H, W)",
    }
    for name, text in wanted.items():
        assert str(read(folder, manifest[name])[0].inputs[0]) == text


def test_an_input_of_another_shape_than_declared_is_refused(
    folder: Path, manifest: dict[str, Entry]
) -> None:
    rows = read(folder, manifest["o07"])[0].inputs[0]
    with pytest.raises(GraphError, match=r"'input' has 7 along N\*T, .* a multiple of 4"):
        rows.to_graph(np.zeros((7, 3, 32, 32)))
    fixed = read(folder, manifest["o01"])[0].inputs[0]
    with pytest.raises(GraphError, match=r"has shape \(3, 4, 3, 32, 32\); expected \(2, 4"):
        fixed.to_graph(np.zeros((3, 4, 3, 32, 32)))


def test_the_online_form_becomes_a_causal_shift(folder: Path, manifest: dict[str, Entry]) -> None:
    """Fed with the whole clip, the lifted graph gives the logits of every step of the file."""
    found, data = read(folder, manifest["o12"])
    (node,) = found.graph.select("TemporalShift")
    assert node.attrs["d"] == (1, 1, *[0] * 14)
    (state,) = found.states
    assert (state.input, state.output) == ("state_in_0", "state_out_0")
    assert (state.value, state.start, state.stop) == (node.inputs[0], 0, 2)
    assert [view.name for view in found.inputs] == ["frame"]
    clip = data["frames"].transpose(1, 2, 0, 3, 4)
    x, (name,) = {"frame": clip}, found.graph.outputs
    logits = NumpyEngine(found.graph, found.weights).run(x)[name]
    bound = run_with_bound(found.graph, found.weights, x, 2**-24)[name].tolerance()
    expected = data["expected_logits"].transpose(1, 2, 0)
    assert (np.abs(logits - expected) / bound).max() < 1


# As a model


@pytest.mark.parametrize("engine", ENGINES)
def test_the_online_form_takes_and_returns_what_it_declares(
    engine: str, folder: Path, manifest: dict[str, Entry]
) -> None:
    """Every step of the exporter's own run: logits and state, from the state before."""
    model = tsm_ref.load(folder / manifest["o12"]["file"], engine=engine)
    data = np.load(folder / manifest["o12"]["npz"])
    state = np.zeros((2, 2, 16, 16), np.float32)
    for step, frame in enumerate(data["frames"]):
        found = model.run({"frame": frame, "state_in_0": state})
        assert set(found) == {"logits", "state_out_0"}
        np.testing.assert_allclose(found["logits"], data["expected_logits"][step], atol=2e-5)
        state = found["state_out_0"]
        np.testing.assert_allclose(state, data[f"step{step}_state_out_0"], atol=2e-5)


def test_the_online_form_is_a_stream(folder: Path, manifest: dict[str, Entry]) -> None:
    model = tsm_ref.load(folder / manifest["o12"]["file"], engine="numpy")
    data = np.load(folder / manifest["o12"]["npz"])
    stream = model.stream(2)
    assert stream.delay == 0
    for step, frame in enumerate(data["frames"]):
        np.testing.assert_allclose(stream.step(frame), data["expected_logits"][step], atol=2e-5)


def test_a_state_of_another_shape_is_refused(folder: Path, manifest: dict[str, Entry]) -> None:
    model = tsm_ref.load(folder / manifest["o12"]["file"], engine="numpy")
    frame = np.zeros((2, 3, 32, 32), np.float32)
    with pytest.raises(
        GraphError, match=r"'state_in_0' has shape \(2, 3, 16, 16\); expected \(2, "
    ):
        model.run({"frame": frame, "state_in_0": np.zeros((2, 3, 16, 16), np.float32)})
    with pytest.raises(GraphError, match="the inputs are"):
        model.run({"frame": frame})


@pytest.mark.parametrize("name", ["o01", "o07", "k01"])
def test_a_model_takes_and_returns_what_the_file_declares(
    name: str, folder: Path, manifest: dict[str, Entry]
) -> None:
    model = tsm_ref.load(folder / manifest[name]["file"], engine="numpy")
    data = np.load(folder / manifest[name]["npz"])
    (output,) = manifest[name]["outputs"]
    found = model.run({"input": data["input"]})
    np.testing.assert_allclose(found[output], data["expected"], atol=2e-5)
    clip = model.form.inputs[0].to_graph(data["input"])
    np.testing.assert_array_equal(model(clip), found[output])


def test_the_summary_names_every_lifted_shift(folder: Path, manifest: dict[str, Entry]) -> None:
    summary = tsm_ref.load(folder / manifest["o09"]["file"], engine="numpy").summary()
    assert "channels 2 x t+1, 2 x t-1, 12 x t; fill circular" in summary or (
        "channels 2 x t+1, 12 x t, 2 x t-1; fill circular" in summary
    )
