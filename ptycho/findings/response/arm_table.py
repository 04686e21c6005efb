"""The arms of a study as a table, none of them lost, and their correlations, averaged over seeds.

From the entries of ``metrics.json`` (:func:`ptycho.study.arms.arm_entry`). What one contributes to a mean resolution:

- ``ok``: its FRC50, a fraction of Nyquist.
- ``collapsed`` (FRC50 null, though the object has the contrast): 0, for nothing was resolved. A mean over seeds is then
  what a training can be expected to resolve; leaving collapses out would reward the loss that collapses more often.
- ``failed``, and ``missing`` (absent, or breaking the schema): nothing, for a crash says nothing about resolution.

A part may also tell the Cramér-Rao bound of its scan, ``information_bound``, and what an unbiased image of that error
resolves, ``amplitude_frc50_limit`` and ``phase_frc50_limit`` (:mod:`ptycho.judge.cramer_rao`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptycho.config import PARTS
from ptycho.judge.metrics import NAMES
from ptycho.study import arms

STATUSES = (*arms.STATUSES, "missing")
_IDENTITY: dict[str, Any] = {"name": str, "architecture": str | None, "nphotons": int | float, "loss": str, "seed": int}
LIMITS = ("amplitude_frc50_limit", "phase_frc50_limit")
_OF_CELL = {"information_bound": "information", "efficiency": "efficiency", "attained": "attained"}
Method = tuple[str, str]
"""An architecture, or 'direct' for the fit without a network, and the split."""
Key = tuple[str | None, float, str, int]
"""architecture (None without a network), photons per pattern, loss, seed"""
Arms = dict[Key, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """One part of an arm: what became of it (of STATUSES), and its numbers, or NaN. resolution: FRC50. error: relative
    mean-square error. counting, information: the least error of an unbiased image, by counting photons and by Cramér
    and Rao. efficiency, attained: the share of the photons' information that the image keeps, by either (:func:`kept`).
    limit: FRC50 of an unbiased image with the least error. seventh: resolution by a correlation of 1/7. first: by the
    first ring of the correlation below one half. level: amplitude of the image, in units of the truth's. absolute: the
    error where of the scale the phase alone is fitted to the truth."""

    status: str
    resolution: float = math.nan
    error: float = math.nan
    counting: float = math.nan
    information: float = math.nan
    limit: float = math.nan
    seventh: float = math.nan
    first: float = math.nan
    level: float = math.nan
    absolute: float = math.nan

    @property
    def efficiency(self) -> float:
        return kept(self.error, self.counting)

    @property
    def attained(self) -> float:
        return kept(self.error, self.information)


def kept(error: float, least: float) -> float:
    """The share of the photons' information that an image keeps, NaN where it is not known.

    It is the signal-to-noise ratio of the image over that of an unbiased one, whose error is the ``least``. The scale
    of an image is fitted to the truth, so that its relative mean-square error is 1 - C^2 for a correlation C: its ratio
    is C^2 / (1 - C^2), as of one ring (Frank and Al-Ali, Nature 256 (1975) 376), and that of the unbiased one 1/least.
    """
    return (1 - error) / error * least if 0 < error <= 1 else math.nan


def as_fitted(least: float) -> float:
    """The relative mean-square error of an unbiased image whose error is the ``least``, once its scale is fitted."""
    return least / (1 + least)


def arms_by_key(entries: Sequence[Any]) -> tuple[Arms, list[str]]:
    """The arms by what they are, and in words which contribute nothing and why. Where an entry breaks the schema but
    says which arm it is, that arm is there with the status ``missing``. Raises ValueError, naming both, for two entries
    of one arm."""
    found: Arms = {}
    faults = []
    for entry, label, fault in _labelled(entries):
        if fault:
            faults.append(fault)
        if _identified(entry):
            key = (entry["architecture"], float(entry["nphotons"]), entry["loss"], entry["seed"])
            if key in found:
                raise ValueError(f"{found[key]['name']} and {label} are both {key}; expected one entry an arm")
            found[key] = entry if not fault or without_numbers(entry) else {"name": label, "status": "missing"}
    return found, faults


def _labelled(entries: Sequence[Any]) -> Iterator[tuple[dict[str, Any], str, str | None]]:
    """Each entry, empty where it is no dictionary, its name or number, and why it contributes nothing, or None."""
    for number, entry in enumerate(entries):
        known = entry if isinstance(entry, dict) else {}
        name = known.get("name")
        label = name if isinstance(name, str) and name else f"entry {number}"
        yield known, label, _fault(entry, label)


def _identified(entry: Mapping[str, Any]) -> bool:
    values = [(entry.get(key), kind) for key, kind in _IDENTITY.items()]
    typed = all(isinstance(value, kind) and not isinstance(value, bool) for value, kind in values)
    return typed and 0 < entry["nphotons"] < math.inf


def without_numbers(entry: Mapping[str, Any]) -> bool:
    """Whether an arm failed or is missing."""
    return entry.get("status") in ("failed", "missing")


def _fault(entry: Any, label: str) -> str | None:
    if isinstance(entry, dict) and without_numbers(entry):
        reason = entry.get("reason")
        return f"{label}: {entry['status']}{f' ({reason})' if reason else ''}"
    try:
        arms.check_arm(entry, label)
    except ValueError as error:
        return str(error)
    return None if _identified(entry) else f"{label}: 'nphotons' is {entry['nphotons']}, expected a number > 0"


def first_cell(
    known: Arms, architectures: Sequence[str | None], part: str, quantity: str, dose: float, loss: str, seed: int
) -> Cell:
    """The cell of the first architecture that has a value, or of the first."""
    cells = [_cell(known.get((name, dose, loss, seed)), part, quantity) for name in architectures]
    return next((found for found in cells if not math.isnan(found.resolution)), cells[0])


def _cell(entry: Mapping[str, Any] | None, part: str, quantity: str) -> Cell:
    if not entry or without_numbers(entry):
        return Cell(entry["status"] if entry else "missing")
    numbers = entry.get(part)
    if numbers is None:  # not asked for
        return Cell("missing")
    bound, limit = (numbers.get(name, math.nan) for name in ("information_bound", f"{quantity}_limit"))
    errors = (numbers["relative_mse"], numbers["photon_bound"], bound, limit)
    resolved = (numbers.get(quantity.replace("frc50", name), math.nan) for name in ("seventh", "first"))
    scale = (numbers.get(name, math.nan) for name in ("amplitude_level", "absolute_mse"))  # not of older arms
    if numbers[quantity] is not None:
        return Cell("ok", float(numbers[quantity]), *errors, *resolved, *scale)
    if numbers[quantity.replace("frc50", "pearson")] is None:  # no such contrast in the object
        return Cell("missing")
    return Cell("collapsed", 0.0, *errors, 0.0, 0.0, *scale)


def arm_rows(entries: Sequence[Any]) -> list[dict[str, Any]]:
    """One row for each arm and part, ready for ``csv.DictWriter``, to nine digits; what does not exist is ''. An entry
    that breaks the schema has one row with its fault as the status, so that the table holds every arm."""
    rows: list[dict[str, Any]] = []
    for entry, label, fault in _labelled(entries):
        identity = {key: entry.get(key, "") for key in _IDENTITY} | {"name": label}
        if fault:
            rows.append({**identity, "status": fault, "part": "", **dict.fromkeys((*NAMES, *_OF_CELL, *LIMITS), "")})
            continue
        for part in (name for name in PARTS if entry.get(name) is not None):
            contrast = "phase" if entry[part]["amplitude_pearson"] is None else "amplitude"
            cell = _cell(entry, part, f"{contrast}_frc50")  # what it tells besides is the same of either contrast
            numbers = {name: entry[part].get(name) for name in NAMES}
            numbers |= {name: getattr(cell, field) for name, field in _OF_CELL.items()}
            numbers |= {name: entry[part].get(name, math.nan) for name in LIMITS}
            known = {name: value for name, value in numbers.items() if value is not None and not math.isnan(value)}
            cells = {name: float(f"{known[name]:.9g}") if name in known else "" for name in numbers}
            rows.append({**identity, "status": entry["status"], "part": part, **cells})
    return rows
