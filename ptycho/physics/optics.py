"""The forward model of far-field ptychography and its adjoints, in TensorFlow.

A group of C patterns at offsets r_c sees an object O, a canvas of m x m pixels, through a probe of L incoherent modes::

    translation    O_c = T(r_c) O             patch index n//2 lies at canvas index m//2 + r_c, bilinearly
    interaction    psi_cl = P_l O_c           exit waves
    propagation    Psi_cl = FFT2(psi_cl) / N  unitary far field
    measurement    I_c = sum_l |Psi_cl|^2

Two things keep the loop cheap and change no intensity. The probe is cropped to the n x n pixels that hold its energy.
Detector arrays are in *corner order*, zero frequency at [0, 0]: :func:`to_corner` shifts amplitudes once for all steps.
"""

from collections.abc import Sequence

import tensorflow as tf


class Translation:
    """The linear operator that cuts C patches out of a canvas at fractional offsets, and its exact adjoint.

    Along each axis a patch pixel is a bilinear sample of two canvas pixels, zero outside the canvas. That is a matrix
    of two bands; only the bands are kept. Differentiable in the offsets.

    offsets: (B, C, 2) float32, (y, x) of each pattern from the canvas centre, in object pixels. n, m: sides of a patch
    and of the canvas, in pixels.
    """

    def __init__(self, offsets: tf.Tensor, n: int, m: int):
        self.m, self.groups = m, tf.shape(offsets)[0]
        whole = tf.floor(offsets)
        fraction = (offsets - whole)[..., tf.newaxis]
        at = tf.cast(whole, tf.int32)[..., tf.newaxis] + (m // 2 - n // 2 + tf.range(n + 1))  # (B, C, 2, n+1)
        inside = tf.cast((at >= 0) & (at < m), tf.float32)
        bands = (1 - fraction) * inside[..., :-1], fraction * inside[..., 1:]  # (B, C, 2, n) each
        self.along_y = [band[:, :, 0, :, tf.newaxis] for band in bands]
        self.along_x = [band[:, :, 1, tf.newaxis, :] for band in bands]
        at = tf.clip_by_value(at, 0, m - 1)
        row = tf.range(self.groups)[:, tf.newaxis, tf.newaxis] * m + at[:, :, 0]
        # (B, C, n+1, n+1), among those of all canvases in a row
        self.pixels = row[..., tf.newaxis] * m + at[:, :, 1, tf.newaxis, :]

    def forward(self, O: tf.Tensor) -> tf.Tensor:
        """Canvas (B, m, m) complex64 -> patches (B, C, n, n) complex64."""
        windows = tf.gather(tf.reshape(O, (-1,)), self.pixels)
        return _interpolate(windows, self.along_y, self.along_x)

    def adjoint(self, patches: tf.Tensor) -> tf.Tensor:
        """Patches (B, C, n, n) complex64 -> the sum of what each puts back on the canvas (B, m, m) complex64."""
        for axis, (own, next_pixel) in ((3, self.along_x), (2, self.along_y)):
            after, before = ([[0, int(k == axis)] for k in range(4)], [[int(k == axis), 0] for k in range(4)])
            patches = tf.pad(scale(own, patches), after) + tf.pad(scale(next_pixel, patches), before)
        canvases = tf.math.unsorted_segment_sum(patches, self.pixels, self.groups * self.m**2)
        return tf.reshape(canvases, (-1, self.m, self.m))


def _interpolate(windows: tf.Tensor, along_y: Sequence[tf.Tensor], along_x: Sequence[tf.Tensor]) -> tf.Tensor:
    """Bilinear samples (..., n, n) of windows (..., n+1, n+1): the weights of each pixel and of the next, by axis."""
    rows = scale(along_y[0], windows[..., :-1, :]) + scale(along_y[1], windows[..., 1:, :])
    return scale(along_x[0], rows[..., :-1]) + scale(along_x[1], rows[..., 1:])


def coverage(T: Translation, P: tf.Tensor) -> tf.Tensor:
    """Photons that the patterns bring to each object pixel, in units of the probe's modes P: (B, m, m) float32."""
    fluence = tf.reduce_sum(squared_modulus(P), axis=0)
    fluence = tf.complex(fluence, tf.zeros_like(fluence))
    batch = tf.shape(T.pixels)[:2]
    return tf.math.real(T.adjoint(tf.broadcast_to(fluence, tf.concat([batch, fluence.shape], axis=0))))


def illuminate(patches: tf.Tensor, P: tf.Tensor) -> tf.Tensor:
    """Exit waves (..., L, n, n) of patches (..., n, n) under the probe's modes P (L, n, n)."""
    return P * patches[..., tf.newaxis, :, :]


def illuminate_adjoint(waves: tf.Tensor, P: tf.Tensor) -> tf.Tensor:
    """Patches (..., n, n) of waves (..., L, n, n): sum_l conj(P_l) psi_l."""
    return tf.reduce_sum(tf.math.conj(P) * waves, axis=-3)


def far_field(waves: tf.Tensor, N: int) -> tf.Tensor:
    """Unitary far field (..., N, N) of exit waves (..., n, n), in corner order."""
    n = waves.shape[-1]
    others, empty = [[0, 0]] * (len(waves.shape) - 2), [0, N - n]
    if _mostly_empty(n, N):
        for _ in ("along y", "along x"):
            waves = tf.signal.fft(tf.pad(tf.linalg.matrix_transpose(waves), [*others, [0, 0], empty]))
        return waves / N
    if n < N:
        waves = tf.pad(waves, [*others, empty, empty])
    return tf.signal.fft2d(waves) / N


def far_field_adjoint(Psi: tf.Tensor, n: int) -> tf.Tensor:
    """Exit waves (..., n, n) of far fields (..., N, N) in corner order: inverse transform, cropped."""
    N = Psi.shape[-1]
    if _mostly_empty(n, N):
        for _ in ("along x", "along y"):
            Psi = tf.linalg.matrix_transpose(tf.signal.ifft(Psi)[..., :n])
        return Psi * N
    return (tf.signal.ifft2d(Psi) * N)[..., :n, :n]


def _mostly_empty(n: int, N: int) -> bool:
    """Whether transforms go one axis at a time, which skips rows that are empty or not asked for.

    A third faster at n = N/3, no different at 3N/4, and slower by a tenth at N because of the transposition.
    """
    return 2 * n <= N


def scale(real: tf.Tensor, field: tf.Tensor) -> tf.Tensor:
    """A real factor times a complex field. The gradient of a cast to complex would warn.

    Not by real and imaginary parts: TensorFlow takes 10 ms to translate each for XLA, and a network has some 300.
    """
    return tf.complex(real, tf.zeros_like(real)) * field


def squared_modulus(field: tf.Tensor) -> tf.Tensor:
    """|field|^2, float32; its gradient at zero is zero (that of ``abs`` is not a number)."""
    return tf.math.real(field) ** 2 + tf.math.imag(field) ** 2


def measure(Psi: tf.Tensor) -> tf.Tensor:
    """Intensity (..., N, N) float32 of far fields (..., L, N, N): the modes add incoherently."""
    return tf.reduce_sum(squared_modulus(Psi), axis=-3)


def diffract(patches: tf.Tensor, P: tf.Tensor, N: int) -> tf.Tensor:
    """Intensity (..., N, N) float32, corner order, of patches (..., n, n) under modes P (L, n, n)."""
    return measure(far_field(illuminate(patches, P), N))


def amplitude(intensity: tf.Tensor) -> tf.Tensor:
    """Square root of an intensity. 1e-12, far below one photon at 1e9 a pattern, keeps the gradient at zero finite."""
    return tf.sqrt(intensity + 1e-12)


def data_gradient(
    patches: tf.Tensor, P: tf.Tensor, A: tf.Tensor, poisson: tf.Tensor, floor: tf.Tensor, valid: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradient (..., n, n) of the data term, and the predicted intensity (..., N, N).

    With I the intensity of all modes together, n = A^2, w = ``poisson`` and e = ``floor``, the data term is::

        (1 - w)/2 sum (sqrt(I + e) - sqrt(n + e))^2  +  w/2 sum ((I + e) - (n + e) ln(I + e))

    The first is a Gaussian likelihood of amplitudes, the second Poisson's of counts (Thibault & Guizar-Sicairos 2012,
    Eqs. 4 and 1). The background e bounds what a single photon says where next to none were expected. The gradient is
    the adjoint of the forward model applied to ``(1 - r)(1 + w r) Psi``, with ``r = sqrt((n + e) / (I + e))``.

    patches: (..., n, n) complex64. P: (L, n, n) complex64. A: (..., N, N) float32, corner order, finite. poisson: from
    0, amplitudes, to 1, counts; what is learned may leave that range. floor: above 0, in units of A squared. valid:
    (N, N) float32, corner order, one where the detector is to be believed, zero where the prediction is taken for the
    measurement.
    """
    Psi = far_field(illuminate(patches, P), A.shape[-1])
    intensity = measure(Psi)
    ratio = tf.sqrt((A * A + floor) / (intensity + floor))
    excess = (1.0 - ratio) * (1.0 + poisson * ratio)
    if valid is not None:
        excess = valid * excess
    residual = scale(excess[..., tf.newaxis, :, :], Psi)
    return illuminate_adjoint(far_field_adjoint(residual, patches.shape[-1]), P), intensity


def to_corner(detector: tf.Tensor) -> tf.Tensor:
    """Detector arrays (..., N, N) from centred to corner order (``ifftshift``)."""
    return tf.roll(detector, [-(side // 2) for side in detector.shape[-2:]], axis=(-2, -1))


def to_centre(detector: tf.Tensor) -> tf.Tensor:
    """Detector arrays (..., N, N) from corner to centred order (``fftshift``)."""
    return tf.roll(detector, [side // 2 for side in detector.shape[-2:]], axis=(-2, -1))


def bilinear_patches(O: tf.Tensor, corner: tf.Tensor, fraction: tf.Tensor, n: int) -> tf.Tensor:
    """Patches (B, n, n) complex64 of one large object O (H, W), for fits on the object's own pixels.

    corner: (B, 2) int32, (y, x) of each patch's first pixel, rounded down. fraction: (B, 2) float32, the rest of the
    position, in [0, 1): the weight of the next pixel.
    """
    W = O.shape[-1]
    rows, columns = (corner[:, axis, tf.newaxis] + tf.range(n + 1) for axis in range(2))  # (B, n+1) each
    window = tf.gather(tf.reshape(O, (-1,)), rows[:, :, tf.newaxis] * W + columns[:, tf.newaxis, :])
    fy, fx = fraction[:, :1, tf.newaxis], fraction[:, 1:, tf.newaxis]
    return _interpolate(window, (1 - fy, fy), (1 - fx, fx))
