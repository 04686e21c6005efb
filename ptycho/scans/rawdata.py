"""RawData: a scan and what is known about it, and its NPZ file."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.files import replacing

PATTERN_KEYS = ("diff3d", "diffraction", "counts")  # the contract's name, its alias, and photon counts

OPTIONAL_KEYS = (
    *("objectGuess", "scan_index", "xcoords_start", "ycoords_start", "nphotons", "intensity_scale"),
    *("mask", "guard", "pixel_size"),
)
BATCH = 1024
"""Patterns, or positions, looked at together."""
KEYS = (*PATTERN_KEYS, "xcoords", "ycoords", "probeGuess", *OPTIONAL_KEYS)


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
    mask             (N, N) bool, True where the detector is to be believed
    guard            (N, N) bool, True for pixels that no fit sees: how well they are predicted tells of overfitting
    pixel_size       side of an object pixel, metres

    Wider and narrower floats are converted to these types; arrays of these types are kept, not copied, so that patterns
    mapped from a file stay there. Raises DataError, naming the field, for anything else.
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
    mask: NDArray[np.bool_] | None = None
    guard: NDArray[np.bool_] | None = None
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        diff3d = _convert("diff3d", self.diff3d, np.float32, "f", "an amplitude of floats", (3,))
        M, N = diff3d.shape[:2]
        if M == 0:
            raise DataError(f"diff3d holds no patterns (shape {diff3d.shape}); expected 1 or more")
        if diff3d.shape[2] != N or N < 2 or N % 2:
            raise DataError(f"diff3d has shape {diff3d.shape}; expected (M, N, N), square patterns with N even")
        if (low := diff3d.min()) < 0:
            raise DataError(f"diff3d holds negative amplitude (as low as {low:.6g}); expected values >= 0")
        probe = _convert("probeGuess", self.probeGuess, np.complex64, "fc", "complex numbers", (2, 3))
        if probe.shape[-2:] != (N, N) or probe.size == 0:
            raise DataError(f"probeGuess has shape {probe.shape}; expected (N, N) or (L, N, N), N = {N} as in diff3d")
        values: dict[str, Any] = {"diff3d": diff3d, "probeGuess": probe}
        for name in ("xcoords", "ycoords", "xcoords_start", "ycoords_start", "scan_index"):
            if (array := getattr(self, name)) is not None or name in ("xcoords", "ycoords"):
                if name == "scan_index":
                    values[name] = _convert(name, array, np.int64, "iu", "integers", (1,))
                else:
                    values[name] = _convert(name, array, np.float64, "fiu", "real numbers", (1,))
                if len(values[name]) != M:
                    raise DataError(f"{name} has {len(values[name])} values; expected {M}, one a pattern of diff3d")
        if (self.xcoords_start is None) != (self.ycoords_start is None):
            raise DataError("only one of xcoords_start and ycoords_start is there; expected both or neither")
        if self.objectGuess is not None:
            guess = _convert("objectGuess", self.objectGuess, np.complex64, "fc", "complex numbers", (2,))
            values["objectGuess"] = guess
            _require_inside(values["xcoords"], values["ycoords"], guess.shape)
        for name in ("mask", "guard"):
            if (pixels := getattr(self, name)) is not None:
                values[name] = _pixels(name, pixels, N)
        if self.mask is not None and not values["mask"].any():
            raise DataError("mask leaves no valid pixel; expected True where the detector is to be believed")
        for name in ("nphotons", "intensity_scale", "pixel_size"):
            if (value := getattr(self, name)) is not None:
                values[name] = _positive_scalar(name, value)
        for name, value in values.items():
            object.__setattr__(self, name, value)
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

    def __len__(self) -> int:
        """Number of patterns M."""
        return len(self.diff3d)

    def counts(self) -> NDArray[np.int64]:
        """Return the photon counts (M, N, N), rint((s * diff3d)^2); zero outside the mask.

        They are the recorded ones exactly up to 4e6 photons in a pixel. Above, the 24 bits of a float32 amplitude leave
        a relative error below 2e-7, thousands of times less than the Poisson noise.
        Raises DataError without an intensity_scale: an amplitude of unknown scale has no photon counts.
        """
        if self.intensity_scale is None:
            raise DataError(
                "intensity_scale is missing, so the amplitudes cannot be turned into photon counts; expected a scalar "
                "s with counts = (s * diff3d)^2, or a file that holds the integer counts themselves"
            )
        counts = self.diff3d.astype(np.float64)  # float64 before squaring: neither float32 nor uint16 would do
        if self.mask is not None:
            counts *= self.mask
        counts *= self.intensity_scale
        np.square(counts, out=counts)
        return np.rint(counts, out=counts).astype(np.int64)

    def subset(self, indices: Sequence[int] | NDArray[Any] | slice) -> RawData:
        """Return the scan of the patterns selected by `indices` (integers, a boolean mask, or a slice)."""
        names = ("diff3d", "xcoords", "ycoords", "scan_index", "xcoords_start", "ycoords_start")
        chosen = indices if isinstance(indices, slice) else np.asarray(indices)
        if isinstance(chosen, np.ndarray) and chosen.size == 0:
            chosen = chosen.astype(np.int64)  # an empty list is an array of floats to NumPy
        return replace(self, **{n: v[chosen] for n in names if (v := getattr(self, n)) is not None})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the scan to `path` as an uncompressed NPZ file, whole or not at all.

        The file is written under a temporary name beside `path`, flushed to disk and renamed, so that neither a full
        disk nor a crash leaves half a file or harms one that was there. Raises DataError if it cannot be written.
        """
        arrays = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        try:
            with replacing(path) as partial, open(partial, "wb") as file:
                np.savez(file, **arrays)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{path}: cannot be written ({reason}); expected a writable path") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RawData:
        """Read the scan in the NPZ file `path`.

        The patterns are read from `diff3d` or its alias `diffraction`; from `counts`, or either of these with an
        integer type, they are photon counts and become amplitude sqrt(counts) with intensity_scale 1. A stack saved as
        (N, N, M) is turned round if M can be told from N by the number of positions. Unknown keys are left alone.
        Nothing in the file is ever unpickled. Raises DataError naming the file and the key.
        """
        try:
            return cls(**_interpret(read_npz(path)))
        except DataError as error:
            message = str(error)
            raise DataError(message if message.startswith(f"{path}: ") else f"{path}: {message}") from error.__cause__


