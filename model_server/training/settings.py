"""Configurations as frozen dataclasses: changed by name, flattened, told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, TypeVar

from model_server.errors import PoseDubError

T = TypeVar("T")


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """`key=value` texts as a mapping."""
    pairs = [text.partition("=") for text in settings]
    for key, sign, _ in pairs:
        if not sign:
            raise PoseDubError(f"The setting {key} has no value; write it as KEY=VALUE, for example generator.batch=8.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def changed(config: T, changes: Mapping[str, Any]) -> T:
    """A configuration with other values; keys are dotted field names, values may be texts.

    Raises:
        PoseDubError: a key is not known or a value does not fit.
    """
    for key, value in changes.items():
        config = _with(config, key, key.split("."), value)
    return config


def flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted keys."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def settings_digest(config: Any, free: Collection[str]) -> str:
    """Hash of a configuration's values without those whose last name is in `free`."""
    kept = {key: value for key, value in flat(asdict(config)) if key.rpartition(".")[2] not in free}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _with(node: Any, key: str, path: list[str], value: Any) -> Any:
    name, *rest = path
    known = [field.name for field in fields(node)]
    if name not in known:
        raise PoseDubError(f"The training has no setting {key}; it has {', '.join(known)}.")
    old = getattr(node, name)
    if is_dataclass(old) != bool(rest):
        raise PoseDubError(f"The training setting {key} names no single value; write for example generator.batch=8.")
    return replace(node, **{name: _with(old, key, rest, value) if rest else _converted(key, old, value)})


def _converted(key: str, old: Any, value: Any) -> Any:
    try:
        if isinstance(old, bool):
            return {"true": True, "false": False}[str(value).lower()]
        return type(old)(value)
    except (ValueError, TypeError, KeyError) as error:
        kind = type(old).__name__
        raise PoseDubError(f"The training setting {key} cannot be {value!r}; it is a value of type {kind}.") from error
