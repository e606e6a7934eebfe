"""Text and JSON files of run and sweep folders, which other versions and other people may have written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class DamagedRun(ValueError):
    """A file of a run cannot be read; the message names the file and its fault."""


class Unreadable(ValueError):
    """A file cannot be read; the message is what is wrong with it, as a predicate: "is not JSON"."""


def text(file: Path) -> str:
    """Content of a text file in UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        Unreadable: it is not UTF-8, is a folder, or cannot be read.
    """
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from error


def json_object(file: Path) -> dict[str, Any]:
    """Content of a file that holds one JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        Unreadable: it cannot be read as text, is not JSON, or holds something else.
    """
    try:
        content = json.loads(text(file))
    except json.JSONDecodeError as error:
        raise Unreadable(f"is not JSON ({error})") from error
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error
    if not isinstance(content, dict):
        raise Unreadable("holds no object")
    return content


def write(file: Path, content: str) -> None:
    """Write a text file atomically, with its folders; a failure leaves nothing.

    A link of its name is replaced, not followed.

    Raises:
        OSError: it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.unlink(missing_ok=True)  # of a process that died, or a link that would be followed
    try:
        with temporary.open("x", encoding="utf-8") as new:
            new.write(content)
        os.replace(temporary, file)
    except OSError:  # a full disk, perhaps, which has room for smaller files
        temporary.unlink(missing_ok=True)
        raise
