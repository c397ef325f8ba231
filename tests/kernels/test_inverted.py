import numpy as np
import pytest

from tsm_ref.kernels.blocked import PIXEL, Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.inverted import Tiling, bind_inverted, choose_tiling, plan_inverted
from tsm_ref.kernels.program import INVERTED_STEP, Assembler, run
from tsm_ref.kernels.tables import frame_sources, segments

RELU6, FREE = (0, 6), (-np.inf, np.inf)


class Block:
    """An inverted residual block with random weights."""

    def __init__(self, rng, c=24, hidden=96, o=24, size=(9, 9), frames=3, stride=1, d=None):
        self.c, self.hidden, self.o, self.stride, self.d = c, hidden, o, stride, d
        self.x = rng.standard_normal((1, c, frames, *size)).astype(np.float32)
        shapes = [(hidden, c, 1, 1, 1), (hidden, 1, 1, 3, 3), (o, hidden, 1, 1, 1)]
        self.w = [(rng.standard_normal(s) / np.sqrt(s[1])).astype(np.float32) for s in shapes]
        self.b = [rng.standard_normal(s[0]).astype(np.float32) for s in shapes]
        self.residual = stride == 1 and c == o

    def expected(self, conv_formula, shift_formula):
        x = self.x if self.d is None else shift_formula(self.x, self.d)
        h = np.clip(conv_formula(x, self.w[0], self.b[0]), 0, 6)
        s, pads = (1, self.stride, self.stride), (0, 1, 1, 0, 1, 1)
        h = np.clip(conv_formula(h, self.w[1], self.b[1], s, pads, (1, 1, 1), self.hidden), 0, 6)
        y = conv_formula(h, self.w[2], self.b[2])
        return y + self.x if self.residual else y

    def run(self, tiling=None, parts=1):
        _, c, frames, height, width = self.x.shape
        lx = Layout(frames, c, height, width)
        ly = Layout(frames, self.o, -(-height // self.stride), -(-width // self.stride))
        source = np.append(to_blocked(self.x).ravel(), np.zeros(lx.block // 4, np.float32))
        table = segments(
            lx, frame_sources(1, frames, c, self.d), [t * lx.frame for t in range(frames)], lx.size
        )
        y = aligned(ly.size).view(np.float32)
        plan = plan_inverted(
            lx, ly, (height, width), (*self.w[:2], self.w[2][:, :, 0, 0, 0]), tuple(self.b), table,
            self.stride, (RELU6, RELU6, FREE), lx if self.residual else None, tiling, parts,
        )  # fmt: skip
        ring, rows = aligned(plan.ring_bytes * parts), aligned(plan.row_bytes * parts)
        start = source.ctypes.data
        bind_inverted(
            plan,
            start,
            y.ctypes.data,
            start if self.residual else 0,
            ring.ctypes.data,
            rows.ctypes.data,
        )
        assembler = Assembler()
        assembler.part(INVERTED_STEP, assembler.keep_inverted(plan))
        program = assembler.program()
        counter = np.zeros(1, np.int64)
        for part in range(parts):
            counter[0] = parts  # nobody waits: the parts run one after the other
            run(program, part, parts, counter.ctypes.data)
        return from_blocked(y.reshape(ly.shape), self.o)


@pytest.mark.parametrize(
    ("o", "stride", "size", "shifted"),
    [(24, 1, (9, 9), True), (20, 2, (10, 10), False), (40, 2, (7, 9), False)],
)
def test_fused_block_is_its_three_convolutions(
    o, stride, size, shifted, rng, conv_formula, shift_formula
):
    d = np.repeat([1, 0], [3, 21]) if shifted else None
    block = Block(rng, o=o, stride=stride, size=size, d=d)
    expected = block.expected(conv_formula, shift_formula)
    y = block.run()
    assert np.abs(y - expected).max() <= 3e-6 * np.abs(expected).max()


def test_bits_do_not_depend_on_the_tiling(rng):
    block = Block(rng)
    expected = block.run(Tiling(9, 1, 1, 6)).tobytes()
    tilings = [Tiling(9, 1, 1, 1), Tiling(9, 2, 1, 3), Tiling(3, 1, 1, 6), Tiling(1, 1, 1, 6)]
    for tiling in tilings:
        assert block.run(tiling).tobytes() == expected
    for parts, tiling in (
        (2, Tiling(2, 1, 2, 6)),
        (3, Tiling(9, 1, 1, 2)),
        (2, Tiling(9, 2, 1, 2)),
    ):
        assert block.run(tiling, parts).tobytes() == expected


def test_hidden_channels_need_not_fill_a_block(rng, conv_formula, shift_formula):
    block = Block(rng, c=10, hidden=40, o=10, size=(6, 5), frames=1)
    expected = block.expected(conv_formula, shift_formula)
    assert np.abs(block.run() - expected).max() <= 3e-6 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("hidden", "size", "stride"), [(96, 112, 2), (144, 56, 1), (192, 28, 2), (960, 7, 1), (3, 5, 1)]
)
@pytest.mark.parametrize("frames", [1, 8])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_chosen_tiling_fits_and_gives_every_thread_work(hidden, size, stride, frames, parts):
    y = Layout(frames, 16, size // stride, size // stride)
    tiling = choose_tiling(hidden, (size, size), y, stride, parts)
    blocks = -(-hidden // 16)
    assert blocks % tiling.blocks == 0
    whole = tiling.rows == y.height and tiling.strips == 1
    assert whole or tiling.blocks == blocks
    rows = size * tiling.frames if whole else tiling.rows * stride + 2
    assert tiling.blocks * rows * (size + 2) * PIXEL <= 512 * 1024
    units = -(-frames // tiling.frames) if whole else frames * tiling.strips
    assert units >= parts
