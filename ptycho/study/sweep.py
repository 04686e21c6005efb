"""A sweep: one study for each of several seeds, in a folder of its own, and what all their arms come to."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from ptycho.config import DIRECT, PARTS
from ptycho.errors import ConfigError
from ptycho.files import read_json, write_json_if_changed
from ptycho.scans import exposure
from ptycho.study import layout, plan, sources, status
from ptycho.study.arms import read_arm, trusted
from ptycho.study.config import Arm, StudyConfig, arms
from ptycho.study.plan import read_yaml
from ptycho.study.status import Row, mark_unfinished


def folder(out: str | os.PathLike[str], seed: int) -> Path:
    """The folder of one seed's study."""
    return Path(out) / layout.seed_folder(seed)


def write_sweep(out: str | os.PathLike[str], config: StudyConfig, seeds: tuple[int, ...]) -> None:
    """Write the parameter files of each seed's study, and the sweep's own; files that hold what they should stay.

    Raises ConfigError as :func:`ptycho.study.plan.write_plan` does.
    """
    changed = [path for seed in seeds for path in plan.write_plan(folder(out, seed), replace(config, seed=seed))]
    changed += sources.write(Path(out), [layout.gathering().notebook], None)
    values = {
        "evidence": ".",
        "out": ".",
        **config.values("doses", "losses"),
        "seeds": list(seeds),
        **config.values("methods", "nepochs"),
    }
    if plan.write_yaml(Path(out) / layout.SWEEP, values) or changed:
        mark_unfinished(out, after_success=True)
    mark_unfinished(out, after_success=False)


