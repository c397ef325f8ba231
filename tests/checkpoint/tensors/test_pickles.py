"""The reader of pickles: what it builds, what it passes over, and what it refuses to call."""

import argparse
import collections
import datetime
import decimal
import io
import pathlib
import pickle
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from tests.checkpoint.torch_writer import Pickle, Raw, call, name, number, sizes, text
from tsm_ref.checkpoint.tensors.pickle_names import KNOWN, Foreign, NumpyArray, numpy_values
from tsm_ref.checkpoint.tensors.pickles import read_pickle, walk_pickle
from tsm_ref.errors import CheckpointError

TREE = {"a": [1, -5, 2**40, -(2**70), 1.5], "b": ("x", "ü", b"\x00\xff", None, True), "c": {}}


def read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data))


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_out_as_they_were(protocol: int) -> None:
    assert read(pickle.dumps(TREE, protocol)) == TREE


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i8", ">f4", "?"])
def test_numpy_arrays_come_out_as_they_were(protocol: int, kind: str) -> None:
    whole = np.arange(24).reshape(2, 3, 4).astype(kind)
    for array in (whole, np.asfortranarray(whole), whole[:0], np.array(3).astype(kind)):
        found = read(pickle.dumps(array, protocol))
        assert isinstance(found, NumpyArray)
        np.testing.assert_array_equal(numpy_values(found), array)


def test_numpy_scalars_and_shared_values() -> None:
    shared = ["same"]
    found = read(pickle.dumps([np.float32(2.5), shared, shared], 2))
    assert found == [2.5, ["same"], ["same"]]
    assert found[1] is found[2]


def test_a_dictionary_in_one_opcode() -> None:
    items = text("a") + number(1) + text("b") + number(2)
    assert read(b"\x80\x02(" + items + b"d.") == {"a": 1, "b": 2}
    with pytest.raises(CheckpointError):
        read(b"\x80\x02(" + items + text("c") + b"d.")


def test_the_log_of_a_trainer_is_passed_over() -> None:
    """MMEngine keeps the losses of a training, and its own methods, beside the weights."""
    history = pickle.dumps(np.arange(3.0), 2)[2:-1]
    buffer = name("mmengine.logging.history_buffer", "HistoryBuffer")
    method = call(name("__builtin__", "getattr"), buffer, text("mean"))
    log = buffer + b")\x81}(" + text("max_length") + number(10**6)
    log += text("_log_history") + history + text("_statistics_methods") + method + b"ub"
    tree = Raw(b"}" + text("loss") + log + b"s")
    found = walk_pickle(io.BytesIO(Pickle().finished({"message_hub": tree, "epoch": 3})))
    assert type(found.tree["message_hub"]["loss"]) is Foreign
    assert found.tree["epoch"] == 3
    assert found.foreign == {
        "mmengine.logging.history_buffer.HistoryBuffer": 1,
        "builtins.getattr": 1,
    }


class Settings(argparse.Namespace):
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_what_people_leave_beside_weights_is_passed_over(protocol: int) -> None:
    counts = collections.Counter(a=2)
    shared = collections.defaultdict(list, {"b": [1]})
    tree = {
        "args": argparse.Namespace(lr=0.1), "own": Settings(shift=True),
        "path": pathlib.PurePosixPath("runs/1"), "time": datetime.datetime(2024, 5, 6),
        "frozen": frozenset((1, 2)), "slice": slice(1, 2), "objects": np.array([None, "x"], object),
        "decimal": decimal.Decimal("0.5"), "complex": 1j, "pair": {(1, 2): 3, "kept": 4},
        "kind": np.dtype([("a", "f4")]), "texts": np.array(["a", "b"]), "range": range(3),
        "counts": counts, "defaults": shared, "scalar": np.float64(0.5), "text": np.str_("x"),
    }  # fmt: skip
    found = read(pickle.dumps(tree, protocol))
    assert found["counts"] == {"a": 2}
    assert found["defaults"] == {"b": [1]}
    assert found["pair"] == {"kept": 4}
    assert sorted(found["frozen"]) == [1, 2]
    assert found["scalar"] == 0.5
    assert type(found["objects"]) is NumpyArray
    passed = ("args", "own", "path", "time", "slice", "decimal", "complex", "text")
    assert all(type(found[key]) is Foreign for key in passed)
    assert found["args"].state == {"lr": 0.1}


def test_the_file_stands_behind_what_was_read() -> None:
    file = io.BytesIO(pickle.dumps(1) + pickle.dumps("two") + b"rest")
    assert (read_pickle(file), read_pickle(file), file.read()) == (1, "two", b"rest")


