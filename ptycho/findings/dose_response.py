"""Dose-response over seeds: curves, differences at equal dose, dose factors at equal resolution. NumPy and SciPy only.

From the entries of ``metrics.json`` (``arms.arm_entry``) of many doses, losses and seeds. The unit of replication
is the seed, which sets all that is random: noise and initialisation, and of a simulation the object and the scan. Doses
and losses share their seeds and are therefore compared pair by pair. A collapsed arm resolves 0; a failed or missing
one is left out, counted and named (:mod:`ptycho.findings.arm_table`).

Intervals are of 95 %, each by itself; :mod:`ptycho.findings.intervals` says how, and how often they hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config import DIRECT
from ptycho.findings.arm_table import STATUSES, Cell, arms_by_key, first_cell
from ptycho.findings.dose_factor import Factor, factors
from ptycho.findings.intervals import Interval, geometric_interval, mean_interval
from ptycho.scans.reconstruction import SPLITS

REFERENCE = "nll"
"""The loss that the others are compared with, where it is among them: the likelihood of the counts."""


@dataclass(frozen=True)
class Point:
    """One dose of a curve: its interval, each seed's value (None where there is none), and how many arms there are."""

    nphotons: float
    interval: Interval
    values: tuple[float | None, ...]
    n_ok: int
    n_collapsed: int
    n_failed: int
    n_missing: int


@dataclass(frozen=True)
class Curve:
    """A quantity against the dose. method: (an architecture, or 'direct' for the fit without a network; the split)."""

    method: tuple[str, str]
    loss: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Difference:
    """FRC50 of `first` less that of `second` at one dose, over the seeds that have both."""

    method: tuple[str, str]
    nphotons: float
    first: str
    second: str
    interval: Interval

    @property
    def differ(self) -> bool | None:
        """Whether the interval leaves out zero; None without an interval."""
        low, high = self.interval.low, self.interval.high
        return None if low is None or high is None else not low <= 0 <= high

    @property
    def finer(self) -> str | None:
        """The loss that is shown to resolve finer, or None."""
        mean = self.interval.mean
        if not self.differ or mean is None:
            return None
        return self.first if mean > 0 else self.second


@dataclass(frozen=True)
class Limit:
    """The least relative mean-square error at one dose, mean over the arms, on the scan of a method: by counting
    photons (M/n), and by Cramér and Rao for this probe, scan and object. None where no arm tells it."""

    method: tuple[str, str]
    nphotons: float
    counting: float | None
    information: float | None


@dataclass(frozen=True)
class DoseResponse:
    """A whole study. quantity: which FRC50.

    errors: curves of the relative mean-square error, geometric means. limits: the least that it could be. efficiencies
    and attained: curves of limit / error, of the counting and of the Cramér-Rao limit; 1 is all that photons allow,
    more is prior knowledge. faults: every arm that contributes nothing, by name, and why.
    """

    quantity: str
    seeds: tuple[int, ...]
    curves: tuple[Curve, ...]
    differences: tuple[Difference, ...]
    factors: tuple[Factor, ...]
    errors: tuple[Curve, ...]
    limits: tuple[Limit, ...]
    efficiencies: tuple[Curve, ...]
    attained: tuple[Curve, ...]
    faults: tuple[str, ...]


def dose_response_of(
    entries: Sequence[Any],
    quantity: str = "amplitude_frc50",
    resolutions: Sequence[float] = (0.25, 0.5, 0.75),
    seed: int = 0,
) -> DoseResponse:
    """The study that arms make together.

    Parameters
    ----------
    entries : list of dict
        By the schema of ``metrics.json``; one that breaks it, or is failed, becomes a fault, not an error.
    quantity : {'amplitude_frc50', 'phase_frc50'}
    resolutions : sequence of float
        Fractions of Nyquist, in (0, 1), at which losses are compared by dose.
    seed : int
        Of the draws for the intervals of factors.

    Raises
    ------
    ValueError
        A parameter is not accepted, two entries are of one arm, or no arm has the quantity.
    """
    if quantity not in ("amplitude_frc50", "phase_frc50"):
        raise ValueError(f"quantity is {quantity!r}; expected 'amplitude_frc50' or 'phase_frc50'")
    for value in resolutions:
        if not 0 < value < 1:
            raise ValueError(f"resolution is {value}; expected a fraction of Nyquist in (0, 1)")
    arms, faults = arms_by_key(entries)
    architectures = list(dict.fromkeys(key[0] for key in arms))
    doses = sorted({key[1] for key in arms})
    losses = sorted(dict.fromkeys(key[2] for key in arms), key=lambda loss: loss != REFERENCE)
    seeds = sorted({key[3] for key in arms})
    for architecture in architectures:
        for dose in doses:
            for loss in losses:
                faults += [
                    f"{architecture or DIRECT}, {loss}, {dose:.3g} photons per pattern, seed {one}: missing"
                    for one in seeds
                    if (architecture, dose, loss, one) not in arms
                ]
    methods: list[tuple[tuple[str, str], list[str | None]]]
    methods = [((name, split), [name]) for name in architectures if name for split in ("train", "heldout")]
    if any(arm.get(DIRECT) for arm in arms.values()):  # one fit, whichever network was trained beside it
        methods.append(((DIRECT, "train"), architectures))

    curves, differences, found_factors, errors, limits, efficiencies, attained = [], [], [], [], [], [], []
    rng = np.random.default_rng(seed)
    for method, owners in methods:
        part = DIRECT if method[0] == DIRECT else method[1]
        cells = {
            loss: [[first_cell(arms, owners, dose, loss, one, part, quantity) for one in seeds] for dose in doses]
            for loss in losses
        }
        tables = {loss: _table(rows, "resolution") for loss, rows in cells.items()}
        for loss, rows in cells.items():
            curves.append(_curve(method, loss, doses, rows, tables[loss], (0, 1)))
            errors.append(_curve(method, loss, doses, rows, _table(rows, "error"), None))
            efficiencies.append(_curve(method, loss, doses, rows, _table(rows, "efficiency"), (0, np.inf)))
            attained.append(_curve(method, loss, doses, rows, _table(rows, "attained"), (0, np.inf)))
        for k, dose in enumerate(doses):
            at = [cell for rows in cells.values() for cell in rows[k]]
            limits.append(Limit(method, dose, _mean(c.counting for c in at), _mean(c.information for c in at)))
        for first, second in combinations(losses, 2):
            for k, dose in enumerate(doses):
                found = mean_interval(tables[first][:, k] - tables[second][:, k])
                differences.append(Difference(method, dose, first, second, found))
            pair = (tables[first], tables[second])
            found_factors += factors(method, (first, second), np.array(doses), pair, resolutions, rng)
    if not any(point.interval.n for curve in curves for point in curve.points):
        raise ValueError(f"no arm has {quantity}; found {len(entries)} entries, faults: {'; '.join(faults) or 'none'}")
    return DoseResponse(
        quantity,
        tuple(seeds),
        tuple(curves),
        tuple(differences),
        tuple(found_factors),
        tuple(errors),
        tuple(limits),
        tuple(efficiencies),
        tuple(attained),
        tuple(faults),
    )


