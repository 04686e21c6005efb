"""Maximum likelihood on the object's own pixels, and if asked the probe's: what the photons allow without a network."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ptycho import optics, probes
from ptycho.callbacks import TrainingError
from ptycho.cores import spread
from ptycho.objective import DiffractionLoss
from ptycho.rawdata import RawData
from ptycho.registration import Reconstruction

MARGIN = 2
"""Pixels of empty space around the outermost patches."""


@dataclass(frozen=True, eq=False)
class DirectFit:
    """What a direct fit found.

    Attributes
    ----------
    reconstruction : Reconstruction
    probe : (N, N) or (L, N, N) complex64
        The refined probe, or the given one.
    losses : (passes,) float64
        Logarithm of the mean loss per detector pixel, averaged over each pass.
    """

    reconstruction: Reconstruction
    probe: NDArray[np.complex64]
    losses: NDArray[np.float64]


def fit(
    data: RawData,
    loss: str,
    *,
    passes: int = 30,
    batch_size: int = 50,
    learning_rate: float = 0.05,
    refine_probe: bool = False,
    modes: int = 1,
    seed: int = 0,
) -> DirectFit:
    """Adam on the object's pixels through the same forward model and loss as the networks, from empty space.

    Parameters
    ----------
    data : RawData
        With an ``intensity_scale``; only its ``fitted`` pixels are.
    loss : {'nll', 'mae', 'mse'}
    passes : int
        Times every pattern is seen.
    batch_size : int
        Patterns a step.
    learning_rate : float
        Of the object; it falls to zero along a cosine. The probe's is a tenth of it, in units of its own rms.
    refine_probe : bool
        Whether the probe is fitted too, on all of its N x N pixels.
    modes : int
        Incoherent modes of a refined probe; those the data's probe lacks start as faint tilts of its first.
    seed : int
        Of the order in which patterns are seen.

    Raises
    ------
    TrainingError
        The fit diverged.
    """
    N = data.N
    P = _with_modes(data.probeGuess.reshape(-1, N, N), modes) if refine_probe else probes.cropped_modes(data.probeGuess)
    n = P.shape[-1]
    corner = np.stack([data.ycoords, data.xcoords], axis=1) - n // 2  # (M, 2), (y, x) of each patch's first pixel
    origin = np.floor(corner.min(axis=0)) - MARGIN
    shape = tuple((np.ceil(corner.max(axis=0)) - origin + n + MARGIN).astype(int))
    first = np.floor(corner - origin)

    problem = _Problem(data, P, shape, first.astype(np.int32), (corner - origin - first).astype(np.float32), loss)
    history = problem.run(passes, min(batch_size, len(data)), learning_rate, refine_probe, np.random.default_rng(seed))
    if not np.isfinite(history).all():
        raise TrainingError(f"the direct {loss} fit diverged: losses {history}")
    O, P = problem.object, problem.probe
    probe = np.squeeze(P, 0) if len(P) == 1 else P
    coverage = _coverage(P, shape, np.rint(corner - origin).astype(int))
    O = np.where(coverage > 1e-6 * coverage.max(), O, 1).astype(np.complex64)
    reconstruction = Reconstruction(O, coverage, origin.astype(np.float64))
    return DirectFit(reconstruction, probe if refine_probe else data.probeGuess, history)


class _Problem:
    """The pixels to be found, and a compiled step on a batch of patterns."""

    def __init__(
        self,
        data: RawData,
        P: NDArray[np.complex64],
        shape: tuple[int, ...],
        first: NDArray[np.int32],
        fraction: NDArray[np.float32],
        loss: str,
    ):
        self.N, self.first, self.fraction = data.N, tf.constant(first), tf.constant(fraction)
        self.amplitude = tf.constant(np.fft.ifftshift(data.diff3d, axes=(-2, -1)))
        mask = None if data.fitted is None else np.fft.ifftshift(data.fitted)
        self.loss = DiffractionLoss(loss, float(data.intensity_scale or 1.0), mask)
        # the probe in units of its own rms: one learning rate suits any normalisation
        self.unit = float(np.sqrt(np.mean(np.abs(P) ** 2)))
        self._object = keras.Variable(np.stack([np.ones(shape), np.zeros(shape)]).astype(np.float32))
        self._probe = keras.Variable(np.stack([P.real, P.imag]).astype(np.float32) / self.unit)

    @property
    def object(self) -> NDArray[np.complex64]:
        return tf.complex(*tf.unstack(self._object.value)).numpy()

    @property
    def probe(self) -> NDArray[np.complex64]:
        return (self.unit * tf.complex(*tf.unstack(self._probe.value))).numpy()

    def run(
        self, passes: int, batch_size: int, learning_rate: float, refine_probe: bool, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        M = len(self.first)
        steps = -(-M // batch_size)

        def adam(variable: keras.Variable, rate: float) -> keras.optimizers.Optimizer:
            optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, passes * steps), beta_2=0.99)
            optimizer.build([variable])
            return optimizer

        fitted = [(self._object, adam(self._object, learning_rate))]
        if refine_probe:
            fitted.append((self._probe, adam(self._probe, learning_rate / 10)))

        weights = [variable.value for variable, _ in fitted]

        def gradients(chosen: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                loss = self._loss(chosen)
            return loss, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, weights)]

        @tf.function(jit_compile=True)
        def update(gradients: list[list[tf.Tensor]]) -> None:
            for (variable, optimizer), parts in zip(fitted, zip(*gradients, strict=True), strict=True):
                optimizer.apply([tf.add_n(parts) / len(parts)], [variable])

        in_parts = spread(gradients)

        @tf.function
        def step(chosen: tf.Tensor) -> tf.Tensor:
            losses, found = zip(*in_parts(chosen), strict=True)
            update(list(found))
            return tf.reduce_mean(tf.stack(losses))

        history = np.empty((passes, steps))
        for p in range(passes):
            order = np.resize(rng.permutation(M), steps * batch_size).reshape(steps, batch_size).astype(np.int32)
            history[p] = [float(step(tf.constant(chosen))) for chosen in order]
        return history.mean(axis=1)

    def _loss(self, chosen: tf.Tensor) -> tf.Tensor:
        O = tf.complex(*tf.unstack(self._object.value))
        P = self.unit * tf.complex(*tf.unstack(self._probe.value))
        first, fraction = tf.gather(self.first, chosen), tf.gather(self.fraction, chosen)
        patches = optics.bilinear_patches(O, first, fraction, P.shape[-1])
        return self.loss(tf.gather(self.amplitude, chosen), optics.diffract(patches, P, self.N))


def _with_modes(P: NDArray[np.complex64], modes: int) -> NDArray[np.complex64]:
    """(modes, N, N): those given, and tilts of the first, each with a twentieth of its energy."""
    N = P.shape[-1]
    axis = (np.arange(N) - N // 2) / (N / 8)
    tilts = [axis[:, None], axis[None, :], axis[:, None] * axis, axis[:, None] ** 2 - axis**2]
    added = []
    for tilt in tilts[: max(0, modes - len(P))]:
        mode = P[0] * tilt
        added.append(mode * np.sqrt(0.05 * np.sum(np.abs(P[0]) ** 2) / np.sum(np.abs(mode) ** 2)))
    return np.concatenate([P[:modes], *(mode[None] for mode in added)]).astype(np.complex64)


def _coverage(P: NDArray[np.complex64], shape: tuple[int, ...], first: NDArray[np.int64]) -> NDArray[np.float32]:
    light = np.sum(np.abs(P) ** 2, axis=0)
    n = light.shape[-1]
    coverage = np.zeros(shape, np.float64)
    for y, x in first:
        coverage[y : y + n, x : x + n] += light
    return coverage.astype(np.float32)
