"""Units that this processor lacks, run in an emulator of one that has them.

Opt-in: ``TSM_REF_BOCHS`` is the program of a Bochs that was built with ``--enable-x86-64
--enable-avx --enable-evex --enable-amx --enable-all-optimizations --with-nogui``, with its sources'
``bios`` folder beside it. (Bochs 3.0 takes all bytes of AMX as unsigned. In its ``cpu/avx/amx.cc``
those that are signed have to be ``Bit8s``, or the test of AMX fails.) The machine code of a unit
goes into a ROM image of its own, without an operating system, and the emulated processor begins
there.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from llvmlite import binding as llvm
from llvmlite import ir

from tsm_ref.kernels.bfloat16 import tile as bfloat16_tile
from tsm_ref.kernels.bfloat16 import units as bfloat16_units
from tsm_ref.kernels.integer import tile as integer_tile
from tsm_ref.kernels.integer.units import UNITS, Unit
from tsm_ref.kernels.vector import FLOAT, INT, Emitter

BOCHS = os.environ.get("TSM_REF_BOCHS", "")
HERE = Path(__file__).with_name("emulator")
PROCESSORS = {
    "AMX": ("sapphirerapids", "sapphire_rapids", 0x600E7),
    "VNNI (AVX-512)": ("icelake-server", "sapphire_rapids", 0xE7),
    "VNNI (AVX2)": ("alderlake", "arrow_lake", 0x7),
    "pairs (AVX-512)": ("skylake-avx512", "sapphire_rapids", 0xE7),
    "pairs (AVX2)": ("haswell", "arrow_lake", 0x7),
}
"""Of each unit: the processor that is compiled for, the one that runs it, its vector registers."""

BFLOAT16 = {
    "AMX": ("sapphirerapids", "sapphire_rapids", 0x600E7),
    "AVX512-BF16": ("cooperlake", "sapphire_rapids", 0xE7),
}
"""The same of units of bfloat16."""

SETTINGS = """\
cpu: model={model}, ips=100000000, reset_on_triple_fault=0
memory: guest=64, host=64
romimage: file={image}
vgaromimage: file={vga}
port_e9_hack: enabled=1
display_library: nogui
log: {log}
panic: action=fatal
clock: sync=none
"""

pytestmark = [
    pytest.mark.skipif(not BOCHS, reason="TSM_REF_BOCHS names no emulator"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="there is no C compiler"),
]


def machine_code(
    kind: ModuleType, unit: Unit, processor: str, family: str = "x86_64", features: str = ""
) -> bytes:
    """An object file with the function ``tiles`` of a unit of `integer.tile` or `bfloat16.tile`."""
    module, arguments = ir.Module(), kind.TileArguments
    types = [INT] * (len(arguments._fields) - 2) + [FLOAT] * 2
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), "tiles")
    builder = ir.IRBuilder(function.append_basic_block())
    kind.write_tiles(Emitter(builder), unit, arguments(*function.args))
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(f"{family}-unknown-linux-gnu")
    machine = target.create_target_machine(processor, features, opt=3, reloc="pic")
    return bytes(machine.emit_object(llvm.parse_assembly(str(module))))


def shape_of(unit: Unit, mistake: int) -> list[str]:
    """What a check is compiled with."""
    shape = {"LANES": unit.lanes, "GROUP": unit.group, "ROWS": unit.rows, "VECTORS": unit.vectors,
             "DEPTH": unit.depth, "SIGNED": int(unit.signed), "MISTAKE": mistake}  # fmt: skip
    return [f"-D{name}={value}" for name, value in shape.items()]


@pytest.mark.parametrize("name", PROCESSORS)
def test_tiles_are_exact_on_an_emulated_processor(name, tmp_path):
    assert wrong_of(name, tmp_path) == ["0", "0", "0"]


def test_one_wrong_bit_of_each_result_is_found(tmp_path):
    assert wrong_of("VNNI (AVX2)", tmp_path, mistake=1) == ["3", "3", "3"]


@pytest.mark.parametrize("name", BFLOAT16)
def test_tiles_of_bfloat16_are_right_on_an_emulated_processor(name, tmp_path):
    assert wrong_of(name, tmp_path, bfloat16_tile) == ["0", "0", "0"]


@pytest.mark.parametrize("name", BFLOAT16)
def test_one_wrong_result_of_bfloat16_is_found(name, tmp_path):
    assert wrong_of(name, tmp_path, bfloat16_tile, mistake=1) == ["2", "2", "2"]


def wrong_of(
    name: str, tmp_path: Path, kind: ModuleType = integer_tile, mistake: int = 0
) -> list[str]:
    """How many results of a unit are wrong: of three draws, of each in all forms."""
    units, processors = (
        (UNITS, PROCESSORS) if kind is integer_tile else (bfloat16_units.UNITS, BFLOAT16)
    )
    check = "tiles" if kind is integer_tile else "bfloat16"
    unit = next(unit for unit in units if unit.name == name)
    processor, model, registers = processors[name]
    (tmp_path / "unit.o").write_bytes(machine_code(kind, unit, processor))
    plain = ["-ffreestanding", "-fPIE", "-fno-stack-protector", "-mno-red-zone", "-O1"]
    settled = [*plain, "-mno-avx", "-fcf-protection=none", "-fno-asynchronous-unwind-tables"]
    for command in (
        ["gcc", "-c", f"-DXCR={registers}", HERE / "start.S", "-o", "start.o"],
        ["gcc", "-c", *settled, *shape_of(unit, mistake), HERE / f"{check}.c"],
        ["ld", "-m", "elf_x86_64", "-T", HERE / "rom.ld", "-nostdlib", "--no-dynamic-linker",
         "start.o", f"{check}.o", "unit.o", "-o", "rom.elf"],
        ["objcopy", "-O", "binary", "rom.elf", "rom.bin"],
    ):  # fmt: skip
        subprocess.run(command, cwd=tmp_path, check=True)
    vga = next((Path(BOCHS).parent / "bios").rglob("VGABIOS-lgpl-latest.bin"))
    settings = tmp_path / "settings"
    settings.write_text(
        SETTINGS.format(model=model, image=tmp_path / "rom.bin", vga=vga, log=tmp_path / "log")
    )
    return result_of([BOCHS, "-q", "-f", str(settings)])


def result_of(command: list[str]) -> list[str]:
    """What the check says; the emulated processor then halts for ever, and is stopped."""
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert running.stdout is not None
    said = b""
    try:
        while not (found := re.search(rb"\[(\d+) (\d+) (\d+)\]", said)):
            more = os.read(running.stdout.fileno(), 4096)
            assert more, said.decode(errors="replace")
            said += more
    finally:
        running.kill()
        running.communicate()
    return [count.decode() for count in found.groups()]
