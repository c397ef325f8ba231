"""LiteRT's rules of rounding, against sums by hand and, where it is installed, LiteRT itself."""

from typing import Any

import numpy as np
import pytest

from tests.checkpoint.tflite.writer import Sketch
from tsm_ref.reference import litert as rule
from tsm_ref.reference import quantised as q

F32 = np.float32
EVERY = np.arange(-128, 128).astype(np.int8)
SHAPE = (1, 16, 16, 1)


def answered(sketch: Any, y: int, *inputs: Any) -> Any:
    """What LiteRT computes with XNNPACK."""
    module = pytest.importorskip("ai_edge_litert.interpreter")
    given = [number for number, tensor in enumerate(sketch.tensors) if tensor["data"] is None]
    data = sketch.file([number for number in given if number != y], [y])
    runner = module.Interpreter(model_content=data)
    runner.allocate_tensors()
    for place, values in zip(runner.get_input_details(), inputs, strict=True):
        runner.set_tensor(place["index"], values.reshape(place["shape"]))
    runner.invoke()
    return runner.get_tensor(runner.get_output_details()[0]["index"])


def drawn(rng: Any) -> Any:
    """Steps of a value, and of a result whose scale is near."""
    x_scale = F32(10 ** rng.uniform(-2.5, -0.5))
    y_scale = F32(
        x_scale * (2.0 ** rng.integers(-2, 3) if rng.random() < 0.5 else rng.random() + 0.3)
    )
    zeros = (int(zero) for zero in rng.integers(-128, 128, 2))
    return [(float(scale), zero) for scale, zero in zip((x_scale, y_scale), zeros, strict=True)]


def ended(values: Any, least: int = -128, most: int = 127) -> Any:
    return np.clip(values, least, most)


@pytest.mark.parametrize("seed", range(12))
def test_additions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (x, y), (z, _) = drawn(rng), drawn(rng)
    z = (x[0] * float(2.0 ** rng.integers(-2, 3)), z[1])
    a, b = (rng.integers(-128, 128, 20000).astype(np.int8) for _ in "ab")
    sketch = Sketch()
    numbers = [sketch.value(a.shape, "int8", steps=(*steps, 0)) for steps in (x, z)]
    how: dict[str, Any] = {"dtype": "int8", "steps": (*y, 0), "activation": 0}
    found = answered(sketch, sketch.do("ADD", numbers, a.shape, **how), a, b)
    np.testing.assert_array_equal(ended(rule.xnnpack_add(a, b, x, z, y)), found)


@pytest.mark.parametrize("places", [(2, 2), (3, 3), (7, 7), (1, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_means(places: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = drawn(rng)
    values = rng.integers(-128, 128, (200, *places, 3)).astype(np.int8)
    sketch = Sketch()
    given = sketch.value(values.shape, "int8", steps=(*x, 0))
    axes, how = sketch.const([1, 2]), {"dtype": "int8", "steps": (*y, 0)}
    found = answered(sketch, sketch.do("MEAN", [given, axes], (200, 3), **how), values)
    mean = rule.xnnpack_mean(values.transpose(0, 3, 1, 2), x, y, places)
    np.testing.assert_array_equal(ended(np.rint(mean[..., 0, 0])), found)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (2, 5)])
@pytest.mark.parametrize("padding", [0, 1])
def test_pools_of_means(kernel: Any, padding: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(-128, 128, (9, 8, 7, 3)).astype(np.int8)
    size = (8, 7) if padding == 0 else (9 - kernel[0], 8 - kernel[1])
    sketch = Sketch()
    given = sketch.value(values.shape, "int8", steps=(0.1, 5, 0))
    how = {"stride_w": 1, "stride_h": 1, "padding": padding, "activation": 0}
    how |= {"height": kernel[0], "width": kernel[1], "dtype": "int8", "steps": (0.1, 5, 0)}
    made = sketch.do("AVERAGE_POOL_2D", [given], (9, *size, 3), **how)
    around = [((n - 1) // 2, n // 2) if padding == 0 else (0, 0) for n in kernel]
    mean = rule.tflite_mean(values.transpose(0, 3, 1, 2), kernel, 1, around)
    found = answered(sketch, made, values)
    np.testing.assert_array_equal(mean, found.transpose(0, 3, 1, 2))


TABLES = {
    "QUANTIZE": rule.xnnpack_convert,
    "LEAKY_RELU": lambda *how: rule.xnnpack_leaky_relu(*how, 0.25),
    "RELU": rule.tflite_rescale,
    "RELU6": rule.tflite_rescale,
    "HARD_SWISH": rule.tflite_hard_swish,
}


@pytest.mark.parametrize("op", TABLES)
@pytest.mark.parametrize("seed", range(6))
def test_functions_of_one_value(op: str, seed: int) -> None:
    x, y = drawn(np.random.default_rng(seed))
    sketch = Sketch()
    given = sketch.value(SHAPE, "int8", steps=(*x, 0))
    more = {"alpha": 0.25} if op == "LEAKY_RELU" else {}
    made = sketch.do(op, [given], SHAPE, dtype="int8", steps=(*y, 0), **more)
    ends = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0)}.get(op, (-np.inf, np.inf))
    low, high = q.quantize_linear(np.array(ends, F32), *y, "int8").tolist()
    found = ended(TABLES[op](EVERY, x, y), low, high)
    np.testing.assert_array_equal(found, answered(sketch, made, EVERY).reshape(-1))


def test_halves_go_up_in_sums_and_away_from_zero_in_pools() -> None:
    a, none, one = np.array([-3, -1, 1, 3], np.int8), np.zeros(4, np.int8), (0.5, 0)
    assert rule.xnnpack_add(a, none, one, one, (1.0, 0)).tolist() == [-1, 0, 1, 2]
    pairs = np.array([[[-2, -1, 1, 2]]], np.int8)
    assert rule.tflite_mean(pairs, 2).tolist() == [[[-2, 0, 2]]]
