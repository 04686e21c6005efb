"""Does the verdict hold elsewhere? The same comparison of losses under other objects, probes and scans, side by side.

Each condition is a sweep in a folder called by its name. At each dose the two losses are compared as everywhere
(``findings.response``): the difference of their FRC50, pair by pair over the seeds, with its 95 % interval, or near a
collapse the range of all seeds and its level.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho.files import read_json
from ptycho.findings.response import spectra
from ptycho.findings.response.dose_response import Difference, DoseResponse, dose_response_of, method_label
from ptycho.study import layout, sweep
from ptycho.study.arms import claimed


@dataclass(frozen=True)
class Condition:
    """A sweep by its name, in words what was simulated, and what it came to."""

    name: str
    words: str
    study: DoseResponse


def read(out: str | os.PathLike[str], names: Sequence[str]) -> list[Condition]:
    """The sweeps in the folders of `out` called `names`. Raises ValueError for one that is missing or broken."""
    return [Condition(name, _words(Path(out) / name), study_of(Path(out) / name)) for name in names]


def study_of(folder: str | os.PathLike[str]) -> DoseResponse:
    """What the sweep in `folder` came to, in the contrast that its object shows. Raises ValueError for a broken one,
    and ConfigError where there is none."""
    gathered = read_json(layout.made(folder, layout.ARMS, "`make sweep`, `make conditions` or `make fluence`"))
    entries = claimed(gathered)
    quantity = f"{spectra.contrast_of(Path(folder), entries)}_frc50"
    return dose_response_of(entries, quantity, finest=gathered.get("finest", 1.0))


def _words(folder: Path) -> str:
    """What was simulated."""
    if sweep.report_alone(folder):
        return "the report alone is kept"
    made = sweep.simulated(folder)
    size = made["object_size"] or 4 * made["N"]
    phase = f", phase over {made['phase']:g} rad" if made["phase"] else ""
    probe = made["illumination"].replace("_", " ")
    return f"{made['object_kind']}, {size} pixels{phase}; {probe} probe; {made['n_train']} positions, N={made['N']}"


def comparisons(conditions: Sequence[Condition]) -> list[tuple[Condition, Difference]]:
    """Every difference of two losses, by dose, pair of losses and method, and then by condition."""
    found = [(condition, difference) for condition in conditions for difference in condition.study.differences]
    order = [condition.name for condition in conditions]
    return sorted(found, key=lambda pair: (pair[1].nphotons, pair[1].second, pair[1].method, order.index(pair[0].name)))


def condition_rows(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """The numbers of the figure, a row a comparison."""
    return [
        {"condition": condition.name, "method": found.method[0], "split": found.method[1], "nphotons": found.nphotons}
        | {"first": found.first, "second": found.second, **found.interval.row("difference")}
        | {"level": found.interval.level, "seeds": found.interval.n}
        for condition, found in comparisons(conditions)
    ]


def conditions_in_words(conditions: Sequence[Condition]) -> list[str]:
    """In words, for each dose, pair of losses and method: under which conditions which loss resolves finer."""
    told: dict[tuple[Any, ...], dict[str, list[str]]] = {}
    for condition, found in comparisons(conditions):
        word = found.claim("not shown to differ", "too little to compare")
        key = (found.nphotons, found.first, found.second, found.method)
        told.setdefault(key, {}).setdefault(word, []).append(condition.name)
    return [
        f"{method_label(method)}, {first} and {second} at {nphotons:.3g} photons per pattern: "
        + "; ".join(f"{word}: {', '.join(names)}" for word, names in words.items())
        + "."
        for (nphotons, first, second, method), words in told.items()
    ]
