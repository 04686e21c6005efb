"""PtychoViT pairs: NAME_dp.hdf5 with the patterns and NAME_para.hdf5 with the rest, a ptychodus product without header.

    NAME_dp.hdf5     dp (M, N, N) intensity, zero frequency at the centre
    NAME_para.hdf5   probe (1, L, N, N), object (1, H, W) with pixel_{width,height}_m and center_{x,y}_m,
                     probe_position_{x,y}_m (M,) metres

Patterns and positions are in one order. Positions have the signs and the centre of a ptychodus product (which see);
PtychoViT's own reader puts index N//2 of a patch one pixel further down and right of that, as older pty-chi did, and
passes over the object's centre.
"""

from dataclasses import replace
from pathlib import Path

import h5py

from ptycho.errors import DataError
from ptycho.scans.archive import naming, written
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.xrays import ptychodus_product

NAME, SUFFIXES = "ptychovit", ("_dp.hdf5", "_para.hdf5")
HOLDS = frozenset({"patterns", "positions", "probe", "object"})
ARRAYS = ("dp", "probe", "object", "probe_position_x_m", "probe_position_y_m")


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether it is one of a pair, by the names at the root of an HDF5 file, or by its own name."""
    return "dp" in hdf5 or (bool(hdf5) and path.stem.endswith("_para"))


def read(path: Path) -> Scan:
    """Read the pair that either of its files belongs to. DataError if the other is missing, or for a wrong shape."""
    dp, para = partners(path)
    if missing := [part.name for part in (dp, para) if not part.is_file()]:
        raise DataError(f"{path}: {missing[0]} is missing; expected it beside {path.name}")
    with h5.opened(dp) as file:
        patterns = h5.stack(file, "dp")
    return replace(ptychodus_product.read(para), patterns=patterns, indices=None)


def partners(path: Path) -> list[Path]:
    """Both files of the pair."""
    stem = path.stem.removesuffix("_dp").removesuffix("_para")
    return [path.with_name(f"{stem}_{part}{path.suffix}") for part in ("dp", "para")]


def write(path: Path, scan: Scan) -> None:
    """Write both files of the pair. Raises DataError for what is missing that the pair must have."""
    dp, para = partners(path)
    with written(dp) as partial:
        with h5py.File(partial, "w") as file:
            h5.put_patterns(file, "dp", scan)
        with naming(para):
            ptychodus_product.write(para, scan)
