"""Tiles are used only where the system said yes."""

import pytest

from tsm_ref.system import amx


@pytest.fixture(autouse=True)
def linux(monkeypatch):
    monkeypatch.setattr(amx.sys, "platform", "linux")
    monkeypatch.setattr(amx.platform, "machine", lambda: "x86_64")
    amx.refusal.cache_clear()
    yield
    amx.refusal.cache_clear()


def answer(monkeypatch, error):
    asked = []

    def arch_prctl(code, value):
        asked.append((code, value))
        return error

    monkeypatch.setattr(amx, "_arch_prctl", arch_prctl)
    return asked


def test_permission_is_asked_for_once(monkeypatch):
    asked = answer(monkeypatch, 0)
    assert amx.refusal() == amx.refusal() == ""
    assert asked == [(0x1023, 18)]


def test_a_refusal_is_told_with_its_error(monkeypatch):
    answer(monkeypatch, 95)
    assert amx.refusal() == "Linux refuses it (error 95)"


@pytest.mark.parametrize(("system", "machine"), [("win32", "AMD64"), ("linux", "aarch64")])
def test_another_system_is_not_asked(monkeypatch, system, machine):
    asked = answer(monkeypatch, 0)
    monkeypatch.setattr(amx.sys, "platform", system)
    monkeypatch.setattr(amx.platform, "machine", lambda: machine)
    assert amx.refusal() == "only Linux on x86-64 is asked for it"
    assert not asked


def test_a_library_that_knows_no_system_calls_is_a_refusal(monkeypatch):
    def missing(code, value):
        raise AttributeError("undefined symbol: syscall")

    monkeypatch.setattr(amx, "_arch_prctl", missing)
    assert "undefined symbol" in amx.refusal()


def test_the_system_call_itself_gives_the_number_of_an_error():
    with_no_such_code = amx._arch_prctl(0, 0)
    assert with_no_such_code > 0  # EINVAL, or ENOSYS where it is not known
