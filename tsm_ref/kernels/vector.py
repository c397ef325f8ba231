"""LLVM vector code by name: the dozen instructions from which every fast kernel is made.

Numba compiles a function decorated with ``numba.extending.intrinsic`` by asking it for LLVM
code. The generators of this package write that code through an `Emitter`: vectors of
`HOST.lanes` float32 values, addresses as 64-bit integers, offsets in bytes.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tsm_ref.kernels.machine import BLOCK, HOST

Value = Any  # an llvmlite value: a number that exists when the kernel runs

FLOAT = ir.FloatType()
INT = ir.IntType(64)
INT32 = ir.IntType(32)
BYTE = ir.IntType(8)
FLOAT_BYTES = 4
PIXEL = BLOCK * FLOAT_BYTES
"""Bytes of one pixel of one block of channels: a cache line."""

address = types.intp
count = types.intp
real = types.float32


def generated(*argument_types: Any) -> Callable[[Callable[..., None]], Any]:
    """Turn ``f(emitter, *values)``, which writes LLVM code, into a Numba intrinsic.

    The intrinsic takes arguments of the given Numba types and returns nothing.
    """

    def bind(write: Callable[..., None]) -> Any:
        signature = types.void(*argument_types)

        def codegen(context: Any, builder: Any, _: Any, arguments: Sequence[Value]) -> Value:
            write(Emitter(builder), *arguments)
            return context.get_dummy_value()

        return intrinsic_of(signature, codegen)

    return bind


def intrinsic_of(signature: Any, codegen: Callable[..., Value]) -> Any:
    """Return the Numba intrinsic of a signature and of the function that writes its code."""

    def typing(context: Any, *_: Any) -> Any:
        return signature, codegen

    # Numba takes the number of arguments from the signature of this function.
    names = ["context", *(f"a{i}" for i in range(len(signature.args)))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in names]
    typing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(typing)


def calls(signature: Any) -> Any:
    """Return the intrinsic ``f(code, *arguments)`` that calls the function at address `code`."""

    def codegen(context: Any, builder: Any, _: Any, arguments: Sequence[Value]) -> Value:
        result = context.get_value_type(signature.return_type)
        kinds = [context.get_value_type(argument) for argument in signature.args]
        function = ir.FunctionType(result, kinds).as_pointer()
        builder.call(builder.inttoptr(arguments[0], function), arguments[1:])
        return context.get_dummy_value()

    return intrinsic_of(types.void(address, *signature.args), codegen)


def _load_integer(_: Any, builder: Any, signature: Any, arguments: Sequence[Value]) -> Value:
    emit = Emitter(builder)
    return emit.load(emit.bytes_at(arguments[0]), 0, INT)


integer_at = intrinsic_of(types.int64(address), _load_integer)
"""``integer_at(location)`` is the 64-bit integer stored at an address."""


class Emitter:
    """Writes vector instructions at the end of the function that a builder is writing."""

    def __init__(self, builder: Any, lanes: int = HOST.lanes) -> None:
        self.builder = builder
        self.lanes = lanes
        self.vector = ir.VectorType(FLOAT, lanes)
        self.bytes = lanes * FLOAT_BYTES

    def integer(self, value: int) -> Value:
        """Return an integer constant."""
        return ir.Constant(INT, value)

    def constant(self, value: float) -> Value:
        """Return a vector that holds the same constant in every lane."""
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def add(self, *terms: Value) -> Value:
        """Return the sum of integers, some of which may be Python's."""
        total, known = None, 0
        for term in terms:
            if isinstance(term, int):
                known += term
            else:
                total = term if total is None else self.builder.add(total, term)
        if total is None:
            return self.integer(known)
        return self.builder.add(total, self.integer(known)) if known else total

    def times(self, value: Value, factor: int) -> Value:
        """Return an integer times a constant."""
        return self.builder.mul(value, self.integer(factor))

    def divide(self, value: Value, divisor: int) -> tuple[Value, Value]:
        """Return quotient and remainder of a non-negative integer by a constant."""
        by = self.integer(divisor)
        return self.builder.udiv(value, by), self.builder.urem(value, by)

    def pointer(self, base: Value, offset: Value | int, kind: Any) -> Value:
        """Return `base` (a byte pointer) plus `offset` bytes, as a pointer to `kind`."""
        where = self.integer(offset) if isinstance(offset, int) else offset
        moved = self.builder.gep(base, [where]) if offset != 0 else base
        return self.builder.bitcast(moved, kind.as_pointer())

    def bytes_at(self, location: Value) -> Value:
        """Return an integer address as a byte pointer."""
        return self.builder.inttoptr(location, BYTE.as_pointer())

    def move(self, base: Value, offset: Value) -> Value:
        """Return the byte pointer `base` advanced by a number of bytes."""
        return self.builder.gep(base, [offset])

    def load(self, base: Value, offset: Value | int = 0, kind: Any = None) -> Value:
        """Load a vector, or one value of another `kind`."""
        return self.builder.load(self.pointer(base, offset, kind or self.vector), align=4)

    def store(self, value: Value, base: Value, offset: Value | int = 0) -> None:
        """Store a vector."""
        self.builder.store(value, self.pointer(base, offset, self.vector), align=4)

    def splat(self, scalar: Value) -> Value:
        """Return a vector with the same run-time value in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
        lanes = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return ``a * b + c``, rounded once."""
        name = f"llvm.fma.v{self.lanes}f32"
        return self.builder.call(self.function(name, self.vector, [self.vector] * 3), [a, b, c])

    def product(self, a: Value, b: Value) -> Value:
        """Return the product of two vectors."""
        return self.builder.fmul(a, b)

    def largest(self, a: Value, b: Value) -> Value:
        """Return the larger of two vectors lane by lane; a NaN in either wins."""
        larger = self.builder.fcmp_ordered(">", b, a)
        undefined = self.builder.fcmp_unordered("uno", b, b)
        return self.builder.select(self.builder.or_(larger, undefined), b, a)

    def maximum(self, a: Value, b: Value) -> Value:
        """Return the larger of two vectors lane by lane; a NaN in `a` is kept."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), b, a)

    def minimum(self, a: Value, b: Value) -> Value:
        """Return the smaller of two vectors lane by lane; a NaN in `a` is kept."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), b, a)

    def clamp(self, value: Value, low: Value, high: Value) -> Value:
        """Return `value` limited to ``low .. high``; NaN stays NaN."""
        return self.minimum(self.maximum(value, low), high)

    def prefetch(self, base: Value, offset: Value | int = 0, level: int = 1) -> None:
        """Ask for the cache line at ``base + offset``, in the first or second cache (`level`)."""
        arguments = [BYTE.as_pointer(), INT32, INT32, INT32]
        function = self.function("llvm.prefetch.p0", ir.VoidType(), arguments)
        read, keep, data = (ir.Constant(INT32, value) for value in (0, 4 - level, 1))
        self.builder.call(function, [self.pointer(base, offset, BYTE), read, keep, data])

    @contextmanager
    def loop(self, trips: Value, *state: Value) -> Iterator["Loop"]:
        """Repeat the body `trips` times (at least once), carrying values from turn to turn."""
        loop = Loop(self, state)
        yield loop
        loop.close(trips)

    def plus(self, a: Value, b: Value) -> Value:
        """Return the sum of two vectors."""
        return self.builder.fadd(a, b)

    def minus(self, a: Value, b: Value) -> Value:
        """Return the difference of two vectors."""
        return self.builder.fsub(a, b)

    def nonzero(self, value: Value) -> Value:
        """Return whether an integer is not zero."""
        return self.builder.icmp_signed("!=", value, self.integer(0))

    def less(self, a: Value, b: Value) -> Value:
        """Return whether one integer is less than another."""
        return self.builder.icmp_signed("<", a, b)

    def both(self, a: Value, b: Value) -> Value:
        """Return whether both conditions hold."""
        return self.builder.and_(a, b)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Run the body only if a condition holds."""
        with self.builder.if_then(condition):
            yield

    def switch(self, value: Value, cases: Sequence[Callable[[], None]]) -> None:
        """Run the code of ``cases[value]`` (a value that has no case runs the last one)."""
        builder = self.builder
        blocks = [builder.append_basic_block("case") for _ in cases]
        joined = builder.append_basic_block("joined")
        chosen = builder.switch(value, blocks[-1])
        for number, (block, write) in enumerate(zip(blocks, cases, strict=True)):
            chosen.add_case(self.integer(number), block)
            builder.position_at_end(block)
            write()
            builder.branch(joined)
        builder.position_at_end(joined)

    def choose(
        self,
        condition: Value,
        yes: Callable[[], list[Value]],
        no: Callable[[], list[Value]],
    ) -> list[Value]:
        """Return the values of `yes()` or of `no()`, running only the code of the one chosen."""
        builder = self.builder
        branches = [builder.append_basic_block(name) for name in ("yes", "no")]
        joined = builder.append_basic_block("joined")
        builder.cbranch(condition, *branches)
        results = []
        for block, write in zip(branches, (yes, no), strict=True):
            builder.position_at_end(block)
            values = write()
            results.append((builder.block, values))
            builder.branch(joined)
        builder.position_at_end(joined)
        merged = []
        for pair in zip(*(values for _, values in results), strict=True):
            phi = builder.phi(pair[0].type)
            for (block, _), value in zip(results, pair, strict=True):
                phi.add_incoming(value, block)
            merged.append(phi)
        return merged

    def function(self, name: str, result: Any, arguments: Sequence[Any]) -> Value:
        """Return an external function or LLVM intrinsic, declared once in the module."""
        module = self.builder.module
        found = module.globals.get(name)
        return found or ir.Function(module, ir.FunctionType(result, arguments), name)


class Loop:
    """A counted loop: `index` counts from 0, `state` holds the values carried into this turn.

    The body sets `next` to the values for the following turn; after the loop, `next` holds
    the last ones.
    """

    def __init__(self, emitter: Emitter, state: Sequence[Value]) -> None:
        builder = self._builder = emitter.builder
        entry = builder.block
        self._body = builder.append_basic_block("loop")
        builder.branch(self._body)
        builder.position_at_end(self._body)
        self.index = builder.phi(INT)
        self.index.add_incoming(emitter.integer(0), entry)
        self.state = []
        for value in state:
            carried = builder.phi(value.type)
            carried.add_incoming(value, entry)
            self.state.append(carried)
        self.next: list[Value] = list(self.state)

    def close(self, trips: Value) -> None:
        """Write the end of the body."""
        builder = self._builder
        following = builder.add(self.index, ir.Constant(INT, 1))
        self.index.add_incoming(following, builder.block)
        for carried, value in zip(self.state, self.next, strict=True):
            carried.add_incoming(value, builder.block)
        after = builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", following, trips), self._body, after)
        builder.position_at_end(after)
