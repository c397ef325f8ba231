import numpy as np
import pytest

from tsm_ref.kernels.blocked import PIXEL, Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.conv import pack_bias, pack_weights, plan_convolution, run_convolution
from tsm_ref.kernels.loops import CIRCULAR, REPLICATE, ZERO
from tsm_ref.kernels.machine import HOST
from tsm_ref.kernels.program import CONVOLUTION_STEP, Assembler
from tsm_ref.kernels.tables import frame_sources, groups, segments

FILLS = {"zero": ZERO, "replicate": REPLICATE, "circular": CIRCULAR}


class Case:
    """A convolution with all its trimmings, planned and run on random data."""

    def __init__(self, rng, clips=1, c=24, o=40, frames=3, height=9, width=8, kernel=(1, 1, 1),
                 strides=(1, 1, 1), pads=(0,) * 6, dilations=(1, 1, 1), d=None, fill="zero",
                 residual=False, clamp=None, lanes=16):  # fmt: skip
        self.clips, self.o, self.kernel, self.strides = clips, o, kernel, strides
        self.pads, self.dilations, self.d, self.fill = pads, dilations, d, fill
        self.clamp, self.lanes = clamp, lanes
        normal = rng.standard_normal
        self.x = normal((clips, c, frames, height, width)).astype(np.float32)
        self.w = (normal((o, c, *kernel)) / np.sqrt(c * np.prod(kernel))).astype(np.float32)
        self.b = normal(o).astype(np.float32)
        sizes = [
            (size + before + after - e * (k - 1) - 1) // s + 1
            for size, before, after, k, s, e in zip(
                self.x.shape[2:], pads[:3], pads[3:], kernel, strides, dilations, strict=True
            )
        ]
        self.y_shape = (clips, o, *sizes)
        self.r = normal(self.y_shape).astype(np.float32) if residual else None

    def plan(self, **overrides):
        """Plan the layer; `self.keep` holds the memory that the plan points to."""
        clips, c, frames, height, width = self.x.shape
        border = max(self.pads)
        x = Layout(clips * frames, c, height, width, border, border, self.lanes)
        memory = aligned(x.size + x.block)  # a plane of zeros behind the input
        inside = memory[: x.size].view(np.float32).reshape(x.shape)
        if self.lanes == 16:
            inside[:] = to_blocked(self.x, border, border)
        else:
            pixels = self.x.transpose(0, 2, 3, 4, 1)
            x.inside(inside)[:, 0] = pixels.reshape(-1, height, width, c)
        y = Layout(clips * self.y_shape[2], self.o, *self.y_shape[3:])
        out = aligned(y.size).view(np.float32)
        sources = frame_sources(
            clips, frames, c, self.d, FILLS[self.fill], self.kernel[0], self.strides[0],
            self.dilations[0], (self.pads[0], self.pads[3]),
        )  # fmt: skip
        places = [f * x.frame for f in range(clips * frames)]
        table = segments(x, sources, places, x.size, self.kernel[1:], self.dilations[1:])
        r = None if self.r is None else to_blocked(self.r)
        low, high = self.clamp or (-np.inf, np.inf)
        plan = plan_convolution(
            x, y, pack_weights(self.w, self.lanes), pack_bias(self.b), table,
            groups(x, y, None if r is None else y, self.strides[1:], (-self.pads[1], -self.pads[2]),
                   table.shape[1]),
            x.pixel * self.strides[2], None if r is None else y,
            x=memory, y=out, residual=0 if r is None else r, low=low, high=high,
        )  # fmt: skip
        for name, value in overrides.items():
            plan.record[name] = value
        self.keep = (memory, out, r, plan)
        return plan, out, y

    def run(self, parts=1, **overrides):
        plan, out, y = self.plan(**overrides)
        assembler = Assembler()
        assembler.step(CONVOLUTION_STEP, plan)
        for part in reversed(range(parts)):
            count = int(plan.record["group_count"])
            run_convolution(
                assembler.program().convolutions,
                0,
                count * part // parts,
                count * (part + 1) // parts,
            )
        return from_blocked(out.reshape(y.shape), self.o, self.clips)

    def check(self, conv_formula, shift_formula, within_bound):
        x = self.x if self.d is None else shift_formula(self.x, self.d, self.fill)
        geometry = (self.strides, self.pads, self.dilations)
        expected = conv_formula(x, self.w, self.b, *geometry)
        magnitude = conv_formula(np.abs(x), np.abs(self.w), np.abs(self.b), *geometry)
        if self.r is not None:
            expected = expected + self.r
            magnitude = magnitude + np.abs(self.r)
        if self.clamp:
            expected = np.clip(expected, *self.clamp)
        within_bound(self.run(), expected, int(np.prod(self.w.shape[1:])), magnitude, 2)


