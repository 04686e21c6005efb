"""Neighbour groups: gridsize**2 overlapping patterns each, their centres and offsets, as a tf.data pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.errors import expect
from ptycho.scans.dose import split
from ptycho.scans.rawdata import RawData

if TYPE_CHECKING:
    import tensorflow as tf

SHARE = 0.9
"""Of a pattern's photons, what a network sees where the rest judges it. A smaller share costs resolution: at 1e4
photons 0.8 gave an FRC50 of 0.49 instead of 0.54."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of C = gridsize**2 patterns of one scan.

    indices: (G, C), the patterns of each group; channel c is row c // gridsize, column c % gridsize of the
    neighbourhood. coords_offsets: (G, 1, 2, 1), (x, y) of each group's centre, in whole object pixels. coords_relative:
    (G, 1, 2, C), centre minus position (relative sign -1), subtracted in float64.
    """

    data: RawData
    indices: NDArray[np.int64]
    coords_offsets: NDArray[np.float64]
    coords_relative: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def gridsize(self) -> int:
        """Patterns along a side of a group."""
        return isqrt(self.indices.shape[1])

    @property
    def max_offset(self) -> float:
        """The farthest a pattern lies from its group's centre along one axis, in pixels."""
        return float(np.abs(self.coords_relative).max())

    def batch(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Amplitudes (B, N, N, C) and positions (B, 1, 2, C), float32, of the chosen groups."""
        return np.moveaxis(self.data.diff3d[self.indices[chosen]], 1, -1), self.coords_relative[chosen]

    def split(self, chosen: NDArray[np.int64], seed: Sequence[int]) -> tuple[NDArray[np.float32], ...]:
        """Amplitudes (..., N, N) of SHARE of the chosen patterns' photons, and of the rest, as if each were all.

        The two shares are independent (Neufeld et al., JMLR 25 (2024) 57). ``seed`` draws them. The scan's
        ``intensity_scale`` must be known.
        """
        chosen_scan = self.data.subset(chosen.reshape(-1))
        parts = split(chosen_scan, SHARE, np.random.default_rng(seed))
        return tuple(part.diff3d.reshape(*chosen.shape, *part.diff3d.shape[1:]) for part in parts)

    def dataset(self, batch_size: int, batches: range, seed: int = 0, target: str = "same") -> tf.data.Dataset:
        """The given ones of an endless row of batches: amplitudes (B, N, N, C), positions (B, 1, 2, C), amplitudes.

        The second amplitudes judge. They are the first ones, or for a ``target`` of split those of other photons: each
        batch then has photons split anew.

        The row shows all groups in an order drawn from ``seed``, then all in another order, and so on. A training that
        resumes at batch 300 sees what it would have seen. Only the batches under way are copied into memory, also of
        patterns mapped from a file (``numpy.load`` with ``mmap_mode``).
        """
        import tensorflow as tf

        indices, relative = tf.constant(self.indices), tf.constant(self.coords_relative)
        N, C = self.data.N, self.indices.shape[1]

        def read(k: NDArray[np.int64], batch: np.int64) -> list[NDArray[np.float32]]:
            return list(self.split(k, (seed, int(batch)))) if target == "split" else [self.data.diff3d[k]]

        def load(batch: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, ...]:
            kinds = [tf.float32] * (2 if target == "split" else 1)
            amplitudes = tf.numpy_function(read, [tf.gather(indices, chosen), batch], kinds, stateful=False)
            seen, *others = (
                tf.transpose(tf.ensure_shape(one, (batch_size, C, N, N)), (0, 2, 3, 1)) for one in amplitudes
            )
            return seen, tf.gather(relative, chosen), *(others or [seen])

        places = np.arange(batches.start * batch_size, batches.stop * batch_size)
        rounds, within = np.divmod(places, len(self))
        shuffled = {k: np.random.default_rng((seed, k)).permutation(len(self)) for k in np.unique(rounds)}
        chosen = np.array([shuffled[k][i] for k, i in zip(rounds, within, strict=True)]).reshape(-1, batch_size)
        order = tf.data.Dataset.from_tensor_slices((np.asarray(batches), chosen))
        return order.map(load, num_parallel_calls=1, deterministic=True).prefetch(2)


def make_groups(data: RawData, gridsize: int, n_neighbours: int = 5, seed: int = 0) -> Groups:
    """One group around every position: it and gridsize**2 - 1 of its nearest neighbours.

    The members are drawn from the ``n_neighbours`` nearest (at least gridsize**2 of them, the position included) by a
    generator seeded with ``seed``, then laid out row by row: sorted by y into rows of gridsize, by x within a row.
    Raises ValueError if the scan has fewer than gridsize**2 positions.
    """
    C = gridsize**2
    expect(len(data) >= C, f"a group of gridsize={gridsize} needs {C} positions; the scan has {len(data)}")
    positions = np.stack([data.xcoords, data.ycoords], axis=1)
    rng = np.random.default_rng(seed)
    k = min(max(C, n_neighbours), len(data))
    nearest = cKDTree(positions).query(positions, k=k)[1].reshape(len(data), k)
    # where several patterns share a position, the first neighbour found need not be the pattern itself
    own = np.arange(len(data))
    nearest = np.where(nearest == own[:, np.newaxis], nearest[:, :1], nearest)
    nearest[:, 0] = own
    drawn = np.argsort(rng.random((len(data), k - 1)), axis=1)[:, : C - 1] + 1
    members = np.concatenate([nearest[:, :1], np.take_along_axis(nearest, drawn, axis=1)], axis=1)
    by_y = np.take_along_axis(members, np.argsort(positions[members, 1], axis=1, kind="stable"), axis=1)
    rows = by_y.reshape(-1, gridsize, gridsize)
    by_x = np.argsort(positions[rows, 0], axis=2, kind="stable")
    indices = np.take_along_axis(rows, by_x, axis=2).reshape(members.shape)
    placed = positions[indices].transpose(0, 2, 1)[:, np.newaxis]  # (G, 1, 2, C)
    # on whole pixels, so that stitching places a group without interpolating it
    offsets = np.rint(placed.mean(axis=-1, keepdims=True))
    return Groups(data, indices, offsets, (offsets - placed).astype(np.float32))
