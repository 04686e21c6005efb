"""Exposure: from an object and a probe to photon counts, and what dose they amount to. NumPy only.

The forward model here is the plain one: it makes the data, and the TensorFlow one is tested against it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft, special

from ptycho.probes import support_size
from ptycho.rawdata import DataError, RawData, as_counts

BATCH_PIXELS = 2**19  # complex128 pixels transformed at a time: 8 MiB, about a processor's cache


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


def ideal_amplitude(
    object: NDArray[np.complexfloating],
    probe: NDArray[np.complexfloating],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Return the noise-free far-field amplitude A_k = |fftshift(FFT2(P O_k))| / N as float32 (M, N, N).

    `object` (H, W) is sampled bilinearly so that patch index N//2 lies at (y_k, x_k), pixels; `probe` is (N, N), or
    (L, N, N) for incoherent modes, whose intensities add. The transform is unitary: sum A_k^2 = sum |P O_k|^2.
    Raises ValueError for other shapes, and for the first position whose illuminated square leaves the object: where
    the probe is zero, nothing is sampled.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if object.ndim != 2:
        raise ValueError(f"object shape is {object.shape}; expected (H, W)")
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(f"positions have shapes x {x.shape}, y {y.shape}; expected two equal (M,) with M >= 1")
    n = support_size(probe, energy=1.0)
    N = probe.shape[-1]
    crop = slice(N // 2 - n // 2, N // 2 + n // 2)
    P = probe.reshape(-1, N, N)[:, crop, crop].astype(np.complex128)
    top, left = y - n // 2, x - n // 2
    H, W = object.shape
    inside = (top >= 0) & (left >= 0) & (top + n - 1 <= H - 1) & (left + n - 1 <= W - 1)  # False for NaN too
    if not inside.all():
        k = int(np.argmin(inside))
        raise ValueError(
            f"position {k} (x = {x[k]:.6g}, y = {y[k]:.6g}) puts the {n}-pixel square lit by the probe outside the "
            f"object of shape {(H, W)}; expected {n // 2} <= x <= {W - n // 2} and {n // 2} <= y <= {H - n // 2}"
        )
    rows, columns = np.floor(top).astype(int), np.floor(left).astype(int)
    u, v = (top - rows)[:, None, None], (left - columns)[:, None, None]
    # one more row and column than the patch; on the last pixel of the object they have weight zero
    windows = sliding_window_view(np.pad(object, (0, 1), mode="edge"), (n + 1, n + 1))
    amplitude = np.empty((len(x), N, N), np.float32)
    batch = max(1, BATCH_PIXELS // (N * N))
    for start in range(0, len(x), batch):
        b = slice(start, start + batch)
        W_k = windows[rows[b], columns[b]].astype(np.complex128)
        W_k = (1 - u[b]) * W_k[:, :-1] + u[b] * W_k[:, 1:]
        O_k = (1 - v[b]) * W_k[:, :, :-1] + v[b] * W_k[:, :, 1:]
        # where in the frame the exit wave sits changes only the phase of its transform: padding at the end will do
        waves = (fft.fft2(mode * O_k, s=(N, N), norm="ortho", workers=2) for mode in P)
        intensity = sum(wave.real**2 + wave.imag**2 for wave in waves)
        amplitude[b] = fft.fftshift(np.sqrt(intensity), axes=(-2, -1))
    return amplitude


def intensity_scale(amplitude: NDArray[np.floating], nphotons: float) -> float:
    """Return s = sqrt(nphotons / mean_k sum A_k^2), with which s^2 A^2 are `nphotons` photons per pattern on average.

    Raises ValueError if `nphotons` is not a finite number > 0, or if the patterns hold no light.
    """
    if not (np.isfinite(nphotons) and nphotons > 0):
        raise ValueError(f"nphotons is {nphotons}; expected a finite number > 0, photons per pattern")
    mean = float(np.square(amplitude, dtype=np.float64).sum() / len(amplitude)) if len(amplitude) else 0.0
    if not (np.isfinite(mean) and mean > 0):
        raise ValueError(f"the patterns have mean energy {mean}; expected a finite number > 0")
    return float(np.sqrt(nphotons / mean))


def expose(
    amplitude: NDArray[np.floating], nphotons: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """Expose a detector to ideal patterns: return (diff3d, s), the amplitude sqrt(counts) / s float32 and its scale s.

    counts ~ Poisson(s^2 A^2), with s from `intensity_scale` (raises what that raises).
    """
    s = intensity_scale(amplitude, nphotons)
    counts = rng.poisson(np.square(amplitude.astype(np.float64) * s))
    return (np.sqrt(counts) / s).astype(np.float32), s


def thin(counts: NDArray[np.number], fraction: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Keep each photon with probability `fraction`: int64 counts, of the shape of `counts`.

    A binomial draw from Poisson counts of mean l is Poisson of mean fraction * l, exactly and independently in each
    pixel (Kingman, Poisson Processes, 1993, colouring theorem, sec. 5.1): this is the scan at a lower dose.
    Raises DataError for counts that are negative or not whole, ValueError for a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction of photons to keep is {fraction}; expected a number in (0, 1]")
    return rng.binomial(as_counts(counts), fraction)


def thin_to_dose(data: RawData, nphotons: float, rng: np.random.Generator) -> RawData:
    """Return the scan as it would have been at `nphotons` photons per pattern, by thinning its counts.

    The intensity scale shrinks with the dose, so that the object and the probe stay as they are.
    Raises ValueError if the scan has fewer photons than that, DataError if its counts are not known.
    """
    counts = data.counts()
    mean = counts.sum() / len(counts)
    if not 0 < nphotons <= mean:
        raise ValueError(f"nphotons is {nphotons:.6g}; expected a number in (0, {mean:.6g}], what the scan measured")
    fraction = nphotons / mean
    s = float(np.sqrt(fraction) * data.intensity_scale)
    diff3d = (np.sqrt(thin(counts, fraction, rng)) / s).astype(np.float32)
    return replace(data, diff3d=diff3d, nphotons=nphotons, intensity_scale=s)


def halves(data: RawData, rng: np.random.Generator) -> tuple[RawData, RawData]:
    """Return two scans of half the dose: each photon falls to the one or to the other with probability 1/2.

    They share no noise: the halves of Poisson counts are independent (Kingman 1993, as in `thin`). Raises DataError
    if the counts are not known.
    """
    counts = data.counts()
    first = thin(counts, 0.5, rng)
    s = float(np.sqrt(0.5) * (data.intensity_scale or 1.0))
    nphotons = None if data.nphotons is None else data.nphotons / 2
    one, other = (
        replace(data, diff3d=(np.sqrt(half) / s).astype(np.float32), nphotons=nphotons, intensity_scale=s)
        for half in (first, counts - first)
    )
    return one, other


def measured_dose(data: RawData, probe: NDArray[np.complexfloating]) -> Dose:
    """Return the dose that the counts of a scan amount to, on the valid pixels of its detector.

    Raises DataError if the counts are not known.
    """
    counts = data.counts()
    total = float(counts.sum())
    area = illuminated_area(data.xcoords, data.ycoords, probe)
    valid = data.N**2 if data.mask is None else int(np.count_nonzero(data.mask))
    return Dose(total / len(data), total / (len(data) * valid), total / area)


def illuminated_area(x: NDArray[np.floating], y: NDArray[np.floating], probe: NDArray[np.complexfloating]) -> int:
    """Return how many pixels of the object a scan at `x`, `y` (M,) illuminates with `probe` (N, N) or (L, N, N).

    A pixel counts if its coverage C = sum_k |P|^2, at positions rounded to pixels, is at least a tenth of
    sum C^2 / sum C, the coverage where a photon lands on average: the faint surroundings of a probe do not.
    """
    N = probe.shape[-1]
    rows, columns = (np.rint(v - v.min()).astype(int) for v in (y, x))
    visits = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(visits, (rows, columns), 1)
    light = (np.abs(probe.astype(np.complex128)) ** 2).reshape(-1, N, N).sum(axis=0)
    shape = [side + N - 1 for side in visits.shape]
    coverage = fft.irfft2(fft.rfft2(visits, shape) * fft.rfft2(light, shape), shape)  # convolved
    typical = np.square(coverage).sum() / coverage.sum()
    return int(np.count_nonzero(coverage >= 0.1 * typical))


def normalise(
    counts: NDArray[np.number],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    probe: NDArray[np.complexfloating],
) -> RawData:
    """Bring a measured scan to the units of a simulated one: object and probe of order one, the photons in one scale s.

    `counts` (M, N, N) with the zero frequency at N//2, `x`, `y` (M,) pixels, `probe` (N, N) or (L, N, N) in any unit.
    The probe is scaled so that the mean of |P|^2 over the square holding 99.99 % of it is one; s so that an object of
    |O| = 1 gives the mean counts: s^2 sum |P|^2 = nphotons. Raises DataError for counts, positions or a probe that
    break the contract, or a scan without a photon.
    """
    counts = as_counts(counts)
    nphotons = counts.sum() / max(1, len(counts))
    if not nphotons > 0:
        raise DataError(f"counts of shape {counts.shape} hold no photon; expected a mean > 0 per pattern")
    energy = float(np.square(np.abs(probe), dtype=np.float64).sum())
    try:
        n = support_size(probe)
    except ValueError as error:
        raise DataError(f"probeGuess: {error}") from error
    s = float(np.sqrt(nphotons) / n)
    return RawData(
        diff3d=(np.sqrt(counts) / s).astype(np.float32),
        xcoords=np.asarray(x, np.float64),
        ycoords=np.asarray(y, np.float64),
        probeGuess=(probe * (n / np.sqrt(energy))).astype(np.complex64),
        nphotons=float(nphotons),
        intensity_scale=s,
    )


def predicted_rate(
    data: RawData, object: NDArray[np.complexfloating], origin_yx: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the photons (M, N, N) that a scan's probe on an object (H, W), pixel [0, 0] at `origin_yx`, predicts.

    Raises DataError if the scan's intensity_scale is not known.
    """
    if data.intensity_scale is None:
        raise DataError("intensity_scale is missing; expected a scalar s with counts = (s * diff3d)^2")
    margin = data.N // 2
    # empty space around it: the faint rim of a probe may reach beyond what was reconstructed
    padded = np.pad(object, margin, constant_values=1)
    x, y = data.xcoords - origin_yx[1] + margin, data.ycoords - origin_yx[0] + margin
    amplitude = ideal_amplitude(padded, data.probeGuess, x, y)
    return np.square(amplitude.astype(np.float64) * data.intensity_scale)


