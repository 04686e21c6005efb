"""The dose factor between two losses: how many times the photons of one the other needs for the same resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptycho.findings.intervals import DRAWS, crossing, dose_ends, isotonic, mean_draws
from ptycho.scans.exposure import OF_PHOTONS, Exposure


@dataclass(frozen=True)
class Yardstick:
    """What images are compared by. field: of ``arm_table.Cell``. levels: at which losses are compared, each a fraction
    of Nyquist, or where ``of_error`` a relative mean-square error."""

    name: str
    field: str
    levels: tuple[float, ...]
    of_error: bool = False

    def rising(self, values: ArrayLike) -> NDArray[np.float64]:
        """The values, as what rises with the dose: of an error, less its logarithm."""
        values = np.asarray(values, np.float64)
        return -np.log10(values, out=np.full(values.shape, np.nan), where=values > 0) if self.of_error else values

    def words(self, level: float) -> str:
        """'an FRC50 of 0.50 of Nyquist'."""
        return f"a {self.name} of {level:.0e}" if self.of_error else f"an {self.name} of {level:.2f} of Nyquist"


FRC50 = Yardstick("FRC50", "resolution", (0.25, 0.5, 0.75))
OTHERS = (
    Yardstick("FRC 1/7", "seventh", FRC50.levels),
    Yardstick("relative error", "error", (1e-2, 1e-3, 5e-4), of_error=True),
)
"""Of the main comparison, and of those held beside it."""


FARTHEST = 2.0
"""Decades between neighbouring doses, at most, over which a straight line tells where a curve reaches a level."""


@dataclass(frozen=True)
class Factor:
    """How many times the photons of `reference` the loss `other` needs for the same `level` of a yardstick.

    doses: photons per pattern at which (reference, other) reach it; None where they are not known.
    value: their ratio, or None for the `reason`. low, high: ends of the interval; None where the doses at hand set no
    end, or, with `reason`, where there is no interval. n: seeds at the dose that has fewest.
    """

    method: tuple[str, str]
    yardstick: Yardstick
    level: float
    reference: str
    other: str
    doses: tuple[float | None, float | None]
    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str


def factors(
    method: tuple[str, str],
    losses: tuple[str, str],
    doses: NDArray[np.float64],
    tables: tuple[NDArray[np.float64], NDArray[np.float64]],
    yardstick: Yardstick,
    rng: np.random.Generator,
    exposure: Exposure = OF_PHOTONS,
    finest: float = 1.0,
) -> list[Factor]:
    """The factors of one pair: isotonic mean curves over log10 dose, crossed at each level, the draws like them.

    tables: of either loss (seeds, doses), as the yardstick makes them rise.
    Both losses come from the same draws of seeds. A draw whose curve does not cross confines the factor on one side. A
    straight line from a dose where a seed leaps says nothing of when it begins to resolve (:func:`leaping`): a curve
    that crosses between such a dose and the next does so anywhere between the two; the factor has an interval alone.
    The same holds between doses that lie farther apart than FARTHEST, and where a seed resolves ``finest`` at the
    second: no resolution beyond that is told, so that nobody knows how steeply its curve rises.
    """
    n = np.isfinite(tables).sum(axis=1)  # (2, doses), seeds
    if not n.any(axis=1).all():
        return []
    least = int(n[n > 0].min())
    x = [np.log10(doses[own > 0]) for own in n]
    columns = [table[:, own > 0] for table, own in zip(tables, n, strict=True)]
    if yardstick.of_error:
        leaps, cut = [apart(at) for at in x], [np.zeros(at.shape, bool) for at in x]
    else:
        leaps = [unlinked(at, table, finest) for at, table in zip(x, columns, strict=True)]
        cut = [reaching(table, finest) for table in columns]

    def rising(curves: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        return [isotonic(curve, own[own > 0]) for curve, own in zip(curves, n, strict=True)]

    means, drawn = rising([np.nanmean(table, axis=0) for table in columns]), None
    if least > 1:
        both = mean_draws(np.concatenate(columns, axis=1), DRAWS, rng)
        drawn = rising(np.split(both, [len(x[0])], axis=1))
    found = []
    for level in yardstick.levels:
        value = float(yardstick.rising(level))
        spans = [crossing(x[k], means[k], value, leaps[k]) for k in (0, 1)]
        reference, other = (float(10**low) if low == high else None for low, high in spans)
        reasons = [
            _unknown(losses[k], yardstick.words(level), low, high, exposure, cut=bool(cut[k][x[k] == low].any()))
            for k, (low, high) in enumerate(spans)
            if low != high
        ]
        if level > finest and not yardstick.of_error:
            reasons = [f"no resolution beyond {finest:.2f} of Nyquist is claimed"]
        factor = None if reference is None or other is None else other / reference
        ends: tuple[float | None, float | None] = (None, None)
        if drawn is None:
            reasons.append("a single seed at some dose: no interval")
        else:
            (low_a, high_a), (low_b, high_b) = (crossing(x[k], drawn[k], value, leaps[k]) for k in (0, 1))
            ends = dose_ends(low_b - high_a, high_b - low_a)
        found.append(
            Factor(method, yardstick, level, *losses, (reference, other), factor, *ends, least, "; ".join(reasons))
        )
    return found


def unlinked(x: NDArray[np.floating], table: NDArray[np.floating], finest: float) -> NDArray[np.bool_]:
    """The doses (doses,) from which no straight line tells where resolutions (seeds, doses) rise to those of the next:
    where x, log10 of the dose, is far from the next, and where a seed leaps, or resolves ``finest`` there."""
    return apart(x) | reaching(table, finest) | np.any(leaping(10**x, table), axis=0)


def apart(x: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where the next of x (doses,), log10 of the dose, is farther than FARTHEST."""
    return np.append(np.diff(x) > FARTHEST + 1e-9, False)


def reaching(table: NDArray[np.floating], finest: float) -> NDArray[np.bool_]:
    """Whether at the next dose some seed of (seeds, doses) resolves all that may be claimed, (doses,) bool."""
    return np.append(np.any(table[:, 1:] >= finest, axis=0), False)


def leaping(doses: NDArray[np.floating], table: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where a seed leaps out of a collapse, (seeds, doses) bool: it resolves nothing, or to the next dose its
    resolution rises faster than the dose itself does. What photons allow rises with a root of the dose.

    doses: (doses,), rising. table: (seeds, doses), resolutions, NaN where there is none.
    """
    leaps = table == 0
    leaps[:, :-1] |= table[:, 1:] * doses[:-1] > table[:, :-1] * doses[1:]
    return np.asarray(leaps, bool)


def _unknown(
    loss: str, wanted: str, low: NDArray[np.float64], high: NDArray[np.float64], exposure: Exposure, cut: bool
) -> str:
    """Why nobody knows where, between the bounds of log10 dose, a curve reaches what is wanted; ``cut``: at the second
    it is cut at the finest resolution that may be told."""
    if np.isinf(high):
        return f"{loss} does not reach {wanted} at any dose up to {exposure.words(float(10**low))}"
    if np.isinf(low):
        return f"{loss} does better than {wanted} already at {exposure.words(float(10**high))}"
    first, last = exposure.words(float(10**low)), f"{exposure.dose(float(10**high)):.3g}"
    if high - low > FARTHEST:
        return f"{loss} reaches {wanted} anywhere between {first} and {last}, for no dose between them was measured"
    if cut:
        return f"{loss} reaches {wanted} anywhere between {first} and {last}, where it resolves all that may be claimed"
    return f"{loss} reaches {wanted} anywhere between {first}, where a seed resolves nothing or leaps, and {last}"
