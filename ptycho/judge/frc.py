"""Fourier ring correlation: how fine the details are on which two images agree.

Source: van Heel and Schatz, J. Struct. Biol. 151 (2005) 250-262.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, sparse

EDGE_FRACTION = 1 / 8  # of the box: width of the taper at the outline of the area
BAND = 0.1  # of Nyquist: the rings that decide together whether a curve has crossed a threshold


@dataclass(frozen=True, eq=False)
class FRCCurve:
    """By ring, each (rings,): its centre as a fraction of Nyquist (1/2 cycle per pixel), the correlation, float64 in
    [-1, 1], and how many Fourier pixels it has, int64."""

    frequency: np.ndarray
    correlation: np.ndarray
    n: np.ndarray


@dataclass(frozen=True, eq=False)
class Rings:
    """Power by ring, each (rings,) float64: of a truth, and of the least errors that photons allow.

    frequency: its centre as a fraction of Nyquist. signal: mean power per Fourier pixel of the truth. noise: of the
    errors at one photon per pattern. n: Fourier pixels of a ring.
    """

    frequency: np.ndarray
    signal: np.ndarray
    noise: np.ndarray
    n: np.ndarray

    @classmethod
    def of(cls, told: Mapping[str, Sequence[float]]) -> "Rings":
        """From the lists that a file holds, by the names of the fields."""
        return cls(**{name: np.array(values) for name, values in told.items()})

    def expected(self, nphotons: float) -> FRCCurve:
        """The correlation with the truth to be expected of an unbiased image with the least errors, at a dose in
        photons per pattern: sqrt(S / (S + N)) for signal S and noise N (Frank and Al-Ali, Nature 256 (1975) 376: one
        noisy image against a clean one)."""
        noise = self.noise / nphotons
        return FRCCurve(self.frequency, np.sqrt(self.signal / (self.signal + noise)), self.n)


def evaluation_window(mask: np.ndarray) -> np.ndarray:
    """Tukey-like window, float64 (h, w), on the outline of a mask, bool (h, w): one inside, falling to zero as sin^2.
    Two images share a hard edge, which would correlate at every frequency. Holes keep full weight: see fill_holes."""
    outline = ndimage.binary_fill_holes(np.asarray(mask, bool))
    depth = ndimage.distance_transform_edt(np.pad(outline, 1))[1:-1, 1:-1]
    width = max(1.0, EDGE_FRACTION * min(outline.shape))
    return np.sin(np.pi / 2 * np.clip((depth - 0.5) / width, 0, 1)) ** 2 * outline


def fill_holes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Replace the pixels in holes of a mask by the smoothest surface (Laplace's equation) through those around them.

    Two images share their holes, which spread what is common at low frequency over all frequencies. With 10 % of the
    pixels missing, images that agree on nothing fine would correlate at Nyquist.
    image: real or complex (h, w). mask: bool (h, w). Pixels outside the outline of the mask stay as they are.
    """
    holes = ndimage.binary_fill_holes(mask) & ~mask
    if not holes.any():
        return image
    y, x = np.nonzero(holes)
    index = np.full(image.shape, -1)
    index[y, x] = np.arange(y.size)
    laplacian = sparse.lil_array((y.size, y.size))
    laplacian.setdiag(4.0)
    border = np.zeros(y.size, image.dtype)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):  # a hole never touches the edge of the array
        neighbour = index[y + dy, x + dx]
        open_side = neighbour >= 0
        laplacian[np.flatnonzero(open_side), neighbour[open_side]] = -1.0
        border[~open_side] += image[y + dy, x + dx][~open_side]
    solver = sparse.linalg.splu(laplacian.tocsc())
    filled = image.copy()
    filled[y, x] = solver.solve(border.real) + (1j * solver.solve(border.imag) if np.iscomplexobj(image) else 0)
    return filled


def frc(a: np.ndarray, b: np.ndarray, window: np.ndarray) -> FRCCurve:
    """Fourier ring correlation of two images.

    FRC(q) = Re sum_q F_a conj(F_b) / sqrt(sum_q |F_a|^2 sum_q |F_b|^2) over rings q of width 1/min(h, w) cycles per
    pixel up to Nyquist (van Heel and Schatz 2005, their FSC in two dimensions). A phase left between complex images
    lowers the correlation. The weighted mean is subtracted first, so that the window's own transform does not
    correlate. A ring without power has 0.

    a, b: (h, w), real or complex, finite, any rectangle. window: (h, w), not negative.
    Returns FRCCurve of min(h, w)//2 rings. Raises ValueError on shapes that differ, non-finite or empty input.
    """
    a, b, window = np.asarray(a), np.asarray(b), np.asarray(window, np.float64)
    if a.ndim != 2 or a.shape != b.shape or a.shape != window.shape or min(a.shape) < 2:
        raise ValueError(f"frc needs images and window of one shape (h, w); found {a.shape}, {b.shape}, {window.shape}")
    if not (np.all(np.isfinite(a)) and np.all(np.isfinite(b))):
        raise ValueError("frc needs finite images; found NaN or infinity")
    if window.min() < 0 or window.sum() <= 0:
        raise ValueError("the window of frc must be non-negative and not empty")
    spectra = [_spectrum(image, window) for image in (a, b)]
    frequency, n, sums = _rings(a.shape)
    cross = sums((spectra[0] * spectra[1].conj()).real)
    power = np.sqrt(sums(np.abs(spectra[0]) ** 2) * sums(np.abs(spectra[1]) ** 2))
    return FRCCurve(frequency, np.divide(cross, power, out=np.zeros(n.shape), where=power > 0), n)


