"""Whether the patterns are photon counts: values, gain, dark frame, saturation, background, and totals."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho.scans import mend
from ptycho.scans.faults.fault import DOUBTFUL, MENDED, Fault
from ptycho.scans.formats.scan import Scan
from ptycho.scans.statistics import EXACT, Statistics

BLANK = 1e-3
"""Of the median of all totals: a pattern with less is blank."""


def of_values(scan: Scan, found: Statistics) -> Iterator[Fault]:
    """Patterns that are no counts, no light, or not what they are called."""
    M = len(found.totals)
    if found.bad:
        yield Fault("patterns", f"{found.bad} values are NaN or infinite")
    if found.least < 0:
        hint = "; a mask should leave out pixels that a detector flags"
        if scan.dark is not None:
            hint = " with its dark frame taken off: was it taken off before?"
        kind = "amplitude" if scan.amplitude else "intensity"
        yield Fault("patterns", f"negative {kind}, as low as {found.least:.6g}{hint}")
    if found.totals.max() <= 0:
        yield Fault("patterns", "all are blank")
        return
    if (blank := found.totals <= BLANK * np.median(found.totals)).any():
        told = f"{blank.sum()} of {M} are blank, without light (the first is {np.argmax(blank)})"
        yield Fault("patterns", told, MENDED, partial(mend.only, kept=~blank))
    if M > 1 and found.repeated >= 0.5 * (M - 1):
        yield Fault("patterns", f"{found.repeated} of {M} repeat the one before: the detector was stuck")
    if scan.amplitude and found.whole and found.high.max() > 1:
        yield Fault("patterns", "called amplitude, but all values are whole numbers: counts given as amplitude")
    if not scan.amplitude and not found.whole and found.squares_whole:
        told = "called intensity, but their squares are whole numbers: amplitude given as intensity"
        yield Fault("patterns", told)
    yield from _of_dark(scan)


def _of_dark(scan: Scan) -> Iterator[Fault]:
    if scan.dark is None:
        return
    if (scan.dark == np.rint(scan.dark)).all():
        yield Fault(
            "patterns",
            f"a dark frame, {scan.dark.mean():.4g} a pixel, is in them and is taken off",
            MENDED,
            mend.without_dark,
        )
    else:
        told = f"they hold a dark frame of {scan.dark.mean():.6g} a pixel, which is not whole"
        yield Fault("patterns", f"{told}; round it, or take it off and leave the dark frame out of the file")


def counted(scan: Scan, found: Statistics) -> bool:
    """Whether the patterns say how many photons there were, if nothing else is wrong with them."""
    return found.whole or (scan.amplitude and scan.intensity_scale is not None)


def of_gain(scan: Scan, found: Statistics) -> Iterator[Fault]:
    """Values that are multiples of a number above one: a detector's units, several to a photon."""
    if found.multiples and not found.whole and not scan.amplitude:
        told = f"every value is a multiple of {found.unit:.6g}: detector units, not {scan.particle}"
        yield Fault("patterns", f"{told}; {_divide(found.unit)}")
        return
    exact = not scan.amplitude or found.high.max() < EXACT
    if (counted(scan, found) or found.squares_whole) and found.divisor > 1 and exact:
        told = f"every value is a multiple of {found.divisor}"
        if found.least > 0:
            told = f"the values differ by multiples of {found.divisor}"
        yield Fault("patterns", f"{told}: detector units, not {scan.particle}; {_divide(found.divisor)}")


def _divide(gain: float) -> str:
    return f"divide by {gain:.6g}, or state `gain: {gain:.6g}` in a map beside the file"


SATURATION = "saturation"
"""What a pile-up of values is about."""
SEVERAL = 5
"""Equal largest values that are no chance."""


def of_saturation(scan: Scan, found: Statistics, seen: NDArray[np.bool_]) -> Iterator[Fault]:
    """A pile-up at the largest value. Poisson counts spread by its square root, and few are equal. Where a dark frame
    or a gain is still in the patterns, it lies at the largest value that the file can hold."""
    if (scan.dark is not None or scan.gain is not None) and (full := int(found.full[seen].sum())) > 1:
        told = f"{full} values equal the largest that the file can hold, {found.ceiling:.6g}"
        yield Fault(SATURATION, f"{told}; the dose is a lower bound", DOUBTFUL)
        return
    most = found.high[seen].max()
    if most < 16:
        return
    equal = int(found.at_high[seen & (found.high == most)].sum())
    below = int(found.at_high[seen & (found.high < most) & (found.high >= most - np.sqrt(most))].sum())
    if (equal >= SEVERAL and equal > 2 * below) or (most == found.ceiling and equal > 1):
        told = f"{equal} values equal the largest, {most:.6g}, and {below} come near it"
        yield Fault(SATURATION, f"{told}; the dose is a lower bound", DOUBTFUL)


EVEN, LITTLE = 0.05, 0.02
"""Relative scatter of a background over the dimmest pixels, at most, and its share of the light, at least."""


def of_background(scan: Scan, found: Statistics, seen: NDArray[np.bool_]) -> Iterator[Fault]:
    """Light that lies evenly over the dimmest third of the pixels, beyond a background that the scan tells."""
    mean, M = found.mean[seen], len(found.totals)
    dimmest = mean[mean <= np.quantile(mean, 0.3)]
    counting, known = dimmest.mean() * found.unit / M, (scan.background or 0.0) * found.unit
    level = dimmest.mean() - known
    if level < -5 * np.sqrt(known * found.unit / M):
        here = f"the dimmest pixels hold {dimmest.mean() / found.unit:.3g}; expected no more than that"
        yield Fault("background", f"{scan.background:g} {scan.particle} a pixel, and {here}")
        return
    if level * M < 25 * found.unit or level * mean.size < LITTLE * mean.sum():
        return
    if dimmest.var() - counting > (EVEN * level) ** 2:
        return
    if found.least > 0.5 * level:
        told = f"no value is below {found.least:.6g}: an offset of the detector; take it off"
        yield Fault("patterns", told)
    else:
        share = level * mean.size / mean.sum()
        told = f"{level / found.unit:.3g} {scan.particle} a pixel lie evenly where the least light is"
        told += f", {share:.0%} of all"
        yield Fault("patterns", f"{told}: background; tell it in a map, or record less", DOUBTFUL)


NEIGHBOURS = 4
UNEVEN, UNLIKE = 0.12, 0.7
"""Relative scatter of totals about their neighbours', and its share of the overall scatter: above both, light jumps."""


def of_totals(found: Statistics, places: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Iterator[Fault]:
    """Totals that jump between neighbours. Those that an object makes differ little where patterns overlap."""
    relative = found.totals / found.totals.mean()
    if len(relative) <= 4 * NEIGHBOURS:
        return
    points = np.stack(places, axis=1)
    beside = cKDTree(points).query(points, k=NEIGHBOURS + 1)[1][:, 1:]
    counting = found.unit / found.totals.mean()
    overall = relative.var() - counting
    nearest = 0.5 * np.mean((relative[beside[:, 0]] - relative) ** 2) - counting  # half a variogram, at one step
    about = relative / relative[beside].mean(axis=1) - 1
    typical = 1.4826 * np.median(np.abs(about - np.median(about)))  # of a normal distribution, its standard deviation
    scatter = np.sqrt(max(typical**2 / (1 + 1 / NEIGHBOURS) - counting, 0))
    if scatter > UNEVEN and nearest > UNLIKE * overall:
        told = f"those of patterns scatter by {scatter:.0%} about their neighbours': the light is not steady"
        yield Fault("totals", told, DOUBTFUL)
