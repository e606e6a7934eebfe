"""Values as bytes, and packs of them: values put into the store together lie together, behind one directory.

A value is a line that says formats and shapes of its tensors, then their bytes. A pack is values end to end; its
directory says of each the key, where it begins, its size, and a checksum over key and content. A pack is named by a
digest of its directory and never changed, so that both are known to be sound when they are read.
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

Form = tuple[tuple[torch.dtype, tuple[int, ...]], ...]
"""Format and shape of each tensor."""

RECORD = Struct("<16sQQI")


class Place(NamedTuple):
    """Where a value lies in its pack: one record of a directory."""

    key: bytes
    first: int
    size: int
    checksum: int

    def sound(self, content: bytes | None) -> bool:
        """Whether that is what was put there, under this key."""
        return content is not None and len(content) == self.size and _checksum(self.key, content) == self.checksum


@dataclass(frozen=True)
class Pack:
    """Values that are written at once."""

    keys: Sequence[bytes]
    directory: bytes
    content: bytes

    @property
    def name(self) -> bytes:
        """What the pack goes by."""
        return _name(self.directory)


def packs(entries: Iterable[tuple[bytes, bytes]], max_bytes: int) -> Iterator[Pack]:
    """Contents by key, in packs of about `max_bytes`."""
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
    """The records of a pack's directory; none if it is not the directory that the pack is named by."""
    if not isinstance(directory, bytes) or _name(directory) != name:
        return []
    return [Place(*record) for record in RECORD.iter_unpack(directory)]


def written(value: Value) -> bytes:
    """A value as bytes."""
    form = tuple([(tensor.dtype, tensor.shape) for tensor in value])
    return b"".join([_line(form), *[tensor.contiguous().numpy().data for tensor in value]])


def read(content: bytes) -> Value:
    """The value that was `written`, in torch's own memory."""
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
    """CRC-32 over both, so that a content under another's key is found out too."""
    return crc32(content, crc32(key))


@cache
def _line(form: Form) -> bytes:
    return json.dumps([(str(dtype).removeprefix("torch."), list(shape)) for dtype, shape in form]).encode() + b"\n"


@cache
def _form(line: bytes) -> Form:
    return tuple((getattr(torch, dtype), tuple(shape)) for dtype, shape in json.loads(line))
