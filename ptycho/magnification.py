"""How long the steps of a scan are in object pixels: energy, distance and detector pixel are known to some percent.

At the wrong length overlapping patterns do not agree on one object. As with the orientation, brief fits tell: their
loss has one valley, whose sides are some tens of percent wide, so that it is walked down in steps and its bottom found
by a parabola. The positions of the measured Siemens star are too far apart by 15 %: at 0.87 times their distances
the squared error is 0.6 times as large.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ptycho import trial
from ptycho.rawdata import RawData

STEP = 0.05
"""Of the logarithm of the magnification."""

FARTHEST = 6
"""Steps away from what the scan says."""


def apply(data: RawData, magnification: float) -> RawData:
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


def find(data: RawData, seed: int) -> tuple[float, dict[float, float]]:
    """What the distances between positions have to be multiplied by, and the loss of each magnification tried.

    Exactly 1 where neither neighbour explains the patterns better. Raises TrainingError if a fit diverged.
    """
    patterns = trial.middle(data)
    losses: dict[int, float] = {}

    def loss(k: int) -> float:
        if k not in losses:
            losses[k] = trial.loss(apply(patterns, float(np.exp(k * STEP))), seed)
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
