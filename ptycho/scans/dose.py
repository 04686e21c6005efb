"""The dose of a scan: as measured, thinned to less, split in two; how far counts are from a predicted rate. NumPy only.

Thinned counts are n ~ Binomial(N, f) of the measured N, each pixel by itself. Poisson counts N of rate l become Poisson
of rate f l, exactly (Kingman, Poisson Processes, 1993, colouring theorem, sec. 5.1).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ptycho.errors import DataError
from ptycho.physics.photons import ideal_amplitude, illuminated_area
from ptycho.physics.probes import support_size
from ptycho.scans import exposure
from ptycho.scans.rawdata import BATCH, RawData, as_counts

SAME_DOSE = 1.01
"""A dose up to this times what was measured is the measured one."""
FAR = 5.0
"""Standard errors: beyond, it is no chance (by which it happens one time in two million)."""


@dataclass(frozen=True)
class Dose:
    """A dose as measured, in photons detected.

    per_pattern         mean over the scan of a pattern's photons
    per_detector_pixel  the same, per pixel of the detector
    per_object_pixel    fluence: photons of the whole scan per illuminated pixel of the object
    """

    per_pattern: float
    per_detector_pixel: float
    per_object_pixel: float


def thin(counts: NDArray[np.number], fraction: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Keep each photon with probability `fraction`: int64 counts, of the shape of `counts`.

    Raises DataError for counts that are negative or not whole, ValueError for a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction of photons to keep is {fraction}; expected a number in (0, 1]")
    return rng.binomial(as_counts(counts), fraction)


def thin_to_dose(data: RawData, nphotons: float, rng: np.random.Generator) -> RawData:
    """Return the scan as it would have been at `nphotons` photons per pattern, by thinning its counts.

    Up to SAME_DOSE times its own dose that is the scan as it is. Raises DataError if the scan has fewer photons than
    that, or if its counts are not known.
    """
    counts = data.counts()
    mean = _photons(data, counts)
    if mean < nphotons <= SAME_DOSE * mean:
        return data
    if not 0 < nphotons <= mean:
        raise DataError(f"nphotons is {nphotons:.6g}; expected a number in (0, {mean:.6g}], what the scan measured")
    return _with_counts(data, thin(counts, nphotons / mean, rng), nphotons / mean, nphotons)


def at_dose(data: RawData, dose: str, rng: np.random.Generator) -> RawData:
    """Return a measured scan at one of DOSES: as it is for ``'full'``, else thinned to that many of its unit.

    The unit is that of its ``exposure``. Raises as :func:`thin_to_dose`.
    """
    return data if dose == "full" else thin_to_dose(data, exposure.of(data).nphotons(float(dose)), rng)


def thin_each(data: RawData, shares: NDArray[np.float64], rng: np.random.Generator) -> RawData:
    """The scan with the share of each pattern's photons, (M,), kept; patterns of a share of zero are left out.

    Raises DataError if its counts are not known.
    """
    kept = data.subset(shares > 0)
    before = kept.counts()
    counts = rng.binomial(before, shares[shares > 0][:, np.newaxis, np.newaxis])
    fraction = counts.sum() / before.sum()
    return _with_counts(kept, counts, fraction, fraction * _photons(kept, before))


def split(data: RawData, share: float, rng: np.random.Generator) -> tuple[RawData, RawData]:
    """Return two scans: each photon falls to the first with probability `share`, else to the second.

    The two parts of Poisson counts are independent. Raises DataError if the counts are not known, ValueError for a
    share outside (0, 1].
    """
    counts = data.counts()
    first = thin(counts, share, rng)
    parts = ((first, share), (counts - first, 1 - share))
    one, other = (_with_counts(data, n, p, None if data.nphotons is None else data.nphotons * p) for n, p in parts)
    return one, other


def halve(data: RawData, rng: np.random.Generator) -> tuple[RawData, RawData]:
    """Split a scan's photons in two equal parts. Raises DataError if the counts are not known."""
    return split(data, 0.5, rng)


def _with_counts(data: RawData, counts: NDArray[np.int64], fraction: float, nphotons: float | None) -> RawData:
    """The scan with `counts`, a fraction of its own. The intensity scale shrinks, so that object and probe stay."""
    assert data.intensity_scale is not None
    s, background = float(np.sqrt(fraction) * data.intensity_scale), data.background and fraction * data.background
    diff3d = (np.sqrt(counts) / s).astype(np.float32)
    return replace(data, diff3d=diff3d, nphotons=nphotons, intensity_scale=s, background=background)


def measured_dose(data: RawData, probe: NDArray[np.complexfloating]) -> Dose:
    """Return the dose that the counts of a scan amount to, on its valid pixels. DataError if they are not known."""
    photons = photons_of(data) / len(data)
    area = illuminated_area(data.xcoords, data.ycoords, probe)
    return Dose(photons, photons / _valid(data), photons * len(data) / area)


def _photons(data: RawData, counts: NDArray[np.int64]) -> float:
    """The mean of a pattern's `counts` (M, N, N), less the background that is known."""
    return float(counts.sum()) / len(counts) - background_of(data)


def photons_of(data: RawData) -> float:
    """All photons that a scan counted, less the background that is known. Raises DataError for unknown counts."""
    batches = (data.subset(slice(start, start + BATCH)) for start in range(0, len(data), BATCH))
    return float(sum(int(batch.counts().sum()) for batch in batches)) - len(data) * background_of(data)


def background_of(data: RawData) -> float:
    """The counts of a pattern that its known background makes, on the valid pixels."""
    return (data.background or 0.0) * _valid(data)


