"""Positions that are pixels off: what moves all of them together is found first, then each by trial and by gradient.

Every fit starts from empty space: an object made with wrong positions holds on to them.

Together: turn, stretch and shear of the scan, the backlash of its stage and a smooth drift are fitted along with object
and probe. They are taken if the fit that follows explains the patterns better.

Each by itself, by trial: object and probe are held. Every pattern is predicted at 5 x 5 places around its own, and
moves to the one that explains its amplitudes best (trial positions: Maiden et al., Ultramicroscopy 120 (2012) 64). A
parabola finds the fraction of a step. The steps become shorter from round to round, with a brief fit of object and
probe between them. Only the middle of the detector is compared: it holds nearly all photons, costs less, and shows the
right place from farther away.

Each by itself, by gradient: what is within about two pixels of its place gets there in a longer fit of object, probe,
positions and, where photons are many, the strain of all of them together.

The fewer the photons, the more the object is blurred, in the trials and in the gradients: its noise would move the
positions. ``bench/positions.py`` measures what is left of errors of 5 pixels rms.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ptycho import seeds
from ptycho.config import DIRECT, LEARNING_RATES
from ptycho.cores import spread, threads
from ptycho.errors import TrainingError
from ptycho.physics import optics, probes
from ptycho.reconstruct.direct import RATES, Problem, with_modes
from ptycho.reconstruct.positions import Moved, corners
from ptycho.scans.dose import measured_dose
from ptycho.scans.rawdata import RawData

STEPS = (3.0, 2.0, 1.5, 1.0)  # pixels between the trial places of each round
SIDE = 5  # trial places along an axis
PASSES, PASSES_TOGETHER, PASSES_EACH = 6, 12, 20  # of the brief fits, and of those that move all positions, and each
BATCH = 25  # patterns a step
BETTER = 0.06  # by how much what moves all positions lowers the logarithm of the squared error; bad fits: 0.046
BLUR, MOST_BLUR = 28.0, 3.0
"""The sigma, in pixels, of the Gaussian that blurs the object where positions move, at one photon an object pixel; it
falls with the square root of the photons. And the largest sigma."""
SURE = 1.0
"""By how much a trial place lowers a pattern's squared error of amplitudes, in photons. Counting gives every pixel the
variance 1/4, so this is a chi squared of 4: two degrees have it by chance in 1 pattern of 7."""
MIDDLE = 0.98  # share of the photons in the part of the detector that trials compare


def find_positions(data: RawData, modes: int, seed: int) -> RawData:
    """The scan with its positions where they explain its patterns.

    The scan needs an ``intensity_scale``. ``modes`` are the incoherent ones of its probe. Raises TrainingError if a fit
    diverged.
    """
    search = Search(data, modes, seeds.derive(seed, "positions"))
    search.together(search.fit())
    for step in STEPS:
        search.each(step)
        search.fit()
    search.polish()
    y, x = (search.place.corner + search.place.n // 2).T
    return replace(data, xcoords=x, ycoords=y)


class Blurred(Problem):
    """A problem with its variables, whose object is theirs blurred by a Gaussian, within the forward model.

    A fit finds what, once blurred, explains the patterns. sigma: of the Gaussian, in pixels.
    """

    def __init__(self, problem: Problem, sigma: float):
        self.__dict__ |= problem.__dict__
        self.reach = int(np.ceil(3 * sigma))
        weights = np.exp(-(np.arange(-self.reach, self.reach + 1) ** 2) / (2 * sigma**2))
        self.weights = (weights / weights.sum()).astype(np.float32)

    def estimates(self) -> tuple[tf.Tensor, tf.Tensor]:
        O, P = super().estimates()
        pair, r = tf.stack([tf.math.real(O), tf.math.imag(O)]), self.reach
        for _ in ("along y", "along x"):
            padded = tf.pad(tf.linalg.matrix_transpose(pair), [[0, 0], [r, r], [0, 0]], "SYMMETRIC")
            side = padded.shape[1] - 2 * r
            pair = tf.add_n([weight * padded[:, k : k + side] for k, weight in enumerate(self.weights)])
        return tf.complex(pair[0], pair[1]), P


class Search:
    """Object, probe and positions of a scan, with what is compiled once for all rounds."""

    def __init__(self, data: RawData, modes: int, seed: int):
        P = with_modes(probes.cropped_modes(data.probeGuess), modes)
        n = P.shape[-1]
        self.place = Moved(corners(data, n), n)
        self.shared = self.place.variables["shift"].numpy()  # where what moves all positions together puts them
        start = np.stack([np.ones(self.place.shape), np.zeros(self.place.shape)])
        self.problem = Problem(data, P, start, self.place, "mse")
        photons = measured_dose(data, data.probeGuess).per_object_pixel
        sigma = min(MOST_BLUR, BLUR / np.sqrt(photons))
        self.blurred = Blurred(self.problem, sigma)
        rate = LEARNING_RATES[DIRECT]["mse"]
        batch, rng = max(1, min(BATCH, len(data) // 20)), np.random.default_rng(seed)

        def runner(problem: Problem, passes: int, *moving: str) -> Callable[[], NDArray[np.float64]]:
            rates = {name: rate * RATES[name] for name in ("object", "probe", *moving)}
            return problem.runner(passes, batch, rates, rng)

        self.fit_alone = runner(self.problem, PASSES)
        self.fit_together = runner(self.problem, PASSES_TOGETHER, "strain", "bend")
        # what is blurred by more than a pixel tells a small strain wrong
        self.fit_each = runner(self.blurred, PASSES_EACH, "shift", *(["strain"] if sigma <= 1 else []))
        self.misfits = _trials(data, self.blurred, self.place)

    def fit(self) -> float:
        """Fit object and probe from empty space; the logarithm of the mean squared error. May raise TrainingError."""
        self.problem.restart()
        loss = float(self.fit_alone()[-1])
        if not np.isfinite(loss):
            raise TrainingError(f"the search for positions diverged: loss {loss}")
        return loss

    def together(self, loss: float) -> None:
        """Move all positions together where that lowers ``loss``, the present one. Object and probe are fitted anew."""
        shift, before = self.place.variables["shift"], self.place.variables["shift"].numpy()
        self.problem.restart()
        self.fit_together()
        self.place.settle()
        if self.fit() > loss - BETTER:
            shift.assign(before)
            self.fit()
        self.shared = shift.numpy()

    def each(self, step: float) -> None:
        """Move positions to the best of their trial places, ``step`` pixels apart, unless it is better by chance."""
        errors = self.misfits(step)
        gain = errors[:, SIDE // 2, SIDE // 2] - errors.min(axis=(1, 2))
        move = np.where((gain > SURE)[:, np.newaxis], step * lowest(errors), 0)
        self.place.variables["shift"].assign_add((move - np.median(move, axis=0)).astype(np.float32))

    def polish(self) -> None:
        """Move each position by the gradient, as far as the photons allow. Object and probe are fitted along with it.

        Then what each was moved by itself in all, by trial and by gradient, is kept as far as the photons allow: of
        positions that were right, some had moved by chance.
        """
        shift, before = self.place.variables["shift"], self.place.variables["shift"].numpy()
        self.problem.restart()
        self.fit_each()
        noise = variances(self.misfits(1.0))
        found = before + believed(shift.numpy() - before, noise)
        shift.assign(self.shared + believed(found - self.shared, noise))
        self.place.settle()


def believed(moves: NDArray[np.floating], noise: NDArray[np.floating]) -> NDArray[np.float64]:
    """What counting lets one believe of moves (M, 2) whose noise has the variances (M, 2). No common shift.

    Of a move m the share t^2 / (t^2 + v) is kept, where t^2 is what all moves' m^2 exceed their variances v by on
    average (empirical Bayes: Efron and Morris, J. Am. Stat. Assoc. 68 (1973) 117).
    """
    moves = moves - moves.mean(axis=0)
    real = np.maximum(0, np.mean(moves**2 - noise, axis=0))
    return np.asarray(moves * real / (real + noise), np.float64)


def variances(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of the positions along y and x, (M, 2), in squared steps, from each pattern's errors about its place (M, s, s).

    Amplitudes have the variance 1/4: with an error e, -2 e is a log-likelihood, whose information is 2 e''. No variance
    is above that of a place unknown within the map.
    """
    m = maps.shape[1] // 2
    across = maps[:, m - 1 : m + 2, m], maps[:, m, m - 1 : m + 2]
    curvature = np.stack([low + high - 2 * middle for low, middle, high in (line.T for line in across)], axis=1)
    return np.asarray(1 / np.maximum(2 * curvature, 1 / m**2), np.float64)