def planned(out: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the parameters of the sweep in `out`, and whether its scan is measured; None where there is no sweep.

    Raises ValueError for a broken file.
    """
    plan = read_yaml(Path(out) / layout.SWEEP, {"doses", "losses", "seeds", "methods", "nepochs"})
    if plan is None:
        return None
    study = read_yaml(folder(out, plan["seeds"][0]) / layout.STUDY, set()) if plan["seeds"] else None
    return plan | {"measured": bool(study and study.get("measured"))}


def report_alone(out: str | os.PathLike[str]) -> bool:
    """Whether only the report of the study or sweep in `out` is kept, as in this repository.

    Of a sweep the studies of its seeds are missing then; of a study, what tells whether its stages are current."""
    plan = planned(out)
    if plan is None:
        return (Path(out) / layout.STUDY).exists() and not (Path(out) / layout.SOURCES).exists()
    return not any((folder(out, seed) / layout.SIMULATE).exists() for seed in plan["seeds"])


def simulated(out: str | os.PathLike[str]) -> dict[str, Any]:
    """What the sweep in `out` simulated: the parameters of its first seed. Raises ValueError where there are none."""
    return _of_the_first(out, lambda arm: layout.SIMULATE, "what was simulated")


def trained(out: str | os.PathLike[str]) -> dict[str, Any]:
    """How the networks of the sweep in `out` were trained: the parameters of its first arm. Raises ValueError where
    there are none."""
    return _of_the_first(out, layout.arm_parameters, "the parameters of an arm")


def _of_the_first(out: str | os.PathLike[str], file: Callable[[Arm], str], expected: str) -> dict[str, Any]:
    plan = planned(out)
    if plan is None:
        raise ValueError(f"{out}: there is no sweep in it ({layout.SWEEP} is missing)")
    seed, arm = next(members(plan))
    path = folder(out, seed) / file(arm)
    made = read_yaml(path, set())
    if made is None:
        raise ValueError(f"{path}: cannot be read; expected {expected}")
    return made


def members(plan: Mapping[str, Any]) -> Iterator[tuple[int, Arm]]:
    """Each seed's arms."""
    return product(plan["seeds"], arms(plan["doses"], plan["losses"]))


def survey(out: str | os.PathLike[str], plan: Mapping[str, Any]) -> list[Row]:
    """How each arm stands; one whose scans are yet to be made again is not done, whatever an earlier sweep left."""
    return status.arms_of(status.survey(out, layout.sweep_stages(plan)))


def collect(out: str | os.PathLike[str]) -> None:
    """Write what the arms of a sweep found, :func:`entries_of`, into `out`/arms.json, if that says something new."""
    entries, plan = entries_of(out), planned(out)
    assert plan is not None
    told = trusted(folder(out, seed) for seed in plan["seeds"] if plan["measured"])
    content = {"schema": 1, "arms": entries, "doubts": told.doubts, "finest": told.finest}
    write_json_if_changed(Path(out) / layout.ARMS, content)


def entries_of(out: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The entries of all arms that were planned.

    An entry is the arm's own, with the path of its folder as its name and, where the seed's bound.json knows them, the
    limits of each part (:func:`least`). An arm without a result is there too: failed or missing, and why.
    """
    plan, out = planned(out), Path(out)
    if plan is None:
        raise ConfigError(f"OUT={str(out)!r}: there is no sweep in it ({layout.SWEEP} is missing)")
    network = next((method for method in plan["methods"] if method != DIRECT), None)
    entries = []
    for (seed, arm), row in zip(members(plan), survey(out, plan), strict=True):
        own, lost = folder(out, seed), "failed" if row.state == "failed" else "missing"
        entry: dict[str, Any] = {"name": row.name, "nphotons": None, "loss": arm.loss, "seed": seed}
        entry |= {"architecture": network}
        try:
            if row.state == "done":
                entry = {**read_arm(own, arm.name), "name": row.name}
                _add_bounds(entry, own)
            else:
                entry |= {"status": lost, "reason": _reason(own, arm.name, row.state)}
        except ValueError as error:
            entry |= {"status": "missing", "reason": str(error)}
        entries.append((arm, entry))
    # what a dose is per pattern is known from the arms that have it, or from what was planned
    known = {dose: _nphotons(entry for arm, entry in entries if arm.dose == dose) for dose in plan["doses"]}
    microscope = simulated(out).get("microscope")
    unit = exposure.of_raster(microscope["step"]) if microscope else exposure.OF_PHOTONS
    for arm, entry in entries:
        asked = None if arm.asked is None else unit.nphotons(arm.asked)
        entry["nphotons"] = known[arm.dose] or asked
    return [entry for _, entry in entries]


def _nphotons(entries: Iterable[Mapping[str, Any]]) -> float | None:
    """The photons per pattern of one dose: of all that was measured in uneven light, each seed keeps another share.

    They are one dose all the same. The mean is exact: of equal numbers it is that number.
    """
    told = [entry["nphotons"] for entry in entries if entry["nphotons"] is not None]
    return statistics.mean(told) if told else None


def _reason(seed_folder: Path, name: str, state: str) -> str:
    """Why an arm has no result, from what its runs left in the seed's status.txt."""
    for stage in (name, "simulate"):
        for line in status.status_lines(seed_folder)[1:]:
            if line.startswith(f"- {stage}: "):
                return line.removeprefix(f"- {name}: ").removeprefix("- ")
    return {"failed": "see run.log", "running": "still running"}.get(state, "not made yet")


def _add_bounds(entry: dict[str, Any], seed_folder: Path) -> None:
    if not (seed_folder / layout.BOUND).exists():
        return
    bounds = read_json(seed_folder / layout.BOUND)
    for part, split in PARTS.items():
        if entry.get(part) is not None:
            entry[part] |= least(bounds[split], entry["nphotons"])


def least(bound: Mapping[str, Any], nphotons: float) -> dict[str, float]:
    """What a part of an arm is told of the bound of its scan, at a dose in photons per pattern; nothing without one.

    ``information_bound``: the least relative mean-square error. ``amplitude_frc50_limit``, ``phase_frc50_limit``: what
    an unbiased image of that error resolves, a fraction of Nyquist.
    """
    if "at_one_photon" not in bound:
        return {}
    from ptycho.judge.frc import Rings, frc50  # late: a plan needs no NumPy

    told = {"information_bound": bound["at_one_photon"] / nphotons}
    for contrast, arrays in bound["rings"].items():
        told[f"{contrast}_frc50_limit"] = frc50(Rings.of(arrays).expected(nphotons))
    return told
