"""The network that begins where the fit ends: it takes the noise from the object of the whole scan.

A fit O, the same fit smoothed by total variation T, and the noise sigma of each pixel go in. A small CNN at full
resolution adds what T lacks, in units of the noise. Each ring of spatial frequency q then takes its own mixture::

    D = T + sigma CNN(O, T, sigma)
    F{object} = a(q) F{O} + b(q) F{T} + c(q) F{D}

The mixture is what keeps the resolution. Of all mixtures, that of least error in a ring correlates best with the truth
there, so it loses no ring that O, T or D has. At first the last layer of the CNN is zero and the mixture is T's: the
network begins as the best fit without a network.

It learns from one scan, without a truth. It sees fits to four fifths of the photons, and photons that those did not see
judge it through the forward model (:mod:`ptycho.reconstruct.whole.splits`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ptycho.physics import optics
from ptycho.reconstruct.callbacks import History, Report, require_finished
from ptycho.reconstruct.networks.layers import ConfiguredLayer, apply_chain, build_chain
from ptycho.reconstruct.whole import total_variation
from ptycho.reconstruct.whole.splits import Fitted, Judge, Splits, fit
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

WEIGHT = 0.8
"""Of T's total variation. On simulated lines, random fields, a star and cells, at 1e3 to 1e5 photons, the error of T is
least between 0.7 and 1. Photons held out choose less where the error lies in frequencies that patterns hardly tell."""
FILTERS = 16
DILATIONS = (1, 2, 4, 2, 1)
"""Pixels between those that a convolution sees, from layer to layer: together they see 21 x 21 pixels."""
KNOTS = 32
"""Spatial frequencies, from zero to the corner of Fourier space, between which the mixture is linear."""
START = (0.1, 0.1, 0.8)
"""The mixture of O, T and D at first."""
QUICKER = 10.0
"""How much faster the mixture learns than the CNN: in units of one, it has farther to go."""
STEPS_PER_EPOCH, BATCH = 25, 400
"""Steps of an epoch, and the patterns that judge a step, at most."""
INPUTS = {"fit": "complex64", "smoothed": "complex64", "sigma": "float32"}


class Denoiser(ConfiguredLayer):
    """O and T (B, H, W) complex64, sigma (B, H, W) float32 -> the object (B, H, W) complex64."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        settings = {"filters": FILTERS, "kernel_size": 3, "padding": "same", "activation": "leaky_relu"}
        self.convolutions = [
            *(keras.layers.Conv2D(**settings, dilation_rate=d, name=f"conv{k}") for k, d in enumerate(DILATIONS)),
            keras.layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros", name="last"),
        ]
        self.mixture = self.add_weight((len(START), KNOTS), initializer="zeros", name="mixture")

    def build(self, *_: Any) -> None:
        build_chain(self.convolutions, (None, None, None, 5))
        self.built = True

    def call(self, O: tf.Tensor, T: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
        # the patterns do not know the phase of the whole object; the network need not, either
        mean = tf.reduce_mean(T, axis=(1, 2), keepdims=True)
        turn = mean / optics.scale(tf.abs(mean), tf.ones_like(mean))
        O, T = O / turn - 1, T / turn - 1
        seen = [*(part(field) for field in (O, T) for part in (tf.math.real, tf.math.imag)), sigma]
        found = apply_chain(self.convolutions, tf.stack(seen, axis=-1)) * sigma[..., tf.newaxis]
        D = T + tf.complex(found[..., 0], found[..., 1])
        gains = self._gains(tf.shape(O)[1], tf.shape(O)[2])
        mixed = tf.add_n([optics.scale(gain, tf.signal.fft2d(X)) for gain, X in zip(gains, (O, T, D), strict=True)])
        return (1 + tf.signal.ifft2d(mixed)) * turn

    def _gains(self, H: tf.Tensor, W: tf.Tensor) -> list[tf.Tensor]:
        """What of O, T and D goes into each frequency, (H, W) float32 each."""
        q = [tf.cast((tf.range(n) + n // 2) % n - n // 2, tf.float32) / tf.cast(n, tf.float32) for n in (H, W)]
        ring = tf.sqrt(2 * (q[0][:, tf.newaxis] ** 2 + q[1] ** 2)) * (KNOTS - 1)  # 0 to KNOTS - 1
        below = tf.minimum(tf.cast(ring, tf.int32), KNOTS - 2)
        beyond = ring - tf.cast(below, tf.float32)
        knots = tf.constant(START)[:, tf.newaxis] + QUICKER * tf.convert_to_tensor(self.mixture)
        return [(1 - beyond) * tf.gather(row, below) + beyond * tf.gather(row, below + 1) for row in tf.unstack(knots)]

    def compute_output_spec(self, O: Any, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor(O.shape, dtype="complex64")


def build() -> keras.Model:
    """An untrained denoiser as a Keras model, for objects of any size."""
    inputs = [keras.Input((None, None), dtype=kind, name=name) for name, kind in INPUTS.items()]
    return keras.Model(inputs, Denoiser(name="denoiser")(*inputs), name="denoiser")


class Trainer(keras.Model):
    """A denoiser behind its judge: a step takes one split, and some patterns of what its fit did not see."""

    def __init__(self, denoiser: keras.Model, fits: Sequence[Fitted], judge: Judge):
        super().__init__(name="trainer")
        self.denoiser, self.judge = denoiser, judge
        self.seen = [tf.concat(of_fits, axis=0) for of_fits in zip(*map(inputs, fits), strict=True)]
        self.mean_loss = keras.metrics.Mean(name="loss")

    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        k, chosen = batch
        weights = [weight.value for weight in self.denoiser.trainable_variables]
        with tf.GradientTape() as tape:
            O = self.denoiser([tf.gather(stack, k[tf.newaxis]) for stack in self.seen])
        loss, gradient = self.judge.gradient(O[0], chosen)
        self.optimizer.apply(tape.gradient(O, weights, output_gradients=gradient[tf.newaxis]))
        self.mean_loss.update_state(loss)
        return {"loss": self.mean_loss.result()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.mean_loss]


def train(
    denoiser: keras.Model,
    splits: Splits,
    loss: str,
    *,
    nepochs: int,
    learning_rate: float,
    seed: int,
    folder: Path,
    report: Report = lambda progress: None,
) -> list[dict[str, float]]:
    """Train a denoiser in place on the splits of one scan; interrupted, it starts anew, for it takes seconds.

    denoiser       from ``build``
    splits         from ``make_splits``, of fits by the same loss
    loss           one of LOSSES, by which the photons held out judge
    nepochs        of STEPS_PER_EPOCH steps
    learning_rate  Adam's, at the start; falls along a cosine
    seed           of the order of the patterns
    folder         gets ``history.csv`` (epoch, loss, seconds)
    report         told {epoch, nepochs, loss, seconds_per_epoch, patterns_per_second} after each epoch

    Returns {epoch, loss, seconds} of all epochs; the first epoch's seconds include those of the splits.
    Raises TrainingError if the loss became NaN or infinite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    K, M = len(splits.fits), splits.patterns
    size, steps = min(BATCH, M), nepochs * STEPS_PER_EPOCH
    shown = patterns_per_epoch(M)
    history = History(folder / "history.csv", [], nepochs, shown, report, splits.seconds)
    trainer = Trainer(denoiser, splits.fits, Judge(splits.rest, loss))
    trainer.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps)))
    trainer.optimizer.build(denoiser.trainable_variables)
    rng = np.random.default_rng(seed)
    k = np.arange(steps) % K
    chosen = np.stack([which * M + rng.choice(M, size, replace=False) for which in k])
    batches = tf.data.Dataset.from_tensor_slices((k.astype(np.int32), chosen.astype(np.int32)))
    callbacks = [keras.callbacks.TerminateOnNaN(), history]
    trainer.fit(batches, epochs=nepochs, steps_per_epoch=STEPS_PER_EPOCH, shuffle=False, callbacks=callbacks, verbose=0)
    require_finished(history.rows, nepochs)
    return history.rows


def patterns_per_epoch(M: int) -> int:
    """Patterns that judge in an epoch, of a scan of M."""
    return STEPS_PER_EPOCH * min(BATCH, M)


def inputs(fitted: Fitted) -> list[tf.Tensor]:
    """What a denoiser takes of one fit: O, T and sigma, (1, H, W) each."""
    seen = fitted.found.object, total_variation.smooth(fitted, WEIGHT), fitted.sigma
    return [tf.convert_to_tensor(image)[tf.newaxis] for image in seen]


def denoise(denoiser: keras.Model, fitted: Fitted) -> Reconstruction:
    """What a trained denoiser makes of the fit to a scan's photons; one where no light fell."""
    O = denoiser(inputs(fitted))[0].numpy()
    found = fitted.found
    return replace(found, object=np.where(found.coverage > 1e-6 * found.coverage.max(), O, 1).astype(np.complex64))


def reconstruct(denoiser: keras.Model, data: RawData, loss: str, seed: int) -> Reconstruction:
    """The object of a scan: fitted to all its photons, then denoised. Raises as ``splits.fit``."""
    return denoise(denoiser, fit(data, loss, seed))
