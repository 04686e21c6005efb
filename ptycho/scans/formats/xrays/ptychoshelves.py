"""PtychoShelves .mat (PSI's cSAXS package, and Yi Jiang's fold_slice for electrons), MATLAB version 5 or 7.3.

A reconstruction, as save_results writes it, in MATLAB's axes:

    object (H, W), probe (N, N, modes, variations)   complex
    outputs.probe_positions (M, 2)   pixels, columns x, y
    p.lambda, p.dx_spec (dy, dx), p.z, p.ds   wavelength, object pixel, distance, detector pixel: metres

Prepared patterns, as fold_slice takes them, alone or beside it:

    dp (H, W, M), or a raster (H, W, A, B), A slow   intensity, zero frequency at H//2, W//2
    voltage, kV; alpha, mrad, the semi-angle; dk, 1/angstrom of a detector pixel

The first pixel of a patch, counted from 0, is round(position + ceil((H, W)/2 - N/2)) - 1 (find_reconstruction_ROI), so
index N//2 lies at position + ceil((H, W)/2) - 1. fold_slice counts electrons' lengths in angstroms: a lambda above a
micrometre is one of these, and then no photon has the energy. All is optional. Left aside: further variations of the
probe, an object of several layers, ADU by which patterns are still to be divided. Refused: pixels that are not square,
other shapes.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.physics.beam import PLANCK_LIGHT
from ptycho.scans.archive import naming
from ptycho.scans.formats import units
from ptycho.scans.formats.containers import h5, mat
from ptycho.scans.formats.electrons import raster
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.stack import Stack

NAME = "ptychoshelves"
POSITIONS = "outputs/probe_positions"
ARRAYS = ("dp", "object", "probe", POSITIONS, "p/lambda", "p/dx_spec")
LENGTHS = ("p/lambda", "p/z", "p/ds")
SETTINGS = ("voltage", "alpha", "dk", "ADU")
LONGEST = 1e-6
"""Metres: no ptychography has a longer wavelength, so a larger number is in angstroms."""


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether a MATLAB file has a reconstruction's variables, or prepared patterns."""
    names = mat.names(path)
    return "dp" in names or {"object", "probe", "outputs"} <= names


def read(path: Path) -> Scan:
    """Read the file; patterns of version 7.3 when they are indexed. Raises DataError for a wrong type or shape."""
    keys = ("object", "probe", POSITIONS, "p/dx_spec", *LENGTHS, *SETTINGS)
    found = mat.arrays(path, keys)
    with naming(path):
        one = {key: _one(key, found[key]) for key in (*LENGTHS, *SETTINGS) if key in found}
        wavelength = one.get("p/lambda")
        metre = units.UNITS["length"]["A"] if wavelength and wavelength > LONGEST else 1.0
        sides = [float(side) * metre for side in np.ravel(found.get("p/dx_spec", ()))]
        positions = found.get(POSITIONS)
        if positions is not None and (positions.ndim != 2 or positions.shape[1] != 2):
            raise DataError(f"{POSITIONS} has shape {positions.shape}; expected (M, 2)")
        x, y = (None, None) if positions is None else positions.T
        guess, notes = found.get("object"), []
        if guess is not None and guess.ndim == 3 and guess.shape[2] > 1:
            notes.append(f"an object of {guess.shape[2]} layers")
            guess = None
        if one.get("ADU"):
            notes.append(f"ADU = {one['ADU']:.6g}: the patterns are not divided by it")
        volts, alpha, dk = one.get("voltage"), one.get("alpha"), one.get("dk")
        return Scan(
            patterns=_patterns(path),
            x=x,
            y=y,
            metres=False,
            probe=_probe(found.get("probe"), notes),
            object=None if guess is None else guess.reshape(guess.shape[:2]),
            object_center=None if guess is None else h5.center(*(n / 2 - np.ceil(n / 2) + 1 for n in guess.shape[:2])),
            energy=PLANCK_LIGHT / wavelength if wavelength and metre == 1 else None,
            distance=one.get("p/z", 0) * metre or None,
            detector_pixel=one.get("p/ds", 0) * metre or None,
            pixel_size=h5.side(sides, f"p/dx_spec is {sides} metres; expected square pixels"),
            voltage=raster.volts(volts) if volts else None,
            semi_angle=alpha * units.UNITS["angle"]["mrad"] if alpha else None,
            detector_frequency=dk * units.UNITS["frequency"]["1/A"] if dk else None,
            notes=tuple(notes),
        )


def _one(key: str, value: NDArray[Any]) -> float:
    if value.size != 1 or value.dtype.kind not in "fiu":
        raise DataError(f"{key} is {value.dtype} {value.shape}; expected one number")
    return float(value.item())


def _patterns(path: Path) -> Stack | NDArray[Any] | None:
    """`dp` as (M, H, W), unread where the file is HDF5, in which MATLAB's axes lie the other way round."""
    if mat.is_hdf5(path):
        with h5.opened(path) as file:
            ndim = getattr(file.get("dp"), "ndim", 0)
            return h5.stack(file, "dp", axes=(1, 0, 3, 2) if ndim == 4 else (0, 2, 1))
    values = mat.arrays(path, ["dp"]).get("dp")
    if values is None:
        return None
    if values.ndim not in (3, 4) or values.dtype.kind not in "fiu":
        raise DataError(f"dp is {values.dtype} {values.shape}; expected real numbers (N, N, M), or (N, N, A, B)")
    return np.moveaxis(values, (0, 1), (-2, -1)).reshape(-1, *values.shape[:2])


def _probe(probe: NDArray[Any] | None, notes: list[str]) -> NDArray[Any] | None:
    """(N, N) or (L, N, N): the modes of the first variation."""
    if probe is None:
        return None
    if probe.ndim not in (2, 3, 4):
        raise DataError(f"probe has shape {probe.shape}; expected (N, N), (N, N, modes) or (N, N, modes, variations)")
    if probe.ndim == 4:
        if probe.shape[3] > 1:
            notes.append(f"{probe.shape[3] - 1} further variations of the probe")
        probe = probe[..., 0]
    return h5.modes(np.moveaxis(probe, -1, 0) if probe.ndim == 3 else probe)
