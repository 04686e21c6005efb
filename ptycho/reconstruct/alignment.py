"""How a scan's positions lie: which way its axes run, and how long its steps are in object pixels.

Brief fits tell, by which of several ways to read a scan explains its patterns best.

Orientation. Of the eight ways to swap and flip the axes of the positions, the right one lets overlapping patterns agree
on one object. It is found by fitting each, briefly. What cannot be found is a turn of everything together: with all
axes reversed, the conjugate probe, itself reversed, and the conjugate object explain the same patterns, so under a
probe that is its own twin, as any real and symmetric one, an orientation and its half turn fit alike. On the measured
Siemens star the mean squared error of the runner-up is 16 % above that of the right one.

Magnification. Energy, distance and detector pixel are known to some percent. At the wrong length of a step overlapping
patterns do not agree on one object. The loss of the fits has one valley, whose sides are some tens of percent wide, so
that it is walked down in steps and its bottom found by a parabola. The positions of the measured Siemens star are too
far apart by 15 %: at 0.87 times their distances the squared error is 0.6 times as large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho import seeds
from ptycho.reconstruct import direct
from ptycho.scans.rawdata import RawData

ALIKE = 0.02
"""Fits whose logarithmic losses differ by less are not told apart; the plainer orientation is taken."""


@dataclass(frozen=True)
class Orientation:
    """x and y swapped, or not; then x reversed, or not; and y."""

    swap: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def name(self) -> str:
        """As the Makefile's ORIENTATION says it, e.g. ``'swap-flip-y'``; ``'as-is'`` for none."""
        flips = "x" * self.flip_x + "y" * self.flip_y
        return "-".join(["swap"] * self.swap + [f"flip-{flips}"] * bool(flips)) or "as-is"

    def apply(self, data: RawData) -> RawData:
        """The scan with its positions so turned, within the rectangle that they span; without the object's frame."""
        if self == Orientation():
            return data
        x, y = self._turned(data.xcoords, data.ycoords, data)
        start: dict[str, Any] = {}
        if data.xcoords_start is not None and data.ycoords_start is not None:
            names = ("xcoords_start", "ycoords_start")
            start = dict(zip(names, self._turned(data.xcoords_start, data.ycoords_start, data), strict=True))
        return replace(data, xcoords=x, ycoords=y, objectGuess=None, **start)

    def _turned(
        self, x: NDArray[np.float64], y: NDArray[np.float64], data: RawData
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        spans = [(v.min(), v.max()) for v in (data.xcoords, data.ycoords)]
        if self.swap:
            x, y, spans = y, x, spans[::-1]
        x = sum(spans[0]) - x if self.flip_x else x
        y = sum(spans[1]) - y if self.flip_y else y
        return x, y


ORIENTATIONS = tuple(Orientation(s, fx, fy) for s in (False, True) for fx in (False, True) for fy in (False, True))
"""All eight, the identity first."""


def named(name: str) -> Orientation:
    """The orientation called ``name``, one of ``config.ORIENTATIONS``."""
    return next(orientation for orientation in ORIENTATIONS if orientation.name == name)


def find_orientation(data: RawData, seed: int) -> tuple[RawData, str, dict[str, float]]:
    """The scan with its positions turned the way that a short fit of object and probe explains best.

    Parameters
    ----------
    data : RawData
        With an ``intensity_scale``.
    seed : int

    Returns
    -------
    data : RawData
        Itself if it was right; otherwise without ``objectGuess``, whose frame is that of the old positions.
    name : str
        Of the orientation: see :attr:`Orientation.name`.
    losses : dict of str to float
        Of all eight: logarithm of the mean squared error of amplitude per pixel, after the last pass.

    Raises
    ------
    TrainingError
        A fit diverged.
    """
    patterns = middle(data)
    losses = {turn.name: trial_loss(turn.apply(patterns), seed) for turn in ORIENTATIONS}
    best = min(losses.values())
    chosen = next(orientation for orientation in ORIENTATIONS if losses[orientation.name] <= best + ALIKE)
    return chosen.apply(data), chosen.name, losses


STEP = 0.05
"""Of the logarithm of the magnification."""
FARTHEST = 6
"""Steps away from what the scan says."""


def magnify(data: RawData, magnification: float) -> RawData:
    """The scan with all distances between its positions times ``magnification``, its middle where it was.

    Without ``objectGuess``, whose frame was that of the old positions. A known ``pixel_size`` becomes that of a stage
    that told true.
    """
    if magnification == 1:
        return data
    moved: dict[str, Any] = {}
    for axis in "xy":
        given = getattr(data, f"{axis}coords")
        centre = (given.min() + given.max()) / 2
        for name in (f"{axis}coords", f"{axis}coords_start"):
            if (values := getattr(data, name)) is not None:
                moved[name] = centre + magnification * (values - centre)
    size = None if data.pixel_size is None else data.pixel_size / magnification
    return replace(data, objectGuess=None, pixel_size=size, **moved)


def find_magnification(data: RawData, seed: int) -> tuple[float, dict[float, float]]:
    """What the distances between positions have to be multiplied by, and the loss of each magnification tried.

    Exactly 1 where neither neighbour explains the patterns better. Raises TrainingError if a fit diverged.
    """
    patterns = middle(data)
    losses: dict[int, float] = {}

    def loss(k: int) -> float:
        if k not in losses:
            losses[k] = trial_loss(magnify(patterns, float(np.exp(k * STEP))), seed)
        return losses[k]

    best = min((-1, 0, 1), key=loss)
    way = best
    while way and abs(best) < FARTHEST and loss(best + way) < loss(best):
        best += way
    offset = 0.0
    if best and abs(best) < FARTHEST:
        below, bottom, above = (loss(best + d) for d in (-1, 0, 1))
        offset = (below - above) / (2 * (below - 2 * bottom + above))
    tried = {float(np.exp(k * STEP)): found for k, found in sorted(losses.items())}
    return float(np.exp((best + offset) * STEP)), tried


PATTERNS, PASSES, BATCH = 100, 8, 10
"""What a fit sees: the patterns nearest to the middle of the scan, and how often."""


def middle(data: RawData) -> RawData:
    """The patterns that brief fits see."""
    x, y = data.xcoords, data.ycoords
    distance = np.hypot(x - (x.min() + x.max()) / 2, y - (y.min() + y.max()) / 2)
    return data.subset(np.sort(np.argsort(distance, kind="stable")[:PATTERNS]))


def trial_loss(data: RawData, seed: int) -> float:
    """Logarithm of the mean squared error of amplitude per pixel, after a brief fit of object and probe.

    Raises TrainingError if the fit diverged.
    """
    order = seeds.derive(seed, "trial")
    fit = direct.fit(data, "mse", passes=PASSES, batch_size=BATCH, refine_probe=True, seed=order)
    return float(fit.losses[-1])
