"""How the counts of a thinned scan scatter.

Two things can be tested. That the thinning was binomial: this needs the measured counts N alone. How far the counts are
from Poisson about a predicted rate l: by their index of dispersion D = sum (N - l)^2 / sum l. What the detector or the
prediction adds to 1 shrinks with the dose: thinned to the fraction f, the index is f D + (1 - f) sum N / sum l on
average.
"""

from dataclasses import dataclass

import numpy as np

from ptycho.scans.dose import FAR, predicted_rate
from ptycho.scans.rawdata import RawData


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


def dispersion(thinned: RawData, whole: RawData) -> Dispersion:
    """The dispersion of the counts of a scan that was thinned from ``whole``, about what its ``objectGuess`` predicts.

    ``thinned`` may be ``whole`` itself. The standard error is exact, from the fourth moment of the binomial
    distribution: Var[(n - f N)^2 / v] = 2 + 1/v - 6/N, with v = f (1 - f) N. Both scans must have known counts.
    """
    assert whole.objectGuess is not None and whole.intensity_scale and thinned.intensity_scale
    n, N = (data.counts().astype(np.float64) for data in (thinned, whole))
    f = (thinned.intensity_scale / whole.intensity_scale) ** 2
    rate = predicted_rate(whole, whole.objectGuess, np.zeros(2))
    valid = np.ones(whole.diff3d.shape[1:], bool) if whole.mask is None else whole.mask
    n, N, rate = n[:, valid], N[:, valid], rate[:, valid]
    index, of_whole = (float(np.sum((m - l) ** 2) / np.sum(l)) for m, l in ((n, f * rate), (N, rate)))
    thinning = error = None
    if thinned is not whole:
        lit = N > 0
        v = f * (1 - f) * N[lit]
        thinning = float(np.mean((n[lit] - f * N[lit]) ** 2 / v))
        error = float(np.sqrt(np.sum(2 + 1 / v - 6 / N[lit]))) / len(v)
    expected = f * of_whole + (1 - f) * float(N.sum() / rate.sum())
    return Dispersion(thinning, error, index, expected)
