"""Resolution on a Siemens star: how near to its centre its spokes are still told apart.

With s spokes the period at radius r is 2 pi r / s, so a full period p is seen on the ring r = p s / (2 pi).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

SAMPLES = 1024  # points on a ring
INNERMOST = 8  # pixels: nearer to the centre a ring has too few of them


@dataclass(frozen=True)
class Star:
    """Where a star's centre (y, x) is, in pixels of the image it was found in, and how many spokes it has."""

    centre: tuple[float, float]
    spokes: int

    def radius(self, period: float) -> float:
        """Of the ring on which the spokes have this full period; both in pixels."""
        return period * self.spokes / (2 * np.pi)

    def period(self, radius: NDArray[np.float64]) -> NDArray[np.float64]:
        """The full period of the spokes at these radii, in pixels."""
        return 2 * np.pi * radius / self.spokes


def find(image: NDArray[np.floating], mask: NDArray[np.bool_]) -> Star:
    """The star in an image (h, w), of phase or amplitude, on the pixels of the mask. Half a turn about its centre
    leaves a star with an even number of spokes as it is: the image is correlated with itself, turned. Its number of
    spokes is the strongest frequency of the angle, from 8 to 100, over the outer half."""
    signal = np.where(mask, image - image[mask].mean(), 0)
    size = [2 * side for side in image.shape]
    # the convolution with itself peaks at twice the centre
    twin = fft.irfft2(fft.rfft2(signal, size) ** 2, size)
    row, column = (int(k) for k in np.unravel_index(np.argmax(twin), twin.shape))
    centre = (row / 2 + _vertex(twin[:, column], row) / 2, column / 2 + _vertex(twin[row], column) / 2)
    radii = rings(mask, centre)
    spectrum = np.abs(fft.rfft(profiles(signal, centre, radii[len(radii) // 2 :]), axis=1)).sum(axis=0)
    return Star(centre, 8 + int(np.argmax(spectrum[8:101])))


def _vertex(line: NDArray[np.float64], k: int) -> float:
    """Where between its neighbours a peak lies, -1/2 to 1/2: the vertex of the parabola through the three."""
    below, top, above = line[k - 1], line[k], line[(k + 1) % len(line)]
    return float((below - above) / (2 * (below - 2 * top + above)))


def rings(mask: NDArray[np.bool_], centre: tuple[float, float]) -> NDArray[np.float64]:
    """Radii in pixels, from INNERMOST outwards, of the rings that lie wholly within the mask."""
    widest = int(min(*centre, mask.shape[0] - 1 - centre[0], mask.shape[1] - 1 - centre[1]))
    radii = np.arange(INNERMOST, widest, dtype=np.float64)
    inside = profiles(ndimage.binary_fill_holes(mask).astype(np.float64), centre, radii).min(axis=1) > 0.5
    return radii[: len(radii) if inside.all() else int(np.argmin(inside))]


def profiles(
    image: NDArray[np.floating], centre: tuple[float, float], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The image along rings, (rings, SAMPLES)."""
    angle = 2 * np.pi * np.arange(SAMPLES) / SAMPLES
    points = [c + radii[:, np.newaxis] * turn for c, turn in zip(centre, (np.sin(angle), np.cos(angle)), strict=True)]
    return ndimage.map_coordinates(image, points, order=1)


def modulation(
    image: NDArray[np.floating], reference: NDArray[np.floating], star: Star, radii: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How strongly the spokes show on each ring, (rings,), and how strongly noise would look like spokes, (rings,).

    The first is an amplitude: of the ring's Fourier component at the number of spokes, the part with the phase of the
    ``reference``, an image (h, w) too. The second is the rms of the neighbouring components, 3 to 8 away. It is
    overestimated where a sector of the star is missing, because they then hold some of its spokes.
    """
    spectra = [fft.rfft(profiles(each, star.centre, radii), axis=1) * 2 / SAMPLES for each in (image, reference)]
    found, true = (spectrum[:, star.spokes] for spectrum in spectra)
    phase = true / np.maximum(np.abs(true), np.finfo(float).tiny)
    away = np.concatenate([np.arange(star.spokes - 8, star.spokes - 2), np.arange(star.spokes + 3, star.spokes + 9)])
    noise = np.sqrt(np.mean(np.abs(spectra[0][:, away]) ** 2, axis=1) / 2)
    return (found * phase.conj()).real, noise


def innermost(modulation: NDArray[np.float64], noise: NDArray[np.float64], radii: NDArray[np.float64]) -> float | None:
    """The radius down to which, from outside, every ring is stronger than twice the noise; None if no ring is."""
    hidden = np.flatnonzero(modulation < 2 * noise)
    if not len(hidden):
        return float(radii[0])
    return float(radii[hidden[-1] + 1]) if hidden[-1] + 1 < len(radii) else None
