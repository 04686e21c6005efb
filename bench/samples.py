"""The scans that are measured on: a study's lines object and disk probe, at the density of its 2000 positions."""

from __future__ import annotations

import numpy as np

from ptycho.config import ModelConfig
from ptycho.physics import photons, probes, samples
from ptycho.reconstruct.groups import Groups, make_groups
from ptycho.scans.rawdata import RawData

TILE = 1000
"""Patterns of one tile of a mosaic."""


def scan(N: int, positions: int, dose: float = 1e9, whole: bool = False, seed: int = 1) -> RawData:
    """``positions`` random patterns, the object as large as keeps their density: 4 N pixels for 2000.

    With ``whole``, positions are whole pixels: programs that interpolate an object, or a probe, in ways of their own
    then agree on what is measured, and none is favoured.
    """
    size = round(N + 3 * N * np.sqrt(positions / 2000))
    rng = np.random.default_rng(seed)
    O, P = samples.make_object("lines", size, seed), probes.disk(N)
    x, y = samples.random_positions(positions, size, N, rng)
    if whole:
        x, y = np.rint(x), np.rint(y)
    diff3d, s = photons.expose(photons.ideal_amplitude(O, P, x, y), dose, rng)
    return RawData(diff3d, x, y, P, O, nphotons=dose, intensity_scale=s)


def grouped(N: int, gridsize: int, architecture: str = "unrolled", positions: int = 300) -> tuple[Groups, ModelConfig]:
    """A scan's groups, and the network for them."""
    groups = make_groups(scan(N, positions), gridsize)
    return groups, ModelConfig(N=N, gridsize=gridsize, architecture=architecture, max_offset=groups.max_offset)


def write_mosaic(path: str, N: int, patterns: int) -> None:
    """Write the patterns (M, N, N) of a mosaic to the NPY file ``path``, a tile at a time.

    A scan of any length: tiles of one object, each scanned alike, too far apart for a group to reach over.
    """
    tile = scan(N, TILE).diff3d
    stack = np.lib.format.open_memmap(path, "w+", np.float32, (patterns, N, N))
    for start in range(0, patterns, TILE):
        stack[start : start + TILE] = tile[: patterns - start]
    stack.flush()


def mosaic(path: str, N: int, patterns: int) -> RawData:
    """The first ``patterns`` of the mosaic in ``path``, mapped from there."""
    tile = scan(N, TILE)
    assert tile.objectGuess is not None
    place, member = np.divmod(np.arange(patterns), TILE)
    row, column = np.divmod(place, int(np.ceil(np.sqrt(patterns / TILE))))
    return RawData(
        np.load(path, mmap_mode="r")[:patterns],
        tile.xcoords[member] + len(tile.objectGuess) * column,
        tile.ycoords[member] + len(tile.objectGuess) * row,
        tile.probeGuess,
        nphotons=tile.nphotons,
        intensity_scale=tile.intensity_scale,
    )
