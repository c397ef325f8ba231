"""A small quantised network with every quantised op, for the tests of whatever meets one."""

import numpy as np

from tsm_ref.graph import Graph, Input, Node

D = (1, 1, -1, 2, 0, 0, 0, 0)


def steps(role, scale, zero):
    return {f"{role}_scale": scale, f"{role}_zero_point": zero}


def network(fill="zero", causal=False, dtype="uint8", channels=8, litert=False):
    """(graph, weights): clips (N, 3, T, H, W) to logits per frame (N, 5, T).

    ``litert``: sums and means are rounded as LiteRT does.
    """
    xnnpack, tflite = ({"rule": rule} if litert else {} for rule in ("xnnpack", "tflite"))
    zero = 7 if dtype == "uint8" else -20
    middle = {"dtype": dtype, **steps("y", 0.03, zero)}
    out = {"dtype": "int8", **steps("y", 0.05, 3)}
    x, add = steps("x", 0.03, zero), steps("x", 0.05, 3)
    d = tuple(abs(v) for v in D) if causal else D
    d += (0,) * (channels - len(D))
    same = {"pads": (0, 1, 1, 0, 1, 1)}
    nodes = (
        Node("q", "QuantizeLinear", ("x",), middle),
        Node("stem", "QLinearConv", ("q", "w0", "s0", "b0"),
             {**same, **x, **middle, "strides": (1, 2, 2), "low": zero}),
        Node("shift", "TemporalShift", ("stem",),
             {"d": d, "fill": fill, "x_zero_point": zero}),
        Node("conv", "QLinearConv", ("shift", "w1", "s1", "b1"), {**same, **x, **out}),
        Node("sum", "QLinearAdd", ("stem", "conv"),
             {**x, **steps("other", 0.05, 3), **middle, "low": zero, **xnnpack}),
        Node("time", "QLinearConv", ("sum", "w2", "s2", "b2"),
             {"pads": (1, 0, 0, 1, 0, 0), "group": 2, **x, **out}),
        Node("max", "MaxPool", ("time",), {"kernel_shape": (3, 3, 3), "pads": (1, 1, 1) * 2}),
        Node("depth", "QLinearConv", ("max", "w3", "s3", "b3"),
             {**same, **add, **middle, "group": channels, "strides": (1, 2, 2)}),
        Node("mean", "QLinearAveragePool", ("depth",),
             {"kernel_shape": (1, 2, 2), "pads": (0, 1, 1, 0, 0, 0), **x, **middle, **tflite}),
        Node("gate", "QLinearGlobalAveragePool", ("mean",), {**x, **out, **xnnpack}),
        Node("table", "LookUp", ("gate", "t"), middle),
        Node("product", "QLinearMul", ("mean", "table"),
             {**x, **steps("other", 0.03, zero), **out}),
        Node("pool", "QLinearGlobalAveragePool", ("product",), {**add, **middle, **xnnpack}),
        Node("flat", "Flatten", ("pool",)),
        Node("hidden", "QLinearMatMul", ("flat", "w4", "s4", "b4"), {**x, **out}),
        Node("back", "DequantizeLinear", ("hidden",), add),
        Node("relu", "Relu", ("back",)),
        Node("again", "QuantizeLinear", ("relu",), middle),
        Node("logits", "QLinearMatMul", ("again", "w5", "s5", "b5"), {**x, "dtype": "float32"}),
    )  # fmt: skip
    shapes = {
        "w0": (channels, 3, 1, 3, 3),
        "w1": (channels, channels, 1, 3, 3),
        "w2": (channels, channels // 2, 3, 1, 1),
        "w3": (channels, 1, 1, 3, 3),
        "w4": (channels, channels),
        "w5": (5, channels),
        "t": (256,),
    }
    for i in range(6):
        shapes[f"s{i}"] = shapes[f"b{i}"] = shapes[f"w{i}"][:1]
    graph = Graph("quantised", (Input("x", ("N", 3, "T", "H", "W")),), nodes, ("logits",), shapes)
    return graph, drawn(graph)


def drawn(graph, seed=0):
    """Weights that use the whole range of every type."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in graph.parameters.items():
        if name[0] == "s":
            fan_in = np.prod(graph.parameters["w" + name[1:]][1:])
            found[name] = (rng.uniform(0.5, 1.5, shape) / (70 * np.sqrt(fan_in))).astype(np.float32)
        else:
            low, high, dtype = {"w": (-128, 128, np.int8), "b": (-3000, 3000, np.int32),
                                "t": (0, 256, np.uint8)}[name[0]]  # fmt: skip
            found[name] = rng.integers(low, high, shape).astype(dtype)
    if "t" in found and graph.parameter_types["t"] == ("int8",):
        found["t"] = (found["t"].astype(np.int16) - 128).astype(np.int8)
    return found


def clip(frames=7, seed=1, size=(13, 11)):
    values = np.random.default_rng(seed).standard_normal((2, 3, frames, *size))
    return {"x": values.astype(np.float32)}
