"""Foreign scan formats: which they are, reading by what a file holds, and writing by what it is to be called."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ptycho.errors import DataError
from ptycho.scans.archive import naming
from ptycho.scans.formats import cxi, h5, npz, ptychodus_diffraction, ptychodus_product, ptychovit, ptyd, reconstruction
from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import RawData

FORMATS: tuple[ModuleType, ...] = (cxi, ptyd, ptychovit, ptychodus_diffraction, ptychodus_product, npz)
"""Each with NAME, SUFFIXES, HOLDS, recognises(path), read(path), write(path, scan); the first to recognise, reads.
One whose scans lie in several files has partners(path), too."""

PARTS = {"patterns": "patterns", "positions": "x", "probe": "probe", "object": "object", "mask": "mask"}


def identify(path: str | os.PathLike[str]) -> ModuleType:
    """The format of a file, by its content. DataError for one that is missing, damaged, or of no kind known here."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); expected a scan") from error
    for kind in FORMATS:
        if kind.recognises(path):
            return kind
    known = ", ".join(kind.NAME for kind in FORMATS)
    if head == h5.MAGIC:
        with h5.opened(path) as h5file:
            found = f"an HDF5 file that holds {', '.join(sorted(h5file)[:8]) or 'nothing'}"
    elif head.startswith(b"PK"):
        names = npz.names(path)
        if not names:
            raise DataError(f"{path}: damaged or truncated; expected a whole NPZ file")
        found = f"an NPZ file that holds {', '.join(sorted(names)[:8])}"
    elif head.startswith(b"\x93NUMPY"):
        found = "a single NumPy array"
    else:
        found = f"a file that begins {head!r}"
    raise DataError(f"{path}: {found}, of no kind known here; expected one of {known}")


def read(path: str | os.PathLike[str]) -> Scan:
    """The scan in a file of any of the FORMATS, its patterns left there until they are indexed. Raises DataError."""
    return identify(path).read(Path(path))


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """The files that the scan in `path` is read from: itself, its partners, and those that HDF5 links to.

    Of a file of no kind known here, itself. Raises DataError where it cannot be read.
    """
    path = Path(path)
    kind = next((kind for kind in FORMATS if kind.recognises(path)), None)
    found = [path, *(file for file in getattr(kind, "partners", lambda _: [])(path) if file.exists())]
    found += [linked for file in found for linked in h5.linked(file)]
    return list(dict.fromkeys(found))


def load(path: str | os.PathLike[str]) -> RawData:
    """The scan in a file of any of the FORMATS as RawData. Raises DataError, naming the file."""
    path = Path(path)
    kind = identify(path)
    if kind is npz:
        return RawData.load(path)
    with naming(path):
        return kind.read(path).rawdata()


def by_name(path: Path, name: str | None = None) -> ModuleType:
    """The format called `name`, or the first that a path's suffix stands for. Raises DataError for none."""
    for kind in FORMATS:
        if name == kind.NAME or (name is None and path.name.lower().endswith(kind.SUFFIXES)):
            return kind
    known = "; ".join(f"{kind.NAME} ({' '.join(kind.SUFFIXES)})" for kind in FORMATS)
    raise DataError(f"{path}: {name or path.suffix or 'no suffix'} names no format; expected one of {known}")


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str | None = None,
    drop: Collection[str] = (),
    pixel_size: float | None = None,
    of: str | os.PathLike[str] | None = None,
    part: str = "train",
) -> list[str]:
    """Read `source`, write `target` in the format `to` or that of its suffix, and return what was left aside.

    What the target cannot hold is refused unless `drop` names it (of PARTS). `pixel_size`, metres, is for a source
    without its own. An arm's reconstruction.npz needs the scan `of` which it is, and which `part` of it is wanted.
    The target is there whole or not at all. Raises DataError.
    """
    source, target = Path(source), Path(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise DataError(f"{target}: this is the source itself; expected another path")
    kind = by_name(target, to)
    if reconstruction.recognises(source):
        if of is None:
            raise DataError(f"{source}: the reconstructions of an arm; expected their scan's file after --of")
        scan = reconstruction.read(source, load(of), part)
    else:
        scan = read(source)
    if unknown := sorted(set(drop) - set(PARTS)):
        raise DataError(f"--drop {' '.join(unknown)}: expected some of {', '.join(PARTS)}")
    changes: dict[str, Any] = {PARTS[part]: None for part in drop}
    if "positions" in drop:
        changes |= dict.fromkeys(("y", "x_start", "y_start", "object_center", "indices"))
    if pixel_size is not None:
        changes["pixel_size"] = pixel_size
    scan = replace(scan, **changes)
    lost = [part for part, field in PARTS.items() if getattr(scan, field) is not None and part not in kind.HOLDS]
    if lost:
        raise DataError(f"{target}: {kind.NAME} cannot hold {', '.join(lost)}; name them after --drop to go without")
    with naming(target):
        kind.write(target, scan)
    return list(scan.notes)