def masked_frc(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> FRCCurve:
    """`frc` of two images (h, w) over a mask, bool (h, w): tapered at its outline, its holes filled."""
    return frc(fill_holes(a, mask), fill_holes(b, mask), evaluation_window(mask))


def ring_power(image: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequency, mean power per Fourier pixel and number of pixels of each ring of `frc`, (rings,); images as there."""
    frequency, n, sums = _rings(image.shape)
    return frequency, sums(np.abs(_spectrum(image, window)) ** 2) / n, n


def _spectrum(image: np.ndarray, window: np.ndarray) -> np.ndarray:
    return fft.fft2((image - np.average(image, weights=window)) * window)


def _rings(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Of the rings of a spectrum of `shape`: their frequencies, how many pixels each has, and what sums over them."""
    size, rings = min(shape), slice(1, min(shape) // 2 + 1)
    radius = np.hypot(*np.ix_(*map(fft.fftfreq, shape)))
    ring = np.rint(radius * size).astype(np.int64).ravel()

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(ring, values.ravel())[rings]

    return 2 * np.arange(rings.start, rings.stop) / size, np.bincount(ring)[rings], sums


def threshold(n: np.ndarray, kind: str) -> np.ndarray:
    """The correlation, float64 (rings,), below which a ring of n Fourier pixels holds too little information. kind:
    'half-bit' (the halves of one scan; van Heel and Schatz 2005, eq. 17), 'one-bit' (two full reconstructions; eq. 14),
    or '0.5' or '1/7', fixed values. Raises ValueError on another."""
    if kind not in _LIMITS:
        raise ValueError(f"unknown FRC threshold {kind!r}; accepted are {', '.join(map(repr, _LIMITS))}")
    a, b, c, d = _LIMITS[kind]
    root = np.sqrt(np.asarray(n, np.float64))
    return (a + b / root) / (c + d / root)


_LIMITS = {
    "0.5": (0.5, 0, 1, 0),
    "1/7": (1 / 7, 0, 1, 0),
    "half-bit": (0.2071, 1.9102, 1.2071, 0.9102),
    "one-bit": (0.5, 2.4142, 1.5, 1.4142),
}
"""(a, b, c, d) of (a + b / sqrt(n)) / (c + d / sqrt(n))."""


def running_median(values: np.ndarray) -> np.ndarray:
    """Median, float64 (rings,), over the rings within BAND / 2 of each; the values where there are fewer than 2 / BAND.

    A falling curve stays as it is, to both ends: every value below the first ring counts as higher, and every value
    beyond Nyquist as lower. A deep dip would draw a mean or a local polynomial (loess over the same width:
    Nieuwenhuizen et al., Nature Methods 10 (2013) 557-562) down with it.
    """
    half = int(BAND / 2 * values.size)
    padded = np.pad(np.asarray(values, np.float64), half, constant_values=(np.inf, -np.inf))
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)


def threshold_crossing(curve: FRCCurve, kind: str) -> float:
    """The first frequency, as a fraction of Nyquist, about which most rings of a band lie below a threshold.

    There the running median of the correlation's excess over the threshold (its kind as above) first falls below zero,
    interpolated linearly between rings; 1.0 when it never does. Before the first ring the correlation is taken as 1. An
    excess that only falls has the same crossing without the median. Changes to m of its rings, m at most what fits in
    BAND / 2, move it by less than m + 1 rings: neither a narrow dip at low frequency, where rings hold few Fourier
    pixels, nor a ring of noise at high frequency decides.
    """
    limit = threshold(curve.n, kind)
    excess = running_median(curve.correlation - limit)
    below = np.flatnonzero(excess < 0)
    if below.size == 0:
        return 1.0
    k = int(below[0])
    f1, e1 = curve.frequency[k], excess[k]
    f0, e0 = (curve.frequency[k - 1], excess[k - 1]) if k else (0.0, 1.0 - limit[0])
    return float(min(1.0, f0 + (f1 - f0) * e0 / (e0 - e1)))


def frc50(curve: FRCCurve) -> float:
    """The `threshold_crossing` of one half, as a fraction of Nyquist; 1.0 when there is none."""
    return threshold_crossing(curve, "0.5")


def first_crossing(curve: FRCCurve) -> float:
    """The frequency, as a fraction of Nyquist, of the first ring whose correlation is below one half; 1.0 when there is
    none. So most papers count FRC50, PtychoPINN among them (ptycho/evaluation.py, `frc50`): one ring decides."""
    return float(next(iter(curve.frequency[curve.correlation < 0.5]), 1.0))


def period_px(fraction: float) -> float:
    """Full period in pixels of a frequency given as a fraction of Nyquist: 2 pixels at Nyquist."""
    return 2.0 / fraction if fraction > 0 else float("inf")
