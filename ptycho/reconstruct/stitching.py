"""Groups -> one object: each group's estimate at its centre, its free phase aligned, weighted by the light it saw."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.cores import spread
from ptycho.physics import optics, probes
from ptycho.reconstruct.groups import Groups
from ptycho.reconstruct.networks.layers import offsets_from_relative, uses_xla
from ptycho.scans.reconstruction import Reconstruction, reached

BATCH = 8  # groups of a batch of inference: more leave the processor's cache (64 took a quarter longer)
SWEEPS = 3  # times that every group's phase is turned to the average of all, after the first, sequential alignment


def reconstruct(
    diffraction_to_obj: keras.Model, scans: Mapping[str, Groups], batch_size: int = BATCH
) -> dict[str, Reconstruction]:
    """The object of each scan: the network's estimate of every group, stitched."""
    objects_of = spread(lambda *inputs: diffraction_to_obj(inputs), xla=uses_xla(diffraction_to_obj))
    estimate = tf.function(lambda *inputs: tf.concat(objects_of(*inputs), axis=0), autograph=False)
    found = {}
    for name, groups in scans.items():
        # the last batch is filled up: one shape, compiled once
        chosen = np.resize(np.arange(len(groups)), (-(-len(groups) // batch_size), batch_size))
        objects = [estimate(*map(tf.constant, groups.batch(batch))).numpy() for batch in chosen]
        found[name] = stitch(np.concatenate(objects)[: len(groups), ..., 0], groups, groups.data.probeGuess)
    return found


def stitch(objects: NDArray[np.complex64], groups: Groups, probe: NDArray[np.complex64]) -> Reconstruction:
    """Average overlapping groups with synchronised phases, on the bounding box of the scan; one where no light fell.

    A diffraction pattern does not know the global phase of its object. Groups are first joined one by one, each turned
    to its already joined neighbours. A few sweeps then turn each to the average of all: the alternating form of angular
    synchronisation (Marchesini, Tu & Wu, Appl. Comput. Harmon. Anal. 41 (2016) 815).

    objects: (G, N, N) complex64, each about its group's centre, pixel N//2. probe: (N, N) or (L, N, N) complex64.
    """
    N = objects.shape[-1]
    weights = _group_coverage(groups, probe)
    corner = groups.coords_offsets[:, 0, ::-1, 0].astype(int) - N // 2  # (G, 2), (y, x)
    origin = corner.min(axis=0)
    shape = corner.max(axis=0) - origin + N
    places = [(slice(y, y + N), slice(x, x + N)) for y, x in corner - origin]

    def turned(g: int, others: NDArray[np.complex128]) -> NDArray[np.complex64]:
        """Group ``g``, weighted, of the phase that brings it onto ``others``; as it is where nothing overlaps yet."""
        overlap = np.vdot(objects[g], weights[g] * others[places[g]])
        return weights[g] * objects[g] * (overlap / abs(overlap) if overlap else 1)

    total = np.zeros(shape, np.complex128)
    # outward from the scan's middle: nearly every group overlaps what came before it
    for g in cKDTree(corner).query(np.median(corner, axis=0), k=len(corner))[1].reshape(-1):
        total[places[g]] += turned(g, total)
    for _ in range(SWEEPS):
        average, total = total, np.zeros_like(total)
        for g, place in enumerate(places):
            total[place] += turned(g, average)
    coverage = np.zeros(shape)
    for weight, place in zip(weights, places, strict=True):
        coverage[place] += weight
    seen = reached(coverage)
    stitched = np.where(seen, total / np.where(seen, coverage, 1), 1).astype(np.complex64)
    return Reconstruction(stitched, np.where(seen, coverage, 0).astype(np.float32), origin.astype(np.float64))


def _group_coverage(groups: Groups, probe: NDArray[np.complex64]) -> NDArray[np.float32]:
    """The light of each group's patterns on its frame, (G, N, N) float32."""
    P = tf.constant(probes.cropped_modes(probe))
    batches = (tf.constant(groups.coords_relative[k : k + 256]) for k in range(0, len(groups), 256))
    translations = (optics.Translation(offsets_from_relative(batch), P.shape[-1], groups.data.N) for batch in batches)
    return np.maximum(np.concatenate([optics.coverage(T, P).numpy() for T in translations]), 0)
