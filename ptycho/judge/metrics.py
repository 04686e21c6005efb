"""The numbers by which a reconstruction is judged against the truth, after the gauge is removed."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from ptycho.judge.frc import FRCCurve, first_crossing, frc50, masked_frc, threshold_crossing
from ptycho.judge.gauge import Aligned, flatten_phase, remove_gauge
from ptycho.scans.reconstruction import Reconstruction

NO_CONTRAST = 1e-3  # radians, or relative amplitude: a truth that varies less holds nothing to recover
RECOVERED_PEARSON = 0.35  # an unfitted start reaches 0 to 0.2, an honest reconstruction at 1e4 photons 0.8
RECOVERED_CONTRAST = 0.1  # of the truth's standard deviation: less is a flat image
SSIM_WINDOW = 7  # pixels, the default of Wang et al. 2004 as implemented by scikit-image


@dataclass(frozen=True, eq=False)
class Numbers:
    """What metrics.json tells of every reconstruction, over the evaluated pixels.

    A value is None where it does not exist: FRC50 of what was not recovered, anything of a contrast the truth lacks.
    *frc50: fraction of Nyquist; *first: the same by the first ring below one half; *seventh: by a threshold of 1/7.
    amplitude_psnr_db: dB, amplitude_ssim: both at the range of the truth's amplitude.
    *pearson: correlation coefficients. relative_mse: sum |R - O|^2 / sum |O|^2 of the complex object; photon_bound: its
    least value by photon counting. amplitude_level: of the image as it was reconstructed, in units of the truth's; one
    is unbiased, and noise does not move it. absolute_mse: the relative_mse where of the scale the phase alone is
    removed, not the modulus, which counts and a known probe determine.
    """

    amplitude_frc50: float | None
    phase_frc50: float | None
    amplitude_psnr_db: float | None
    amplitude_ssim: float | None
    amplitude_pearson: float | None
    phase_pearson: float | None
    relative_mse: float
    photon_bound: float
    deviance: float | None
    amplitude_level: float
    absolute_mse: float
    amplitude_first: float | None
    phase_first: float | None
    amplitude_seventh: float | None
    phase_seventh: float | None


NAMES = tuple(field.name for field in fields(Numbers))


@dataclass(frozen=True, eq=False)
class Evaluation(Numbers):
    """A reconstruction judged against the truth, over the mask of `aligned`, on amplitude or phase.

    collapsed: neither amplitude nor phase was recovered. data_range: of the truth's amplitude. contrast_ratio: standard
    deviation of the amplitude over the truth's. *_frc: whole curves, kept also when collapsed. phase, truth_phase:
    float64 (h, w), radians.
    """

    collapsed: bool
    data_range: float
    contrast_ratio: float | None
    amplitude_frc: FRCCurve | None
    phase_frc: FRCCurve | None
    complex_frc: FRCCurve
    aligned: Aligned
    phase: np.ndarray
    truth_phase: np.ndarray
    deviance_heldout_pixels: float | None = None

    @property
    def contrast(self) -> str:
        """:func:`contrast_of` the truth: what its figures show."""
        mask = self.aligned.mask
        return contrast_of(np.abs(self.aligned.truth)[mask], self.truth_phase[mask])

    def as_dict(self) -> dict[str, float | None]:
        """The numbers of one split of metrics.json, plain Python floats or None."""
        names = NAMES if self.deviance_heldout_pixels is None else (*NAMES, "deviance_heldout_pixels")
        return {name: getattr(self, name) for name in names}


def contrast_of(amplitude: np.ndarray, phase: np.ndarray) -> str:
    """``'phase'`` for an object that mostly shifts the phase, else ``'amplitude'``, of both at its pixels (n,)."""
    return "phase" if phase.std() > amplitude.std() else "amplitude"


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray, *, data_range: float) -> float:
    """Peak signal-to-noise ratio 10 log10(data_range^2 / mean (image - truth)^2) over the mask, in dB; real (h, w).
    There is no default for data_range: a peak of 255 on unit data adds 48 dB of nothing. Identical images get 160 dB:
    more than complex64 can hold, and finite in JSON. Raises ValueError unless data_range > 0."""
    if not data_range > 0:
        raise ValueError(f"data_range must be positive; found {data_range}")
    error = np.mean((image - truth)[mask] ** 2) / data_range**2
    return float(-10 * np.log10(max(error, 1e-16)))


def ssim(image: np.ndarray, truth: np.ndarray, mask: np.ndarray, *, data_range: float) -> float:
    """Structural similarity (Wang et al. 2004, eq. 13; 7-pixel uniform window), mean over the mask; images real (h, w).
    Only windows that lie wholly within the mask count; where holes leave none, those centred in it. Raises ValueError
    unless data_range > 0."""
    if not data_range > 0:
        raise ValueError(f"data_range must be positive; found {data_range}")
    _, values = structural_similarity(image, truth, win_size=SSIM_WINDOW, data_range=data_range, full=True)
    whole = ndimage.binary_erosion(mask, np.ones((SSIM_WINDOW, SSIM_WINDOW)))
    return float(values[whole if whole.any() else mask].mean())


def pearson(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Pearson correlation coefficient over the mask; 0.0 when the image is constant to rounding."""
    a, b = (v[mask] - v[mask].mean() for v in (image, truth))
    scale = np.abs(image[mask]).max() * np.sqrt(a.size)
    if np.linalg.norm(a) <= 1e-7 * scale or not np.any(b):
        return 0.0
    return float(np.clip(np.vdot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))


