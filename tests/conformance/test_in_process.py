"""Python objects as testees: layouts, kinds of memory, and everything that can go wrong."""

import time
import types

import numpy as np
import pytest

import conformance
from conformance.catalogue import find_case
from conformance.judging.results import Options
from conformance.judging.runner import run_case
from conformance.testees.in_process import InProcess
from conformance.testees.reference import Reference
from conformance.testees.reference_stream import ReferenceStream
from tsm_ref.errors import UsageError
from tsm_ref.reference import temporal_shift


def mit(x, fold_div=8):
    f = x.shape[1] // fold_div
    d = np.zeros(x.shape[1], int)
    d[:f], d[f : 2 * f] = -1, 1
    return temporal_shift(x, d)


def outcome(function, case="L0.shift.clips", **declaration):
    testee = type("Testee", (), {"temporal_shift": staticmethod(function)})()
    testee.declaration = {"name": "test", **declaration}
    return run_case(
        find_case(case), InProcess(testee), Options(timeout=0.3 if function is spin else 30)
    )


def spin(x, fold_div=8):
    while True:
        time.sleep(0.01)


def smear(x, fold_div=8):
    x[...] = mit(x)
    return x


def leave(x, fold_div=8):
    raise SystemExit(3)


class Verdict(BaseException):
    """What pytest's own outcomes are."""


def judge_it(x, fold_div=8):
    raise Verdict("all is well")


class Flatterer(np.ndarray):
    """An array that says that it equals anything."""

    def __eq__(self, other):
        return np.ones(self.shape, bool)

    def astype(self, *rest, **more):
        raise ZeroDivisionError


def recurse(x, fold_div=8):
    return recurse(x)


