"""Files that are there whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` (UTF-8): a reader, or a machine that stops, finds the old file or the new one.

    Raises OSError (full disk, no permission) with the old file left as it was and nothing beside it.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial.tmp")
    try:
        with open(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        mode = path.stat().st_mode if path.exists() else 0o666 & ~_umask()
        os.chmod(name, mode & 0o777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_if_changed(path: str | os.PathLike[str], text: str) -> bool:
    """Write `text` to `path` unless it holds just that; its time stays, so that nothing made from it is made again.

    Returns whether it was written. Raises OSError.
    """
    try:
        if Path(path).read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    write_text(path, text)
    return True


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as JSON, whole or not at all.

    Raises ValueError, naming `path`, for NaN, infinity and types that JSON does not have.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be written as JSON: {error}") from error
    write_text(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON. Raises ValueError naming `path` when it is missing, not JSON, or holds NaN or infinity."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
