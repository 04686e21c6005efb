"""Whether patterns, positions, probe, mask and geometry fit each other, and can be those of a scan."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.errors import DataError
from ptycho.physics import photons
from ptycho.physics.beam import ELECTRONVOLT, PLANCK_LIGHT
from ptycho.scans import frame
from ptycho.scans.faults.fault import MENDED, Fault
from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import outside

COVERED = 16
"""Times the area of all patterns together: positions that span more are in another unit."""
DENSE = 0.25
"""Pixels between positions, were they even: closer ones are in another unit."""
ALONE = 30
"""Times the typical step: a position as far from all others is none."""
FEWEST = 8
"""Patterns of a scan."""
WITNESSES = 16
"""Patterns that are predicted from object and probe to tell how positions are turned."""
NAMED = 3
"""Scans of one file that a message names, at most."""


def of_shapes(scan: Scan) -> Iterator[Fault]:
    """Patterns, positions, probe and mask that do not fit each other."""
    if scan.patterns is None:
        yield Fault("patterns", "missing; there is nothing to reconstruct from")
    if scan.x is None or scan.y is None:
        yield Fault("positions", "missing; expected x and y of every pattern")
    if scan.patterns is None:
        return
    shape = scan.patterns.shape
    if scan.patterns.dtype.kind not in "fiu":
        yield Fault("patterns", f"of type {scan.patterns.dtype}; expected real numbers")
    if len(shape) != 3:
        yield Fault("patterns", f"shape {shape}; expected (M, N, N)")
        return
    M, H, W = shape
    for name, line in (("x", scan.x), ("y", scan.y)):
        if line is not None and len(line) != M:
            yield Fault("positions", f"{len(line)} values of {name} for {M} patterns; expected one each")
    if min(H, W) < frame.LEAST:
        yield Fault("patterns", f"{H} x {W} pixels; expected {frame.LEAST} or more along each side")
    if H != W and scan.pixel_size is not None:
        told = f"{scan.pixel_size:.6g} m along both axes; the object pixels of {H} x {W} patterns are not square"
        yield Fault("object pixel", f"{told}: give energy, distance and detector pixel instead")
    if scan.probe is not None and scan.probe.shape[-2:] != (H, W):
        yield Fault("probe", f"{scan.probe.shape[-2:]} pixels for patterns of {(H, W)}; expected the same")
    for name, array in (("mask", scan.mask), ("dark frame", scan.dark)):
        if array is not None and array.shape == shape:
            yield Fault(name, f"of each frame, {shape}; expected one for all, {(H, W)}: where all frames are valid")
        elif array is not None and array.shape != (H, W):
            yield Fault(name, f"{array.shape} pixels for patterns of {(H, W)}; expected the same")


def of_number(scan: Scan) -> Iterator[Fault]:
    """Too few patterns for a study, or for a fit that is judged."""
    if scan.patterns is not None and (M := len(scan.patterns)) < FEWEST:
        yield Fault("patterns", f"{M}; expected {FEWEST} or more, to fit some and hold out others")


def of_scans(scan: Scan) -> Iterator[Fault]:
    """Patterns of several scans, perhaps of several samples: no one object explains them."""
    if scan.scan_index is None:
        return
    numbers, patterns = np.unique(scan.scan_index, return_counts=True)
    if len(numbers) > 1:
        each = [f"{M} of scan {number}" for number, M in zip(numbers, patterns, strict=True)]
        each = each if len(each) <= NAMED else [*each[:NAMED], "..."]
        told = f"{len(numbers)} scans in one file (patterns: {', '.join(each)})"
        yield Fault("scan_index", f"{told}; expected one scan per file: write each scan to a file of its own")


def of_geometry(scan: Scan) -> Iterator[Fault]:
    """Energy, distance and pixels in another unit."""
    if scan.energy and not 1e-12 < (wavelength := PLANCK_LIGHT / scan.energy) < 1e-7:
        units = {"keV": 1e3 * ELECTRONVOLT, "eV": ELECTRONVOLT}
        guess = next((u for u, unit in units.items() if 1e-12 < wavelength / unit < 1e-7), "no joules")
        told = f"{scan.energy:.6g} J is a wavelength of {wavelength:.3g} m; expected joules, found {guess}?"
        yield Fault("energy", told)
    if scan.distance is not None and not 1e-3 < scan.distance < 100:
        told = f"{scan.distance:.6g} m to the detector; expected metres, found millimetres?"
        yield Fault("distance", told)
    if scan.detector_pixel is not None and not 1e-7 < scan.detector_pixel < 2e-3:
        told = f"{scan.detector_pixel:.6g} m; expected metres, found micrometres or millimetres?"
        yield Fault("detector pixel", told)
    if scan.voltage is not None and not 5e3 < scan.voltage < 3e6:
        yield Fault("voltage", f"{scan.voltage:.6g} V accelerate the electrons; expected volts, found kilovolts?")
    for name, angle in (("semi-angle", scan.semi_angle), ("detector pixel", scan.detector_angle)):
        if angle is not None and not 0 < angle < 0.2:
            yield Fault(name, f"{angle:.6g} rad; expected radians, found milliradians?")


def of_positions(scan: Scan) -> Iterator[Fault]:
    """Positions that are no places, all one place, in another unit, alone, or not on the object."""
    if scan.x is None or scan.y is None or not len(scan.x) or len(scan.x) != len(scan.y):
        return
    x, y = scan.x, scan.y
    if bad := int((~np.isfinite(x) | ~np.isfinite(y)).sum()):
        yield Fault("positions", f"{bad} of {len(x)} are NaN or infinite")
        return
    span = max(np.ptp(x), np.ptp(y))
    if span == 0 and len(x) > 1:
        yield Fault("positions", "all equal; expected a scan")
        return
    if not scan.metres and 0 < span < 1e-3:
        yield Fault("positions", f"they span {span:.3g} pixels; expected pixels, found metres?")
        return
    if scan.metres and span > 0.1:
        yield Fault("positions", f"they span {span:.3g} m; expected metres, found pixels or micrometres?")
        return
    if (told := _alone(x, y)) is not None:
        yield Fault("positions", told)
        return
    places = in_pixels(scan)
    if places is not None and scan.patterns is not None:
        yield from _of_extent(scan, *places)
    if scan.object is not None and scan.object.ndim == 2 and scan.object_center and places:
        shape = scan.object.shape
        if (beyond := outside(*places, shape)).any():
            fits = [name for name, turned in _turned(*places, 0, 0).items() if not outside(*turned, shape).any()]
            hint = f"; with {fits[0]} they would be inside" if fits else ""
            yield Fault("positions", f"{beyond.sum()} of {len(x)} lie outside the object of shape {shape}{hint}")


def _alone(x: NDArray[np.float64], y: NDArray[np.float64]) -> str | None:
    """What is said of positions far from all others."""
    points = np.unique(np.stack([y, x], axis=1), axis=0)
    if len(points) < 4:
        return None
    steps = cKDTree(points).query(points, k=2)[0][:, 1]
    far = steps > ALONE * np.median(steps)
    if not far.any():
        return None
    k = int(np.flatnonzero((y == points[far][0, 0]) & (x == points[far][0, 1]))[0])
    farthest = f"up to {steps[far].max() / np.median(steps):.0f} steps"
    return f"{far.sum()} of {len(x)} lie {farthest} from all others (position {k}): an encoder's glitch? Leave it out"


def _of_extent(scan: Scan, x: NDArray[np.float64], y: NDArray[np.float64]) -> Iterator[Fault]:
    """Positions that patterns of this size cannot cover, or that hardly differ."""
    assert scan.patterns is not None
    M, N = len(x), scan.patterns.shape[-1]
    height, width = np.ptp(y), np.ptp(x)
    span = max(height, width)
    how = f"they span {span:.6g} pixels"
    if scan.metres:
        how = f"they span {max(np.ptp(scan.y), np.ptp(scan.x)):.2g} m = {span:.6g} pixels"  # type: ignore[arg-type]
    points = np.unique(np.stack([y, x], axis=1), axis=0)
    if len(points) < 2:
        return
    step = np.median(cKDTree(points).query(points, k=2)[0][:, 1])
    if (height + N) * (width + N) > COVERED * M * N**2 or step > N:
        yield Fault("positions", f"{how}, more than {M} patterns of {N} pixels can cover: another unit?")
    elif step > N / 2 and scan.probe is None:
        told = f"steps of {step:.3g} pixels, and patterns of {N} tell a probe {N // 2} across at most: no overlap"
        yield Fault("positions", f"{told} (near field? Another distance, energy or unit?)")
    elif span < DENSE * np.sqrt(M) and M > 1:
        yield Fault("positions", f"{how} for {M} patterns: another unit?")


def in_pixels(scan: Scan) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The positions x, y (M,) in object pixels; None where there are none, or some are no numbers.

    None, too, before a frame makes patterns square and even: only then are object pixels as wide as they are high.
    """
    if scan.patterns is not None and not frame.even_square(scan.patterns.shape):
        return None
    with suppress(DataError):
        placed = scan.in_pixels()
        x, y = placed.x, placed.y
        if x is not None and y is not None and len(x) == len(y) and np.isfinite([x, y]).all():
            return x, y
    return None


