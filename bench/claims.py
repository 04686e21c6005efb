"""What was published of overlap, patterns and probes, beside what :mod:`bench.overlap` finds.

Published: arXiv:2602.21361, single trainings of PtychoPINN's network, without intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from bench.process import Row
from bench.tables import interval, rounded
from ptycho.findings.intervals import geometric_interval, mean_interval, range_interval

SSIM = {(1, "disk"): 0.620, (1, "zone_plate"): 0.904, (2, "disk"): 0.952, (2, "zone_plate"): 0.968}
"""Of the amplitude of lines, by gridsize and probe. The table: "Synthetic line-pattern amplitude
reconstruction metrics on the test split".

Its C_g of 1 and 4 is gridsize**2. Its idealized probe is a disk smoothed by a Gaussian. Its experimental probe is a
measured, curved one, whose place the zone plate takes here."""
ENOUGH, PATTERNS_ENOUGH = 0.85, 1024
"""The SSIM of a star's phase that is exceeded "from as few as" so many patterns, at gridsize 1."""
PROBES, GRIDSIZES, DOSE = ("disk", "zone_plate"), (1, 2), "1e9"
"""Flat and curved; and the photons per pattern at which the claims are tested. The paper does not tell its own."""
COUNTED = (("siemens", 1), ("siemens", 2), ("lines", 2))
"""Objects and gridsizes of the question of patterns; the first is the published case."""
KEY = ("question", "object", "contrast", "probe", "trained", "told", "dose", "gridsize", "patterns", "method")


def summary(rows: Sequence[Row]) -> list[Row]:
    """A row for each combination of KEY: means over seeds with intervals, of ``error`` the geometric mean.

    Where some seeds resolve nothing and others do, they are medians and ranges, and ``level`` tells how often such a
    range holds the median.
    """
    cells: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault(tuple(row[name] for name in KEY), []).append(row)
    made = []
    for key, own in cells.items():
        collapsed = sum(row["frc50"] is None for row in own)
        apart = range_interval if 0 < collapsed < len(own) else None
        told: Row = {**dict(zip(KEY, key, strict=True)), "seeds": len(own), "collapsed": collapsed}
        for name, of, mean in (
            ("ssim", "ssim", partial(mean_interval, possible=(-1, 1))),
            ("ssim_published", "ssim_published", partial(mean_interval, possible=(-1, 1))),
            ("frc50", "frc50", partial(mean_interval, possible=(0, 1))),
            ("error", "relative_mse", geometric_interval),
        ):
            found = (apart or mean)(np.array([row[of] or 0 for row in own], float))
            told |= {**found.row(name, f"{name}_"), "level": found.level}
        beside = told["question"] == "grouping" and told["dose"] == DOSE
        told["published"] = SSIM.get((told["gridsize"], told["probe"])) if beside else None
        made.append(rounded(told))
    return made


def alike(rows: Sequence[Row], **like: Any) -> list[Row]:
    """The rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in like.items())]


def paired(first: Sequence[Row], second: Sequence[Row], value: str) -> list[tuple[float, float]]:
    """The value in the rows of ``first`` and of ``second`` that share a seed."""
    others = {row["seed"]: row[value] for row in second}
    return [(row[value], others[row["seed"]]) for row in first if row["seed"] in others]


def verdict(rows: Sequence[Row]) -> str:
    """What was published beside what was found, a sentence each, of what is known so far."""
    return "".join(f"{line}\n" for of in (_grouping, _patterns, _probes) for line in of(rows))


def _grouping(rows: Sequence[Row]) -> Iterator[str]:
    for probe in PROBES:
        for dose in dict.fromkeys(row["dose"] for row in rows):
            own = alike(rows, question="grouping", probe=probe, dose=dose)
            where = f"{probe}, {dose} photons per pattern"
            for mean in summary(own):
                name = f"gridsize {mean['gridsize']}" if mean["gridsize"] else "direct"
                known = f", published {mean['published']:.3f}" if mean["published"] else ""
                yield f"{where}, {name}: SSIM {interval(mean, 'ssim'):.3f}{known}."
            one, two = (alike(own, gridsize=side) for side in GRIDSIZES)
            if pairs := paired(two, one, "ssim"):
                gain = mean_interval(np.array([more - less for more, less in pairs]))
                known = f", published {SSIM[2, probe] - SSIM[1, probe]:.3f}" if dose == DOSE else ""
                yield f"{where}: gridsize 2 adds {gain:.3f} to the SSIM of gridsize 1{known}."


def _patterns(rows: Sequence[Row]) -> Iterator[str]:
    for kind, side in COUNTED:
        means = summary(alike(rows, question="patterns", object=kind, gridsize=side))
        if means:
            counts = [mean["patterns"] for mean in means]
            enough = [mean["patterns"] for mean in means if mean["ssim_published"] > ENOUGH]
            found = f"is above {ENOUGH} from {min(enough)}" if enough else f"is not above {ENOUGH}"
            known = f"; published from {PATTERNS_ENOUGH}" if (kind, side) == COUNTED[0] else ""
            tried = f"with {min(counts)} to {max(counts)} patterns tried"
            yield f"{kind}, gridsize {side}: the mean SSIM, counted as published, {found}, {tried}{known}."


def _probes(rows: Sequence[Row]) -> Iterator[str]:
    for behind in PROBES:
        for side in GRIDSIZES:
            own = alike(rows, question="grouping", probe=behind, dose=DOSE, gridsize=side)
            for told in sorted(PROBES, key=lambda probe: probe != behind):
                other = alike(rows, question="probe", probe=behind, told=told, gridsize=side)
                if pairs := paired(other, own, "relative_mse"):
                    times = geometric_interval(np.array([one / two for one, two in pairs]))
                    words = f"a network trained behind the other probe and told {told} has {times:.3g} times the error"
                    yield f"Scan behind {behind}, gridsize {side}: {words} of one trained behind {behind}."
