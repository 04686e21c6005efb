"""Where each pattern's patch lies on the object: as the scan says, or moved, all together and each by itself."""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ptycho.physics import optics
from ptycho.scans.rawdata import RawData

MARGIN = 2  # pixels of empty space around the outermost patches
ROOM = 24  # the same, where positions move
MOST_STRAIN = 0.1
DRIFT = 5  # Legendre polynomials in the order of exposure that make up a drift, at most: one for every 20 patterns


def corners(data: RawData, n: int) -> NDArray[np.float64]:
    """(M, 2) float64, (y, x) of the first pixel of each patch of n x n, in the frame of the scan."""
    return np.stack([data.ycoords, data.xcoords], axis=1) - n // 2


class Placement:
    """The first pixel of each patch, as the scan says.

    corner: (M, 2) float64, (y, x) of each patch's first pixel, in the frame of the scan. n: side of a patch.
    ``variables`` are those that a fit may move: none.
    """

    def __init__(self, corner: NDArray[np.float64], n: int):
        self.n = n
        self.origin = np.floor(corner.min(axis=0)) - MARGIN  # (2,), of the object's pixel [0, 0]
        self.shape = tuple((np.ceil(corner.max(axis=0)) - self.origin + n + MARGIN).astype(int))
        first = np.floor(corner - self.origin)
        # whole pixels apart from fractions: float32 would round their sum
        self.first, self.fraction = first.astype(np.int32), (corner - self.origin - first).astype(np.float32)
        self.variables: dict[str, keras.Variable] = {}

    def patches(self, O: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        """The chosen patches (B, n, n) complex64 of the object O (H, W)."""
        first, fraction = (tf.gather(of_all, chosen) for of_all in (self.first, self.fraction))
        return optics.bilinear_patches(O, first, fraction, self.n)

    def constrain(self) -> None:
        """Bring what a step made of the variables back to what they may be."""


class Moved(Placement):
    """The first pixel of each patch: p = A (given + F bend + shift). The object lies in the frame without A.

    ``strain`` S makes A = (1 + S)^-1. A pixel at u from its patch's middle samples the object at p + (1 + S) u, in the
    frame without A. So every patch knows of A by itself. If A moved the positions instead, the object would have to
    move along, and only patches at the edge of the scan would tell of A. ``bend`` (q, 2) is the strength of each of the
    :func:`fields` F, in pixels rms. ``shift`` (M, 2) is each position's own.
    """

    def __init__(self, corner: NDArray[np.float64], n: int):
        super().__init__(corner, n)
        self.given = corner
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

    Backlash goes by the direction, along each axis, in which the stage came. Where it turns, it came along the other
    axis: a stage with play is then where the last row left it, one that is read late is where the next row goes. So the
    direction in which it leaves there is a field of its own. A drift is a polynomial in the order of exposure.
    """
    step = np.diff(corner, axis=0, prepend=2 * corner[:1] - corner[1:2], append=2 * corner[-1:] - corner[-2:-1])
    way = np.sign(step) * (np.abs(step) > 0.2 * np.median(np.hypot(*step.T)))
    came = way[:-1]
    leaves = np.where(came == 0, way[1:], 0)
    time = np.linspace(-1, 1, len(corner))
    drift = np.polynomial.legendre.legvander(time, min(DRIFT, len(corner) // 20))[:, 1:]
    found = np.column_stack([came, leaves, drift])
    common = np.column_stack([np.ones(len(corner)), corner - corner.mean(axis=0)])
    found = found - common @ np.linalg.lstsq(common, found, rcond=None)[0]
    rms = np.sqrt(np.mean(found**2, axis=0))
    return found[:, rms > 0.05] / rms[rms > 0.05]
