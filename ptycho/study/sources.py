"""What a study is made from, by content: the code of its notebooks and its scan. What was only touched is the same.

Each has a digest in a file of its own, which is written again when the content has changed; make goes by these files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ptycho.errors import ConfigError, DataError
from ptycho.files import NOTEBOOKS, json_if_any, write_if_changed
from ptycho.study.layout import SOURCES, source

SCAN = f"{SOURCES}/scan.json"
"""What is known of a measured scan."""


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
        known = known_of(scan, out)
        write_if_changed(out / SCAN, json.dumps(known, indent=2) + "\n")
        digests[source("scan")] = known["digest"]
    return [out / name for name, digest in digests.items() if write_if_changed(out / name, f"{digest}\n")]


def known_of(scan: Sequence[Path], out: Path) -> dict[str, Any]:
    """What is known of a scan's files, the first of which names it: their marks as ``files``, the SHA-256 of their
    content as ``digest``, and a pattern's mean ``dose`` in the ``unit`` of DOSES, None where its counts are not known.

    They are read again only where a size or a time differs from what `out` keeps. Raises ConfigError where a file
    cannot be read.
    """
    try:
        marks = tuple((os.fspath(path), _mark(path)) for path in scan)
        before = json_if_any(out / SCAN)
        if before.get("files") == [[name, list(mark)] for name, mark in marks] and "dose" in before:
            return before
        return {"files": marks, "digest": _sha256(marks), **_dose(marks)}
    except OSError as error:
        told = f"SCAN: {error.filename} cannot be read ({error.strerror}); expected a scan's file"
        raise ConfigError(told) from error


Marks = tuple[tuple[str, tuple[int, ...]], ...]
"""Files, and what tells that they are as they were: the seeds of a sweep share one reading."""


@cache
def _sha256(files: Marks) -> str:
    total = hashlib.sha256()
    for name, _ in files:
        with open(name, "rb") as file:
            while chunk := file.read(2**24):
                total.update(chunk)
    return total.hexdigest()


@cache
def _dose(files: Marks) -> dict[str, Any]:
    found: dict[str, Any] = {"dose": None, "unit": None}
    if files:
        from ptycho.scans import exposure, formats, statistics

        with suppress(DataError):  # what is wrong with a scan is told where it is examined
            scan = formats.read(files[0][0])
            told, nphotons = exposure.of_known(scan), statistics.mean_photons(scan)
            if nphotons is not None and (told.particle == exposure.PHOTONS or told.area):
                found = {"dose": told.dose(nphotons), "unit": told.unit}
    return found


def _mark(path: Path) -> tuple[int, ...]:
    # the time of the last change of the entry itself: a file put back with its old time has a new one
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
