"""Messages between a process and one that it does not trust: plain values and arrays, never code.

What the trusted side sends is pickled. What it receives is unpickled by a reader that knows numbers, texts, lists, and
the few classes marked with `crosses`, which it gives new values of and no access to; arrays come as raw bytes beside
their shape.
"""

from __future__ import annotations

import io
import pickle
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

# Lengths of the plain part and of the array's bytes.
_HEADER = struct.Struct("<QQ")
_MOST_PLAIN, _MOST_ARRAY = 2**30, 2**31
_KINDS = {"|u1", "<u2", "<f2", "<f4"}
_FRACTION = re.compile(r"-?[0-9]{1,400}(/[0-9]{1,400})?")
T = TypeVar("T")
ITEM, END, REFUSED, FAILED = "item", "end", "refused", "failed"
"""What an answer is: one of several values, the last one, a sentence and its kind, an unexpected problem."""


class Asked:
    """Stands among the arguments of work for an iterator of what is asked for while the work goes on."""


class UnsoundMessage(Exception):
    """What the other side sent is no message of a sound process."""


class _Maker:
    """Makes values, and is nothing that a message could change, as it could change a class."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *values: Any) -> Any:
        return self._make(*values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise UnsoundMessage(f"a change of {name}")


_CROSSING: dict[tuple[str, str], _Maker] = {}


def crosses(kind: type[T]) -> type[T]:
    """Mark a plain dataclass whose values an untrusted process may send; they are sent as the values of its fields."""
    _CROSSING[kind.__module__, kind.__qualname__] = _Maker(kind)
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    kind.__reduce__ = lambda self: (kind, tuple(getattr(self, name) for name in names))  # type: ignore[assignment]
    return kind


class Channel:
    """One end of a connected stream socket; `close` ends it for both."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def close(self) -> None:
        """Nothing more comes or goes."""
        self._socket.close()

    def send(self, plain: object, array: NDArray | None = None) -> None:
        """Send a value and an array, which is copied only where it is not contiguous."""
        whole = None if array is None else np.ascontiguousarray(array)
        form = None if whole is None else (whole.dtype.str, whole.shape)
        text = pickle.dumps((plain, form))
        size = 0 if whole is None else whole.nbytes
        self._socket.sendall(_HEADER.pack(len(text), size) + text)
        if whole is not None and size:
            self._socket.sendall(whole.data.cast("B"))

    def receive(self, trusted: bool = False) -> tuple[Any, NDArray | None]:
        """The next message; EOFError when the other side is gone, UnsoundMessage when it makes no sense."""
        plain, size = _HEADER.unpack(self._bytes(_HEADER.size))
        if plain > _MOST_PLAIN or size > _MOST_ARRAY:
            raise UnsoundMessage("too long")
        text = self._bytes(plain)
        value, form = pickle.loads(text) if trusted else _plain(text)
        return value, None if form is None else self._array(form, size)

    def _array(self, form: Any, size: int) -> NDArray:
        try:
            kind, shape = form
            if kind not in _KINDS or prod(shape) * np.dtype(kind).itemsize != size or min(shape, default=0) < 0:
                raise UnsoundMessage("an array of another size")
            array = np.empty(shape, kind)
        except (TypeError, ValueError) as error:
            raise UnsoundMessage("no array") from error
        self._fill(array.data.cast("B") if size else memoryview(b""))
        return array

    def _bytes(self, count: int) -> bytearray:
        held = bytearray(count)
        self._fill(memoryview(held))
        return held

    def _fill(self, view: memoryview) -> None:
        while len(view):
            # All at once: a thread that came back for each part would wait for Python each time.
            count = self._socket.recv_into(view, 0, socket.MSG_WAITALL)
            if not count:
                raise EOFError
            view = view[count:]


class _PlainReader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _CROSSING[module, name]
        except KeyError:
            raise UnsoundMessage(f"{module}.{name} does not cross") from None


def _fraction(*parts: Any) -> Fraction:
    """A fraction of a text or two whole numbers; "1e999999999" would take all memory."""
    if len(parts) == 1 and isinstance(parts[0], str) and _FRACTION.fullmatch(parts[0]):
        return Fraction(parts[0])
    if len(parts) == 2 and all(isinstance(part, int) for part in parts):
        return Fraction(*parts)
    raise UnsoundMessage("no fraction")


_CROSSING["fractions", "Fraction"] = _Maker(_fraction)


def _plain(text: bytearray) -> tuple[Any, Any]:
    try:
        value, form = _PlainReader(io.BytesIO(text)).load()
        return value, form
    except UnsoundMessage:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a hostile message makes of the reader
        raise UnsoundMessage(str(error)) from error
