"""The units that multiply whole numbers, and which of them this processor's layers run on.

A unit is an instruction, and the tile of `tsm_ref.kernels.integer.tile` that suits it. All give
the same bits. The variable ``TSM_REF_INTEGER_UNIT`` takes one by its name, or with a minus in front
forbids it: ``-AMX``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import binding as llvm

from tsm_ref.errors import UsageError
from tsm_ref.kernels.machine import HOST, config
from tsm_ref.system import amx, arm

VARIABLE = "TSM_REF_INTEGER_UNIT"


@dataclass(frozen=True)
class Unit:
    """What multiplies whole numbers: its instruction, and the tile that it makes."""

    name: str
    lanes: int  # sums of 32 bits per vector
    group: int  # inputs that one step adds into a sum: 2 of 16 bits, or 4 of 8
    rows: int  # output channels of a tile
    vectors: int  # vectors of columns of a tile
    needs: tuple[str, ...] = ()  # what LLVM calls the features that a processor must have
    depth: int = 1  # the most steps that are taken at once
    signed: bool = False  # whether inputs of 8 bits have a sign

    @property
    def columns(self) -> int:
        """Places of a panel."""
        return self.lanes * self.vectors

    @property
    def input_type(self) -> str:
        """The type in which inputs are packed."""
        if self.group == 2:
            return "int16"
        return "int8" if self.signed else "uint8"

    @property
    def weight_type(self) -> str:
        """The type in which weights are packed."""
        return "int8" if self.group == 4 else "int16"

    @property
    def vnni(self) -> bool:
        """Whether this is the vector instruction for quads, and not ordinary ones in its place."""
        return self.name.startswith("VNNI")

    @property
    def neon(self) -> bool:
        """Whether this is the instruction for quads that ARM has."""
        return "dotprod" in self.needs

    @property
    def bytes(self) -> bool:
        """Whether tiles are streams; see `tsm_ref.kernels.integer.bytes`."""
        return self.name.startswith("bytes")

    def chunks(self, k: int) -> tuple[int, int]:
        """How often steps are taken, and how many at once, for `k` inputs: as even as can be.

        >>> AMX.chunks(3 * 7 * 7), VNNI.chunks(3 * 7 * 7)
        ((3, 13), (37, 1))
        """
        steps = -(-k // self.group)
        count = -(-steps // self.depth)
        return count, -(-steps // count)


AVX2 = Unit("pairs (AVX2)", lanes=8, group=2, rows=4, vectors=2)
AVX512 = Unit("pairs (AVX-512)", lanes=16, group=2, rows=8, vectors=2)
VNNI = Unit("VNNI (AVX-512)", lanes=16, group=4, rows=8, vectors=2, needs=("avx512vnni",))
AVX_VNNI = Unit("VNNI (AVX2)", lanes=8, group=4, rows=5, vectors=2, needs=("avxvnni",))
AMX = Unit("AMX", 16, 4, rows=32, vectors=2, needs=("amx-tile", "amx-int8"), depth=16)
BYTES = Unit("bytes (AVX2)", lanes=8, group=4, rows=2, vectors=4, needs=("avx2",))
SDOT = Unit("sdot", lanes=4, group=4, rows=4, vectors=4, needs=("dotprod",), signed=True)
PORTABLE = Unit("pairs", lanes=4, group=2, rows=4, vectors=4)
QUADS = Unit("quads", lanes=8, group=4, rows=2, vectors=2)
SIGNED = Unit("signed quads", lanes=8, group=4, rows=2, vectors=2, signed=True)
TILES = Unit("tiles", lanes=8, group=4, rows=32, vectors=4, depth=16)
"""What units of quads, and AMX, compute, by ordinary instructions: to test all around them."""

UNITS = (AMX, VNNI, AVX_VNNI, BYTES, AVX512, AVX2, SDOT, PORTABLE, QUADS, SIGNED, TILES)
"""The best first."""


def usable(unit: Unit) -> bool:
    """Whether code for a unit may run here: the processor has it, and the system permits it."""
    if unit.lanes != HOST.lanes and (unit.group == 2 or unit.lanes > HOST.lanes):
        return False
    if not unit.needs:
        return unit.group == 2 or HOST.lanes >= 8
    return native() and has(unit) and (unit.depth == 1 or not amx.refusal())


def native() -> bool:
    """Whether Numba compiles for this very processor."""
    return config.CPU_NAME is None and config.CPU_FEATURES is None


def has(unit: Unit) -> bool:
    """Whether this processor has what a unit needs."""
    features = {name for name, there in llvm.get_host_cpu_features().items() if there}
    return unit.lanes == HOST.lanes and features | arm.features() >= set(unit.needs)


def refused() -> str:
    """Why the system does not let us use the tiles that the processor has; "" where there are none.

    >>> isinstance(refused(), str)
    True
    """
    return amx.refusal() if has(AMX) else ""


def detect() -> Unit:
    """The best unit of the processor that Numba compiles for, or the one that is asked for.

    Raises `UsageError` where that is none of `UNITS`, or one that cannot run here.

    >>> detect().group in (2, 4)
    True
    """
    return chosen(VARIABLE, UNITS, [unit for unit in UNITS if usable(unit)])


def chosen(variable: str, units: Sequence[Unit], here: Sequence[Unit]) -> Unit:
    """The first unit that can run here, of those that a variable of the environment leaves."""
    asked = os.environ.get(variable, "")
    name = asked.removeprefix("-")
    if asked and name not in {unit.name for unit in units}:
        known = ", ".join(unit.name for unit in units)
        raise UsageError(f"{variable} (={asked!r}) must be one of {known}, or one with a minus")
    left = [unit for unit in here if not asked or (unit.name == name) == (asked == name)]
    if not left:
        known = ", ".join(unit.name for unit in here)
        raise UsageError(f"{variable} (={asked!r}) leaves no unit: here there are {known}")
    return left[0]


UNIT = detect()
PAIRS = next(u for u in (AVX512, AVX2, PORTABLE) if usable(u)) if UNIT.group == 4 else UNIT
"""The unit for numbers of more than 8 bits."""
