"""Patterns a second: of a training step, of inference and of a pass of ``direct``, and what share of the peak that is.

Training counts the loading of batches, inference the copies to and from TensorFlow; compilation is told apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bench import flops, samples
from bench.process import Row, peak_gflops, timed
from ptycho import direct, model, training
from ptycho.config import ModelConfig, TrainingConfig
from ptycho.cores import spread
from ptycho.groups import Groups
from ptycho.networks.layers import uses_xla

Estimate = Callable[[np.ndarray], np.ndarray]
STEPS = 100_000
"""More than are ever taken: the length of the batches' row, and of the learning rate's way to zero."""


def networks(N: int, gridsize: int, batch_sizes: Sequence[int], seconds: float, architecture: str) -> list[Row]:
    """Rows of training and inference for each batch size, in groups."""
    (groups, config), peak = samples.grouped(N, gridsize, architecture), peak_gflops()
    rows = []
    for batch_size in batch_sizes:
        chosen = np.resize(np.arange(len(groups)), batch_size)
        step, training_flop = training_step(groups, config, batch_size)
        estimate, inference_flop = inference(groups, config)
        calls = {"training": (step, training_flop), "inference": (lambda: estimate(chosen), inference_flop)}  # noqa: B023
        for task, (call, flop) in calls.items():
            started = time.perf_counter()
            call()
            compiling = time.perf_counter() - started
            speed = batch_size * gridsize**2 / np.array(timed(call, seconds))
            rows.append(_row(task, architecture, N, gridsize, batch_size, speed, flop / gridsize**2, peak, compiling))
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
    data, peak, order = samples.scan(N, 500), peak_gflops(), Passes()
    direct.fit(data, "nll", passes=passes, batch_size=batch_size, seed=order)
    first, *others = np.diff(order.at)
    flop = 2 * flops.transform(N, N)  # there and back; sampling the object is no matrix product
    return [_row("direct", "", N, 1, batch_size, len(data) / np.array(others), flop, peak, first)]


def training_step(groups: Groups, config: ModelConfig, batch_size: int) -> tuple[Callable[[], float], float]:
    """One step of :func:`ptycho.training.fit`, from the batch's loading to the loss; and the FLOP of one group."""
    keras.utils.set_random_seed(1)
    autoencoder, _ = model.build(config, groups.data.probeGuess)
    settings = TrainingConfig(model=config, batch_size=batch_size)
    trainer = training.trainer(autoencoder, settings, groups.data.intensity_scale, STEPS)
    trainer.make_train_function()
    batches = iter(groups.dataset(batch_size, range(STEPS // batch_size)))
    flop = _flops(trainer._gradients, autoencoder)
    return lambda: float(trainer.train_function(batches)["loss"]), flop


def inference(groups: Groups, config: ModelConfig) -> tuple[Estimate, float]:
    """A batch of groups -> their objects, as in :func:`ptycho.stitching.reconstruct`; and the FLOP of one group."""
    _, diffraction_to_obj = model.build(config, groups.data.probeGuess)
    objects_of = spread(lambda *inputs: diffraction_to_obj(inputs), xla=uses_xla(diffraction_to_obj))
    estimate = tf.function(lambda *inputs: tf.concat(objects_of(*inputs), axis=0))

    def run(chosen: np.ndarray) -> np.ndarray:
        return estimate(*map(tf.constant, groups.batch(chosen))).numpy()

    return run, _flops(lambda *inputs: diffraction_to_obj(inputs), diffraction_to_obj)


def _flops(function: Callable[..., Any], network: keras.Model) -> float:
    """FLOP of ``function`` of the network's inputs, for one group."""
    specs = [tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype) for tensor in network.inputs]
    return flops.count(tf.function(function).get_concrete_function(*specs).graph)


def _row(
    task: str,
    architecture: str,
    N: int,
    gridsize: int,
    batch: int,
    speed: np.ndarray,
    flop: float,
    peak: float,
    compiling: float,
) -> Row:
    """``speed`` in patterns a second, ``flop`` of one pattern, ``peak`` in GFLOP/s, ``compiling`` in seconds."""
    low, median, high = np.quantile(speed, (0.25, 0.5, 0.75))
    reached = median * flop / 1e9
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
        "mflop_per_pattern": flop / 1e6,
        "gflops": reached,
        "peak_gflops": peak,
        "share_of_peak": reached / peak,
        "first_call_s": compiling,
    }
