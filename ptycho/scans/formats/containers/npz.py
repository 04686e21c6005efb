"""NumPy's files: NPZ archives, read array by array, and single arrays (.npy), which are mapped. Never unpickled."""

import zipfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.archive import DAMAGE, naming, read_npz

MAGIC = b"\x93NUMPY"


def names(path: Path) -> set[str]:
    """The arrays in an NPZ file; none for a file that is not one, or damaged."""
    with suppress(OSError, zipfile.BadZipFile, ValueError, RuntimeError), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}
    return set()


def unread(path: Path, large: Collection[str], keys: Collection[str]) -> dict[str, NDArray[Any]]:
    """The arrays of the file among `keys`, those among `large` mapped from it where they were saved uncompressed."""
    mapped = {key: array for key in large if (array := _mapped(path, key)) is not None}
    return {**read_npz(path, set(keys).difference(mapped)), **mapped}


def _mapped(path: Path, key: str) -> NDArray[Any] | None:
    """The array mapped from the file, or None if it is compressed, pickled, or not to be had this way."""
    damage = (OSError, ValueError, KeyError, zipfile.BadZipFile)  # read_npz says what is wrong
    with suppress(*damage), zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        info = archive.getinfo(f"{key}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        file.seek(info.header_offset + 26)  # the lengths of the name and of the extra field (APPNOTE 4.3.7)
        lengths = np.frombuffer(file.read(4), "<u2")
        file.seek(info.header_offset + 30 + int(lengths.sum()))
        shape, fortran, dtype = _header(file)
        if not dtype.hasobject:
            return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
    return None


def headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of each array of numbers in an NPZ file, without reading them; none of a damaged file."""
    found = {}
    with suppress(*DAMAGE), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                shape, _, dtype = _header(member)
            if not dtype.hasobject:
                found[name.removesuffix(".npy")] = (shape, dtype)
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and type, of the array that begins here."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(file)
    return shape, fortran, dtype


def is_single(path: Path) -> bool:
    """Whether a file begins as a single array does."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def single(path: Path) -> NDArray[Any]:
    """The array, mapped from the file. Raises DataError for a damaged one, and for pickled objects."""
    with naming(path):
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"damaged or truncated ({error}); expected a whole array of numbers") from error
