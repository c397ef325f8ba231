"""Conversion from the command line: what is written, the parity it prints, and its exit codes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import tsm_ref
from tests.checkpoint.torch_writer import zip_file
from tsm_ref import checkpoint
from tsm_ref.checkpoint import load_checkpoint, save
from tsm_ref.convert import main
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.graph import Graph
from tsm_ref.models import (
    ResNetSpec,
    build_mobilenet_v2,
    build_resnet,
    random_weights,
)
from tsm_ref.passes import streaming
from tsm_ref.profile import PROFILES, Preprocess, Sampling, ShiftRule

SPEC = ResNetSpec((1, 1, 1), width=16)
SMALL = PROFILES["mit"].with_changes(
    sampling=Sampling(segments=4), preprocess=Preprocess(short_side=36, crop=(32, 32))
)


@pytest.fixture
def graph() -> Graph:
    return build_resnet(SPEC, num_classes=5)


@pytest.fixture
def source(tmp_path: Path, graph: Graph) -> Path:
    path = tmp_path / "in.h5"
    save(path, graph, random_weights(graph), SMALL, extra={"licence": "MIT"})
    return path


def logits(path: Path) -> Any:
    found = load_checkpoint(path)
    x = np.random.default_rng(3).normal(size=(1, 3, 4, 32, 32)).astype(np.float32)
    name = found.graph.inputs[0].name
    (out,) = NumpyEngine(found.graph, found.weights).run({name: x}).values()
    return out


@pytest.mark.parametrize("ending", ["h5", "hdf5", "onnx"])
def test_the_result_computes_the_same_bits(
    source: Path, tmp_path: Path, ending: str, capsys: Any
) -> None:
    target = tmp_path / f"out.{ending}"
    assert main([str(source), str(target)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "parity   equal bit for bit" in out
    assert "3 shifts, rule mit, divisor 8, fill zero" in out
    np.testing.assert_array_equal(logits(target), logits(source))
    assert load_checkpoint(target).profile == SMALL


def test_safetensors(source: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("safetensors")
    target = tmp_path / "out.safetensors"
    assert main([str(source), str(target)]) == 0
    assert "parity   equal bit for bit" in capsys.readouterr().out
    found = load_checkpoint(target)
    assert found.profile == SMALL
    assert found.extra == {"licence": "MIT"}
    np.testing.assert_array_equal(logits(target), logits(source))


def test_and_back_again(source: Path, tmp_path: Path, graph: Graph) -> None:
    there, back = tmp_path / "there.onnx", tmp_path / "back.h5"
    assert main([str(source), str(there)]) == 0
    assert main([str(there), str(back)]) == 0
    assert [n.op for n in load_checkpoint(back).graph.nodes] == [n.op for n in graph.nodes]
    np.testing.assert_array_equal(logits(back), logits(source))


def test_half_precision_says_how_much_it_changes(source: Path, tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "half.h5"
    assert main([str(source), str(target), "--storage", "float16"]) == 0
    assert "parity   largest difference" in capsys.readouterr().out
    assert target.stat().st_size < 0.6 * source.stat().st_size


def test_a_pytorch_file(tmp_path: Path, graph: Graph, capsys: Any) -> None:
    tensors = {
        name.replace("fc.", "module.new_fc.")
        if name.startswith("fc")
        else f"module.base_model.{name}".replace("conv1.weight", "conv1.net.weight", 1)
        if ".0.conv1" in name
        else f"module.base_model.{name}": v[:, :, 0] if v.ndim == 5 else v
        for name, v in random_weights(graph).items()
    }
    path = tmp_path / "TSM_x_shift8_blockres_avg_segment4_e1.pth"
    path.write_bytes(zip_file({"state_dict": tensors}))
    assert main([str(path), str(tmp_path / "out.h5")]) == 0
    assert "MIT, torch zip, float32" in capsys.readouterr().out
    np.testing.assert_array_equal(
        load_checkpoint(tmp_path / "out.h5").weights["conv1.weight"],
        random_weights(graph)["conv1.weight"],
    )


@pytest.fixture
def online(tmp_path: Path) -> Path:
    graph = build_mobilenet_v2(num_classes=5, width=0.35, shift=ShiftRule("online"))
    path = tmp_path / "online.h5"
    save(path, graph, random_weights(graph), SMALL.with_changes(shift=ShiftRule("online")))
    return path


def test_one_step_of_a_stream(online: Path, tmp_path: Path, capsys: Any) -> None:
    assert main([str(online), str(tmp_path / "step.onnx"), "--stream"]) == 0
    out = capsys.readouterr().out
    assert "parity   equal bit for bit" in out
    assert "4 random frames, one by one" in out
    assert len(load_checkpoint(tmp_path / "step.onnx").states) == 10


def test_a_step_that_cannot_be_read_back_is_not_compared(tmp_path: Path, capsys: Any) -> None:
    """A state of several frames is written, but not recognised again."""
    graph = build_mobilenet_v2(num_classes=5, width=0.35, shift=ShiftRule("online"))
    farther = graph.with_nodes(
        replace(node, attrs={**node.attrs, "d": tuple(2 * v for v in node.attrs["d"])})
        if node.op == "TemporalShift"
        else node
        for node in graph.nodes
    )
    path = tmp_path / "in.h5"
    save(path, farther, random_weights(farther), SMALL)
    assert main([str(path), str(tmp_path / "step.onnx"), "--stream"]) == 0
    assert "parity   not compared, as the step cannot be read back: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("export", "more"), [("export_onnx", []), ("export_onnx_stream", ["--stream"])]
)
def test_a_result_that_differs_is_an_error(
    online: Path, tmp_path: Path, export: str, more: list[str], monkeypatch: Any, capsys: Any
) -> None:
    write = getattr(checkpoint, export)

    def wrong(graph: Graph, weights: Any, path: str, **options: Any) -> bytes:
        first = next(iter(weights))
        return write(graph, {**weights, first: 1.01 * weights[first]}, path, **options)

    monkeypatch.setattr(checkpoint, export, wrong)
    assert main([str(online), str(tmp_path / "x.onnx"), *more]) == 4
    assert "x.onnx: the result differs from its source by" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [online]


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenetv2", "resnet50-vd", "pp-lcnet"])
def test_a_network_without_a_shift_comes_back(
    architecture: str, tmp_path: Path, capsys: Any
) -> None:
    """No shift is a profile too, whatever rule its maker would have followed."""
    more = {"width": 0.35} if architecture == "mobilenetv2" else {}
    model = tsm_ref.build(architecture, num_classes=5, placement="none", engine="numpy", **more)
    first, second = tmp_path / "in.h5", tmp_path / "out.onnx"
    tsm_ref.save(model, first)
    sizes = ["--frames", "2", "--height", "64", "--width", "64"]
    assert main([str(first), str(second), *sizes]) == 0
    found = load_checkpoint(second)
    assert found.profile == model.profile
    assert not list(found.graph.select("TemporalShift"))
    assert main([str(second), str(tmp_path / "again.h5")]) == 0


def test_a_network_that_looks_ahead_streams_late(source: Path, tmp_path: Path, capsys: Any) -> None:
    target = tmp_path / "late.onnx"
    assert main([str(source), str(target), "--stream"]) == 0
    assert "parity   not compared" in capsys.readouterr().out
    kept = {entry.key: entry.value for entry in onnx.load(target).metadata_props}
    assert kept["tsm_ref.delay"] == "3"


@pytest.mark.parametrize("mode", ["zero", "past"])
@pytest.mark.parametrize("more", [[], ["--stream"]], ids=["clip", "step"])
def test_a_network_that_looks_nowhere_ahead(
    mode: str, more: list[str], source: Path, tmp_path: Path, capsys: Any
) -> None:
    target = tmp_path / "now.onnx"
    assert main([str(source), str(target), "--lookahead", mode, *more]) == 0
    out = capsys.readouterr().out
    assert "parity   equal" in out or (more and mode == "zero" and "not compared" in out)
    if not more:
        found = load_checkpoint(target)
        assert "looks nowhere ahead" in found.profile.measured
        assert streaming(found.graph).delay == 0


def test_sizes_of_an_onnx_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    sizes = ["--batch", "2", "--frames", "8", "--height", "48", "--width", "64"]
    assert main([str(source), str(target), *sizes]) == 0
    assert load_checkpoint(target).inputs[0].shape == (2, 3, 8, 48, 64)


def test_a_size_that_the_network_fixes(source: Path, tmp_path: Path, capsys: Any) -> None:
    fixed, again = tmp_path / "fixed.onnx", str(tmp_path / "again.onnx")
    assert main([str(source), str(fixed), "--height", "40"]) == 0
    assert main([str(fixed), again, "--height", "40"]) == 0
    assert main([str(fixed), again, "--height", "41"]) == 2
    assert "H (=41) must be 40: the network fixes it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{in}", "{dir}/out.txt"], 2, "the ending must be one of .h5, .hdf5"),
        (["{in}"], 2, "OUT"),
        (["{in}", "{dir}/x.h5", "--storage", "int8"], 2, "int8"),
        (["{in}", "{dir}/x.h5", "--stream"], 2, "only an ONNX file"),
        (["{in}", "{dir}/x.onnx", "--storage", "float16"], 2, "only an HDF5 file"),
        (["{in}", "{dir}/x.onnx", "--opset", "5"], 2, "`opset` (=5) must be"),
        (["{in}", "{dir}/x.onnx", "--frames", "9" * 10], 2, "of 1 to 999999999"),
        (["{in}", "{dir}/x.h5", "--profile", "mine"], 2, "no profile 'mine'"),
        (["{dir}/absent.pth", "{dir}/x.h5"], 4, "absent.pth"),
        (["{in}", "{dir}/x.h5", "--profile", "mmaction2"], 0, ""),
        (["{in}", "{dir}/x.h5", "--profile", "tsn"], 4, "trained with shift"),
        (["{in}", "{dir}/x.h5", "--lookahead", "none"], 2, "lookahead"),
        (["{in}", "{in}"], 5, "the output is the input"),
        (["{in}", "{dir}/no/x.h5"], 5, "no/x.h5: the file cannot be written"),
    ],
)
def test_exit_codes(
    source: Path, tmp_path: Path, arguments: list[str], code: int, words: str, capsys: Any
) -> None:
    before = source.read_bytes()
    given = [a.replace("{in}", str(source)).replace("{dir}", str(tmp_path)) for a in arguments]
    assert main(given) == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == (code != 0)
    assert source.read_bytes() == before
    if code:
        assert not [path for path in tmp_path.iterdir() if path != source]


def test_labels_are_kept(tmp_path: Path, capsys: Any) -> None:
    """A file that says nothing of its classes becomes one that does."""
    bare, named, target = tmp_path / "a.h5", tmp_path / "classes.txt", tmp_path / "b.h5"
    tsm_ref.save(tsm_ref.build("mobilenetv2", num_classes=2, width=0.35, engine="numpy"), bare)
    named.write_text("wave\nrest\n", encoding="utf-8")
    assert main([str(bare), str(target), "--labels", str(named)]) == 0
    assert tsm_ref.load(target, engine="numpy").labels == ("wave", "rest")
    assert main([str(bare), str(target), "--labels", "kinetics400"]) == 2
    assert "400 labels were given" in capsys.readouterr().err
