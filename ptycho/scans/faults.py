"""What looks wrong with a scan: each check a function that yields its findings, one line each."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from ptycho.config import PATTERN_SIZES
from ptycho.errors import DataError
from ptycho.physics import photons
from ptycho.scans.formats.scan import ELECTRONVOLT, PLANCK_LIGHT, Scan
from ptycho.scans.rawdata import outside
from ptycho.scans.statistics import Statistics

LEAST_OVERLAP = 0.5
LIT = 30
"""Photons over the scan where the chance that none arrives is nil."""
WITNESSES = 16
"""Patterns that are predicted from object and probe to tell how positions are turned."""


def of_shapes(scan: Scan) -> Iterator[str]:
    """Patterns, positions, probe and mask that do not fit each other or the networks."""
    if scan.patterns is None:
        yield "patterns: missing; there is nothing to reconstruct from"
    if scan.x is None or scan.y is None:
        yield "positions: missing; expected x and y of every pattern"
    if scan.patterns is None:
        return
    shape = scan.patterns.shape
    if len(shape) != 3:
        yield f"patterns: shape {shape}; expected (M, N, N)"
        return
    M, H, W = shape
    for name, line in (("x", scan.x), ("y", scan.y)):
        if line is not None and len(line) != M:
            yield f"positions: {len(line)} values of {name} for {M} patterns; expected one each"
    if H != W:
        yield f"patterns: not square, {H} x {W} pixels; {_fit(min(H, W))}"
        return
    if H not in PATTERN_SIZES:
        yield f"patterns: {H} x {H} pixels, of no size the networks take; {_fit(H)}"
    for name, array in (("probe", scan.probe), ("mask", scan.mask)):
        if array is not None and (found := array.shape[-2:] if name == "probe" else array.shape) != (H, W):
            yield f"{name}: {found} pixels for patterns of {(H, W)}; expected the same"


def _fit(N: int) -> str:
    smaller, larger = [n for n in PATTERN_SIZES if n <= N], [n for n in PATTERN_SIZES if n > N]
    return " or ".join([f"crop to {n}" for n in smaller[-1:]] + [f"pad to {n}" for n in larger[:1]])


def of_values(scan: Scan, found: Statistics) -> Iterator[str]:
    """Patterns that are no counts, no light, or not what they are called."""
    M = len(found.totals)
    if found.bad:
        yield f"patterns: {found.bad} values are NaN or infinite"
    if found.least < 0:
        yield f"patterns: negative {'amplitude' if scan.amplitude else 'intensity'}, as low as {found.least:.6g}"
    if found.totals.max() <= 0:
        yield "patterns: all are blank"
        return
    if (blank := found.totals <= 1e-3 * np.median(found.totals)).any():
        yield f"patterns: {blank.sum()} of {M} are blank, without light (the first is {np.argmax(blank)})"
    if M > 1 and found.repeated >= 0.5 * (M - 1):
        yield f"patterns: {found.repeated} of {M} repeat the one before: the detector was stuck"
    if scan.amplitude and found.whole and found.high.max() > 1:
        yield "patterns: called amplitude, but all values are whole numbers: counts given as amplitude"
    if not scan.amplitude and not found.whole and found.squares_whole:
        yield "patterns: called intensity, but their squares are whole numbers: amplitude given as intensity"


def of_pixels(scan: Scan, found: Statistics) -> Iterator[str]:
    """Where the light is, and pixels that are always dark, always bright, or behind a beam-stop; outside the mask."""
    mean, M = found.mean, len(found.totals) - found.repeated  # the repeated tell nothing new
    (H, W), total = mean.shape, mean.sum()
    middle = (slice(H // 4, H - H // 4), slice(W // 4, W - W // 4))
    inside, corners = mean[middle].sum() / total, np.fft.fftshift(mean)[middle].sum() / total
    shifted = corners > 0.5 and corners > 2 * inside
    if shifted:
        yield f"patterns: {corners:.0%} of the light is at the corners: fft-shifted; expected zero frequency at N//2"
    valid = scan.mask if scan.mask is not None and scan.mask.shape == mean.shape else np.ones(mean.shape, bool)
    photons = mean * M / found.unit  # of each pixel over the whole scan
    dark, steady = found.high <= 0, found.variance <= 0.1 * mean * found.unit
    labels, _ = ndimage.label(dark & valid, np.ones((3, 3)))
    stop = (labels == labels[H // 2, W // 2]) & (labels > 0)
    if stop.sum() >= 9 and stop[1:-1, 1:-1].sum() == stop.sum():
        rim = ndimage.binary_dilation(stop, iterations=2) & ~stop
        if np.median(photons[rim]) > LIT:
            yield f"pixels: the centre is blank, {stop.sum()} pixels: a beam-stop, which a mask should leave out"
    # all that surrounds it is lit: a dark pixel between bright ones may be a zero of the diffraction pattern
    surrounded = [ndimage.minimum_filter(photons, footprint=_ring(side)) > LIT for side in (3, 5)]
    seen = valid & ~stop
    dead = dark & seen & np.any(surrounded, axis=0)
    lines = []
    for name, axis in (("column", 0), ("row", 1)):
        beside = seen & (np.minimum(np.roll(photons, 1, 1 - axis), np.roll(photons, -1, 1 - axis)) > LIT)
        whole = (beside.sum(axis) >= 8) & ~(beside & ~dark).any(axis)
        lines += [f"{name} {i}" for i in np.flatnonzero(whole)]
        dead |= dark & seen & np.expand_dims(whole, axis)
    if dead.any():
        y, x = np.argwhere(dead)[0]
        where = f"as in {', '.join(lines[:4])}" if lines else f"the first at (y, x) = ({y}, {x})"
        yield f"pixels: {dead.sum()} dead ones amid light, {where}; a mask should leave them out"
    r = np.hypot(*np.ogrid[-(H // 2) : H - H // 2, -(W // 2) : W - W // 2])
    alone = mean > 5 * ndimage.maximum_filter(mean, footprint=_ring(3))
    far = (r > H / 8) & (mean > 100 * np.maximum(ndimage.median_filter(mean, 5), found.unit))
    hot = valid & (mean > 5 * found.unit) & ((alone & steady) | far)
    if hot.any():
        y, x = np.argwhere(hot)[0]
        yield f"pixels: {hot.sum()} hot, the first at (y, x) = ({y}, {x}) with {mean[y, x]:.3g} in every pattern"
    if not shifted:
        y, x = ndimage.center_of_mass(np.where(valid & ~hot, mean, 0))
        if max(abs(y - H // 2), abs(x - W // 2)) > 0.1 * H:
            yield f"patterns: centred on ({y:.1f}, {x:.1f}); expected (N//2, N//2) = ({H // 2}, {W // 2})"


def _ring(side: int) -> NDArray[np.bool_]:
    """The edge of a square of `side` pixels."""
    return np.pad(np.zeros((side - 2, side - 2), bool), 1, constant_values=True)


def of_geometry(scan: Scan) -> Iterator[str]:
    """Energy, distance and pixels in another unit."""
    if scan.energy and not 1e-12 < (wavelength := PLANCK_LIGHT / scan.energy) < 1e-7:
        units = {"keV": 1e3 * ELECTRONVOLT, "eV": ELECTRONVOLT}
        guess = next((u for u, unit in units.items() if 1e-12 < wavelength / unit < 1e-7), "no joules")
        yield f"energy: {scan.energy:.6g} J is a wavelength of {wavelength:.3g} m; expected joules, found {guess}?"
    if scan.distance is not None and not 1e-3 < scan.distance < 100:
        yield f"distance: {scan.distance:.6g} m to the detector; expected metres, found millimetres?"
    if scan.detector_pixel is not None and not 1e-7 < scan.detector_pixel < 2e-3:
        yield f"detector pixel: {scan.detector_pixel:.6g} m; expected metres, found micrometres or millimetres?"


def of_positions(scan: Scan) -> Iterator[str]:
    """Positions that are no places, all one place, in another unit, or not on the object."""
    if scan.x is None or scan.y is None or not len(scan.x) or len(scan.x) != len(scan.y):
        return
    x, y = scan.x, scan.y
    if bad := int((~np.isfinite(x) | ~np.isfinite(y)).sum()):
        yield f"positions: {bad} of {len(x)} are NaN or infinite"
        return
    span = max(np.ptp(x), np.ptp(y))
    if span == 0 and len(x) > 1:
        yield "positions: all equal; expected a scan"
    elif not scan.metres and 0 < span < 1e-3:
        yield f"positions: they span {span:.3g} pixels; expected pixels, found metres?"
    elif scan.metres and span > 0.1:
        yield f"positions: they span {span:.3g} m; expected metres, found pixels or micrometres?"
    elif scan.object is not None and scan.object.ndim == 2 and scan.object_center and (places := in_pixels(scan)):
        shape = scan.object.shape
        if (beyond := outside(*places, shape)).any():
            fits = [name for name, turned in _turned(*places, 0, 0).items() if not outside(*turned, shape).any()]
            hint = f"; with {fits[0]} they would be inside" if fits else ""
            yield f"positions: {beyond.sum()} of {len(x)} lie outside the object of shape {shape}{hint}"


def in_pixels(scan: Scan) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The positions x, y (M,) in object pixels; None where there are none, or some are no numbers."""
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


def of_orientation(scan: Scan) -> Iterator[str]:
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
        yield f"positions: object and probe explain the patterns better with {best} ({most:.2f}, now {now:.2f})"


def overlap(x: np.ndarray, y: np.ndarray, probe: NDArray[np.complexfloating]) -> tuple[float, float, float]:
    """(overlap, step, diameter): 1 - step/diameter, of two or more positions x, y in object pixels.

    The step is the median distance to the nearest neighbour; the diameter that of a disk of the probe's area
    (sum I)^2 / sum I^2, I = |P|^2.
    """
    points = np.stack([y, x], axis=1)
    step = float(np.median(cKDTree(points).query(points, k=2)[0][:, 1]))
    intensity = np.square(np.abs(probe.astype(np.complex128))).reshape(-1, *probe.shape[-2:]).sum(0)
    diameter = float(2 * np.sqrt(intensity.sum() ** 2 / np.square(intensity).sum() / np.pi))
    return 1 - step / diameter, step, diameter
