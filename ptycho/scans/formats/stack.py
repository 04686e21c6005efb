"""Patterns that stay in their file until they are indexed: memory holds one batch of them, however long the scan is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.rawdata import as_counts


@dataclass(frozen=True, eq=False)
class Stack:
    """Patterns (M, H, W) in datasets of an HDF5 file, unread.

    parts  the datasets that hold them, one after the other, and how many patterns each holds
    order  (M,) the frames taken, as indices into all of them
    axes   the axes of each dataset in the order slow ... fast, row, column: (0, 1, 2, 3) for a raster (A, B, H, W),
           whose frame number is a B + b
    """

    path: Path
    parts: dict[str, int]
    frame: tuple[int, int]
    dtype: np.dtype[Any]
    order: NDArray[np.int64]
    axes: tuple[int, ...] = (0, 1, 2)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(M, H, W)."""
        return (len(self.order), *self.frame)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, frames: slice | NDArray[Any]) -> NDArray[Any]:
        """Read the patterns selected by a slice, a boolean mask or indices. DataError for a damaged file."""
        wanted = self.order[frames]
        found = np.empty((len(wanted), *self.frame), self.dtype)
        start = 0
        try:
            with h5py.File(self.path, "r") as file:
                for key, size in self.parts.items():
                    here = (wanted >= start) & (wanted < start + size)
                    if here.any():  # HDF5 wants rising indices without repetition
                        rows, back = np.unique(wanted[here] - start, return_inverse=True)
                        found[here] = self._read(file[key], rows)[back]
                    start += size
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            first = next(iter(self.parts))
            raise DataError(f"{self.path}: {first} cannot be read ({error}); expected whole patterns") from error
        return found

    def _read(self, item: h5py.Dataset, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The frames `rows`, rising, of one dataset: a line of the raster at a time."""
        *slow, fast, row, column = self.axes
        found = np.empty((len(rows), *self.frame), item.dtype)
        lines, places = np.divmod(rows, item.shape[fast])
        kept = [axis for axis in range(item.ndim) if axis not in slow]
        order = [kept.index(axis) for axis in (fast, row, column)]
        for line in np.unique(lines):
            here = lines == line
            index: list[Any] = [slice(None)] * item.ndim
            for axis, at in zip(slow, np.unravel_index(line, [item.shape[a] for a in slow]), strict=True):
                index[axis] = int(at)
            at = places[here]
            whole = at[-1] - at[0] + 1 == len(at)  # HDF5 reads a slice faster than a list
            index[fast] = slice(at[0], at[-1] + 1) if whole else at
            found[here] = item[tuple(index)].transpose(order)
        return found


@dataclass(frozen=True, eq=False)
class Frames:
    """Patterns (M, H, W) of the file `path` as a dask array of another library, unread until they are indexed."""

    array: Any
    path: Path

    @property
    def shape(self) -> tuple[int, int, int]:
        """(M, H, W)."""
        M, H, W = self.array.shape
        return M, H, W

    @property
    def dtype(self) -> np.dtype[Any]:
        """In the byte order of this machine."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, frames: slice | NDArray[Any]) -> NDArray[Any]:
        """Read the patterns selected by a slice, a boolean mask or indices. DataError for a damaged file."""
        wanted = np.arange(len(self))[frames]
        if not len(wanted):
            return np.empty((0, *self.shape[1:]), self.dtype)
        try:
            return np.asarray(self.array[wanted].compute(scheduler="synchronous"), self.dtype)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: the frames cannot be read ({error}); expected whole patterns") from error


@dataclass(frozen=True, eq=False)
class Derived:
    """Patterns made from others when they are indexed: `read` gives those selected, `change` makes (m, H, W) of them.

    shape  (M, H, W)
    """

    read: Callable[[slice | NDArray[Any]], NDArray[Any]]
    change: Callable[[NDArray[Any]], NDArray[Any]]
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: slice | NDArray[Any]) -> NDArray[Any]:
        """Make the patterns selected by a slice, a boolean mask or indices. DataError for a damaged file."""
        return self.change(self.read(frames))


def roots(
    read: Callable[[slice], NDArray[Any]], shape: tuple[int, ...], batch: int
) -> tuple[NDArray[np.float32], float | None]:
    """The root of patterns of intensity (M, H, W), read in batches, and its scale: 1 where all are whole, as counts.

    Raises DataError for another type, and for what is negative.
    """
    as_counts(read(slice(0)), "the patterns")  # refuses another type
    found, whole, low, high = np.empty(shape, np.float32), True, 0.0, 0.0
    for start in range(0, len(found), batch):
        values = read(slice(start, start + batch))
        whole = whole and bool(values.dtype.kind in "iu" or (values == np.rint(values)).all())
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        found[start : start + batch] = np.sqrt(np.abs(values.astype(np.float64)))
    if whole:
        as_counts(np.array([low, high]), "the patterns")
    elif low < 0:
        raise DataError(f"the patterns hold negative intensity (as low as {low:.6g}); expected >= 0")
    return found, 1.0 if whole else None
