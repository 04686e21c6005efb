"""A study's scans: those of a simulated sample here, of a measured one in :mod:`ptycho.reconstruct.reference`.

Every role has its own seed (:mod:`ptycho.seeds`). The noise depends on the split and the dose alone, so that every loss
of a dose sees the same photons.
"""

import filecmp
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho import files, seeds
from ptycho.physics import photons, probes, samples
from ptycho.scans.rawdata import RawData


@dataclass(frozen=True, eq=False)
class Acquisition(ABC):
    """A split, train or heldout: the object (H, W) complex64 held for true, the probe, positions (M,) in its frame."""

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
        diff3d, s = photons.expose(self.ideal, nphotons, rng)
        return RawData(diff3d, self.x, self.y, self.probe, self.object, nphotons=nphotons, intensity_scale=s)


def simulate(
    N: int,
    n_train: int,
    n_test: int,
    seed: int,
    phase: float = 0.0,
    object_kind: str = "lines",
    object_size: int | None = None,
    illumination: str = "disk",
) -> dict[str, Simulated]:
    """Two objects of one kind, each with its own random scan through one probe.

    N                detector pixels
    n_train, n_test  positions of the training and of the held-out scan
    phase            peak-to-peak phase of the object in radians; 0 for one that only absorbs
    object_kind      one of config.OBJECTS
    object_size      side of the object in pixels; 4N when None
    illumination     the probe, one of config.PROBES
    """
    size, P = object_size or 4 * N, probes.make_probe(illumination, N)
    splits = {}
    for split, n in (("train", n_train), ("heldout", n_test)):
        O = samples.make_object(object_kind, size, seeds.derive(seed, "object", split), phase)
        rng = np.random.default_rng(seeds.derive(seed, "scan", split))
        x, y = samples.random_positions(n, size, N, rng)
        splits[split] = Simulated(split, O, P, x, y, seed, ideal=photons.ideal_amplitude(O, P, x, y))
    return splits


def save_if_changed(data: RawData, path: Path) -> bool:
    """Write the scan unless the file holds it already; an unchanged file keeps its time, so nothing is trained anew."""
    with files.replacing(path) as fresh:
        data.save(fresh)
        if same := path.exists() and filecmp.cmp(fresh, path, shallow=False):
            shutil.copystat(path, fresh)
    return not same