def _valid(data: RawData) -> int:
    """Detector pixels that are to be believed."""
    return data.N**2 if data.mask is None else int(np.count_nonzero(data.mask))


def tolerance(counted: float) -> float:
    """How far, relatively, a dose of `counted` photons in all may be from the one asked for: a percent, or chance."""
    return max(SAME_DOSE - 1, FAR / float(np.sqrt(counted)))


def normalise(
    counts: NDArray[np.number],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    probe: NDArray[np.complexfloating],
    background: float = 0.0,
) -> RawData:
    """Bring a measured scan to the units of a simulated one: object and probe of order one, the photons in one scale s.

    `counts` (M, N, N) with the zero frequency at N//2, `x`, `y` (M,) pixels, `probe` (N, N) or (L, N, N) in any unit.
    The probe is scaled: the mean of |P|^2 over the square holding 99.99 % of it is one. s is such that an object of
    |O| = 1 gives the mean counts, less `background` counts a pattern: s^2 sum |P|^2 = nphotons. Raises DataError for
    counts, positions or a probe that break the contract, or a scan without a photon.
    """
    counts = as_counts(counts)
    nphotons = float(counts.sum() / max(1, len(counts))) - background
    if not nphotons > 0:
        beyond = f" beyond the background of {background:.6g} a pattern" if background else ""
        raise DataError(f"counts of shape {counts.shape} hold no photon{beyond}; expected a mean > 0 per pattern")
    energy = float(np.square(np.abs(probe), dtype=np.float64).sum())
    try:
        n = support_size(probe)
    except ValueError as error:
        raise DataError(f"probeGuess: {error}") from error
    s = float(np.sqrt(nphotons) / n)
    scaled = (probe * (n / np.sqrt(energy))).astype(np.complex64)
    amplitude = np.empty(counts.shape, np.float32)
    for start in range(0, len(counts), BATCH):
        amplitude[start : start + BATCH] = np.sqrt(counts[start : start + BATCH]) / s
    return RawData(amplitude, x, y, scaled, nphotons=nphotons, intensity_scale=s)


def in_unit(data: RawData, unit: float) -> RawData:
    """The same counts with amplitudes and probe ``unit`` times as large: their unit is free, the object's is not."""
    scale = None if data.intensity_scale is None else data.intensity_scale / unit
    probe = (data.probeGuess * unit).astype(np.complex64)
    return replace(data, diff3d=data.diff3d * np.float32(unit), probeGuess=probe, intensity_scale=scale)


def predicted_rate(data: RawData, object: np.ndarray, origin_yx: np.ndarray) -> NDArray[np.float64]:
    """Return the photons (M, N, N) that a scan's probe on a complex object (H, W), [0, 0] at `origin_yx`, predicts.

    Known background counts too. Raises DataError if the scan's intensity_scale is not known.
    """
    return _rate(data, _predicted_amplitude(data, object, origin_yx))


def _predicted_amplitude(data: RawData, object: np.ndarray, origin_yx: np.ndarray) -> NDArray[np.float32]:
    margin = data.N // 2
    # empty space around it: the faint rim of a probe may reach beyond what was reconstructed
    padded = np.pad(object, margin, constant_values=1)
    x, y = data.xcoords - origin_yx[1] + margin, data.ycoords - origin_yx[0] + margin
    return ideal_amplitude(padded, data.probeGuess, x, y)


def _rate(data: RawData, amplitude: NDArray[np.float32]) -> NDArray[np.float64]:
    if data.intensity_scale is None:
        raise DataError("intensity_scale is missing; expected a scalar s with counts = (s * diff3d)^2")
    return np.square(amplitude.astype(np.float64) * data.intensity_scale) + (data.background or 0.0)


def deviance(data: RawData, object: np.ndarray, origin_yx: np.ndarray, pixels: np.ndarray | None = None) -> float:
    """Return how well an object explains a scan's counts: mean Poisson deviance per lit detector pixel.

    `object` (H, W), pixel [0, 0] at `origin_yx` (y, x) of the scan's frame, predicts the rates l of the counts n. The
    deviance 2 (n ln(n/l) - (n - l)) is 1 on average for a true object, where l is above a few photons (McCullagh and
    Nelder 1989, section 2.3). Lit pixels are those with l >= 1, or all if there are none. Of the valid pixels only
    `pixels` (N, N) bool count, by default `data.fitted`. Raises DataError for unknown counts.
    """
    return _deviance(data, _predicted_amplitude(data, object, origin_yx), pixels)


def both_deviances(data: RawData, object: np.ndarray, origin_yx: np.ndarray) -> tuple[float, float | None]:
    """The :func:`deviance` on the pixels that fits see, and on the scan's ``guard``, None where it has none."""
    amplitude = _predicted_amplitude(data, object, origin_yx)
    return _deviance(data, amplitude), None if data.guard is None else _deviance(data, amplitude, data.guard)


def _deviance(data: RawData, amplitude: np.ndarray, pixels: np.ndarray | None = None) -> float:
    pixels = data.fitted if pixels is None else pixels & (True if data.mask is None else data.mask)
    for faintest in (1.0, 0.0):
        total, lit = 0.0, 0
        for start in range(0, len(data), BATCH):
            here = slice(start, start + BATCH)
            counts, rate = data.subset(here).counts(), _rate(data, amplitude[here])
            seen = rate >= faintest if pixels is None else (rate >= faintest) & pixels
            n, rate = counts[seen].astype(np.float64), np.maximum(rate[seen], 1e-6)
            total += 2 * float(np.sum(special.xlogy(n, n / rate) - (n - rate)))
            lit += len(n)
        if lit:
            return total / lit
    return float("nan")
