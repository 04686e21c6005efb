"""Foreign scan formats: which they are, reading by what a file holds, and writing by what it is to be called."""

import math
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ptycho.config import PARTS
from ptycho.errors import DataError
from ptycho.scans.archive import naming
from ptycho.scans.formats import contract, dectris, mapped, npy, objects, proposal
from ptycho.scans.formats.containers import h5, npz
from ptycho.scans.formats.electrons import emd, hspy, rosetta
from ptycho.scans.formats.scan import MICROSCOPE, Scan
from ptycho.scans.formats.xrays import (
    cxi,
    nexus,
    ptychodus_diffraction,
    ptychodus_product,
    ptychoshelves,
    ptychovit,
    ptyd,
)
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import load_reconstructions

FORMATS: tuple[ModuleType, ...] = (
    *(dectris, nexus, cxi, ptyd, ptychoshelves, ptychovit, ptychodus_diffraction, ptychodus_product),
    *(hspy, emd, contract, npy, rosetta),
)
"""Each with NAME, read(path) and recognises(path, names at the root of an HDF5 file, arrays of an NPZ file); the first
that recognises a file reads it. One of named arrays has ARRAYS, the names that tell it. One that can be written has
SUFFIXES, HOLDS and write(path, scan). One whose scans lie in several files has partners(path)."""
CONTENTS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("patterns", "positions", "probe", "object", "mask", "background")},
    "positions": ("x", "y", "x_start", "y_start", "object_center", "indices"),
}
"""What can be dropped, and its fields in a Scan; the first tells whether it is there."""


def recognised(path: Path) -> ModuleType | None:
    """The first format that takes the file for its own; None where none does."""
    hdf5, arrays = h5.names(path), npz.names(path)
    return next((kind for kind in FORMATS if kind.recognises(path, hdf5, arrays)), None)


def identify(path: str | os.PathLike[str]) -> ModuleType:
    """The format of a file, by its content. DataError for one that is missing, damaged, or of no kind known here."""
    path = Path(path)
    head = _head(path)
    if kind := recognised(path):
        return kind
    raise proposal.refusal(path, head, FORMATS)


def _head(path: Path) -> bytes:
    """The first bytes of a file. DataError for one that is not there, or not to be read."""
    try:
        with open(path, "rb") as file:
            return file.read(8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); expected a scan") from error


def read(path: str | os.PathLike[str], mapping: str | os.PathLike[str] | None = None) -> Scan:
    """The scan in a file of any of the FORMATS, or as a map has it; patterns stay in the file until they are indexed.

    The map is `mapping`, or lies beside the file. Raises DataError.
    """
    return opened(path, mapping)[0]


def opened(path: str | os.PathLike[str], mapping: str | os.PathLike[str] | None = None) -> tuple[Scan, str]:
    """The scan as :func:`read` reads it, and the name of its format. Raises DataError."""
    path = Path(path)
    beside = mapped.beside(path)
    if mapping is None and not beside.is_file():
        kind = identify(path)
        return kind.read(path), kind.NAME
    _head(path)
    told = mapped.load(beside if mapping is None else Path(mapping))
    if "patterns" in told:
        return mapped.read(path, told, None), "by a map"
    kind = identify(path)
    return mapped.read(path, told, kind.read(path)), f"{kind.NAME}, completed by a map"


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """The files that the scan in `path` is read from: itself, its partners, its map, those that HDF5 links to, and so
    on."""
    path = Path(path)
    beside: list[Path] = [*getattr(recognised(path), "partners", lambda _: [])(path), mapped.beside(path)]
    found = [path, *(file for file in beside if file.exists())]
    for file in found:  # which grows while it is walked
        found += [linked for linked in h5.linked(file) if linked not in found]
    return list(dict.fromkeys(found))


def load(path: str | os.PathLike[str]) -> RawData:
    """The scan in a file of any of the FORMATS as RawData. Raises DataError, naming the file."""
    path = Path(path)
    scan, name = opened(path)
    with naming(path):
        return RawData.load(path) if name == contract.NAME else scan.rawdata()


def by_name(path: Path, name: str | None = None) -> ModuleType:
    """The format called `name`, or the first that a path's suffix stands for, of those that can be written.

    Raises DataError for none.
    """
    written = [kind for kind in FORMATS if hasattr(kind, "write")]
    for kind in written:
        if name == kind.NAME or (name is None and path.name.lower().endswith(kind.SUFFIXES)):
            return kind
    known = "; ".join(f"{kind.NAME} ({' '.join(kind.SUFFIXES)})" for kind in written)
    raise DataError(f"{path}: {name or path.suffix or 'no suffix'} names no format; expected one of {known}")


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    to: str | None = None,
    drop: Collection[str] = (),
    pixel_size: float | None = None,
    of: str | os.PathLike[str] | None = None,
    part: str = "train",
    mapping: str | os.PathLike[str] | None = None,
) -> list[str]:
    """Read `source`, write `target` in the format `to` or that of its suffix, and return what was left aside.

    What the target cannot hold is refused unless `drop` names it (of CONTENTS). NPZ holds square patterns: others are
    cropped, padded or binned, as a study does it. `pixel_size`, metres, is for a source
    without its own. An arm's reconstruction.npz needs the scan `of` which it is, and which `part` of it is wanted.
    `mapping` is a map of the source. The target is there whole or not at all. Raises DataError.
    """
    source, target = Path(source), Path(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise DataError(f"{target}: this is the source itself; expected another path")
    kind = by_name(target, to)
    if not npz.names(source).isdisjoint(f"{part}_object" for part in PARTS):
        if of is None:
            raise DataError(f"{source}: the reconstructions of an arm; expected their scan's file after --of")
        scan = _reconstructed(source, load(of), part)
    else:
        scan = read(source, mapping)
    if pixel_size is not None and not 0 < pixel_size < math.inf:
        raise DataError(f"--pixel-size {pixel_size:g}; expected a finite number of metres, above 0")
    if unknown := sorted(set(drop) - set(CONTENTS)):
        raise DataError(f"--drop {' '.join(unknown)}: expected some of {', '.join(CONTENTS)}")
    changes: dict[str, Any] = {field: None for name in drop for field in CONTENTS[name]}
    scan = replace(scan, pixel_size=scan.pixel_size if pixel_size is None else pixel_size, **changes)
    if lost := [n for n, (field, *_) in CONTENTS.items() if getattr(scan, field) is not None and n not in kind.HOLDS]:
        raise DataError(f"{target}: {kind.NAME} cannot hold {', '.join(lost)}; name them after --drop to go without")
    framed: list[str] = []
    if kind is contract:
        from ptycho.scans import faults  # late: faults are found in what formats read

        with naming(source):
            scan, framed = faults.squared(scan)
    with naming(target):
        kind.write(target, scan)
    kept = ("voltage", "step") if kind is contract else ()
    lost = [name for name in MICROSCOPE if getattr(scan, name) is not None and name not in kept]
    settings = [name.replace("_", " ") for name in lost]
    left = [f"{', '.join(settings)}: only the object pixel that follows from them is kept"] if settings else []
    left += ["the dark frame, which is taken off the patterns"] if scan.dark is not None else []
    return [*scan.notes, *left, *framed]


def _reconstructed(path: Path, data: RawData, part: str) -> Scan:
    """One of an arm's reconstructions as a scan without patterns: with the probe and the positions of its scan."""
    parts = load_reconstructions(path)
    if (found := parts.get(part)) is None:
        raise DataError(f"{path}: there is no part {part!r}; expected one of {', '.join(parts)}")
    return objects.as_scan(found, data)
