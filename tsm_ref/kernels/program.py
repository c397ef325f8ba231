"""A planned network as a list of steps, run inside one compiled call by one or more threads.

A step is (kind, index, begin, count): which table of plans, which row, and which of the pieces that
the layer consists of: groups, blocks of tiles, rows, strips, planes. So a step is a layer, or some
frames of it. Every thread runs all steps, takes its share of each, and waits for the others before
the next; nothing but the shares depends on their number. Python is not entered between the steps.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from tsm_ref.kernels.activation import ACTIVATION, run_activation
from tsm_ref.kernels.cache import compiled
from tsm_ref.kernels.conv import CONVOLUTION, run_convolution
from tsm_ref.kernels.depthwise import DEPTHWISE, run_depthwise
from tsm_ref.kernels.elementwise import ELEMENTWISE, run_elementwise
from tsm_ref.kernels.inverted import INVERTED, InvertedPlan, run_inverted
from tsm_ref.kernels.move import COPY, run_copy
from tsm_ref.kernels.plans import Plan
from tsm_ref.kernels.pool import POOL, run_pool
from tsm_ref.kernels.vector import INT, INT32, Emitter, Value, address, count, intrinsic_of
from tsm_ref.kernels.winograd import WINOGRAD, run_winograd


class Program(NamedTuple):
    """The steps of a network, and the plans of its layers by kind; see the dtypes of the plans."""

    steps: NDArray[np.int64]  # (number of steps, 4): kind, index, begin, count
    convolutions: NDArray[Any]
    winograds: NDArray[Any]
    depthwises: NDArray[Any]
    inverteds: NDArray[Any]
    pools: NDArray[Any]
    copies: NDArray[Any]
    activations: NDArray[Any]
    elementwises: NDArray[Any]


CONVOLUTION_STEP, WINOGRAD_STEP, DEPTHWISE_STEP, INVERTED_STEP = 0, 1, 2, 3
POOL_STEP, COPY_STEP, ACTIVATION_STEP, ELEMENTWISE_STEP = 4, 5, 6, 7

KINDS = (CONVOLUTION, WINOGRAD, DEPTHWISE, INVERTED, POOL, COPY, ACTIVATION, ELEMENTWISE)
"""The dtype of the plans of each kind of step."""

PIECES = (
    "group_count", "block_count", "row_count", "strip_count", "planes", "count", "count", "planes",
)  # fmt: skip
"""The field that says of how many pieces a layer of each kind consists."""


class Assembler:
    """Collects steps and plans, and keeps alive what the plans own.

    >>> Assembler().program().steps.shape
    (0, 4)
    """

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, int, int]] = []
        self.owner = ""  # what the next steps are part of, for those who time them
        self.owners: list[str] = []
        self.plans: list[list[Plan]] = [[] for _ in KINDS]

    def keep(self, kind: int, plan: Plan) -> int:
        """Add a plan that is not a step of its own; return its index in the table of its kind."""
        self.plans[kind].append(plan)
        return len(self.plans[kind]) - 1

    def step(self, kind: int, plan: Plan) -> None:
        """Add a step: all of a layer."""
        self.part(kind, self.keep(kind, plan))

    def part(self, kind: int, index: int, numerator: int = 0, of: int = 1, count: int = 1) -> None:
        """Add a step: some of the equal parts of a layer that is kept already, such as frames."""
        pieces = int(self.plans[kind][index].record[PIECES[kind]])
        begin, end = pieces * numerator // of, pieces * (numerator + count) // of
        self.steps.append((kind, index, begin, end - begin))
        self.owners.append(self.owner)

    def keep_winograd(self, plan: Plan, products: Sequence[Plan]) -> int:
        """Add a Winograd convolution with its products, not yet as a step."""
        indices = [self.keep(CONVOLUTION_STEP, product) for product in products]
        plan.record["product"], plan.record["last_product"] = indices[0], indices[-1]
        return self.keep(WINOGRAD_STEP, plan)

    def keep_inverted(self, plan: InvertedPlan) -> int:
        """Add a fused block with its three convolutions, not yet as a step."""
        record = plan.inverted.record
        record["expand"] = self.keep(CONVOLUTION_STEP, plan.expand)
        record["depthwise"] = self.keep(DEPTHWISE_STEP, plan.depthwise)
        record["project"] = self.keep(CONVOLUTION_STEP, plan.project)
        return self.keep(INVERTED_STEP, plan.inverted)

    def program(self) -> Program:
        """Return the program; it runs as long as this assembler lives."""
        tables = []
        for kind, plans in zip(KINDS, self.plans, strict=True):
            table = np.zeros(max(1, len(plans)), kind)
            for i, plan in enumerate(plans):
                table[i] = plan.record
            tables.append(table)
        return Program(np.array(self.steps, np.int64).reshape(-1, 4), *tables)


ABANDONED = -(1 << 62)
"""What the counter of a run is set to when it is not to be finished: whoever looks at it leaves."""

_SPINS = 2000  # looks at the counter before a waiting thread lets others run


def _write_meeting(context: Any, builder: Any, _: Any, arguments: Sequence[Value]) -> Value:
    """Write: count this thread's arrival, wait until the expected number have arrived, say whether.

    The answer is no where the run was abandoned: the counter is negative, and never will be equal.
    """
    emit = Emitter(builder)
    place = emit.pointer(emit.bytes_at(arguments[0]), 0, INT)
    builder.atomic_rmw("add", place, emit.integer(1), "seq_cst")
    before = builder.block
    waiting, missing, together = (
        builder.append_basic_block(name) for name in ("waiting", "missing", "together")
    )
    builder.branch(waiting)
    builder.position_at_end(waiting)
    looks = builder.phi(INT)
    looks.add_incoming(emit.integer(0), before)
    arrived = builder.load_atomic(place, "seq_cst", align=8)
    some_missing = builder.icmp_unsigned("<", arrived, arguments[1])  # a negative one is large
    builder.cbranch(some_missing, missing, together)
    builder.position_at_end(missing)
    if os.name == "posix":
        with emit.when(emit.less(emit.integer(_SPINS), looks)):
            builder.call(emit.function("sched_yield", INT32, []), [])
    looks.add_incoming(emit.add(looks, 1), builder.block)
    builder.branch(waiting)
    builder.position_at_end(together)
    return builder.icmp_signed(">=", arrived, emit.integer(0))


_meet = intrinsic_of(types.boolean(address, count), _write_meeting)


def run(program: Program, part: int, parts: int, counter: int) -> None:
    """Run one thread's share of a program.

    All `parts` threads call this with the same `counter`: the address of an integer that is zero
    before they start. Who sets it to `ABANDONED` has them all leave before the next step.
    """
    for number in range(len(program.steps)):
        kind, index = program.steps[number, 0], program.steps[number, 1]
        begin, count = program.steps[number, 2], program.steps[number, 3]
        first, last = begin + count * part // parts, begin + count * (part + 1) // parts
        if kind == CONVOLUTION_STEP:
            run_convolution(program.convolutions, index, first, last)
        elif kind == WINOGRAD_STEP:
            run_winograd(program.winograds, program.convolutions, index, first, last, part)
        elif kind == DEPTHWISE_STEP:
            run_depthwise(program.depthwises, index, first, last)
        elif kind == INVERTED_STEP:
            run_inverted(
                program.inverteds, program.convolutions, program.depthwises, index, first, last,
                part,
            )  # fmt: skip
        elif kind == POOL_STEP:
            run_pool(program.pools, index, first, last)
        elif kind == COPY_STEP:
            run_copy(program.copies, index, first, last)
        elif kind == ACTIVATION_STEP:
            run_activation(program.activations, index, first, last)
        elif kind == ELEMENTWISE_STEP:
            run_elementwise(program.elementwises, index, first, last)
        if parts > 1 and not _meet(counter, parts * (number + 1)):
            return


@compiled()
def meet(counter: int, parts: int) -> None:
    """Wait until all `parts` threads have called this once, or one of them has left."""
    if parts > 1:
        _meet(counter, parts)


run = compiled()(run)
