"""An arm's reconstruction.npz (ptycho.study.arms), as a scan without patterns that other formats can hold."""

from __future__ import annotations

from pathlib import Path

from ptycho.errors import DataError
from ptycho.scans.formats import npz
from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import PARTS, load_reconstructions


def recognises(path: Path) -> bool:
    """Whether the file holds the reconstructions of an arm."""
    return bool({f"{part}_object" for part in PARTS} & npz.names(path))


def read(path: Path, data: RawData, part: str) -> Scan:
    """One of the arm's reconstructions (`part` of PARTS) with the probe and the positions of its scan.

    Raises DataError for a part that the arm does not have, or a file that is not an arm's.
    """
    parts = load_reconstructions(path)
    if part not in parts:
        raise DataError(f"{path}: there is no part {part!r}; expected one of {', '.join(parts)}")
    found = parts[part]
    (H, W), (top, left) = found.object.shape, found.origin_yx
    return Scan(
        x=data.xcoords,
        y=data.ycoords,
        metres=False,
        probe=data.probeGuess,
        object=found.object,
        object_center=(float(top + H / 2), float(left + W / 2)),
        pixel_size=data.pixel_size,
        nphotons=data.nphotons,
    )
