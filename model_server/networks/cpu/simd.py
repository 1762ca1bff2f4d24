"""Vectors of channels for loops that Numba compiles, and what minimal filtering does with tiles of them.

In memory numbers are float32, or bfloat16, the upper half of a float32, which Numba does not know: arrays of them have
the type int16.

A tile is a tuple of vectors, row by row. Its functions become straight lines of vector instructions, which the
compiler's own search for vectors would not find: it cannot know that the planes it writes do not overlap.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, extending, types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numpy.typing import NDArray


def _lanes() -> int:
    """Channels of a vector: 16 float32 fill a register of AVX-512, elsewhere 8 leave fewer channels without vectors."""
    features = config.CPU_FEATURES  # type: ignore[attr-defined]
    wide = "+avx512f" in features.split(",") if features else llvmlite.binding.get_host_cpu_features().get("avx512f")
    return 16 if wide else 8


LANES = _lanes()
intrinsic: Any = extending.intrinsic  # what it makes is called with other arguments than what it takes
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_INDEX = ir.VectorType(ir.IntType(32), LANES)  # also the bits of a vector
_HALVES = ir.VectorType(ir.IntType(16), LANES)
_UPPER = ir.Constant(_INDEX, [16] * LANES)  # a bfloat16 lies this many bits higher in a float32
# Bytes; vectors begin at any element, and what LLVM assumes of a whole vector would be more.
_FLOAT_ALIGN, _HALF_ALIGN = 4, 2
_FAST = ("contract", "nsz")  # products and sums may become one instruction


class Lanes(types.Type):
    """Numba's type of a vector of `LANES` float32."""

    def __init__(self) -> None:
        super().__init__("Lanes")


lanes = Lanes()
"""The type itself: there is only one."""


@extending.register_model(Lanes)
class _Model(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, _VECTOR)


