"""Where each pattern's patch lies on the object: as the scan says, or refined, all together and each by itself."""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ptycho.physics import optics

MARGIN = 2  # pixels of empty space around the outermost patches
REACH = 4.0  # pixels that a refined position may move by itself, along either axis
STRETCH = 0.03
"""Share of the scan's extent that refined positions may move together, by stretch, turn and shear, from each axis."""


class Placement:
    """The first pixel of each patch: p = given + A lever + shift.

    ``affine`` A moves all positions together, as a wrong pixel size or axes not at right angles do. ``shift`` moves
    each by itself. It holds no part of the former and no common shift, which no pattern knows.

    corner: (M, 2) float64, (y, x) of each patch's first pixel, in the frame of the scan. n: side of a patch. refined:
    whether the positions are to be fitted; they then have room to move.
    """

    def __init__(self, corner: NDArray[np.float64], n: int, refined: bool):
        lever = corner - (corner.min(axis=0) + corner.max(axis=0)) / 2
        extent = max(1.0, np.abs(lever).max())
        self.limit = STRETCH * extent
        margin = MARGIN + (int(np.ceil(REACH + 2 * self.limit)) if refined else 0)
        self.given, self.n = corner, n
        self.origin = np.floor(corner.min(axis=0)) - margin  # (2,), of the object's pixel [0, 0]
        self.shape = tuple((np.ceil(corner.max(axis=0)) - self.origin + n + margin).astype(int))
        first = np.floor(corner - self.origin)
        # whole pixels apart from fractions: float32 would round their sum
        self.first, self.fraction = first.astype(np.int32), (corner - self.origin - first).astype(np.float32)
        self.lever = (lever / extent).astype(np.float32)
        common = np.linalg.qr(np.column_stack([np.ones(len(corner)), lever]))[0]
        self.common = common.astype(np.float32)  # (M, 3), orthonormal
        self.variables = {
            "affine": keras.Variable(np.zeros((2, 2), np.float32)),  # pixels at the edge of the scan
            "shift": keras.Variable(np.zeros(corner.shape, np.float32)),
        }

    def of(self, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The first pixel (B, 2) int32 of the chosen patches, rounded down, and what is left, (B, 2) float32."""
        affine, shift = (self.variables[name].value for name in ("affine", "shift"))
        moved = tf.gather(shift, chosen) + tf.matmul(tf.gather(self.lever, chosen), affine)
        place = tf.gather(self.fraction, chosen) + moved
        whole = tf.floor(place)
        return tf.gather(self.first, chosen) + tf.cast(whole, tf.int32), place - whole

    def patches(self, O: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        """The chosen patches (B, n, n) complex64 of the object O (H, W)."""
        return optics.bilinear_patches(O, *self.of(chosen), self.n)

    def constrain(self) -> None:
        """Bring what a step made of the variables back to what they may be."""
        affine, shift = self.variables["affine"], self.variables["shift"]
        affine.assign(tf.clip_by_value(affine.value, -self.limit, self.limit))
        own = shift.value - tf.matmul(self.common, tf.matmul(self.common, shift.value, transpose_a=True))
        shift.assign(tf.clip_by_value(own, -REACH, REACH))

    @property
    def corner(self) -> NDArray[np.float64]:
        """(M, 2), as refined, in the frame of the scan."""
        affine, shift = (self.variables[name].numpy() for name in ("affine", "shift"))
        moved = self.lever @ affine + shift
        return self.given + moved if moved.any() else self.given
