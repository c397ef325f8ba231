import itertools
import threading

import numpy as np
import pytest

from tsm_ref.kernels.activation import ACTIVATION as ACTIVATION_PLAN
from tsm_ref.kernels.activation import TANH
from tsm_ref.kernels.blocked import Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.conv import pack_bias, pack_weights, plan_convolution
from tsm_ref.kernels.move import COPY, fill_blocked, read_blocked
from tsm_ref.kernels.plans import planned
from tsm_ref.kernels.program import (
    ACTIVATION_STEP,
    CONVOLUTION_STEP,
    COPY_STEP,
    Assembler,
    run,
)
from tsm_ref.kernels.tables import frame_sources, groups, segments


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_steps_see_the_results_of_the_steps_before(parts, rng):
    """A chain of layers, each needing all of the one before, run by several threads."""
    layout = Layout(2, 32, 6, 6)
    buffers = [to_blocked(rng.standard_normal((1, 32, 2, 6, 6)))]
    buffers += [aligned(layout.size).view(np.float32).reshape(layout.shape) for _ in range(12)]
    swap = np.zeros((32, 32, 1, 1, 1), np.float32)
    swap[np.arange(32), np.arange(32)[::-1]] = 1
    weights, bias = pack_weights(swap), pack_bias(np.zeros(32))
    backwards = frame_sources(1, 2, 32)[::-1]
    table = segments(layout, backwards, [0, layout.frame], 0)
    assembler = Assembler()
    for x, y in itertools.pairwise(buffers):
        plan = plan_convolution(
            layout, layout, weights, bias, table, groups(layout, layout, None, (1, 1), (0, 0), 2),
            64, x=x, y=y,
        )  # fmt: skip
        assembler.step(CONVOLUTION_STEP, plan)
    program = assembler.program()
    counter = np.zeros(1, np.int64)
    arguments = (parts, counter.ctypes.data)
    others = [threading.Thread(target=run, args=(program, i, *arguments)) for i in range(1, parts)]
    for other in others:
        other.start()
    run(program, 0, *arguments)
    for other in others:
        other.join(timeout=30)
        assert not other.is_alive()
    once = from_blocked(buffers[1], 32)
    assert (once == from_blocked(buffers[0], 32)[:, ::-1, ::-1]).all()
    assert (buffers[12] == buffers[0]).all()
    assert counter[0] == (parts * 12 if parts > 1 else 0)


def test_copies_and_activations(rng):
    x, y = aligned(1024).view(np.float32), aligned(1024).view(np.float32)
    x[:] = rng.standard_normal(256)
    assembler = Assembler()
    rows = {"count": 4, "x_step": 128, "y_step": 256, "pieces": 1, "size": 64}
    assembler.step(COPY_STEP, planned(COPY, x=x, y=y, **rows))
    assembler.step(ACTIVATION_STEP, planned(ACTIVATION_PLAN, kind=TANH, x=y, count=1))
    run(assembler.program(), 0, 1, 0)
    pieces = y.reshape(4, 64)
    assert (pieces[1:, :16] == x.reshape(8, 32)[1:4, :16]).all()
    assert (pieces[:, 16:] == 0).all()
    np.testing.assert_allclose(pieces[0, :16], np.tanh(x[:16]), rtol=3e-7)


def test_conversion_of_the_layout_is_its_own_inverse(rng):
    x = rng.standard_normal((2, 20, 3, 5, 4)).astype(np.float32)
    blocked = np.zeros(Layout(6, 20, 5, 4, 1, 2).shape, np.float32)
    fill_blocked(x, blocked, 1)
    assert (blocked == to_blocked(x, 1, 2)).all()
    back = np.empty_like(x)
    read_blocked(blocked, 1, back)
    assert (back == x).all()
