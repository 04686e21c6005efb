"""Positions that are pixels off: what moves all of them together is found first, then each by trial.

Gradients alone place a patch that is less than about two pixels off. Farther away two searches alternate with brief
fits of object and probe. Every fit starts from empty space: an object made with wrong positions holds on to them.

Together: turn, stretch and shear of the scan, the backlash of its stage and a smooth drift are fitted along with object
and probe. They are taken if the fit that follows explains the patterns better.

Each by itself: object and probe are held. Every pattern is predicted at 5 x 5 places around its own, and moves to the
one that explains its amplitudes best (trial positions: Maiden et al., Ultramicroscopy 120 (2012) 64). A parabola finds
the fraction of a step. The steps become shorter from round to round. The object is blurred as its photons are few: its
noise would hide the right place. Only the middle of the detector is compared: it holds nearly all photons, costs less,
and shows the right place from farther away.

On a Fermat spiral of 481 positions under a 48-pixel probe of three modes, at 1e6 photons a pattern, errors of up to 7
pixels (5 rms) fall to about 1 pixel rms. The gradients of :mod:`ptycho.reconstruct.direct` do the rest. At 1e4 photons
the object's noise leaves more: ``bench/positions.py`` measures it.
"""

from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import ndimage

from ptycho import seeds
from ptycho.config import DIRECT, LEARNING_RATES
from ptycho.cores import spread, threads
from ptycho.errors import TrainingError
from ptycho.physics import optics, probes
from ptycho.reconstruct.direct import RATES, Problem, with_modes
from ptycho.reconstruct.positions import Placement
from ptycho.scans.dose import measured_dose
from ptycho.scans.rawdata import RawData

STEPS = (3.0, 2.0, 1.5, 1.0, 1.0)  # pixels between the trial places of each round
SIDE = 5  # trial places along an axis
PASSES, PASSES_TOGETHER, BATCH = 6, 12, 25  # of the brief fits, of those that move all positions, and patterns a step
BETTER = 0.06  # by how much what moves all positions lowers the logarithm of the squared error; bad fits: 0.046
BLUR, MOST_BLUR = 20.0, 2.0
"""The sigma, in pixels, of the Gaussian that blurs the object under trial places, at one photon an object pixel; it
falls with the square root of the photons. And the largest sigma."""
SURE = 1.0
"""By how much a trial place lowers a pattern's squared error of amplitudes, in photons. Counting gives every pixel the
variance 1/4, so this is a chi squared of 4: two degrees have it by chance in 1 pattern of 7."""
MIDDLE = 0.98  # share of the photons in the part of the detector that trials compare
ROOM = 24  # pixels of empty space around the patches, for positions to move in
MOST_STRAIN = 0.1
DRIFT = 5  # Legendre polynomials in the order of exposure that make up a drift, at most: one for every 20 patterns


