"""Patterns a second: of a training step, of inference and of a pass of ``direct``, and what share of the peak that is.

Training counts the loading of batches, inference the copies to and from TensorFlow; compilation is told apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bench import flops, samples
from bench.process import Row, peak_gflops, timed, transform_us
from ptycho.config import ModelConfig, TrainingConfig
from ptycho.cores import spread, threads
from ptycho.reconstruct import direct, training
from ptycho.reconstruct.groups import Groups
from ptycho.reconstruct.networks import model
from ptycho.reconstruct.networks.layers import uses_xla

Estimate = Callable[[np.ndarray], np.ndarray]
STEPS = 100_000
"""More than are ever taken: the length of the batches' row, and of the learning rate's way to zero."""


@dataclass(frozen=True)
class Machine:
    """What this one does at best: GFLOP/s of a matrix product on all cores, microseconds of one transform on one."""

    peak_gflops: float
    transform_us: float


@dataclass(frozen=True)
class Work:
    """What a pattern, or a group, asks for: floating-point operations, and Fourier transforms among them."""

    flop: float
    transforms: float


def networks(N: int, gridsize: int, batch_sizes: Sequence[int], seconds: float, architecture: str) -> list[Row]:
    """Rows of training and inference for each batch size, in groups."""
    (groups, config), machine = samples.grouped(N, gridsize, architecture), Machine(peak_gflops(), transform_us(N))
    rows = []
    for batch_size in batch_sizes:
        chosen = np.resize(np.arange(len(groups)), batch_size)
        step, training_work = training_step(groups, config, batch_size)
        estimate, inference_work = inference(groups, config)
        calls = {"training": (step, training_work), "inference": (lambda: estimate(chosen), inference_work)}  # noqa: B023
        for task, (call, work) in calls.items():
            started = time.perf_counter()
            call()
            compiling = time.perf_counter() - started
            speed = batch_size * gridsize**2 / np.array(timed(call, seconds))
            per_pattern = Work(work.flop / gridsize**2, work.transforms / gridsize**2)
            rows.append(_row(task, architecture, N, gridsize, batch_size, speed, per_pattern, machine, compiling))
    return rows


class Passes(np.random.Generator):
    """The generator of the order of a ``direct`` fit: asked once a pass, it tells when a pass begins."""

    def __init__(self, begins: Callable[[int], None] = lambda number: None):
        super().__init__(np.random.PCG64(0))
        self.begins, self.at = begins, list[float]()

    def permutation(self, M: int) -> np.ndarray:
        self.begins(len(self.at))
        self.at.append(time.perf_counter())
        return super().permutation(M)


def direct_fit(N: int, batch_size: int, passes: int) -> list[Row]:
    """The row of ``direct``; the first of its passes, which compiles, is told apart."""
    data, machine, order = samples.scan(N, 500), Machine(peak_gflops(), transform_us(N)), Passes()
    direct.fit(data, "nll", passes=passes, batch_size=batch_size, seed=order)
    first, *others = np.diff(order.at)
    work = Work(2 * flops.transform(N, N), 2)  # there and back; sampling the object is no matrix product
    return [_row("direct", "", N, 1, batch_size, len(data) / np.array(others), work, machine, first)]


def training_step(groups: Groups, config: ModelConfig, batch_size: int) -> tuple[Callable[[], float], Work]:
    """One step of ``training.fit``, from the batch's loading to the loss; and the work of one group."""
    keras.utils.set_random_seed(1)
    autoencoder, _ = model.build(config, groups.data.probeGuess)
    settings = TrainingConfig(model=config, batch_size=batch_size)
    trainer = training.trainer(autoencoder, settings, groups.data.intensity_scale, STEPS)
    trainer.make_train_function()
    batches = iter(groups.dataset(batch_size, range(STEPS // batch_size)))
    work = _work(lambda seen, positions: trainer._gradients(seen, positions, seen), autoencoder)
    return lambda: float(trainer.train_function(batches)["loss"]), work


def inference(groups: Groups, config: ModelConfig) -> tuple[Estimate, Work]:
    """A batch of groups -> their objects, as in ``stitching.reconstruct``; and the work of one group."""
    _, diffraction_to_obj = model.build(config, groups.data.probeGuess)
    objects_of = spread(lambda *inputs: diffraction_to_obj(inputs), xla=uses_xla(diffraction_to_obj))
    estimate = tf.function(lambda *inputs: tf.concat(objects_of(*inputs), axis=0))

    def run(chosen: np.ndarray) -> np.ndarray:
        return estimate(*map(tf.constant, groups.batch(chosen))).numpy()

    return run, _work(lambda *inputs: diffraction_to_obj(inputs), diffraction_to_obj)


def _work(function: Callable[..., Any], network: keras.Model) -> Work:
    """That of ``function`` of the network's inputs, for one group."""
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in network.inputs]
    graph = tf.function(function).get_concrete_function(*specs).graph
    return Work(flops.count(graph), flops.transforms(graph))


def _row(
    task: str,
    architecture: str,
    N: int,
    gridsize: int,
    batch: int,
    speed: np.ndarray,
    work: Work,
    machine: Machine,
    compiling: float,
) -> Row:
    """``speed`` in patterns a second, ``work`` of one pattern, ``compiling`` in seconds."""
    low, median, high = np.quantile(speed, (0.25, 0.5, 0.75))
    reached = median * work.flop / 1e9
    alone = threads() * 1e6 / (work.transforms * machine.transform_us) if work.transforms else None
    return {
        "task": task,
        "architecture": architecture,
        "N": N,
        "gridsize": gridsize,
        "batch": batch,
        "patterns_per_s": median,
        "quartile_low": low,
        "quartile_high": high,
        "groups_per_s": median / gridsize**2,
        "mflop_per_pattern": work.flop / 1e6,
        "gflops": reached,
        "peak_gflops": machine.peak_gflops,
        "share_of_peak": reached / machine.peak_gflops,
        "transforms_per_pattern": work.transforms,
        "transform_us": machine.transform_us,
        "transforms_alone_per_s": alone,
        "first_call_s": compiling,
    }
