"""What is wrong with a simulated scan: a detector that does not only count, and what the scan's file tells wrongly.

A scan's object, probe and positions are what a fit is told. A flaw changes what the light really meets (OF_LIGHT), or
what the detector makes of it (OF_DETECTOR). The fit does not know, unless the flaw is called ``known``: then the scan
tells it, as a background or a mask. Numbers are shares of the scan's own light, or in the units that are named. NumPy
only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ptycho.errors import expect
from ptycho.physics import probes
from ptycho.physics.photons import Complex, Detect, Real, ideal_amplitude, poisson

BACKGROUND = 0.01
"""Light that is scattered evenly over the detector, as a share of the scan's."""
READOUT = 1.0
"""Standard deviation of the noise of reading a pixel, in photons."""
FULL = 0.1
"""Counts at which a pixel is full, as a share of the highest rate."""
GAIN = 1.1
"""Counts that the detector tells for one photon."""
DEAD = 0.25
"""Share of the detector's rows that a dead module takes, beside its centre."""
BEAM = 0.05
"""Standard deviation of the light of a pattern, as a share of its mean."""
JITTER = {"jitter": 0.5, "large_jitter": 2.0}
"""Standard deviation of each coordinate of a position, in object pixels."""
DEFOCUS = 1.1
"""The true defocus of a zone plate's probe over the one that is told."""
SECOND_MODE = 0.1
"""Share of the probe's light in its second incoherent mode."""


def far_field(flaw: str, O: Complex, P: Complex, x: Real, y: Real, rng: np.random.Generator) -> NDArray[np.float32]:
    """The amplitudes (M, N, N) that reach the detector, of one of ``config.FLAWS``, without noise.

    O (H, W), P (N, N), x and y (M,) are what the scan tells. Raises ValueError for a defocus of another probe than the
    zone plate's, and as :func:`ptycho.physics.photons.ideal_amplitude`.
    """
    light = OF_LIGHT.get(flaw)
    return ideal_amplitude(O, P, x, y) if light is None else light(O, P, x, y, rng)


def _jittered(pixels: float) -> Callable[..., NDArray[np.float32]]:
    def light(O: Complex, P: Complex, x: Real, y: Real, rng: np.random.Generator) -> NDArray[np.float32]:
        half = P.shape[-1] // 2
        ends = [(half, side - half) for side in (O.shape[1], O.shape[0])]
        moved = (np.clip(v + rng.normal(0, pixels, len(v)), *end) for v, end in zip((x, y), ends, strict=True))
        return ideal_amplitude(O, P, *moved)

    return light


def _defocused(O: Complex, P: Complex, x: Real, y: Real, rng: np.random.Generator) -> NDArray[np.float32]:
    N = P.shape[-1]
    expect(np.array_equal(P, probes.zone_plate(N)), "a flaw of defocus needs the probe zone_plate")
    return ideal_amplitude(O, probes.zone_plate(N, DEFOCUS * probes.zone_plate_defocus(N)), x, y)


def _partly_coherent(O: Complex, P: Complex, x: Real, y: Real, rng: np.random.Generator) -> NDArray[np.float32]:
    """The second mode is the probe times a coordinate, as of a source that is wide in one direction."""
    N = P.shape[-1]
    tilted = P * (np.arange(N) - N // 2)[:, np.newaxis]
    tilted *= np.sqrt(np.sum(np.abs(P) ** 2) / np.sum(np.abs(tilted) ** 2))
    return ideal_amplitude(O, np.stack([np.sqrt(1 - SECOND_MODE) * P, np.sqrt(SECOND_MODE) * tilted]), x, y)


def _unsteady(O: Complex, P: Complex, x: Real, y: Real, rng: np.random.Generator) -> NDArray[np.float32]:
    light = np.clip(1 + BEAM * rng.standard_normal(len(x)), 0, None)
    return ideal_amplitude(O, P, x, y) * np.sqrt(light).astype(np.float32)[:, np.newaxis, np.newaxis]


def _finely_sampled(O: Complex, P: Complex, x: Real, y: Real, rng: np.random.Generator) -> NDArray[np.float32]:
    """Object and probe on a grid of half the pixel: cubic splines between the object's pixels, Fourier's
    interpolation between the probe's. The exit wave then reaches beyond the detector, where a grid as coarse as the
    fit's folds it back."""
    (H, W), N = O.shape, P.shape[-1]
    grid = np.mgrid[0 : 2 * H - 1, 0 : 2 * W - 1] / 2
    real, imaginary = (ndimage.map_coordinates(part.astype(float), grid, mode="nearest") for part in (O.real, O.imag))
    spectrum = np.pad(fft.fftshift(fft.fft2(P.astype(complex))), N // 2)
    probe = 4 * fft.ifft2(fft.ifftshift(spectrum))
    fine = ideal_amplitude(real + 1j * imaginary, probe, 2 * x, 2 * y)
    middle = slice(N // 2, N // 2 + N)
    return fine[:, middle, middle] / np.float32(2)  # as many photons in the whole far field as on the coarse grid


OF_LIGHT: dict[str, Callable[..., NDArray[np.float32]]] = {
    **{name: _jittered(pixels) for name, pixels in JITTER.items()},
    "defocus": _defocused,
    "modes": _partly_coherent,
    "beam": _unsteady,
    "fine_grid": _finely_sampled,
}
"""By name: (object, probe, x, y, generator) -> amplitudes (M, N, N)."""


@dataclass(frozen=True)
class Detector:
    """What a detector makes of photons. known: (mean rate of a pixel, N) -> {field: value} that the scan tells of it,
    as ``RawData`` has them."""

    counts: Detect = poisson
    known: Callable[[float, int], dict[str, Any]] = lambda mean, N: {}


def detector(flaw: str) -> Detector:
    """The detector of a scan with one of ``config.FLAWS``: one that only counts unless the flaw is its own."""
    return OF_DETECTOR.get(flaw, Detector())


def _lit(rate: Real, rng: np.random.Generator) -> Real:
    return rng.poisson(rate + BACKGROUND * rate.mean())


def _read(rate: Real, rng: np.random.Generator, pedestal: float = 0.0) -> Real:
    return np.rint(np.clip(rng.poisson(rate) + rng.normal(pedestal, READOUT, rate.shape), 0, None))


def _saturated(rate: Real, rng: np.random.Generator) -> Real:
    return np.minimum(rng.poisson(rate), np.ceil(FULL * rate.max()))


def _alive(N: int) -> NDArray[np.bool_]:
    """(N, N), False on the rows of the dead module."""
    alive, first = np.ones((N, N), bool), N // 2 + N // 16
    alive[first : first + round(DEAD * N)] = False
    return alive


def _dead(rate: Real, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.poisson(rate) * _alive(rate.shape[-1])


OF_DETECTOR = {
    "background": Detector(_lit),
    "background_known": Detector(_lit, lambda mean, N: {"background": BACKGROUND * mean}),
    "readout": Detector(_read),
    # n + v of a noise of variance v is nearly Poisson, of a rate that is higher by v (Snyder et al. 1993)
    "readout_known": Detector(partial(_read, pedestal=READOUT**2), lambda mean, N: {"background": READOUT**2}),
    "saturation": Detector(_saturated),
    "gain": Detector(lambda rate, rng: GAIN * rng.poisson(rate)),  # not rounded: that would spare the smallest counts
    "dead_module": Detector(_dead),
    "dead_module_known": Detector(_dead, lambda mean, N: {"mask": _alive(N)}),
}
"""By name, the detectors that do more, or less, than count."""
