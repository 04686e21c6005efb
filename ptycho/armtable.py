"""The arms of a study as a table: each identified by architecture, dose, loss and seed, none of them lost.

From the entries of ``metrics.json`` (:func:`ptycho.arm.entry`). What one contributes to a mean resolution:

- ``ok``: its FRC50, a fraction of Nyquist.
- ``collapsed`` (FRC50 null, though the object has the contrast): 0, for nothing was resolved. A mean over seeds is then
  what a training can be expected to resolve; leaving collapses out would reward the loss that collapses more often.
- ``failed``, and ``missing`` (absent, or breaking the schema): nothing, for a crash says nothing about resolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptycho.arm import PARTS
from ptycho.metrics import NAMES
from ptycho.results import check_arm

STATUSES = ("ok", "collapsed", "failed", "missing")

_IDENTITY: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "architecture": (str,),
    "nphotons": (int, float),
    "loss": (str,),
    "seed": (int,),
}

Key = tuple[str, float, str, int]
"""architecture, photons per pattern, loss, seed"""


@dataclass(frozen=True)
class Cell:
    """One part of an arm: what became of it (of STATUSES), its FRC50 and photon_bound / relative_mse, or NaN."""

    status: str
    resolution: float = math.nan
    efficiency: float = math.nan


def sort(entries: Sequence[Any]) -> tuple[dict[Key, Mapping[str, Any]], list[str]]:
    """The arms by what they are, and in words which contribute nothing and why.

    Where an entry breaks the schema but says which arm it is, that arm is there with the status ``missing``.
    Raises ValueError, naming both, for two entries of one arm.
    """
    arms: dict[Key, Mapping[str, Any]] = {}
    faults = []
    for number, entry in enumerate(entries):
        label = _label(entry, number)
        fault = _fault(entry, label)
        if fault:
            faults.append(fault)
        if _identified(entry):
            key = (entry["architecture"], float(entry["nphotons"]), entry["loss"], entry["seed"])
            if key in arms:
                raise ValueError(f"{arms[key]['name']} and {label} are both {key}; expected one entry an arm")
            usable = not fault or entry.get("status") == "failed"
            arms[key] = entry if usable else {"name": label, "status": "missing"}
    return arms, faults


def _label(entry: Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) and name else f"entry {number}"


def _identified(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    values = [(entry.get(key), kinds) for key, kinds in _IDENTITY.items()]
    typed = all(isinstance(value, kinds) and not isinstance(value, bool) for value, kinds in values)
    return typed and 0 < entry["nphotons"] < math.inf


def _fault(entry: Any, label: str) -> str | None:
    """Why an entry contributes nothing, or None."""
    if _identified(entry) and entry.get("status") == "failed":
        return f"{label}: failed"
    try:
        check_arm(entry, label)
    except ValueError as error:
        return str(error)
    return None if _identified(entry) else f"{label}: 'nphotons' is {entry['nphotons']}, expected a number > 0"


def first_cell(
    arms: Mapping[Key, Mapping[str, Any]],
    architectures: Sequence[str],
    dose: float,
    loss: str,
    seed: int,
    part: str,
    quantity: str,
) -> Cell:
    """The cell of the first architecture that has a value, or of the first."""
    cells = [_cell(arms.get((name, dose, loss, seed)), part, quantity) for name in architectures]
    return next((found for found in cells if not math.isnan(found.resolution)), cells[0])


def _cell(entry: Mapping[str, Any] | None, part: str, quantity: str) -> Cell:
    status = entry["status"] if entry else "missing"
    if not entry or status in ("failed", "missing"):
        return Cell(status)
    numbers = entry[part]
    efficiency = numbers["photon_bound"] / numbers["relative_mse"] if numbers["relative_mse"] > 0 else math.nan
    if numbers[quantity] is not None:
        return Cell("ok", float(numbers[quantity]), efficiency)
    if numbers[quantity.replace("frc50", "pearson")] is None:  # no such contrast in the object
        return Cell("missing")
    return Cell("collapsed", 0.0, efficiency)


def table_rows(entries: Sequence[Any]) -> list[dict[str, Any]]:
    """One row for each arm and part, ready for ``csv.DictWriter``; what does not exist is ''.

    An entry that breaks the schema has one row with its fault as the status, so that the table holds every arm.
    """
    rows: list[dict[str, Any]] = []
    for number, entry in enumerate(entries):
        known = entry if isinstance(entry, dict) else {}
        label = _label(entry, number)
        identity = {key: known.get(key, "") for key in _IDENTITY} | {"name": label}
        if fault := _fault(entry, label):
            rows.append({**identity, "status": fault, "part": "", **dict.fromkeys((*NAMES, "efficiency"), "")})
            continue
        for part in PARTS:
            efficiency = _cell(entry, part, "amplitude_frc50").efficiency
            numbers = {**{name: entry[part][name] for name in NAMES}, "efficiency": efficiency}
            cells = {name: "" if value is None or math.isnan(value) else value for name, value in numbers.items()}
            rows.append({**identity, "status": entry["status"], "part": part, **cells})
    return rows
