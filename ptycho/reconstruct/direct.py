"""Maximum likelihood on the object's own pixels, without a network; if asked on the probe too."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay
from numpy.typing import NDArray

from ptycho.config import DIRECT, LEARNING_RATES
from ptycho.cores import spread
from ptycho.errors import TrainingError
from ptycho.physics import optics, probes
from ptycho.physics.losses import DiffractionLoss
from ptycho.reconstruct.positions import Placement, corners
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction, reached

Watch = Callable[[range], Iterable[int]]
RATES = {"object": 1.0, "probe": 0.1, "shift": 3.0, "strain": 0.5, "bend": 1.0}
"""Learning rates over that of the object: the probe's in units of its own rms, those of positions in pixels."""
RISING = {"shift": 0.5, "strain": 0.3, "bend": 0.3}
"""Share of the passes over which the rate of the positions rises: they wait for an object to be placed on."""
CURVATURES = ((0.0, -1.0, -0.5, 0.5, 1.0), (-0.75, -0.25, 0.25, 0.75))
"""Phases at the rms frequency, in radians, that an estimated probe is tried with. Two ways to begin share no start.

The mean pattern tells how wide a probe is, not how curved. From a wrong curvature, a fit can be caught in a wrong probe
and a wrong object. Of several fits, the one that explains the patterns best shows the object best, and better still
once it was begun anew with the probe that it found, until that settles.
"""
SETTLED, AT_MOST = 0.005, 6
"""By how much the logarithm of the loss falls less, once a probe is found; and how often a fit is begun anew."""


