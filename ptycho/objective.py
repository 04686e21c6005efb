"""What every fit minimises: the logarithm of the mean loss between measured amplitudes and predicted intensities."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ptycho import losses, optics


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
            elementwise = losses.poisson_deviance(tf.square(s * amplitude), s**2 * intensity)
        else:
            error = losses.amplitude_mae if self.loss == "mae" else losses.amplitude_mse
            elementwise = error(s * amplitude, s * optics.amplitude(intensity))
        if self.mask is not None:
            elementwise = self._weight * elementwise
        return tf.math.log(tf.reduce_mean(elementwise, axis=tuple(range(1, len(elementwise.shape)))))

    def get_config(self) -> dict[str, Any]:
        mask = None if self.mask is None else self.mask.astype(int).tolist()
        return {"loss": self.loss, "intensity_scale": self.intensity_scale, "mask": mask}
