"""Elementwise losses of photon counting, named by their formula; and what every fit minimises, made of them.

Counts n and rates l are photons per detector pixel. Amplitudes are square roots of intensities; the same loss in units
of photons or of the object differs by a power of the intensity scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ptycho.physics import optics

RATE_FLOOR = 1e-3
"""Photons per pixel added to a rate: a dark-count term that keeps log l finite where the model predicts no light."""
_FEW = 1e-20
"""In the place of no counts, to divide by: what comes of it is multiplied by them."""


def poisson_nll(n: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """l - n ln l, the negative log-likelihood of Poisson counts without the constant ln n!.

    Thibault & Guizar-Sicairos, New J. Phys. 14 (2012) 063004, Eq. 1. Same shape as ``n``.
    """
    rate = rate + RATE_FLOOR
    return rate - n * tf.math.log(rate)


@tf.custom_gradient
def poisson_deviance(
    n: tf.Tensor, rate: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """2 (n ln(n/l) - (n - l)): twice the log-likelihood ratio to the perfect model, with 0 ln 0 = 0.

    Non-negative; its gradient is twice that of :func:`poisson_nll`; its expectation at the true rate is about 1 for
    rates above a few photons (McCullagh & Nelder 1989, section 2.3). Same shape as ``n``. The gradient is written out,
    2 (1 - n/l) in the rate and 2 ln(n/l) in the counts: that of the branches below costs twice as much.
    """
    rate = rate + RATE_FLOOR
    excess = rate - n
    per_count = 1.0 / tf.maximum(n, _FEW)
    relative = excess * per_count
    # Where the model is right to a part in 1e5, ln(1 + x) of the relative excess is exact if the rounding of 1 + x is
    # made up for (Kahan; Goldberg 1991, theorem 4). Far from it excess would round a rate that is tiny beside n to
    # nothing.
    near = tf.abs(excess) < 0.5 * n
    ratio = tf.where(near, 1.0 + relative, rate * per_count)
    rounded = ratio - 1.0
    made_up = tf.where(near, tf.math.divide_no_nan(relative, rounded), 1.0)
    log_ratio = tf.where(near & (rounded == 0), relative, made_up * tf.math.log(ratio))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return -2.0 * upstream * log_ratio, 2.0 * upstream * (excess / rate)

    return 2.0 * (excess - n * log_ratio), gradient


def amplitude_mae(a: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """|a - predicted|, of amplitudes. Same shape as ``a``."""
    return tf.abs(a - predicted)


def amplitude_mse(a: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """(a - predicted)^2, of amplitudes, without a half: the variance-stabilised Gaussian likelihood.

    Thibault & Guizar-Sicairos 2012, Eq. 4. Same shape as ``a``.
    """
    return tf.square(a - predicted)


@keras.saving.register_keras_serializable(package="ptycho")
class DiffractionLoss(keras.losses.Loss):
    """Logarithm of each group's mean loss per detector pixel, averaged over the batch.

    ``nll`` takes the Poisson deviance of counts (its gradient is twice that of the negative log-likelihood); ``mae``
    and ``mse`` the absolute and squared error of amplitudes in sqrt(photons). The logarithm is the same for every
    loss: it takes the range of 1e5 between doses out of the gradient and moves no minimum of a group's own. It is
    taken group by group, so that a batch may be cut in parts and its parts averaged.

    Parameters
    ----------
    loss : {'nll', 'mae', 'mse'}
    intensity_scale : float
        s: counts are (s A)^2.
    mask : array of bool, optional
        True where the detector is to be believed, as broadcast to one group's amplitudes; the mean is over these
        alone. Whatever the amplitude holds elsewhere, the loss is the same. All are believed when None.
    """

    def __init__(self, loss: str, intensity_scale: float, mask: NDArray[np.bool_] | None = None):
        super().__init__(name=loss, reduction="sum_over_batch_size")
        self.loss, self.intensity_scale = loss, intensity_scale
        # a variable, for a constant is part of the graph: what is compiled for one dose serves every other
        self._s = tf.Variable(intensity_scale, trainable=False, dtype=tf.float32)
        self.mask = None if mask is None else np.asarray(mask, bool)
        if self.mask is not None:
            self._weight = tf.constant(self.mask / self.mask.mean(), tf.float32)

    def call(self, amplitude: tf.Tensor, intensity: tf.Tensor) -> tf.Tensor:
        """Amplitude and intensity (B, ...) -> (B,) float32."""
        s = self._s
        if self.mask is not None:  # first of all: not even a weight of zero makes an infinite loss nothing
            amplitude = tf.where(self._weight > 0, amplitude, 0.0)
        if self.loss == "nll":
            elementwise = poisson_deviance(tf.square(s * amplitude), s**2 * intensity)
        else:
            error = amplitude_mae if self.loss == "mae" else amplitude_mse
            elementwise = error(s * amplitude, s * optics.amplitude(intensity))
        if self.mask is not None:
            elementwise = self._weight * elementwise
        return tf.math.log(tf.reduce_mean(elementwise, axis=tuple(range(1, len(elementwise.shape)))))

    def get_config(self) -> dict[str, Any]:
        mask = None if self.mask is None else self.mask.astype(int).tolist()
        return {"loss": self.loss, "intensity_scale": self.intensity_scale, "mask": mask}
