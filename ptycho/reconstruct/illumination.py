"""Light that is not as bright at every position: found by a fit, and taken out of the counts by thinning.

A fit predicts the rates l of the counts n with one brightness for all patterns. The factor of each pattern is
sum n / sum l. Thinning each pattern to the brightness of the weakest keeps its counts exactly Poisson (Kingman, Poisson
Processes, 1993, colouring theorem, sec. 5.1), and the forward model as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho.reconstruct.direct import DirectFit
from ptycho.scans.dose import predicted_rate, thin_each
from ptycho.scans.faults import MENDED, Fault
from ptycho.scans.rawdata import RawData

STEADY = 0.03
"""Scatter of the factors that leaves the counts as they are. That of the measured Siemens star is 0.019."""
ROUNDS = 3
"""Most fits that are followed by a thinning: what an object takes of the light, a first fit does not see as such."""
FAINT, WEAKEST = 0.1, 0.5
"""Patterns weaker than WEAKEST times this quantile of the factors are left out: all others would lose too much."""


@dataclass(frozen=True, eq=False)
class Uneven:
    """Light that is not steady.

    scatter: of the factors, relative and beyond counting. shares: (M,), of each pattern's photons, that leave all
    alike; zero for patterns too weak to keep.
    """

    scatter: float
    shares: NDArray[np.float64]

    @property
    def fault(self) -> Fault:
        """What a study says of it."""
        kept = self.shares > 0
        told = f"the light varied by {self.scatter:.0%} from pattern to pattern; all are thinned to the weakest"
        told += f", which leaves {self.shares[kept].mean():.0%} of the photons"
        left = f"; {np.sum(~kept)} of {len(kept)}, weaker still, are left out" if not kept.all() else ""
        return Fault("totals", told + left, MENDED)


def factors(data: RawData, fit: DirectFit) -> NDArray[np.float64]:
    """How many times brighter than a fit of ``data`` predicts each pattern is, (M,). The counts must be known."""
    as_found = replace(data, probeGuess=fit.probe)
    counts, rate = data.counts(), predicted_rate(as_found, fit.reconstruction.object, fit.reconstruction.origin_yx)
    if data.fitted is not None:
        counts, rate = counts * data.fitted, rate * data.fitted
    # known background is as bright in every pattern, and no part of the light
    beside = (data.background or 0.0) * (data.N**2 if data.fitted is None else np.count_nonzero(data.fitted))
    return (counts.sum(axis=(1, 2)) - beside) / (rate.sum(axis=(1, 2)) - beside)


def uneven(data: RawData, fit: DirectFit) -> Uneven | None:
    """What the factors of a fit of ``data`` say of the light; None where it is steady."""
    found = factors(data, fit)
    counting = np.mean(1 / np.maximum(data.counts().sum(axis=(1, 2)), 1))
    scatter = float(np.sqrt(max(0.0, found.var() / found.mean() ** 2 - counting)))
    if scatter <= STEADY:
        return None
    kept = found >= WEAKEST * np.quantile(found, FAINT)
    return Uneven(scatter, np.where(kept, found[kept].min() / found, 0))


def steadied(
    data: RawData, fit: Callable[[RawData], DirectFit], rng: np.random.Generator
) -> tuple[RawData, DirectFit, Uneven | None]:
    """The scan in steady light, its fit, and what was uneven; the scan itself, and None, where its light is steady.

    Each round fits, and thins the scan as it was given by what all rounds have found. Raises TrainingError if a fit
    diverged.
    """
    even, found, told = data, fit(data), None
    for _ in range(ROUNDS):
        if (left := uneven(even, found)) is None:
            break
        shares = np.ones(len(data)) if told is None else told.shares.copy()
        shares[shares > 0] *= left.shares
        told = Uneven(left.scatter if told is None else told.scatter, shares)
        even = thin_each(data, shares, rng)
        found = fit(even)
    return even, found, told
