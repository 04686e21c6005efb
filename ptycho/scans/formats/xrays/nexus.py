"""NeXus by its classes: the definition NXcxi_ptycho (nexusformat/definitions, contributed), and Diamond's .nxs scans.

    NXentry              the file's `default`, or the first; NXcxi_ptycho calls it entry_1
    NXdata, NXdetector   the largest signal of three axes or more: (M, H, W), or a raster (A, B, H, W), A slow
    NXdetector           distance or detector_distance, x_pixel_size, y_pixel_size: lengths; pixel_mask (H, W), 0 valid;
                         darkfield (H, W), which is taken off; flatfield is left aside
    NXbeam               incident_beam_energy, incident_energy or energy; or NXmonochromator energy
    entry_1/sample_1/geometry_1/translation (M, 2 or 3), as in CXI (which see), where NXcxi_ptycho has it; or
    any two fields whose names end in x and y (x, SampleX, lab_sx, stage_x): read back for each pattern, (A, B) or (M,),
                         or set along one axis of the raster, (A,) and (B,); what was read back comes first

NXsource has the energy of the machine, not of the photons: it is not read. A length or energy has its unit in the
attribute `units`. Under entry_1 a missing one is SI's, as in CXI; elsewhere it is refused. x grows with the column and
y with the row, as ptypy's loaders take them: NeXus leaves open how a stage is mounted, and a study tests the
orientation. Only the patterns are needed. Refused: positions that fit no scan of the patterns' shape, unknown units,
rectangular pixels, and energies that differ.
"""

import re
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.scans.formats import units
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.xrays import cxi

NAME = "nexus"
ARRAYS = (
    "entry/data/data",
    *("entry/data/x", "entry/data/y", "entry/instrument/beam/incident_beam_energy"),
    *("entry/instrument/detector/distance", "entry/instrument/detector/x_pixel_size"),
)
DEFINITIONS = ("NXptycho", "NXcxi_ptycho")
AXIS = re.compile(r"(?:.*[^A-Za-z])?[A-Za-z]?([xy])|.*[a-z]([XY])")
SET = re.compile(r"(_value)?_(set|demand|target)$|_rbv$|_value$")
Groups = dict[str, h5py.Group]


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether a group at the root of an HDF5 file is an NXentry; one that is CXI's too must have the definition."""
    if not hdf5:
        return False
    with h5.opened(path) as file:
        entry = _entry(file)
        named = h5.text(entry["definition"][()]) if entry is not None and "definition" in entry else ""
        return entry is not None and (cxi.ENTRY not in hdf5 or named in DEFINITIONS)


def read(path: Path) -> Scan:
    """Read the file, its patterns when they are indexed. Raises DataError for a wrong unit, type or shape."""
    with h5.opened(path) as file:
        entry = _entry(file)
        assert entry is not None  # it was recognised
        groups = {entry.name: entry, **{k: g for k, g in h5.walk(entry) if isinstance(g, h5py.Group)}}
        key = _patterns(groups)
        shape = file[key].shape if key else ()
        detector = _detector(groups, key)
        sides = [v for n in ("x_pixel_size", "y_pixel_size") if (v := _quantity(file, f"{detector}/{n}", "length"))]
        bits, dark = h5.array(file, f"{detector}/pixel_mask", "iub"), h5.array(file, f"{detector}/darkfield")
        y, x = _positions(file, groups, key, shape[:-2])
        names = ("distance", "detector_distance")
        notes = [f"{detector}/{name}" for name in ("flatfield",) if f"{detector}/{name}" in file]
        return Scan(
            patterns=h5.stack(file, key) if key else None,
            dark=dark if dark is not None and dark.shape == shape[-2:] and dark.any() else None,
            x=x,
            y=y,
            mask=bits == 0 if bits is not None and bits.any() else None,
            energy=_energy(file, groups),
            distance=next((v for n in names if (v := _quantity(file, f"{detector}/{n}", "length"))), None),
            detector_pixel=h5.side(sides, f"{detector} has pixels of {sides} metres; expected square ones"),
            notes=tuple(notes),
        )


def _class(group: h5py.Group) -> str:
    return h5.text(group.attrs.get("NX_class", ""))


def _entry(file: h5py.File) -> h5py.Group | None:
    """The group that the file's `default` names, or its first NXentry."""
    names = [h5.text(file.attrs.get("default", "")), *(name for name in file if isinstance(name, str))]
    found = (file.get(name) for name in names if name)
    return next((g for g in found if isinstance(g, h5py.Group) and _class(g) == "NXentry"), None)


def _patterns(groups: Groups) -> str | None:
    """The largest signal of three axes or more in an NXdata or NXdetector; of equal ones that with the most axes."""
    found: dict[str, tuple[int, int]] = {}
    for path, group in groups.items():
        if _class(group) in ("NXdata", "NXdetector"):
            name = h5.text(group.attrs.get("signal", "data"))
            item = group.get(name)
            if isinstance(item, h5py.Dataset) and item.ndim >= 3 and item.dtype.kind in "fiu":
                found[f"{path}/{name}"] = (item.size, item.ndim)
    return max(found, key=lambda key: found[key], default=None)


