"""The denoiser trained and used: it learns from one scan, without a truth.

It sees fits to four fifths of the photons. Its result is scored on the other fifth, through the forward model
(:mod:`ptycho.reconstruct.whole.splits`). After training it is given the fit to all photons.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ptycho.reconstruct.callbacks import History, Report, require_finished
from ptycho.reconstruct.networks.denoiser import Trained, loss_of
from ptycho.reconstruct.whole import total_variation
from ptycho.reconstruct.whole.splits import Fitted, Judge, Splits, fit
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction, reached

STEPS_PER_EPOCH, BATCH = 25, 400
"""Steps of an epoch, and the patterns that judge a step, at most."""
WEIGHT = 0.8
"""Of T's total variation. On simulated lines, random fields, a star and cells, at 1e3 to 1e5 photons, the error of T is
least between 0.7 and 1. Photons held out choose less where the error lies in frequencies that patterns hardly tell."""


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
    *,
    nepochs: int,
    learning_rate: float,
    seed: int,
    folder: Path,
    report: Report = lambda progress: None,
) -> list[dict[str, float]]:
    """Train a denoiser in place on the splits of one scan; interrupted, it starts anew, for it takes seconds.

    denoiser       from ``build``
    splits         from ``make_splits``, of fits by its loss
    nepochs        of STEPS_PER_EPOCH steps
    learning_rate  Adam's, at the start; falls along a cosine
    seed           of the order of the patterns
    folder         gets ``history.csv`` (epoch, loss, seconds)
    report         told of each epoch, as by ``training.fit``

    Returns {epoch, loss, seconds} of all epochs; the first epoch's seconds include those of the splits.
    Raises TrainingError if the loss became NaN or infinite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    K, M = len(splits.fits), splits.patterns
    size, steps = min(BATCH, M), nepochs * STEPS_PER_EPOCH
    shown = patterns_per_epoch(M)
    history = History(folder / "history.csv", [], nepochs, shown, report, splits.seconds)
    trainer = Trainer(denoiser, splits.fits, Judge(splits.rest, loss_of(denoiser)))
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
    return replace(found, object=np.where(reached(found.coverage), O, 1).astype(np.complex64))


def reconstruct(denoiser: keras.Model, data: RawData, seed: int) -> Reconstruction:
    """The object of a scan: fitted to all its photons, then denoised. Raises as ``splits.fit``."""
    return denoise(denoiser, fit(data, loss_of(denoiser), seed))


def describe(found: Reconstruction, data: RawData, deviance: float) -> Trained:
    """What a scan is like, and by which deviance the object found explains its counts."""
    P = data.probeGuess.reshape(-1, data.N, data.N)
    light = np.sum(np.abs(P) ** 2, axis=0)
    overlap = found.coverage[found.lit].mean() * light.sum() / np.sum(light**2)
    photons = data.counts().sum() / len(data)
    return Trained(float(photons), float(overlap), deviance)
