"""Units of whole numbers on ARM, by an emulator of its processors alone.

Opt-in: ``TSM_REF_QEMU`` is the program ``qemu-aarch64`` (Debian: ``qemu-user``), beside a compiler
for ARM (``gcc-aarch64-linux-gnu`` and ``libc6-dev-arm64-cross``). The check is a program of Linux.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kernels.test_emulated_units import HERE, machine_code, shape_of
from tsm_ref.kernels.integer import tile
from tsm_ref.kernels.integer.units import UNITS

QEMU = os.environ.get("TSM_REF_QEMU", "")
COMPILER = "aarch64-linux-gnu-gcc"
PROCESSORS = {
    "NEON": ("pairs", "generic", "+neon", "cortex-a53"),
    "an early phone": ("pairs", "cortex-a53", "+neon", "cortex-a53"),
    "dotprod": ("pairs", "generic", "+neon,+dotprod", "max"),
    "sdot": ("sdot", "generic", "+neon,+dotprod", "cortex-a76"),
    "sdot on a small computer": ("sdot", "cortex-a76", "", "cortex-a76"),
    "sdot on a server": ("sdot", "neoverse-n1", "", "neoverse-n1"),
    "sdot on a newer server": ("sdot", "neoverse-v1", "", "max"),
    "i8mm": ("pairs", "generic", "+neon,+dotprod,+i8mm", "max"),
    "a server": ("pairs", "neoverse-v1", "", "max"),
}
"""Units, and the processors that they are compiled for (with features) and run on."""

pytestmark = [
    pytest.mark.skipif(not QEMU, reason="TSM_REF_QEMU names no emulator"),
    pytest.mark.skipif(not shutil.which(COMPILER), reason="there is no C compiler for ARM"),
]


@pytest.mark.parametrize("which", PROCESSORS)
def test_tiles_are_exact_on_an_emulated_processor(which, tmp_path):
    assert wrong_of(which, tmp_path) == ["0", "0", "0"]


@pytest.mark.parametrize("which", PROCESSORS)
def test_one_wrong_bit_of_each_result_is_found(which, tmp_path):
    assert wrong_of(which, tmp_path, mistake=1) == ["3", "3", "3"]


def wrong_of(which: str, tmp_path: Path, mistake: int = 0) -> list[str]:
    """How many results are wrong: of three draws, of each in all forms."""
    name, processor, features, model = PROCESSORS[which]
    unit = next(unit for unit in UNITS if unit.name == name)
    code = machine_code(tile, unit, processor, "aarch64", features)
    (tmp_path / "unit.o").write_bytes(code)
    source = [COMPILER, "-O1", "-static", "-DHOSTED", *shape_of(unit, mistake), HERE / "tiles.c"]
    subprocess.run([*source, "unit.o", "-o", "check"], cwd=tmp_path, check=True)
    said = subprocess.run(
        [QEMU, "-cpu", model, tmp_path / "check"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return said.strip("[]").split()
