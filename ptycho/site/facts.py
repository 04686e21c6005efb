"""How a study was made, as a table: the parameters of its scans and arms, the versions and the machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ptycho.files import html_table, json_if_any
from ptycho.study import kinds, layout, plan
from ptycho.study.config import PARAMETERS

OWN = {"out", "arm", "dose", "loss", "learning_rates", "derived_seeds"}
"""Parameters that the table leaves out: each arm has its own."""


def table(simulated: Path, arms: Iterable[Path]) -> str:
    """The table, in HTML, of the scans whose parameters are in the file `simulated` and of the `arms` in these folders.

    A parameter in which arms differ has several values. One that this kind of study does not have is left out. The
    versions are those of the first arm.
    """
    asked: dict[str, list[str]] = {}
    scans = plan.read_yaml(simulated, set()) or {}
    microscope = scans.pop("microscope", None) or {}
    _note(asked, scans | microscope)
    records = [record for record in (json_if_any(folder / layout.PROVENANCE) for folder in arms) if record]
    for record in records:
        told = record["parameters"]
        _note(asked, {f"learning rate of {method}": rate for method, rate in told["learning_rates"].items()})
        _note(asked, told)
    architecture = records[0]["parameters"].get("architecture", "") if records else ""
    other = kinds.foreign(scans.get("scan") is not None, bool(microscope), architecture)
    names = {"object_kind" if name == "OBJECT" else PARAMETERS[name].name for name in other}
    rows = [(name, ", ".join(values)) for name, values in asked.items() if name not in names]
    return html_table(("parameter", "value"), [*rows, *(_versions(records[0]) if records else ())])


def _note(asked: dict[str, list[str]], told: Mapping[str, Any]) -> None:
    for name, value in told.items():
        word = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if name not in OWN and value is not None and word not in asked.setdefault(name, []):
            asked[name].append(word)


def _versions(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    commit = (record["git"] or {}).get("commit", "")[:12]
    packages = {"ptycho": f"{record['ptycho']} {commit}", "python": record["python"], **record["packages"]}
    machine = [record["cpu"], f"{record['cpu_count']} cores", *record.get("gpus", ())]
    return [*((name, str(version)) for name, version in packages.items()), ("machine", ", ".join(map(str, machine)))]
