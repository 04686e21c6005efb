"""Self-supervised training: the network sees a group's amplitudes and is judged by how well it predicts them."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ptycho import losses, optics
from ptycho.config import TrainingConfig
from ptycho.groups import Groups, steps_per_epoch

EARLIER_BLOCKS = 0.1
"""Weight of the loss of every block but the last."""


class TrainingError(RuntimeError):
    """A training that did not end with the finite losses of all its epochs."""


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
    TrainingError
        The loss became NaN or infinite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backup = folder / "backup" / _fingerprint(groups, config)
    begin = _finished_epochs(backup)
    history = History(folder / "history.csv", begin, config.nepochs, len(groups) * groups.indices.shape[1], report)
    if begin < config.nepochs:
        steps = steps_per_epoch(len(groups), config.batch_size)
        model = trainer(autoencoder, config, groups.data.intensity_scale, steps * config.nepochs)
        outputs = len(model.outputs)
        data = groups.dataset(config.batch_size, epochs=range(begin, config.nepochs), seed=config.seed)
        model.fit(
            data.map(lambda inputs, amplitude: (inputs, (amplitude,) * outputs)),
            epochs=config.nepochs,
            steps_per_epoch=steps,
            shuffle=False,  # the pipeline shuffles
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                history,
                keras.callbacks.BackupAndRestore(str(backup), delete_checkpoint=False),
                *callbacks,
            ],
            verbose=0,
        )
    else:
        _restore(autoencoder, config, groups, backup)
    require_finished(history.rows, config.nepochs)
    return history.rows


def require_finished(rows: Sequence[dict[str, float]], nepochs: int) -> None:
    """Raise TrainingError unless ``rows`` are the finite losses of ``nepochs`` epochs."""
    for row in rows:
        if not math.isfinite(row["loss"]):
            raise TrainingError(f"the loss of epoch {row['epoch']:.0f} is {row['loss']}; expected a finite number")
    if len(rows) != nepochs:
        raise TrainingError(f"the history holds {len(rows)} epochs of {nepochs}; training stopped early")


class History(keras.callbacks.Callback):
    """Keeps ``history.csv``, a row an epoch, those of an interrupted training included; prints a line for each."""

    def __init__(self, path: Path, begin: int, nepochs: int, patterns: int, report: Callable[[dict[str, Any]], None]):
        super().__init__()
        self.path, self.nepochs, self.patterns, self.report = path, nepochs, patterns, report
        self.rows = read_history(path)[:begin] if begin else []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - self._started
        self.rows.append({"epoch": epoch + 1, "loss": float((logs or {})["loss"]), "seconds": seconds})
        with open(self.path, "w", newline="") as file:
            writer = csv.DictWriter(file, ("epoch", "loss", "seconds"))
            writer.writeheader()
            writer.writerows(self.rows)
        left = seconds * (self.nepochs - epoch - 1)
        speed = self.patterns / seconds
        loss = self.rows[-1]["loss"]
        print(
            f"epoch {epoch + 1}/{self.nepochs}  log loss {loss:.4f}  {speed:.0f} patterns/s  ETA {left:.0f} s",
            flush=True,
        )
        progress = {"loss": loss, "seconds_per_epoch": seconds, "patterns_per_second": speed}
        self.report({"epoch": epoch + 1, "nepochs": self.nepochs, **progress})


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a ``history.csv``."""
    with open(path, newline="") as file:
        return [
            {"epoch": int(r["epoch"]), "loss": float(r["loss"]), "seconds": float(r["seconds"])}
            for r in csv.DictReader(file)
        ]


def _fingerprint(groups: Groups, config: TrainingConfig) -> str:
    """Names a backup after what it is a backup of: another configuration or scan starts anew."""
    digest = hashlib.sha256(repr(config).encode())
    for array in (groups.data.diff3d, groups.coords_relative, groups.data.probeGuess):
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def _finished_epochs(backup: Path) -> int:
    metadata = backup / "training_metadata.json"
    return int(json.loads(metadata.read_text())["epoch"]) if metadata.exists() else 0


def _restore(autoencoder: keras.Model, config: TrainingConfig, groups: Groups, backup: Path) -> None:
    """Take the weights of a training that had finished when its process was stopped."""
    model = trainer(autoencoder, config, groups.data.intensity_scale, 1)
    model.optimizer.build(model.trainable_variables)
    model.load_weights(backup / "latest.weights.h5")
