"""MATLAB files: version 5 (and 4, 6, 7) by scipy.io, version 7.3 by h5py, both under the same names and axes.

Arrays have MATLAB's axes, (rows, columns, ...). A field of a structure is STRUCTURE/FIELD. Version 7.3 is HDF5, in
which the axes lie the other way round and a complex number is a pair. Version 5 is read into memory as a whole.
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.archive import naming
from ptycho.scans.formats.containers import h5

HEADS = (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")


def is_hdf5(path: Path) -> bool:
    """Whether it is of version 7.3."""
    return h5py.is_hdf5(path)


def names(path: Path) -> set[str]:
    """The variables of a MATLAB file; none for another, or a damaged one."""
    if not path.is_file():
        return set()
    with open(path, "rb") as file:
        head = file.read(max(map(len, HEADS)))
    if head not in HEADS:
        return set()
    if is_hdf5(path):
        return {name for name in h5.names(path) if not name.startswith("#")}
    with suppress(Exception):  # a damaged file may raise anything in SciPy
        from scipy.io import whosmat

        return {name for name, _, _ in whosmat(path)}
    return set()


def arrays(path: Path, keys: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Those of the arrays `keys` that the file holds, or all, numbers alone. Raises DataError for a damaged file."""
    if is_hdf5(path):
        with h5.opened(path) as file:
            keys = [name.lstrip("/") for name, _ in h5.walk(file)] if keys is None else keys
            return {key: _turned(value) for key in keys if (value := _held(file, key)) is not None}
    with naming(path):
        try:
            from scipy.io import loadmat

            wanted = None if keys is None else sorted({key.partition("/")[0] for key in keys})
            found = _flat(loadmat(path, variable_names=wanted, simplify_cells=True))
        except Exception as error:  # a damaged file may raise anything in SciPy
            raise DataError(f"damaged or truncated ({error}); expected a whole MATLAB file") from error
    return {key: value for key, value in found.items() if keys is None or key in keys}


def _flat(held: dict[str, Any], prefix: str = "") -> dict[str, NDArray[Any]]:
    """The arrays of numbers in structures, under STRUCTURE/FIELD."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in held.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}/")
        elif not name.startswith("__") and np.asarray(value).dtype.kind in "fciub":
            found[f"{prefix}{name}"] = np.asarray(value)
    return found


def _held(file: h5py.File, key: str) -> NDArray[Any] | None:
    item = file.get(key)
    if not isinstance(item, h5py.Dataset) or "MATLAB_empty" in item.attrs:
        return None
    return h5.array(file, key, "fciubV") if item.dtype.kind != "O" else None


def _turned(value: NDArray[Any]) -> NDArray[Any]:
    """With MATLAB's axes; a pair (real, imag) as a complex number."""
    if value.dtype.names == ("real", "imag"):
        value = value["real"] + 1j * value["imag"]
    return value.T
