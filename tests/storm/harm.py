"""Damage done to files at random."""

from pathlib import Path

import numpy as np

KINDS = ("cut short", "emptied", "overwritten", "zeroed", "lengthened", "exchanged", "lost", "a folder")


def harmed(folder: Path, rng: np.random.Generator) -> str:
    """Damage one to three files of a folder, at any depth; returns what was done."""
    return "; ".join(_harm(folder, rng) for _ in range(rng.integers(1, 4)))


def _harm(folder: Path, rng: np.random.Generator) -> str:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    if not files:
        return "nothing is left"
    file, kind = files[rng.integers(len(files))], KINDS[rng.integers(len(KINDS))]
    content = bytearray(file.read_bytes())
    first = int(rng.integers(len(content) + 1))
    last = min(len(content), first + int(rng.integers(1, 200)))
    file.unlink()
    match kind:
        case "cut short":
            file.write_bytes(content[:first])
        case "emptied":
            file.write_bytes(b"")
        case "overwritten":
            file.write_bytes(content[:first] + rng.bytes(last - first) + content[last:])
        case "zeroed":
            file.write_bytes(content[:first] + bytes(last - first) + content[last:])
        case "lengthened":
            file.write_bytes(content + rng.bytes(100))
        case "exchanged":
            other = files[rng.integers(len(files))]
            file.write_bytes(other.read_bytes() if other.is_file() else content[::-1])
        case "a folder":
            file.mkdir()
    return f"{file.relative_to(folder)} {kind} at {first}"