def lowest(maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where each of the maps (M, s, s) is lowest: (M, 2) steps from its middle, by a parabola along either axis."""
    M, side = maps.shape[:2]
    all_maps = np.arange(M)
    at = np.stack(np.unravel_index(maps.reshape(M, -1).argmin(axis=1), (side, side)), axis=1)
    found = at - side // 2.0
    for axis, lines in enumerate((maps[all_maps, :, at[:, 1]], maps[all_maps, at[:, 0]])):
        bottom = np.clip(at[:, axis], 1, side - 2)
        low, middle, high = (lines[all_maps, bottom + d].astype(np.float64) for d in (-1, 0, 1))
        slope, curvature = (high - low) / 2, low - 2 * middle + high
        valley = (curvature > 0) & (bottom == at[:, axis])
        found[valley, axis] -= slope[valley] / curvature[valley]
    return found


def _trials(data: RawData, problem: Problem, place: Moved) -> Callable[[float], NDArray[np.float32]]:
    """What gives each pattern's squared error, in photons, at its trial places so far apart: (M, SIDE, SIDE)."""
    N, n, s = data.N, place.n, data.intensity_scale or 1.0
    known = tf.constant((data.background or 0.0) / s**2, tf.float32)
    light = np.sqrt(np.mean(np.square(data.diff3d, dtype=np.float64), axis=0))
    side = probes.support_size(light, MIDDLE)
    middle = slice(N // 2 - side // 2, N // 2 + side // 2)
    amplitude = tf.constant(data.diff3d[:, middle, middle])
    valid = tf.constant(np.ones((side, side)) if data.fitted is None else data.fitted[middle, middle], tf.float32)
    # the ramp moves the middle of the detector to the transform's first pixels
    ramp = np.exp(1j * np.pi * side / N * np.arange(n))
    along = np.arange(SIDE) - SIDE // 2
    places = tf.constant(np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2), tf.float32)
    step = tf.Variable(1.0)

    def errors(chosen: tf.Tensor) -> tf.Tensor:
        O, P = problem.estimates()
        P = P * tf.constant(ramp[:, np.newaxis] * ramp, tf.complex64)

        def of_one(k: tf.Tensor) -> tf.Tensor:
            at = place.at(k[tf.newaxis]) + step * places
            patches = optics.bilinear_patches(O, tf.cast(tf.floor(at), tf.int32), at - tf.floor(at), n)
            waves = optics.illuminate(patches, P)
            for _ in ("along y", "along x"):
                padded = tf.pad(tf.linalg.matrix_transpose(waves), [[0, 0]] * 3 + [[0, N - n]])
                waves = tf.signal.fft(padded)[..., :side]
            error = s * (amplitude[k] - optics.amplitude(optics.measure(waves / N) + known))
            return tf.reduce_sum(valid * tf.square(error), axis=(-2, -1))

        return tf.map_fn(of_one, chosen, fn_output_signature=tf.float32)

    in_parts = spread(errors)
    M, together = len(data), threads()
    order = tf.constant(np.resize(np.arange(M), -(-M // together) * together).astype(np.int32))

    @tf.function(autograph=False)
    def of_all() -> tf.Tensor:
        return tf.concat(in_parts(order), axis=0)[:M]

    def misfits(apart: float) -> NDArray[np.float32]:
        step.assign(apart)
        return of_all().numpy().reshape(M, SIDE, SIDE)

    return misfits
