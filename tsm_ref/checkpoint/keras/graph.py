"""The network of a Keras model file: its JSON becomes a graph, layer after layer.

A model that Keras 2 or 3 saved as ``.h5`` carries its network (``model_config``) beside its
weights, so nothing has to be known about it but what its layers do. It sees pictures, one per
frame, or clips whose frames it treats alike (`tsm_ref.checkpoint.keras.clips`); what comes out per
frame is averaged over the clip. A layer of a kind that is not in
`LAYERS`, a temporal shift written as a Lambda for one, is refused by name.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from tsm_ref.checkpoint.contents import shown
from tsm_ref.checkpoint.keras.building import KerasNetwork, Variable
from tsm_ref.checkpoint.keras.clips import PLAIN, unwrapped
from tsm_ref.errors import CheckpointError, GraphError
from tsm_ref.graph import Graph, Input

Config = Mapping[str, Any]

ACTIVATIONS = {
    "relu": "Relu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
}


def graph_of(text: str) -> tuple[Graph, dict[str, Variable]]:
    """The graph that the JSON of a Keras model describes, and where each parameter is.

    Raises `CheckpointError` for JSON that is no such model, or has a layer that is not supported.
    """
    try:
        layers = list(unwrapped(_layers(json.loads(text)), _layers))
        net = KerasNetwork()
        inputs = []
        for layer in layers:
            name, config = str(layer["config"]["name"]), layer["config"]
            if layer["class_name"] == "InputLayer":
                inputs.append(_input(net, name, config))
                continue
            kind = str(layer["class_name"])
            if kind not in LAYERS:
                if "TSM" in kind or "Shift" in kind:
                    raise CheckpointError(
                        f"the layer {shown(name)} is a {shown(kind)}, whose code is not in the "
                        "file: give a profile that says what its shift does"
                    )
                raise CheckpointError(
                    f"the layer {shown(name)} is a {shown(kind)}, which is not supported; "
                    f"supported are {', '.join(LAYERS)}"
                )
            if net.clips and kind not in PLAIN and not layer.get("each_frame"):
                _check_each_frame(name, kind, config)
            if name in net.values:
                raise CheckpointError(f"two layers are called {shown(name)}")
            net.within = str(layer.get("within") or "")
            net.values[name] = LAYERS[kind](net, name, config, _sources(net, layer))
        output = _averaged(net, net.values[str(layers[-1]["config"]["name"])])
        if len(inputs) != 1:
            raise CheckpointError(f"the network has {len(inputs)} inputs; one is supported")
        graph = Graph("keras", tuple(inputs), tuple(net.nodes), (output,), net.parameters)
    except CheckpointError:
        raise
    except (
        KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError,
        RecursionError, GraphError,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"the network in the file is not one that Keras writes: {error}"
        ) from None
    return graph, net.variables


def counted_names(text: str) -> dict[str, str]:
    """What Keras 3 calls layers in a file without names: by class, counted in their order.

    >>> layer = '{"class_name": "Conv2D", "config": {"name": "%s"}}'
    >>> counted_names('{"config": {"layers": [' + ", ".join(layer % n for n in "ab") + "]}}")
    {'a': 'conv2d', 'b': 'conv2d_1'}
    """
    counts: dict[str, int] = {}
    found = {}
    for layer in json.loads(text)["config"]["layers"]:
        kind = _snake_case(str(layer["class_name"]))
        number = counts[kind] = counts.get(kind, -1) + 1
        found[str(layer["config"]["name"])] = f"{kind}_{number}" if number else kind
    return found


def _snake_case(name: str) -> str:
    """The name of a class as Keras writes it into paths.

    >>> [_snake_case(name) for name in ("Conv2D", "BatchNormalization", "DepthwiseConv2D", "ReLU")]
    ['conv2d', 'batch_normalization', 'depthwise_conv2d', 're_lu']
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _layers(model: Config) -> list[Config]:
    """The layers in order; those of a sequence are linked one to the next."""
    if model["class_name"] not in ("Functional", "Model", "Sequential"):
        raise CheckpointError(f"the model is a {shown(str(model['class_name']))}, not a network")
    config = model["config"]
    layers = list(config["layers"])
    if model["class_name"] != "Sequential":
        return layers
    if layers[0]["class_name"] != "InputLayer":
        first = {"name": "input", "batch_input_shape": layers[0]["config"]["batch_input_shape"]}
        layers.insert(0, {"class_name": "InputLayer", "config": first})
    for before, layer in pairwise(layers):
        layer["inbound_nodes"] = [[[before["config"]["name"], 0, 0, {}]]]
    return layers


