"""A map: a small YAML that tells how to read a file of any HDF5, NPZ, NumPy or MATLAB layout.

FILE.map.yaml beside FILE counts wherever FILE is read. `--map` of `inspect` and `convert` names another. `inspect`
proposes one for a file of no kind known here. All arrays lie in FILE. Names in HDF5 are paths; in MATLAB they are
VARIABLE or STRUCTURE/FIELD.

    patterns: {from: entry/frames, axes: frame row column}
                        or `axes: slow fast row column`, in the array's own order. `kind: amplitude` for square roots
    x: {from: entry/motors, column: 0, unit: um, sign: -1}
                        (M,), (A, B), or a column or a row of a table; y likewise. With `sign` 1, as without it, x grows
                        with the column of an object and y with its row. `unit: pixels` for object pixels
    step: 20 nm         of a raster, instead of x and y; or [20 nm, 25 nm], between rows and between columns
    raster: [100, 80]   its shape, slow first, where neither the file nor the axes of the patterns tell it and it is not
                        square
    energy: 8.8 keV     a number and its unit, or {from: entry/energy, unit: keV}. Likewise wavelength, distance,
                        detector_pixel, pixel_size, voltage, semi_angle, defocus, detector_angle, detector_frequency
    gain: 12.5          detector units for one photon or electron, or {from: entry/gain}. Intensities are divided by it
                        and rounded to counts
    background: 0.25    photons a pixel that are known to be counted beside those of the scan: scattered light, or the
                        variance of readout noise about a pedestal of that height; or {from: entry/background}
    probe: entry/probe  complex, (N, N) or (L, N, N). Likewise object, (H, W), whose place is unknown, and dark, (H, W)
    mask: {from: entry/mask, valid: 0}
                        (H, W). Without `valid`, what is not 0 is valid

Only `patterns` is needed. A map without it completes a format that is known: it gives a .mib its step, a .npy its
positions. What it states comes before what the file does. Units: m, mm, um, nm, A, pm; rad, mrad, urad, deg; 1/m, 1/um,
1/nm, 1/A; J, eV, keV; V, kV. Refused, in one line each: other names, arrays that are not there, other shapes, unknown
units.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.physics.beam import PLANCK_LIGHT
from ptycho.scans.archive import naming
from ptycho.scans.formats import units
from ptycho.scans.formats.containers import contents
from ptycho.scans.formats.electrons import raster
from ptycho.scans.formats.scan import Scan

SUFFIX = ".map.yaml"
QUANTITIES = {
    "energy": "energy",
    "wavelength": "length",
    "distance": "length",
    "detector_pixel": "length",
    "pixel_size": "length",
    "voltage": "voltage",
    "semi_angle": "angle",
    "defocus": "length",
    "detector_angle": "angle",
    "detector_frequency": "frequency",
    "gain": "number",
    "background": "number",
}
"""The numbers of a map, and the kinds of their units."""
ARRAYS = ("probe", "object", "dark")
PARTS = {
    "patterns": ("from", "axes", "kind"),
    **dict.fromkeys("xy", ("from", "unit", "sign", "column", "row")),
    **dict.fromkeys(QUANTITIES, ("from", "unit")),
    **dict.fromkeys(ARRAYS, ("from",)),
    "mask": ("from", "valid"),
    "step": (),
    "raster": (),
}
"""What a map may state, and the words in each."""
PIXELS = ("pixel", "pixels", "px")
Map = dict[str, Any]


def beside(path: Path) -> Path:
    """Where the map of a file lies."""
    return path.with_name(path.name + SUFFIX)


def load(path: Path) -> Map:
    """The map in a YAML file. Raises DataError for one that cannot be read, and for a name that no map has."""
    import yaml  # here, for a file with a map alone

    with naming(path):
        try:
            told = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot be read ({getattr(error, 'strerror', None) or error}); expected a map") from error
        except yaml.YAMLError as error:
            raise DataError(f"is no YAML ({' '.join(str(error).split())}); expected a map") from error
        if not isinstance(told, dict) or not told:
            raise DataError(f"holds {type(told).__name__}; expected a map of {', '.join(PARTS)}")
        for name, value in told.items():
            if name not in PARTS:
                raise DataError(f"{name!r} is no part of a map; expected some of {', '.join(PARTS)}")
            if isinstance(value, dict) and (odd := [word for word in value if word not in PARTS[name]]):
                accepted = ", ".join(PARTS[name]) or "no words"
                raise DataError(f"{name} has {odd[0]!r}; expected {accepted}")
        return told


def read(path: Path, told: Map, known: Scan | None) -> Scan:
    """The scan in `path` as the map has it, or `known`, completed by it. Raises DataError, naming the file."""
    with naming(path):
        changes: dict[str, Any] = {}
        if "patterns" in told:
            known = Scan()
            words = _words("patterns", told["patterns"])
            changes["patterns"], shape = contents.stack(path, words["from"], str(words.get("axes", "")).split())
            changes["raster"] = shape if len(shape) == 2 else None
            if (kind := words.get("kind", "intensity")) not in ("intensity", "amplitude"):
                raise DataError(f"the kind of patterns is {kind!r}; expected intensity or amplitude")
            changes["amplitude"] = kind == "amplitude"
        assert known is not None  # who reads a map without patterns knows the format
        for name, kind in QUANTITIES.items():
            if name in told:
                changes[name] = _number(path, name, told[name], kind)
        if not changes.get("gain", 1) > 0 or ("gain" in changes and changes.get("amplitude", known.amplitude)):
            raise DataError(f"gain is {changes['gain']:g}; expected a number > 0, of patterns that are intensity")
        if not changes.get("background", 1) > 0:
            raise DataError(f"background is {changes['background']:g}; expected a number > 0")
        if (wavelength := changes.pop("wavelength", None)) is not None:
            if not 0 < wavelength < np.inf:
                raise DataError(f"wavelength is {wavelength:g} m; expected a finite number > 0")
            changes["energy"] = PLANCK_LIGHT / wavelength
        for one, other in (
            ("energy", "voltage"),
            ("voltage", "energy"),
        ):  # photons or electrons, whatever the file says
            if one in changes and other not in changes:
                changes[other] = None
        for name in ARRAYS:
            if name in told:
                changes[name] = np.squeeze(contents.array(path, _words(name, told[name])["from"]))
        if "mask" in told:
            words = _words("mask", told["mask"])
            values = contents.array(path, words["from"])
            changes["mask"] = values == words["valid"] if "valid" in words else values != 0
        patterns = changes.get("patterns", known.patterns)
        changes |= _places(path, told, 0 if patterns is None else len(patterns), changes.get("raster", known.raster))
        if changes.get("metres", known.metres) != known.metres:  # the others are in the old unit
            changes |= dict.fromkeys(("object_center", "x_start", "y_start"))
        return replace(known, **changes)


def _places(path: Path, told: Map, M: int, shape: tuple[int, int] | None) -> dict[str, Any]:
    """x, y, their unit and the step of M patterns: from arrays of the file, or from the step of a raster of `shape`."""
    if ("x" in told) != ("y" in told):
        raise DataError("the map names one of x and y; expected both")
    if "x" in told:
        y, x = (_column(path, axis, _words(axis, told[axis]), M) for axis in "yx")
        if x[1] != y[1]:
            raise DataError("one of x and y is in pixels and the other is not; expected one unit")
        return {"x": x[0], "y": y[0], "metres": x[1], "step": None}
    if "step" not in told:
        return {}
    side = int(np.sqrt(M))
    if not isinstance(told.get("raster", []), list):
        raise DataError(f"raster is {told['raster']!r}; expected `raster: [slow, fast]`, its rows and columns")
    shape = tuple(told["raster"]) if "raster" in told else shape or (side, side)
    if len(shape) != 2 or not all(type(n) is int and n > 0 for n in shape) or shape[0] * shape[1] != M:
        raise DataError(f"a raster {list(shape)} has not {M} patterns; expected `raster: [slow, fast]` of that product")
    steps = told["step"] if isinstance(told["step"], list) else [told["step"]] * 2
    if len(steps) != 2:
        raise DataError(f"step has {len(steps)} values; expected one, or those between rows and between columns")
    dy, dx = (_number(path, "step", step, "length") for step in steps)
    return {**raster.places((shape[0], shape[1]), (dy, dx)), "metres": True}


def _column(path: Path, axis: str, words: Map, M: int) -> tuple[NDArray[np.float64], bool]:
    """The M places along an axis, and whether they are in metres."""
    values = contents.array(path, words["from"])
    values = values.squeeze() if values.ndim > 2 else values
    word = next((word for word in ("column", "row") if values.ndim == 2 and word in words), None)
    if word is not None:
        along = ("row", "column").index(word)
        chosen, last = words[word], values.shape[along] - 1
        if type(chosen) is not int or not 0 <= chosen <= last:  # to isinstance, True is an int
            accepted = f"a whole number from 0 to {last}, for {words['from']} is {values.shape}"
            raise DataError(f"the {word} of {axis} is {chosen!r}; expected {accepted}")
        values = values.take(chosen, along)
    if values.size != M or values.dtype.kind not in "fiu":
        raise DataError(f"{axis} is {words['from']}, {values.dtype} {values.shape}; expected {M} real numbers")
    metres = words.get("unit") not in PIXELS
    size = units.scale(str(words.get("unit", "")), "length", axis) if metres else 1.0
    if (sign := words.get("sign", 1)) not in (1, -1):
        raise DataError(f"the sign of {axis} is {sign!r}; expected 1 or -1")
    return values.reshape(-1) * (size * sign), metres


def _words(name: str, told: Any) -> Map:
    """What is told of an array; a text is its name."""
    words = told if isinstance(told, dict) else {"from": told}
    if not isinstance(words.get("from"), str):
        raise DataError(f"{name} names no array; expected {name}: {{from: NAME, ...}}")
    return words


def _number(path: Path, name: str, told: Any, kind: str) -> float:
    """One quantity in SI units: "8.8 keV", or from an array of one number."""
    if isinstance(told, dict):
        values = contents.array(path, _words(name, told)["from"])
        if values.size != 1 or values.dtype.kind not in "fiu":
            raise DataError(f"{name} is {told['from']}, {values.dtype} {values.shape}; expected one number")
        return float(values.item()) * units.scale(str(told.get("unit", "")), kind, name)
    match = re.fullmatch(r"\s*([-+0-9.eE]+)(\s+\S+)?\s*", str(told))
    try:
        number, unit = float(match[1]), (match[2] or "").strip()  # type: ignore[index]
        if bool(unit) == (kind == "number"):
            raise ValueError
    except (TypeError, ValueError):
        known = f"a number and a unit of {kind}: {', '.join(units.UNITS[kind])}" if kind != "number" else "a number"
        raise DataError(f"{name} is {told!r}; expected {{from, unit}}, or {known}") from None
    return number * units.scale(unit, kind, name)