def _operator(function: Callable, instruction: str) -> None:
    """Let `a * b` and the like work on vectors."""

    @infer_global(function)
    class _Known(ConcreteTemplate):
        cases = [signature(lanes, lanes, lanes)]

    @extending.lower_builtin(function, lanes, lanes)
    def _(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        return getattr(builder, instruction)(*args, flags=_FAST)


_operator(operator.add, "fadd")
_operator(operator.mul, "fmul")


@intrinsic
def load(typing: Any, array: types.Array, at: types.Integer) -> Any:
    """The vector at element `at` of an array."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        if array.dtype == types.int16:
            halves = builder.load(_start(context, builder, sig, args, _HALVES))
            halves.align = _HALF_ALIGN
            return builder.bitcast(builder.shl(builder.zext(halves, _INDEX), _UPPER), _VECTOR)
        return _loaded(builder, _start(context, builder, sig, args))

    return lanes(array, at), generate


@intrinsic
def store(typing: Any, array: types.Array, at: types.Integer, vector: Lanes) -> Any:
    """Put the vector at element `at` of an array, rounded to the nearest number that it holds."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        if array.dtype == types.int16:
            halves = _rounded(builder, args[2])
            builder.store(halves, _start(context, builder, sig, args, _HALVES)).align = _HALF_ALIGN
        else:
            builder.store(args[2], _start(context, builder, sig, args)).align = _FLOAT_ALIGN
        return context.get_dummy_value()

    return types.void(array, at, vector), generate


@intrinsic
def total(typing: Any, vector: Lanes) -> Any:
    """Sum of the vector's numbers."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        number = ir.FloatType()
        kind = ir.FunctionType(number, [number, _VECTOR])
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        sum_up = cgutils.get_or_insert_function(builder.module, kind, name)
        # Free to add in pairs; number by number each sum would wait for the one before.
        return builder.call(sum_up, [ir.Constant(number, 0.0), args[0]], fastmath=("reassoc",))

    return types.float32(vector), generate


@intrinsic
def larger(typing: Any, one: Lanes, other: Lanes) -> Any:
    """The larger one of each pair of numbers."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        return _larger(builder, *args)

    return lanes(one, other), generate


@intrinsic
def splat(typing: Any, number: types.Float) -> Any:
    """A vector of one number."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        return _splat(builder, context.cast(builder, args[0], sig.args[0], types.float32))

    return lanes(number), generate


def reader(places: Sequence[tuple[int, int]]) -> Callable:
    """Makes `read(array, at, row, column)`: vectors at `at + y * row + x * column` for each (y, x) of `places`."""

    @intrinsic
    def read(typing: Any, array: Any, at: Any, row: Any, column: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
            addresses = _addresses(context, builder, sig, args, places)
            return _tuple(context, builder, sig.return_type, [_loaded(builder, address) for address in addresses])

        return types.UniTuple(lanes, len(places))(array, at, row, column), generate

    return read


def reader_of_two(places: Sequence[tuple[bool, int]]) -> Callable:
    """Makes `read(one, at_one, other, at_other, step)`: vectors n steps from where one array begins, or the other.

    Args:
        places: of each vector, whether it is in the other array, and n.
    """

    @intrinsic
    def read(typing: Any, one: Any, at_one: Any, other: Any, at_other: Any, step: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
            found: dict[tuple[bool, int], ir.Value] = {}
            for which in (False, True):
                kinds = signature(types.void, *sig.args[2 * which : 2 * which + 2], sig.args[4], sig.args[4])
                values = [*args[2 * which : 2 * which + 2], args[4], args[4]]
                wanted = [n for array, n in places if array == which]
                addresses = _addresses(context, builder, kinds, values, [(n, 0) for n in wanted])
                found |= {(which, n): address for n, address in zip(wanted, addresses, strict=True)}
            return _tuple(context, builder, sig.return_type, [_loaded(builder, found[place]) for place in places])

        return types.UniTuple(lanes, len(places))(one, at_one, other, at_other, step), generate

    return read


def writer(places: Sequence[tuple[int, int]], which: Sequence[int] | None = None) -> Callable:
    """Makes `write(array, at, row, column, tile)`, the opposite of `reader`'s.

    Args:
        which: vectors of the tile are written, in this order; all in theirs when None.
    """

    @intrinsic
    def write(typing: Any, array: Any, at: Any, row: Any, column: Any, tile: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
            addresses = _addresses(context, builder, sig, args, places)
            values = _values(builder, args[-1])
            chosen = values if which is None else [values[n] for n in which]
            for address, value in zip(addresses, chosen, strict=True):
                builder.store(value, address).align = _FLOAT_ALIGN
            return context.get_dummy_value()

        return types.void(array, at, row, column, tile), generate

    return write


def both_ways(down: NDArray[np.float64], across: NDArray[np.float64]) -> Callable:
    """Makes `transform(tile)`: `down @ tile @ across.T`."""
    shape = down.shape[1], across.shape[1]

    @intrinsic
    def transform(typing: Any, tile: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
            values = _values(builder, args[0])
            rows = [values[n : n + shape[1]] for n in range(0, len(values), shape[1])]
            columns = [_combined(builder, down, column) for column in zip(*rows, strict=True)]
            made = [_combined(builder, across, row) for row in zip(*columns, strict=True)]
            return _tuple(context, builder, sig.return_type, [value for row in made for value in row])

        return types.UniTuple(lanes, len(down) * len(across))(tile), generate

    return transform


@intrinsic
def scaled(typing: Any, tile: types.UniTuple, scale: Lanes) -> Any:
    """Every vector of `tile` times `scale`."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        values = [builder.fmul(value, args[1], flags=_FAST) for value in _values(builder, args[0])]
        return _tuple(context, builder, sig.return_type, values)

    return tile(tile, scale), generate


@intrinsic
def rectified(typing: Any, tile: types.UniTuple, scale: Lanes, shift: Lanes) -> Any:
    """Every vector of `tile` times `scale` plus `shift`, or 0 where that is negative."""

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        tile, scale, shift = args
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        raised = [_raised(builder, value, scale, shift) for value in _values(builder, tile)]
        return _tuple(context, builder, sig.return_type, [_larger(builder, value, zero) for value in raised])

    return tile(tile, scale, shift), generate


@intrinsic
def finished(typing: Any, tile: Any, gain: Any, bias: Any, slope: Any, noise: Any, at: Any, row: Any) -> Any:
    """A square tile times `gain` plus `bias` plus each pixel's noise, through a leaky ReLU.

    `noise` is a float32 array that has the tile's first pixel at `at` and its rows `row` elements apart.
    """

    def generate(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value]) -> ir.Value:
        tile, gain, bias, slope, noise, at, row = args
        size = isqrt(len(sig.return_type))
        places = [(y, x) for y in range(size) for x in range(size)]
        kinds = signature(types.void, sig.args[4], sig.args[5], sig.args[6], types.intp)
        one = ir.Constant(ir.IntType(64), 1)
        addresses = _addresses(context, builder, kinds, [noise, at, row, one], places, ir.FloatType())
        made = []
        for value, address in zip(_values(builder, tile), addresses, strict=True):
            added = builder.fadd(_splat(builder, builder.load(address)), bias, flags=_FAST)
            raised = _raised(builder, value, gain, added)
            made.append(_larger(builder, raised, builder.fmul(raised, slope, flags=_FAST)))
        return _tuple(context, builder, sig.return_type, made)

    return tile(tile, gain, bias, slope, noise, at, row), generate


