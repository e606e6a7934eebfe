"""Serialisation of values to bytes, and packs: values that are put into the store together share one directory.

A serialised value is a line with the dtypes and shapes of its tensors, followed by their bytes. A pack is a
concatenation of values; its directory has the key, the offset, the size and a checksum over key and content of each. A
pack is named by a digest of its directory and never changed, so that a reader can verify both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from math import prod
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import torch
from torch import Tensor

Value = list[Tensor]
"""What is stored under a key: the leaves of an operation's result."""

Form = tuple[tuple[torch.dtype, tuple[int, ...]], ...]
"""Dtype and shape of each tensor."""

RECORD = Struct("<16sQQI")
"""Binary layout of a `Place`."""


class Place(NamedTuple):
    """Where a value lies in its pack: its key, offset and size in bytes, and checksum; one record of a directory."""

    key: bytes
    first: int
    size: int
    checksum: int

    def sound(self, content: bytes | None) -> bool:
        """Whether `content` is what was stored at this place under this key."""
        return content is not None and len(content) == self.size and _checksum(self.key, content) == self.checksum


@dataclass(frozen=True)
class Pack:
    """Values that are written in one transaction."""

    keys: Sequence[bytes]
    """Content keys of the values."""
    directory: bytes
    """Records of the values, in the order of `keys`."""
    content: bytes
    """The serialised values, concatenated."""

    @property
    def name(self) -> bytes:
        """Name of the pack: a digest of its directory, 16 bytes."""
        return _name(self.directory)


def packs(entries: Iterable[tuple[bytes, bytes]], max_bytes: int) -> Iterator[Pack]:
    """Group serialised values into packs.

    Args:
        entries: pairs of a content key and a serialised value.
        max_bytes: size from which on a pack takes no more values; its last value may exceed it.
    """
    places: list[Place] = []
    contents: list[bytes] = []
    first = 0
    for key, content in entries:
        places.append(Place(key, first, len(content), _checksum(key, content)))
        contents.append(content)
        first += len(content)
        if first >= max_bytes:
            yield _pack(places, contents)
            places, contents, first = [], [], 0
    if places:
        yield _pack(places, contents)


def places(name: object, directory: object) -> list[Place]:
    """Records of a pack's directory; an empty list if the directory does not have the digest `name`."""
    if not isinstance(directory, bytes) or _name(directory) != name:
        return []
    return [Place(*record) for record in RECORD.iter_unpack(directory)]


def written(value: Value) -> bytes:
    """Serialise a value."""
    form = tuple([(tensor.dtype, tensor.shape) for tensor in value])
    return b"".join([_line(form), *[tensor.contiguous().numpy().data for tensor in value]])


def read(content: bytes) -> Value:
    """The value of a serialisation by `written`, in memory that torch owns."""
    first = content.index(b"\n") + 1
    value, data = [], bytearray(content)
    for dtype, shape in _form(content[:first]):
        count = prod(shape)
        flat = torch.frombuffer(data, dtype=dtype, count=count, offset=first) if count else torch.empty(0, dtype=dtype)
        value.append(flat.clone().reshape(shape))
        first += count * dtype.itemsize
    return value


def _pack(places: Sequence[Place], contents: Sequence[bytes]) -> Pack:
    keys = [place.key for place in places]
    return Pack(keys, b"".join([RECORD.pack(*place) for place in places]), b"".join(contents))


def _name(directory: bytes) -> bytes:
    return blake2b(directory, digest_size=16).digest()


def _checksum(key: bytes, content: bytes) -> int:
    """CRC-32 over both, so that a content under another value's key is detected too."""
    return crc32(content, crc32(key))


@cache
def _line(form: Form) -> bytes:
    return json.dumps([(str(dtype).removeprefix("torch."), list(shape)) for dtype, shape in form]).encode() + b"\n"


@cache
def _form(line: bytes) -> Form:
    return tuple((getattr(torch, dtype), tuple(shape)) for dtype, shape in json.loads(line))
