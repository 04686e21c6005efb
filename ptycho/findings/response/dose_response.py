"""Dose-response over seeds: curves, differences at equal dose, dose factors at equal resolution. NumPy and SciPy only.

From the entries of ``metrics.json`` (``arms.arm_entry``) of many doses, losses and seeds. The unit of replication
is the seed, which sets all that is random: noise and initialisation, and of a simulation the object and the scan. Doses
and losses share their seeds and are therefore compared pair by pair. A collapsed arm resolves 0; a failed or missing
one is left out, counted and named (:mod:`ptycho.findings.response.arm_table`).

Intervals are of 95 %, each by itself; :mod:`ptycho.findings.intervals` says how, and how often they hold the truth.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config import DIRECT, PARTS
from ptycho.findings.intervals import LEVEL, Interval, geometric_interval, mean_interval, range_interval
from ptycho.findings.response.arm_table import STATUSES, Cell, Method, arms_by_key, first_cell
from ptycho.findings.response.dose_factor import FRC50, OTHERS, Factor, factors, leaping
from ptycho.findings.response.spectra import MeanFRC
from ptycho.scans.exposure import OF_PHOTONS, Exposure
from ptycho.scans.reconstruction import SPLITS
from ptycho.study.arms import exposure_of

REFERENCE = "nll"  # the loss that the others are compared with, where it is among them: the likelihood of the counts

CURVES: dict[str, tuple[str, Callable[[NDArray[np.float64]], Interval]]] = {
    "curves": ("resolution", partial(mean_interval, possible=(0, 1))),
    "errors": ("error", geometric_interval),
    "efficiencies": ("efficiency", geometric_interval),
    "attained": ("attained", geometric_interval),
    "first_crossings": ("first", partial(mean_interval, possible=(0, 1))),
    "levels": ("level", mean_interval),
    "absolute_errors": ("absolute", geometric_interval),
}
"""Of a study: which number of a cell each curve shows, and the interval of its mean."""


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

    method: Method
    loss: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Difference:
    """FRC50 of `first` less that of `second` at one dose, over the seeds that have both."""

    method: Method
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
        return (self.first if (self.interval.mean or 0) > 0 else self.second) if self.differ else None

    def claim(self, alike: str, unknown: str) -> str:
        """Which loss resolves finer; `alike` where that is not shown, `unknown` without an interval."""
        if self.finer is None:
            return unknown if self.differ is None else alike
        # near a collapse the interval is the range of all seeds, which of few seeds holds less than LEVEL
        near = f" in each of {self.interval.n} seeds, near a collapse (at a level of {self.interval.level:.0%})"
        return f"{self.finer} resolves finer" + (near if self.interval.level < LEVEL else "")


@dataclass(frozen=True)
class Limit:
    """The least relative mean-square error at one dose, mean over the arms, on the scan of a method: by counting
    photons (M/n), and by Cramér and Rao for this probe, scan and object. resolution: FRC50 of an unbiased image with
    that least error. None where no arm tells it."""

    method: Method
    nphotons: float
    counting: float | None
    information: float | None
    resolution: float | None


@dataclass(frozen=True)
class DoseResponse:
    """A whole study. quantity: which FRC50.

    factors: by FRC50; others: by the other yardsticks. errors: curves of the relative mean-square error, geometric
    means. limits: the least that it could be. efficiencies and attained: curves of the share of the photons'
    information that an image keeps, by counting and by Cramér and Rao, geometric means; 1 is all that photons allow,
    more is prior knowledge. first_crossings: curves of the resolution by the first ring below one half, means. levels:
    of the amplitude of images in units of the truth's, means. absolute_errors: of the error where of the scale the
    phase alone is fitted, geometric means. faults: every arm that contributes nothing, by name, and why.

    exposure: what doses are to the sample. Doses here are particles per pattern; figures and words tell them in its
    unit. finest: what resolutions are cut at, a fraction of Nyquist; below 1 of a measured scan.
    """

    quantity: str
    seeds: tuple[int, ...]
    curves: tuple[Curve, ...]
    differences: tuple[Difference, ...]
    factors: tuple[Factor, ...]
    others: tuple[Factor, ...]
    errors: tuple[Curve, ...]
    limits: tuple[Limit, ...]
    efficiencies: tuple[Curve, ...]
    attained: tuple[Curve, ...]
    first_crossings: tuple[Curve, ...]
    levels: tuple[Curve, ...]
    absolute_errors: tuple[Curve, ...]
    faults: tuple[str, ...]
    exposure: Exposure = OF_PHOTONS
    finest: float = 1.0

    def limits_of(self, method: Method) -> list[Limit]:
        """The limits on the scan of a method, one at each dose of its curves."""
        return [limit for limit in self.limits if limit.method == method]


def dose_response_of(
    entries: Sequence[Any],
    quantity: str = "amplitude_frc50",
    resolutions: Sequence[float] = FRC50.levels,
    seed: int = 0,
    finest: float = 1.0,
) -> DoseResponse:
    """The study that arms make together.

    entries: by the schema of ``metrics.json``; one that breaks it, or is failed, becomes a fault, not an error.
    quantity: 'amplitude_frc50' or 'phase_frc50'. resolutions: fractions of Nyquist, in (0, 1), at which losses are
    compared by dose. seed: of the draws for the intervals of factors. finest: what the resolutions are cut at, as
    gathered. Raises ValueError where a parameter is not accepted, two entries are of one arm, or no arm has the
    quantity.
    """
    if quantity not in ("amplitude_frc50", "phase_frc50"):
        raise ValueError(f"quantity is {quantity!r}; expected 'amplitude_frc50' or 'phase_frc50'")
    for value in resolutions:
        if not 0 < value < 1:
            raise ValueError(f"resolution is {value}; expected a fraction of Nyquist in (0, 1)")
    arms, faults = arms_by_key(entries)
    told = exposure_of(entries)
    architectures = list(dict.fromkeys(key[0] for key in arms))
    doses, seeds = sorted({key[1] for key in arms}), sorted({key[3] for key in arms})
    losses = sorted(dict.fromkeys(key[2] for key in arms), key=lambda loss: loss != REFERENCE)
    faults += [
        f"{key[0] or DIRECT}, {key[2]}, {told.words(key[1])}, seed {key[3]}: missing"
        for key in product(architectures, doses, losses, seeds)
        if key not in arms
    ]
    methods: list[tuple[Method, list[str | None]]]
    methods = [((name, split), [name]) for name in architectures if name for split in SPLITS]
    fitted = {split: part for part, split in PARTS.items() if part not in SPLITS}
    for split, part in fitted.items():
        if any(arm.get(part) for arm in arms.values()):  # one fit, whichever network was trained beside it
            methods.append(((DIRECT, split), architectures))

    parts: dict[str, list[Any]] = {name: [] for name in (*CURVES, "differences", "factors", "others", "limits")}
    rng = np.random.default_rng(seed)
    for method, owners in methods:
        part = fitted[method[1]] if method[0] == DIRECT else method[1]
        cell = partial(first_cell, arms, owners, part, quantity)
        cells = {loss: [[cell(dose, loss, one) for one in seeds] for dose in doses] for loss in losses}
        tables = {loss: np.array([[one.resolution for one in row] for row in rows]).T for loss, rows in cells.items()}
        # (doses,): near a collapse, some seeds resolve much less than others
        near = {loss: _near_collapse(np.array(doses), table) for loss, table in tables.items()}
        for name, (loss, rows) in product(CURVES, cells.items()):
            points = (_point(name, *of) for of in zip(doses, rows, near[loss], strict=True))
            parts[name].append(Curve(method, loss, tuple(points)))
        for dose, *rows in zip(doses, *cells.values(), strict=True):
            at = [one for row in rows for one in row]
            least = (_mean(getattr(one, name) for one in at) for name in ("counting", "information", "limit"))
            parts["limits"].append(Limit(method, dose, *least))
        for pair in combinations(losses, 2):
            first, second = (tables[loss] for loss in pair)  # (seeds, doses), NaN where there is no value
            for dose, apart, *ranges in zip(doses, (first - second).T, *(near[loss] for loss in pair), strict=True):
                interval = range_interval(apart) if any(ranges) else mean_interval(apart)
                parts["differences"].append(Difference(method, dose, *pair, interval))
            measure = replace(FRC50, levels=tuple(resolutions))
            parts["factors"] += factors(method, pair, np.array(doses), (first, second), measure, rng, told, finest)
            for other in OTHERS:
                one, two = (
                    other.rising([[getattr(cell, other.field) for cell in row] for row in cells[loss]]).T
                    for loss in pair
                )
                parts["others"] += factors(method, pair, np.array(doses), (one, two), other, rng, told, finest)
    if not any(point.interval.n for curve in parts["curves"] for point in curve.points):
        raise ValueError(f"no arm has {quantity}; found {len(entries)} entries, faults: {'; '.join(faults) or 'none'}")
    whole = {name: tuple(found) for name, found in parts.items()}
    return DoseResponse(quantity, tuple(seeds), faults=tuple(faults), exposure=told, finest=finest, **whole)


def _mean(values: Iterable[float]) -> float | None:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else None


FALLEN = 0.9
"""A seed that resolves less than this share of what it did from fewer photons was lost in training."""


def _near_collapse(doses: NDArray[np.float64], table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The doses (doses,) bool at which a seed of (seeds, doses) leaps out of a collapse that not all of them share, or
    falls back."""
    known = np.nan_to_num(table)
    fallen = table < FALLEN * np.maximum.accumulate(known, axis=1)
    return np.any(leaping(doses, table) | fallen, axis=0) & np.any(known > 0, axis=0)


def _point(curves: str, dose: float, cells: Sequence[Cell], ranges: bool) -> Point:
    field, interval = CURVES[curves]
    interval = range_interval if ranges else interval
    values = np.array([getattr(cell, field) for cell in cells], np.float64)
    told = tuple(None if math.isnan(value) else float(value) for value in values)
    return Point(dose, interval(values), told, *(sum(cell.status == status for cell in cells) for status in STATUSES))


def method_label(method: Method) -> str:
    """'unrolled, held-out scan'."""
    return f"{method[0]}, {SPLITS[method[1]]}"


def methods_of(curves: Iterable[Curve | MeanFRC]) -> list[Method]:
    return list(dict.fromkeys(curve.method for curve in curves))
