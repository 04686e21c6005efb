"""DECTRIS master files (Eiger, Arina; NeXus of the SIMPLON API): patterns and the detector's settings, no positions.

    NAME_master.h5
      entry/data/data_000001, data_000002 ...   (m, H, W) intensity, usually links to NAME_data_000001.h5 ... and
                                                compressed with bitshuffle-LZ4
      entry/instrument/detector                 detector_distance or distance, x_pixel_size, y_pixel_size, pixel_mask
      entry/instrument/detector/detectorSpecific   pixel_mask (H, W), 0 is valid; photon_energy
      entry/instrument/beam                     incident_wavelength, or incident_energy
    NAME.h5   of an Arina: "STEM Metadata", attribute "Pixel Size", nm, one or two: its raster's step

With that step the patterns are a square raster, slow axis first, as RosettaSciIO takes them, and incident_energy is
that of the electrons. (RosettaSciIO would hold all patterns in memory and cut 32 bits to 16; it is not used.)
Other scans have no positions: state them in a map. Units are those of the attribute `units`, or metres, angstroms for
the wavelength, and electronvolts. The mask leaves out gaps and pixels that are not to be believed. Refused: pixels that
are not square, and an Arina whose raster is not square.
"""

import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.physics.beam import PLANCK_LIGHT
from ptycho.scans.formats import units
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.electrons import raster
from ptycho.scans.formats.scan import Scan

NAME = "dectris"
DATA, DETECTOR, BEAM = "entry/data", "entry/instrument/detector", "entry/instrument/beam"
FIRST = f"{DATA}/data_000001"
ARRAYS = (FIRST, f"{DETECTOR}/x_pixel_size", f"{DETECTOR}/detector_distance", f"{BEAM}/incident_wavelength")
STEP = "STEM Metadata"


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether an HDF5 file has links to frames under DECTRIS's names."""
    if "entry" not in hdf5:
        return False
    with h5.opened(path) as file:
        return file.get(FIRST, getlink=True) is not None


def read(path: Path) -> Scan:
    """Read the master file, its patterns when they are indexed. Raises DataError for a wrong unit, type or shape."""
    with h5.opened(path) as file:
        patterns = h5.stack(file, *sorted(f"{DATA}/{name}" for name in file[DATA] if name.startswith("data_")))
        sides = [v for n in ("x", "y") if (v := _quantity(file, f"{DETECTOR}/{n}_pixel_size", "length", "m"))]
        wavelength, step = _quantity(file, f"{BEAM}/incident_wavelength", "length", "A"), _step(path)
        keys = (f"{BEAM}/incident_energy", f"{DETECTOR}/detectorSpecific/photon_energy")
        energy = next((v for key in keys if (v := _quantity(file, key, "energy", "eV"))), None)
        if step is None and wavelength:
            energy = PLANCK_LIGHT / wavelength
        names = (f"{DETECTOR}/{name}" for name in ("detector_distance", "distance"))
        scan = Scan(
            patterns=patterns,
            mask=_mask(file),
            energy=energy if step is None else None,
            voltage=energy / units.ELECTRONVOLT if step is not None and energy else None,
            distance=next((v for name in names if (v := _quantity(file, name, "length", "m"))), None),
            detector_pixel=h5.side(sides, f"{DETECTOR} has pixels of {sides} metres; expected square ones"),
        )
    return scan if step is None or patterns is None else _placed(scan, len(patterns), step, path)


def partners(path: Path) -> list[Path]:
    """The file beside the master in which an Arina's step is."""
    return [path.with_name(path.name.replace("_master.h5", ".h5"))] if path.name.endswith("_master.h5") else []


def _placed(scan: Scan, M: int, step: tuple[float, float], path: Path) -> Scan:
    """The scan as a square raster with that step."""
    side = math.isqrt(M)
    if side * side != M:
        raise DataError(f"{path}: {M} patterns are no square raster; expected one, or positions in a map")
    return replace(scan, **raster.places((side, side), step))


def _quantity(file: h5py.File, key: str, kind: str, unit: str) -> float | None:
    """One number in SI units, from its own unit or the usual one; None where there is none or zero."""
    value = h5.scalar(file, key)
    if not value:
        return None
    return value * units.scale(h5.text(file[key].attrs.get("units", unit)), kind, key)


def _mask(file: h5py.File) -> NDArray[np.bool_] | None:
    for key in (f"{DETECTOR}/pixel_mask", f"{DETECTOR}/detectorSpecific/pixel_mask"):
        if (bits := h5.array(file, key, "iub")) is not None and bits.any():
            return np.asarray(bits == 0)
    return None


def _step(path: Path) -> tuple[float, float] | None:
    """Steps (dy, dx) in metres from the file beside an Arina's master; None where there is none."""
    for beside in partners(path):
        if STEP in h5.names(beside):
            with h5.opened(beside) as file:
                told = np.ravel(file[STEP].attrs.get("Pixel Size", ()))
                sides = [float(side) * units.UNITS["length"]["nm"] for side in told[:2]]
                return (sides[0], sides[-1]) if sides and all(sides) else None
    return None
