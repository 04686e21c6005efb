"""Probes: what illuminates the object. Complex64 (N, N), centred on index N//2, peak amplitude one."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from ptycho.config import PROBES
from ptycho.errors import expect

OUTER = 0.25
"""Largest spatial frequency of a zone plate's probe, cycles per pixel."""


def make_probe(kind: str, N: int) -> NDArray[np.complex64]:
    """Return the probe `kind` (one of PROBES) with its default dimensions, which scale with N.

    Raises ValueError for an unknown kind, or an N that is odd or below 16.
    """
    expect(kind in PROBES, f"probe kind is {kind!r}; expected one of {', '.join(PROBES)}")
    return {"disk": disk, "gaussian": gaussian, "zone_plate": zone_plate}[kind](N)


def disk(N: int, radius: float | None = None) -> NDArray[np.complex64]:
    """Return a flat disk: real ones closer than `radius` pixels (default 11*N/64) to index N//2, zeros elsewhere."""
    radius = 11 * N / 64 if radius is None else _positive("radius", radius)
    return (_distance(N) < radius).astype(np.complex64)


def gaussian(N: int, sigma: float | None = None) -> NDArray[np.complex64]:
    """Return the real Gaussian exp(-r^2 / (2 sigma^2)), `sigma` in pixels of the amplitude (default N/10)."""
    sigma = N / 10 if sigma is None else _positive("sigma", sigma)
    return np.exp(-0.5 * (_distance(N) / sigma) ** 2).astype(np.complex64)


def zone_plate(N: int, defocus: float | None = None) -> NDArray[np.complex64]:
    """Return the complex probe of a Fresnel zone plate with a central stop, `defocus` downstream of its focus.

    The pupil is an annulus in spatial frequency, from 0.1 to 0.25 cycles per pixel with edges softened so that the
    probe stays inside its frame. Fresnel propagation multiplies it by exp(-i pi defocus q^2) (Goodman, Introduction to
    Fourier Optics, 3rd ed., eq. 4-21), where `defocus` is wavelength * distance / pixel^2, in pixels^2. The geometric
    radius of the illuminated ring is 0.25 * defocus pixels: 9*N/64 by default.
    """
    outer, stop, softness = OUTER, 0.1, 0.05
    defocus = zone_plate_defocus(N) if defocus is None else _positive("defocus", defocus)
    # _distance is centred on N//2: in units of 1/N it is the frequency of a shifted spectrum
    q = fft.ifftshift(_distance(N)) / N
    pupil = 0.25 * special.erfc((q - outer) / softness) * special.erfc((stop - q) / softness)
    wave = fft.fftshift(fft.ifft2(pupil * np.exp(-1j * np.pi * defocus * q**2)))
    return (wave / np.abs(wave).max()).astype(np.complex64)


def zone_plate_defocus(N: int) -> float:
    """The default defocus of :func:`zone_plate`, pixels^2."""
    return 9 * N / 64 / OUTER


def electron(
    N: int,
    pixel: float,
    wavelength: float,
    semi_angle: float,
    defocus: float,
    *,
    spherical: float = 0.0,
    astigmatism: float = 0.0,
    axis: float = 0.0,
) -> NDArray[np.complex64]:
    """Return the probe of an electron microscope: the image of a round aperture through an aberrated lens.

    In the aperture, an angle alpha below `semi_angle` at the azimuth phi, the wave is exp(-i chi) with::

        chi = pi / lambda * alpha^2 (C1,0 + C1,2 cos 2(phi - phi1,2) + C3,0 alpha^2 / 2),    C1,0 = -defocus

    The signs are Kirkland's (Advanced Computing in Electron Microscopy, 2nd ed., 2010, chapter 2): a positive
    defocus is underfocus, the crossover lies behind the sample. The names are Krivanek's (Ultramicroscopy 78 (1999) 1).
    The rim of the aperture is as wide as a detector pixel.

    pixel       of the object, and `wavelength`: metres. The detector reaches to wavelength / (2 pixel) radians
    semi_angle  of the cone that meets the sample, radians
    defocus     metres; `spherical` is C3,0, metres; `astigmatism` is C1,2, metres, twofold, with its `axis` phi1,2,
                radians from x towards y
    Raises ValueError for an N that is odd or below 16, for a pixel, wavelength or angle that is not a finite number
    > 0, and for an aperture that the detector does not hold.
    """
    for name, value in (("pixel", pixel), ("wavelength", wavelength), ("semi-angle", semi_angle)):
        _positive(name, value)
    edge = wavelength / (2 * pixel)
    told = f"semi-angle is {semi_angle * 1e3:.4g} mrad, and the detector reaches to {edge * 1e3:.4g}"
    expect(semi_angle < edge, f"{told}; expected a larger detector, or a smaller aperture")
    step = 2 * edge / N  # radians of a detector pixel
    alpha = _distance(N) * step
    index = np.arange(N) - N // 2
    phi = np.arctan2(index[:, None], index)
    stretch = -defocus + astigmatism * np.cos(2 * (phi - axis)) + 0.5 * spherical * alpha**2
    aperture = np.clip((semi_angle - alpha) / step + 0.5, 0, 1)
    wave = fft.fftshift(fft.ifft2(fft.ifftshift(aperture * np.exp(-1j * np.pi / wavelength * alpha**2 * stretch))))
    return (wave / np.abs(wave).max()).astype(np.complex64)


