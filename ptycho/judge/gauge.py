"""Where a reconstruction can be judged, and the removal of what ptychography cannot know (its gauge).

A reconstruction R estimates the object O up to one complex scale, a phase ramp and a shift:
R(r) = c exp(2 pi i k.r) O(r + d). With an unknown probe these are exact symmetries of the data. With a known one they
are errors of a frame, never of the image.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage
from skimage.registration import phase_cross_correlation

from ptycho.errors import NonFiniteError
from ptycho.scans.reconstruction import Reconstruction

MAX_SHIFT = 8.0  # pixels: a larger displacement is a wrong reconstruction, not a gauge
DENSE_FRACTION = 0.45  # of the typical coverage, locally averaged: the scanned area
SEEN_FRACTION = 0.05  # of the typical coverage, at the pixel itself: below it the pixel is a hole
DENSITY_SIGMA = 5.0  # pixels: averages over the granularity of a random scan, keeps the area's outline
MIN_BOX = 16  # pixels: fewer than 8 rings say nothing about resolution
RESAMPLING_GAIN = 1e-3  # relative fall of the squared error that a sub-pixel shift has to earn
MARGIN = 24  # pixels mirrored at the edges of a sampled image: wider than any shift that is asked for


@dataclass(frozen=True, eq=False)
class Aligned:
    """Reconstruction and truth on one grid, in one gauge, over the box where coverage is real.

    object, truth: complex128 (h, w), object = scale * exp(-2 pi i ramp_yx.(r - box centre)) * reconstruction. ramp_yx:
    (2,), cycles per pixel. shift_yx: (2,), pixels added to the origin. mask: bool (h, w). box: (slice_y, slice_x) into
    the reconstruction. data_range: highest minus lowest amplitude of the truth under the mask, not resampled.
    """

    object: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    box: tuple[slice, slice]
    data_range: float
    shift_yx: np.ndarray
    ramp_yx: np.ndarray
    scale: complex


def evaluation_region(coverage: np.ndarray) -> tuple[slice, slice, np.ndarray]:
    """Bounding box and mask of the pixels that the scan really saw: (slice_y, slice_x, mask bool (h, w) of the box).

    The coverage, (H, W), finite and not negative, is averaged over DENSITY_SIGMA pixels. Half of the illumination fell
    on pixels above the average called typical; the faint tails of a probe cannot pull it down. The scanned area is
    where the average is at least DENSE_FRACTION of the typical one. In it, pixels below SEEN_FRACTION of that are
    holes. The box spans the rows and columns holding at least a tenth as many mask pixels as the fullest one: no stray
    position stretches it. Raises ValueError when less than MIN_BOX pixels across were covered.
    """
    coverage = np.asarray(coverage, np.float64)
    if coverage.ndim != 2 or not np.all(np.isfinite(coverage)) or coverage.size == 0 or coverage.min() < 0:
        raise ValueError(f"coverage must be a finite, non-negative (H, W) array; found shape {coverage.shape}")
    if not np.any(coverage):
        raise ValueError("coverage is zero everywhere: no probe fell on this reconstruction")
    density = ndimage.gaussian_filter(coverage, DENSITY_SIGMA, mode="nearest")
    levels = np.sort(density, axis=None)
    illumination = np.cumsum(levels)
    typical = levels[np.searchsorted(illumination, illumination[-1] / 2)]
    mask = (density >= DENSE_FRACTION * typical) & (coverage >= SEEN_FRACTION * typical)
    sides = []
    for occupied in (mask.sum(axis=1), mask.sum(axis=0)):
        lines = np.flatnonzero(occupied >= max(1, 0.1 * occupied.max()))
        if lines.size == 0 or lines[-1] + 1 - lines[0] < MIN_BOX:
            raise ValueError(f"the covered area is less than {MIN_BOX} pixels across: too small to be judged")
        sides.append(slice(int(lines[0]), int(lines[-1]) + 1))
    return sides[0], sides[1], mask[sides[0], sides[1]]


class Sampler:
    """Values and gradients of an image (H, W) on a (h, w) grid of pixels whose corner may be anywhere. It is mirrored
    at its edges (no wrap-around step) to an odd size (no Nyquist term: real stays real). Outside it the edge is
    repeated; `inside` tells where."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = np.asarray(image, np.complex128)
        pads = []
        for n in self.image.shape:
            size = n + 2 * MARGIN
            while (size := fft.next_fast_len(size)) % 2 == 0:
                size += 1
            pads.append((MARGIN, size - n - MARGIN))
        self.spectrum = fft.fft2(np.pad(self.image, pads, mode="symmetric"))
        self.frequencies = np.ix_(*map(fft.fftfreq, self.spectrum.shape))  # (H, 1) and (1, W)

    def inside(self, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """bool (h, w): grid points that lie within the image."""
        lines = (c + np.arange(n) for c, n in zip(corner, shape, strict=True))
        return np.outer(*((at >= 0) & (at <= size - 1) for at, size in zip(lines, self.image.shape, strict=True)))

    def values(self, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """complex128 (h, w); an exact copy when the corner lies on a pixel."""
        on_pixel = np.all(corner == np.rint(corner))
        return self._crop(self.image, corner, shape) if on_pixel else self._interpolate(1.0, corner, shape)

    def gradients(self, corner: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
        """[d/dy, d/dx], each complex128 (h, w), per pixel."""
        return [self._interpolate(2j * np.pi * f, corner, shape) for f in self.frequencies]

    def _interpolate(self, factor: float | np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        (fy, fx), (y, x) = self.frequencies, corner - np.rint(corner)
        moved = fft.ifft2(self.spectrum * factor * np.exp(2j * np.pi * fy * y) * np.exp(2j * np.pi * fx * x))
        return self._crop(moved, corner + MARGIN, shape)

    @staticmethod
    def _crop(image: np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        rows, columns = (np.rint(c).astype(int) + np.arange(n) for c, n in zip(corner, shape, strict=True))
        return image.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")


class _Fit(NamedTuple):
    """image = scale * exp(2 pi i ramp.(r - centre)) * truth(corner + r), with the squared error left."""

    corner: np.ndarray
    ramp: np.ndarray
    scale: complex
    error: float


def _axes(shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Pixel coordinates from the centre of the box: (h, 1) and (1, w)."""
    return np.ix_(*(np.arange(n) - n / 2 for n in shape))


def ramp_factor(shape: tuple[int, int], ramp_yx: np.ndarray) -> np.ndarray:
    """exp(2 pi i ramp.(r - box centre)): complex128 (h, w); ramp_yx in cycles per pixel."""
    y, x = _axes(shape)
    return np.exp(2j * np.pi * y * ramp_yx[0]) * np.exp(2j * np.pi * x * ramp_yx[1])


def _start(image: np.ndarray, mask: np.ndarray, truth: Sampler, corner: np.ndarray) -> _Fit:
    """Ramp (to half a cycle over the box) and scale at a given corner, from the peak of FFT(image * conj(truth))."""
    patch = truth.values(corner, image.shape)
    size = tuple(fft.next_fast_len(2 * n) for n in image.shape)
    peak = np.unravel_index(np.argmax(np.abs(fft.fft2(mask * image * patch.conj(), size))), size)
    ramp = np.array([fft.fftfreq(n)[p] for n, p in zip(size, peak, strict=True)])
    reference = ramp_factor(image.shape, ramp) * patch
    scale = np.vdot(reference[mask], image[mask]) / max(np.vdot(patch[mask], patch[mask]).real, np.finfo(float).tiny)
    return _Fit(corner, ramp, scale, float(np.sum(np.abs(image - scale * reference)[mask] ** 2)))


def _refine(image: np.ndarray, mask: np.ndarray, truth: Sampler, fit: _Fit, move: bool) -> _Fit:
    """Gauss-Newton on scale, ramp and (if `move`) corner together: fitted apart, ramp and shift pull on each other."""
    axes = _axes(image.shape)
    corner, ramp, scale, _ = fit
    best = fit._replace(error=np.inf)
    for _ in range(30):
        rotation = ramp_factor(image.shape, ramp)
        reference = rotation * truth.values(corner, image.shape)
        residual = (image - scale * reference)[mask]
        error = float(np.sum(np.abs(residual) ** 2))
        if not error < best.error * (1 - 1e-9):
            break
        best = _Fit(corner, ramp, scale, error)
        columns = [reference, 1j * reference, *(2j * np.pi * axis * scale * reference for axis in axes)]
        if move:
            columns += [scale * rotation * g for g in truth.gradients(corner, image.shape)]
        jacobian = np.stack([column[mask] for column in columns], axis=1)
        norm = np.maximum(np.linalg.norm(jacobian, axis=0), np.finfo(float).tiny)
        jacobian /= norm
        adjoint = jacobian.conj().T
        step = np.linalg.lstsq((adjoint @ jacobian).real, (adjoint @ residual).real, rcond=1e-12)[0] / norm
        scale, ramp = scale + complex(step[0], step[1]), ramp + step[2:4]
        corner = corner + step[4:6] if move else corner
    return best


def _invariants(image: np.ndarray) -> tuple[np.ndarray, ...]:
    """What a ramp turns by one constant only: amplitudes for absorbing objects, products of neighbours for phase."""
    return np.abs(image), *(np.roll(image, -1, axis) * image.conj() for axis in (0, 1))


def _coarse_corners(image: np.ndarray, mask: np.ndarray, truth: Sampler, corner: np.ndarray) -> list[np.ndarray]:
    """Candidate corners from cross-correlations of the invariants."""
    patch = truth.values(corner, image.shape)
    candidates = [corner]
    for of_image, of_patch in zip(_invariants(image), _invariants(patch), strict=True):
        fixed, moving = of_image - of_image[mask].mean(), of_patch - of_patch[mask].mean()
        if any(np.all(np.abs(values[mask]) <= 1e-9) for values in (fixed, moving)):
            continue  # flat: nothing to register
        # only one is masked: the outline of a mask common to both would pull the peak to zero shift
        shift = phase_cross_correlation(fixed * mask, moving, upsample_factor=10, normalization=None)[0]
        if np.max(np.abs(shift)) <= MAX_SHIFT:
            candidates.append(corner - shift)
    return candidates


def remove_gauge(reconstruction: Reconstruction, truth: np.ndarray) -> Aligned:
    """Remove the complex scale, phase ramp and sub-pixel shift (at most MAX_SHIFT) between reconstruction and truth.

    All three are least-squares estimates over the evaluation region. The shift starts from the best of several
    cross-correlations, the ramp from the peak of a Fourier transform, and Gauss-Newton refines the three together until
    the error no longer falls. The truth, complex (H, W), finite, origin (0, 0), is resampled, being free of noise and
    larger than the box. Raises NonFiniteError, and ValueError when the two hardly overlap.
    """
    image, truth = np.asarray(reconstruction.object, np.complex128), np.asarray(truth, np.complex128)
    if bad := int(np.sum(~np.isfinite(image))):
        raise NonFiniteError(f"the reconstruction holds {bad} non-finite of {image.size} pixels: it diverged")
    if truth.ndim != 2 or not np.all(np.isfinite(truth)):
        raise ValueError(f"truth must be a finite complex (H, W) array; found shape {truth.shape}")
    origin = np.asarray(reconstruction.origin_yx, np.float64)
    sampler, coverage = Sampler(truth), np.asarray(reconstruction.coverage, np.float64)

    def region(origin: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        rows, columns, mask = evaluation_region(coverage * sampler.inside(origin, image.shape))
        return (rows, columns), mask, origin + np.array([rows.start, columns.start])

    box, mask, corner = region(origin)
    norm = np.sqrt(np.mean(np.abs(image[box][mask]) ** 2)) or 1.0  # a dead reconstruction stays zero, and is scored so
    unit = image / norm
    seen = unit[box], mask, sampler
    starts = [_start(*seen, candidate) for candidate in _coarse_corners(*seen, corner)]
    best = _refine(*seen, min(starts, key=lambda fit: fit.error), move=True)
    if np.max(np.abs(best.corner - corner)) > MAX_SHIFT:
        best = starts[0]
    # The sub-pixel part has to earn its keep: interpolation rings at sharp edges, and an estimated shift is never zero.
    # The error decides, for 0.04 px matter at 60 dB and are noise at 25 dB. By chance two free parameters lower it by
    # 1/pixels, about 3e-5; a real shift that costs resolution lowers it by much more.
    whole = _refine(*seen, best._replace(corner=np.rint(best.corner)), move=False)
    if whole.error * (1 - RESAMPLING_GAIN) <= best.error:
        best = whole

    shift = best.corner - corner
    box, mask, corner = region(origin + shift)  # pixels that the shift moved out of the truth are not judged
    fit = _refine(unit[box], mask, sampler, _start(unit[box], mask, sampler, corner), move=False)
    flat, patch = image[box] * ramp_factor(mask.shape, -fit.ramp), sampler.values(corner, mask.shape)
    power = np.vdot(flat[mask], flat[mask]).real
    scale = complex(np.vdot(flat[mask], patch[mask]) / power) if power else 0j
    own = np.abs(sampler.values(np.rint(corner), mask.shape))[mask]
    return Aligned(scale * flat, patch, mask, box, float(np.ptp(own)), shift, fit.ramp, scale)


def flatten_phase(aligned: Aligned) -> tuple[np.ndarray, np.ndarray]:
    """(object, truth), complex128 (h, w), turned together by the truth's own mean phase and ramp, so as not to wrap."""
    turn = flat_turn(aligned.truth, aligned.mask)
    return aligned.object * turn, aligned.truth * turn


def flat_turn(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What takes the mean phase and the ramp out of an object (h, w) over a mask, complex128 (h, w) of modulus one."""
    seen = truth, mask, Sampler(np.ones(mask.shape))
    fit = _refine(*seen, _start(*seen, np.zeros(2)), move=False)
    return ramp_factor(mask.shape, -fit.ramp) * np.exp(-1j * np.angle(fit.scale))
