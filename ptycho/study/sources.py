"""What a study is made from, by content: the code of its notebooks and its scan. What was only touched is the same.

Each has a digest in a file of its own, which is written again when the content has changed; make goes by these files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from ptycho.errors import ConfigError
from ptycho.files import NOTEBOOKS, json_if_any, write_if_changed, write_json
from ptycho.study.layout import SOURCES, source


@cache
def digest_of_code(stem: str) -> str:
    """The SHA-256 of the source of each code cell of the notebook called `stem`.

    Outputs, numbers, metadata and the prose between do not count. Raises ValueError where it is no notebook.
    """
    notebook = NOTEBOOKS / f"{stem}.ipynb"
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook}: no notebook ({error}); expected the JSON of one") from error
    code = ["".join(cell["source"]).rstrip() for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def is_current(digest: Path, stem: str) -> bool:
    """Whether the file `digest` holds what :func:`digest_of_code` gives."""
    try:
        return digest.read_text(encoding="utf-8").strip() == digest_of_code(stem)
    except (OSError, UnicodeDecodeError):
        return False


def write(out: Path, stems: Iterable[str], scan: Sequence[Path] | None) -> list[Path]:
    """Write the digests of the notebooks called `stems`, and of the files of a measured `scan`; return what changed."""
    (out / SOURCES).mkdir(parents=True, exist_ok=True)
    digests = {source(stem): digest_of_code(stem) for stem in dict.fromkeys(stems)}
    if scan is not None:
        digests[source("scan")] = _digest_of_files(scan, out / SOURCES / "scan.json")
    return [out / name for name, digest in digests.items() if write_if_changed(out / name, f"{digest}\n")]


def _digest_of_files(paths: Sequence[Path], known: Path) -> str:
    """The SHA-256 of the files' content, read again only where a file's size or a time of it differs from `known`.

    Raises ConfigError where a file cannot be read.
    """
    try:
        marks = {os.fspath(path): _mark(path) for path in paths}
        seen, before = {name: list(mark) for name, mark in marks.items()}, json_if_any(known)
        if before.get("files") == seen:
            return str(before["digest"])
        digest = _sha256(tuple(marks.items()))
    except OSError as error:
        told = f"SCAN: {error.filename} cannot be read ({error.strerror}); expected a scan's file"
        raise ConfigError(told) from error
    write_json(known, {"files": seen, "digest": digest})
    return digest


@cache
def _sha256(marks: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    """Of the files as they are while they have these marks: the seeds of a sweep share one reading."""
    total = hashlib.sha256()
    for name, _ in marks:
        with open(name, "rb") as file:
            while chunk := file.read(2**24):
                total.update(chunk)
    return total.hexdigest()


def _mark(path: Path) -> tuple[int, ...]:
    # the time of the last change of the entry itself: a file put back with its old time has a new one
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
