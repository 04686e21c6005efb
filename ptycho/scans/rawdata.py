"""RawData: a scan and what is known about it, and its NPZ file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.archive import naming, read_npz, stack_first, written
from ptycho.scans.exposure import ELECTRONS, PHOTONS

PATTERN_KEYS = ("diff3d", "diffraction", "counts")  # the contract's name, its alias, and photon counts
SCALARS = ("nphotons", "intensity_scale", "background", "pixel_size", "energy", "voltage")
BATCH = 1024
"""Patterns, or positions, looked at together."""
COMPLEX = (np.complex64, "fc", "complex numbers")
REAL = (np.float64, "fiu", "real numbers")
ARRAYS: dict[str, tuple[Any, str, str, tuple[int, ...]]] = {
    "diff3d": (np.float32, "f", "an amplitude of floats", (3,)),
    "probeGuess": (*COMPLEX, (2, 3)),
    **dict.fromkeys(("xcoords", "ycoords", "xcoords_start", "ycoords_start", "step"), (*REAL, (1,))),
    "scan_index": (np.int64, "iu", "integers", (1,)),
    "objectGuess": (*COMPLEX, (2,)),
}
"""Of each array its type, the kinds of type that become it and their name, and how many dimensions it may have."""
REQUIRED = ("diff3d", "xcoords", "ycoords", "probeGuess")
EACH = ("xcoords", "ycoords", "xcoords_start", "ycoords_start", "scan_index")
"""One value a pattern."""


@dataclass(frozen=True, eq=False)
class RawData:
    """A ptychographic scan of M patterns of N x N pixels.

    diff3d           (M, N, N) float32, diffraction amplitude sqrt(counts) / intensity_scale, zero frequency at N//2
    xcoords, ycoords (M,) float64, object pixels: patch index N//2 lies at (y, x) of the object
    probeGuess       (N, N) complex64, or (L, N, N) for L incoherent modes
    objectGuess      (H, W) complex64, the known or guessed object, in whose frame the positions are
    scan_index       (M,) int64, which scan each pattern belongs to
    xcoords_start, ycoords_start  (M,) float64, nominal positions before any correction
    nphotons         expected photons per pattern, mean over the scan
    intensity_scale  s, with counts = (s * diff3d)^2
    background       photons per pixel known to be counted beside those of the scan
    mask             (N, N) bool, True where the detector is to be believed
    guard            (N, N) bool, True for pixels that no fit sees: how well they are predicted tells of overfitting
    pixel_size, energy  side of an object pixel, metres; of the photons, joules
    voltage, step    of electrons: volts; (2,) float64, metres (dy, dx) from one row and column of a raster to the next

    Other floats are converted; arrays of these types are not copied. Raises DataError, naming the field, for the rest.
    """

    diff3d: NDArray[np.float32]
    xcoords: NDArray[np.float64]
    ycoords: NDArray[np.float64]
    probeGuess: NDArray[np.complex64]
    objectGuess: NDArray[np.complex64] | None = None
    scan_index: NDArray[np.int64] | None = None
    xcoords_start: NDArray[np.float64] | None = None
    ycoords_start: NDArray[np.float64] | None = None
    nphotons: float | None = None
    intensity_scale: float | None = None
    background: float | None = None
    mask: NDArray[np.bool_] | None = None
    guard: NDArray[np.bool_] | None = None
    pixel_size: float | None = None
    energy: float | None = None
    voltage: float | None = None
    step: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for name in (*ARRAYS, *SCALARS):
            if (value := getattr(self, name)) is not None or name in REQUIRED:
                value = _array(name, value) if name in ARRAYS else _positive_scalar(name, value)
                object.__setattr__(self, name, value)
        (M, N), probe = self.diff3d.shape[:2], self.probeGuess.shape
        if M == 0:
            raise DataError(f"diff3d holds no patterns (shape {self.diff3d.shape}); expected 1 or more")
        if self.diff3d.shape[2] != N or N < 2 or N % 2:
            raise DataError(f"diff3d has shape {self.diff3d.shape}; expected (M, N, N), square patterns with N even")
        if (low := self.diff3d.min()) < 0:
            raise DataError(f"diff3d holds negative amplitude (as low as {low:.6g}); expected values >= 0")
        if probe[-2:] != (N, N) or 0 in probe:
            raise DataError(f"probeGuess has shape {probe}; expected (N, N) or (L, N, N), N = {N} as in diff3d")
        for name in EACH:
            if (values := getattr(self, name)) is not None and len(values) != M:
                raise DataError(f"{name} has {len(values)} values; expected {M}, one a pattern of diff3d")
        if self.step is not None and (self.step.shape != (2,) or not (self.step > 0).all()):
            raise DataError(f"step is {self.step}; expected two lengths > 0, metres (dy, dx)")
        if (self.xcoords_start is None) != (self.ycoords_start is None):
            raise DataError("only one of xcoords_start and ycoords_start is there; expected both or neither")
        if self.objectGuess is not None:
            shape, x, y = self.objectGuess.shape, self.xcoords, self.ycoords
            if (beyond := outside(x, y, shape)).any():
                k = int(np.argmax(beyond))
                place = f"position {k} (x = {x[k]:.6g}, y = {y[k]:.6g}) lies outside objectGuess of shape {shape}"
                raise DataError(f"{place}; expected xcoords and ycoords in its pixels")
        for name, word in (("mask", "valid"), ("guard", "held out")):
            if (value := getattr(self, name)) is not None:
                pixels = np.asarray(value)
                if pixels.dtype.kind not in "biu" or pixels.shape != (N, N) or not np.isin(pixels, (0, 1)).all():
                    wanted = f"(N, N) of True where {word}, N = {N} as in diff3d"
                    raise DataError(f"{name} is {pixels.dtype} {pixels.shape}; expected {wanted}")
                object.__setattr__(self, name, pixels.astype(bool, copy=False))
        if self.mask is not None and not self.mask.any():
            raise DataError("mask leaves no valid pixel; expected True where the detector is to be believed")
        if self.fitted is not None and not self.fitted.any():
            raise DataError("guard holds out every valid pixel; expected some that are left to fit")

    @property
    def N(self) -> int:
        """Side of a diffraction pattern, in pixels."""
        return self.diff3d.shape[-1]

    @property
    def fitted(self) -> NDArray[np.bool_] | None:
        """The pixels (N, N) that fits see: the valid ones that are not held out. None for all."""
        if self.guard is None:
            return self.mask
        return ~self.guard if self.mask is None else self.mask & ~self.guard

    @property
    def particle(self) -> str:
        """What is counted: 'electrons' where their voltage is known, or their raster and no energy of photons."""
        return ELECTRONS if self.voltage is not None or (self.step is not None and not self.energy) else PHOTONS

    def __len__(self) -> int:
        """Number of patterns M."""
        return len(self.diff3d)

    def counts(self) -> NDArray[np.int64]:
        """Return the photon counts (M, N, N), rint((s * diff3d)^2); zero outside the mask.

        Up to 4e6 photons in a pixel they are exactly the recorded ones. Above, the 24 bits of a float32 amplitude leave
        a relative error below 2e-7. Raises DataError without an intensity_scale.
        """
        if self.intensity_scale is None:
            raise DataError(
                "intensity_scale is missing, so the amplitudes cannot be turned into photon counts; expected a scalar "
                "s with counts = (s * diff3d)^2, or a file that holds the integer counts themselves, or a map beside "
                f"it with `gain`, the detector units for one of the {self.particle}"
            )
        counts = np.empty(self.diff3d.shape, np.int64)
        for start in range(0, len(self), BATCH):
            # float64 before squaring: neither float32 nor uint16 would do
            amplitude = self.diff3d[start : start + BATCH].astype(np.float64)
            if self.mask is not None:
                amplitude *= self.mask
            counts[start : start + BATCH] = np.rint(np.square(amplitude * self.intensity_scale))
        return counts

    def subset(self, indices: Sequence[int] | NDArray[Any] | slice) -> RawData:
        """Return the scan of the patterns selected by `indices` (integers, a boolean mask, or a slice)."""
        if not isinstance(indices, slice):  # an empty list is an array of floats to NumPy
            indices = np.asarray(indices) if len(indices) else np.zeros(0, np.int64)
        return replace(self, **{n: v[indices] for n in ("diff3d", *EACH) if (v := getattr(self, n)) is not None})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the scan to `path` as an uncompressed NPZ file, whole or not at all. Raises DataError."""
        arrays = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        with written(path) as partial, open(partial, "wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RawData:
        """Read the scan in the NPZ file `path`.

        The patterns are `diff3d` or its alias `diffraction`. Those under `counts`, or of an integer type, are photon
        counts: they become amplitude sqrt(counts) with intensity_scale 1. A stack (N, N, M) is turned round if the
        number of positions tells M from N. Other keys are left alone, and nothing is ever unpickled.
        Raises DataError naming the file and the key.
        """
        with naming(path):
            return cls(**_interpret(read_npz(path, KEYS)))


KEYS = (*PATTERN_KEYS, *(field.name for field in fields(RawData) if field.name != "diff3d"))


def outside(x: NDArray[Any], y: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which positions (M,) lie outside an object of `shape` (H, W)."""
    return (x < 0) | (y < 0) | (x > shape[1] - 1) | (y > shape[0] - 1)


def as_counts(values: NDArray[Any], name: str = "counts") -> NDArray[np.int64]:
    """Return photon counts as int64, from integers of any width or floats that are whole numbers.

    Raises DataError, naming `name`, for another type and for negative, fractional or non-finite values.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iuf":
        raise DataError(f"{name} has type {values.dtype}; expected integer photon counts")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise DataError(f"{name} holds values that are not whole numbers; expected integer photon counts")
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if low < 0:
        raise DataError(f"{name} holds negative values (as low as {low:.6g}); expected photon counts >= 0")
    if high > 2**53:
        raise DataError(f"{name} holds {high:.6g}; expected photon counts below 2^53")
    return values.astype(np.int64, copy=False)


def _interpret(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Turn the arrays of a file into RawData's arguments: aliases, counts, stacks, scalars."""
    given = [key for key in PATTERN_KEYS if key in arrays]
    if len(given) != 1:
        found = f"found {' and '.join(given)}" if given else "missing"
        raise DataError(f"the diffraction patterns are {found}; expected one of the keys {', '.join(PATTERN_KEYS)}")
    if missing := [key for key in REQUIRED[1:] if key not in arrays]:
        raise DataError(f"{missing[0]} is missing; expected the keys diff3d, xcoords, ycoords and probeGuess")
    key = given[0]
    rest = {name: array for name, array in arrays.items() if name != key}
    arguments: dict[str, Any] = {n: _positive_scalar(n, v) if n in SCALARS else v for n, v in rest.items()}
    patterns = stack_first(key, arrays[key], arrays["xcoords"])
    if key == "counts" or patterns.dtype.kind in "iu":
        patterns = np.sqrt(as_counts(patterns, key).astype(np.float64))
        arguments["intensity_scale"] = 1.0  # whatever scale is stored with them, counts are counts
    elif patterns.dtype.kind != "f":
        raise DataError(f"{key} has type {patterns.dtype}; expected an amplitude of floats, or integer counts")
    return {"diff3d": patterns, **arguments}


def _array(name: str, values: Any) -> NDArray[Any]:
    """The array `name` in the type of ARRAYS. Its type, its rank, or values that are not finite are refused."""
    dtype, kinds, wanted, ranks = ARRAYS[name]
    array = np.asarray(values)
    if array.dtype.kind not in kinds:
        raise DataError(f"{name} has type {array.dtype}; expected {wanted}")
    if array.ndim not in ranks:
        raise DataError(f"{name} has shape {array.shape}; expected {' or '.join(map(str, ranks))} dimensions")
    with np.errstate(over="ignore"):  # too large for the type becomes infinite, and is refused below
        converted = array.astype(dtype, copy=False)
    for start in range(0, len(converted), BATCH):  # of an array larger than memory, no mask that is as long
        if not (finite := np.isfinite(converted[start : start + BATCH])).all():
            k, *rest = (int(i) for i in np.argwhere(~finite)[0])
            first = (start + k, *rest)
            raise DataError(f"{name} holds {array[first]} at index {first}; expected finite {np.dtype(dtype)} values")
    return converted


def _positive_scalar(name: str, value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "fiu" or not (np.isfinite(array).all() and (array > 0).all()):
        found = array.item() if array.size == 1 else f"an array of shape {array.shape}"
        raise DataError(f"{name} is {found}; expected one finite number > 0")
    return float(array.item())
