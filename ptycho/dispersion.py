"""Is a dose ladder Poisson? The index of dispersion, variance over mean, of thinned counts. NumPy only.

Thinned counts are n ~ Binomial(N, f) of the measured N, each pixel by itself; Poisson counts N of rate l so become
Poisson of rate f l (Kingman, Poisson Processes, 1993, sec. 5.1). Two things can be tested: that the thinning was
binomial, which needs nothing but N; and how far the counts are from Poisson about a predicted rate l, by their index
D = sum (N - l)^2 / sum l. What the detector or the prediction adds to 1 shrinks with the dose: thinned, the index is
f D + (1 - f) sum N / sum l on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ptycho import exposure
from ptycho.rawdata import RawData

FAR = 5.0
"""Standard errors from one: beyond, a thinning was not binomial (by chance one time in two million)."""


@dataclass(frozen=True)
class Dispersion:
    """How counts scatter.

    thinning, error  mean of (n - f N)^2 / (f (1 - f) N) over the pixels with N > 0, 1 for a binomial thinning, and
                     its standard error; of counts that were not thinned, None
    index            sum (n - l)^2 / sum l about the predicted rate l: 1 for Poisson counts of that rate
    expected         what thinning makes of the index of the whole scan
    """

    thinning: float | None
    error: float | None
    index: float
    expected: float

    @property
    def words(self) -> str:
        """``thinning`` with its standard error."""
        return "-" if self.thinning is None else f"{self.thinning:.5f} ± {self.error:.5f}"

    @property
    def binomial(self) -> bool:
        """Whether the thinning passes for binomial."""
        return self.thinning is None or self.error is None or abs(self.thinning - 1) <= FAR * self.error


def measure(thinned: RawData, whole: RawData) -> Dispersion:
    """The dispersion of the counts of a scan that was thinned from ``whole``, about what its ``objectGuess`` predicts.

    ``thinned`` may be ``whole`` itself. The standard error is exact: with v = f (1 - f) N, ::

        Var[(n - f N)^2 / v] = 2 + 1/v - 6/N

    from the fourth moment of the binomial distribution. Raises DataError where counts are not known.
    """
    assert whole.objectGuess is not None and whole.intensity_scale is not None
    assert thinned.intensity_scale is not None
    n, N = (data.counts().astype(np.float64) for data in (thinned, whole))
    f = (thinned.intensity_scale / whole.intensity_scale) ** 2
    rate = exposure.predicted_rate(whole, whole.objectGuess, np.zeros(2))
    valid = np.ones(whole.diff3d.shape[1:], bool) if whole.mask is None else whole.mask
    n, N, rate = n[:, valid], N[:, valid], rate[:, valid]

    def index(counts: np.ndarray, rate: np.ndarray) -> float:
        return float(np.sum((counts - rate) ** 2) / np.sum(rate))

    thinning = error = None
    if thinned is not whole:
        lit = N > 0
        v = f * (1 - f) * N[lit]
        thinning = float(np.mean((n[lit] - f * N[lit]) ** 2 / v))
        error = float(np.sqrt(np.sum(2 + 1 / v - 6 / N[lit]))) / len(v)
    expected = f * index(N, rate) + (1 - f) * float(N.sum() / rate.sum())
    return Dispersion(thinning, error, index(n, f * rate), expected)
