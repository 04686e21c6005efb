"""A scan's photons in two shares: one is fitted, the other judges what is made of the fit.

Each photon goes to the first share with a fixed probability, else to the second. The two shares of Poisson counts are
independent (Neufeld, Dharamshi, Gao and Witten, JMLR 25 (2024) 57). Noise that a method keeps from the first share
therefore does not help it to predict the second. On average, a better prediction of the second share is a smaller error
of the patterns, and no truth is needed to tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import ndimage

from ptycho import seeds
from ptycho.cores import spread
from ptycho.physics import probes
from ptycho.reconstruct import direct
from ptycho.reconstruct.positions import Placement, corners
from ptycho.scans.dose import photons_of, split
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

SHARE = 0.8
"""Of the photons that are fitted. More would make the judge noisy, fewer would make the fit unlike that to all."""
SPLITS = 4
PASSES, STEPS = 30, 1000
"""Of a fit: passes over all patterns, and steps at least. In 350 steps the fit of a scan of 574 patterns does not
settle: its error at 1e4 photons was a sixth higher than after 1150."""
WINDOW = 5
FAINTEST = 1e-2
"""Of the most photons on any pixel: where fewer fell, the noise is taken to be that of so many."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit to photons, and the standard deviation of its noise.

    found: the object on the pixels of the scan. sigma: (H, W) float32, root mean square of a complex error.
    """

    found: Reconstruction
    sigma: NDArray[np.float32]


def batch_size(M: int) -> int:
    """Patterns a step of a fit to M patterns: 50, or so few that PASSES passes take STEPS steps."""
    return max(1, min(50, PASSES * M // STEPS))


def fit(data: RawData, loss: str, seed: int) -> Fitted:
    """``direct.fit`` with steps enough for a small scan, and the noise that its photons leave.

    With n photons on a pixel, the mean square error of its complex value is 1/n at least (``metrics.photon_bound``). A
    pixel's photons are its share of all that were counted beside the known background, as the probe's light fell.
    Raises as ``direct.fit``, and DataError for unknown counts.
    """
    found = direct.fit(data, loss, passes=PASSES, batch_size=batch_size(len(data)), seed=seed).reconstruction
    light = found.coverage.astype(np.float64)
    photons = light * (photons_of(data) / light.sum())
    sigma = 1 / np.sqrt(np.maximum(photons, FAINTEST * photons.max()))
    return Fitted(found, sigma.astype(np.float32))


class Splits(NamedTuple):
    """Fits of a scan's photons, and the photons that none of them saw.

    fits: K of them, each to another SHARE of the photons. rest: K M patterns; those from k M to (k + 1) M hold the
    photons that fit k did not see. seconds: that the fits took.
    """

    fits: list[Fitted]
    rest: RawData
    seconds: float

    @property
    def patterns(self) -> int:
        """M, those of the scan."""
        return len(self.rest) // len(self.fits)


def make_splits(data: RawData, loss: str, seed: int, report: Callable[[str], None] = lambda words: None) -> Splits:
    """Share the photons of M patterns in SPLITS ways, and fit each, which ``report`` is told. Raises as :func:`fit`."""
    started = time.perf_counter()
    fits, rests = [], []
    for k in range(SPLITS):
        report(f"fit {k + 1} of {SPLITS} to shares of the photons")
        own = seeds.derive(seed, "split", str(k))
        seen, rest = split(data, SHARE, np.random.default_rng(own))
        fits.append(fit(seen, loss, own))
        rests.append(rest)
    x, y = (np.tile(axis, SPLITS) for axis in (data.xcoords, data.ycoords))
    measured = np.concatenate([rest.diff3d for rest in rests])
    kept = {name: getattr(rests[0], name) for name in ("nphotons", "intensity_scale", "background", "mask", "guard")}
    return Splits(fits, RawData(measured, x, y, data.probeGuess, **kept), time.perf_counter() - started)


def scatter(objects: Sequence[NDArray[np.complex64]], lit: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The standard deviation (H, W) that counting photons gives an object, from what a method makes of each split; NaN
    where no light fell, ``lit`` (H, W).

    Root mean square of the complex error of a pixel. A share p of the photons has 1/p times the variance of all of
    them. Of this the photons at hand explain all but (1 - p)/p of the variance: by that much objects (K, H, W) from
    several shares p differ (delete-d jackknife: Shao and Wu, Ann. Stat. 17 (1989) 1176). The mean over WINDOW x WINDOW
    lit pixels steadies it. What the method gets wrong in every split alike, such as an edge made smooth, is not in it.
    """
    variance = np.var(objects, axis=0) * len(objects) / (len(objects) - 1)
    around = ndimage.uniform_filter(np.where(lit, variance, 0), WINDOW)
    share = np.where(lit, ndimage.uniform_filter(lit.astype(np.float64), WINDOW), np.nan)
    return np.sqrt(around / share * SHARE / (1 - SHARE)).astype(np.float32)


class Judge:
    """How well an object, on the pixels of a fit, predicts patterns that the fit did not see."""

    def __init__(self, rest: RawData, loss: str):
        P = probes.cropped_modes(rest.probeGuess)
        self.P, self.measured = tf.constant(P), direct.Measured(rest, loss)
        self.placement = Placement(corners(rest, P.shape[-1]), P.shape[-1])
        self.loss = spread(self._loss)
        self.slope = spread(self._slope)

    def _loss(self, chosen: tf.Tensor, O: tf.Tensor) -> tf.Tensor:
        return self.measured.misfit(self.placement.patches(O, chosen), self.P, chosen)

    def _slope(self, chosen: tf.Tensor, O: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(O)
            loss = self._loss(chosen, O)
        return loss, tape.gradient(loss, O)

    def mean_loss(self, O: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
        """The loss, scalar, of the object O (H, W) complex64 on the chosen patterns (B,) int32."""
        losses = self.loss(chosen, whole=(O,))
        return tf.add_n(losses) / len(losses)

    def gradient(self, O: tf.Tensor, chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The same loss and its gradient (H, W) complex64 in the object."""
        losses, slopes = zip(*self.slope(chosen, whole=(O,)), strict=True)
        return tf.add_n(losses) / len(losses), tf.add_n(slopes) / len(slopes)
