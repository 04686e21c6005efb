"""Self-supervised training: the network sees a group's amplitudes and is judged by how well it predicts them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ptycho.config import ModelConfig, TrainingConfig
from ptycho.cores import spread
from ptycho.errors import expect
from ptycho.physics.losses import DiffractionLoss
from ptycho.reconstruct.callbacks import Backup, History, Report, interruptible, read_history, require_finished
from ptycho.reconstruct.groups import SHARE, Groups
from ptycho.reconstruct.networks.layers import mask_of, plainly_trained, uses_xla

EARLIER_BLOCKS = 0.1  # weight of the loss of every block but the last
WARM_UP = 0.2
"""Share of a training in which the learning rate rises. Adam's first steps are all of full length: at full rate from
the start 6 of 45 networks of 1e6 photons and more got stuck, at 7 to 90 times the error of their neighbours."""
LARGEST_BATCH = 32
PUBLISHED_BATCH = 16  # of the reference network: PtychoPINN's
STEPS_PER_EPOCH = 60  # at least: in fewer a short training of a small scan ends before it has learned its step sizes


def batch_size(groups: Groups) -> int:
    """Groups a step: as many as leave 60 steps in an epoch, 2 to 32."""
    return max(2, min(LARGEST_BATCH, _groups_per_epoch(groups) // STEPS_PER_EPOCH))


def steps_per_epoch(groups: Groups, batch_size: int) -> int:
    """Batches that show every pattern once, on average, for a group shows gridsize**2 of them; 60 at least."""
    return max(STEPS_PER_EPOCH, -(-_groups_per_epoch(groups) // batch_size))


def patterns_per_epoch(groups: Groups, batch_size: int) -> int:
    """Patterns that an epoch shows."""
    return steps_per_epoch(groups, batch_size) * batch_size * groups.indices.shape[1]


def _groups_per_epoch(groups: Groups) -> int:
    return -(-len(groups) // groups.indices.shape[1])


def configure(
    grouped: Mapping[str, Groups],
    architecture: str,
    loss: str,
    *,
    nepochs: int,
    learning_rate: float,
    seed: int,
    probe_trainable: bool = False,
    target: str = "same",
) -> TrainingConfig:
    """The training on ``grouped["train"]`` of a network whose canvas holds the groups of every scan in ``grouped``.

    Raises ConfigError for a value that is not accepted, ValueError for a scan whose photons per pattern are not known.
    """
    scan = grouped["train"]
    if scan.data.nphotons is None:
        raise ValueError("nphotons of the scan is None; expected the photons per pattern to train on")
    farthest = max(groups.max_offset for groups in grouped.values())
    network = ModelConfig(scan.data.N, scan.gridsize, architecture, farthest, probe_trainable=probe_trainable)
    size = PUBLISHED_BATCH if architecture == "cnn" else batch_size(scan)
    return TrainingConfig(network, scan.data.nphotons, loss, nepochs, size, learning_rate, seed, target)


class MeanLoss(keras.metrics.Mean):
    """The mean of losses on which all replicas agree: Keras' own would add up what each replica keeps."""

    def add_variable(self, *args: Any, **settings: Any) -> keras.Variable:
        return super().add_variable(*args, **{**settings, "aggregation": "only_first_replica"})


