"""The fit without a network at its best: smoothed by total variation. Held-out photons choose how much.

A fit follows the noise of its photons. The smoothed fit is the object u that minimises, for a fit O::

    sum |u - O|^2 / 2  +  w sum sigma |grad u|

(Rudin, Osher and Fatemi, Physica D 60 (1992) 259). sigma is the noise of each pixel, so the weight w is a pure number:
one that suits four fifths of the photons suits all of them. The minimum is found by gradient projection on the dual
problem, accelerated (Beck and Teboulle, IEEE Trans. Image Process. 18 (2009) 2419, algorithm FGP).
"""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from ptycho.physics import optics
from ptycho.reconstruct.whole.splits import Fitted, Judge, Splits, fit, make_splits
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

WEIGHTS = (0.0, 0.125, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0)
ITERATIONS = 100
"""They bring the sum to within two thousandths of its least value."""
JUDGED = 500
"""Patterns of each split that choose the weight, at most."""


def reconstruct(data: RawData, loss: str, seed: int) -> tuple[Reconstruction, float]:
    """The fit to a scan's photons, smoothed, and the weight that photons held out chose for it.

    Raises TrainingError if a fit diverged, DataError for unknown counts.
    """
    weight = choose(made := make_splits(data, loss, seed), Judge(made.rest, loss))
    whole = fit(data, loss, seed)
    return smoothed(whole, weight), weight


def choose(splits: Splits, judge: Judge) -> float:
    """The one of WEIGHTS with which the fits, smoothed, predict best what they did not see."""
    M = splits.patterns
    few = min(JUDGED, M)
    chosen = [tf.constant(k * M + np.arange(few) * M // few, tf.int32) for k in range(len(splits.fits))]
    judged = tf.function(judge.mean_loss, autograph=False)

    def loss(weight: float) -> float:
        objects = (smooth(one, weight) for one in splits.fits)
        return float(np.mean([judged(O, which) for O, which in zip(objects, chosen, strict=True)]))

    return min(WEIGHTS, key=loss)


def smoothed(fitted: Fitted, weight: float) -> Reconstruction:
    """The reconstruction of a fit with its object smoothed by a weight."""
    return replace(fitted.found, object=smooth(fitted, weight).numpy())


def smooth(fitted: Fitted, weight: float) -> tf.Tensor:
    """The object (H, W) complex64 of a fit, smoothed by a weight; as it is for a weight of zero."""
    O = tf.constant(fitted.found.object)
    return denoise(O, tf.constant(weight * fitted.sigma)) if weight else O


@tf.function(jit_compile=True, autograph=False)
def denoise(O: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """The u (H, W) complex64 that minimises sum |u - O|^2 / 2 + sum threshold |grad u|; threshold (H, W) float32 >= 0.

    |grad u| is the root of the squared moduli of both differences to the next pixel.
    """

    def improved(step: tf.Tensor, p: tf.Tensor, ahead: tf.Tensor, t: tf.Tensor) -> tuple[tf.Tensor, ...]:
        climbed = ahead + _gradient(O - _adjoint(ahead)) / 8  # 8 bounds the norm of gradient times adjoint
        length = tf.sqrt(tf.reduce_sum(optics.squared_modulus(climbed), axis=0))
        inside = optics.scale(tf.minimum(1.0, threshold / tf.maximum(length, 1e-20)), climbed)
        later = (1 + tf.sqrt(1 + 4 * t**2)) / 2
        return step + 1, inside, inside + optics.scale((t - 1) / later, inside - p), later

    p = tf.zeros((2, *O.shape), tf.complex64)
    start = tf.constant(0), p, p, tf.constant(1.0)
    _, p, _, _ = tf.while_loop(lambda step, *_: step < ITERATIONS, improved, start)
    return O - _adjoint(p)


def _gradient(u: tf.Tensor) -> tf.Tensor:
    """Differences to the next pixel (2, H, W) of u (H, W), along y and along x; zero at the end."""
    return tf.stack([tf.pad(u[1:] - u[:-1], [[0, 1], [0, 0]]), tf.pad(u[:, 1:] - u[:, :-1], [[0, 0], [0, 1]])])


def _adjoint(p: tf.Tensor) -> tf.Tensor:
    """The adjoint of :func:`_gradient`."""
    y, x = p[0, :-1], p[1, :, :-1]
    along_y = tf.pad(y, [[1, 0], [0, 0]]) - tf.pad(y, [[0, 1], [0, 0]])
    return along_y + tf.pad(x, [[0, 0], [1, 0]]) - tf.pad(x, [[0, 0], [0, 1]])