BAD = {
    "hang": (spin, "no reply within 0.3 seconds"),
    "in place": (smear, "`temporal_shift` modified its input `x`"),
    "exit": (leave, "raised SystemExit: 3"),
    "own exception": (judge_it, "raised Verdict: all is well"),
    "own array": (lambda x, fold_div=8: (x * 0).view(Flatterer), "the value is 0.0; 11.0 is right"),
    "recursion": (recurse, "raised RecursionError"),
    "memory": (lambda x, fold_div=8: (_ for _ in ()).throw(MemoryError), "raised MemoryError"),
    "error": (lambda x, fold_div=8: x.nothing, "raised AttributeError"),
    "refusal": (
        lambda x, fold_div=8: np.reshape(x, 7),
        "refused a valid input (invalid): ValueErr",
    ),
    "text": (lambda x, fold_div=8: "done", "gave no usable output: returned str, which is no"),
    "nothing": (lambda x, fold_div=8: None, "gave no usable output: returned NoneType, which"),
    "objects": (lambda x, fold_div=8: mit(x).astype(object), "the output is object"),
    "shape": (lambda x, fold_div=8: mit(x)[:, :, 1:], "the output has shape (3, 19, 3, 2, 5)"),
    "scalar": (lambda x, fold_div=8: 0.0, "the output has shape ()"),
    "dtype": (lambda x, fold_div=8: mit(x).astype(np.float64), "the output is float64"),
    "integers": (lambda x, fold_div=8: mit(x).astype(np.int32), "the output is int32"),
    "nan": (lambda x, fold_div=8: mit(x) * np.nan, "the value is nan"),
    "two outputs": (lambda x, fold_div=8: {"a": x, "b": x}, "no output `y` came back, but a, b"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_callable_fails_with_a_sentence(name):
    function, sentence = BAD[name]
    result = outcome(function)
    assert result.outcome == "failed"
    assert sentence in result.message
    assert "\n" not in result.message


def read_only(x, fold_div=8):
    y = mit(x)
    y.flags.writeable = False
    return y


GOOD = {
    "plain": mit,
    "read-only": read_only,
    "not contiguous": lambda x, fold_div=8: np.asfortranarray(mit(x)),
    "negative strides": lambda x, fold_div=8: mit(x)[..., ::-1].copy()[..., ::-1],
    "a list of one": lambda x, fold_div=8: (mit(x),),
    "big-endian": lambda x, fold_div=8: mit(x).astype(">f4"),
    "without fold_div": lambda x: mit(x),
}


@pytest.mark.parametrize("name", GOOD)
def test_any_memory_of_the_right_values_passes(name):
    result = outcome(GOOD[name])
    assert (result.outcome, result.message) == ("passed", "")


def test_a_callable_may_use_its_memory_again():
    memory = np.zeros(10_000, np.float32)

    def shift(x, fold_div=8):
        y = memory[: x.size].reshape(x.shape)
        y[:] = mit(x)
        return y

    assert outcome(shift, "L0.shift.few-channels").outcome == "passed"


def test_clips_that_overlap_and_chunks_reach_the_testee_in_their_kind_of_memory():
    seen = []

    class Watching(Reference):
        def temporal_shift(self, x, fold_div=8):
            seen.append(x.strides)
            return super().temporal_shift(x, fold_div)

    class WatchingStream(ReferenceStream):
        def step(self, chunk):
            seen.append(chunk.dtype.byteorder)
            return super().step(chunk)

    Watching.stream_class = WatchingStream
    testee = InProcess(Watching())
    case = find_case("L0.overlapping.temporal_shift")
    assert run_case(case, testee, Options()).outcome == "passed"
    assert all(strides[2] == strides[3] for strides in seen)
    assert run_case(find_case("S.memory.stream"), testee, Options()).outcome == "passed"
    assert ">" in seen


def test_an_answer_that_is_no_array_refuses_nothing():
    result = outcome(lambda x, fold_div=8: None, "R.shift.rank")
    assert result.outcome == "failed"
    assert result.message.startswith("gave no usable output")


def test_an_attribute_that_is_not_taken_is_unsupported_and_no_pass():
    result = outcome(lambda x: mit(x), "L0.shift.fold-divisor")
    assert result.outcome == "unsupported"
    assert result.message == "`temporal_shift` takes no `fold_div` (=2)"


def test_not_implemented_is_unsupported():
    def missing(x, fold_div=8):
        raise NotImplementedError("no shift on this device")

    assert outcome(missing).outcome == "unsupported"


@pytest.mark.parametrize("layout", ["NTCHW", "NTHWC", "(NT)CHW", "(NT)HWC"])
def test_clips_come_in_the_declared_layout(layout):
    def shift(x, segments=None, fold_div=8):
        if layout.startswith("(NT)"):
            x = x.reshape(-1, segments, *x.shape[1:])
        back = (0, 4, 1, 2, 3) if layout.endswith("HWC") else (0, 2, 1, 3, 4)
        y = mit(x.transpose(back), fold_div).transpose(np.argsort(back))
        return y.reshape(-1, *y.shape[2:]) if layout.startswith("(NT)") else y

    right = outcome(shift, capabilities={"layout": layout})
    wrong = outcome(mit, capabilities={"layout": layout})
    assert (right.outcome, right.message) == ("passed", "")
    assert wrong.outcome == "failed"


def test_capabilities_decide_about_skips():
    result = outcome(mit, "L0.shift.float16", capabilities={"dtypes": ["float32"]})
    assert result.outcome == "skipped"
    assert result.message == "the testee declares the dtypes float32, without float16"


def test_a_testee_that_transforms_its_data_is_not_asked_for_exact_identities():
    result = outcome(mit, "L1.identity.conv3d", capabilities={"exact": False})
    assert (result.outcome, result.message) == ("skipped", "the testee declares exact: false")


def test_a_declared_list_of_operations_is_believed():
    result = outcome(mit, capabilities={"operations": ["conv"]})
    assert result.outcome == "not applicable"
    assert result.message == "the testee is only conv, without `temporal_shift`"


@pytest.mark.parametrize(
    ("declaration", "sentence"),
    [
        ({"profile": "torch"}, "there is no profile 'torch'; known are mit,"),
        ({"capabilities": {"layout": "CHWN"}}, "`capabilities.layout` (='CHWN') must be one of"),
        ({"capabilities": {"fast": True}}, "`capabilities.fast` is not known"),
        ({"profile": {"name": "mit", "fold": 3}}, "there is no convention 'fold'"),
        ({"profile": {"fold_div": 0}}, "`fold_div` (=0) must be a whole number from 1 to 256"),
        ({"profile": {"fold_div": 10**30}}, "must be a whole number from 1 to 256"),
        ({"profile": {"mean": 5}}, "`mean` (=5) must be three numbers"),
        ({"profile": {"std": [1, 0, 1]}}, "`std` (=[1, 0, 1]) must be three numbers other than 0"),
        ({"profile": {"scale": float("nan")}}, "`scale` (=nan) must be a number other than 0"),
        ({"profile": {"every_block": "maybe"}}, "`every_block` (='maybe') must be true or false"),
        ({"profile": {"name": ["mit"]}}, "there is no profile"),
    ],
)
def test_a_wrong_declaration_is_refused(declaration, sentence):
    with pytest.raises(UsageError) as caught:
        outcome(mit, **declaration)
    assert sentence in str(caught.value)


def test_a_bare_function_is_an_operation():
    assert conformance.run_testee(mit, profile="mit", level="L0").reached == ("L0",)


def test_a_declaration_that_is_no_dictionary_is_refused():
    testee = types.SimpleNamespace(temporal_shift=mit, declaration="mit")
    with pytest.raises(UsageError, match="`declaration` is str; a dictionary is needed"):
        InProcess(testee)


def test_an_object_without_operations_is_refused():
    with pytest.raises(UsageError, match="no callable named after an operation"):
        InProcess(object())


def test_two_profiles_judge_the_same_code_differently():
    mine = Reference("paddle")
    passed = run_case(find_case("L0.shift.clips"), InProcess(mine), Options())
    failed = run_case(find_case("L0.shift.clips"), InProcess(mine, "mit"), Options())
    assert (passed.outcome, failed.outcome) == ("passed", "failed")
    assert "the direction is swapped" in failed.diagnosis