CASES = {
    "1x1": {},
    "1x1, panels of 32 and 16": {"o": 144, "c": 17, "clips": 2},
    "1x1, one pixel": {"height": 1, "width": 1, "frames": 1, "c": 16, "o": 16},
    "1x1, strided": {"strides": (1, 2, 2), "height": 8},
    "residual and ReLU6": {"residual": True, "clamp": (0, 6), "o": 32},
    "3x3": {"kernel": (1, 3, 3), "pads": (0, 1, 1, 0, 1, 1)},
    "3x3, strided": {"kernel": (1, 3, 3), "pads": (0, 1, 1, 0, 1, 1), "strides": (1, 2, 2)},
    "3x3, dilated": {"kernel": (1, 3, 3), "pads": (0, 2, 2, 0, 2, 2), "dilations": (1, 2, 2)},
    "stem": {
        "kernel": (1, 7, 7), "pads": (0, 3, 3, 0, 3, 3), "strides": (1, 2, 2), "c": 3, "lanes": 3,
        "height": 30, "width": 22,
    },
    "causal in time": {"kernel": (3, 1, 1), "pads": (4, 0, 0, 0, 0, 0), "dilations": (2, 1, 1),
                       "frames": 5},
    "strided in time": {"kernel": (3, 3, 1), "pads": (1, 1, 1, 1, 1, 1), "strides": (2, 1, 1),
                        "frames": 5, "clips": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_convolution_is_within_the_bound(name, rng, conv_formula, shift_formula, within_bound):
    Case(rng, **CASES[name]).check(conv_formula, shift_formula, within_bound)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("kernel", [1, 3])
def test_shift_is_fused_into_the_reads(
    fill, frames, kernel, rng, conv_formula, shift_formula, within_bound
):
    d = rng.integers(-3, 4, 24)
    pad = kernel // 2
    geometry = {"kernel": (1, kernel, kernel), "pads": (0, pad, pad, 0, pad, pad)}
    case = Case(rng, clips=2, frames=frames, d=d, fill=fill, **geometry)
    case.check(conv_formula, shift_formula, within_bound)


def test_bits_do_not_depend_on_blocking_or_parts(rng):
    case = Case(rng, c=200, o=80, frames=4, height=7, width=7, residual=True, clamp=(0, np.inf))
    expected = case.run().tobytes()
    for parts in (2, 3, 7):
        assert case.run(parts).tobytes() == expected
    for group_block, segment_block in ((1, 1), (3, 5), (100, 100)):
        blocks = {"group_block": group_block, "segment_block": segment_block}
        assert case.run(**blocks).tobytes() == expected


def test_a_frame_has_the_same_bits_alone_and_in_a_clip(rng):
    case = Case(rng, c=48, o=48, frames=5, height=7, width=9, kernel=(1, 3, 3),
                pads=(0, 1, 1, 0, 1, 1))  # fmt: skip
    clip = case.run()
    for t in range(5):
        alone = Case(rng, c=48, o=48, frames=1, height=7, width=9, kernel=(1, 3, 3),
                     pads=(0, 1, 1, 0, 1, 1))  # fmt: skip
        alone.x, alone.w, alone.b = case.x[:, :, t : t + 1], case.w, case.b
        assert alone.run()[:, :, 0].tobytes() == clip[:, :, t].tobytes()


def test_the_residual_may_be_the_output_itself(rng, within_bound):
    case = Case(rng, c=32, o=32, residual=True)
    expected = case.run().tobytes()
    plan, out, y = case.plan()
    out[:] = to_blocked(case.r).ravel()
    plan.record["residual"] = plan.record["y"]
    plan.record["segment_block"] = plan.record["segment_count"]
    assembler = Assembler()
    assembler.step(CONVOLUTION_STEP, plan)
    run_convolution(assembler.program().convolutions, 0, 0, int(plan.record["group_count"]))
    assert from_blocked(out.reshape(y.shape), 32).tobytes() == expected


def test_nan_and_infinity_come_through(rng):
    case = Case(rng, c=16, o=16, frames=1, height=2, width=2, clamp=(0, np.inf))
    case.x[0, 0, 0, 0, 0] = np.nan
    y = case.run()
    assert np.isnan(y[0, :, 0, 0, 0]).all()
    assert not np.isnan(y[0, :, 0, 1, 1]).any()


def test_unused_channels_of_the_last_block_are_zero(rng):
    case = Case(rng, o=20)
    case.run()
    out = case.keep[1].reshape(3, 2, 9 * 8, 16)
    assert (out[:, 1, :, 4:] == 0).all()
    assert (out[:, 1, :, :4] != 0).all()


def test_weights_are_packed_in_panels():
    w = np.arange(48 * 2, dtype=np.float32).reshape(48, 2, 1, 1, 1)
    packed = pack_weights(w)
    assert packed.ctypes.data % PIXEL == 0
    assert sorted(packed) == sorted(w.ravel())
    last = packed[-HOST.panel * 2 :] if HOST.panel == 16 else packed[-16 * 2 :]
    assert last.tolist() == w[32:, :, 0, 0, 0].T.ravel().tolist()
