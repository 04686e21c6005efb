"""A study's scans: those of a simulated sample here, of a measured one in :mod:`ptycho.reconstruct.reference`.

Every role has its own seed (:mod:`ptycho.seeds`). The noise depends on the split and the dose alone, so that every loss
of a dose sees the same photons.
"""

import filecmp
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho import files, seeds
from ptycho.physics import beam, flaws, photons, probes, samples
from ptycho.scans.exposure import OF_PHOTONS, Exposure, of_raster
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
        """The scan at ``dose``: a word like '1e4', in the unit of its exposure, or 'full' for all that was measured."""
        return self._expose(dose, np.random.default_rng(seeds.derive(self.seed, "noise", self.split, dose)))

    @abstractmethod
    def _expose(self, dose: str, rng: np.random.Generator) -> RawData: ...


@dataclass(frozen=True, eq=False)
class Simulated(Acquisition):
    """Amplitudes (M, N, N) without noise, exposed on a detector. exposure: what a dose is. known: further fields of
    the scan, as RawData has them. flaw: of the detector, one of config.FLAWS."""

    ideal: NDArray[np.float32]
    exposure: Exposure = OF_PHOTONS
    known: Mapping[str, Any] = field(default_factory=dict)
    flaw: str = "none"

    def _expose(self, dose: str, rng: np.random.Generator) -> RawData:
        nphotons = self.exposure.nphotons(float(dose))
        detector, N = flaws.detector(self.flaw), self.ideal.shape[-1]
        diff3d, s = photons.expose(self.ideal, nphotons, rng, detector.counts)
        told = {"nphotons": nphotons, "intensity_scale": s, **self.known, **detector.known(nphotons / N**2, N)}
        return RawData(diff3d, self.x, self.y, self.probe, self.object, **told)


def simulate(
    N: int,
    n_train: int,
    n_test: int,
    seed: int,
    phase: float = 0.0,
    object_kind: str = "lines",
    object_size: int | None = None,
    illumination: str = "disk",
    flaw: str = "none",
) -> dict[str, Simulated]:
    """Two objects of one kind, each with its own random scan through one probe.

    N                detector pixels
    n_train, n_test  positions of the training and of the held-out scan
    phase            peak-to-peak phase of the object in radians; 0 for one that only absorbs
    object_kind      one of config.OBJECTS
    object_size      side of the object in pixels; 4N when None
    illumination     the probe, one of config.PROBES
    flaw             what is wrong with both scans, one of config.FLAWS
    """
    size, P = object_size or 4 * N, probes.make_probe(illumination, N)
    splits = {}
    for split, n in (("train", n_train), ("heldout", n_test)):
        O = samples.make_object(object_kind, size, seeds.derive(seed, "object", split), phase)
        rng = np.random.default_rng(seeds.derive(seed, "scan", split))
        x, y = samples.random_positions(n, size, N, rng)
        ideal = flaws.far_field(flaw, O, P, x, y, np.random.default_rng(seeds.derive(seed, "flaw", split)))
        splits[split] = Simulated(split, O, P, x, y, seed, ideal, flaw=flaw)
    return splits


def simulate_electrons(
    N: int, n_train: int, n_test: int, seed: int, voltage: float, semi_angle: float, defocus: float, step: float
) -> dict[str, Simulated]:
    """Two sheets of graphene (``samples.graphene``), each scanned on a square raster by one probe of electrons.

    N                detector pixels, which reach to ``beam.REACH`` semi-angles
    n_train, n_test  positions of the training and of the held-out scan, row by row
    voltage          kilovolts
    semi_angle       milliradians
    defocus          nanometres, as :func:`ptycho.physics.probes.electron` has it
    step             angstrom
    """
    volts, radians, metres = voltage * 1e3, semi_angle * 1e-3, step * 1e-10
    pixel = beam.simulated_pixel(volts, radians)
    P = probes.electron(N, pixel, beam.electron_wavelength(volts), radians, defocus * 1e-9)
    known = {"pixel_size": pixel, "voltage": volts, "step": np.array([metres, metres])}
    splits = {}
    for split, n in (("train", n_train), ("heldout", n_test)):
        (x, y), size = samples.raster(n, metres / pixel, N)
        O = samples.graphene(size, pixel, volts, seeds.derive(seed, "object", split))
        ideal = photons.ideal_amplitude(O, P, x, y)
        splits[split] = Simulated(split, O, P, x, y, seed, ideal, of_raster(step), known)
    return splits


def save_if_changed(data: RawData, path: Path) -> bool:
    """Write the scan unless the file holds it already; an unchanged file keeps its time, so nothing is trained anew."""
    with files.replacing(path) as fresh:
        data.save(fresh)
        if same := path.exists() and filecmp.cmp(fresh, path, shallow=False):
            shutil.copystat(path, fresh)
    return not same