def total_intensity(probe: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    """Return sum_l |P_l|^2 (N, N) of a probe (N, N), or of L incoherent modes (L, N, N)."""
    return (np.abs(probe.astype(np.complex128)) ** 2).reshape(-1, *probe.shape[-2:]).sum(axis=0)


def support_size(probe: NDArray[np.complexfloating], energy: float = 0.9999) -> int:
    """Return the smallest even side n of the square around index N//2 that holds the fraction `energy` of sum |P|^2.

    The square covers indices N//2 - n/2 to N//2 + n/2 - 1 of both axes. `probe` is (N, N), or (L, N, N) for L
    incoherent modes, whose intensities add. `energy` = 1 gives the square of all that is not zero.
    Raises ValueError for any other shape, an odd N, an energy outside (0, 1], or a probe that is zero or not finite.
    """
    N = probe.shape[-1]
    square = probe.ndim in (2, 3) and probe.shape[-2] == N and N % 2 == 0
    expect(square, f"probe shape is {probe.shape}; expected (N, N) or (L, N, N) with N even")
    expect(0 < energy <= 1, f"energy is {energy}; expected a fraction in (0, 1]")
    index = np.arange(N)
    half = np.where(index < N // 2, N // 2 - index, index - N // 2 + 1)  # half-width of the crop that reaches an index
    held = np.bincount(np.maximum(half[:, None], half).ravel(), total_intensity(probe).ravel()).cumsum()
    expect(0 < held[-1] < np.inf, f"probe energy is {held[-1]}; expected a finite number > 0")
    return 2 * int(np.argmax(held >= energy * held[-1]))


def estimate(mean_intensity: NDArray[np.floating], rounds: int = 20) -> NDArray[np.complex64]:
    """Return a first probe (N, N), in units in which sum |P|^2 is that of the mean pattern, from that pattern alone.

    `mean_intensity` (N, N) is a scan's mean counts or intensity, zero frequency at N//2. Its inverse transform is the
    mean autocorrelation of the exit waves. For a flat disk of radius a that falls to a quarter at 1.265 a (Goodman,
    Introduction to Fourier Optics, 3rd ed., eq. 6-31). Within the disk so found, a little enlarged, error reduction
    (Fienup, Applied Optics 21 (1982) 2758) seeks a probe with the mean amplitude, from a flat one. It finds compact
    probes of little curvature; the mean pattern does not hold the phase of a strongly defocused one.
    Raises ValueError for another shape, an odd N or one below 16, values below zero or not finite, or no light.
    """
    square = mean_intensity.ndim == 2 and mean_intensity.shape[0] == mean_intensity.shape[1]
    expect(square, f"mean intensity has shape {mean_intensity.shape}; expected (N, N)")
    intensity = mean_intensity.astype(np.float64)
    light = intensity.min() >= 0 and 0 < intensity.max() < np.inf  # False for NaN too
    expect(light, "mean intensity holds negative or infinite values, or no light; expected values >= 0")
    r = _distance(len(intensity))
    ring = np.rint(r).astype(int).ravel()
    correlation = np.abs(fft.fftshift(fft.ifft2(fft.ifftshift(intensity))))
    profile = np.bincount(ring, correlation.ravel()) / np.bincount(ring)
    profile /= profile[0]
    k = max(1, int(np.argmax(profile < 0.25)))  # no ring below: light in one pixel, a probe that fills the frame
    fallen = k - (0.25 - profile[k]) / (profile[k - 1] - profile[k]) if profile[k] < 0.25 else len(intensity) / 2
    radius = max(fallen / 1.265, 1.0)
    amplitude = fft.ifftshift(np.sqrt(intensity))
    probe = (r < 1.1 * radius).astype(np.complex128)
    for _ in range(rounds):
        wave = amplitude * np.exp(1j * np.angle(fft.fft2(fft.ifftshift(probe))))
        probe = fft.fftshift(fft.ifft2(wave, norm="ortho")) * (r < 1.3 * radius)
    probe *= np.sqrt(intensity.sum() / np.sum(np.abs(probe) ** 2))
    return probe.astype(np.complex64)


def defocused(probe: NDArray[np.complexfloating], phase: float) -> NDArray[np.complex64]:
    """Return the probe (..., N, N) propagated in free space, its far-field intensity as it was.

    Fresnel propagation multiplies its spectrum by exp(i phase q^2 / <q^2>), <q^2> weighted by the intensity of the
    spectrum (Goodman, Introduction to Fourier Optics, 3rd ed., eq. 4-21): `phase`, in radians, is that at the rms
    frequency.
    """
    axes = (-2, -1)
    spectrum = fft.fft2(fft.ifftshift(probe.astype(np.complex128), axes=axes))
    q2 = fft.ifftshift(_distance(probe.shape[-1])) ** 2
    mean = np.average(np.broadcast_to(q2, spectrum.shape), weights=np.abs(spectrum) ** 2)
    wave = fft.ifft2(spectrum * np.exp(1j * phase * q2 / mean))
    return fft.fftshift(wave, axes=axes).astype(np.complex64)


def _distance(N: int) -> NDArray[np.float64]:
    """Return the distance in pixels of each pixel of an (N, N) frame from index N//2."""
    expect(N >= 16 and N % 2 == 0, f"probe frame N is {N}; expected an even number, 16 or more")
    index = np.arange(N) - N // 2
    return np.hypot(index[:, None], index)


def _positive(name: str, value: float) -> float:
    expect(0 < value < np.inf, f"probe {name} is {value}; expected a finite number > 0")
    return value


def cropped_modes(probe: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
    """Return the probe's L modes on the square that holds their energy, (L, n, n); L = 1 for an (N, N) probe."""
    n, N = support_size(probe), probe.shape[-1]
    start = N // 2 - n // 2
    return probe.reshape(-1, N, N)[:, start : start + n, start : start + n].astype(np.complex64)
