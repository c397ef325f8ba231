"""Networks that multiply in bfloat16, on the Numba engine: kernels for their convolutions.

Such a network is planned as a quantised one is (`tsm_ref.engine.on_numba.whole_numbers`), over the
plain layout of the NumPy engine, whose steps do what is left: they treat every frame by itself. So
no result depends on threads, or on how a clip is cut.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsm_ref.engine.arena import Steps
from tsm_ref.engine.on_numba.lowering import limits_of
from tsm_ref.engine.on_numba.whole_inputs import Maker, Packer, Source, Work
from tsm_ref.engine.on_numba.whole_numbers import WholeNumbersEngine
from tsm_ref.engine.on_numpy.activations import activation
from tsm_ref.engine.on_numpy.engine import NumpyEngine
from tsm_ref.engine.on_numpy.ops import Step
from tsm_ref.graph import Graph, Node
from tsm_ref.kernels.bfloat16 import conv, pack, tile, units
from tsm_ref.kernels.bfloat16.units import UNIT
from tsm_ref.kernels.integer.conv import pack_tiles
from tsm_ref.kernels.integer.pack import runs_of
from tsm_ref.ops_table import Shape

__all__ = ["BFloat16Engine"]

Array = NDArray[Any]


class BFloat16Engine(WholeNumbersEngine):
    """Runs a graph of `tsm_ref.passes.bfloat16` on one or more threads.

    >>> from tsm_ref.models import RESNETS, build_resnet, random_weights
    >>> from tsm_ref.passes.bfloat16 import in_bfloat16
    >>> graph = build_resnet(RESNETS["resnet18"], num_classes=3)
    >>> engine = BFloat16Engine(*in_bfloat16(graph, random_weights(graph)))
    >>> engine.run({"x": np.zeros((1, 3, 2, 32, 32), np.float32)})["consensus"].shape
    (1, 3)
    """

    @property
    def makers(self) -> Mapping[str, Maker]:
        """Convolutions have a kernel."""
        return {"FusedConv": _conv}

    def joined(self, graph: Graph, shapes: Mapping[str, Shape]) -> Steps:
        """Every node is a step."""
        return NumpyEngine.joined(self, graph, shapes)

    def step(
        self, nodes: Sequence[Node], arrays: Mapping[str, Array], room: Array | None = None
    ) -> Step:
        """A convolution, and behind it an activation that its kernel does not apply."""
        run = super().step(nodes, arrays, room)
        (node,) = nodes
        own = node.op == "FusedConv" and node.name in self._units
        if not own or node.attr("activation") in ("", "Relu", "Clip"):
            return run
        apply, y = activation(node.attr("activation"), node.attrs), arrays[node.name]

        def step() -> None:
            run()
            if apply is not None:
                apply(y)

        return step

    def remarks(self) -> list[str]:
        """What multiplies, if it is not the instruction that bfloat16 is there for."""
        refusal = units.refused()
        found = [f"AMX is not used: {refusal}"] if refusal else []
        return [*found, units.SLOW] if not UNIT.needs else found


def _conv(engine: Packer, node: Node, inputs: Sequence[Array], y: Array) -> Work | None:
    x, weight, bias, *residual = inputs
    if node.attr("precision") != "bfloat16":
        return None
    kernel, (st, sh, sw), group = weight.shape[2:], node.attr("strides"), node.attr("group")
    flat = kernel[1:] == (1, 1) and (sh, sw) == (1, 1) and not any(node.attr("pads"))
    source = Source(node, x, kernel, flat, unit=UNIT, slack=pack.slack(sw), room=engine.room)
    joined = flat and not any(node.attr("d")) and st == kernel[0] == 1
    shape = (1, y.shape[1] * y.shape[2], y.shape[3]) if joined else y.shape[1:]
    places = (shape, (st, sh, sw), source.row_bytes, flat, pack.COLUMNS, x.itemsize)
    runs, begins = runs_of(*places)
    low, high = limits_of(node)

    def packed() -> Array:
        matrix = conv.bits_of(weight).reshape(len(weight), -1)
        return pack_tiles(matrix, group, UNIT)

    layer = conv.BFloat16Convolution(
        frames=source.addresses(),
        inputs=source.inputs(weight.shape[1]),
        runs=runs,
        begins=begins,
        weights=engine.packed(node, "bfloat16", packed),
        bias=conv.pack_bias(bias, group),
        residual=residual[0].reshape(-1) if residual else np.empty(0, np.float32),
        y=y.reshape(-1),
        columns=int(np.prod(y.shape[1:])),
        group_inputs=weight.shape[1],
        group_outputs=len(weight) // group,
        stride=sw,
        low=np.float32(low),
        high=np.float32(high),
        code=tile.code(),
    )
    run = partial(conv.run_bfloat16_convolution, layer)
    return Work(run, layer.panels, source.fill(), source, UNIT.name)