def _turned(x: NDArray[np.float64], y: NDArray[np.float64], H: int, W: int) -> dict[str, tuple[Any, Any]]:
    """The positions as other conventions would have them, on an object (H, W)."""
    return {
        "x and y swapped": (y, x),
        "the sign of x flipped": (W - x, y),
        "the sign of y flipped": (x, H - y),
        "both signs flipped": (W - x, H - y),
    }


def of_orientation(scan: Scan) -> Iterator[Fault]:
    """Whether mirrored positions explain the patterns better, in a scan in which nothing else looks wrong."""
    places = in_pixels(scan)
    if scan.patterns is None or scan.probe is None or scan.object is None or not scan.object_center or not places:
        return
    N, (H, W) = scan.patterns.shape[-1], scan.object.shape
    chosen = np.unique(np.linspace(0, len(places[0]) - 1, WITNESSES).astype(int))
    measured = np.sqrt(np.maximum(scan.intensity(chosen), 0).astype(np.float64))
    x, y = (line[chosen] for line in places)
    object = np.pad(scan.object, N, mode="edge")
    likeness = {}
    for name, (u, v) in {"as they are": (x, y), **_turned(x, y, H, W)}.items():
        if not outside(u, v, (H, W)).any():
            predicted = photons.ideal_amplitude(object, scan.probe, u + N, v + N)
            pairs = zip(measured, predicted, strict=True)
            likeness[name] = float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))
    most, best = max((value, name) for name, value in likeness.items())
    now = likeness["as they are"]
    if 1 - most < 0.7 * (1 - now) and most - now > 0.01:
        told = f"object and probe explain the patterns better with {best} ({most:.2f}, now {now:.2f})"
        yield Fault("positions", told, MENDED)
