"""What the formats of 4D-STEM share: the places of a raster, and what one detector pixel is.

A raster has its slow axis first: y grows with it, x with the fast axis. Its first place is (0, 0). A study tests which
way the patterns lie to it. A rotation of the scan against the detector is not read.
"""

from typing import Any

import numpy as np

from ptycho.errors import DataError
from ptycho.scans.formats import units
from ptycho.scans.formats.containers import h5

Axis = tuple[float, str]
"""Step from one index to the next, and its unit as the file writes it."""
UNCALIBRATED = {"", "1", "px", "pix", "pixel", "pixels", "unknown", "none", "None", "<undefined>", "dimensionless"}
"""What files write for the unit of an axis that nobody calibrated."""
PIXELS = {"angle": "detector_angle", "frequency": "detector_frequency", "length": "detector_pixel"}
"""What a detector pixel may be measured in, and its field of a Scan."""


def places(shape: tuple[int, int], step: tuple[float, float]) -> dict[str, Any]:
    """x and y (A B,) in metres, shape and step of a raster (A, B) with steps (dy, dx) in metres: fields of a Scan."""
    y, x = (index * side for index, side in zip(np.indices(shape).reshape(2, -1), step, strict=True))
    return {"x": x, "y": y, "raster": shape, "step": step}


def calibrated(shape: tuple[int, ...], scanned: list[Axis], detected: list[Axis], what: str) -> dict[str, Any]:
    """Fields of a Scan from the axes of a raster (A, B), slow first, and of its patterns, rows first.

    Axes that nobody calibrated give nothing, and a note. Raises DataError, naming `what`, for a unit that is neither a
    length of the raster nor an angle, a frequency or a length of the detector, and for pixels that are not square.
    """
    fields: dict[str, Any] = {}
    notes = []
    steps = [size * units.scale(unit, "length", f"the raster of {what}") for size, unit in scanned if _known(unit)]
    if len(steps) == len(shape) == 2:
        fields |= places((shape[0], shape[1]), (steps[0], steps[1]))
    elif len(shape) == 2:
        fields["raster"] = shape
        notes.append("the raster, whose step is not calibrated: state `step` in a map")
    if all(_known(unit) for _, unit in detected):
        kind = units.kind_of(detected[0][1])
        if kind not in PIXELS:
            known = "; ".join(", ".join(units.UNITS[kind]) for kind in PIXELS)
            raise DataError(f"the detector of {what} has the unit {detected[0][1]!r}; expected one of {known}")
        sides = [size * units.scale(unit, kind, f"the detector of {what}") for size, unit in detected]
        fields[PIXELS[kind]] = h5.side(sides, f"{what} has detector pixels of {sides}; expected square ones")
    return fields | {"notes": tuple(notes)}


def volts(value: float) -> float:
    """A voltage that files give in volts or in kilovolts, and never say which: no microscope has 2 kV or 2 MV."""
    return value * 1e3 if value <= 2e3 else value


def _known(unit: str) -> bool:
    return units.plain(unit) not in UNCALIBRATED


def first(found: list[str], accepted: str, held: list[str]) -> tuple[str, tuple[str, ...]]:
    """The first of the datasets found, and a note for the others. DataError, with what the file holds, for none."""
    if not found:
        raise DataError(f"found {', '.join(held[:6]) or 'no patterns'}; expected {accepted}")
    return found[0], (f"{', '.join(found[1:])}: one dataset is read",) if found[1:] else ()
