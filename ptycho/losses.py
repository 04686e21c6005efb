"""Elementwise losses of photon counting, named by their formula; reductions are made where they are used.

Counts n and rates l are photons per detector pixel. Amplitudes are square roots of intensities; the same loss in units
of photons or of the object differs by a power of the intensity scale.
"""

from __future__ import annotations

import tensorflow as tf

RATE_FLOOR = 1e-3
"""Photons per pixel added to a rate: a dark-count term that keeps log l finite where the model predicts no light."""


def poisson_nll(n: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """l - n ln l, the negative log-likelihood of Poisson counts without the constant ln n!.

    Thibault & Guizar-Sicairos, New J. Phys. 14 (2012) 063004, Eq. 1. Same shape as ``n``.
    """
    rate = rate + RATE_FLOOR
    return rate - n * tf.math.log(rate)


def poisson_deviance(n: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
    """2 (n ln(n/l) - (n - l)): twice the log-likelihood ratio to the perfect model, with 0 ln 0 = 0.

    Non-negative; its gradient is twice that of :func:`poisson_nll`; its expectation at the true rate is about 1 for
    rates above a few photons (McCullagh & Nelder 1989, section 2.3). Same shape as ``n``.
    """
    rate = rate + RATE_FLOOR
    excess = rate - n
    relative = tf.math.divide_no_nan(excess, n)
    near = tf.abs(relative) < 0.5
    # log1p of the relative excess is exact where the model is right to a part in 1e5; far from it, excess would round
    # a rate that is tiny beside n to nothing
    log_ratio = tf.where(
        near, tf.math.log1p(tf.where(near, relative, 0.0)), tf.math.log(rate / tf.where(near, rate, n))
    )
    return 2.0 * (excess - n * log_ratio)


def amplitude_mae(a: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """|a - predicted|, of amplitudes. Same shape as ``a``."""
    return tf.abs(a - predicted)


def amplitude_mse(a: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """(a - predicted)^2, of amplitudes, without a half: the variance-stabilised Gaussian likelihood.

    Thibault & Guizar-Sicairos 2012, Eq. 4. Same shape as ``a``.
    """
    return tf.square(a - predicted)
