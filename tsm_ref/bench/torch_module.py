"""A `FrameNetwork` as a traced PyTorch module."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from tsm_ref.bench.frames import FrameNetwork, Op


def write_torch(network: FrameNetwork, path: Path) -> None:
    """Trace a network with PyTorch's own operators, and save the trace."""
    torch: Any = importlib.import_module("torch")
    tensors = {name: torch.from_numpy(value) for name, value in network.tensors.items()}

    class Module(torch.nn.Module):  # type: ignore[misc]
        """Calls one operator for every operation."""

        def forward(self, *inputs: Any) -> tuple[Any, ...]:
            values = dict(tensors) | dict(zip(network.inputs, inputs, strict=True))
            for op in network.ops:
                values[op.name] = apply(torch, op, [values[name] for name in op.inputs])
            return tuple(values[name] for name in network.outputs)

    shapes = [network.shapes[name] for name in network.inputs]
    example = tuple(torch.from_numpy(np.zeros(shape, np.float32)) for shape in shapes)
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(Module(), example, check_trace=False), str(path))


def apply(torch: Any, op: Op, inputs: list[Any]) -> Any:
    """The value of one operation, computed by PyTorch."""
    functional, attrs, x = torch.nn.functional, op.attrs, inputs[0]
    match op.kind:
        case "conv":
            places = {"stride": attrs["stride"], "padding": attrs["pad"]}
            return functional.conv2d(*inputs, groups=attrs["group"], **places)
        case "relu":
            return functional.relu(x)
        case "clip":
            return functional.hardtanh(x, attrs["low"], attrs["high"])
        case "add":
            return x + inputs[1]
        case "max_pool":
            return functional.max_pool2d(x, attrs["kernel"], attrs["stride"], attrs["pad"])
        case "mean":
            return x.mean((2, 3))
        case "linear":
            return functional.linear(*inputs)
        case "average":
            return x.mean(0, keepdim=True)
        case "slice":
            return x.narrow(attrs["axis"], attrs["begin"], attrs["end"] - attrs["begin"])
        case "pad":
            return functional.pad(x, (0, 0) * 3 + (attrs["before"], attrs["after"]))
        case _:
            return torch.cat(inputs, attrs["axis"])
