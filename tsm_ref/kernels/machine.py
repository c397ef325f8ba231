"""What the machine-code generator must know about the processor: vector length and tile sizes."""

from dataclasses import dataclass
from typing import Any

from llvmlite import binding as llvm
from numba.core import config as numba_config

config: Any = numba_config

BLOCK = 16
"""Channels per block of the blocked layout, on every processor."""

_AVX512_NAMES: tuple[str, ...] = (
    "avx512",
    "skx",
    "cannonlake",
    "cascadelake",
    "cooperlake",
    "icelake",
    "tigerlake",
)
_AVX512_NAMES += ("rocketlake", "sapphirerapids", "graniterapids", "znver4", "znver5", "x86-64-v4")
_SSE_NAMES = ("generic", "x86-64", "x86-64-v2", "core2", "penryn", "nehalem", "westmere")


@dataclass(frozen=True)
class Machine:
    """The vector unit, and the tile of the matrix micro-kernel that its registers can hold.

    A tile is `2 x run` pixels by `panel` output channels. Its accumulators, one weight vector
    for each `lanes` channels of the panel and one broadcast value have to fit into the
    registers: AVX-512 has 32 (28 + 2 + 1 are used), AVX2 has 16 (12 + 2 + 1), NEON 32 (24 + 4 + 1).
    """

    lanes: int  # float32 values per vector register
    run: int  # pixels in the longer runs of a tile
    panel: int  # output channels of a tile

    @property
    def parts(self) -> int:
        """Vector registers that one block of channels occupies."""
        return BLOCK // self.lanes


AVX512 = Machine(lanes=16, run=7, panel=32)
AVX2 = Machine(lanes=8, run=3, panel=16)
BASELINE = Machine(lanes=4, run=3, panel=16)  # NEON; also right, if not fast, on SSE


def detect() -> Machine:
    """Return the machine that Numba compiles for; its own variables are respected.

    ``NUMBA_CPU_NAME=haswell`` gives AVX2 tiles on any x86 processor.

    >>> detect().lanes in (4, 8, 16)
    True
    """
    if config.CPU_FEATURES is not None:
        features = set(config.CPU_FEATURES.split(","))
        return _by_features("+avx512f" in features, "+avx2" in features and "+fma" in features)
    host = llvm.get_host_cpu_features()
    avx512, avx2 = host.get("avx512f", False), host.get("avx2", False) and host.get("fma", False)
    name = str(config.CPU_NAME or llvm.get_host_cpu_name()).lower()
    if config.CPU_NAME is not None:
        avx512 = avx512 and any(known in name for known in _AVX512_NAMES)
        avx2 = avx2 and name not in _SSE_NAMES
    return _by_features(avx512, avx2)


def _by_features(avx512: bool, avx2: bool) -> Machine:
    if avx512:
        return AVX512
    return AVX2 if avx2 else BASELINE


HOST = detect()
