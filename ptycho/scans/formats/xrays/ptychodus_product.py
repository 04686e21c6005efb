"""ptychodus products (ptychodus.api.io and its npz_product_file, version 1.7): positions, probe, object; no patterns.

HDF5: attributes photon_energy_eV, detector_object_distance_m, ...; datasets probe_position_indexes,
probe_position_{x,y}_m, probe (coherent, incoherent, N, N) and object (layers, H, W) with pixel_{width,height}_m, the
object with center_{x,y}_m too. NPZ: the same in one flat namespace, probe_pixel_width_m, object_center_x_m and so on.

Positions in metres, x along columns and y along rows, as they are here. ptychodus counts from pixel centres: a position
at the object's centre puts index (N-1)/2 of the patch on pixel (W-1)/2, so index N//2 lies on pixel W/2. An energy or a
distance of zero is one that is not known.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho.errors import DataError
from ptycho.physics.beam import ELECTRONVOLT
from ptycho.scans.archive import naming, read_npz, written
from ptycho.scans.formats.containers import h5, npz
from ptycho.scans.formats.scan import Scan

NAME, SUFFIXES = "ptychodus-product", (".h5", ".hdf5", "product.npz")
HOLDS = frozenset({"positions", "probe", "object"})
NUMBERS = (
    *("detector_object_distance_m", "photon_energy_eV", "probe_photon_count", "exposure_time_s"),
    *("mass_attenuation_m2_per_kg", "tomography_angle_deg", "focus_object_distance_m", "tilt_angle_deg"),
)
HEADER = {"name": "", "comments": "", **dict.fromkeys(NUMBERS, 0.0), "far_field": True}
POSITIONS = ("probe_position_indexes", "probe_position_x_m", "probe_position_y_m")
ARRAYS = (*POSITIONS, "probe", "object")
DATASETS = {**dict.fromkeys(POSITIONS, "fiu"), "probe": "c", "object": "c"}
PIXELS = ("probe_pixel_width_m", "probe_pixel_height_m", "object_pixel_width_m", "object_pixel_height_m")
ATTRIBUTES = (*PIXELS, "object_center_x_m", "object_center_y_m")
"""In HDF5, attributes of the array whose name each begins with."""


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether positions in metres, or a probe and an object, are among the names at the root of the file."""
    names = hdf5 | arrays
    return "probe_position_x_m" in names or {"probe", "object"} <= names


def read(path: Path) -> Scan:
    """Read the product. Raises DataError for a wrong type or shape, or an array without its pixel size."""
    with naming(path):
        values = _stored(path)
        pixels = [float(values[key]) for key in PIXELS if key.startswith("object") and key in values]
        pixel = h5.side(pixels, f"the object's pixels are {pixels} metres; expected square ones")
        probe, energy, distance = (values.get(k) for k in ("probe", "photon_energy_eV", "detector_object_distance_m"))
        further = len(probe) - 1 if probe is not None and probe.ndim == 4 else 0
        return Scan(
            x=values.get("probe_position_x_m"),
            y=values.get("probe_position_y_m"),
            indices=values.get("probe_position_indexes"),
            probe=h5.modes(probe),
            object=h5.layer(values.get("object")),
            object_center=h5.center(values.get("object_center_y_m"), values.get("object_center_x_m")),
            energy=float(energy) * ELECTRONVOLT if energy else None,
            distance=float(distance) if distance else None,
            pixel_size=pixel,
            notes=(f"{further} further coherent modes and their weights for each position",) if further > 0 else (),
        )


def write(path: Path, scan: Scan) -> None:
    """Write the product, as NPZ where `path` ends so. Raises DataError for what is missing that a product must have."""
    lacking = [n for n in ("x", "y", "probe", "object", "object_center") if getattr(scan, n) is None]
    if lacking:
        raise DataError(f"{', '.join(lacking)} missing; expected positions, a probe and an object in its place")
    scan = scan.in_metres()
    assert scan.x is not None and scan.probe is not None and scan.object is not None and scan.object_center is not None
    if scan.pixel is None:
        raise DataError("the object pixel is unknown; expected pixel_size, or energy, distance and detector")
    values: dict[str, Any] = {
        **HEADER,
        "name": path.stem,
        "detector_object_distance_m": scan.distance or 0.0,
        "photon_energy_eV": (scan.energy or 0.0) / ELECTRONVOLT,
        "probe_photon_count": scan.nphotons or 0.0,
        "probe_position_indexes": scan.indices if scan.indices is not None else np.arange(len(scan.x)),
        "probe_position_x_m": scan.x,
        "probe_position_y_m": scan.y,
        "probe": scan.probe.reshape(1, -1, *scan.probe.shape[-2:]),
        "object": scan.object[np.newaxis],
        "object_layer_spacing_m": np.zeros(0),
        **dict.fromkeys(PIXELS, scan.pixel),
        "object_center_y_m": scan.object_center[0],
        "object_center_x_m": scan.object_center[1],
        "loss_epochs": np.zeros(0, np.int64),
        "loss_values": np.zeros(0),
    }
    with written(path) as partial:
        if path.suffix == ".npz":
            np.savez(partial, **values)
            return
        with h5py.File(partial, "w") as file:
            for key, value in values.items():
                if key in HEADER:
                    file.attrs[key] = value
                elif key not in ATTRIBUTES:
                    file[key] = value
            for key in ATTRIBUTES:
                array, _, attribute = key.partition("_")
                file[array].attrs[attribute] = values[key]


def _stored(path: Path) -> dict[str, Any]:
    """What the file holds, under the names of its NPZ form. DataError for a wrong type."""
    if not npz.names(path):
        with h5.opened(path) as file:
            values = {key: file.attrs[key] for key in HEADER if key in file.attrs}
            values |= {key: h5.array(file, key, kinds) for key, kinds in DATASETS.items()}
            for key in ATTRIBUTES:
                array, _, attribute = key.partition("_")
                if array in file and attribute in file[array].attrs:
                    values[key] = float(file[array].attrs[attribute])
            return values
    arrays = read_npz(path, (*DATASETS, *ATTRIBUTES, *NUMBERS))
    for key, value in arrays.items():
        kinds = DATASETS.get(key, "fiu")
        if value.dtype.kind not in kinds or (key not in DATASETS and value.size != 1):
            raise DataError(f"{key} is {value.dtype} {value.shape}; expected kind {kinds!r}, or one number")
    return arrays
