"""A single NumPy array (.npy, numpy.lib.format): patterns alone.

    (M, H, W), or a raster (A, B, H, W) with its slow axis first and its rows before its columns: intensity, zero
    frequency at H//2, W//2

Positions, a raster's step and all settings come from a map beside the file. The array is mapped, not loaded. Refused:
other shapes, numbers that are not real, pickled objects.
"""

from pathlib import Path

from ptycho.errors import DataError
from ptycho.scans.archive import naming
from ptycho.scans.formats.containers import npz
from ptycho.scans.formats.scan import Scan

NAME = "npy"


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether it begins as NumPy's arrays do."""
    return npz.is_single(path)


def read(path: Path) -> Scan:
    """Map the array. Raises DataError for what is no stack or raster of patterns."""
    with naming(path):
        values = npz.single(path)
        if values.ndim not in (3, 4) or values.dtype.kind not in "fiu":
            found = f"an array {values.dtype} {values.shape}"
            raise DataError(f"{found}; expected real numbers (M, N, N), or a raster (A, B, N, N)")
        raster = (values.shape[0], values.shape[1]) if values.ndim == 4 else None
        return Scan(patterns=values.reshape(-1, *values.shape[-2:]), raster=raster)
