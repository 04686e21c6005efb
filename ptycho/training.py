"""Self-supervised training: the network sees a group's amplitudes and is judged by how well it predicts them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ptycho import losses, optics
from ptycho.callbacks import Backup, History, read_history, require_finished
from ptycho.config import TrainingConfig
from ptycho.groups import Groups, steps_per_epoch

EARLIER_BLOCKS = 0.1
"""Weight of the loss of every block but the last."""


LARGEST_BATCH = 32
STEPS_PER_EPOCH = 60
"""Fewer in an epoch, and a short training of a small scan ends before it has learned its step sizes."""


@keras.saving.register_keras_serializable(package="ptycho")
class DiffractionLoss(keras.losses.Loss):
    """Logarithm of the batch's mean loss per detector pixel, between measured amplitude and predicted intensity.

    ``nll`` takes the Poisson deviance of counts (its gradient is twice that of the negative log-likelihood); ``mae``
    and ``mse`` the absolute and squared error of amplitudes in sqrt(photons). The logarithm is the same for every
    loss: it takes the range of 1e5 between doses out of the gradient and moves no minimum.

    Parameters
    ----------
    loss : {'nll', 'mae', 'mse'}
    intensity_scale : float
        s: counts are (s A)^2.
    """

    def __init__(self, loss: str, intensity_scale: float):
        super().__init__(name=loss, reduction="sum")
        self.loss, self.intensity_scale = loss, intensity_scale

    def call(self, amplitude: tf.Tensor, intensity: tf.Tensor) -> tf.Tensor:
        s = self.intensity_scale
        if self.loss == "nll":
            elementwise = losses.poisson_deviance(tf.square(s * amplitude), s**2 * intensity)
        else:
            error = losses.amplitude_mae if self.loss == "mae" else losses.amplitude_mse
            elementwise = error(s * amplitude, s * optics.amplitude(intensity))
        return tf.math.log(tf.reduce_mean(elementwise))

    def get_config(self) -> dict[str, Any]:
        return {"loss": self.loss, "intensity_scale": self.intensity_scale}


def batch_size(groups: int) -> int:
    """Groups a step: as many as leave 60 steps in an epoch, 4 to 32."""
    return max(4, min(LARGEST_BATCH, groups // STEPS_PER_EPOCH))


def trainer(autoencoder: keras.Model, config: TrainingConfig, intensity_scale: float, steps: int) -> keras.Model:
    """A compiled model over the same weights with one output a block: the intensity that its estimate predicts."""
    amplitude, positions = autoencoder.inputs
    estimates = autoencoder.get_layer("reconstruction").output
    P, measure = autoencoder.get_layer("probe").output, autoencoder.get_layer("intensity")
    blocks = estimates.shape[1]
    intensities = [measure(estimates[:, k], positions, P) for k in range(blocks)]
    model = keras.Model([amplitude, positions], intensities, name="trainer")
    schedule = keras.optimizers.schedules.CosineDecay(config.learning_rate, decay_steps=steps)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=[DiffractionLoss(config.loss, intensity_scale) for _ in range(blocks)],
        loss_weights=[EARLIER_BLOCKS] * (blocks - 1) + [1.0],
        jit_compile=True,
    )
    return model


def fit(
    autoencoder: keras.Model,
    groups: Groups,
    config: TrainingConfig,
    folder: Path,
    report: Callable[[dict[str, Any]], None] = lambda progress: None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> list[dict[str, float]]:
    """Train ``autoencoder`` in place; a training that was interrupted goes on after its last whole epoch.

    Parameters
    ----------
    autoencoder : keras.Model
        From :func:`ptycho.model.build`.
    groups : Groups
    config : TrainingConfig
    folder : Path
        Holds ``history.csv`` (epoch, loss, seconds) and the backups of a training under way.
    report : callable
        Told {epoch, nepochs, loss, seconds_per_epoch, patterns_per_second} after each epoch.

    Returns
    -------
    list of {epoch, loss, seconds}
        Of all epochs, those before an interruption included. The loss is that of the objective: a logarithm.

    Raises
    ------
    ValueError
        The scan's ``intensity_scale`` is not known, or a pattern lies farther from its group's centre than the
        network's canvas reaches.
    TrainingError
        The loss became NaN or infinite.
    """
    if groups.data.intensity_scale is None:
        raise ValueError("intensity_scale of the scan is None; expected s, with counts = (s * diff3d)^2, to train on")
    if groups.max_offset > config.model.max_offset:  # what falls off the canvas would read as an opaque object
        raise ValueError(
            f"max_offset={config.model.max_offset} is not accepted: patterns lie up to {groups.max_offset:.2f} pixels "
            "from their group's centre"
        )
    folder.mkdir(parents=True, exist_ok=True)
    backup = Backup(folder / "backup", _fingerprint(groups, config))
    rows = read_history(folder / "history.csv")[: backup.epochs]
    if len(rows) < backup.epochs:  # somebody removed the history: without it the training is not whole
        rows = []
    begin = len(rows)
    steps = steps_per_epoch(len(groups), config.batch_size)
    model = trainer(autoencoder, config, groups.data.intensity_scale, steps * config.nepochs)
    if begin:
        backup.restore(model)
    patterns = len(groups) * groups.indices.shape[1]
    history = History(folder / "history.csv", rows, config.nepochs, patterns, report)
    if begin < config.nepochs:
        outputs = len(model.outputs)
        data = groups.dataset(config.batch_size, epochs=range(begin, config.nepochs), seed=config.seed)
        model.fit(
            data.map(lambda inputs, amplitude: (inputs, (amplitude,) * outputs)),
            initial_epoch=begin,
            epochs=config.nepochs,
            steps_per_epoch=steps,
            shuffle=False,  # the pipeline shuffles
            # the history refuses what is not finite before the backup could keep it
            callbacks=[keras.callbacks.TerminateOnNaN(), history, backup, *callbacks],
            verbose=0,
        )
    require_finished(history.rows, config.nepochs)
    return history.rows


def _fingerprint(groups: Groups, config: TrainingConfig) -> str:
    """Names a backup after what it is a backup of: another configuration or scan starts anew."""
    digest = hashlib.sha256(repr((config, groups.data.intensity_scale)).encode())
    for array in (groups.data.diff3d, groups.indices, groups.coords_relative, groups.data.probeGuess):
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]
