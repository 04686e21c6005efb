"""What one pass over a scan's patterns tells of them, a batch in memory at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.scans.formats.scan import BATCH, Scan

ALIKE = 0.99
"""Share of the values that have to be whole numbers for all of them to be taken for such."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of patterns (M, H, W); "values" are as the file has them, amplitude or intensity.

    mean, variance   (H, W) float64 of the intensity, values that are not finite counted as zero
    high             (H, W) float64, the greatest intensity of each pixel over the scan
    totals           (M,) float64, intensity of each pattern
    unit             the smallest intensity above zero: one photon, if photons were counted
    whole            whether all values are whole numbers; squares_whole whether their squares are (to 1e-3)
    bad              how many values are not finite; least the smallest value
    repeated         how many patterns are equal to the one before, and not blank
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    high: NDArray[np.float64]
    totals: NDArray[np.float64]
    unit: float
    whole: bool
    squares_whole: bool
    bad: int
    least: float
    repeated: int


def statistics_of(scan: Scan) -> Statistics:
    """Read all patterns of the scan once. It must have some, of shape (M, H, W), M > 0."""
    assert scan.patterns is not None
    M, frame = len(scan.patterns), scan.patterns.shape[1:]
    total, square, last, high = np.zeros(frame), np.zeros(frame), np.zeros(frame), np.full(frame, -np.inf)
    totals, unit, least, whole = np.zeros(M), np.inf, np.inf, True
    bad = repeated = small = small_whole = 0
    for start in range(0, M, BATCH):
        values = np.asarray(scan.patterns[start : start + BATCH])
        previous = np.concatenate([last[np.newaxis].astype(values.dtype), values[:-1]])
        repeated += int(((values == previous).all(axis=(1, 2)) & previous.any(axis=(1, 2))).sum())
        last = values[-1]
        v = values.astype(np.float64)
        finite = np.isfinite(v)
        bad += int(v.size - finite.sum())
        v = np.where(finite, v, 0)
        least = min(least, float(v.min()))
        whole = whole and bool((v == np.rint(v)).all())
        squared = np.square(v[(v > 0) & (v < 100)])  # beyond, the bits of a float32 do not tell
        small += squared.size
        small_whole += int((np.abs(squared - np.rint(squared)) < 1e-3).sum())
        if scan.amplitude:
            v = np.square(v * (scan.intensity_scale or 1.0))
        total += v.sum(0)
        square += np.square(v).sum(0)
        high = np.maximum(high, v.max(0))
        totals[start : start + BATCH] = v.sum(axis=(1, 2))
        unit = min(unit, float(v.min(initial=np.inf, where=v > 0)))
    mean = total / M
    variance = np.maximum(square / M - mean**2, 0)
    unit = unit if np.isfinite(unit) else 1.0
    squares_whole = small > 0 and small_whole >= ALIKE * small
    return Statistics(mean, variance, high, totals, unit, whole, squares_whole, bad, least, repeated)