def _start(context: Any, builder: ir.IRBuilder, sig: Any, args: Sequence[ir.Value], of: ir.Type = _VECTOR) -> ir.Value:
    """Where `of` lies at element args[1] of array args[0]."""
    array = context.make_array(sig.args[0])(context, builder, args[0])
    at = context.cast(builder, args[1], sig.args[1], types.intp)
    return builder.bitcast(builder.gep(array.data, [at]), of.as_pointer())


def _addresses(
    context: Any,
    builder: ir.IRBuilder,
    sig: Any,
    args: Sequence[ir.Value],
    places: Sequence[tuple[int, int]],
    of: ir.Type = _VECTOR,
) -> list[ir.Value]:
    """Addresses of `places`, from array, first element, and the steps of a row and of a column."""
    start = _start(context, builder, sig, args, ir.FloatType())
    row, column = (context.cast(builder, args[n], sig.args[n], types.intp) for n in (2, 3))
    found = []
    for y, x in places:
        steps = [builder.mul(step, ir.Constant(step.type, count)) for step, count in ((row, y), (column, x))]
        found.append(builder.bitcast(builder.gep(start, [builder.add(*steps)]), of.as_pointer()))
    return found


def _loaded(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    value = builder.load(address)
    value.align = _FLOAT_ALIGN
    return value


def _rounded(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The vector as bfloat16, ties to even."""
    # Half of what the lost bits can hold is added, less one unless the last kept bit is odd; carries do the rest.
    bits = builder.bitcast(value, _INDEX)
    odd = builder.and_(builder.lshr(bits, _UPPER), ir.Constant(_INDEX, [1] * LANES))
    above = builder.add(builder.add(bits, odd), ir.Constant(_INDEX, [0x7FFF] * LANES))
    return builder.trunc(builder.lshr(above, _UPPER), _HALVES)


def _splat(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    empty = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(empty, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_INDEX, [0] * LANES))


def _raised(builder: ir.IRBuilder, value: ir.Value, scale: ir.Value, shift: ir.Value) -> ir.Value:
    return builder.fadd(builder.fmul(value, scale, flags=_FAST), shift, flags=_FAST)


def _larger(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
    return builder.select(builder.fcmp_ordered(">", one, other), one, other)


def _values(builder: ir.IRBuilder, tile: ir.Value) -> list[ir.Value]:
    return [builder.extract_value(tile, n) for n in range(tile.type.count)]


def _tuple(context: Any, builder: ir.IRBuilder, kind: types.UniTuple, values: Sequence[ir.Value]) -> ir.Value:
    return context.make_tuple(builder, kind, values)


def _combined(builder: ir.IRBuilder, matrix: NDArray[np.float64], values: Sequence[ir.Value]) -> list[ir.Value]:
    """`matrix @ values`, without the products with 0 and 1, most of a filtering's factors."""
    return [_sum(builder, row, values) for row in matrix]


def _sum(builder: ir.IRBuilder, factors: NDArray[np.float64], values: Sequence[ir.Value]) -> ir.Value:
    terms = [(factor, value) for factor, value in zip(factors, values, strict=True) if factor]
    terms.sort(key=lambda term: term[0] != 1)  # a sum that begins with a plain value needs no product for it
    total: ir.Value | None = None
    for factor, value in terms:
        total = _plus(builder, total, float(factor), value)
    return total


def _plus(builder: ir.IRBuilder, total: ir.Value | None, factor: float, value: ir.Value) -> ir.Value:
    if total is not None and factor == -1:
        return builder.fsub(total, value, flags=_FAST)
    product = value if factor == 1 else builder.fmul(value, ir.Constant(_VECTOR, [factor] * LANES), flags=_FAST)
    return product if total is None else builder.fadd(total, product, flags=_FAST)
