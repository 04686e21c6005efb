"""What one pass over a scan's patterns tells of them, a batch in memory at a time. Masked pixels are left unread."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.scans.formats.scan import FLAG, Scan

ALIKE = 0.99
"""Share of the values that have to be whole numbers for all of them to be taken for such."""
LEVELS = 8
"""Different values, at least, that are multiples of the smallest by no chance."""
EXACT = 2**22
"""Counts below it come back exactly from an amplitude in float32."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of patterns (M, H, W); "values" are as the file has them, amplitude or intensity, a dark frame taken off.

    valid            (H, W) bool, the pixels that the mask believes; what follows is of them, and zero elsewhere
    mean, variance   (H, W) float64 of the intensity, values that are not finite counted as zero
    high             (H, W) float64, the greatest intensity of each pixel over the scan
    at_high          (H, W) int64, in how many patterns the pixel has it; patterns that repeat the one before left out
    full             (H, W) int64, in how many patterns the file has the ceiling there, where ``values`` differ from it
    totals           (M,) float64, intensity of each pattern
    unit             one photon: of whole numbers the divisor or 1, otherwise the smallest intensity above zero
    multiples        whether the intensities of the first patterns, LEVELS or more, are whole multiples of the unit
    divisor          the largest number of which all differences of intensities are multiples; 0 where all are equal
    whole            whether all values are whole numbers; squares_whole whether the squares of the others are (to 1e-3)
    bad              how many values are not finite; least the smallest value
    repeated         how many patterns are equal to the one before, and not blank
    left_out         intensity of all masked pixels whose values can be counts, summed over the scan
    ceiling          the largest value that the type of the patterns can hold, infinite for floats
    """

    valid: NDArray[np.bool_]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    high: NDArray[np.float64]
    at_high: NDArray[np.int64]
    full: NDArray[np.int64]
    totals: NDArray[np.float64]
    unit: float
    multiples: bool
    divisor: int
    whole: bool
    squares_whole: bool
    bad: int
    least: float
    repeated: int
    left_out: float
    ceiling: float

    @property
    def lit(self) -> bool:
        """Whether there is any light."""
        return bool(self.mean.sum() > 0)

    @property
    def brightest(self) -> float:
        """The largest intensity of all."""
        return float(self.high.max())


def statistics_of(scan: Scan) -> Statistics:
    """Read all patterns of the scan once. It must have some, real numbers of shape (M, H, W), M > 0."""
    assert scan.patterns is not None
    M, frame = len(scan.patterns), scan.patterns.shape[1:]
    valid = scan.mask if scan.mask is not None and scan.mask.shape == frame else np.ones(frame, bool)
    total, square, last, high = np.zeros(frame), np.zeros(frame), np.zeros(frame), np.full(frame, -np.inf)
    at_high, full = np.zeros(frame, np.int64), np.zeros(frame, np.int64)
    totals, unit, least, whole, left_out = np.zeros(M), np.inf, np.inf, True, 0.0
    divisor, first, known = 0, None, None  # type: int, int | None, NDArray[np.float64] | None
    bad = repeated = small = small_whole = 0
    ceiling = np.inf if scan.patterns.dtype.kind == "f" else float(np.iinfo(scan.patterns.dtype).max)
    for start in range(0, M, scan.batch):
        batch = slice(start, start + scan.batch)
        values = scan.values(batch)
        if scan.dark is not None or scan.gain is not None:
            full += (np.asarray(scan.patterns[batch]) == ceiling).sum(axis=0)
        if not valid.all():
            masked = values[:, ~valid].astype(np.float64)
            left_out += float(masked.sum(where=(masked > 0) & (masked < min(ceiling, FLAG))))
            values = np.where(valid, values, 0)
        previous = np.concatenate([last[np.newaxis].astype(values.dtype), values[:-1]])
        again = (values == previous).all(axis=(1, 2)) & previous.any(axis=(1, 2))
        repeated += int(again.sum())
        last = values[-1]
        v = values.astype(np.float64)
        finite = np.isfinite(v)
        bad += int(v.size - finite.sum())
        v = np.where(finite, v, 0)
        least = min(least, float(v.min(where=valid, initial=np.inf)))
        whole = whole and bool((v == np.rint(v)).all())
        squared = np.square(v[(v > 0) & (v < 100) & (v != np.rint(v))])  # beyond, the bits of a float32 do not tell
        small += squared.size
        small_whole += int((np.abs(squared - np.rint(squared)) < 1e-3).sum())
        if scan.amplitude:
            v = np.square(v * (scan.intensity_scale or 1.0))
        if divisor != 1:
            levels = np.unique(v[:, valid])
            levels = levels[np.abs(levels) < (EXACT if scan.amplitude else 2**53)]
            known = levels if known is None else known
            exact = np.rint(levels).astype(np.int64)
            first = int(exact[0]) if first is None and exact.size else first
            divisor = int(np.gcd.reduce([divisor, *(exact - (first or 0))]))
        total += v.sum(0)
        square += np.square(v).sum(0)
        top = v[~again].max(0, initial=-np.inf)
        here = (v[~again] == top).sum(0)
        at_high = np.where(top > high, here, at_high + np.where(top == high, here, 0))
        high = np.maximum(high, top)
        totals[start : start + scan.batch] = v.sum(axis=(1, 2))
        unit = min(unit, float(v.min(initial=np.inf, where=v > 0)))
    mean = total / M
    variance = np.maximum(square / M - mean**2, 0)
    if whole or scan.intensity_scale is not None or not np.isfinite(unit):
        unit = float(max(divisor, 1))
    ratios = known / unit if known is not None else np.zeros(0)
    multiples = len(ratios) >= LEVELS and bool((np.abs(ratios - np.rint(ratios)) < 1e-3).all())
    squares_whole = small > 0 and small_whole >= ALIKE * small
    told = (unit, multiples, divisor, whole, squares_whole, bad, least, repeated, left_out, ceiling)
    return Statistics(valid, mean, variance, high, at_high, full, totals, *told)


def mean_photons(scan: Scan) -> float | None:
    """The mean of a pattern's photons on the valid pixels, reading a batch at a time; None where counts are not known.

    What cannot be a count is zero, a known background is taken off. Raises DataError for patterns that cannot be read.
    """
    if scan.patterns is None or len(scan.patterns.shape) != 3 or not len(scan.patterns):
        return None
    total = 0.0
    for start in range(0, len(scan.patterns), scan.batch):
        values = scan.intensity(slice(start, start + scan.batch))
        valid = np.isfinite(values) & (values >= 0)
        if scan.mask is not None and scan.mask.shape == values.shape[1:]:
            valid &= scan.mask
        if values.dtype.kind == "f" and (values != np.rint(values)).any(where=valid):
            return None
        total += float(values.sum(where=valid, dtype=np.float64))
    mask, (H, W) = scan.mask, scan.patterns.shape[1:]
    pixels = np.count_nonzero(mask) if mask is not None and mask.shape == (H, W) else H * W
    return total / len(scan.patterns) - (scan.background or 0.0) * pixels
