"""How a scan's positions lie: which way its axes run, and how long its steps are in object pixels.

Brief fits find which way to read a scan explains its patterns best: overlapping ones then agree on one object.

Orientation: one of the eight ways to swap and flip the axes of the positions. A turn of everything together cannot be
found: with all axes reversed, the conjugate reversed probe and the conjugate object explain the same patterns. Under a
probe that is its own twin, as any real and symmetric one, an orientation and its half turn fit alike. On the measured
Siemens star the mean squared error of the runner-up is 16 % above that of the right one.

A probe that was estimated from the mean pattern is found from several curvatures in every fit: from a wrong one all
orientations fit equally badly.

Magnification: energy, distance and detector pixel are known to some percent. The loss of the fits has one valley, some
tens of percent wide. Steps walk down into it, and a parabola finds its bottom. The positions of the measured Siemens
star are too far apart by 15 %: at 0.87 times their distances the squared error is 0.6 times as large. Under wrong
positions every fit is bad, and more of the object or less of it fits the noise a little better, without a valley: such
a magnification is not believed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho import seeds
from ptycho.config import ORIENTATIONS
from ptycho.reconstruct import direct
from ptycho.scans.rawdata import RawData

ALIKE = 0.02  # fits whose logarithmic losses differ by less are not told apart; the plainer orientation is taken
STEP = 0.05  # of the logarithm of the magnification
FARTHEST = 6  # most steps away from 1
CLEAR = 0.05  # by how much a magnification other than 1 lowers the logarithm of the squared error
OUT_OF_STEP = 0.03  # the same of positions that belong to another frame
Curvatures = tuple[float, ...]
"""Those of ``direct.fit``: of a probe that is an estimate."""
PATTERNS, PASSES, BATCH = 100, 8, 10  # of a brief fit: the patterns nearest to the middle of the scan


def turn(data: RawData, orientation: str) -> RawData:
    """The scan with its positions turned as ``orientation`` says, one of ``config.ORIENTATIONS``.

    The axes are swapped, and then reversed within the rectangle that the positions span. The scan has no
    ``objectGuess``, whose frame was that of the old positions. ``'as-is'`` gives the scan itself.
    """
    if orientation == "as-is":
        return data
    axes = [1, 0] if "swap" in orientation else [0, 1]
    reverse = np.array([[axis in orientation] for axis in "xy"])
    return _move(data, lambda xy, ends: np.where(reverse, ends[axes] - xy[axes], xy[axes]))


def half_turn(orientation: str) -> str:
    """The orientation with both axes reversed besides: it shows the same object, conjugate and turned round."""
    return ORIENTATIONS[ORIENTATIONS.index(orientation) ^ 3]  # their table has the flips in this order, twice


def runner_up(losses: Mapping[str, float], chosen: str) -> tuple[str, float]:
    """Of the :func:`trial_loss` of all orientations the least but that of the one ``chosen``, and whose it is.

    The half turn is no runner-up: it shows the twin image.
    """
    others = losses.keys() - {chosen, half_turn(chosen)}
    return min(((name, losses[name]) for name in others), key=lambda other: other[1])


def _move(data: RawData, to: Callable[[NDArray, NDArray], NDArray], **changes: Any) -> RawData:
    """The scan without ``objectGuess``, its positions and its nominal ones moved.

    ``to`` takes them, (x, y) as (2, M), and the sum of the least and the greatest position along each axis, (2, 1).
    """
    given = np.stack([data.xcoords, data.ycoords])
    ends = given.min(axis=1, keepdims=True) + given.max(axis=1, keepdims=True)
    for names in (("xcoords", "ycoords"), ("xcoords_start", "ycoords_start")):
        if getattr(data, names[0]) is not None:
            changes.update(zip(names, to(np.stack([getattr(data, name) for name in names]), ends), strict=True))
    return replace(data, objectGuess=None, **changes)


def find_orientation(data: RawData, seed: int, curvatures: Curvatures = ()) -> tuple[RawData, str, dict[str, float]]:
    """The scan with its positions turned the way that a short fit of object and probe explains best.

    Returns the scan of :func:`turn`, its orientation and the :func:`trial_loss` of all eight. The scan needs an
    ``intensity_scale``. Raises TrainingError if a fit diverged.
    """
    patterns = middle(data)
    losses = {orientation: trial_loss(turn(patterns, orientation), seed, curvatures) for orientation in ORIENTATIONS}
    chosen = next(name for name, loss in losses.items() if loss <= min(losses.values()) + ALIKE)
    return turn(data, chosen), chosen, losses


def magnify(data: RawData, magnification: float) -> RawData:
    """The scan with all distances between its positions times ``magnification``, its middle where it was.

    It has no ``objectGuess``, whose frame was that of the old positions. A known ``pixel_size`` is divided by
    ``magnification``: the stage's lengths are true.
    """
    if magnification == 1:
        return data
    size = None if data.pixel_size is None else data.pixel_size / magnification
    return _move(data, lambda xy, ends: ends / 2 + magnification * (xy - ends / 2), pixel_size=size)


def find_magnification(data: RawData, seed: int, curvatures: Curvatures = ()) -> tuple[float, dict[float, float]]:
    """What the distances between positions have to be multiplied by, and the loss of each magnification tried.

    Exactly 1 where none explains the patterns clearly better, or where the losses form no valley: both neighbours of 1
    are lower, or they fall as far as the walk may go. Raises TrainingError if a fit diverged.
    """
    patterns = middle(data)
    losses: dict[int, float] = {}

    def loss(k: int) -> float:
        if k not in losses:
            losses[k] = trial_loss(magnify(patterns, float(np.exp(k * STEP))), seed, curvatures)
        return losses[k]

    best = way = min((-1, 0, 1), key=loss)
    while way and abs(best) < FARTHEST and loss(best + way) < loss(best):
        best += way
    tried = {float(np.exp(k * STEP)): found for k, found in sorted(losses.items())}
    if abs(best) == FARTHEST or loss(best) > loss(0) - CLEAR or loss(-way) < loss(0):
        return 1.0, tried
    below, bottom, above = (loss(best + d) for d in (-1, 0, 1))
    offset = (below - above) / (2 * (below - 2 * bottom + above))
    return float(np.exp((best + offset) * STEP)), tried


def find_delay(data: RawData, seed: int, curvatures: Curvatures = ()) -> tuple[int, dict[int, float]]:
    """How many frames later, 1, 0 or -1, the positions are that explain the patterns, and the loss of each.

    Zero unless another explains them clearly better than both others. Raises TrainingError if a fit diverged.
    """
    x, y = data.xcoords, data.ycoords
    inner = 1 + _middle(x[1:-1], y[1:-1])
    patterns = replace(data.subset(inner), objectGuess=None)
    moved = {k: replace(patterns, xcoords=x[inner + k], ycoords=y[inner + k]) for k in (0, -1, 1)}
    losses = {k: trial_loss(late, seed, curvatures) for k, late in moved.items()}
    best, runner_up = sorted(losses, key=losses.__getitem__)[:2]
    return best if losses[runner_up] - losses[best] > OUT_OF_STEP else 0, losses


def middle(data: RawData) -> RawData:
    """The patterns that brief fits see."""
    return data.subset(_middle(data.xcoords, data.ycoords))


def _middle(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.intp]:
    distance = np.hypot(x - (x.min() + x.max()) / 2, y - (y.min() + y.max()) / 2)
    return np.sort(np.argsort(distance, kind="stable")[:PATTERNS])


def trial_loss(data: RawData, seed: int, curvatures: Curvatures = ()) -> float:
    """Logarithm of the mean squared error of amplitude per pixel, after a brief fit of object and probe.

    Raises TrainingError if the fit diverged.
    """
    fit = direct.fit(
        data,
        "mse",
        passes=PASSES,
        batch_size=BATCH,
        refine_probe=True,
        curvatures=curvatures,
        seed=seeds.derive(seed, "trial"),
    )
    return float(fit.losses[-1])
