"""ONNX files that must never hurt: each is refused in one line that names what is wrong."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.checkpoint.onnx_in.tiny import WEIGHT, tiny
from tsm_ref.checkpoint import load_checkpoint
from tsm_ref.checkpoint.onnx_in.budget import Budget
from tsm_ref.checkpoint.onnx_in.load import load_onnx
from tsm_ref.errors import CheckpointError


def test_the_model_that_the_attacks_start_from_is_good(written: Any) -> None:
    found = load_checkpoint(written(tiny()))
    assert [node.op for node in found.graph.nodes] == ["Conv"]
    np.testing.assert_array_equal(found.weights["w"][:, :, 0], WEIGHT)


# The message


@pytest.mark.parametrize("keep", [40, 100, 300])
def test_truncated(tmp_path: Path, refused: Any, keep: int) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(tiny().SerializeToString()[:keep])
    with refused(CheckpointError, "not an ONNX model, or it is cut off or damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("data", [b"some text\n", b"<html>", os.urandom(4096)])
def test_text_and_noise(tmp_path: Path, refused: Any, data: bytes) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(data)
    with refused(CheckpointError):
        load_checkpoint(path)
    with refused(CheckpointError):
        load_onnx(path)


def test_an_empty_file_is_no_empty_model(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "empty.onnx"
    path.write_bytes(b"")
    with refused(CheckpointError, "empty"):
        load_checkpoint(path)
    path.write_bytes(b"\x08\x08\x12\x00")
    with refused(CheckpointError, "there is no graph in it"):
        load_checkpoint(path)


@pytest.mark.parametrize("opset", [1, 6, 99, 9999])
def test_unknown_opset(wrong: Any, opset: int) -> None:
    wrong(tiny(opset=opset), f"the opset is {opset}; supported are 7 to")


def test_two_opsets(wrong: Any) -> None:
    model = tiny()
    model.opset_import.append(helper.make_opsetid("", 14))
    wrong(model, "the opset versions are [13, 14]")


def test_unknown_op(written: Any) -> None:
    model = tiny([helper.make_node("GridSample", ["x"], ["y"])])
    with pytest.raises(CheckpointError, match="'GridSample' is not supported") as caught:
        load_checkpoint(written(model))
    assert "supported are Abs, Add, And, ArgMax, ArgMin, AveragePool," in str(caught.value)


@pytest.mark.parametrize("op", ["Resize", "Upsample"])
def test_pictures_that_are_scaled_inside(wrong: Any, op: str) -> None:
    node = helper.make_node(op, ["x", "", "", "s"] if op == "Resize" else ["x", "s"], ["y"])
    wrong(tiny([node]), f"'{op}' is not supported: it scales pictures inside; export the network")


def test_other_domain(wrong: Any) -> None:
    wrong(tiny([helper.make_node("Conv", ["x", "w"], ["y"], domain="evil")]), "domain 'evil'")


def with_functions(bodies: dict[str, list[str]], called: str) -> onnx.ModelProto:
    """A model whose functions call ops or each other, one after another."""
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
    model = tiny([helper.make_node(called, ["x"], ["y"], domain="own", name="call")])
    model.opset_import.append(opsets[1])
    for name, ops in bodies.items():
        nodes = [
            helper.make_node(op, [f"a{i}"], [f"a{i + 1}"], domain="own" if op in bodies else "")
            for i, op in enumerate(ops)
        ]
        model.functions.append(
            helper.make_function("own", name, ["a0"], [f"a{len(ops)}"], nodes, opsets)
        )
    return model


def test_functions_are_written_out(written: Any) -> None:
    model = with_functions({"f": ["Relu", "g", "g"], "g": ["Tanh", "Sigmoid"]}, "f")
    found = load_checkpoint(written(model))
    assert [n.op for n in found.graph.nodes] == ["Relu", "Tanh", "Sigmoid", "Tanh", "Sigmoid"]


@pytest.mark.parametrize(
    "bodies", [{"f": ["f"]}, {"f": ["Relu", "g"], "g": ["h"], "h": ["g"]}, {"f": ["g"], "g": ["f"]}]
)
def test_functions_that_call_in_circles(wrong: Any, bodies: dict[str, list[str]]) -> None:
    wrong(with_functions(bodies, "f"), "calls itself, or one that does")


def test_functions_that_grow_without_end(wrong: Any) -> None:
    """Forty functions, each of which calls the next one twice."""
    bodies = {f"f{i}": [f"f{i + 1}"] * 2 for i in range(40)} | {"f40": ["Relu"]}
    wrong(with_functions(bodies, "f0"), "more than the 100000 accepted")


def test_two_functions_of_one_name(wrong: Any) -> None:
    model = with_functions({"f": ["Relu"]}, "f")
    model.functions.append(model.functions[0])
    wrong(model, "two functions of the model have the same name")


def test_sparse_tensors(wrong: Any) -> None:
    model = tiny()
    model.graph.sparse_initializer.append(onnx.SparseTensorProto())
    wrong(model, "sparse")


def test_deep_nesting(tmp_path: Path, refused: Any) -> None:
    """A graph in an attribute of a graph in an attribute ..., a thousand deep."""
    inner = b""
    for _ in range(1000):
        inner = b"\x0a" + _varint(len(inner)) + inner  # graph.node = 1
        inner = b"\x32" + _varint(len(inner)) + inner  # attribute.g = 6
        inner = b"\x2a" + _varint(len(inner)) + inner  # node.attribute = 5
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08\x3a" + _varint(len(inner)) + inner)
    with refused(CheckpointError):
        load_checkpoint(path)


def _varint(value: int) -> bytes:
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


# Names


def test_cycle(wrong: Any) -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    wrong(tiny([*nodes, helper.make_node("Relu", ["a"], ["y"])]), "'b'", "a circle")


def test_missing_initializer(wrong: Any) -> None:
    wrong(tiny(initializers=[]), "'w', which nothing makes")


def test_value_made_twice(wrong: Any) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])]
    wrong(tiny(nodes), "'y', which exists already")


def test_duplicate_outputs_and_inputs(wrong: Any) -> None:
    model = tiny()
    model.graph.output.append(model.graph.output[0])
    wrong(model, "two outputs have the same name")
    model = tiny()
    model.graph.input.append(model.graph.input[0])
    wrong(model, "two inputs have the same name")
    model = tiny()
    model.graph.initializer.append(model.graph.initializer[0])
    wrong(model, "the initializer 'w' is not unique")


def test_output_that_nothing_makes(wrong: Any) -> None:
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    wrong(tiny(outputs=outputs), "the output 'z' is made by no node")


def test_output_that_is_a_weight(wrong: Any) -> None:
    outputs = [helper.make_tensor_value_info("w", TensorProto.FLOAT, None)]
    wrong(tiny(outputs=outputs), "the output 'w' does not depend on the input")


# Sizes and types


def test_negative_dimension_of_an_input(wrong: Any) -> None:
    wrong(tiny(shape=[8, -3, 6, 6]), "the size -3 along axis 1")
    wrong(tiny(shape=[8, 0, 6, 6]), "the size 0 along axis 1")


def test_a_huge_input(wrong: Any) -> None:
    wrong(tiny(shape=[2**20, 3, 2**15, 2**15]), "values accepted")


def test_integer_input(wrong: Any) -> None:
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, [8, 3, 6, 6])]
    wrong(tiny(inputs=inputs), "the element type int64")


@pytest.mark.parametrize("shape", [[8], [2, 2, 2, 3, 6, 6]])
def test_rank_of_the_input(wrong: Any, shape: list[int]) -> None:
    wrong(tiny(shape=shape), f"an input of {len(shape)} axes is not supported")


def test_rank_of_the_weight(wrong: Any) -> None:
    weight = numpy_helper.from_array(WEIGHT.reshape(4, 3, 9), "w")
    wrong(tiny(initializers=[weight]), "not N, C, ...")
    wrong(tiny(initializers=[numpy_helper.from_array(WEIGHT[0, 0], "w")]), "3 axes or more")


@pytest.mark.parametrize(
    ("attrs", "words"),
    [
        ({"strides": [0, 0]}, "below 1"),
        ({"strides": [-1, 1]}, "below 1"),
        ({"dilations": [0, 1]}, "below 1"),
        ({"pads": [-1, 0, 0, 0]}, "none may be negative"),
        ({"group": 0}, "0 group"),
        ({"group": 2}, "cannot read 3 channels"),
        ({"dilations": [9, 9]}, "larger than the padded size"),
        ({"pads": [2**30] * 4}, "values accepted"),
    ],
)
def test_attributes_of_a_convolution(wrong: Any, attrs: dict[str, Any], words: str) -> None:
    wrong(tiny([helper.make_node("Conv", ["x", "w"], ["y"], **attrs)]), words)


def test_attribute_given_twice(wrong: Any) -> None:
    model = tiny([helper.make_node("Conv", ["x", "w"], ["y"], group=1)])
    node = model.graph.node[0]
    node.attribute.append(node.attribute[0])
    wrong(model, "'group'", "given twice")


def test_attribute_that_is_a_graph(wrong: Any) -> None:
    model = tiny()
    attribute = model.graph.node[0].attribute.add()
    attribute.name, attribute.type = "body", 5
    wrong(model, "'body'", "the type 5")


# Bombs


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range", "Pad"])
def test_bombs_are_refused_before_memory_is_asked_for(wrong: Any, op: str) -> None:
    huge = numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "huge")
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
    numbers = [numpy_helper.from_array(np.array(v, np.int64), n) for n, v in
               (("zero", 0), ("end", 2**62), ("step", 1))]  # fmt: skip
    pads = numpy_helper.from_array(np.array([0, 0, 2**30, 2**30], np.int64), "pads")
    inputs = {
        "ConstantOfShape": ["huge"],
        "Expand": ["one", "huge"],
        "Tile": ["one", "huge"],
        "Range": ["zero", "end", "step"],
        "Pad": ["one", "pads"],
    }
    nodes = [
        helper.make_node(op, inputs[op], ["bomb"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    initializers = [numpy_helper.from_array(WEIGHT, "w"), huge, one, *numbers, pads]
    wrong(tiny(nodes, initializers=initializers), "values accepted", op)


def test_expanding_data_is_bounded_too(wrong: Any) -> None:
    huge = numpy_helper.from_array(np.array([8, 3, 2**20, 2**20], np.int64), "huge")
    nodes = [
        helper.make_node("Expand", ["x", "huge"], ["e"]),
        helper.make_node("Conv", ["e", "w"], ["y"]),
    ]
    initializers = [numpy_helper.from_array(WEIGHT, "w"), huge]
    wrong(tiny(nodes, shape=[8, 3, 1, 1], initializers=initializers), "Expand", "values accepted")


def test_folding_again_and_again_is_bounded(wrong: Any) -> None:
    """Each of 40 nodes doubles what the one before made."""
    nodes = [helper.make_node("Concat", ["w", "w"], ["c0"], axis=0)]
    nodes += [
        helper.make_node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=0) for i in range(40)
    ]
    wrong(tiny([*nodes, helper.make_node("Conv", ["x", "w"], ["y"])]), "values accepted")


def test_a_small_file_cannot_ask_for_much_work(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of sixty pads is small enough, all of them together are not."""
    monkeypatch.setattr(Budget, "FREE", 2**22)
    pads = numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 30, 30], np.int64), "pads")
    nodes = [helper.make_node("Pad", ["x", "pads"], [f"p{i}"]) for i in range(60)]
    nodes += [helper.make_node("Conv", ["p59", "w"], ["y"])]
    initializers = [numpy_helper.from_array(WEIGHT, "w"), pads]
    wrong(tiny(nodes, shape=[64, 3, 36, 36], initializers=initializers), "for its size")