def _input(net: KerasNetwork, name: str, config: Config) -> Input:
    _, *frames, height, width, channels = config.get("batch_input_shape") or config["batch_shape"]
    net.clips = bool(frames)
    if len(frames) > 1 or not all(v is None or (type(v) is int and v > 0) for v in frames):
        raise CheckpointError(
            f"the network does not see clips of frames, but {len(frames) + 3} axes"
        )
    if not all(type(v) is int and 0 < v < 2**20 for v in (height, width, channels)):
        raise CheckpointError("the size of the pictures must be fixed")
    net.shapes[name] = (1, channels, 1, height, width)
    net.values[name] = name
    return Input(name, ("N", channels, frames[0] if frames and frames[0] else "T", height, width))


def _check_each_frame(name: str, kind: str, config: Config) -> None:
    """Raise `CheckpointError` for what would join the frames of a clip."""
    if kind == "BatchNormalization" and config["axis"] in (-1, 4, [-1], [4]):
        return
    raise CheckpointError(
        f"the layer {shown(name)} ({kind}) reads a clip and is not in TimeDistributed: what it "
        "would make of several frames is not supported"
    )


def _sources(net: KerasNetwork, layer: Config) -> list[str]:
    """The values that a layer reads; a layer that is used twice is refused."""
    calls = layer["inbound_nodes"]
    if len(calls) != 1:
        raise CheckpointError(
            f"the layer {shown(str(layer['config']['name']))} is used {len(calls)} times"
        )
    return [net.values[name] for name in _callers(calls[0])]


def _callers(call: Any) -> list[str]:
    """The layers whose results a call takes.

    Keras 2 writes ``[[layer, 0, 0, {}], ...]``; Keras 3 writes tensors with a history.

    >>> _callers([["add", 0, 0, {}]])
    ['add']
    >>> tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["add", 0, 0]}}
    >>> _callers({"args": [[tensor, tensor]], "kwargs": {}})
    ['add', 'add']
    """
    if not isinstance(call, dict):
        return [str(source[0]) for source in call]
    (tensors,) = call["args"]
    found = tensors if isinstance(tensors, list) else [tensors]
    return [str(tensor["config"]["keras_history"][0]) for tensor in found]


def _averaged(net: KerasNetwork, value: str) -> str:
    if len(net.shapes[value]) == 5:
        raise CheckpointError("the network ends in pictures, not in classes")
    if len(net.shapes[value]) == 2:
        return value
    return net.node("Consensus", "consensus", [value])