class Evil:
    def __init__(self, function: Any = print) -> None:
        self.function = function

    def __reduce__(self) -> Any:
        return self.function, ("executed",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_function_is_never_called(protocol: int, capsys: Any) -> None:
    found = read(pickle.dumps({"state_dict": Evil()}, protocol))
    assert type(found["state_dict"]) is Foreign
    assert found["state_dict"].arguments == ("executed",)
    with pytest.raises(CheckpointError, match=r"'builtins\.eval', which is not a tensor"):
        read(pickle.dumps({"state_dict": Evil(eval)}, protocol))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("os.path", "join"),
        ("subprocess", "Popen"),
        ("importlib.util", "find_spec"),
        ("torch", "load"),
        ("numpy", "load"),
    ],
)
def test_what_only_an_attacker_names_is_refused(module: str, attribute: str) -> None:
    code = b"\x80\x02" + call(name(module, attribute), text("x")) + b"."
    with pytest.raises(CheckpointError) as caught:
        read(code)
    assert f"{attribute}'" in str(caught.value)
    assert "never called" in str(caught.value)


def test_a_name_on_the_stack_is_refused_too() -> None:
    code = b"\x80\x04" + text("os") + text("system") + b"\x93."
    with pytest.raises(CheckpointError, match=r"'os\.system'"):
        read(code)


def test_names_below_a_known_one_are_not_known() -> None:
    for names in (("torch._utils", "_rebuild_tensor_v2.__globals__"), ("torch", "FloatStorage"),
                  ("collections", "OrderedDict.__init__"), ("numpy", "ndarray")):  # fmt: skip
        assert type(read(b"\x80\x02" + call(name(*names)) + b".")) is Foreign


def test_calling_what_is_no_name_is_refused() -> None:
    with pytest.raises(CheckpointError, match="calls what is no function"):
        read(b"\x80\x02" + text("text") + b")R.")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"\x80\x02(ios\nsystem\n.", "os.system"),
        (b"\x80\x02(cos\nsystem\no.", "os.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02Pid\n.", "PERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x09N.", "protocol 9"),
        (b"\x80\x02" + text("x") + b"}b.", "has none"),
    ],
)
def test_other_opcodes_are_refused(code: bytes, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        read(code)


@pytest.mark.parametrize(
    "code",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02N",
        b"\x80\x02NN.",
        b"\x80\x02R.",
        b"\x80\x02u.",
        b"\x80\x02h\x05.",
        b"\x80\x02]N}s.",
        b"\x80\x02}(Nu.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
        b"not a pickle at all",
        b"I" + b"9" * 10_000 + b"\n.",
        bytes(range(256)),
    ],
)
def test_damage_is_an_error_of_ours(code: bytes) -> None:
    with pytest.raises(CheckpointError):
        read(code)


def test_every_way_to_cut_a_pickle_is_an_error_of_ours() -> None:
    data = pickle.dumps({"w": np.arange(6.0).reshape(2, 3), **TREE}, 2)
    for length in range(len(data)):
        with pytest.raises(CheckpointError):
            read(data[:length])


def test_every_changed_byte_is_read_or_refused(rng: np.random.Generator) -> None:
    data = bytearray(pickle.dumps({"w": np.arange(6.0).reshape(2, 3), **TREE}, 2))
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] = int(rng.integers(256))
        try:
            read(bytes(changed))
        except CheckpointError:
            continue


def test_deep_nesting_needs_no_recursion() -> None:
    depth = 10 * sys.getrecursionlimit()
    found = read(b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".")
    for _ in range(depth - 1):
        (found,) = found
    assert found == []


def test_copying_again_and_again_is_refused() -> None:
    """A list of ten thousand, copied two hundred thousand times."""
    copies = b"h\x01" + name("builtins", "list") + b"q\x02" + b"0"
    body = b"(" + b"N" * 10_000 + b"lq\x01" + copies + b"0" + b"(h\x02h\x01\x85R0" * 200_000
    with pytest.raises(CheckpointError, match="again and again"):
        read(b"\x80\x02" + body + b"N.")


def test_numpy_arrays_that_do_not_fit_are_refused() -> None:
    good = pickle.dumps(np.arange(4, dtype="f4"), 2)
    short = good.replace(b"K\x04\x85", b"K\x05\x85")
    with pytest.raises(CheckpointError, match="has 16 bytes"):
        numpy_values(read(short))
    objects = pickle.dumps(np.array([None, 1], dtype=object), 2)
    with pytest.raises(CheckpointError):
        numpy_values(read(objects))


def test_a_number_that_cannot_be_printed_is_refused() -> None:
    long = b"\x8b" + (4000).to_bytes(4, "little") + b"\x7f" * 4000
    with pytest.raises(CheckpointError, match="a number of 31999 bits; at most 128"):
        read(b"\x80\x02}" + text("epoch") + long + b"s.")