def _mean(values: Iterable[float]) -> float | None:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else None


def _table(rows: Sequence[Sequence[Cell]], field: str) -> NDArray[np.float64]:
    """(seeds, doses), NaN where there is no value."""
    return np.array([[getattr(cell, field) for cell in row] for row in rows], np.float64).T


def _curve(
    method: tuple[str, str],
    loss: str,
    doses: Sequence[float],
    rows: Sequence[Sequence[Cell]],
    table: NDArray[np.float64],
    possible: tuple[float, float] | None,
) -> Curve:
    """Of means, which lie within what is `possible`; without it of geometric means."""
    points = []
    for k, (dose, row) in enumerate(zip(doses, rows, strict=True)):
        counts = [sum(cell.status == status for cell in row) for status in STATUSES]
        values = tuple(None if math.isnan(value) else float(value) for value in table[:, k])
        interval = mean_interval(table[:, k], possible) if possible else geometric_interval(table[:, k])
        points.append(Point(dose, interval, values, *counts))
    return Curve(method, loss, tuple(points))


def method_label(method: tuple[str, str]) -> str:
    return f"{method[0]}, {SPLITS[method[1]]}"


def _methods(curves: Sequence[Any]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(curve.method for curve in curves))


def response_caption(study: DoseResponse) -> str:
    """The figure of resolution against dose in words, for those who cannot see it."""
    told = []
    for curve in study.curves:
        ends = [point for point in curve.points if point.interval.mean is not None]
        if ends:
            values = ", ".join(f"{point.interval.mean:.2f} at {point.nphotons:.3g}" for point in ends)
            told.append(f"{method_label(curve.method)}, {curve.loss}: {values}")
    return f"FRC50 against photons per pattern, means over {len(study.seeds)} seeds. {'; '.join(told)}."


def response_rows(study: DoseResponse) -> list[dict[str, Any]]:
    """The numbers beside `resolution_response` and `error_response`: a row a method, loss and dose; None is unknown."""
    limits = {(limit.method, limit.nphotons): limit for limit in study.limits}
    others = {"relative_mse": study.errors, "efficiency": study.efficiencies, "attained": study.attained}
    rows = []
    for number, curve in enumerate(study.curves):
        for k, point in enumerate(curve.points):
            limit = limits[curve.method, point.nphotons]
            row = {
                "method": curve.method[0],
                "split": curve.method[1],
                "loss": curve.loss,
                "nphotons": point.nphotons,
                **{name: getattr(point, f"n_{name}") for name in ("ok", "collapsed", "failed", "missing")},
                **_ends("frc50", point.interval),
            }
            for name, curves in others.items():
                row |= _ends(name, curves[number].points[k].interval)
            row |= {"counting_limit": limit.counting, "cramer_rao_limit": limit.information}
            rows.append(row)
    return rows


def _ends(name: str, interval: Any) -> dict[str, float | None]:
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


def factor_rows(study: DoseResponse) -> list[dict[str, Any]]:
    """The numbers beside `factor_response`: a row a method, pair of losses and resolution."""
    return [
        {
            "method": factor.method[0],
            "split": factor.method[1],
            "resolution": factor.resolution,
            "reference": factor.reference,
            "other": factor.other,
            "reference_dose": factor.doses[0],
            "other_dose": factor.doses[1],
            "factor": factor.value,
            "low": factor.low,
            "high": factor.high,
            "seeds": factor.n,
            "reason": factor.reason,
        }
        for factor in study.factors
    ]