@dataclass(frozen=True, eq=False)
class DirectFit:
    """What a direct fit found.

    probe: (N, N) or (L, N, N), refined or as given; refined modes are orthogonal, the strongest first. losses:
    (passes,), logarithm of the mean loss per detector pixel, averaged over each pass.
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
    learning_rate: float | None = None,
    refine_probe: bool = False,
    modes: int = 1,
    curvatures: tuple[float, ...] = (),
    rough: float = 0.0,
    seed: int = 0,
    watch: Watch = iter,
) -> DirectFit:
    """Adam on the object's pixels through the same forward model and loss as the networks, from empty space.

    data              with an ``intensity_scale``; the fit sees its ``fitted`` pixels alone
    loss              one of LOSSES
    passes            times every pattern is seen
    batch_size        patterns a step
    learning_rate     of the object, at the start, LEARNING_RATES where None; falls along a cosine; RATES has the others
    refine_probe      whether the probe is fitted too, on all of its N x N pixels
    modes             incoherent, of a refined probe; those the data's probe lacks start as faint tilts of its first
    curvatures        of a refined probe that is an estimate: one of CURVATURES, to find it from; none for a known probe
    rough             rms of the noise about empty space from which the object starts
    seed              of that noise, and of the order in which patterns are seen
    watch             goes through the passes and may tell of each, as ``tqdm`` does; the first pass also compiles

    Raises TrainingError if the fit diverged.
    """
    N = data.N
    P = with_modes(data.probeGuess.reshape(-1, N, N), modes) if refine_probe else probes.cropped_modes(data.probeGuess)
    n = P.shape[-1]
    corner = corners(data, n)
    placement = Placement(corner, n)
    fitted = ["object", *["probe"] * refine_probe]
    rng = np.random.default_rng(seed)
    start = np.stack([np.ones(placement.shape), np.zeros(placement.shape)])
    if rough:
        start += rough * rng.normal(size=start.shape)
    problem = Problem(data, P, start, placement, loss)
    rate = LEARNING_RATES[DIRECT][loss] if learning_rate is None else learning_rate
    rates = {name: rate * RATES[name] for name in fitted}
    run = problem.runner(passes, min(batch_size, len(data)), rates, rng, watch)
    history = problem.settled(run, [probes.defocused(P, phase) for phase in curvatures]) if curvatures else run()
    if not np.isfinite(history).all():
        raise TrainingError(f"the direct {loss} fit diverged: losses {history}")
    O, P = (found.numpy() for found in problem.estimates())
    probe = data.probeGuess
    if refine_probe:
        P = _orthogonal(P)
        probe = P[0] if len(P) == 1 else P
    light, coverage = np.sum(np.abs(P) ** 2, axis=0), np.zeros(O.shape)
    for y, x in np.rint(corner - placement.origin).astype(int):
        coverage[y : y + n, x : x + n] += light
    coverage = coverage.astype(np.float32)
    O = np.where(reached(coverage), O, 1).astype(np.complex64)
    return DirectFit(Reconstruction(O, coverage, placement.origin), probe, history)


class Measured:
    """The patterns of a scan as a fit sees them: amplitudes (M, N, N) in corner order, and the loss of a prediction."""

    def __init__(self, data: RawData, loss: str):
        self.N = data.N
        self.amplitude = tf.constant(np.fft.ifftshift(data.diff3d, axes=(-2, -1)))
        mask = None if data.fitted is None else np.fft.ifftshift(data.fitted)
        scale, background = float(data.intensity_scale or 1.0), data.background or 0.0
        self.loss = DiffractionLoss(loss, scale, mask, background=background)

    def misfit(self, patches: tf.Tensor, P: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        """The loss, scalar, of what patches (B, n, n) under the modes P (L, n, n) predict for the chosen patterns."""
        return self.loss(tf.gather(self.amplitude, chosen), optics.diffract(patches, P, self.N))


class Problem:
    """The pixels to be found, and a compiled step on a batch of patterns."""

    def __init__(self, data: RawData, P: NDArray[np.complex64], start: np.ndarray, placement: Placement, loss: str):
        self.measured, self.placement = Measured(data, loss), placement
        # the probe in units of its own rms: one learning rate suits any normalisation
        self.unit = float(np.sqrt(np.mean(np.abs(P) ** 2)))
        self.start = {"object": start, "probe": self.planes(P)}
        pixels = {name: keras.Variable(value, dtype="float32") for name, value in self.start.items()}
        self.variables = {**pixels, **placement.variables}

    def planes(self, P: NDArray[np.complex64]) -> np.ndarray:
        """Modes (L, n, n) as the variable holds them: real and imaginary part, in its unit."""
        return np.stack([P.real, P.imag]) / self.unit

    def estimates(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The object (H, W) and the modes of the probe (L, n, n), complex64."""
        O, P = (tf.complex(*tf.unstack(self.variables[name].value)) for name in ("object", "probe"))
        return O, self.unit * P

    def restart(self, **other: np.ndarray) -> None:
        """Object and probe as they were at first, or as given: what the variables hold."""
        for name, value in (self.start | other).items():
            self.variables[name].assign(value)

    def settled(self, run: Callable[[], np.ndarray], starts: list[NDArray[np.complex64]]) -> np.ndarray:
        """Run from each of the probes, then anew with the one that the best of them found, until it settles.

        Leaves the variables as the best run left them, and returns its losses. Positions go on from run to run.
        """

        def tried(probe: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            self.restart(probe=probe)
            return run(), {name: variable.numpy() for name, variable in self.variables.items()}

        best = min((tried(self.planes(P)) for P in starts), key=lambda found: np.nan_to_num(found[0][-1], nan=np.inf))
        for _ in range(AT_MOST):
            again = tried(best[1]["probe"])
            gain = best[0][-1] - again[0][-1]
            best = again if gain > 0 else best
            if not gain >= SETTLED:
                break
        losses, values = best
        for name, value in values.items():
            self.variables[name].assign(value)
        return losses

    def runner(
        self, passes: int, batch_size: int, rates: dict[str, float], rng: np.random.Generator, watch: Watch = iter
    ) -> Callable[[], np.ndarray]:
        """What fits the variables named in `rates`, each at its own, from where they are.

        Called, it returns the mean loss of each pass, (passes,) float64. It is compiled once, however often it runs.
        """
        M = len(self.measured.amplitude)
        steps = -(-M // batch_size)
        fitted = []
        for name, rate in rates.items():
            schedule = CosineDecay(rate, passes * steps)
            if name in RISING:
                rising = int(RISING[name] * passes * steps)
                schedule = CosineDecay(0.0, passes * steps - rising, warmup_target=rate, warmup_steps=rising)
            optimizer = keras.optimizers.Adam(schedule, beta_2=0.99)
            optimizer.build([self.variables[name]])
            fitted.append((self.variables[name], optimizer))
        weights = [variable.value for variable, _ in fitted]

        def gradients(chosen: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                O, P = self.estimates()
                patches = self.placement.patches(O, chosen)
                loss = self.measured.misfit(patches, P, chosen)
            return loss, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, weights)]

        @tf.function(jit_compile=True, autograph=False)
        def update(gradients: list[list[tf.Tensor]]) -> None:
            for (variable, optimizer), parts in zip(fitted, zip(*gradients, strict=True), strict=True):
                optimizer.apply([tf.add_n(parts) / len(parts)], [variable])
            if not rates.keys().isdisjoint(self.placement.variables):
                self.placement.constrain()

        in_parts = spread(gradients)

        def step(chosen: tf.Tensor) -> tf.Tensor:
            losses, found = zip(*in_parts(chosen), strict=True)
            update(list(found))
            return tf.reduce_mean(tf.stack(losses))

        @tf.function(autograph=False)
        def one_pass(order: tf.Tensor) -> tf.Tensor:
            return tf.map_fn(step, order, parallel_iterations=1, fn_output_signature=tf.float32)

        def run() -> np.ndarray:
            for variable in (state for _, optimizer in fitted for state in optimizer.variables):
                variable.assign(tf.zeros_like(variable))
            shuffled = (rng.permutation(M) for _ in watch(range(passes)))
            orders = (np.resize(order, (steps, batch_size)).astype(np.int32) for order in shuffled)
            return np.array([one_pass(tf.constant(order)).numpy() for order in orders], np.float64).mean(axis=1)

        return run


def with_modes(P: NDArray[np.complex64], modes: int) -> NDArray[np.complex64]:
    """(modes, N, N): those given, and tilts of the first, each with a twentieth of its energy."""
    N = P.shape[-1]
    x = (np.arange(N) - N // 2) / (N / 8)
    y = x[:, None]
    tilted = [P[0] * tilt for tilt in (y, x, y * x, y**2 - x**2)][: max(0, modes - len(P))]
    energy = 0.05 * np.sum(np.abs(P[0]) ** 2)
    faint = [mode * np.sqrt(energy / np.sum(np.abs(mode) ** 2)) for mode in tilted]
    return np.stack([*P[:modes], *faint]).astype(np.complex64)


def _orthogonal(P: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """The modes (L, n, n) made orthogonal, the strongest first, by a mixture that is unitary and changes no intensity.

    It is the singular value decomposition's (Thibault and Menzel, Nature 494 (2013) 68).
    """
    if len(P) == 1:
        return P
    _, strength, modes = np.linalg.svd(P.reshape(len(P), -1), full_matrices=False)
    return (strength[:, np.newaxis] * modes).reshape(P.shape).astype(np.complex64)
