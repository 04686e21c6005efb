"""Elementwise losses of photon counting, named by their formula, and the objective that every fit makes of them.

Counts n and rates l are photons per detector pixel. Amplitudes are square roots of intensities.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import special

from ptycho.errors import expect
from ptycho.physics import optics

RATE_FLOOR = 1e-3
"""Photons per pixel added to a rate: a dark-count term that keeps log l finite where the model predicts no light."""
_FEW = 1e-20  # stands in for a count of zero in divisions; the quotient is then multiplied by that zero


@tf.custom_gradient
def poisson_deviance(n: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, ...]]]:
    """2 (n ln(n/l) - (n - l)): twice the log-likelihood ratio to the perfect model, with 0 ln 0 = 0.

    Non-negative, same shape as ``n``. Its gradient is twice that of the negative log-likelihood l - n ln l (Thibault &
    Guizar-Sicairos, New J. Phys. 14 (2012) 063004, Eq. 1). Its expectation at the true rate is about 1 for rates above
    a few photons (McCullagh & Nelder 1989, section 2.3). The gradient is written out, 2 (1 - n/l) in the rate and
    2 ln(n/l) in the counts: that of the branches below costs twice as much.
    """
    rate = rate + RATE_FLOOR
    excess = rate - n
    per_count = 1.0 / tf.maximum(n, _FEW)
    relative = excess * per_count
    # Near n, ln(1 + x) of the relative excess is exact if the rounding of 1 + x is made up for (Kahan; Goldberg 1991,
    # theorem 4). Far from n, the excess would round a tiny rate to nothing.
    near = tf.abs(excess) < 0.5 * n
    ratio = tf.where(near, 1.0 + relative, rate * per_count)
    rounded = ratio - 1.0
    made_up = tf.where(near, tf.math.divide_no_nan(relative, rounded), 1.0)
    log_ratio = tf.where(near & (rounded == 0), relative, made_up * tf.math.log(ratio))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return -2.0 * upstream * log_ratio, 2.0 * upstream * (excess / rate)

    return 2.0 * (excess - n * log_ratio), gradient


def amplitude_mae(a: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """|a - predicted|, of amplitudes. Same shape as ``a``."""
    return tf.abs(a - predicted)


def amplitude_mse(a: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """(a - predicted)^2 of amplitudes, no half: variance-stabilised Gaussian (Thibault 2012, Eq. 4). Shape of ``a``."""
    return tf.square(a - predicted)


STABILISER = 3 / 8
"""Added to a count before its root is taken: so the root of a Poisson count scatters most evenly (Anscombe 1948)."""
BEND = 8.0
"""Photons about which :func:`mean_root` goes over from few to many."""


def _above_rate() -> NDArray[np.floating]:
    """Coefficients of a polynomial in u = (l - BEND) / (l + BEND), the constant first, that is m^2 - l to 4e-6.

    m is the mean of sqrt(n + 3/8) over Poisson counts n of a mean l, summed over the counts. m^2 - l falls smoothly
    from 3/8 to 1/8, so few points of interpolation, Chebyshev's, will do.
    """

    u = chebyshev.chebpts1(11)
    rates = BEND * (1 + u) / (1 - u)
    n = np.arange(int(rates.max() + 12 * np.sqrt(rates.max())))
    chances = np.exp(special.xlogy(n, rates[:, np.newaxis]) - rates[:, np.newaxis] - special.gammaln(n + 1))
    excess = np.square(chances @ np.sqrt(n + STABILISER)) - rates
    return chebyshev.cheb2poly(chebyshev.chebfit(u, excess, deg=10))  # as many points as coefficients: through them


ABOVE_RATE = [float(coefficient) for coefficient in _above_rate()]


def mean_root(rate: tf.Tensor) -> tf.Tensor:
    """The mean of sqrt(n + 3/8) over Poisson counts n of a mean ``rate`` >= 0, to 1e-6 of it. Shape of ``rate``."""
    u = (rate - BEND) / (rate + BEND)
    excess = tf.zeros_like(u)
    for coefficient in reversed(ABOVE_RATE):
        excess = excess * u + coefficient
    return tf.sqrt(rate + excess)


def anscombe_mse(n: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """(sqrt(n + 3/8) - E sqrt(n + 3/8))^2 of counts n and a rate: variance-stabilised, and least at the true rate.

    The error of plain amplitudes is least at the square of the mean root, which is less than the mean: a tenth of it at
    0.1 photons. Here the prediction is the mean of the same root (Anscombe, Biometrika 35 (1948) 246; its exact mean:
    Makitalo and Foi, IEEE Trans. Image Process. 20 (2011) 99). Shape of ``n``.
    """
    return tf.square(tf.sqrt(n + STABILISER) - mean_root(rate + RATE_FLOOR))


LOSSES = {
    "nll": lambda s, A, I: poisson_deviance(tf.square(s * A), s**2 * I),
    "mae": lambda s, A, I: amplitude_mae(s * A, s * optics.amplitude(I)),
    "mse": lambda s, A, I: amplitude_mse(s * A, s * optics.amplitude(I)),
    "anscombe": lambda s, A, I: anscombe_mse(tf.square(s * A), s**2 * I),
}
"""By name: the loss of each detector pixel, of the scale s, the amplitude A and the predicted intensity I."""


@keras.saving.register_keras_serializable(package="ptycho")
class DiffractionLoss(keras.losses.Loss):
    """Each group's mean loss per detector pixel, or its logarithm, averaged over the batch.

    ``nll`` is the Poisson deviance of counts. ``mae`` and ``mse`` are the errors of amplitudes in sqrt(photons), and
    ``anscombe`` is ``mse`` without the bias that the root of a small count has. The logarithm takes the range of 1e5
    between doses out of the gradient and moves no minimum of a group's own. It is taken group by group, so that a batch
    may be cut in parts and its parts averaged.

    loss: one of LOSSES; anything else raises ValueError. intensity_scale: s, counts are (s A)^2. mask: bool, broadcast
    to one group's amplitudes, True where the detector is to be believed; the loss depends on no other pixel. All are
    believed when None. logarithm: whether it is taken. background: photons per pixel that are known to be counted
    beside those of the scan; they are part of every rate (of readout noise of variance v, v: Snyder, Hammoud & White,
    J. Opt. Soc. Am. A 10 (1993) 1014; in ptychography Seifert et al., Opt. Lett. 48 (2023) 6027).
    """

    def __init__(
        self,
        loss: str,
        intensity_scale: float,
        mask: NDArray[np.bool_] | None = None,
        logarithm: bool = True,
        background: float = 0.0,
    ):
        expect(loss in LOSSES, f"loss is {loss!r}; expected one of {', '.join(LOSSES)}")
        super().__init__(name=loss, reduction="sum_over_batch_size")
        self.loss, self.intensity_scale, self.logarithm = loss, intensity_scale, logarithm
        self.background = background
        # a variable, for a constant is part of the graph: what is compiled for one dose serves every other
        self._s = tf.Variable(intensity_scale, trainable=False, dtype=tf.float32)
        self.mask = None if mask is None else np.asarray(mask, bool)

    def call(self, amplitude: tf.Tensor, intensity: tf.Tensor) -> tf.Tensor:
        """Amplitude and intensity (B, ...) -> (B,) float32."""
        if self.mask is not None:  # first of all: not even a weight of zero makes an infinite loss nothing
            amplitude = tf.where(self.mask, amplitude, 0.0)
        if self.background:
            intensity += self.background / tf.square(self._s)
        elementwise = LOSSES[self.loss](self._s, amplitude, intensity)
        if self.mask is not None:
            elementwise = tf.constant(self.mask / self.mask.mean(), tf.float32) * elementwise
        mean = tf.reduce_mean(elementwise, axis=tuple(range(1, len(elementwise.shape))))
        return tf.math.log(mean) if self.logarithm else mean

    def get_config(self) -> dict[str, Any]:
        mask = None if self.mask is None else self.mask.astype(int).tolist()
        settings = {"loss": self.loss, "intensity_scale": self.intensity_scale, "mask": mask}
        return {**settings, "logarithm": self.logarithm, "background": self.background}