def _detector(groups: Groups, key: str | None) -> str:
    """The NXdetector that holds the patterns, or the first that states its pixel."""
    found = [path for path, group in groups.items() if _class(group) == "NXdetector"]
    holding = [path for path in found if key and key.rpartition("/")[0] == path]
    stating = [path for path in found if "x_pixel_size" in groups[path]]
    return next(iter([*holding, *stating, *found]), "")


def _unit(file: h5py.File, key: str, kind: str) -> float:
    """SI units in one of a dataset's. DataError for a dataset without a unit, unless CXI says which it is."""
    attributes = file[key].attrs
    unit = next((h5.text(attributes[name]) for name in ("units", "unit") if name in attributes), None)
    if unit is None and key.startswith(f"/{cxi.ENTRY}/"):
        return 1.0
    if unit is None:
        raise DataError(f"{key} has no attribute units; expected a unit of {kind}: {', '.join(units.UNITS[kind])}")
    return units.scale(unit, kind, key)


def _quantity(file: h5py.File, key: str, kind: str) -> float | None:
    """One number in SI units, None where there is none or zero. DataError for several that differ."""
    values = h5.array(file, key)
    if values is None or not values.any():
        return None
    if np.ptp(values) > 1e-6 * abs(values.flat[0]):  # read back at each point, it may vary in its last digits
        raise DataError(f"{key} has {values.size} values, {values.min():.6g} to {values.max():.6g}; expected one")
    return float(values.flat[0]) * _unit(file, key, kind)


def _energy(file: h5py.File, groups: Groups) -> float | None:
    """Photon energy in joules, of the beam or of its monochromator."""
    names = {"NXbeam": ("incident_beam_energy", "incident_energy", "energy"), "NXmonochromator": ("energy",)}
    keys = [f"{path}/{n}" for kind in names for path, g in groups.items() if _class(g) == kind for n in names[kind]]
    return next((value for key in keys if (value := _quantity(file, key, "energy"))), None)


def _positions(
    file: h5py.File, groups: Groups, key: str | None, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """y and x (M,) in metres, M the product of the scan's shape; None, None where the file has none."""
    for place in (f"/{cxi.TRANSLATION}", f"/{cxi.DETECTOR}/translation"):
        if (translation := h5.array(file, place)) is not None:
            if translation.ndim < 2 or translation.shape[-1] < 2:
                raise DataError(f"{place} has shape {translation.shape}; expected (M, 2) or (M, 3)")
            x, y = translation.reshape(-1, translation.shape[-1]).T[:2] * _unit(file, place, "length")
            return y, x
    found: dict[str, dict[str, tuple[bool, bool, bool]]] = {"y": {}, "x": {}}
    refused = []
    for path, group in groups.items():
        for name in (name for name in group if isinstance(name, str)):
            told = path.rpartition("/")[2] if name in ("value", "data") else name
            axis, item = _axis_of(SET.sub("", told)), group.get(name)
            if axis is None or not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu" or item.size < 2:
                continue
            full = _full(item.shape, shape)
            if full or _dimension(groups, key, name, axis, item.shape, shape) is not None:
                found[axis][f"{path}/{name}"] = (full, SET.search(told) is None, _class(group) == "NXdata")
            else:
                refused.append(f"{path}/{name} {item.shape}")
    if key and refused and not (found["x"] and found["y"]):
        raise DataError(f"{', '.join(refused[:4])} do not fit a scan {shape}; expected x and y of each pattern")
    if not key or not (found["x"] and found["y"]):
        return None, None
    values = []
    for axis in "yx":  # what was read back comes before what was set
        best = max(found[axis], key=lambda place: found[axis][place])
        held = np.asarray(file[best][()], np.float64) * _unit(file, best, "length")
        if not found[axis][best][0]:
            along = _dimension(groups, key, best.rpartition("/")[2], axis, held.shape, shape)
            held = np.broadcast_to(held.reshape([-1 if k == along else 1 for k in range(len(shape))]), shape)
        values.append(held.reshape(-1))
    return values[0], values[1]


def _axis_of(name: str) -> str | None:
    """The axis, "x" or "y", that a name stands for: x, stage_x, lab_sx, SampleX; None for energy, index, max ..."""
    match = AXIS.fullmatch(name)
    return next(letter.lower() for letter in match.groups() if letter) if match else None


def _full(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether there is one value for each pattern of a scan; axes of one point do not count."""
    long = tuple(n for n in own if n > 1)
    return long in (tuple(n for n in shape if n > 1), (int(np.prod(shape)),))


def _dimension(
    groups: Groups, key: str | None, name: str, axis: str, own: tuple[int, ...], shape: tuple[int, ...]
) -> int | None:
    """The axis of the scan along which set values (A,) run: as the NXdata says, or y slow and x fast; None for none."""
    told = groups[key.rpartition("/")[0]].attrs if key else {}
    axes = [h5.text(a) for a in np.atleast_1d(told["axes"])] if "axes" in told else []
    along = int(np.ravel(told[f"{name}_indices"])[0]) if f"{name}_indices" in told else None
    if along is None and name in axes:
        along = axes.index(name)
    if along is None and len(shape) == 2:
        along = "yx".index(axis)
    return along if along is not None and along < len(shape) and own == (shape[along],) else None
