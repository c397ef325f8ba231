"""Which unit multiplies whole numbers: what the processor has, the system permits, and one asks."""

import pytest

from tsm_ref.errors import UsageError
from tsm_ref.kernels.integer import units
from tsm_ref.kernels.integer.units import (
    AMX,
    AVX2,
    AVX512,
    AVX_VNNI,
    PORTABLE,
    QUADS,
    SDOT,
    TILES,
    UNITS,
    VNNI,
    detect,
)
from tsm_ref.kernels.machine import AVX2 as EIGHT
from tsm_ref.kernels.machine import AVX512 as SIXTEEN
from tsm_ref.kernels.machine import BASELINE

SERVER = {"avx512vnni": True, "amx-tile": True, "amx-int8": True, "avxvnni": True}


@pytest.fixture
def processor(monkeypatch):
    """Pretend to be on a processor: vectors, features, what the system refuses and tells."""

    def pretend(machine, features=(), refusal="", asked="", arm=()):
        monkeypatch.setattr(units, "HOST", machine)
        monkeypatch.setattr(units.config, "CPU_NAME", None)
        monkeypatch.setattr(units.config, "CPU_FEATURES", None)
        monkeypatch.setattr(units.llvm, "get_host_cpu_features", lambda: dict(features))
        monkeypatch.setattr(units.amx, "refusal", lambda: refusal)
        monkeypatch.setattr(units.arm, "features", lambda: frozenset(arm))
        monkeypatch.setenv(units.VARIABLE, asked)

    return pretend


@pytest.mark.parametrize(
    ("machine", "features", "refusal", "expected"),
    [
        (SIXTEEN, SERVER, "", AMX),
        (SIXTEEN, SERVER, "Linux refuses it (error 1)", VNNI),
        (SIXTEEN, {**SERVER, "amx-int8": False}, "", VNNI),
        (SIXTEEN, {}, "", AVX512),
        (EIGHT, {"avxvnni": True}, "", AVX_VNNI),
        (EIGHT, SERVER, "", AVX_VNNI),
        (EIGHT, {}, "", AVX2),
        (BASELINE, {}, "", PORTABLE),
        (BASELINE, {"neon": True, "dotprod": True}, "", SDOT),
        (BASELINE, {"neon": True, "dotprod": False}, "", PORTABLE),
    ],
)
def test_the_best_that_may_run_is_taken(machine, features, refusal, expected, processor):
    processor(machine, features, refusal)
    assert detect() is expected


def test_the_system_is_asked_for_nothing_that_the_processor_lacks(processor, monkeypatch):
    processor(SIXTEEN, {"avx512vnni": True})
    monkeypatch.setattr(units.amx, "refusal", lambda: pytest.fail("it was asked"))
    assert detect() is VNNI


def test_what_the_system_tells_of_an_arm_processor_is_believed(processor):
    processor(BASELINE, {"neon": True}, arm=["dotprod"])
    assert detect() is SDOT
    processor(BASELINE, {"neon": True}, arm=["dotprod"], asked="-sdot")
    assert detect() is PORTABLE


@pytest.mark.parametrize(
    ("variable", "value"), [("CPU_NAME", "cortex-a53"), ("CPU_FEATURES", "+neon")]
)
def test_numba_compiling_for_another_arm_processor_takes_plain_pairs(
    variable, value, processor, monkeypatch
):
    processor(BASELINE, arm=["dotprod"])
    monkeypatch.setattr(units.config, variable, value)
    assert detect() is PORTABLE


def test_numba_compiling_for_another_processor_takes_what_needs_no_feature(processor, monkeypatch):
    processor(SIXTEEN, SERVER)
    monkeypatch.setattr(units.config, "CPU_NAME", "skylake-avx512")
    assert detect() is AVX512


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("AMX", AMX), ("-AMX", VNNI), ("pairs (AVX-512)", AVX512), ("quads", QUADS), ("tiles", TILES)],
)
def test_a_unit_can_be_asked_for_and_forbidden(asked, expected, processor):
    processor(SIXTEEN, SERVER, asked=asked)
    assert detect() is expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("amx", "must be one of AMX, VNNI"),
        ("AMX", r"leaves no unit: here there are pairs \(AVX2\), quads, signed quads, tiles"),
        ("pairs", "leaves no unit"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(asked, said, processor):
    processor(EIGHT, {}, asked=asked)
    with pytest.raises(UsageError, match=said) as caught:
        detect()
    assert "\n" not in str(caught.value)


def test_a_refusal_is_told_only_where_there_are_tiles(processor):
    processor(SIXTEEN, SERVER, "Linux refuses it (error 1)")
    assert units.refused() == "Linux refuses it (error 1)"
    processor(EIGHT, {}, "Linux refuses it (error 1)")
    assert units.refused() == ""


def test_the_only_unit_cannot_be_forbidden(processor):
    processor(BASELINE, asked="-pairs")
    with pytest.raises(UsageError, match="leaves no unit"):
        detect()


def test_names_are_unique_and_steps_fill_their_chunks():
    assert len({unit.name for unit in UNITS}) == len(UNITS)
    for unit in UNITS:
        for k in range(1, 700):
            count, size = unit.chunks(k)
            assert size <= unit.depth
            assert k <= count * size * unit.group < k + count * unit.group
            # What a kernel finds from their product alone.
            assert -(-count * size // unit.depth) == count
