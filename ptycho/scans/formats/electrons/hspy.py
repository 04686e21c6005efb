"""HyperSpy's .hspy (hyperspy.org, file format 3; written by RosettaSciIO): a 4D signal in HDF5.

    Experiments/TITLE/data     the signal, intensity
    Experiments/TITLE/axis-K   of its axis K: attributes navigate, size, scale, units. Two of the raster, lengths, slow
                               first; two of the detector, rows first, in mrad, 1/nm or the like
    Experiments/TITLE/metadata/Acquisition_instrument/TEM   attributes beam_energy, keV, which is the accelerating
                               voltage; convergence_angle, mrad, which is the semi-angle

Offsets are not read: the raster begins at 0, and a study finds the centre of the patterns. An axis that nobody
calibrated is left aside; without a step there are no positions. Refused: a signal that is not a raster of patterns,
other units, and pixels that are not square.
"""

from pathlib import Path
from typing import Any

import h5py

from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.electrons import raster
from ptycho.scans.formats.scan import Scan

NAME = "hspy"
ROOT = "Experiments"
ARRAYS = (f"{ROOT}/title/data",)


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether an HDF5 file holds HyperSpy's experiments."""
    return ROOT in hdf5


def read(path: Path) -> Scan:
    """Read the first signal that is a raster of patterns, which stay in the file. Raises DataError."""
    with h5.opened(path) as file:
        signals = [f"{ROOT}/{name}" for name in file[ROOT] if f"{ROOT}/{name}/data" in file]
        found = {signal: _axes(file[signal]) for signal in signals}
        moved = {signal: sum(bool(axis["navigate"]) for axis in axes) for signal, axes in found.items()}
        rasters = [signal for signal, axes in found.items() if len(axes) == 4 and moved[signal] == 2]
        held = [f"{s}/data {file[s]['data'].shape}" for s in signals]
        signal, notes = raster.first(rasters, "a signal with two axes to navigate and two of a detector", held)
        scanned = [k for k, axis in enumerate(found[signal]) if axis["navigate"]]
        detected = [k for k, axis in enumerate(found[signal]) if not axis["navigate"]]
        steps = [(float(axis.get("scale", 1.0)), _unit(axis)) for axis in found[signal]]
        shape = tuple(int(file[signal]["data"].shape[k]) for k in scanned)
        fields = raster.calibrated(shape, [steps[k] for k in scanned], [steps[k] for k in detected], signal)
        microscope = file.get(f"{signal}/metadata/Acquisition_instrument/TEM")
        settings = dict(microscope.attrs) if isinstance(microscope, h5py.Group) else {}
        energy, angle = settings.get("beam_energy"), settings.get("convergence_angle")
        fields["notes"] += notes
        return Scan(
            patterns=h5.stack(file, f"{signal}/data", axes=(*scanned, *detected)),
            voltage=float(energy) * 1e3 if energy else None,
            semi_angle=float(angle) * 1e-3 if angle else None,
            **fields,
        )


def _axes(signal: h5py.Group) -> list[dict[str, Any]]:
    """The attributes of the signal's axes, in the order of its array."""
    groups = [signal[f"axis-{k}"] for k in range(signal["data"].ndim) if f"axis-{k}" in signal]
    return [{"navigate": False, **dict(group.attrs)} for group in groups]


def _unit(axis: dict[str, Any]) -> str:
    unit = h5.text(axis.get("units", ""))
    return "" if unit == "_None_" else unit  # how a None is written
