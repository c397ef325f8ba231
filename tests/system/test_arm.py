"""An instruction of ARM is used only where the system said that every core has it."""

import ctypes

import pytest

from tsm_ref.system import arm

CORTEX_A53 = 0x8FF  # as Linux tells it: fp to crc32, and cpuid
CORTEX_A76 = 0x1008FF


class Library:
    """The C library, or the kernel of Windows, with the functions that are given."""

    def __init__(self, **functions):
        self.__dict__ |= functions


class Function:
    """A function of a library, whose types can be told."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def __call__(self, *arguments):
        self.asked.append(arguments)
        return self.answer(*arguments)


@pytest.fixture(autouse=True)
def system(monkeypatch):
    """Pretend to be on a system and a processor, with a library."""

    def pretend(platform, machine, pointer_bytes=8, **functions):
        library = Library(**{name: Function(answer) for name, answer in functions.items()})
        monkeypatch.setattr(arm.sys, "platform", platform)
        monkeypatch.setattr(arm.platform, "machine", lambda: machine)
        monkeypatch.setattr(arm.ctypes, "CDLL", lambda name: library)
        monkeypatch.setattr(arm.ctypes, "windll", Library(kernel32=library), raising=False)
        monkeypatch.setattr(arm, "POINTER_BYTES", pointer_bytes)
        arm.features.cache_clear()
        return library

    yield pretend
    arm.features.cache_clear()


def sysctl(answers):
    """macOS's ``sysctlbyname`` that knows some names."""

    def call(name, value, size, new, new_size):
        if name not in answers:
            return -1
        assert size._obj.value == ctypes.sizeof(value._obj) == 4
        value._obj.value = answers[name]
        return 0

    return call


def test_this_system_can_be_asked():
    assert arm.features() <= {"dotprod"}


@pytest.mark.parametrize("platform", ["linux", "android"])
@pytest.mark.parametrize(("bits", "expected"), [(CORTEX_A53, set()), (CORTEX_A76, {"dotprod"})])
def test_linux_tells_it_to_every_process(system, platform, bits, expected):
    library = system(platform, "aarch64", getauxval=lambda key: bits)
    assert arm.features() == arm.features() == expected
    assert library.getauxval.asked == [(16,)]
    assert library.getauxval.restype is ctypes.c_ulong


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({b"hw.optional.arm.FEAT_DotProd": 1}, {"dotprod"}),
        ({b"hw.optional.arm.FEAT_DotProd": 0}, set()),
        ({}, set()),
    ],
)
def test_macos_tells_it_by_name(system, answers, expected):
    system("darwin", "arm64", sysctlbyname=sysctl(answers))
    assert arm.features() == expected


@pytest.mark.parametrize(("answer", "expected"), [(1, {"dotprod"}), (0, set())])
def test_windows_tells_it_by_number(system, answer, expected):
    library = system("win32", "ARM64", IsProcessorFeaturePresent=lambda number: answer)
    assert arm.features() == expected
    assert library.IsProcessorFeaturePresent.asked == [(43,)]


@pytest.mark.parametrize(
    ("platform", "machine", "pointer_bytes"),
    [
        ("linux", "x86_64", 8),
        ("linux", "armv7l", 4),
        ("linux", "aarch64", 4),  # 32 bits on a kernel of 64: there the same bit is another feature
        ("freebsd14", "arm64", 8),
    ],
)
def test_another_processor_or_system_is_not_asked(system, platform, machine, pointer_bytes):
    library = system(platform, machine, pointer_bytes, getauxval=lambda key: CORTEX_A76)
    assert arm.features() == set()
    assert not library.getauxval.asked


def test_a_library_without_the_function_is_a_no(system):
    system("linux", "aarch64")
    assert arm.features() == set()
