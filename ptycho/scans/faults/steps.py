"""Whether the steps of a scan are short enough for its probe."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.physics.probes import total_intensity
from ptycho.scans.faults.fault import DOUBTFUL, MENDED, REFUSED, Fault
from ptycho.scans.formats.scan import Scan

LEAST_OVERLAP = 0.5
LEAST_ESTIMATED = 0.3
"""The same by an estimated probe, which an object that scatters widely makes a third too small."""
GRAIN = 0.02
"""Of the probe's diameter: positions that lie closer are one."""


def overlap(x: np.ndarray, y: np.ndarray, probe: NDArray[np.complexfloating]) -> tuple[float, float, float]:
    """(overlap, step, diameter): 1 - step/diameter, of two or more positions x, y in object pixels.

    The step is the median distance to the nearest neighbour, where positions closer than GRAIN are one that was exposed
    twice; the diameter that of a disk of the probe's area (sum I)^2 / sum I^2, I = |P|^2.
    """
    intensity = total_intensity(probe)
    diameter = float(2 * np.sqrt(intensity.sum() ** 2 / np.square(intensity).sum() / np.pi))
    points = np.stack([y, x], axis=1)
    points = points[np.unique(np.rint(points / (GRAIN * diameter)), axis=0, return_index=True)[1]]
    step = float(np.median(cKDTree(points).query(points, k=2)[0][:, 1])) if len(points) > 1 else 0.0
    return 1 - step / diameter, step, diameter


def of_overlap(
    scan: Scan, places: tuple[NDArray[np.float64], NDArray[np.float64]], probe: NDArray[np.complexfloating]
) -> Iterator[Fault]:
    """Steps too long for the ``probe``: the scan's, or one estimated from its mean pattern."""
    share, step, diameter = overlap(*places, probe)
    given = scan.probe is not None
    least = LEAST_OVERLAP if given else LEAST_ESTIMATED
    if share < least:
        # the mean pattern of a structured probe looks like that of a tiny one
        structured = not given and diameter < probe.shape[-1] / 12
        told = f"{share:.0%} of the probe's diameter; expected {least:.0%} or more"
        told += f"; steps of {step:.3g} pixels, {'probe' if given else 'estimated probe'} {diameter:.3g} across"
        if given:
            yield Fault("overlap", told, REFUSED if share < 0 else DOUBTFUL)
        elif share < 0 and not structured:
            yield Fault("overlap", told)
        else:  # the verdict goes by the overlap of the probe as found
            yield Fault("overlap", f"{told}, where it may be structured: give it, or let a study find it", MENDED)
    if given and scan.pixel and scan.wavelength and scan.distance:
        number = (diameter * scan.pixel) ** 2 / (scan.wavelength * scan.distance)
        if number > 1:
            told = f"a probe {diameter * scan.pixel:.3g} m across has a Fresnel number of {number:.3g}: near field"
            yield Fault("distance", f"{told}; expected far below 1")
