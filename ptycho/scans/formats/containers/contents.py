"""The arrays in a file whose layout is not known: of HDF5, NPZ, NumPy and MATLAB files alike.

MATLAB's names and axes are MATLAB's (see mat); the one array of a NumPy file is called `array`.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.archive import naming
from ptycho.scans.formats.containers import h5, mat, npz
from ptycho.scans.formats.stack import Stack

ONE = "array"
MOST = 2000
"""Arrays listed of one file."""
RASTER, FRAMES = ("slow", "fast", "row", "column"), ("frame", "row", "column")
"""What the axes of patterns are called."""


@dataclass(frozen=True)
class Entry:
    """An array in a file: its shape, its type, and its unit, where an attribute states it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


def listing(path: Path) -> dict[str, Entry]:
    """The arrays in a file; none of a file of another kind, or a damaged one."""
    with suppress(DataError):
        if mat.names(path) and not mat.is_hdf5(path):
            return {key: Entry(value.shape, value.dtype) for key, value in mat.arrays(path).items()}
        if h5.names(path):
            turned = bool(mat.names(path))
            with h5.opened(path) as file:
                items = ((name.lstrip("/"), item) for name, item in h5.walk(file) if isinstance(item, h5py.Dataset))
                held = {k: v for k, v in islice(items, MOST) if not k.startswith("#") and v.shape is not None}
                return {k: Entry(v.shape[::-1] if turned else v.shape, v.dtype, _unit(v)) for k, v in held.items()}
        if npz.names(path):
            return {key: Entry(*found) for key, found in npz.headers(path).items()}
        if npz.is_single(path):
            array = npz.single(path)
            return {ONE: Entry(array.shape, array.dtype)}
    return {}


def _unit(item: h5py.Dataset) -> str:
    return h5.text(item.attrs.get("units", item.attrs.get("unit", "")))


def array(path: Path, key: str) -> NDArray[Any]:
    """One array in full. Raises DataError, with what the file holds, for one that is not there."""
    with naming(path):
        found: NDArray[Any] | None
        if mat.names(path):
            found = mat.arrays(path, [key]).get(key)
        elif h5.names(path):
            with h5.opened(path) as file:
                found = h5.array(file, key, "fciub")
        elif npz.names(path):
            found = npz.unread(path, (), [key]).get(key)
        else:
            found = npz.single(path) if key == ONE else None
        if found is None:
            raise _absent(key, listing(path))
        return found


def _absent(key: str, held: dict[str, Entry]) -> DataError:
    return DataError(f"there is no array {key}; found {', '.join([*held][:8]) or 'none'}")


def stack(path: Path, key: str, axes: Sequence[str]) -> tuple[Stack | NDArray[Any], tuple[int, ...]]:
    """Patterns (M, H, W), unread where the file lets them be, and the shape of the scan, (A, B) of a raster or (M,).

    `axes` are the names of RASTER or FRAMES in the order of the array's axes. Raises DataError for others, for an array
    that is not there, and for one of another shape or type.
    """
    with naming(path):
        names = RASTER if len(axes) == len(RASTER) else FRAMES
        held = listing(path)
        if (entry := held.get(key)) is None:
            raise _absent(key, held)
        if sorted(axes) != sorted(names):
            expected = f"{' '.join(RASTER)}, or {' '.join(FRAMES)}, in the order of the array"
            raise DataError(f"the axes of {key} are {' '.join(axes)!r}; expected {expected}")
        if len(entry.shape) != len(axes) or entry.dtype.kind not in "fiu":
            raise DataError(f"{key} is {entry}; expected real numbers with the axes {' '.join(axes)}")
        order = [axes.index(name) for name in names]
        shape = tuple(entry.shape[axis] for axis in order[:-2])
        if h5.names(path):
            turned = [len(axes) - 1 - axis for axis in order] if mat.names(path) else order
            with h5.opened(path) as file:
                found = h5.stack(file, key, axes=tuple(turned))
                assert found is not None  # it is in the listing
                return found, shape
        values = npz.unread(path, [key], [key])[key] if npz.names(path) else array(path, key)
        values = values.transpose(order)
        return values.reshape(-1, *values.shape[-2:]), shape
