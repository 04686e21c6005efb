"""Dose-response over seeds: curves, differences at equal dose, dose factors at equal resolution. NumPy and SciPy only.

From the entries of ``metrics.json`` (:func:`ptycho.arm.entry`) of many doses, losses and seeds. The unit of replication
is the seed, which sets all that is random: noise and initialisation, and of a simulation the object and the scan. Doses
and losses share their seeds and are therefore compared pair by pair. A collapsed arm resolves 0; a failed or missing
one is left out, counted and named (:mod:`ptycho.armtable`).

Intervals are of 95 %, each by itself; :mod:`ptycho.intervals` says how, and how often they hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.armtable import STATUSES, Cell, first_cell, sort
from ptycho.intervals import Interval, crossing, isotonic, mean_draws, mean_interval, quantile_bounds

REFERENCE = "nll"
"""The loss that the others are compared with, where it is among them: the likelihood of the counts."""

DRAWS = 4000


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


@dataclass(frozen=True)
class Factor:
    """How many times the photons of `reference` the loss `other` needs for the same mean FRC50, `resolution`.

    doses: photons per pattern at which (reference, other) reach it; None where a curve does not cross it.
    value: their ratio, or None for the `reason`. low, high: ends of the interval; None where the doses at hand set no
    end, or, with `reason`, where there is no interval. n: seeds at the dose that has fewest.
    """

    method: tuple[str, str]
    resolution: float
    reference: str
    other: str
    doses: tuple[float | None, float | None]
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str


@dataclass(frozen=True)
class DoseResponse:
    """A whole study. quantity: which FRC50. efficiencies: curves of photon_bound / relative_mse, 1 at the photon limit;
    more is prior knowledge. faults: every arm that contributes nothing, by name, and why."""

    quantity: str
    seeds: tuple[int, ...]
    curves: tuple[Curve, ...]
    differences: tuple[Difference, ...]
    factors: tuple[Factor, ...]
    efficiencies: tuple[Curve, ...]
    faults: tuple[str, ...]


def gather(
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
    arms, faults = sort(entries)
    architectures = list(dict.fromkeys(key[0] for key in arms))
    doses = sorted({key[1] for key in arms})
    losses = sorted(dict.fromkeys(key[2] for key in arms), key=lambda loss: loss != REFERENCE)
    seeds = sorted({key[3] for key in arms})
    for architecture in architectures:
        for dose in doses:
            for loss in losses:
                faults += [
                    f"{architecture}, {loss}, {dose:.3g} photons per pattern, seed {one}: missing"
                    for one in seeds
                    if (architecture, dose, loss, one) not in arms
                ]
    methods = [((name, split), [name]) for name in architectures for split in ("train", "heldout")]
    methods.append((("direct", "train"), architectures))  # one fit, whichever network was trained beside it

    curves, efficiencies, differences, factors = [], [], [], []
    rng = np.random.default_rng(seed)
    for method, owners in methods:
        part = "direct" if method[0] == "direct" else method[1]
        cells = {
            loss: [[first_cell(arms, owners, dose, loss, one, part, quantity) for one in seeds] for dose in doses]
            for loss in losses
        }
        tables = {loss: _table(rows, "resolution") for loss, rows in cells.items()}
        for loss, rows in cells.items():
            curves.append(_curve(method, loss, doses, rows, tables[loss], (0, 1)))
            efficiencies.append(_curve(method, loss, doses, rows, _table(rows, "efficiency"), (0, np.inf)))
        for first, second in combinations(losses, 2):
            for k, dose in enumerate(doses):
                found = mean_interval(tables[first][:, k] - tables[second][:, k])
                differences.append(Difference(method, dose, first, second, found))
            pair = (tables[first], tables[second])
            factors += _factors(method, (first, second), np.array(doses), pair, resolutions, rng)
    if not any(point.interval.n for curve in curves for point in curve.points):
        raise ValueError(f"no arm has {quantity}; found {len(entries)} entries, faults: {'; '.join(faults) or 'none'}")
    return DoseResponse(
        quantity, tuple(seeds), tuple(curves), tuple(differences), tuple(factors), tuple(efficiencies), tuple(faults)
    )


def _table(rows: Sequence[Sequence[Cell]], field: str) -> NDArray[np.float64]:
    """(seeds, doses), NaN where there is no value."""
    return np.array([[getattr(cell, field) for cell in row] for row in rows], np.float64).T


def _curve(
    method: tuple[str, str],
    loss: str,
    doses: Sequence[float],
    rows: Sequence[Sequence[Cell]],
    table: NDArray[np.float64],
    possible: tuple[float, float],
) -> Curve:
    points = []
    for k, (dose, row) in enumerate(zip(doses, rows, strict=True)):
        counts = [sum(cell.status == status for cell in row) for status in STATUSES]
        values = tuple(None if math.isnan(value) else float(value) for value in table[:, k])
        points.append(Point(dose, mean_interval(table[:, k], possible), values, *counts))
    return Curve(method, loss, tuple(points))


def _factors(
    method: tuple[str, str],
    losses: tuple[str, str],
    doses: NDArray[np.float64],
    tables: tuple[NDArray[np.float64], NDArray[np.float64]],
    resolutions: Sequence[float],
    rng: np.random.Generator,
) -> list[Factor]:
    """The factors of one pair: isotonic mean curves over log10 dose, crossed at each resolution, the draws like them.

    Both losses come from the same draws of seeds. A draw whose curve does not cross confines the factor on one side.
    """
    seen = [np.isfinite(table).sum(axis=0) for table in tables]
    least = min((int(n[n > 0].min()) if n.any() else 0) for n in seen)
    if not least:
        return []
    kept = [n > 0 for n in seen]
    x = [np.log10(doses[keep]) for keep in kept]
    columns = [table[:, keep] for table, keep in zip(tables, kept, strict=True)]
    weights = [n[keep] for n, keep in zip(seen, kept, strict=True)]
    means = [isotonic(np.nanmean(table, axis=0), weight) for table, weight in zip(columns, weights, strict=True)]
    drawn = None
    if least > 1:
        both = mean_draws(np.concatenate(columns, axis=1), DRAWS, rng)
        split = np.split(both, [len(x[0])], axis=1)
        drawn = [isotonic(draw, weight) for draw, weight in zip(split, weights, strict=True)]

    found = []
    for value in resolutions:
        (low_a, high_a), (low_b, high_b) = (crossing(x[k], means[k], value) for k in (0, 1))
        reached = (float(10**low_a) if low_a == high_a else None, float(10**low_b) if low_b == high_b else None)
        reasons = [
            f"{loss} does not reach {value:.2f} of Nyquist at any dose up to {10 ** x[k][-1]:.3g} photons per pattern"
            if means[k][-1] < value
            else f"{loss} resolves more than {value:.2f} of Nyquist already at {10 ** x[k][0]:.3g} photons per pattern"
            for k, loss in enumerate(losses)
            if reached[k] is None
        ]
        factor = None if reasons else float(10 ** (low_b - low_a))
        ends: tuple[float | None, float | None] = (None, None)
        if drawn is None:
            reasons.append("a single seed at some dose: no interval")
        else:
            (low_a, high_a), (low_b, high_b) = (crossing(x[k], drawn[k], value) for k in (0, 1))
            low, high = quantile_bounds(low_b - high_a, high_b - low_a)
            ends = (float(10**low) if np.isfinite(low) else None, float(10**high) if np.isfinite(high) else None)
        found.append(Factor(method, value, *losses, reached, factor, *ends, least, "; ".join(reasons)))
    return found