def deviance(
    data: RawData,
    object: NDArray[np.complexfloating],
    origin_yx: NDArray[np.floating],
    pixels: NDArray[np.bool_] | None = None,
) -> float:
    """Return how well an object explains a scan's counts: mean Poisson deviance per lit detector pixel.

    `object` (H, W), its pixel [0, 0] at `origin_yx` of the scan's frame, is illuminated by the scan's probe and
    compared with the counts: 2 (n ln(n/l) - (n - l)), which is 1 on average when the object is true and l is above a
    few photons (McCullagh and Nelder 1989, section 2.3). Lit pixels are those predicted to receive a photon or more;
    if there are none, all count. Of the valid pixels only `pixels` (N, N) do: by default those that a fit sees
    (`data.fitted`). Raises DataError if the counts are not known.
    """
    counts, rate = data.counts(), predicted_rate(data, object, origin_yx)
    if pixels is None:
        pixels = data.fitted
    elif data.mask is not None:
        pixels = pixels & data.mask
    if pixels is not None:
        counts, rate = counts[:, pixels], rate[:, pixels]
    lit = rate >= 1 if (rate >= 1).any() else np.ones_like(rate, bool)
    n, rate = counts[lit].astype(np.float64), np.maximum(rate[lit], 1e-6)
    return float(np.mean(2 * (special.xlogy(n, n / rate) - (n - rate))))
