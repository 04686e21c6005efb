"""Where a study's scans come from: a simulated sample, or a measured scan whose photons are thinned.

Both give the same thing for each split, ``train`` and ``heldout``: an object taken as the truth, a probe, positions,
and exposures at any dose. Every role has its own seed (:mod:`ptycho.seeds`); the noise depends on the split and the
dose alone, so that every loss of a dose sees the same photons.
"""

from __future__ import annotations

import filecmp
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho import exposure, files, formats, objects, probes, seeds, siemens, trajectories
from ptycho.config import PATTERN_SIZES
from ptycho.rawdata import DataError, RawData

OBJECT_SIZE = 4
"""Side of a simulated object, in patterns."""

HELD_OUT = 0.25
"""Share of a measured scan's positions, at the high-x side, that no training sees."""

GUARDED = 0.03
"""Share of a measured scan's detector pixels, drawn at random, that no arm's fit sees."""

REFERENCE_PASSES = 50


@dataclass(frozen=True, eq=False)
class Acquisition(ABC):
    """One split of a study: the object (H, W) complex64 held for true, the probe, positions (M,) in its frame."""

    split: str
    object: NDArray[np.complex64]
    probe: NDArray[np.complex64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    seed: int

    def expose(self, dose: str) -> RawData:
        """The scan at ``dose``: photons per pattern as a word, e.g. '1e4', or 'full' for all that were measured."""
        return self._expose(dose, np.random.default_rng(seeds.derive(self.seed, "noise", self.split, dose)))

    @abstractmethod
    def _expose(self, dose: str, rng: np.random.Generator) -> RawData: ...


@dataclass(frozen=True, eq=False)
class Simulated(Acquisition):
    """Ideal amplitudes (M, N, N), exposed with Poisson noise."""

    ideal: NDArray[np.float32]

    def _expose(self, dose: str, rng: np.random.Generator) -> RawData:
        nphotons = float(dose)
        diff3d, s = exposure.expose(self.ideal, nphotons, rng)
        return RawData(
            diff3d=diff3d,
            xcoords=self.x,
            ycoords=self.y,
            probeGuess=self.probe,
            objectGuess=self.object,
            nphotons=nphotons,
            intensity_scale=s,
        )


@dataclass(frozen=True, eq=False)
class Measured(Acquisition):
    """A measured scan, thinned to the dose asked for."""

    scan: RawData

    def _expose(self, dose: str, rng: np.random.Generator) -> RawData:
        return self.scan if dose == "full" else exposure.thin_to_dose(self.scan, float(dose), rng)


def simulate(N: int, n_train: int, n_test: int, seed: int, phase: float = 0.0) -> dict[str, Simulated]:
    """Two lines objects of 4N pixels, each with its own random scan through one disk probe.

    Parameters
    ----------
    N : int
        Detector pixels.
    n_train, n_test : int
        Positions of the training and of the held-out scan.
    seed : int
    phase : float
        Peak-to-peak phase of the object in radians; 0 for one that only absorbs.
    """
    size, P = OBJECT_SIZE * N, probes.disk(N)
    splits = {}
    for split, n in (("train", n_train), ("heldout", n_test)):
        O = objects.make_object("lines", size, seeds.derive(seed, "object", split), phase)
        rng = np.random.default_rng(seeds.derive(seed, "scan", split))
        x, y = trajectories.make_scan("random", n, size, N, rng)
        splits[split] = Simulated(split, O, P, x, y, seed, ideal=exposure.ideal_amplitude(O, P, x, y))
    return splits


def measure(scan: str, folder: Path, seed: int) -> dict[str, Measured]:
    """A measured scan in two contiguous parts, with the object that all its photons show as the truth.

    A direct fit refines object and probe at full dose. Its object is the reference, unless the file holds an
    ``objectGuess``, which is then taken as the truth; the refined probe is what the arms train with. They do not see
    the detector pixels of the scan's ``guard``; the reference did.

    Parameters
    ----------
    scan : str
        ``'siemens-star'``, or a file of any of ``formats.FORMATS``, relative to ``folder``. Where it has no probe, one
        is estimated from the mean pattern for the fit to start from.
    folder : Path
    seed : int

    Raises
    ------
    DataError
        The file breaks the contract, its counts are unknown, or its patterns are of a size no network takes.
    """
    from ptycho import direct

    data = _load(scan, folder)
    fit = direct.fit(data, "mse", passes=REFERENCE_PASSES, refine_probe=True, seed=seeds.derive(seed, "reference"))
    found, offset = fit.reconstruction, np.zeros(2)
    truth = data.objectGuess
    # a brighter object under a fainter probe explains the same photons: the object's mean modulus is made one
    bright = found.coverage > 0.1 * np.median(found.coverage[found.coverage > 0])
    level = float(np.abs(found.object[bright]).mean())
    if truth is None:
        truth, offset = np.where(found.coverage > 0, found.object / level, 1).astype(np.complex64), found.origin_yx
    probe = (fit.probe * level).astype(np.complex64)
    y, x = data.ycoords - offset[0], data.xcoords - offset[1]
    guard = np.random.default_rng(seeds.derive(seed, "guard")).random((data.N, data.N)) < GUARDED
    unit = np.sqrt(np.sum(np.abs(data.probeGuess) ** 2) / np.sum(np.abs(probe) ** 2))
    full = replace(
        data,
        diff3d=data.diff3d * np.float32(unit),
        xcoords=x,
        ycoords=y,
        probeGuess=(probe * unit).astype(np.complex64),
        objectGuess=truth,
        intensity_scale=data.intensity_scale / unit,
        guard=guard if data.mask is None else guard & data.mask,
    )
    held_out = x >= np.quantile(x, 1 - HELD_OUT)
    parts = {"train": full.subset(~held_out), "heldout": full.subset(held_out)}
    return {
        split: Measured(split, truth, full.probeGuess, part.xcoords, part.ycoords, seed, scan=part)
        for split, part in parts.items()
    }


def _load(scan: str, folder: Path) -> RawData:
    if scan == "siemens-star":
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return siemens.load_siemens_star(siemens.fetch(Path(home) / "ptycho"))
    path = folder / scan
    data = formats.load(path)
    if data.N not in PATTERN_SIZES:
        raise DataError(f"{path}: patterns of {data.N} pixels; the networks take {PATTERN_SIZES}")
    if len(data) < 8:
        raise DataError(f"{path}: {len(data)} patterns; a study needs at least 8 to train on some and hold out others")
    counts = _counts(path, data)
    # only now is the scale of probe and object known to be of order one
    normal = exposure.normalise(counts, data.xcoords, data.ycoords, data.probeGuess)
    return replace(normal, objectGuess=data.objectGuess, mask=data.mask, pixel_size=data.pixel_size)


def _counts(path: Path, data: RawData) -> NDArray[np.int64]:
    try:
        return data.counts()
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def save_if_changed(data: RawData, path: Path) -> bool:
    """Write the scan unless the file holds it already; an unchanged file keeps its time, so nothing is trained anew."""
    with files.replacing(path) as fresh:
        data.save(fresh)
        same = path.exists() and filecmp.cmp(fresh, path, shallow=False)
        if same:
            before = path.stat()
            os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    return not same
