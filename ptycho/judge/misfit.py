"""What a fit leaves unexplained: counts n beside the roots a that it predicts.

A fit of amplitudes finds a = E sqrt(n). About it the roots scatter by counting with a variance v(a), which is 1/4
above a few photons (Bartlett, J. R. Stat. Soc. Suppl. 3 (1936) 68). What is left beyond that is the fit's. It is
compared with what there was to explain: how the patterns k differ from their mean a_0 beyond counting. The object makes
them differ; what they have in common, any fit explains by its probe::

    misfit = sum_k [(sqrt n_k - a_k)^2 - v(a_k)] / sum_k [(sqrt n_k - a_0)^2 - v(a_0)]

over the pixels where the mean pattern holds a photon or more. Below, v is nearly a itself: a fit that predicts a little
too much there would seem to leave less than counting.

Whether the counts are photons is told where they are few. There they scatter by the detector's units a photon, for the
variance of counting is of the order l, and what a wrong prediction adds is of the order l^2. Two predictions are at
hand: the fit's, and that of the pixels beside. Each can only add to the scatter, so that the less of the two counts.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

_RATES = np.concatenate([[0.0], np.geomspace(1e-6, 60, 600)])
_COUNTS = np.arange(400)
_CHANCES = np.exp(special.xlogy(_COUNTS, _RATES[:, None]) - _RATES[:, None] - special.gammaln(_COUNTS + 1))
_ROOTS = _CHANCES @ np.sqrt(_COUNTS)
"""E sqrt(n) of Poisson counts n of the rates."""


def root_scatter(root: NDArray[np.floating]) -> NDArray[np.float64]:
    """v: the variance of sqrt(n) of Poisson counts n whose mean root, E sqrt(n), is ``root`` >= 0; in its shape."""
    return np.interp(root, _ROOTS, _RATES - _ROOTS**2, right=0.25)


def rate_of(root: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rate of Poisson counts n whose mean root, E sqrt(n), is ``root`` >= 0; in its shape."""
    return np.where(root < _ROOTS[-1], np.interp(root, _ROOTS, _RATES), np.square(root) + 0.25)


def misfit(counts: NDArray[np.floating], root: NDArray[np.floating]) -> float:
    """The share of what differs between patterns that a fit does not explain, as the top of this file has it.

    counts: (M, ...), of each pattern. root: the mean roots that the fit predicts, in their shape. If no pixel holds a
    photon on average, all count. NaN if no pattern differs from another beyond counting.
    """
    lit = counts.mean(axis=0) >= 1
    if lit.any():
        counts, root = counts[:, lit], root[:, lit]
    left = float(np.mean((np.sqrt(counts) - root) ** 2 - root_scatter(root)))
    return left / differing if (differing := diversity(counts)) > 0 else float("nan")


def diversity(counts: NDArray[np.floating]) -> float:
    """How the patterns (M, ...) differ from their mean beyond counting: mean square of roots of photons a pixel."""
    measured = np.sqrt(counts)
    mean = measured.mean(axis=0)
    return float(np.mean((measured - mean) ** 2) - np.mean(root_scatter(mean)))


FEW = ((1, 3), (3, 10), (10, 30))
"""Rates between which counts scatter by counting, if they are photons."""
ENOUGH = 200
"""Least photons between two such rates."""


def dispersion_where_few(counts: NDArray[np.floating], rate: NDArray[np.floating]) -> float | None:
    """The least index of dispersion, sum (n - l)^2 / sum l, of the ranges of rates in FEW.

    A wrong model raises it, and by more in one range than in another; a detector's unit raises all. None without light.
    """
    return _least(rate, (counts - rate) ** 2, rate)


def _least(level: NDArray, squares: NDArray, variance: NDArray) -> float | None:
    """The least ratio of the sums of squares and of their variance, of photons, over the ranges FEW of a level."""
    found = []
    for low, high in FEW:
        here = (level >= low) & (level < high)
        if (light := variance[here].sum()) > ENOUGH:
            found.append(float(squares[here].sum() / light))
    return min(found, default=None)


def dispersion_beside(counts: NDArray[np.floating], mask: NDArray[np.bool_] | None) -> float | None:
    """The same by the pixels of one pattern beside each other, without a fit; None without light.

    n_1 - (n_0 + n_2)/2 of three pixels in a line is the bend of the pattern. Its variance of counting is
    l_1 + (l_0 + l_2)/4. The level is that of four pixels around them, which share no count with them.
    """
    valid = np.ones(counts.shape[1:], bool) if mask is None else mask
    level, squares, variance = [], [], []
    for n, seen in ((counts, valid), (counts.swapaxes(1, 2), valid.T)):
        places = [(1, k) for k in range(5)] + [(0, 2), (2, 2)]  # the three in their middle, and the four around
        rows, columns = seen.shape[0] - 2, seen.shape[1] - 4
        all_seen = np.all([seen[y : y + rows, x : x + columns] for y, x in places], axis=0)
        first, left, middle, right, *others = (n[:, y : y + rows, x : x + columns][:, all_seen] for y, x in places)
        level.append((first + sum(others)).ravel() / 4)
        squares.append(np.square(middle - (left + right) / 2).ravel())
        variance.append((middle + (left + right) / 4).ravel())
    return _least(*(np.concatenate(parts) for parts in (level, squares, variance)))


DIM = 0.3
"""Share of the pixels that the fit predicts the least light on."""


def background(counts: NDArray[np.floating], rate: NDArray[np.floating]) -> float:
    """Light beyond the prediction in the DIM pixels, over all pixels, as a share of all light."""
    dim = rate < np.quantile(rate, DIM)
    return float((counts[dim].sum() - rate[dim].sum()) / max(1, dim.sum()) * rate.size / counts.sum())
