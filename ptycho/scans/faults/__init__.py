"""What looks wrong with a scan. `inspect` prints it; a study refuses, doubts or mends it, before anything is fitted."""

from collections.abc import Iterable, Iterator
from functools import partial, reduce

import numpy as np

from ptycho.config import PATTERN_SIZES
from ptycho.errors import DataError
from ptycho.scans import frame, mend
from ptycho.scans.faults import counts, light, pixels, places, steps
from ptycho.scans.faults.counts import counted
from ptycho.scans.faults.fault import DOUBTFUL, MENDED, REFUSED, Fault
from ptycho.scans.faults.places import in_pixels
from ptycho.scans.faults.steps import overlap
from ptycho.scans.formats.scan import Scan
from ptycho.scans.statistics import Statistics, statistics_of

__all__ = ["DOUBTFUL", "MENDED", "PLACES", "REFUSED", "SIZE", "Fault"]
__all__ += ["counted", "examine", "in_pixels", "kept", "measure", "mended", "new", "overlap", "ready", "squared"]

PLACES = frozenset({"positions", "probe", "energy", "voltage", "distance", "detector pixel", "object pixel"})
"""What is wrong with them leaves no overlap and no fluence."""
SIZE = "size"
"""What a fault is about that a frame mends."""
ROUNDS = 3
"""Most times that a scan is examined and mended."""


def measure(scan: Scan) -> Statistics | None:
    """The statistics of the scan's patterns; None where they are missing, empty, or no real numbers (M, H, W)."""
    if scan.patterns is None or len(scan.patterns.shape) != 3 or not all(scan.patterns.shape):
        return None
    fits = scan.patterns.dtype.kind in "fiu" and (scan.dark is None or scan.dark.shape == scan.patterns.shape[1:])
    return statistics_of(scan) if fits else None


def examine(scan: Scan, found: Statistics | None) -> list[Fault]:
    """All that looks wrong with a scan, by what :func:`measure` found; refused faults hide what follows from them."""
    told = [*places.of_shapes(scan), *places.of_number(scan), *places.of_scans(scan), *places.of_geometry(scan)]
    if not any(fault.about in PLACES for fault in told):  # in a wrong unit, positions lie anywhere
        told += places.of_positions(scan)
    if found is not None:
        told += [*_of_mask(found), *counts.of_values(scan, found), *counts.of_gain(scan, found)]
    told += _of_light(scan, found, {fault.about for fault in told if fault.weight == REFUSED})
    return told or [*places.of_orientation(scan)]


def _of_mask(found: Statistics) -> Iterator[Fault]:
    valid = found.valid.mean()
    if not valid:
        yield Fault(
            "mask", "leaves no valid pixel; expected True (in CXI files, 0) where the detector is to be believed"
        )
    elif valid < 0.5 and found.left_out > found.mean.sum() * len(found.totals):
        told = f"leaves out {1 - valid:.1%} of the pixels, and most of the light: inverted?"
        yield Fault("mask", f"{told} Expected True (in CXI files, 0) where the detector is to be believed")


def _of_light(scan: Scan, found: Statistics | None, refused: set[str]) -> Iterator[Fault]:
    """What the mean pattern tells, where nothing is so wrong that it tells nothing."""
    if found is None or not found.lit or refused & {"patterns", "mask", "dark frame", "probe"}:
        return
    of_probe = list(light.of_probe(scan))
    yield from of_probe
    if any(fault.weight == REFUSED for fault in of_probe):
        return
    seen = found.valid.copy()
    for told, bad in pixels.bad_pixels(found):
        yield Fault("pixels", told, MENDED, partial(mend.without, pixels=bad))
        seen &= ~bad
    mean = np.where(seen, found.mean, 0)
    if not mean.any():
        return
    yield from counts.of_saturation(scan, found, seen)
    everywhere = list(counts.of_background(scan, found, seen))
    if not everywhere and not light.at_corners(mean):
        everywhere = list(light.of_edges(mean, seen))
    yield from everywhere
    if any(fault.weight == REFUSED for fault in everywhere):
        return
    off = list(light.of_patterns(scan, mean, seen))
    yield from off
    yield from of_size(scan, mended(Scan(patterns=mean[np.newaxis], mask=seen), off))
    yield from light.of_variety(scan, found, seen)
    where = in_pixels(scan)
    if where is None or len(where[0]) < 2 or refused & PLACES:
        return
    yield from counts.of_totals(found, where)
    yield from steps.of_overlap(scan, where, scan.probe if scan.probe is not None else scan.first_probe(mean)[0])


def of_size(scan: Scan, typical: Scan) -> Iterator[Fault]:
    """Patterns (M, H, W) of no size the networks take; ``typical`` has their mean, (1, H, W), and a mask."""
    mean, seen = typical.values()[0], typical.mask
    H, W = mean.shape
    if H == W and H in PATTERN_SIZES:
        return
    assert seen is not None
    chosen = frame.chosen(mean, seen)
    if scan.probe is not None and chosen.binning > 1 and not chosen.holds(scan.probe):
        told = f"{chosen.told(H, W)}: the field of view that is left does not hold the probe"
        yield Fault("patterns", f"{told}; take a smaller part of the detector")
    else:
        yield Fault(SIZE, chosen.told(H, W), MENDED, partial(frame.framed, frame=chosen))


def kept(told: Iterable[Fault]) -> list[Fault]:
    """Those of the faults that are not found again in the mended scan: what was mended, and saturation, which cannot be
    seen in sums of pixels."""
    return [fault for fault in told if fault.mend is not None or fault.about == counts.SATURATION]


def new(told: Iterable[Fault], before: Iterable[Fault]) -> list[Fault]:
    """Those of the faults that are about something else than saturation, if that was found before."""
    known = any(fault.about == counts.SATURATION for fault in before)
    return [fault for fault in told if not (known and fault.about == counts.SATURATION)]


def mended(scan: Scan, told: Iterable[Fault]) -> Scan:
    """The scan without those of the faults that are mended, one after the other."""
    return reduce(lambda scan, fault: fault.mend(scan) if fault.mend else scan, told, scan)


def squared(scan: Scan) -> tuple[Scan, list[str]]:
    """The scan on the frame of a study where its patterns are no even square, and what was done.

    Raises DataError, a line for each, for shapes that do not fit each other.
    """
    if scan.patterns is None or frame.even_square(scan.patterns.shape):
        return scan, []
    found, told = measure(scan), list(places.of_shapes(scan))
    if found is not None and not told:
        told = list(of_size(scan, Scan(patterns=found.mean[np.newaxis], mask=found.valid)))
    if refused := [str(fault) for fault in told if fault.weight == REFUSED]:
        raise DataError("\n".join(refused))
    return mended(scan, told), [str(fault) for fault in told]


def ready(scan: Scan) -> tuple[Scan, tuple[Fault, ...]]:
    """The scan with all that can be mended mended, and the faults that were found, doubtful and mended.

    A mended scan is examined again: one fault may hide another. Raises DataError, a line for each, for faults that
    forbid a study.
    """
    done: list[Fault] = []
    for _ in range(ROUNDS):
        told = new(examine(scan, measure(scan)), done)
        if refused := [str(fault) for fault in told if fault.weight == REFUSED]:
            raise DataError("\n".join(refused))
        if not any(fault.mend for fault in told):
            break
        scan = mended(scan, told)
        done += kept(told)
    return scan, (*done, *new((fault for fault in told if fault.mend is None), done))
