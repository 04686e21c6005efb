"""Sub-pixel sampling of an image by Fourier interpolation."""

from __future__ import annotations

import numpy as np
from scipy import fft

MARGIN = 24  # pixels mirrored at the edges: wider than any shift that is asked for


class Sampler:
    """Values and gradients of an image on a (h, w) grid of pixels whose corner may be anywhere.

    The image, (H, W), is mirrored at its edges (no wrap-around step) to an odd size (no Nyquist term, so that real
    stays real). Outside the image the edge is repeated; `inside` tells where.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = np.asarray(image, np.complex128)
        pads = []
        for n in self.image.shape:
            size = fft.next_fast_len(n + 2 * MARGIN)
            while size % 2 == 0:
                size = fft.next_fast_len(size + 1)
            pads.append((MARGIN, size - n - MARGIN))
        self.spectrum = fft.fft2(np.pad(self.image, pads, mode="symmetric"))
        self.freq_y = fft.fftfreq(self.spectrum.shape[0])[:, None]
        self.freq_x = fft.fftfreq(self.spectrum.shape[1])[None, :]

    def inside(self, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """bool (h, w): grid points that lie within the image."""
        rows, columns = (c + np.arange(n) for c, n in zip(corner, shape, strict=True))
        height, width = self.image.shape
        return np.outer((rows >= 0) & (rows <= height - 1), (columns >= 0) & (columns <= width - 1))

    def values(self, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """complex128 (h, w); an exact copy when the corner lies on a pixel."""
        if np.all(corner == np.rint(corner)):
            return self._crop(self.image, corner, shape)
        return self._interpolate(1.0, corner, shape)

    def gradients(self, corner: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
        """[d/dy, d/dx], each complex128 (h, w), per pixel."""
        return [self._interpolate(2j * np.pi * f, corner, shape) for f in (self.freq_y, self.freq_x)]

    def _interpolate(self, factor: float | np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        y, x = corner - np.rint(corner)
        moved = fft.ifft2(self.spectrum * factor * np.exp(2j * np.pi * (self.freq_y * y + self.freq_x * x)))
        return self._crop(moved, corner + MARGIN, shape)

    @staticmethod
    def _crop(image: np.ndarray, corner: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        index = (
            np.clip(int(np.rint(c)) + np.arange(n), 0, size - 1)
            for c, n, size in zip(corner, shape, image.shape, strict=True)
        )
        return image[np.ix_(*index)]
