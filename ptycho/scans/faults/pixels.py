"""Pixels that are always dark, always bright, or behind a beam-stop: what a mask should leave out."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho.scans.formats.scan import FLAG
from ptycho.scans.statistics import Statistics

LIT = 30
"""Photons over the scan where the chance that none arrives is nil."""
ROWS = 8
"""Lit pixels on both sides of a line of dark ones that make it a dead line."""


def bad_pixels(found: Statistics) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """What looks wrong, in words, and the pixels (H, W) that a mask should leave out. The patterns must hold light."""
    M = len(found.totals) - found.repeated  # the repeated tell nothing new
    photons, dark = found.mean * M / found.unit, found.valid & (found.high <= 0)
    always = found.valid & (found.at_high >= 0.9 * M)
    flagged = always & (found.high >= FLAG) | _gaps(always & (found.high == found.ceiling))
    if flagged.any():
        yield f"{flagged.sum()} hold {found.high.max():.0f} throughout; a mask should leave them out", flagged
    stop = _beam_stop(dark, photons)
    if stop.any():
        yield f"the centre is blank, {stop.sum()} pixels: a beam-stop, which a mask should leave out", stop
    dead, lines = _dead(dark & ~stop, found.valid & ~stop, photons)
    if dead.any():
        y, x = np.argwhere(dead)[0]
        where = f"as in {', '.join(lines[:4])}" if lines else f"the first at (y, x) = ({y}, {x})"
        yield f"{dead.sum()} dead ones amid light, {where}; a mask should leave them out", dead
    hot = _hot(found) & ~flagged
    if hot.any():
        y, x = np.argwhere(hot)[0]
        what = f"the first at (y, x) = ({y}, {x}) with {found.mean[y, x]:.3g} in every pattern"
        yield f"{hot.sum()} hot, {what}; a mask should leave them out", hot


def _gaps(full: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the pixels that hold the largest value there is, those between a detector's modules: they reach its edge. A
    beam that saturates lies within."""
    labels, _ = ndimage.label(full, np.ones((3, 3)))
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return full & np.isin(labels, edge)


def _beam_stop(dark: NDArray[np.bool_], photons: NDArray[np.float64]) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(dark, np.ones((3, 3)))
    H, W = dark.shape
    stop = (labels == labels[H // 2, W // 2]) & (labels > 0)
    rim = ndimage.binary_dilation(stop, iterations=2) & ~stop
    enclosed = stop.sum() >= 9 and stop[1:-1, 1:-1].sum() == stop.sum()
    return stop if enclosed and np.median(photons[rim]) > LIT else np.zeros_like(stop)


def _dead(
    dark: NDArray[np.bool_], seen: NDArray[np.bool_], photons: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Single pixels, blocks and lines without light though all beside them is lit, and the names of the lines."""
    # all that surrounds it is lit: a dark pixel between bright ones may be a zero of the diffraction pattern
    surrounded = [ndimage.minimum_filter(photons, footprint=_ring(side)) > LIT for side in (3, 5)]
    dead = dark & np.any(surrounded, axis=0)
    labels, _ = ndimage.label(dark, np.ones((3, 3)))
    for k, box in enumerate(ndimage.find_objects(labels), 1):
        if all(side.start > 0 and side.stop < n for side, n in zip(box, dark.shape, strict=True)):
            around = tuple(slice(side.start - 1, side.stop + 1) for side in box)
            block = labels[around] == k
            rim = ndimage.binary_dilation(block, np.ones((3, 3))) & ~block & seen[around]
            if rim.sum() >= ROWS and np.all(photons[around][rim] > LIT):
                dead[around] |= block
    lines = []
    for name, axis in (("column", 0), ("row", 1)):
        bright = np.moveaxis(seen & (photons > LIT), axis, 0)
        blank = ~np.moveaxis(seen & ~dark, axis, 0)  # (along the line, lines)
        for first, last in _runs(blank, bright):
            lines += [f"{name} {i}" for i in range(first, last + 1)]
            np.moveaxis(dead, axis, 0)[:, first : last + 1] |= np.moveaxis(dark, axis, 0)[:, first : last + 1]
    return dead, lines


def _runs(blank: NDArray[np.bool_], bright: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The first and the last of neighbouring lines that are blank wherever the lines on both their sides are bright."""
    n = blank.shape[1]
    first = 1
    while first < n - 1:
        for last in range(first, min(first + n // 4, n - 1)):
            beside = bright[:, first - 1] & bright[:, last + 1]
            if beside.sum() >= ROWS and blank[beside, first : last + 1].all():
                yield first, last
                first = last + 1
                break
        first += 1


def _hot(found: Statistics) -> NDArray[np.bool_]:
    mean = found.mean
    H, W = mean.shape
    r = np.hypot(*np.ogrid[-(H // 2) : H - H // 2, -(W // 2) : W - W // 2])
    steady = found.variance <= 0.1 * mean * found.unit
    alone = mean > 5 * ndimage.maximum_filter(mean, footprint=_ring(3))
    far = (r > H / 8) & (mean > 100 * np.maximum(ndimage.median_filter(mean, 5), found.unit))
    return found.valid & (mean > 5 * found.unit) & ((alone & steady) | far)


def _ring(side: int) -> NDArray[np.bool_]:
    """The edge of a square of `side` pixels."""
    return np.pad(np.zeros((side - 2, side - 2), bool), 1, constant_values=True)
