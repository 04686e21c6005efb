"""ptychodus diffraction files (ptychodus.api.io and its npz_diffraction_file, version 1.7), with their product.

HDF5: datasets patterns (M, H, W) intensity, zero frequency at the centre, with attributes detector_pixel_{width,
height}_m; indexes (M,), the scan number of each pattern; bad_pixels (H, W), True where a pixel is not to be believed.
NPZ: patterns, indexes and bad_pixels alone.

Positions, probe and object are in a product beside it, product.h5 or product.npz (or under the file's own name with
`diffraction` replaced by `product`). Patterns and positions are paired by their numbers, not by their order.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho.errors import DataError
from ptycho.scans.archive import naming, written
from ptycho.scans.formats.containers import h5, npz
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.stack import Stack
from ptycho.scans.formats.xrays import ptychodus_product

NAME, SUFFIXES = "ptychodus-diffraction", ("diffraction.h5", "diffraction.hdf5", "diffraction.npz")
HOLDS = frozenset({"patterns", "mask"})
ARRAYS = ("patterns", "indexes", "bad_pixels")
PIXEL = ("detector_pixel_width_m", "detector_pixel_height_m")


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether it holds `patterns` at its root."""
    return "patterns" in hdf5 | arrays


def read(path: Path) -> Scan:
    """Read the file, and the product beside it if there is one. Raises DataError for what does not fit together."""
    with naming(path):
        if npz.names(path):
            arrays: Any = npz.unread(path, ("patterns",), ("patterns", "indexes", "bad_pixels"))
            patterns, indices, bad, side = arrays["patterns"], arrays.get("indexes"), arrays.get("bad_pixels"), None
            if patterns.ndim != 3 or patterns.dtype.kind not in "fiu":
                raise DataError(f"patterns is {patterns.dtype} {patterns.shape}; expected real numbers (M, N, N)")
        else:
            with h5.opened(path) as file:
                patterns = h5.stack(file, "patterns")
                sides = [float(file["patterns"].attrs[key]) for key in PIXEL if key in file["patterns"].attrs]
                side = h5.side(sides, f"detector pixels are {sides} metres; expected square ones")
                indices, bad = h5.array(file, "indexes", "iu"), h5.array(file, "bad_pixels", "bui")
        if indices is not None and (indices.dtype.kind not in "iu" or indices.shape != (len(patterns),)):
            raise DataError(f"indexes is {indices.dtype} {indices.shape}; expected integers ({len(patterns)},)")
    mask = ~bad.astype(bool) if bad is not None and bad.any() else None
    scan = Scan(patterns=patterns, indices=indices, mask=mask, detector_pixel=side or None)
    for product in partners(path):
        if product.exists() and ptychodus_product.recognises(product, h5.names(product), npz.names(product)):
            return _join(path, scan, ptychodus_product.read(product))
    return scan


def _join(path: Path, scan: Scan, product: Scan) -> Scan:
    """Patterns and the positions of the same number, in the order of the patterns."""
    assert scan.patterns is not None
    patterns, x, y, mine, theirs = scan.patterns, product.x, product.y, scan.indices, product.indices
    notes = product.notes
    if mine is not None and theirs is not None and x is not None and y is not None and len(theirs) == len(x):
        if len(np.unique(mine)) < len(mine) or len(np.unique(theirs)) < len(theirs):
            raise DataError(f"{path}: patterns or positions share a number; expected each number once")
        _, a, b = np.intersect1d(mine, theirs, return_indices=True)
        if not len(a):
            raise DataError(f"{path}: no pattern has the number of a position; expected indexes of one scan")
        if left := len(mine) + len(theirs) - 2 * len(a):
            notes += (f"{left} patterns or positions without a partner",)
        a, b = np.sort(a), b[np.argsort(a)]
        if not np.array_equal(a, np.arange(len(mine))):
            patterns = replace(patterns, order=patterns.order[a]) if isinstance(patterns, Stack) else patterns[a]
        x, y, mine = x[b], y[b], mine[a]
    placed = replace(product, x=x, y=y, indices=mine, notes=notes)
    return replace(placed, patterns=patterns, mask=scan.mask, detector_pixel=scan.detector_pixel)


def write(path: Path, scan: Scan) -> None:
    """Write the patterns and their mask, as NPZ where `path` ends so; the rest goes into a product.

    Raises DataError for a scan without patterns, or (HDF5) without the detector's pixel size.
    """
    none = scan.intensity(slice(0))  # refuses a scan without patterns
    assert scan.patterns is not None
    indices = scan.indices if scan.indices is not None else np.arange(len(scan.patterns))
    bad = ~scan.mask if scan.mask is not None else np.zeros(none.shape[1:], bool)
    with written(path) as partial:
        if path.suffix == ".npz":
            np.savez(partial, indexes=indices, patterns=scan.intensity(), bad_pixels=bad)
            return
        if scan.detector_pixel is None:
            raise DataError("the detector's pixel size is unknown; expected detector_pixel, metres")
        with h5py.File(partial, "w") as file:
            item = h5.put_patterns(file, "patterns", scan)
            file["indexes"], file["bad_pixels"] = indices, bad
            for key in PIXEL:
                item.attrs[key] = scan.detector_pixel


def partners(path: Path) -> list[Path]:
    """The products that may lie beside it, in the order in which they are looked for."""
    names = [path.name.replace("diffraction", "product")] if "diffraction" in path.name else []
    return [path.with_name(name) for name in [*names, "product.h5", "product.npz"] if name != path.name]
