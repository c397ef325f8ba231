"""Which unit multiplies bfloat16."""

import pytest

from tsm_ref.kernels.bfloat16 import units
from tsm_ref.kernels.bfloat16.units import AMX, AVX512, TILES, UNITS, WIDENED, usable
from tsm_ref.kernels.machine import HOST

SERVER = {"avx512bf16": True, "amx-tile": True, "amx-bf16": True}


@pytest.mark.parametrize(
    ("features", "refusal", "expected"),
    [
        (SERVER, "", [AMX, AVX512, WIDENED, TILES]),
        (SERVER, "Linux refuses it (error 1)", [AVX512, WIDENED, TILES]),
        ({**SERVER, "amx-bf16": False}, "", [AVX512, WIDENED, TILES]),
        ({}, "", [WIDENED, TILES]),
    ],
)
def test_what_the_processor_has_and_the_system_permits(features, refusal, expected, monkeypatch):
    monkeypatch.setattr(units, "native", lambda: True)
    monkeypatch.setattr(
        units, "has", lambda unit: all(features.get(name, False) for name in unit.needs)
    )
    monkeypatch.setattr(units.amx, "refusal", lambda: refusal)
    assert [unit for unit in UNITS if usable(unit)] == expected
    assert units.refused() == (refusal if features.get("amx-bf16") else "")


def test_kernels_for_another_processor_use_no_instruction_of_this_one(monkeypatch):
    monkeypatch.setattr(units, "native", lambda: False)
    monkeypatch.setattr(units, "has", lambda unit: True)
    assert [unit for unit in UNITS if usable(unit)] == [WIDENED, TILES]


def test_names_are_unique_and_tiles_are_those_of_amx():
    assert len({unit.name for unit in UNITS}) == len(UNITS)
    assert (TILES.columns, TILES.rows, TILES.depth) == (AMX.columns, AMX.rows, AMX.depth)
    assert WIDENED.lanes == TILES.lanes == HOST.lanes
