"""Exposure: from an object and a probe to photon counts, and the dose they amount to. NumPy only.

This plain forward model makes the data. The one in TensorFlow is tested against it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from ptycho.errors import expect
from ptycho.physics.probes import support_size, total_intensity

Complex = NDArray[np.complexfloating]
Real = NDArray[np.floating]
Detect = Callable[[Real, np.random.Generator], NDArray[Any]]
"""(rates (M, N, N), generator) -> counts, whole numbers >= 0, in that shape."""
BATCH_PIXELS = 2**19  # complex128 pixels transformed at a time: 8 MiB, about a processor's cache


def ideal_amplitude(object: Complex, probe: Complex, x: Real, y: Real) -> NDArray[np.float32]:
    """Return the noise-free far-field amplitude A_k = |fftshift(FFT2(P O_k))| / N as float32 (M, N, N).

    `object` (H, W) is sampled bilinearly so that patch index N//2 lies at (y_k, x_k), pixels; `probe` is (N, N), or
    (L, N, N) for incoherent modes, whose intensities add. The transform is unitary: sum A_k^2 = sum |P O_k|^2.
    Raises ValueError for other shapes, and for the first position whose illuminated square leaves the object: where
    the probe is zero, nothing is sampled.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    expect(object.ndim == 2, f"object shape is {object.shape}; expected (H, W)")
    paired = x.ndim == 1 and x.shape == y.shape and len(x) > 0
    expect(paired, f"positions have shapes x {x.shape}, y {y.shape}; expected two equal (M,) with M >= 1")
    n, N = support_size(probe, energy=1.0), probe.shape[-1]
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


def poisson(rate: Real, rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts of a detector that only counts, in the shape of the rates."""
    return rng.poisson(rate)


def intensity_scale(amplitude: Real, nphotons: float) -> float:
    """Return s = sqrt(nphotons / mean_k sum A_k^2), with which s^2 A^2 are `nphotons` photons per pattern on average.

    Raises ValueError if `nphotons` is not a finite number > 0, or if the patterns hold no light.
    """
    expect(0 < nphotons < np.inf, f"nphotons is {nphotons}; expected a finite number > 0, photons per pattern")
    mean = float(np.square(amplitude, dtype=np.float64).sum() / len(amplitude)) if len(amplitude) else 0.0
    expect(0 < mean < np.inf, f"the patterns have mean energy {mean}; expected a finite number > 0")
    return float(np.sqrt(nphotons / mean))


def expose(
    amplitude: Real, nphotons: float, rng: np.random.Generator, detect: Detect = poisson
) -> tuple[NDArray[np.float32], float]:
    """Expose a detector to ideal patterns: return (diff3d, s), the amplitude sqrt(counts) / s float32 and its scale s.

    The counts are what it makes of the rates s^2 A^2, Poisson counts by default, with s from `intensity_scale` (raises
    what that raises).
    """
    s = intensity_scale(amplitude, nphotons)
    counts = detect(np.square(amplitude.astype(np.float64) * s), rng)
    return (np.sqrt(counts) / s).astype(np.float32), s


def illuminated_area(x: Real, y: Real, probe: Complex) -> int:
    """Return how many pixels of the object a scan at `x`, `y` (M,) illuminates with `probe` (N, N) or (L, N, N).

    A pixel counts if its coverage C = sum_k |P|^2, at positions rounded to pixels, is at least a tenth of
    sum C^2 / sum C, the coverage where a photon lands on average: the faint surroundings of a probe do not.
    """
    N = probe.shape[-1]
    rows, columns = (np.rint(v - v.min()).astype(int) for v in (y, x))
    visits = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(visits, (rows, columns), 1)
    shape = [side + N - 1 for side in visits.shape]
    coverage = fft.irfft2(fft.rfft2(visits, shape) * fft.rfft2(total_intensity(probe), shape), shape)  # convolved
    typical = np.square(coverage).sum() / coverage.sum()
    return int(np.count_nonzero(coverage >= 0.1 * typical))
