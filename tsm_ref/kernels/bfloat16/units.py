"""The units that multiply numbers of bfloat16, and which of them this processor's layers run on.

Sums are float32, and each is made in an order of its own by every unit: their results differ in the
last bits of a sum, as `tsm_ref.reference.bounds` allows. ``TSM_REF_BFLOAT16_UNIT`` takes or forbids
one, as ``TSM_REF_INTEGER_UNIT`` does for whole numbers.
"""

from tsm_ref.kernels.integer.units import Unit, chosen, has, native
from tsm_ref.kernels.machine import HOST
from tsm_ref.system import amx

VARIABLE = "TSM_REF_BFLOAT16_UNIT"

SLOW = (
    "this processor has no instruction for bfloat16: it is computed by ordinary ones, slower than "
    "float32"
)
"""What is said where no unit of the processor serves."""

AMX = Unit("AMX", 16, 2, rows=32, vectors=2, needs=("amx-tile", "amx-bf16"), depth=16)
AVX512 = Unit("AVX512-BF16", 16, 2, rows=8, vectors=2, needs=("avx512bf16",))
WIDENED = Unit("float32", HOST.lanes, 2, rows=4, vectors=2)
"""Ordinary instructions: the numbers are widened, and multiplied as float32."""
TILES = Unit("tiles", HOST.lanes, 2, rows=32, vectors=32 // HOST.lanes, depth=16)
"""The same in the order of AMX: to test all around it."""

UNITS = (AMX, AVX512, WIDENED, TILES)
"""The best first."""


def usable(unit: Unit) -> bool:
    """Whether code for a unit may run here: the processor has it, and the system permits it."""
    if not unit.needs:
        return True
    return native() and has(unit) and (unit.depth == 1 or not amx.refusal())


def refused() -> str:
    """Why the system does not let us use the tiles that the processor has; "" where there are none.

    >>> isinstance(refused(), str)
    True
    """
    return amx.refusal() if has(AMX) else ""


UNIT = chosen(VARIABLE, UNITS, [unit for unit in UNITS if usable(unit)])