class Trainer(keras.Model):
    """The network behind its objective: one intensity a block, and a training step cut in a part for each core."""

    def __init__(self, autoencoder: keras.Model, loss: str, intensity_scale: float, background: float = 0.0):
        amplitude, positions = autoencoder.inputs
        estimates = autoencoder.get_layer("reconstruction").output
        P, measure = autoencoder.get_layer("probe").output, autoencoder.get_layer("intensity")
        intensities = [measure(estimates[:, k], positions, P) for k in range(estimates.shape[1])]
        super().__init__([amplitude, positions], intensities, name="trainer")
        mask = mask_of(autoencoder)
        believed = None if mask is None else mask[..., tf.newaxis]
        logarithm = not plainly_trained(autoencoder)
        self.objective = DiffractionLoss(loss, intensity_scale, believed, logarithm, background)
        self.mean_loss = MeanLoss(name="loss")
        self.gradients = spread(self._gradients, xla=uses_xla(autoencoder))
        # replicas exchange their gradients within the update, which XLA does not compile
        alone = self.replicas == 1
        self.update = tf.function(self._update, jit_compile=True, autograph=False) if alone else self._update

    def _gradients(
        self, amplitude: tf.Tensor, positions: tf.Tensor, judging: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The objective of a part of the batch, scalar, and its gradient in every weight."""
        with tf.GradientTape() as tape:
            *earlier, last = (self.objective(judging, I) for I in tf.nest.flatten(self([amplitude, positions])))
            loss = last + EARLIER_BLOCKS * sum(earlier)
        return loss, tape.gradient(loss, [weight.value for weight in self.trainable_variables])

    def _update(self, gradients: list[tf.Tensor]) -> None:
        self.optimizer.apply(gradients)

    def train_step(self, batch: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        losses, gradients = zip(*self.gradients(*batch), strict=True)
        # of several replicas each objective is its share of the whole, and the optimizer adds up their gradients
        self.update([tf.add_n(parts) / len(parts) for parts in zip(*gradients, strict=True)])
        loss = tf.add_n(losses) / len(losses)
        if self.replicas > 1:
            loss = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, loss)
        self.mean_loss.update_state(loss if self.objective.logarithm else tf.math.log(loss))
        return {"loss": self.mean_loss.result()}

    @property
    def replicas(self) -> int:
        """The devices of the ``tf.distribute`` strategy, which train together, each on its share of every batch."""
        return self.distribute_strategy.num_replicas_in_sync

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.mean_loss]


def trainer(
    autoencoder: keras.Model, config: TrainingConfig, intensity_scale: float, steps: int, background: float = 0.0
) -> Trainer:
    """A compiled :class:`Trainer` over the same weights. background: known photons per pixel beside the scan's.

    Its learning rate rises linearly (Goyal et al., arXiv:1706.02677 (2017), section 2.2) and falls to zero along a
    cosine. That of the reference network is constant, as PtychoPINN's is.
    """
    rising, rate = round(WARM_UP * steps), config.learning_rate
    with autoencoder.distribute_strategy.scope():
        # the photons of a pattern that judge it are fewer than all
        judging = 1 - SHARE if config.target == "split" else 1.0
        model = Trainer(autoencoder, config.loss, float(np.sqrt(judging)) * intensity_scale, judging * background)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, decay_steps=steps - rising, warmup_target=rate, warmup_steps=rising
        )
        optimizer = keras.optimizers.Adam(rate if plainly_trained(autoencoder) else schedule)
        model.compile(optimizer=optimizer, jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    return model


def fit(
    autoencoder: keras.Model,
    groups: Groups,
    config: TrainingConfig,
    folder: Path,
    report: Report = lambda progress: None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> list[dict[str, float]]:
    """Train ``autoencoder`` in place; a training that was interrupted goes on after its last whole epoch.

    autoencoder  from ``model.build``. Built within the scope of a ``tf.distribute`` strategy, it trains on all the
                 devices of that strategy; the loss curve is that of one device up to rounding
    folder       holds ``history.csv`` (epoch, loss, seconds) and the backups of a training under way
    report       told {stage, epoch, nepochs, loss, seconds_per_epoch, patterns_per_second} after each epoch, and the
                 first three when it compiles and when it has compiled

    Returns {epoch, loss, seconds} of all epochs, those before an interruption included. The loss is a logarithm, also
    where the objective is not; of ``unrolled`` it has EARLIER_BLOCKS of the earlier block's in it. Raises TrainingError
    if it became NaN or infinite. Raises ValueError if the scan's ``intensity_scale`` is not known, its ``fitted``
    pixels are not those that the network was built for, a pattern lies farther from its group's centre than the
    network's canvas reaches, or the batch cannot be shared equally by the replicas.
    """
    if groups.data.intensity_scale is None:
        raise ValueError("intensity_scale of the scan is None; expected s, with counts = (s * diff3d)^2, to train on")
    fitted, mask = groups.data.fitted, mask_of(autoencoder)
    here, there = (0 if m is None else int(np.sum(~m)) for m in (fitted, mask))
    found = f"the scan leaves out {here} detector pixels, the network {there}"
    same = np.array_equal(np.asarray(fitted), np.asarray(mask))  # None equals None alone
    expect(same, f"{found}; expected the same ones: the mask of model.build is the scan's fitted")
    reach, farthest = config.model.max_offset, groups.max_offset
    found = f"patterns lie up to {farthest:.2f} pixels from their group's centre"
    # what falls off the canvas would read as an opaque object
    expect(farthest <= reach, f"max_offset={reach} is not accepted: {found}")
    size, replicas = config.batch_size, autoencoder.distribute_strategy.num_replicas_in_sync
    expect(size % replicas == 0, f"batch_size={size} is not accepted: a multiple of the {replicas} replicas")
    folder.mkdir(parents=True, exist_ok=True)
    backup = Backup(folder / "backup", _fingerprint(groups, config))
    rows = read_history(folder / "history.csv")[: backup.epochs]
    if len(rows) < backup.epochs:  # somebody removed the history: without it the training is not whole
        rows = []
    begin = len(rows)
    steps = steps_per_epoch(groups, size)
    s, background = groups.data.intensity_scale, groups.data.background or 0.0
    model = trainer(autoencoder, config, s, steps * config.nepochs, background)
    if begin:
        backup.restore(model)
        next_step = "training goes on after them" if begin < config.nepochs else "nothing is left to train"
        print(f"{begin} of {config.nepochs} epochs were trained before: {next_step}", flush=True)
    history = History(folder / "history.csv", rows, config.nepochs, patterns_per_epoch(groups, size), report)
    if begin < config.nepochs:
        data = _dataset(model.distribute_strategy, groups, config, range(begin * steps, config.nepochs * steps))
        with interruptible(lambda: f" after {backup.epochs} of {config.nepochs} epochs. Run it again to go on."):
            model.fit(
                data,
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


def _dataset(strategy: tf.distribute.Strategy, groups: Groups, config: TrainingConfig, batches: range) -> Any:
    """The batches; to several replicas, each its share: what follows one another then makes up one batch."""
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return groups.dataset(config.batch_size, batches, config.seed, config.target)
    shares = range(batches.start * replicas, batches.stop * replicas)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        share = groups.dataset(config.batch_size // replicas, shares, config.seed, config.target)
        return share.shard(context.num_input_pipelines, context.input_pipeline_id)

    return strategy.distribute_datasets_from_function(of_worker)


def _fingerprint(groups: Groups, config: TrainingConfig) -> str:
    """Names a backup after what it is a backup of: another configuration or scan starts anew."""
    digest = hashlib.sha256(repr((config, groups.data.intensity_scale, groups.data.background)).encode())
    data = groups.data
    for array in (data.diff3d, groups.indices, groups.coords_relative, data.probeGuess, data.fitted):
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)  # patterns mapped from a file are read, not copied
    return digest.hexdigest()[:12]
