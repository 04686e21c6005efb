"""Whole Fourier ring correlations of a sweep, averaged over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.armtable import without_numbers
from ptycho.config import DIRECT
from ptycho.files import read_json
from ptycho.intervals import mean_interval


@dataclass(frozen=True, eq=False)
class MeanFRC:
    """One curve: frequency (rings,), fractions of Nyquist, and (rings, 3) mean, low and high ends of 95 % intervals.

    The ends are NaN for one seed. n: seeds.
    """

    method: tuple[str, str]
    loss: str
    nphotons: float
    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    n: int


@dataclass(frozen=True, eq=False)
class Curves:
    """Those of every method, loss and dose. contrast: what the objects show. faults: arms whose curves are gone."""

    contrast: str
    curves: tuple[MeanFRC, ...]
    faults: tuple[str, ...]


def gather(out: Path, entries: Sequence[Mapping[str, Any]]) -> Curves:
    """Average the ``frc.json`` of the arms that have numbers, collapsed ones included, over seeds.

    Rings differ in number where the seeds' scans cover areas of different sizes: all are interpolated to the finest.
    Raises ValueError when no arm has curves.
    """
    members: dict[tuple[tuple[str, str], str, float], list[Mapping[str, Any]]] = {}
    contrasts, faults = [], []
    for entry in entries:
        if without_numbers(entry):
            continue
        try:
            told = read_json(out / entry["name"] / "frc.json")
            contrasts.append(str(told["contrast"]))
            for part, curves in told["parts"].items():
                method = (DIRECT, "train") if part == DIRECT else (entry["architecture"], part)
                members.setdefault((method, entry["loss"], entry["nphotons"]), []).append(curves)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            faults.append(f"{entry['name']}: its curves are left out: {error}")
    if not contrasts:
        raise ValueError(f"no arm has an FRC curve: {'; '.join(faults) or 'no arm has numbers'}")
    contrast = max(set(contrasts), key=contrasts.count)
    order = sorted(members, key=lambda key: (key[0][0] == DIRECT, key[0][1] == "heldout", key[2]))
    return Curves(contrast, tuple(_mean(key, members[key], contrast) for key in order), tuple(faults))


def _mean(key: tuple[tuple[str, str], str, float], members: Sequence[Mapping[str, Any]], contrast: str) -> MeanFRC:
    frequency = max((np.asarray(one["frequency"], np.float64) for one in members), key=len)
    values = np.array([np.interp(frequency, one["frequency"], one[contrast]) for one in members])
    intervals = [mean_interval(ring, (-1, 1)) for ring in values.T]
    correlation = np.array([(i.mean, i.low, i.high) for i in intervals], np.float64)
    return MeanFRC(*key, frequency, correlation, len(members))