def read_npz(path: str | os.PathLike[str], known: Collection[str] = KEYS) -> dict[str, NDArray[Any]]:
    """Return the arrays of the keys `known` that the NPZ file `path` holds; DataError if it cannot be read."""
    damage = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, MemoryError, RuntimeError)
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for key in sorted({f"{name}.npy" for name in known}.intersection(archive.namelist())):
                try:
                    with archive.open(key) as member:
                        arrays[key[:-4]] = np.lib.format.read_array(member, allow_pickle=False)
                except damage as error:
                    if "allow_pickle" in str(error):
                        problem = "holds pickled Python objects, which are never loaded; expected an array of numbers"
                    else:
                        problem = f"is damaged or truncated ({error}); expected a complete array"
                    raise DataError(f"{path}: {key[:-4]} {problem}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); expected an NPZ file") from error
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not an NPZ file, or a truncated one ({error}); expected numpy.savez's") from error
    return arrays


def as_counts(values: NDArray[Any], name: str = "counts") -> NDArray[np.int64]:
    """Return photon counts as int64, from integers of any width or floats that are whole numbers.

    Raises DataError, naming `name`, for another type and for negative, fractional or non-finite values.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iuf":
        raise DataError(f"{name} has type {values.dtype}; expected integer photon counts")
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise DataError(f"{name} holds values that are not whole numbers; expected integer photon counts")
    if values.size and values.min() < 0:
        raise DataError(f"{name} holds negative values (as low as {values.min():.6g}); expected photon counts >= 0")
    if values.size and values.max() > 2**53:
        raise DataError(f"{name} holds {values.max():.6g}; expected photon counts below 2^53")
    return values.astype(np.int64)


def _interpret(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Turn the arrays of a file into RawData's arguments: aliases, counts, stacks, scalars."""
    given = [key for key in PATTERN_KEYS if key in arrays]
    if len(given) != 1:
        found = f"found {' and '.join(given)}" if given else "missing"
        raise DataError(f"the diffraction patterns are {found}; expected one of the keys {', '.join(PATTERN_KEYS)}")
    for key in ("xcoords", "ycoords", "probeGuess"):
        if key not in arrays:
            raise DataError(f"{key} is missing; expected the keys diff3d, xcoords, ycoords and probeGuess")
    key = given[0]
    arguments: dict[str, Any] = {name: array for name, array in arrays.items() if name != key}
    for name in ("nphotons", "intensity_scale", "pixel_size"):
        if name in arrays:
            arguments[name] = _positive_scalar(name, arrays[name])
    patterns = stack_first(key, arrays[key], arrays["xcoords"])
    if key == "counts" or patterns.dtype.kind in "iu":
        patterns = np.sqrt(as_counts(patterns, key).astype(np.float64))
        arguments["intensity_scale"] = 1.0  # whatever scale is stored with them, counts are counts
    elif patterns.dtype.kind != "f":
        raise DataError(f"{key} has type {patterns.dtype}; expected an amplitude of floats, or integer counts")
    return {"diff3d": patterns, **arguments}


def stack_first(key: str, patterns: NDArray[Any], xcoords: NDArray[Any]) -> NDArray[Any]:
    """Return the patterns as (M, N, N); an (N, N, M) stack is recognised by the M positions."""
    if patterns.ndim != 3 or patterns.shape[1] == patterns.shape[2] or xcoords.ndim != 1:
        return patterns
    H, W, M = patterns.shape
    if H != W or len(xcoords) != M:
        raise DataError(
            f"{key} has shape {patterns.shape} for {len(xcoords)} positions; expected (M, N, N), or a stack (N, N, M)"
        )
    return np.ascontiguousarray(np.moveaxis(patterns, -1, 0))


def _convert(name: str, values: Any, dtype: Any, kinds: str, wanted: str, ranks: tuple[int, ...]) -> NDArray[Any]:
    """Return `values` as an array of `dtype`, or refuse its type, its rank, or values that are not finite."""
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


def _pixels(name: str, value: Any, N: int) -> NDArray[np.bool_]:
    pixels = np.asarray(value)
    if pixels.dtype.kind not in "biu" or pixels.shape != (N, N) or not np.isin(pixels, (0, 1)).all():
        wanted = "where valid" if name == "mask" else "where held out"
        raise DataError(
            f"{name} is {pixels.dtype} {pixels.shape}; expected (N, N) of True {wanted}, N = {N} as in diff3d"
        )
    return pixels.astype(bool, copy=False)


def _require_inside(x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    """Refuse positions that are not on an object of `shape` (H, W)."""
    outside = (x < 0) | (y < 0) | (x > shape[1] - 1) | (y > shape[0] - 1)
    if outside.any():
        k = int(np.argmax(outside))
        raise DataError(
            f"position {k} (x = {x[k]:.6g}, y = {y[k]:.6g}) lies outside objectGuess of shape {shape}; "
            "expected xcoords and ycoords in its pixels"
        )
