"""What an editor may set of a dub: each parameter's default, range and text stand beside its field in `request`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any

_KEY = "parameter"


@dataclass(frozen=True)
class Parameter:
    """A number, or a switch, of a dub.

    Attributes:
        name: of its field in `request`, of its field on the wire, and with dashes of its option of the command.
        default: a float, an int, or a bool for a switch.
        low, high: least and greatest value; of a switch False and True.
        text: what it does, in a few words.
        unit: of the value, "" for numbers without one.
        label: what sentences call it.
        each_frame: whether it may have a value for each frame of the dub.
    """

    name: str
    default: float
    low: float
    high: float
    text: str
    unit: str = ""
    label: str = ""
    each_frame: bool = False

    @property
    def kind(self) -> type[bool] | type[int] | type[float]:
        """The type of its values."""
        return type(self.default)

    @property
    def bounds(self) -> str:
        """Range in words."""
        return f"{_bound(self.low)} to {_bound(self.high)}"

    def problem(self, values: Any) -> tuple[bool, str]:
        """Whether a value, or one of several, is out of range; and the sentence for it."""
        several = isinstance(values, tuple)
        wrong = not all(self.low <= value <= self.high for value in (values if several else (values,)))
        if several:
            return wrong, f"The {self.label} amount has values outside {self.bounds}."
        return wrong, f"The {self.label} {values} is outside {self.bounds}."


def parameter(default: Any, low: float, high: float, text: str, **more: Any) -> Any:
    """A dataclass field that is a parameter; arguments as of `Parameter`."""
    made = (default,) if more.get("each_frame") else default
    return field(default=made, metadata={_KEY: {"default": default, "low": low, "high": high, "text": text, **more}})


def parameters(cls: type) -> Iterator[Parameter]:
    """Parameters among the fields of a dataclass."""
    for one in fields(cls):
        if _KEY in one.metadata:
            yield _of(one)


def _of(one: Field[Any]) -> Parameter:
    said = one.metadata[_KEY]
    return Parameter(one.name, **{"label": one.name.replace("_", " "), **said})


def _bound(value: float) -> str:
    """A number in a sentence; the largest whole numbers of computers as powers."""
    bits = int(value).bit_length()
    return f"2^{bits} - 1" if bits > 31 and value == 2**bits - 1 else f"{value:g}"
