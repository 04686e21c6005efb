"""Trajectories: where the probe goes. Positions (x, y) in object pixels, float64 (n,), patches inside the object."""

import numpy as np
from numpy.typing import NDArray

SCANS = ("random", "raster", "spiral")

Positions = tuple[NDArray[np.float64], NDArray[np.float64]]


def make_scan(kind: str, n: int, size: int, N: int, rng: np.random.Generator) -> Positions:
    """Return `n` positions of the trajectory `kind` (one of SCANS) on an object of `size` pixels, patches of N pixels.

    Raises ValueError for an unknown kind, n below 1, or an object too small for a patch.
    """
    if kind not in SCANS:
        raise ValueError(f"scan kind is {kind!r}; expected one of {', '.join(SCANS)}")
    return {"random": random_positions, "raster": raster, "spiral": spiral}[kind](n, size, N, rng)


def random_positions(n: int, size: int, N: int, rng: np.random.Generator) -> Positions:
    """Return `n` positions drawn uniformly from the square where patches fit: [N/2, size - N/2 - 1] on both axes."""
    low, high = _limits(n, size, N)
    x, y = rng.uniform(low, high, (2, n))
    return x, y


def raster(n: int, size: int, N: int, rng: np.random.Generator, jitter: float = 0.25) -> Positions:
    """Return `n` positions row by row on a near-square grid, each moved by up to `jitter` of the step on either axis.

    Jitter breaks the periodicity that a perfect grid imprints on the reconstruction (raster pathology: Thibault et al.,
    Ultramicroscopy 109, 338, 2009). Rows differ by at most one position; none leaves the square.
    Raises ValueError for a jitter outside [0, 0.5], besides what make_scan refuses.
    """
    if not 0 <= jitter <= 0.5:
        raise ValueError(f"raster jitter is {jitter} steps; expected a number in [0, 0.5]")
    low, high = _limits(n, size, N)
    rows = max(1, round(np.sqrt(n)))
    lengths = np.diff(np.arange(rows + 1) * n // rows)
    row = np.repeat(np.arange(rows), lengths)
    column = np.concatenate([np.arange(length) for length in lengths])
    shift = rng.uniform(-jitter, jitter, (2, n))
    # cells tile the square; the centre of a cell moved by at most half a cell stays in that cell
    x = low + (high - low) * (column + 0.5 + shift[0]) / lengths[row]
    y = low + (high - low) * (row + 0.5 + shift[1]) / rows
    return x, y


def spiral(n: int, size: int, N: int, rng: np.random.Generator) -> Positions:
    """Return `n` positions on a Fermat spiral (Huang et al., Opt. Express 22, 12634, 2014), cut to the square.

    Position k lies at radius c sqrt(k) and at k times the golden angle, from a random first angle: even density and no
    periodicity. The scale c is the largest, to 1 %, for which the square holds n of them.
    """
    low, high = _limits(n, size, N)
    half = (high - low) / 2
    k = np.arange(4 * n + 16) + 0.5
    angle = k * np.pi * (3 - np.sqrt(5)) + rng.uniform(0, 2 * np.pi)
    unit = np.stack([np.cos(angle), np.sin(angle)]) * np.sqrt(k)
    c = 2 * half / np.sqrt(n)  # generous: about n / pi positions fit
    while (fits := np.abs(c * unit).max(0) <= half).sum() < n:
        c *= 0.99
    x, y = np.clip(half + low + c * unit[:, fits][:, :n], low, high)  # rounding alone could overstep
    return x, y


def to_frame(x: NDArray[np.floating], y: NDArray[np.floating], N: int, margin: float = 2.0) -> Positions:
    """Shift measured positions so that the first patch of N pixels starts `margin` pixels inside an object frame."""
    return x - x.min() + margin + N // 2, y - y.min() + margin + N // 2


def _limits(n: int, size: int, N: int) -> tuple[float, float]:
    """Return the smallest and largest coordinate at which a patch fits, or refuse."""
    if n < 1:
        raise ValueError(f"number of positions is {n}; expected 1 or more")
    if size < N + 1:
        raise ValueError(f"object size is {size} pixels; expected at least N + 1 = {N + 1} for a patch to fit")
    return N / 2, size - N / 2 - 1
