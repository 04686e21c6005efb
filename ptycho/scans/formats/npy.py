"""A single NumPy array (.npy, numpy.lib.format): patterns alone.

    (M, H, W), or a raster (A, B, H, W) with its slow axis first and its rows before its columns: intensity, zero
    frequency at H//2, W//2

Positions, a raster's step and all settings come from a map beside the file. The array is mapped, not loaded. Refused:
other shapes, numbers that are not real, pickled objects.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.archive import naming
from ptycho.scans.formats.scan import Scan

NAME = "npy"
MAGIC = b"\x93NUMPY"


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether it begins as NumPy's arrays do."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(path: Path) -> Scan:
    """Map the array. Raises DataError for what is no stack or raster of patterns."""
    with naming(path):
        values = mapped(path)
        if values.ndim not in (3, 4) or values.dtype.kind not in "fiu":
            found = f"an array {values.dtype} {values.shape}"
            raise DataError(f"{found}; expected real numbers (M, N, N), or a raster (A, B, N, N)")
        return Scan(patterns=values.reshape(-1, *values.shape[-2:]))


def mapped(path: Path) -> NDArray[Any]:
    """The array, mapped from the file. Raises DataError for a damaged one, and for pickled objects."""
    with naming(path):
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"damaged or truncated ({error}); expected a whole array of numbers") from error
