"""Single values of a .blend file, found by the description of all structures that each such file carries.

Some of what Blender keeps is not in its Python API. A data-block written to a file of its own shows it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator

POINTER = 8
FORMATS = {"short": "<h", "int": "<i", "float": "<f", "double": "<d"}
NEW_HEADER = 17
"""Length of the header since 5.0, whose blocks have longer sizes."""


def fields(data: bytes, structure: str, wanted: Collection[str]) -> dict[str, float]:
    """Numbers of the first block of a structure, by name; fields that this Blender does not have are left out.

    Raises:
        struct.error, ValueError, IndexError, KeyError: not an uncompressed .blend file of a 64-bit machine.
    """
    blocks = list(_blocks(data))
    names, types, sizes, structures = _described(next(content for code, _, content in blocks if code == b"DNA1"))
    for _, number, content in blocks:
        described, members = structures[number]
        if types[described] == structure:
            places = _places(members, names, sizes)
            found = ((name, *places[name]) for name in wanted if name in places)
            return {name: struct.unpack_from(FORMATS[types[kind]], content, place)[0] for name, kind, place in found}
    return {}


def _blocks(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Code, number of the structure, and content of each block."""
    new = data[7:9].decode() == str(NEW_HEADER)
    at, header = (NEW_HEADER, struct.Struct("<4siqqq")) if new else (12, struct.Struct("<4siqii"))
    while at < len(data):
        code, one, _, other, _ = header.unpack_from(data, at)
        number, length = (one, other) if new else (other, one)
        at += header.size
        yield code, number, data[at : at + length]
        at += length


def _described(dna: bytes) -> tuple[list[str], list[str], tuple[int, ...], list[tuple[int, list[tuple[int, int]]]]]:
    """Names of fields, names and sizes of types, and of each structure its type and (type, name) of its fields."""
    names, at = _words(dna, dna.index(b"NAME") + 4)
    types, at = _words(dna, at + 4)
    sizes = struct.unpack_from(f"<{len(types)}h", dna, at + 4)
    at = dna.index(b"STRC", at + 4 + 2 * len(types)) + 4
    count, at = struct.unpack_from("<i", dna, at)[0], at + 4
    structures = []
    for _ in range(count):
        described, length = struct.unpack_from("<hh", dna, at)
        pairs = struct.unpack_from(f"<{2 * length}h", dna, at + 4)
        structures.append((described, list(zip(pairs[::2], pairs[1::2], strict=True))))
        at += 4 + 4 * length
    return names, types, sizes, structures


def _words(dna: bytes, at: int) -> tuple[list[str], int]:
    """Texts that end in zeros, behind their number; and where what follows begins."""
    (count,) = struct.unpack_from("<i", dna, at)
    *words, rest = dna[at + 4 :].split(b"\0", count)
    end = len(dna) - len(rest)
    return [word.decode() for word in words], (end + 3) // 4 * 4


def _places(members: list[tuple[int, int]], names: list[str], sizes: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Type and offset of each field of a structure."""
    places, at = {}, 0
    for kind, number in members:
        name = names[number]
        places[name] = kind, at
        size = POINTER if name.startswith(("*", "(*")) else sizes[kind]
        for length in re.findall(r"\[(\d+)\]", name):
            size *= int(length)
        at += size
    return places
