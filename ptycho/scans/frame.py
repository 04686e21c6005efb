"""The frame: a detector of any H x W as the N x N pixels that networks take, N of ``config.PATTERN_SIZES``.

The zero frequency, at (H//2, W//2), goes to (N//2, N//2). What lies beyond the detector was not measured: it is
masked. The field of view is wavelength times distance over the detector's pitch. N pixels of this pitch cut it into N
object pixels. A frame of another size has object pixels of another size, and probe and positions follow.

Binning adds b x b detector pixels, and divides the field of view by b. It is never free. In a sum over b pixels, two
points of the probe that lie d object pixels apart in a field of view of S interfere less, by the factor
sin(pi b d / S) / (b sin(pi d / S)). Patterns are binned only where N would exceed the largest otherwise.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ptycho.config import PATTERN_SIZES
from ptycho.physics.probes import total_intensity
from ptycho.scans import mend
from ptycho.scans.formats.scan import Scan

KEPT = 0.999
"""Share of the counts that is kept, at least, where a smaller frame is preferred."""
FITS = 0.999
"""Share of the probe's light that the field of view holds, at least, after binning."""
LEAST, MOST, STEP = PATTERN_SIZES[0], PATTERN_SIZES[-1], PATTERN_SIZES.step


@dataclass(frozen=True)
class Frame:
    """N x N pixels, each the sum of ``binning`` x ``binning`` detector pixels; ``kept`` is the share of the counts."""

    N: int
    binning: int = 1
    kept: float = 1.0

    @property
    def side(self) -> int:
        """Detector pixels along a side."""
        return self.N * self.binning

    def told(self, H: int, W: int) -> str:
        """What becomes of a detector of H x W pixels."""
        how = [f"binned by {self.binning}"] if self.binning > 1 else []
        how += ["cropped"] if max(H, W) > self.side else []
        how += ["padded with masked pixels"] if min(H, W) < self.side else []
        share = "all" if self.kept == 1 else f"{np.floor(1e4 * self.kept) / 100:.2f}% of the"
        return f"{H} x {W} pixels, {' and '.join(how)} to {self.N} x {self.N}, which keeps {share} counts"

    def cut(self, values: NDArray[Any]) -> NDArray[Any]:
        """Detector pixels (..., H, W) -> those of each pixel (..., N, binning, N, binning), zero beyond the edge."""
        b = self.binning
        found = _centred(values, self.side, b * (self.N // 2) + b // 2)
        return found.reshape(*values.shape[:-2], self.N, b, self.N, b)

    def valid(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The pixels (N, N) all of whose detector pixels a mask (H, W) believes."""
        return np.asarray(self.cut(mask).all(axis=(-3, -1)))

    def added(self, values: NDArray[Any], amplitude: bool = False) -> NDArray[Any]:
        """Intensity, or amplitude, (..., H, W) -> (..., N, N) of the same type.

        Where pixels are binned, intensities add up to int64 of whole numbers and float64 of others.
        """
        pixels = self.cut(values)
        if self.binning == 1:
            return pixels[..., 0, :, 0]
        if amplitude:
            return np.sqrt(np.square(pixels, dtype=np.float64).sum(axis=(-3, -1)))
        return pixels.sum(axis=(-3, -1), dtype=np.int64 if values.dtype.kind in "iu" else np.float64)

    def probe(self, probe: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
        """The probe (..., H, W) on the object pixels of the frame (..., N, N): its far field is cropped or padded.

        Its unit is that in which sum |P|^2 is the light of a pattern. What a frame of binned pixels has no room for is
        lost. The middle of an even bin lies between two pixels, half a pixel from the zero frequency: that is a tilt.
        """
        axes, S = (-2, -1), self.side
        far = fft.fftshift(fft.fft2(fft.ifftshift(probe.astype(np.complex128), axes=axes), norm="ortho"), axes=axes)
        wave = fft.fftshift(fft.ifft2(fft.ifftshift(_centred(far, S, S // 2), axes=axes), norm="ortho"), axes=axes)
        off = (self.binning - 1) / 2 - self.binning // 2
        tilt = np.exp(-2j * np.pi * off * (np.arange(self.N) - self.N // 2) / S)
        tilted = _centred(wave, self.N, self.N // 2) * tilt[:, np.newaxis] * tilt
        return tilted.astype(np.result_type(probe.dtype, np.complex64))

    def holds(self, probe: NDArray[np.complexfloating]) -> bool:
        """Whether a probe (..., H, W) fits in the field of view."""
        left = total_intensity(self.probe(probe)).sum()
        return bool(left >= FITS * total_intensity(replace(self, N=self.side, binning=1).probe(probe)).sum())


def _centred(values: NDArray[Any], side: int, at: int) -> NDArray[Any]:
    """(..., H, W) -> (..., side, side), index (H//2, W//2) at (at, at), zero beyond the edge."""
    found = np.zeros((*values.shape[:-2], side, side), values.dtype)
    (rows, in_rows), (columns, in_columns) = (_common(n, side, at) for n in values.shape[-2:])
    found[..., in_rows, in_columns] = values[..., rows, columns]
    return found


def _common(n: int, side: int, at: int) -> tuple[slice, slice]:
    """Of n pixels and of `side` pixels, whose index `at` is index n//2 of the first: those that both have."""
    first = n // 2 - at
    common = slice(max(first, 0), min(first + side, n))
    return common, slice(common.start - first, common.stop - first)


def even_square(shape: tuple[int, ...]) -> bool:
    """Whether patterns (M, H, W) are square and of even sides."""
    return len(shape) == 3 and shape[1] == shape[2] and shape[2] % 2 == 0


def chosen(mean: NDArray[np.floating], valid: NDArray[np.bool_]) -> Frame:
    """The smallest frame that keeps the counts of patterns of this mean (H, W), which counts where ``valid`` (H, W).

    N is at least the largest size that both sides hold, and at most the smallest that holds both. Where that exceeds
    PATTERN_SIZES, and the largest of these does not keep KEPT, pixels are binned: as few as will do.
    """
    counts, binning = np.where(valid, mean, 0.0), 0
    total = max(counts.sum(), np.finfo(float).tiny)  # a scan without light is padded
    while True:
        binning += 1
        inner, outer = min(mean.shape) // binning, max(mean.shape) // binning
        whole = -(-outer // STEP) * STEP
        for N in range(min(max(inner // STEP * STEP, LEAST), MOST), min(whole, MOST) + 1, STEP):
            frame = Frame(N, binning)
            kept = float(frame.added(counts).sum(where=frame.valid(valid)) / total)
            if kept >= KEPT or whole == N:
                return replace(frame, kept=round(kept, 9))


def framed(scan: Scan, frame: Frame) -> Scan:
    """The scan on a frame; its patterns are read when they are indexed.

    Positions in object pixels, the sizes of pixels, mask and probe follow. An object is left aside, with a note, where
    its pixels are no longer those of the scan. Counts stay whole.
    """
    assert scan.patterns is not None
    H, W = scan.patterns.shape[1:]
    S, b = frame.side, frame.binning
    mask = frame.valid(np.ones((H, W), bool) if scan.mask is None else scan.mask)
    along = {name: 1.0 if scan.metres else S / n for name, n in zip("yx", (H, W), strict=True)}
    lines = {
        name: line * along[name[0]]
        for name in ("x", "y", "x_start", "y_start")
        if (line := getattr(scan, name)) is not None
    }
    sizes = {
        name: size * b
        for name in ("detector_pixel", "detector_angle", "detector_frequency")
        if (size := getattr(scan, name))
    }
    changes = lines | sizes | {"background": scan.background and scan.background * b**2}
    if scan.object is not None and (H, W) != (S, S):
        changes |= {"object": None, "object_center": None}
        changes["notes"] = (*scan.notes, f"the object: its pixels are not those of {frame.N} x {frame.N} patterns")
    return mend.changed(
        replace(scan, **changes),
        partial(frame.added, amplitude=scan.amplitude),
        mask=None if mask.all() else mask,
        probe=None if scan.probe is None else frame.probe(scan.probe),
        pixel_size=scan.pixel_size and scan.pixel_size * W / S,
    )
