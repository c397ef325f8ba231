import os
import subprocess
import sys

import pytest

from tsm_ref.kernels import machine
from tsm_ref.kernels.machine import AVX2, AVX512, BASELINE, BLOCK, detect


def test_a_tile_fits_the_registers():
    for unit, registers in ((AVX512, 32), (AVX2, 16), (BASELINE, 32)):
        vectors = unit.panel // unit.lanes
        assert 2 * unit.run * vectors + vectors + 1 <= registers
        assert unit.panel % BLOCK == 0
        assert unit.parts * unit.lanes == BLOCK


@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("haswell", None, AVX2),
        ("cascadelake", None, AVX512),
        ("generic", None, BASELINE),
        (None, None, AVX512),
        ("haswell", "+avx2,+fma,-avx512f", AVX2),
        (None, "", BASELINE),
    ],
)
def test_numba_variables_decide(name, features, expected, monkeypatch):
    monkeypatch.setattr(machine.config, "CPU_NAME", name)
    monkeypatch.setattr(machine.config, "CPU_FEATURES", features)
    host = {"avx512f": True, "avx2": True, "fma": True}
    monkeypatch.setattr(machine.llvm, "get_host_cpu_features", lambda: host)
    monkeypatch.setattr(machine.llvm, "get_host_cpu_name", lambda: "znver5")
    assert detect() is expected


NARROW = """
import sys
sys.path[:0] = {path!r}
import numpy as np
from tsm_ref.kernels.blocked import Layout, aligned, from_blocked, to_blocked
from tsm_ref.kernels.conv import pack_bias, pack_weights, plan_convolution
from tsm_ref.kernels.machine import HOST
from tsm_ref.kernels.program import CONVOLUTION_STEP, Assembler, run
from tsm_ref.kernels.tables import frame_sources, groups, segments
assert HOST.lanes == {lanes}
rng = np.random.default_rng(0)
x, w = rng.standard_normal((1, 20, 2, 7, 9)), rng.standard_normal((40, 20, 1, 1, 1))
lx, ly = Layout(2, 20, 7, 9), Layout(2, 40, 7, 9)
y = aligned(ly.size).view(np.float32)
table = segments(lx, frame_sources(1, 2, 20), [0, lx.frame], 0)
plan = plan_convolution(
    lx, ly, pack_weights(w), pack_bias(np.zeros(40)), table,
    groups(lx, ly, None, (1, 1), (0, 0), table.shape[1]), 64, x=to_blocked(x), y=y)
assembler = Assembler()
assembler.step(CONVOLUTION_STEP, plan)
run(assembler.program(), 0, 1, 0)
expected = np.einsum("oc,ncthw->nothw", w[:, :, 0, 0, 0], x)
assert np.abs(from_blocked(y.reshape(ly.shape), 40) - expected).max() < 1e-5
"""


@pytest.mark.parametrize(("name", "lanes"), [("haswell", 8), ("generic", 4)])
def test_narrower_vectors_compute_the_same(name, lanes, tmp_path):
    if detect() is BASELINE:
        pytest.skip("this processor has no wider vectors to give up")
    environment = {**os.environ, "NUMBA_CPU_NAME": name}
    script = NARROW.format(path=sys.path, lanes=lanes)
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=120)