def test_the_type_beside_a_tensor_is_one_of_numbers() -> None:
    storage = [text("storage"), name("torch.storage", "UntypedStorage"), text("0"), text("cpu")]
    described = [b"(" + b"".join(storage) + number(8) + b"tQ", number(0), sizes([2]), sizes([1])]
    rest = [b"\x89", call(name("collections", "OrderedDict"))]
    rebuild = name("torch._utils", "_rebuild_tensor_v3")
    made = read(b"\x80\x02" + call(rebuild, *described, *rest, name("torch", "float32")) + b".")
    assert made.storage.type_name == "float32"
    for kind in (name("torch", "FloatStorage"), name("collections", "OrderedDict"), b"N"):
        with pytest.raises(CheckpointError, match="no type of numbers"):
            read(b"\x80\x02" + call(rebuild, *described, *rest, kind) + b".")


def test_tensors_must_be_described_by_numbers() -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    for changes in ({"offset": -1}, {"shape": (2, -3)}, {"strides": (3,)}):
        p = Pickle()
        with pytest.raises(CheckpointError, match="tensor of"):
            read(p.finished(Raw(p.tensor(weight, **changes))))


def view(start: bytes, count: bytes) -> bytes:
    """What old versions of PyTorch write for a part of a storage."""
    return b"(" + text("0") + start + count + b"t"


def test_a_storage_of_an_unknown_kind_is_refused() -> None:
    for parts in (
        [text("module"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(1)],
        [text("storage"), name("torch", "float32"), text("0"), text("cpu"), number(1)],
        [text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(-1)],
        [text("storage")],
        *(
            [text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(2), v]
            for v in (view(b"N", b"N"), view(text("0"), text("2")), view(number(-1), number(1)))
        ),
    ):
        with pytest.raises(CheckpointError):
            read(b"\x80\x02(" + b"".join(parts) + b"tQ.")


def test_the_list_of_names_is_short_and_harmless() -> None:
    """Whatever joins the list must be thought about: nothing of it opens, runs or imports."""
    words = ("load", "open", "exec", "eval", "import", "getattr", "system", "call", "file", "run")
    assert not [known for known in KNOWN if any(word in known.lower() for word in words)]
    assert len(KNOWN) < 60


# What must cost no more than the file is long

KNOT = b"N" + b"2\x86" * 60 + b"q\x000"
"""A pair of the same pair of the same pair, sixty times: hashed or printed, it would never end."""
DEEP = b"N" + b"\x85" * 150_000 + b"q\x000"
"""A tuple in a tuple, deeper than the stack of any machine."""
COLLISIONS = b"".join(
    b"\x8a\x10" + (k * (2**61 - 1)).to_bytes(16, "little") + b"N" for k in range(2, 20_002)
)
"""Numbers that all have the same hash."""


USES = (
    b"}h\x00Ns",
    b"}(h\x00Nu",
    b"(h\x00Nd",
    b"h\x00h\x00\x93",
    b"h\x00)R",
    b"h\x00)\x81",
    b"(h\x00h\x00h\x00h\x00h\x00tQ",
    b"(h\x00o",
    b"\x8f(h\x00\x90",
    b"(h\x00\x91",
    b"cnumpy\ndtype\n" + text("f4") + b"\x85Rh\x00b",
    b"cnumpy.core.multiarray\n_reconstruct\n)R(" + b"h\x00" * 5 + b"tb",
    b"cx\ny\n)Rh\x00b",
    b"cx\ny\n)Rh\x00Ns",
)
"""A value as a key, a name, a function, a storage, a member, a state."""


@pytest.mark.parametrize("head", [KNOT, DEEP])
@pytest.mark.parametrize("use", USES)
def test_a_knot_is_read_or_refused_at_once(head: bytes, use: bytes) -> None:
    quickly(b"\x80\x04" + head + use + b".")


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_knot_is_no_trap_as_an_argument(known: str, count: int) -> None:
    function = name(*known.rsplit(".", 1))
    quickly(b"\x80\x04" + KNOT + function + b"(" + b"h\x00" * count + b"tR.")
    quickly(b"\x80\x04" + KNOT + function + b"h\x00R.")


def quickly(code: bytes) -> None:
    """Read, or refuse with a short sentence, in far less time than a trap would take."""
    start = time.process_time()
    sentence = ""
    try:
        read(code)
    except CheckpointError as error:
        sentence = str(error)
    assert len(sentence) < 300
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "body",
    [
        b"}(" + COLLISIONS + b"u",
        b"(" + COLLISIONS + b"d",
        b"".join(b"Np" + str(k * (2**61 - 1)).encode() + b"\n0" for k in range(2, 20_002)) + b"N",
    ],
)
def test_numbers_with_the_same_hash_are_no_trap(body: bytes) -> None:
    quickly(b"\x80\x04" + body + b".")


@pytest.mark.parametrize("code", [b"}", b"]", b"\x8f", b"N\x94", b"cx\ny\n", b"h\x00)\x81"])
def test_memory_is_bounded_by_the_file(code: bytes) -> None:
    """Every value is paid for with an opcode."""
    data = b"\x80\x04cx\ny\nq\x000(" + code * (200_000 // len(code)) + b"l."
    tracemalloc.start()
    try:
        read(data)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200 * len(data)
