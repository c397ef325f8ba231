"""Damaged, hostile and unsupported TensorFlow Lite files are refused in one sentence each."""

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tflite.writer import Sketch, clip_network
from tsm_ref.checkpoint.files import load_checkpoint
from tsm_ref.errors import CheckpointError, GraphError

Change = Callable[[Sketch, int, int], Any]


def refusal(folder: Path, data: bytes) -> str:
    path = folder / "model.tflite"
    path.write_bytes(data)
    with pytest.raises((CheckpointError, GraphError)) as found:
        load_checkpoint(path)
    text = str(found.value)
    assert "\n" not in text
    assert len(text) < 1200
    return text


def _set(sketch: Sketch, place: int, **changes: Any) -> None:
    sketch.tensors[place].update(changes)


def _op(sketch: Sketch, op: str) -> None:
    sketch.operators[0]["op"] = op


CHANGES: list[tuple[Change, str]] = [
    (lambda s, x, y: _op(s, "custom:FlexRoll"), "the custom op 'FlexRoll' is not supported"),
    (lambda s, x, y: _op(s, "TRANSPOSE_CONV"), "the TFLite op TRANSPOSE_CONV is not supported"),
    (lambda s, x, y: _op(s, "199"), "the TFLite op number 199 is not supported"),
    (lambda s, x, y: setattr(s, "subgraphs", 3), "the file holds 3 subgraphs"),
    (lambda s, x, y: setattr(s, "subgraphs", 0), "the file holds 0 subgraphs"),
    (lambda s, x, y: setattr(s, "version", 2), "the TFLite schema is version 2"),
    (lambda s, x, y: _set(s, 1, sparse=True), "the tensor 't1' is sparse"),
    (lambda s, x, y: _set(s, 1, variable=True), "the tensor 't1' is a variable"),
    (lambda s, x, y: _set(s, 1, kind=17), "is of the type int4, which is not supported"),
    (lambda s, x, y: _set(s, 1, kind=21), "is of the type float8_e4m3fn"),
    (lambda s, x, y: _set(s, 1, kind=99), "is of the type with the unknown number 99"),
    (lambda s, x, y: _set(s, 1, shape=(-8, 3, 3, 3)), "has the shape [-8, 3, 3, 3]"),
    (lambda s, x, y: _set(s, 1, shape=(2**30, 2**30, 2**30, 3)), "bytes; its shape"),
    (lambda s, x, y: _set(s, 1, shape=(1,) * 9), "has the shape"),
    (lambda s, x, y: _set(s, 1, buffer=999), "a buffer is named that it does not have"),
    (lambda s, x, y: s.operators[0].update(member=8), "CONV_2D has the options of another"),
    (lambda s, x, y: s.operators[0].update(inputs=[999]), "a tensor is named that it does not"),
    (lambda s, x, y: s.operators[0].update(inputs=[x]), "lacks its operand 1"),
    (lambda s, x, y: s.operators[0].update(outputs=[]), "CONV_2D makes nothing"),
    (lambda s, x, y: s.operators.reverse(), "is made only later (a circle?)"),
    (lambda s, x, y: s.operators[0]["options"].update(padding=7), "has the padding 7"),
    (lambda s, x, y: s.operators[0]["options"].update(activation=5), "has the activation 5"),
    (lambda s, x, y: s.operators[0]["options"].update(stride_w=0), "a stride, dilation or kernel"),
    (lambda s, x, y: s.operators.clear(), "has no operation"),
    (
        lambda s, x, y: _set(s, 1, dtype="int8", data=np.zeros(216, np.int8), steps=(0.0, 0, 0)),
        "has the scale 0; it must be positive and finite",
    ),
    (
        lambda s, x, y: _set(s, 1, dtype="int8", data=np.zeros(216, np.int8), steps=(np.nan, 0, 0)),
        "has the scale nan; it must be positive and finite",
    ),
    (
        lambda s, x, y: _set(s, 1, dtype="int8", data=np.zeros(216, np.int8), steps=(1.0, 128, 0)),
        "has a zero point that int8 does not have",
    ),
    (
        lambda s, x, y: _set(
            s, 1, dtype="int8", data=np.zeros(216, np.int8), steps=([1.0, 2.0], [0, 0], 0)
        ),
        "has 2 scales, which do not fit its axis 0",
    ),
    (
        lambda s, x, y: _set(
            s, 1, dtype="int8", data=np.zeros(216, np.int8), steps=([1.0] * 8, [0] * 8, 9)
        ),
        "which do not fit its axis 9",
    ),
    (
        lambda s, x, y: _set(s, 1, dtype="int16", data=np.ones(216, np.int16), steps=(0.0, 0, 0)),
        "has the scale 0; it must be positive and finite",
    ),
    (
        lambda s, x, y: _set(s, 2, dtype="int64", data=np.ones(8, np.int64), steps=(1.0, 0, 0)),
        "is whole, what it is added to not",
    ),
]


@pytest.mark.parametrize(("change", "words"), CHANGES, ids=[words for _, words in CHANGES])
def test_what_is_wrong_is_named(tmp_path: Path, change: Change, words: str) -> None:
    sketch, x, y = clip_network()
    change(sketch, x, y)
    assert words in refusal(tmp_path, sketch.file([x], [y]))


def test_a_file_that_is_cut_off_anywhere(tmp_path: Path) -> None:
    sketch, x, y = clip_network()
    data = sketch.file([x], [y])
    for length in (9, 40, 200, 1000, len(data) // 2, len(data) - 400):
        assert refusal(tmp_path, data[:length])


def test_offsets_that_lie_or_run_in_circles(tmp_path: Path) -> None:
    """Any four bytes as any offset: refused on purpose, or still a network."""
    sketch, x, y = clip_network(size=4)
    data = sketch.file([x], [y])
    path = tmp_path / "model.tflite"
    rng = np.random.default_rng(1)
    refused = 0
    for place in rng.choice(len(data) // 4, 60, replace=False) * 4:
        for word in (0, 4, 0x7FFFFFFF, 0xFFFFFFFC, int(place), int(rng.integers(2**32))):
            changed = bytearray(data)
            struct.pack_into("<I", changed, int(place), word)
            path.write_bytes(changed)
            with contextlib.suppress(CheckpointError, GraphError):
                load_checkpoint(path)
                continue
            refused += 1
    assert refused > 40


def test_many_tensors_of_one_buffer_take_no_more_than_the_file_allows(tmp_path: Path) -> None:
    sketch = Sketch()
    x = y = sketch.value((4, 8, 8, 3))
    big = np.zeros(2**20, np.float32)
    first = sketch.const(big)
    for _ in range(60):
        other = sketch.value((2**20,), data=np.zeros(1, np.float32), buffer=first + 1)
        y = sketch.do("ADD", [y, other], (4, 8, 8, 3))
    assert "its buffers are shared" in refusal(tmp_path, sketch.file([x], [y]))
