"""Files: naming the one that is at fault, writing one whole or not at all, and reading NPZ archives."""

import os
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config import PATTERN_SIZES
from ptycho.errors import DataError
from ptycho.files import replacing

UNEVEN = 0.5
"""Relative scatter of whole patterns' totals, at most, over that of totals along another axis."""


LARGE, DENSE = 2**28, 400
"""Bytes that are declared, and how often the bytes that are there: beyond both, a file is no scan but a trap."""


DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, MemoryError, RuntimeError)
"""What zipfile and NumPy raise for a damaged archive."""


def too_dense(declared: int, there: int) -> bool:
    """Whether a file declares far more bytes than the compressed ones that are there can hold."""
    return declared > max(LARGE, DENSE * there)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """A DataError raised meanwhile names the file `path` first."""
    try:
        yield
    except DataError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise DataError(f"{path}: {error}") from error.__cause__


@contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file beside `path` that takes its place once it is written; after an error none remains. Raises DataError."""
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # HDF5 says it in three lines
        raise DataError(f"{path}: cannot be written ({reason}); expected a writable path") from error


def read_npz(path: str | os.PathLike[str], known: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return the arrays of the keys `known` that the NPZ file `path` holds; DataError if it cannot be read."""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            keys = sorted({f"{name}.npy" for name in known}.intersection(archive.namelist()))
            declared = sum(archive.getinfo(key).file_size for key in keys)
            if too_dense(declared, os.path.getsize(path)):
                found = f"declares {declared:.3g} bytes in {os.path.getsize(path)}"
                raise DataError(f"{path}: {found}; expected a scan's arrays")
            for key in keys:
                try:
                    with archive.open(key) as member:
                        arrays[key[:-4]] = np.lib.format.read_array(member, allow_pickle=False)
                except DAMAGE as error:
                    problem = f"is damaged or truncated ({error}); expected a complete array"
                    if "allow_pickle" in str(error):
                        problem = "holds pickled Python objects, which are never loaded; expected an array of numbers"
                    raise DataError(f"{path}: {key[:-4]} {problem}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); expected an NPZ file") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not an NPZ file, or a truncated one ({error}); expected numpy.savez's") from error
    return arrays


def stack_first(key: str, patterns: NDArray[Any], xcoords: NDArray[Any]) -> NDArray[Any]:
    """Return the patterns as (M, N, N); an (N, N, M) stack is recognised by the M positions.

    Where M is N, by the totals: those of whole patterns are far more even than those of a row or column of all.
    """
    cubic = patterns.ndim == 3 and len({*patterns.shape, xcoords.size}) == 1 and len(patterns) >= PATTERN_SIZES[0]
    if cubic and patterns.dtype.kind in "fiu":
        first, last = (np.abs(patterns).sum(axis=axes, dtype=np.float64) for axes in ((1, 2), (0, 1)))
        if first.any() and last.any() and last.std() / last.mean() < UNEVEN * first.std() / first.mean():
            return np.ascontiguousarray(np.moveaxis(patterns, -1, 0))
    if patterns.ndim != 3 or patterns.shape[1] == patterns.shape[2] or xcoords.ndim != 1:
        return patterns
    H, W, M = patterns.shape
    if H != W or len(xcoords) != M:
        found = f"{key} has shape {patterns.shape} for {len(xcoords)} positions"
        raise DataError(f"{found}; expected (M, N, N), or a stack (N, N, M)")
    return np.ascontiguousarray(np.moveaxis(patterns, -1, 0))
