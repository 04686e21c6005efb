"""EMD (emdatasets.com, NCEM): version 1 as emdfile and py4DSTEM write it, and 0.2 as HyperSpy and older py4DSTEM do.

    GROUP with attribute emd_group_type "array" or 1, of four axes:
      GROUP/data                    intensity; (A, B, H, W), the raster first, or with all axes the other way round
      GROUP/dimK                    K from 0 or 1: the first values of an axis, attributes name and units
    ROOT/metadatabundle/calibration R_pixel_size, R_pixel_units, Q_pixel_size, Q_pixel_units: py4DSTEM's own, which come
                                    before the dims; convergence_semiangle_mrad
    anywhere                        accelerating_voltage, voltage or beam_energy, in volts or in kilovolts;
                                    defocus, where defocus_units stands beside it

The axes are those of the raster where their unit is a length or their name begins with R; in HyperSpy's files they come
last, and every axis is the other way round. An axis that nobody calibrated is left aside; without a step there are no
positions. Left aside, too: QR_flip and QR_rotation. Refused: no array of four axes, other units, pixels that are not
square. Velox's .emd is another format.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho.scans.formats import units
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.electrons import raster
from ptycho.scans.formats.scan import Scan

NAME = "emd"
ARRAYS = ("datacube_root/datacube/data", *(f"datacube_root/datacube/dim{k}" for k in range(4)))
VOLTAGES = ("accelerating_voltage", "voltage", "beam_energy")
TURNED = ("QR_flip", "QR_rotation", "QR_rotation_degrees")


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether a group of an HDF5 file says that it is EMD's array."""
    if not hdf5:
        return False
    with h5.opened(path) as file:
        return bool(_arrays(file))


def read(path: Path) -> Scan:
    """Read the first array of four axes; its patterns stay in the file. Raises DataError."""
    with h5.opened(path) as file:
        groups = _arrays(file)
        held = [f"{name}/data {file[name]['data'].shape}" for name in groups]
        group, notes = raster.first([g for g in groups if file[g]["data"].ndim == 4], "an array of four axes", held)
        shape, dims = file[f"{group}/data"].shape, [_dim(file[group], k) for k in range(4)]
        order = (3, 2, 1, 0) if _detector(dims[0]) and not _detector(dims[3]) else (0, 1, 2, 3)
        settings = _settings(file)
        scanned, detected = [dims[k][1:] for k in order[:2]], [dims[k][1:] for k in order[2:]]
        if (size := settings.get("R_pixel_size")) is not None:
            scanned = _both(size, settings.get("R_pixel_units", ""))
        if (size := settings.get("Q_pixel_size")) is not None:
            detected = _both(size, settings.get("Q_pixel_units", ""))
        fields = raster.calibrated((shape[order[0]], shape[order[1]]), scanned, detected, group)
        fields["notes"] += notes + tuple(f"{name} {settings[name]}" for name in TURNED if settings.get(name))
        voltage = next((v for name in VOLTAGES if (v := _number(settings.get(name)))), None)
        angle, defocus = _number(settings.get("convergence_semiangle_mrad")), _number(settings.get("defocus"))
        unit = settings.get("defocus_units")
        return Scan(
            patterns=h5.stack(file, f"{group}/data", axes=order),
            voltage=raster.volts(voltage) if voltage else None,
            semi_angle=angle * 1e-3 if angle else None,
            defocus=defocus * units.scale(unit, "length", "defocus") if defocus is not None and unit else None,
            **fields,
        )


def _arrays(file: h5py.File) -> list[str]:
    """The groups that EMD calls arrays and that hold data."""
    return [name.lstrip("/") for name, item in h5.walk(file) if isinstance(item, h5py.Group) and _is_array(item)]


def _is_array(group: h5py.Group) -> bool:
    kind = h5.text(group.attrs.get("emd_group_type", ""))
    return kind in ("array", "1") and isinstance(group.get("data"), h5py.Dataset)


def _dim(group: h5py.Group, axis: int) -> tuple[str, float, str]:
    """Name, step and unit of an axis; the dims count from 0 in version 1, from 1 before."""
    item = group.get(f"dim{axis if 'dim0' in group else axis + 1}")
    if not isinstance(item, h5py.Dataset) or item.size < 2 or item.dtype.kind not in "fiu":
        return "", 1.0, ""
    first, second = np.ravel(item[:2])
    return (h5.text(item.attrs.get("name", "")), float(second - first), h5.text(item.attrs.get("units", "")))


def _detector(dim: tuple[str, float, str]) -> bool:
    """Whether an axis is the detector's: an angle or a frequency, or named so."""
    name, _, unit = dim
    return units.kind_of(unit) in ("angle", "frequency") or name[:1].lower() in ("q", "k")


def _settings(file: h5py.File) -> dict[str, Any]:
    """What the file says of the microscope and of its calibration: datasets and attributes by their last names."""
    found: dict[str, Any] = {}
    for name, item in h5.walk(file):
        if isinstance(item, h5py.Dataset) and item.size == 1 and "metadata" in name:
            value = item[()]
            plain = value.item() if isinstance(value, np.ndarray | np.generic) else value
            found.setdefault(name.rpartition("/")[2], h5.text(plain) if isinstance(plain, bytes) else plain)
        elif isinstance(item, h5py.Group):
            for key in (*VOLTAGES, "defocus", "defocus_units", "convergence_semiangle_mrad"):
                if key in item.attrs:
                    found.setdefault(key, item.attrs[key])
    return found


def _both(size: Any, unit: Any) -> list[raster.Axis]:
    """The two axes of one pixel size."""
    number = _number(size)
    return [(1.0 if number is None else number, h5.text(unit))] * 2


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float | np.number) and not isinstance(value, bool) else None
