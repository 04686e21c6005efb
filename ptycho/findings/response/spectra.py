"""Curves over spatial frequency: correlations averaged over seeds, and the share of the photons' information kept."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config import DIRECT, PARTS
from ptycho.files import json_if_any, read_json
from ptycho.findings.intervals import mean_interval
from ptycho.findings.response.arm_table import Method, without_numbers
from ptycho.judge.frc import Rings
from ptycho.study import layout, sweep


@dataclass(frozen=True, eq=False)
class MeanFRC:
    """One curve: frequency (rings,), fractions of Nyquist, and (rings, 3) mean, low and high ends of 95 % intervals.
    The ends are NaN for one seed. n: seeds."""

    method: Method
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


def mean_curves(out: Path, entries: Sequence[Mapping[str, Any]]) -> Curves:
    """Average the ``frc.json`` of the arms that have numbers, collapsed ones included, over seeds. Where the seeds'
    scans differ in area and thus in rings, all are interpolated to the finest. Where only the report is kept, they
    are read from its table. Raises ValueError when there are no curves."""
    members: dict[tuple[Method, str, float], list[Mapping[str, Any]]] = {}
    contrasts, faults = [], []
    for entry in entries:
        if without_numbers(entry):
            continue
        try:
            told = read_json(out / entry["name"] / layout.FRC)
            contrasts.append(str(told["contrast"]))
            for part, curves in told["parts"].items():
                method = (DIRECT if part.startswith(DIRECT) else entry["architecture"], PARTS[part])
                members.setdefault((method, entry["loss"], entry["nphotons"]), []).append(curves)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            faults.append(f"{entry['name']}: its curves are left out: {error}")
    if not contrasts and sweep.report_alone(out):
        return _kept_curves(out / f"{layout.CURVES}.csv", contrast_of(out, entries))
    if not contrasts:
        raise ValueError(f"no arm has an FRC curve: {'; '.join(faults) or 'no arm has numbers'}")
    contrast = most_frequent(contrasts)
    means = []
    for key in sorted(members, key=lambda key: (key[0][0] == DIRECT, key[0][1] == "heldout", key[2])):
        frequency = max((np.asarray(one["frequency"], np.float64) for one in members[key]), key=len)
        values = np.array([np.interp(frequency, one["frequency"], one[contrast]) for one in members[key]])
        intervals = [mean_interval(ring, (-1, 1)) for ring in values.T]
        correlation = np.array([(i.mean, i.low, i.high) for i in intervals], np.float64)
        means.append(MeanFRC(*key, frequency, correlation, len(members[key])))
    return Curves(contrast, tuple(means), tuple(faults))


def contrast_of(out: Path, entries: Sequence[Mapping[str, Any]]) -> str:
    """What the objects show, ``amplitude`` or ``phase``, as the ``frc.json`` of most arms says.

    Where only a report is kept, and these are not: phase, if the arms have numbers of it.
    """
    told = [json_if_any(out / str(entry["name"]) / layout.FRC).get("contrast") for entry in entries]
    if known := [contrast for contrast in told if contrast is not None]:
        return most_frequent(known)
    parts = [entry[part] for entry in entries for part in PARTS if entry.get(part) is not None]
    return "phase" if any(part["phase_pearson"] is not None for part in parts) else "amplitude"


def most_frequent(contrasts: Sequence[str]) -> str:
    """The contrast of most arms; of equally many, the first in the alphabet."""
    return max(sorted(set(contrasts)), key=contrasts.count)


def _kept_curves(table: Path, contrast: str) -> Curves:
    """The curves of a sweep of which only the report is kept, from the table beside its figure (:func:`frc_rows`)."""
    members: dict[tuple[Method, str, float, int], list[tuple[float, ...]]] = {}
    with open(table, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = ((row["method"], row["split"]), row["loss"], float(row["nphotons"]), int(row["n"]))
            ring = tuple(float(row[name] or "nan") for name in ("frequency", "mean", "low", "high"))
            members.setdefault(key, []).append(ring)
    rings = {key: np.array(found) for key, found in members.items()}
    curves = [MeanFRC(*key[:3], found[:, 0], found[:, 1:], key[3]) for key, found in rings.items()]
    return Curves(contrast, tuple(curves), ())


KNOWN = 1 - 1e-4
"""The highest correlation whose distance from 1 is told by the five decimals of ``frc.json``, to 5 %."""


@dataclass(frozen=True, eq=False)
class SpectralRatio:
    """The signal-to-noise ratio of one curve by ring, each (rings,).

    frequency: fraction of Nyquist. ratio: of the image, S / N = F^2 / (1 - F^2) of its correlation F with the truth
    (Frank and Al-Ali, Nature 256 (1975) 376); NaN where F is above KNOWN. limit: of an unbiased image with the least
    errors that photons allow.
    """

    method: Method
    loss: str
    nphotons: float
    frequency: NDArray[np.float64]
    ratio: NDArray[np.float64]
    limit: NDArray[np.float64]

    @property
    def efficiency(self) -> NDArray[np.float64]:
        """The detective quantum efficiency of the method: the share of the photons' information that it keeps."""
        return self.ratio / self.limit


def spectral_ratios(out: Path, entries: Sequence[Mapping[str, Any]], found: Curves) -> list[SpectralRatio]:
    """Of every mean curve, where the bound.json of its seeds tells what photons allow (a mean over them)."""
    folders = {(out / entry["name"]).parent for entry in entries if not without_numbers(entry)}
    bounds = [read_json(path) for folder in sorted(folders) if (path := folder / layout.BOUND).exists()]
    ratios = []
    for curve in found.curves:
        rings = [told[curve.method[1]].get("rings", {}).get(found.contrast) for told in bounds]
        known = [Rings.of(one) for one in rings if one]
        if not known:
            continue
        allowed = [np.interp(curve.frequency, one.frequency, one.signal / one.noise) for one in known]
        F = np.clip(curve.correlation[:, 0], 0, None)
        F = np.where(F <= KNOWN, F, np.nan)
        ratio, limit = F**2 / (1 - F**2), curve.nphotons * np.mean(allowed, axis=0)
        ratios.append(SpectralRatio(curve.method, curve.loss, curve.nphotons, curve.frequency, ratio, limit))
    return ratios


def spectral_rows(ratios: Sequence[SpectralRatio]) -> list[dict[str, Any]]:
    """The numbers beside `efficiency_response`: a row a ring of each curve."""
    return [
        {"method": one.method[0], "split": one.method[1], "loss": one.loss, "nphotons": one.nphotons}
        | {
            name: float(f"{x:.4g}") if math.isfinite(x) else None
            for name, x in zip(("frequency", "ssnr", "limit", "dqe"), ring, strict=True)
        }
        for one in ratios
        for ring in zip(one.frequency, one.ratio, one.limit, one.efficiency, strict=True)
    ]


def frc_rows(found: Curves) -> list[dict[str, Any]]:
    """The numbers beside `frc_response`: a row a ring of each curve."""
    return [
        {"method": curve.method[0], "split": curve.method[1], "loss": curve.loss, "nphotons": curve.nphotons}
        | {"n": curve.n, "frequency": frequency}
        | {end: round(x, 4) if math.isfinite(x) else None for end, x in zip(("mean", "low", "high"), ring, strict=True)}
        for curve in found.curves
        for frequency, ring in zip(curve.frequency.tolist(), curve.correlation.tolist(), strict=True)
    ]