def _mean_over_time(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    """The mean over frames, which comes behind the linear layer: it is the same there."""
    (x,) = sources
    if len(net.shapes[x]) != 3 or config.get("keepdims") or x in net.over_time:
        raise CheckpointError(f"the layer {shown(name)} is no mean of features over frames")
    alias = f"{x} in {name}"
    net.shapes[alias] = net.shapes[x]
    net.padded[alias] = net.padded.get(x, x)
    net.over_time.add(alias)
    return alias


# Layers


def _pair(value: Any) -> tuple[int, int]:
    height, width = (value, value) if isinstance(value, int) else value
    return int(height), int(width)


def _window(
    net: KerasNetwork, x: str, config: Config, kernel: tuple[int, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and pads; "same" pads behind rather than before where it cannot do both alike."""
    strides = _pair(config.get("strides") or kernel)
    if min(*strides, *kernel) < 1:
        raise CheckpointError(f"a window has the strides {strides} and the size {kernel}")
    if config.get("data_format", "channels_last") != "channels_last":
        raise CheckpointError("the channels of the network are not last, as its weights expect")
    before = net.pads.get(x, (0, 0, 0, 0))
    begins, ends = [0, 0], [0, 0]
    if config["padding"] == "same":
        for axis in range(2):
            size = before[axis] + net.shapes[x][3 + axis] + before[2 + axis]
            total = max((-(-size // strides[axis]) - 1) * strides[axis] + kernel[axis] - size, 0)
            begins[axis], ends[axis] = total // 2, total - total // 2
    elif config["padding"] != "valid":
        raise CheckpointError(f"the padding is {shown(str(config['padding']))}, not same or valid")
    pads = (0, begins[0] + before[0], begins[1] + before[1])
    return (1, *strides), (*pads, 0, ends[0] + before[2], ends[1] + before[3])


def _activated(net: KerasNetwork, name: str, value: str, kind: Any) -> str:
    if kind in (None, "linear"):
        return value
    if value in net.over_time:
        value = net.node("Consensus", f"{name}.mean", [value])
    if kind == "relu6":
        return net.node("Clip", f"{name}.relu6", [value], min=0.0, max=6.0)
    if kind not in ACTIVATIONS:
        raise CheckpointError(f"the activation {shown(str(kind))} is not supported")
    attrs = {"axis": 1} if kind == "softmax" else {}
    return net.node(ACTIVATIONS[kind], f"{name}.{kind}", [value], **attrs)


def _conv(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    (x,) = sources
    if _pair(config.get("dilation_rate", 1)) != (1, 1):
        raise CheckpointError(f"the convolution {shown(name)} is dilated")
    kernel, group = _pair(config["kernel_size"]), int(config.get("groups") or 1)
    strides, pads = _window(net, x, config, kernel)
    count, channels = int(config["filters"]), net.shapes[x][1]
    weight = net.parameter(name, "kernel", (count, channels // group, 1, *kernel))
    inputs = [x, weight]
    if config["use_bias"]:
        inputs.append(net.parameter(name, "bias", (count,)))
    made = net.node("Conv", name, inputs, strides=strides, pads=pads, group=group)
    return _activated(net, name, made, config.get("activation"))


def _depthwise(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    (x,) = sources
    kernel, times = _pair(config["kernel_size"]), int(config.get("depth_multiplier") or 1)
    if _pair(config.get("dilation_rate", 1)) != (1, 1):
        raise CheckpointError(f"the convolution {shown(name)} is dilated")
    strides, pads = _window(net, x, config, kernel)
    channels = net.shapes[x][1]
    weight = net.parameter(
        name, "depthwise_kernel", (channels * times, 1, 1, *kernel), (*kernel, channels, times)
    )
    inputs = [x, weight]
    if config["use_bias"]:
        inputs.append(net.parameter(name, "bias", (channels * times,)))
    made = net.node("Conv", name, inputs, strides=strides, pads=pads, group=channels)
    return _activated(net, name, made, config.get("activation"))


def _batch_norm(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    axis = config["axis"]
    if (axis[0] if isinstance(axis, list) else axis) not in (3, -1):
        raise CheckpointError(f"the batch norm {shown(name)} is along the axis {axis}")
    if not (config["center"] and config["scale"]):
        raise CheckpointError(f"the batch norm {shown(name)} lacks its scale or its offset")
    shape = (net.shapes[sources[0]][1],)
    roles = ("gamma", "beta", "moving_mean", "moving_variance")
    inputs = [sources[0], *(net.parameter(name, role, shape) for role in roles)]
    return net.node("BatchNormalization", name, inputs, epsilon=float(config["epsilon"]))


def _dense(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    (x,) = sources
    units = int(config["units"])
    if len(net.shapes[x]) != 3:
        raise CheckpointError(f"the layer {shown(name)} reads what is no row of features per frame")
    inputs = [x, net.parameter(name, "kernel", (units, net.shapes[x][1]))]
    if config["use_bias"]:
        inputs.append(net.parameter(name, "bias", (units,)))
    made = net.node("Linear", name, inputs)
    if x in net.over_time:
        net.over_time.add(made)
    return _activated(net, name, made, config.get("activation"))


def _activation(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    return _activated(net, name, sources[0], config["activation"])


def _relu(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    top, slope = config.get("max_value"), config.get("negative_slope") or 0.0
    if config.get("threshold") or (top is not None and slope):
        raise CheckpointError(f"the layer {shown(name)} is a ReLU with a threshold or a slope")
    if top is not None:
        return net.node("Clip", name, sources, min=0.0, max=float(top))
    if slope:
        return net.node("LeakyRelu", name, sources, alpha=float(slope))
    return net.node("Relu", name, sources)


def _pad(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    """Zeros in front of a convolution or a pool, which takes them over."""
    (top, bottom), (left, right) = config["padding"]
    (x,) = sources
    before = net.pads.get(x, (0, 0, 0, 0))
    alias = f"{x} in {name}"
    net.shapes[alias] = net.shapes[x]
    net.padded[alias] = net.padded.get(x, x)
    pads = (int(top), int(left), int(bottom), int(right))
    net.pads[alias] = tuple(old + new for old, new in zip(before, pads, strict=True))
    return alias


def _pool(op: str) -> "Layer":
    def layer(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
        (x,) = sources
        kernel = _pair(config["pool_size"])
        strides, pads = _window(net, x, config, kernel)
        if x in net.pads:
            _check_positive(net, name, x, op)
        return net.node(op, name, [x], kernel_shape=(1, *kernel), strides=strides, pads=pads)

    return layer


def _check_positive(net: KerasNetwork, name: str, x: str, op: str) -> None:
    """Zeros around a maximum are the same as nothing around it where no value is negative."""
    made = next((node for node in net.nodes if node.name == net.padded[x]), None)
    if op != "MaxPool" or made is None or made.op not in ("Relu", "Clip"):
        raise CheckpointError(f"the pool {shown(name)} sees zeros, which may be its maxima")


def _global_pool(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    pooled = net.node("GlobalAveragePool", f"{name}.pool", sources)
    return net.node("Flatten", name, [pooled])


def _flatten(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    """Keras has the channels last."""
    return net.node("Flatten", name, sources, order="HWC")


def _add(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    if len(sources) != 2:
        raise CheckpointError(f"the sum {shown(name)} is of {len(sources)} values, not two")
    return net.node("Add", name, sources)


def _multiply(net: KerasNetwork, name: str, config: Config, sources: list[str]) -> str:
    if len(sources) != 2:
        raise CheckpointError(f"the product {shown(name)} is of {len(sources)} values, not two")
    return net.node("Mul", name, sources)


Layer = Callable[[KerasNetwork, str, Config, list[str]], str]

LAYERS: Mapping[str, Layer] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _batch_norm,
    "Dense": _dense,
    "Activation": _activation,
    "ReLU": _relu,
    "ZeroPadding2D": _pad,
    "MaxPooling2D": _pool("MaxPool"),
    "AveragePooling2D": _pool("AveragePool"),
    "GlobalAveragePooling2D": _global_pool,
    "GlobalAveragePooling1D": _mean_over_time,
    "Flatten": _flatten,
    "Dropout": lambda net, name, config, sources: sources[0],
    "Add": _add,
    "Multiply": _multiply,
}
"""The kinds of layers that a network may have."""
