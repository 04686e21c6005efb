"""What a study corrects in a scan before it fits anything: pure functions from a scan to a scan. Counts stay whole."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.stack import Derived

MENDED: dict[str, Any] = {"dark": None, "gain": None}
"""Of a scan whose patterns are ``values``: neither dark frame nor gain is left to take out."""


def changed(scan: Scan, change: Callable[[NDArray[Any]], NDArray[Any]], **others: Any) -> Scan:
    """The scan whose patterns, free of dark frame and gain, are `change` of what they were; and `others` of its fields.

    They are changed when they are indexed: (m, H, W) -> (m, H', W').
    """
    assert scan.patterns is not None
    none = change(scan.values(slice(0)))
    patterns = Derived(scan.values, change, (len(scan.patterns), *none.shape[1:]), none.dtype)
    return replace(scan, patterns=patterns, **MENDED, **others)


def without(scan: Scan, pixels: NDArray[np.bool_]) -> Scan:
    """The scan whose mask leaves out these pixels (H, W), too."""
    return replace(scan, mask=~pixels if scan.mask is None else scan.mask & ~pixels)


def shifted(scan: Scan, dy: int, dx: int) -> Scan:
    """The scan with its patterns, and their mask, moved by whole pixels; those from beyond the edge are masked."""
    assert scan.patterns is not None
    H, W = scan.patterns.shape[1:]
    mask = np.roll(np.ones((H, W), bool) if scan.mask is None else scan.mask, (dy, dx), (0, 1))
    mask[slice(0, dy) if dy >= 0 else slice(dy, None)] = False
    mask[:, slice(0, dx) if dx >= 0 else slice(dx, None)] = False
    return changed(scan, partial(np.roll, shift=(dy, dx), axis=(1, 2)), mask=mask)


def without_dark(scan: Scan) -> Scan:
    """The scan whose patterns hold no dark frame."""
    return changed(scan, lambda values: values)


def from_corners(scan: Scan) -> Scan:
    """The scan with the zero frequency of its patterns, and of their mask, moved from the corners to (H//2, W//2)."""
    mask = None if scan.mask is None else np.fft.fftshift(scan.mask)
    return changed(scan, partial(np.fft.fftshift, axes=(1, 2)), mask=mask)


def probe_from_corners(scan: Scan) -> Scan:
    """The scan with its probe moved from the corners of its frame to the middle."""
    assert scan.probe is not None
    return replace(scan, probe=np.fft.fftshift(scan.probe, axes=(-2, -1)))


def probe_moved(scan: Scan, dy: int, dx: int) -> Scan:
    """The scan with its probe moved by whole pixels within its frame, and its positions against it.

    The probe stays where it was on the object. Raises DataError for positions in metres and an unknown pixel.
    """
    assert scan.probe is not None
    if scan.metres and scan.pixel is None:
        raise DataError("the probe lies off the centre of its frame, and the object pixel is unknown")
    unit = scan.pixel if scan.metres and scan.pixel else 1.0
    probe = np.roll(scan.probe, (dy, dx), (-2, -1))
    lines = {"x": dx, "y": dy, "x_start": dx, "y_start": dy}
    moved = {name: line - d * unit for name, d in lines.items() if (line := getattr(scan, name)) is not None}
    return replace(scan, probe=probe, **moved)


def only(scan: Scan, kept: NDArray[np.bool_]) -> Scan:
    """The scan of the patterns kept, (M,), with their positions."""
    each = ("x", "y", "x_start", "y_start", "indices", "scan_index")
    chosen = {name: line[kept] for name in each if (line := getattr(scan, name)) is not None}
    return replace(scan, patterns=scan.values(kept), **MENDED, **chosen)
