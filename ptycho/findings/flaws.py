"""What does a flaw of the detector or of the set-up cost, in photons? It makes a scan worth one of less dose.

A flawless scan of the same probe is measured at a ladder of doses. On it one reads, seed by seed, at which dose it does
as badly as the flawed scan, by a yardstick. The dose that the flawed scan had over that dose is the factor: 3 says that
two photons of three are lost.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.findings.intervals import Interval, crossing, geometric_interval, isotonic
from ptycho.findings.response.dose_factor import FRC50, OTHERS, Yardstick
from ptycho.findings.response.dose_response import Curve, DoseResponse, Point, method_label

ERROR = next(one for one in OTHERS if one.of_error)
YARDSTICKS = (ERROR, FRC50)
SATURATED = 0.95
"""FRC50 of the flawless scan from which it says little of photons: ten times of them change it by less than 0.05."""


@dataclass(frozen=True)
class Cost:
    """What a flaw costs at one dose, to one loss and method, by a yardstick.

    flawed, flawless: what the scans come to, means over seeds. factor: how many times fewer photons the flaw leaves,
    geometric mean over seeds. at_least: where the flawed scan of a seed does no better than the flawless one of the
    lowest dose, so that of that seed only the least factor is known: the geometric mean with that; else None.
    """

    flaw: str
    method: tuple[str, str]
    loss: str
    nphotons: float
    yardstick: Yardstick
    flawed: Interval
    flawless: Interval
    factor: Interval
    at_least: float | None

    @property
    def words(self) -> str:
        """'5.3 [4.1, 6.9]', 'at least 40'; '-' where nothing is known."""
        return f"{self.factor:.3g}" if self.at_least is None else f"at least {self.at_least:.2g}"


def costs_of(flaw: str, flawed: DoseResponse, flawless: DoseResponse) -> Iterator[Cost]:
    """The costs of a flaw, called so, on the training scan, at every dose that both have. By FRC50 only where that of
    the flawless scan is below SATURATED."""
    for yardstick in YARDSTICKS:
        ladders = {(curve.method, curve.loss): curve for curve in _curves(flawless, yardstick)}
        for curve in _curves(flawed, yardstick):
            if ladder := ladders.get((curve.method, curve.loss)):
                at = {one.nphotons: one for one in ladder.points}
                for point in (point for point in curve.points if point.nphotons in at and point.interval.n):
                    cost = _cost(flaw, curve, point, ladder, at[point.nphotons], yardstick)
                    if yardstick.of_error or (cost.flawless.mean or 1) < SATURATED:
                        yield cost


def _curves(study: DoseResponse, yardstick: Yardstick) -> Iterator[Curve]:
    of_all = study.errors if yardstick.of_error else study.curves
    return (curve for curve in of_all if not curve.method[1].startswith("heldout"))


def _cost(flaw: str, curve: Curve, point: Point, ladder: Curve, same: Point, yardstick: Yardstick) -> Cost:
    doses = np.log10([one.nphotons for one in ladder.points])
    values = yardstick.rising(np.array([one.values for one in ladder.points], np.float64))
    own = yardstick.rising(np.array(point.values, np.float64))
    seeds = min(len(own), values.shape[1])
    worth, lowest = np.array(
        [_worth(doses, values[:, k], own[k], np.log10(point.nphotons)) for k in range(seeds)], np.float64
    ).T
    factor, at_least = geometric_interval(point.nphotons / 10**worth), None
    if np.any(lowest == 1):
        factor, at_least = Interval(0, None, None, None), factor.mean
    told = curve.method, curve.loss, point.nphotons, yardstick, point.interval, same.interval
    return Cost(flaw, *told, factor, at_least)


def _worth(x: NDArray[np.float64], ladder: NDArray[np.float64], value: float, at: float) -> tuple[float, bool]:
    """log10 of the dose at which a seed's ladder (D,) over x (D,) has the value of a flawed scan at dose `at`; and
    whether that is the most that it is worth.

    A flawed scan that does no worse than the flawless one is worth at least its own dose. One that does no better than
    the lowest dose of the ladder is worth at most the highest dose that does as badly. NaN where a value is not known.
    """
    seen = np.isfinite(ladder)
    if not (np.isfinite(value) and seen.sum() >= 2):
        return float("nan"), False
    x, rising = x[seen], isotonic(ladder[seen], np.ones(int(seen.sum())))
    if value <= rising[0]:
        return float(x[rising == rising[0]][-1]), True
    at_or_above = value >= np.interp(at, x, rising)
    _, high = crossing(x, rising, value)
    return float(max(at, high if np.isfinite(high) else at) if at_or_above else high), False


def cost_rows(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """The numbers of the figure, a row a cost."""
    return [
        {"flaw": one.flaw, "method": one.method[0], "split": one.method[1], "loss": one.loss}
        | {"nphotons": one.nphotons, "yardstick": one.yardstick.name}
        | {"flawed": one.flawed.mean, "flawless": one.flawless.mean}
        | {**one.factor.row("factor"), "at_least": one.at_least, "seeds": one.flawed.n}
        for one in costs
    ]


def costs_in_words(costs: Sequence[Cost]) -> list[str]:
    """A sentence for each flaw, dose and method: by how much it divides the photons, by each yardstick and loss."""
    told: dict[tuple[Any, ...], dict[str, list[str]]] = {}
    for one in costs:
        key = (one.flaw, one.nphotons, one.method)
        told.setdefault(key, {}).setdefault(one.yardstick.name, []).append(f"{one.loss} {one.words}")
    return [
        f"{flaw}, {method_label(method)}, {nphotons:.3g} photons per pattern, divides them: "
        + "; ".join(f"by {name}: {', '.join(words)}" for name, words in found.items())
        + "."
        for (flaw, nphotons, method), found in told.items()
    ]


def flaws_of(costs: Sequence[Cost]) -> Mapping[str, int]:
    """{flaw: its place}, in order."""
    return {flaw: place for place, flaw in enumerate(dict.fromkeys(one.flaw for one in costs))}
