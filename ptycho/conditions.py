"""Does the verdict hold elsewhere? The same comparison of losses under other objects, probes and scans, side by side.

Each condition is a sweep in a folder called by its name. At each dose the two losses are compared as everywhere
(:mod:`ptycho.doseresponse`): the difference of their FRC50, pair by pair over the seeds, with its 95 % interval.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ptycho import frcresponse, sweep
from ptycho.doseresponse import Difference, DoseResponse, gather
from ptycho.doseverdict import SPLITS
from ptycho.drawing import COLOURS, dose_label, styled
from ptycho.files import read_json
from ptycho.intervals import reach


@dataclass(frozen=True)
class Condition:
    """A sweep by its name, in words what was simulated, and what it came to."""

    name: str
    words: str
    study: DoseResponse


def read(out: str | os.PathLike[str], names: Sequence[str]) -> list[Condition]:
    """The sweeps in the folders of `out` called `names`. Raises ValueError for one that is missing or broken."""
    folders = {name: Path(out) / name for name in names}
    return [Condition(name, _words(sweep.simulated(one)), study_of(one)) for name, one in folders.items()]


def study_of(folder: str | os.PathLike[str]) -> DoseResponse:
    """What the sweep in `folder` came to, in the contrast that its object shows. Raises ValueError for a broken one."""
    folder = Path(folder)
    entries = read_json(folder / sweep.ARMS)["arms"]
    return gather(entries, f"{frcresponse.gather(folder, entries).contrast}_frc50")


def _words(made: Mapping[str, Any]) -> str:
    """What was simulated."""
    size = made["object_size"] or 4 * made["N"]
    phase = f", phase over {made['phase']:g} rad" if made["phase"] else ""
    probe = made["illumination"].replace("_", " ")
    return f"{made['object_kind']}, {size} pixels{phase}; {probe} probe; {made['n_train']} positions, N={made['N']}"


def comparisons(conditions: Sequence[Condition]) -> list[tuple[Condition, Difference]]:
    """Every difference of two losses, by dose, pair of losses and method, and then by condition."""
    found = [(condition, difference) for condition in conditions for difference in condition.study.differences]
    order = [condition.name for condition in conditions]
    return sorted(found, key=lambda pair: (pair[1].nphotons, pair[1].second, pair[1].method, order.index(pair[0].name)))


def rows(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """The numbers of the figure, a row a comparison."""
    return [
        {
            "condition": condition.name,
            "method": found.method[0],
            "split": found.method[1],
            "nphotons": found.nphotons,
            "first": found.first,
            "second": found.second,
            "difference": found.interval.mean,
            "low": found.interval.low,
            "high": found.interval.high,
            "seeds": found.interval.n,
        }
        for condition, found in comparisons(conditions)
    ]


def verdict(conditions: Sequence[Condition]) -> list[str]:
    """In words, for each dose, pair of losses and method: under which conditions which loss resolves finer."""
    told: dict[tuple[Any, ...], dict[str, list[str]]] = {}
    for condition, found in comparisons(conditions):
        if found.differ is None:
            word = "too little to compare"
        else:
            word = f"{found.finer} resolves finer" if found.finer else "not shown to differ"
        key = (found.nphotons, found.first, found.second, found.method)
        told.setdefault(key, {}).setdefault(word, []).append(condition.name)
    return [
        f"{method[0]}, {SPLITS[method[1]]}, {first} and {second} at {nphotons:.3g} photons per pattern: "
        + "; ".join(f"{word}: {', '.join(names)}" for word, names in words.items())
        + "."
        for (nphotons, first, second, method), words in told.items()
    ]


@styled
def figure(conditions: Sequence[Condition], second: str) -> Figure:
    """The difference of FRC50 between the reference loss and `second`: a panel a dose and method, a line a condition.

    To the right of zero the reference resolves finer.
    """
    found = [(condition, one) for condition, one in comparisons(conditions) if one.second == second]
    if not found:
        raise ValueError(f"no condition compares a loss with {second!r}")
    doses = sorted({one.nphotons for _, one in found})
    methods = list(dict.fromkeys(one.method for _, one in found))
    names = [condition.name for condition in conditions]
    drawn = Figure(
        figsize=(2.3 * len(doses) + 1.6, (0.22 * len(names) + 0.5) * len(methods) + 0.5), layout="constrained"
    )
    grid = drawn.subplots(len(methods), len(doses), squeeze=False, sharex=True, sharey=True)
    for axes, method in zip(grid, methods, strict=True):
        axes[0].set_ylabel(f"{method[0]},\n{SPLITS[method[1]]}")
        for cell, nphotons in zip(axes, doses, strict=True):
            cell.axvline(0, color="0.6", linewidth=0.8)
            for condition, one in found:
                if (one.method, one.nphotons) != (method, nphotons) or one.interval.mean is None:
                    continue
                place = names.index(condition.name)
                colour = COLOURS[place % len(COLOURS)]
                bar = reach([one.interval])
                cell.errorbar(one.interval.mean, place, xerr=bar, fmt="o", color=colour, markersize=3, capsize=2)
            cell.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    for cell, nphotons in zip(grid[0], doses, strict=True):
        cell.set_title(f"{dose_label(nphotons)} photons per pattern")
    drawn.supxlabel(f"FRC50 of {found[0][1].first} less that of {second} (fraction of Nyquist)", fontsize=9)
    return drawn
