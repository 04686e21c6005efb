"""The files of a study or sweep, as its record lists them: each with its size, its kind and its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ptycho.study import layout

KINDS = {
    **{".csv": "text/csv", ".html": "text/html", ".md": "text/markdown", ".mk": "text/x-makefile"},
    **{".json": "application/json", ".yaml": "application/yaml", ".ipynb": "application/x-ipynb+json"},
    **{".pdf": "application/pdf", ".png": "image/png", ".npz": "application/zip", ".keras": "application/zip"},
}
"""Media types by suffix. An NPZ file and a saved model are ZIP archives. All other files are plain text."""


class Content(NamedTuple):
    """A file: its address within the folder, its bytes, its media type, and its SHA-256."""

    path: str
    size: int
    kind: str
    sha256: str


def contents(out: Path) -> list[Content]:
    """What the study or sweep in `out` made and was made from, in the order of addresses. A file that goes meanwhile
    is left out."""
    found = []
    for path in sorted({path for folder in (out, *layout.seeds_in(out)) for path in _files(folder)}):
        with suppress(OSError):
            size, sha256 = _digest(path)
            kind = KINDS.get(path.suffix, "text/plain")
            found.append(Content(path.relative_to(out).as_posix(), size, kind, sha256))
    return found


def _files(folder: Path) -> Iterator[Path]:
    for path in layout.leavings(folder):
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file() and not _passing(file.relative_to(folder)):
                yield file


def _passing(path: Path) -> bool:
    """Whether a file is there only while something runs, is the record itself, or of the report's site: its first page
    stands for all that."""
    site = Path(layout.INDEX)
    if site.parent in path.parents:
        return path != site
    return ".partial." in path.name or path.name in (layout.PROGRESS, layout.CRATE) or layout.BACKUP in path.parts


def _digest(path: Path) -> tuple[int, str]:
    total, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            total.update(chunk)
            size += len(chunk)
    return size, total.hexdigest()
