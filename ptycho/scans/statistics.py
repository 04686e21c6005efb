"""What one pass over a scan's patterns tells of them, a batch in memory at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho.scans.formats.scan import Scan, batches

ALIKE = 0.99
"""Share of the values that have to be whole numbers for all of them to be taken for such."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of patterns (M, H, W); "values" are as the file has them, amplitude or intensity.

    mean, variance   (H, W) float64 of the intensity, values that are not finite counted as zero
    low, high        (H, W) float64, the least and greatest intensity of each pixel over the scan
    totals           (M,) float64, intensity of each pattern
    unit             the smallest intensity above zero: one photon, if photons were counted
    whole            whether all values are whole numbers; squares_whole whether their squares are (to 1e-3)
    bad              how many values are not finite; least the smallest value
    repeated         how many patterns are equal to the one before, and not blank
    """

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    low: NDArray[np.float64]
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
    frame = scan.patterns.shape[1:]
    total, square = np.zeros(frame), np.zeros(frame)
    low, high = np.full(frame, np.inf), np.full(frame, -np.inf)
    totals, unit, least = [], np.inf, np.inf
    bad = repeated = small = small_whole = 0
    whole = True
    last = None
    for values in batches(scan.patterns):
        previous = values[:-1] if last is None else np.concatenate([last[np.newaxis], values[:-1]])
        alike = (values[len(values) - len(previous) :] == previous).all(axis=(1, 2))
        repeated += int((alike & previous.any(axis=(1, 2))).sum())
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
        low, high = np.minimum(low, v.min(0)), np.maximum(high, v.max(0))
        totals.append(v.sum(axis=(1, 2)))
        if (v > 0).any():
            unit = min(unit, float(v[v > 0].min()))
    M = len(scan.patterns)
    mean = total / M
    return Statistics(
        mean=mean,
        variance=np.maximum(square / M - mean**2, 0),
        low=low,
        high=high,
        totals=np.concatenate(totals),
        unit=unit if np.isfinite(unit) else 1.0,
        whole=whole,
        squares_whole=small > 0 and small_whole >= ALIKE * small,
        bad=bad,
        least=least,
        repeated=repeated,
    )
