"""What explore.ipynb shows of one dose and loss, and beside a report without reconstructions an example."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.scans import simulated
from ptycho.scans.exposure import PHOTONS, Exposure
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

EXAMPLE: dict[str, Any] = {"N": 64, "n_train": 100, "n_test": 4, "seed": 1}
"""The small simulated scan."""
Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Frequencies as fractions of Nyquist, and correlations."""


@dataclass(frozen=True)
class Point:
    """What one method makes of one dose. None is unknown.

    frc50, low, high  resolution and the ends of its interval, fractions of Nyquist
    limit             resolution of an unbiased image with the least error that the photons allow
    error, least      relative mean-square error, and the least without prior knowledge
    """

    method: str
    loss: str
    nphotons: float
    frc50: float | None
    low: float | None
    high: float | None
    limit: float | None
    error: float | None
    least: float | None


@dataclass(frozen=True, eq=False)
class Look:
    """What there is to see of one dose and loss. object: complex (H, W), NaN where no light fell; None, as the pattern,
    where nothing is kept and an example would mislead. contrast: what the object shows, ``amplitude`` or ``phase``."""

    contrast: str
    curves: Mapping[str, Line]
    object: NDArray[np.complex64] | None = None
    object_title: str = ""
    pattern: NDArray[np.floating] | None = None
    pattern_title: str = ""


def example(dose: float, exposure: Exposure) -> dict[str, Any]:
    """The object of the small simulated scan, and its brightest pattern at `dose`. Nothing for electrons: it is of
    photons."""
    if exposure.particle != PHOTONS:
        return {}
    scan = _example().expose(f"{dose:g}")
    shown = {"object": scan.objectGuess, "object_title": "an example: simulated lines"}
    return shown | {"pattern": brightest(scan), "pattern_title": f"its {pattern_at(dose, exposure)}"}


def pattern_at(dose: float, exposure: Exposure) -> str:
    return f"pattern at {exposure.dose(dose):.3g} {exposure.short}"


@cache
def _example() -> simulated.Simulated:
    return simulated.simulate(**EXAMPLE)["train"]


def where_lit(found: Reconstruction) -> NDArray[np.complex64]:
    rows, columns = (slice(*np.flatnonzero(found.lit.any(axis=axis))[[0, -1]] + np.array([0, 1])) for axis in (1, 0))
    return np.where(found.lit, found.object, np.nan)[rows, columns].astype(np.complex64)


def brightest(data: RawData) -> NDArray[np.floating]:
    counts = data.counts()
    return counts[counts.sum(axis=(1, 2)).argmax()]
