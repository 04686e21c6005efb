"""The NPZ contract (ptycho.scans.rawdata), read without refusing what is wrong with it, so that it can be inspected.

Amplitude `diff3d` (alias `diffraction`), or counts (`counts`, or an integer type); zero frequency at N//2. Positions in
object pixels, patch index N//2 at (y, x), in the frame of `objectGuess`. `mask` is True where valid, `pixel_size` in
metres.
"""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import KEYS, PATTERN_KEYS, read_npz, stack_first

NAME, SUFFIXES = "npz", (".npz",)

HOLDS = frozenset({"patterns", "positions", "probe", "object", "mask"})


def names(path: Path) -> set[str]:
    """The arrays in an NPZ file; none for a file that is not one, or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return set()


def recognises(path: Path) -> bool:
    """Whether the file has any of the contract's required keys."""
    return bool(names(path).intersection((*PATTERN_KEYS, "xcoords", "ycoords", "probeGuess")))


def read(path: Path) -> Scan:
    """Read the file. Patterns that were saved uncompressed stay in it until they are indexed.

    Raises DataError for a file that is damaged or pickled, and for patterns that are missing twice over.
    """
    given = [key for key in PATTERN_KEYS if key in names(path)]
    if len(given) > 1:
        raise DataError(f"{path}: found {' and '.join(given)}; expected one of the keys {', '.join(PATTERN_KEYS)}")
    unread = {key: array for key in given if (array := mapped(path, key)) is not None}
    arrays = {**read_npz(path, [key for key in KEYS if key not in unread]), **unread}
    patterns = arrays[given[0]] if given else None
    x, y = (_line(path, arrays, key) for key in ("xcoords", "ycoords"))
    if patterns is not None and x is not None:
        with suppress(DataError):  # an odd shape is for inspection to name
            patterns = stack_first(given[0], patterns, x)
    guess = arrays.get("objectGuess")
    return Scan(
        patterns=patterns,
        amplitude=bool(given) and given[0] != "counts" and arrays[given[0]].dtype.kind not in "iu",
        x=x,
        y=y,
        metres=False,
        x_start=_line(path, arrays, "xcoords_start"),
        y_start=_line(path, arrays, "ycoords_start"),
        scan_index=arrays.get("scan_index"),
        probe=arrays.get("probeGuess"),
        object=guess,
        object_center=(guess.shape[0] / 2, guess.shape[1] / 2) if guess is not None and guess.ndim == 2 else None,
        mask=mask.astype(bool) if (mask := arrays.get("mask")) is not None else None,
        nphotons=_number(path, arrays, "nphotons"),
        intensity_scale=_number(path, arrays, "intensity_scale"),
        pixel_size=_number(path, arrays, "pixel_size"),
    )


def write(path: Path, scan: Scan) -> None:
    """Write the scan as RawData.save does: counts become amplitude with intensity_scale 1, metres become pixels."""
    scan.rawdata().save(path)


def mapped(path: Path, key: str) -> NDArray[Any] | None:
    """The array mapped from the file, or None if it is compressed, pickled, or not to be had this way."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{key}.npy")
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        with open(path, "rb") as file:
            file.seek(info.header_offset + 26)  # the lengths of the name and of the extra field (APPNOTE 4.3.7)
            lengths = np.frombuffer(file.read(4), "<u2")
            file.seek(info.header_offset + 30 + int(lengths.sum()))
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = reader(file)
            if dtype.hasobject:
                return None
            return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # read_npz says what is wrong


def _line(path: Path, arrays: dict[str, NDArray[Any]], key: str) -> NDArray[np.float64] | None:
    if key not in arrays:
        return None
    if arrays[key].ndim != 1 or arrays[key].dtype.kind not in "fiu":
        raise DataError(f"{path}: {key} is {arrays[key].dtype} {arrays[key].shape}; expected real numbers (M,)")
    return arrays[key].astype(np.float64)


def _number(path: Path, arrays: dict[str, NDArray[Any]], key: str) -> float | None:
    if key not in arrays:
        return None
    if arrays[key].size != 1 or arrays[key].dtype.kind not in "fiu":
        raise DataError(f"{path}: {key} is {arrays[key].dtype} {arrays[key].shape}; expected one number")
    return float(arrays[key].item())
