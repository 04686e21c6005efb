"""Which dose counts: photons per pattern, or per object pixel? Dose-responses of detectors of several sizes, overlaid.

A larger detector spreads the photons of a pattern over a larger probe: at equal photons per pattern every pixel of the
object gets fewer. If it is the fluence that resolves, curves that lie apart against photons per pattern fall onto one
another against photons per object pixel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.findings.intervals import Interval, crossing, isotonic, mean_interval
from ptycho.findings.response.dose_factor import unlinked
from ptycho.findings.response.dose_response import Curve, DoseResponse, Limit, method_label

AXES = ("photons per pattern", "photons per object pixel")
RESOLUTIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True)
class Shift:
    """How far, in decades along an axis, the curve of `second` lies to the right of that of `first` at equal FRC50:
    mean over the resolutions that both reach, and its interval over pairs of seeds."""

    method: tuple[str, str]
    loss: str
    axis: str
    first: str
    second: str
    decades: Interval


def doses_along(limits: Sequence[Limit], axis: str) -> NDArray[np.float64]:
    """The doses (D,) along an axis. The fluence is that of the pixels on which FRC50 was evaluated."""
    if axis == AXES[0]:
        return np.array([limit.nphotons for limit in limits])
    # M/n, the limit by counting, is one over the photons per object pixel
    return np.array([1 / (limit.counting or np.nan) for limit in limits])


def _crossings(study: DoseResponse, curve: Curve, axis: str) -> NDArray[np.float64]:
    """log10 of the dose at which each seed's curve, made to rise, reaches each of RESOLUTIONS, (seeds, R); NaN where
    that is beyond its ends, or where no straight line between two doses tells it, as for a factor."""
    values = np.array([point.values for point in curve.points], np.float64).T  # (seeds, doses)
    x = np.log10(doses_along(study.limits_of(curve.method), axis))
    found = np.full((len(values), len(RESOLUTIONS)), np.nan)
    for seed, one in enumerate(values):
        seen = np.isfinite(one) & np.isfinite(x)
        if seen.sum() >= 2:
            rising = isotonic(one[seen], np.ones(int(seen.sum())))
            leaps = unlinked(x[seen], one[np.newaxis, seen], study.finest)
            low, high = np.array([crossing(x[seen], rising, resolution, leaps) for resolution in RESOLUTIONS]).T
            found[seed] = np.where(low == high, low, np.nan)
    return found


def shifts(studies: Mapping[str, DoseResponse]) -> list[Shift]:
    """Of every study after the first, for each method and loss that it shares with the first, along both axes."""
    (first, reference), *others = studies.items()
    partners = {(curve.method, curve.loss): curve for curve in reference.curves}
    found = []
    shared = ((name, study, c) for name, study in others for c in study.curves if (c.method, c.loss) in partners)
    for (name, study, curve), axis in product(shared, AXES):
        theirs = _crossings(reference, partners[curve.method, curve.loss], axis)
        ours = _crossings(study, curve, axis)
        seeds = min(len(theirs), len(ours))
        apart = ours[:seeds] - theirs[:seeds]
        reached = apart[np.isfinite(apart).any(axis=1)]
        decades = mean_interval(np.nanmean(reached, axis=1))
        found.append(Shift(curve.method, curve.loss, axis, first, name, decades))
    return found


def fluence_in_words(found: Sequence[Shift]) -> list[str]:
    """In words, for each pair of curves: how far apart along both axes, and along which they are closer."""
    told = []
    for first, second in zip(found[::2], found[1::2], strict=True):
        where = f"{method_label(first.method)}, {first.loss}"
        if first.decades.mean is None or second.decades.mean is None:
            told.append(f"{where}: {first.first} and {first.second} reach no resolution in common.")
            continue
        words = " and ".join(f"{one.decades:.2f} decades against {one.axis}" for one in (first, second))
        closer = first if abs(first.decades.mean) <= abs(second.decades.mean) else second
        low, high = closer.decades.low, closer.decades.high
        found_zero = low is not None and high is not None and low <= 0 <= high
        apart = "contains zero, they are not shown to lie apart" if found_zero else "leaves out zero, they lie apart"
        claim = f"closer against {closer.axis}, where the interval {apart}"
        told.append(f"{where}: {first.second} lies {words} to the right of {first.first}: {claim}.")
    return told


def fluence_rows(studies: Mapping[str, DoseResponse]) -> list[dict[str, Any]]:
    """The numbers of the figure, a row a point."""
    return [
        {"sweep": name, "method": curve.method[0], "split": curve.method[1], "loss": curve.loss}
        | {"photons_per_pattern": dose, "photons_per_object_pixel": fluence}
        | {**point.interval.row("frc50"), "seeds": point.interval.n, "frc50_limit": limit.resolution}
        for name, study in studies.items()
        for curve in study.curves
        for limits in [study.limits_of(curve.method)]
        for point, limit, dose, fluence in zip(
            curve.points, limits, *(doses_along(limits, axis) for axis in AXES), strict=True
        )
    ]