def find_positions(data: RawData, modes: int, seed: int) -> RawData:
    """The scan with its positions moved to where the gradients of ``direct.fit`` find the rest.

    The scan needs an ``intensity_scale``. ``modes`` are the incoherent ones of its probe. Raises TrainingError if a fit
    diverged.
    """
    search = Search(data, modes, seeds.derive(seed, "positions"))
    search.together(search.fit())
    for step in STEPS:
        search.each(step)
        loss = search.fit()
    search.together(loss)
    y, x = (search.place.corner + search.place.n // 2).T
    return replace(data, xcoords=x, ycoords=y)


class Bent(Placement):
    """The first pixel of each patch: p = A (given + F bend + shift). The object lies in the frame without A.

    ``strain`` S makes A = (1 + S)^-1. A pixel at u from its patch's middle samples the object at p + (1 + S) u, in the
    frame without A. So every patch knows of A by itself. If A moved the positions instead, the object would have to
    move along, and only patches at the edge of the scan would tell of A. ``bend`` (q, 2) is the strength of each of the
    :func:`fields` F, in pixels rms. ``shift`` (M, 2) is each position's own.
    """

    def __init__(self, corner: NDArray[np.float64], n: int):
        super().__init__(corner, n, refined=False)
        self.origin, self.first = self.origin - ROOM, self.first + ROOM
        self.shape = tuple(side + 2 * ROOM for side in self.shape)
        self.fields = fields(corner).astype(np.float32)
        self.unit = 4 / n  # strain times this: a strain of one moves the pixel at a quarter of the patch by one
        shapes = {"strain": (2, 2), "bend": (self.fields.shape[1], 2), "shift": corner.shape}
        self.variables = {name: keras.Variable(np.zeros(shape, np.float32)) for name, shape in shapes.items()}

    def at(self, chosen: tf.Tensor) -> tf.Tensor:
        """The first pixel (B, 2) float32 of the chosen patches, in the object's pixels and without A."""
        bend, shift = (self.variables[name].value for name in ("bend", "shift"))
        moved = tf.gather(self.fraction + shift, chosen) + tf.matmul(tf.gather(self.fields, chosen), bend)
        place = tf.cast(tf.gather(self.first, chosen), tf.float32) + moved
        return tf.clip_by_value(place, ROOM / 2, np.array(self.shape, np.float32) - self.n - ROOM / 2)

    def patches(self, O: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        W, index = self.shape[1], tf.range(self.n, dtype=tf.float32)
        u = index - self.n // 2
        strain = self.unit * self.variables["strain"].value
        place = self.at(chosen)[:, :, tf.newaxis, tf.newaxis]  # (B, 2, 1, 1)
        y = place[:, 0] + index[:, tf.newaxis] + strain[0, 0] * u[:, tf.newaxis] + strain[0, 1] * u
        x = place[:, 1] + index + strain[1, 0] * u[:, tf.newaxis] + strain[1, 1] * u
        top, left, pixels = tf.floor(y), tf.floor(x), tf.reshape(O, (-1,))
        first = tf.cast(top, tf.int32) * W + tf.cast(left, tf.int32)
        above, below = (
            optics.scale(1 - (x - left), tf.gather(pixels, row)) + optics.scale(x - left, tf.gather(pixels, row + 1))
            for row in (first, first + W)
        )
        return optics.scale(1 - (y - top), above) + optics.scale(y - top, below)

    def constrain(self) -> None:
        strain, most = self.variables["strain"], MOST_STRAIN / self.unit
        strain.assign(tf.clip_by_value(strain.value, -most, most))

    def settle(self) -> None:
        """Let ``shift`` say what all the variables said together."""
        strain, bend, shift = (self.variables[name] for name in ("strain", "bend", "shift"))
        place = self.given + self.fields @ bend.numpy() + shift.numpy()
        middle = place.mean(axis=0)
        A = np.linalg.inv(np.eye(2) + self.unit * strain.numpy())
        shift.assign((place - middle) @ A.T + middle - self.given)
        strain.assign(np.zeros(strain.shape))
        bend.assign(np.zeros(bend.shape))

    @property
    def corner(self) -> NDArray[np.float64]:
        """(M, 2), in the frame of the scan; to be asked for once settled."""
        return self.given + self.variables["shift"].numpy()


def fields(corner: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a stage does to all positions (M, 2) together, (M, q), each of unit rms. No common shift and no strain.

    Backlash goes by the direction, along each axis, in which the stage came. A drift is a polynomial in the order of
    exposure.
    """
    step = np.diff(corner, axis=0, prepend=2 * corner[:1] - corner[1:2])
    came = np.sign(step) * (np.abs(step) > 0.2 * np.median(np.hypot(*step.T)))
    time = np.linspace(-1, 1, len(corner))
    drift = np.polynomial.legendre.legvander(time, min(DRIFT, len(corner) // 20))[:, 1:]
    found = np.column_stack([came, drift])
    common = np.column_stack([np.ones(len(corner)), corner - corner.mean(axis=0)])
    found = found - common @ np.linalg.lstsq(common, found, rcond=None)[0]
    rms = np.sqrt(np.mean(found**2, axis=0))
    return found[:, rms > 0.05] / rms[rms > 0.05]


class Search:
    """Object, probe and positions of a scan, with what is compiled once for all rounds."""

    def __init__(self, data: RawData, modes: int, seed: int):
        P = with_modes(probes.cropped_modes(data.probeGuess), modes)
        n = P.shape[-1]
        self.place = Bent(np.stack([data.ycoords, data.xcoords], axis=1) - n // 2, n)
        start = np.stack([np.ones(self.place.shape), np.zeros(self.place.shape)])
        self.problem = Problem(data, P, start, self.place, "mse")
        rates = {name: LEARNING_RATES[DIRECT]["mse"] * RATES[name] for name in ("object", "probe", "strain", "bend")}
        alone = {name: rates[name] for name in ("object", "probe")}
        batch, rng = max(1, min(BATCH, len(data) // 20)), np.random.default_rng(seed)
        self.fit_alone = self.problem.runner(PASSES, batch, alone, rng)
        self.fit_together = self.problem.runner(PASSES_TOGETHER, batch, rates, rng)
        self.misfits = _trials(data, self.problem, self.place)
        self.blur = min(MOST_BLUR, BLUR / np.sqrt(measured_dose(data, data.probeGuess).per_object_pixel))

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

    def each(self, step: float) -> None:
        """Move positions to the best of their trial places, ``step`` pixels apart, unless it is better by chance."""
        image = self.problem.variables["object"]
        image.assign(ndimage.gaussian_filter(image.numpy(), (0, self.blur, self.blur)))
        errors = self.misfits(step)
        gain = errors[:, SIDE // 2, SIDE // 2] - errors.min(axis=(1, 2))
        move = np.where((gain > SURE)[:, np.newaxis], step * lowest(errors), 0)
        self.place.variables["shift"].assign_add((move - np.median(move, axis=0)).astype(np.float32))


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


def _trials(data: RawData, problem: Problem, place: Bent) -> Callable[[float], NDArray[np.float32]]:
    """What gives each pattern's squared error, in photons, at its trial places so far apart: (M, SIDE, SIDE)."""
    N, n, s = data.N, place.n, data.intensity_scale or 1.0
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
            error = s * (amplitude[k] - optics.amplitude(optics.measure(waves / N)))
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
