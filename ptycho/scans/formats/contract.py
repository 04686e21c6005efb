"""The NPZ contract (ptycho.scans.rawdata), read without refusing what is wrong with it, so that it can be inspected.

Amplitude `diff3d` (alias `diffraction`), or counts (`counts`, or an integer type); zero frequency at N//2. Positions in
object pixels, patch index N//2 at (y, x), in the frame of `objectGuess`. `mask` is True where valid, `pixel_size` in
metres.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.archive import naming, stack_first
from ptycho.scans.formats.containers import npz
from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import KEYS, PATTERN_KEYS, SCALARS

NAME, SUFFIXES = "npz", (".npz",)
LINES = {"x": "xcoords", "y": "ycoords", "x_start": "xcoords_start", "y_start": "ycoords_start"}
HOLDS = frozenset({"patterns", "positions", "probe", "object", "mask", "background"})
ARRAYS = (PATTERN_KEYS[0], "xcoords", "ycoords", "probeGuess")
KINDS = {"probeGuess": "fc", "objectGuess": "fc", "mask": "biu", "scan_index": "iu"}


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether any of the arrays of an NPZ file has one of the contract's names."""
    return not arrays.isdisjoint((*PATTERN_KEYS, *ARRAYS))


def read(path: Path) -> Scan:
    """Read the file, uncompressed patterns when they are indexed. DataError for damage, pickles, and patterns twice."""
    given = [key for key in PATTERN_KEYS if key in npz.names(path)]
    with naming(path):
        if len(given) > 1:
            raise DataError(f"found {' and '.join(given)}; expected one of the keys {', '.join(PATTERN_KEYS)}")
        arrays = npz.unread(path, given, KEYS)
        found: dict[str, Any] = {name: _real(arrays, key) for name, key in LINES.items()}
        found |= {name: _real(arrays, name, one=True) for name in SCALARS}
        for key, kinds in KINDS.items():
            if key in arrays and arrays[key].dtype.kind not in kinds:
                raise DataError(f"{key} has type {arrays[key].dtype}; expected numbers of kind {kinds!r}")
    step = _real(arrays, "step")
    patterns, guess, mask = (arrays.get(key) for key in (given[0] if given else "", "objectGuess", "mask"))
    if patterns is not None:
        found["amplitude"] = given[0] != "counts" and patterns.dtype.kind not in "iu"
        if found["x"] is not None:
            with suppress(DataError):  # an odd shape is for inspection to name
                patterns = stack_first(given[0], patterns, found["x"])
        if len(set(patterns.shape)) == 1 and patterns is not arrays[given[0]]:
            found["notes"] = (f"the order (M, N, N) of {given[0]}: in (N, N, M) the totals are far more even",)
    return Scan(
        patterns=patterns,
        metres=False,
        scan_index=arrays.get("scan_index"),
        probe=arrays.get("probeGuess"),
        object=guess,
        object_center=(guess.shape[0] / 2, guess.shape[1] / 2) if guess is not None and guess.ndim == 2 else None,
        mask=None if mask is None else mask.astype(bool),
        step=None if step is None else tuple(step.tolist()),
        **found,
    )


def write(path: Path, scan: Scan) -> None:
    """Write the scan as RawData.save does: counts become amplitude with intensity_scale 1, metres become pixels."""
    scan.rawdata().save(path)


def _real(arrays: dict[str, NDArray[Any]], key: str, one: bool = False) -> Any:
    """The array (M,) of this key, or its `one` number as a float; None where there is none. DataError for another."""
    if (found := arrays.get(key)) is None:
        return None
    fits, wanted = (found.size == 1, "one number") if one else (found.ndim == 1, "real numbers (M,)")
    if not fits or found.dtype.kind not in "fiu":
        raise DataError(f"{key} is {found.dtype} {found.shape}; expected {wanted}")
    return float(found.item()) if one else found
