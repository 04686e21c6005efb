"""Brief fits that tell which of several ways to read a scan explains its patterns best."""

from __future__ import annotations

import numpy as np

from ptycho import direct, seeds
from ptycho.rawdata import RawData

PATTERNS, PASSES, BATCH = 100, 8, 10
"""What a fit sees: the patterns nearest to the middle of the scan, and how often."""


def middle(data: RawData) -> RawData:
    """The patterns that brief fits see."""
    x, y = data.xcoords, data.ycoords
    distance = np.hypot(x - (x.min() + x.max()) / 2, y - (y.min() + y.max()) / 2)
    return data.subset(np.sort(np.argsort(distance, kind="stable")[:PATTERNS]))


def loss(data: RawData, seed: int) -> float:
    """Logarithm of the mean squared error of amplitude per pixel, after a brief fit of object and probe.

    Raises TrainingError if the fit diverged.
    """
    order = seeds.derive(seed, "trial")
    fit = direct.fit(data, "mse", passes=PASSES, batch_size=BATCH, refine_probe=True, seed=order)
    return float(fit.losses[-1])