def test_a_large_file_may_ask_for_more() -> None:
    assert Budget(0).one < Budget(100).one <= Budget(2**31).one <= Budget.ONE_MOST
    assert Budget(0).total == Budget.FREE < Budget(100).total < Budget(2**31).total
    budget = Budget(0)
    budget.spend(Budget.FREE)
    with pytest.raises(CheckpointError, match="for its size"):
        budget.spend(1)


# Anything at all


def test_changed_bytes_are_read_or_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    """Damage is never an error of Python's, nor a model with values that are no numbers."""
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Pad", ["t", "pads"], ["p"]),
        helper.make_node("Slice", ["p", "two", "six", "two"], ["s"]),
        helper.make_node("Conv", ["s", "w"], ["y"], kernel_shape=[1, 3, 3], group=1),
    ]
    numbers = {"shape": [-1, 4, 3, 6, 6], "pads": [0, 0, 1, 0, 0, 0, 0, 1, 0, 0], "two": [2]}
    initializers = [
        numpy_helper.from_array(np.array(v, np.int64), n)
        for n, v in {**numbers, "six": [6]}.items()
    ]
    initializers.append(numpy_helper.from_array(WEIGHT[:, :, None], "w"))
    data = tiny(nodes, initializers=initializers).SerializeToString()
    path = tmp_path / "changed.onnx"
    path.write_bytes(data)
    assert [node.op for node in load_checkpoint(path).graph.nodes] == ["TemporalShift", "Conv"]
    for place in rng.permutation(len(data))[:200]:
        changed = bytearray(data)
        changed[place] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            continue
        assert all(np.isfinite(values).all() for values in found.weights.values())
