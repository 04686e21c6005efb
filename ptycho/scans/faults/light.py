"""Where the light falls: centred patterns and probes, light that changes with the position, and the far field."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ptycho.physics.probes import total_intensity
from ptycho.scans import mend
from ptycho.scans.faults.fault import MENDED, Fault
from ptycho.scans.formats.scan import Scan
from ptycho.scans.statistics import Statistics

OFF_CENTRE = 0.75
"""Pixels that the light's centre of mass may lie from N//2 where no probe is given."""
FAR_OFF = 0.1
"""Of a side: farther from where the probe's far field has it, the light is off centre whatever the probe."""


def at_corners(image: NDArray[np.floating]) -> bool:
    """Whether most of the light (H, W) is at the corners."""
    middle = _middle(image)
    inside, corners = image[middle].sum(), fft.fftshift(image)[middle].sum()
    return bool(corners > 0.5 * image.sum() and corners > 2 * inside)


def _middle(image: NDArray[np.floating]) -> tuple[slice, ...]:
    """The central half of each axis."""
    return tuple(slice(n // 4, n - n // 4) for n in image.shape)


def of_patterns(scan: Scan, mean: NDArray[np.float64], seen: NDArray[np.bool_]) -> Iterator[Fault]:
    """Patterns whose zero frequency is not at (H//2, W//2). ``mean`` (H, W) is zero outside the pixels ``seen``."""
    H, W = mean.shape
    if at_corners(mean):
        share = fft.fftshift(mean)[_middle(mean)].sum() / mean.sum()
        told = f"{share:.0%} of the light is at the corners: fft-shifted; expected zero frequency at the middle"
        yield Fault("patterns", told, MENDED, mend.from_corners)
        mean, seen = fft.fftshift(mean), fft.fftshift(seen)
    y, x = offset(scan, mean, seen)
    if y or x:
        told = f"centred on ({H // 2 + y}, {W // 2 + x}); expected (H//2, W//2) = ({H // 2}, {W // 2})"
        yield Fault("patterns", f"{told}; shift by ({-y}, {-x})", MENDED, partial(mend.shifted, dy=-y, dx=-x))


def offset(scan: Scan, mean: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[int, int]:
    """How many whole pixels (y, x) the centre of the mean pattern (H, W) lies from (H//2, W//2).

    By its centre of mass where no probe is given: a probe found from these patterns may have any tilt. A given probe's
    far field is laid over the pattern, and the offset taken where it fits clearly better: the correlation misses half.
    """
    centre = _centre(mean, seen)
    if scan.probe is None or scan.probe.shape[-2:] != mean.shape:
        far = np.hypot(*centre) > OFF_CENTRE
        return (int(np.rint(centre[0])), int(np.rint(centre[1]))) if far else (0, 0)
    expected = total_intensity(fft.fftshift(fft.fft2(scan.probe.astype(np.complex128)), axes=(-2, -1)))
    a, b = (np.where(seen, np.sqrt(image), 0) for image in (mean, expected))
    a, b = ((v - v.mean()) / np.linalg.norm(v - v.mean()) for v in (a, b))
    fit = fft.ifft2(fft.fft2(a) * np.conj(fft.fft2(b))).real
    place = zip(np.unravel_index(fit.argmax(), fit.shape), mean.shape, strict=True)
    y, x = (int((k + n // 2) % n - n // 2) for k, n in place)
    if 1 - fit[y, x] < 0.5 * (1 - fit[0, 0]):
        return y, x
    off = np.rint(centre - _centre(expected, seen)).astype(int)
    return (int(off[0]), int(off[1])) if (np.abs(off) > FAR_OFF * np.array(mean.shape)).any() else (0, 0)


def _centre(image: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The offset (y, x) from (H//2, W//2) of the centre of mass of what is brighter than the dimmest third.

    A masked pixel counts neither itself nor through its mirror image about the centre, which takes a few rounds.
    """
    (H, W), (y, x) = image.shape, (np.arange(n) - n // 2 for n in image.shape)
    off = found = np.zeros(2)
    for _ in range(4):
        shift = -np.rint(off + found).astype(int)
        off = -shift.astype(float)
        turned, valid = np.roll(image, shift, (0, 1)), np.roll(seen, shift, (0, 1))
        # the first line of an even number has no mirror image
        top, left = 1 - H % 2, 1 - W % 2
        valid[top:, left:] &= valid[top:, left:][::-1, ::-1].copy()
        valid[:top] = valid[:, :left] = False
        if not valid.any():
            return np.zeros(2)
        weight = np.where(valid, np.maximum(turned - np.quantile(turned[valid], 0.3), 0), 0)
        found = np.array([weight.sum(1) @ y, weight.sum(0) @ x]) / max(weight.sum(), np.finfo(float).tiny)
    return off + found


def of_probe(scan: Scan) -> Iterator[Fault]:
    """A given probe at the corners of its frame, or off its centre by more than a sixteenth."""
    if scan.probe is None or scan.probe.ndim not in (2, 3):
        return
    light = total_intensity(scan.probe)
    H, W = light.shape
    if not 0 < light.sum() < np.inf:
        yield Fault("probe", "it is zero, or not finite; expected light")
        return
    if at_corners(light):
        told = "it is at the corners of its frame: fft-shifted; expected its centre at the middle"
        yield Fault("probe", told, MENDED, mend.probe_from_corners)
        light = fft.fftshift(light)
    y, x = (int(np.rint(c - n // 2)) for c, n in zip(ndimage.center_of_mass(light), light.shape, strict=True))
    if abs(y) > H / 16 or abs(x) > W / 16:
        told = f"centred on ({H // 2 + y}, {W // 2 + x}) of its frame; expected ({H // 2}, {W // 2})"
        move = partial(mend.probe_moved, dy=-y, dx=-x)
        yield Fault("probe", f"{told}; it and the positions should move by ({-y}, {-x})", MENDED, move)


SURE, SHARP = 4.0, 5e-4
"""Standard errors by which patterns must differ beyond counting, where the error is small: relative to mean^2."""


def of_variety(scan: Scan, found: Statistics, seen: NDArray[np.bool_]) -> Iterator[Fault]:
    """Patterns that are alike but for counting: what is scanned does not show."""
    mean, M = found.mean[seen], len(found.totals)
    if M < 2:
        return
    counting = mean * found.unit
    beyond = np.sum(found.variance[seen] * M / (M - 1) - counting)
    error = np.sqrt(np.sum(2 * mean**2 + counting * found.unit) / (M - 1))
    if beyond < SURE * error < SURE * SHARP * np.sum(mean**2):
        told = f"all are alike but for counting: no object, too few {scan.particle}, or a lattice in step with the scan"
        yield Fault("patterns", told)


def of_edges(mean: NDArray[np.float64], seen: NDArray[np.bool_]) -> Iterator[Fault]:
    """Light over the whole detector up to its edge."""
    edge = np.pad(np.zeros(np.subtract(mean.shape, 2), bool), 1, constant_values=True) & seen
    if edge.any() and mean[edge].mean() > 0.5 * mean[seen].mean():
        told = f"the light at the edge is {mean[edge].mean() / mean[seen].mean():.0%} of the mean"
        yield Fault("patterns", f"{told}: near field, or a detector that is too small? Expected a far field")