def contrast_ratio(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Standard deviation of the image over that of the truth, over the mask."""
    return float(np.std(image[mask]) / np.std(truth[mask]))


def photon_bound(n_object_pixels: float, n_photons: float) -> float:
    """Least relative mean-square error M/n of M complex object pixels on which n detected photons fell.

    A Poisson count of mean A^2 gives its amplitude A the Fisher information 4, whatever the dose. A is the projection
    of the complex far field on its own phase, so on average half of this belongs to each of the 2M real unknowns. The
    variance of each is at least 1/2 in units of photons (Cramer-Rao): sum |dO|^2 / sum |O|^2 >= 2M (1/2) / n, half of
    it in amplitude, half in phase. Uneven illumination raises it (Jensen). An error below it is prior knowledge.
    Raises ValueError unless both are positive.
    """
    if not (n_object_pixels > 0 and n_photons > 0):
        raise ValueError(f"photon_bound needs positive pixels and photons; found {n_object_pixels} and {n_photons}")
    return float(n_object_pixels / n_photons)


def evaluate(
    reconstruction: Reconstruction,
    truth: np.ndarray,
    photons: float,
    deviance: float | None = None,
    deviance_heldout_pixels: float | None = None,
) -> Evaluation:
    """Judge a reconstruction against the truth, where coverage is real and after the gauge is removed.

    truth: complex (H, W) in the object frame (origin 0, 0). photons: all photons detected in the scan (not per
    pattern); the coverage gives the share that fell on the evaluated pixels. The deviances are passed on.

    Amplitude, or phase, counts as recovered when its Pearson r is at least RECOVERED_PEARSON and its contrast ratio at
    least RECOVERED_CONTRAST. Otherwise it has no FRC50, because the FRC of a flat image correlates noise. A
    reconstruction that recovered neither has collapsed. Phases are in radians about the truth's own mean and ramp.
    Raises NonFiniteError on NaN or infinity in the reconstruction, ValueError on other bad input.
    """
    aligned = remove_gauge(reconstruction, truth)
    mask, data_range = aligned.mask, aligned.data_range
    image, true = np.abs(aligned.object), np.abs(aligned.truth)
    phase, true_phase = (np.angle(o) for o in flatten_phase(aligned))

    def compare(a: np.ndarray, b: np.ndarray, level: float) -> tuple[Any, ...]:
        """Pearson r, contrast ratio, FRC, and where that falls below one half, for the first time, and below 1/7; None
        where the truth has no contrast or nothing was recovered."""
        if not np.std(b[mask]) > NO_CONTRAST * level or (b is true and not data_range > NO_CONTRAST * level):
            return (None,) * 6
        r, contrast, found = pearson(a, b, mask), contrast_ratio(a, b, mask), masked_frc(a, b, mask)
        recovered = r >= RECOVERED_PEARSON and contrast >= RECOVERED_CONTRAST
        resolved = (frc50(found), first_crossing(found), threshold_crossing(found, "1/7")) if recovered else (None,) * 3
        return r, contrast, found, *resolved

    r, contrast, amplitude_frc, amplitude_frc50, amplitude_first, amplitude_seventh = compare(
        image, true, true[mask].mean()
    )
    phase_r, _, phase_frc, phase_frc50, phase_first, phase_seventh = compare(phase, true_phase, 1.0)
    coverage = np.asarray(reconstruction.coverage, np.float64)
    share = coverage[aligned.box][mask].sum() / coverage.sum()
    found, O, modulus = aligned.object[mask], aligned.truth[mask], abs(aligned.scale) or 1.0  # 0 of an empty image
    residual, unscaled = (np.sum(np.abs(R - O) ** 2) / np.sum(np.abs(O) ** 2) for R in (found, found / modulus))
    level = np.vdot(O, found).real / (modulus * np.sum(np.abs(O) ** 2))
    return Evaluation(
        amplitude_frc50=amplitude_frc50,
        phase_frc50=phase_frc50,
        amplitude_psnr_db=None if r is None else psnr(image, true, mask, data_range=data_range),
        amplitude_ssim=None if r is None else ssim(image, true, mask, data_range=data_range),
        amplitude_pearson=r,
        phase_pearson=phase_r,
        relative_mse=float(residual),
        photon_bound=photon_bound(int(mask.sum()), photons * share),
        deviance=None if deviance is None else float(deviance),
        amplitude_level=float(level),
        absolute_mse=float(unscaled),
        amplitude_first=amplitude_first,
        phase_first=phase_first,
        amplitude_seventh=amplitude_seventh,
        phase_seventh=phase_seventh,
        collapsed=amplitude_frc50 is None and phase_frc50 is None,
        data_range=data_range,
        contrast_ratio=contrast,
        amplitude_frc=amplitude_frc,
        phase_frc=phase_frc,
        complex_frc=masked_frc(aligned.object, aligned.truth, mask),
        aligned=aligned,
        phase=phase,
        truth_phase=true_phase,
        deviance_heldout_pixels=deviance_heldout_pixels,
    )
