"""What a finished study must hold: the schema of metrics.json, and the verdict of status.txt."""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptycho.files import read_json
from ptycho.study import layout, sweep
from ptycho.study import plan as study
from ptycho.study.arms import read_arm
from ptycho.study.config import Arm, arms
from ptycho.study.status import write_status

ENOUGH_PHOTONS = 1e8
"""Photons per pattern from which a collapsed network is a fault and no longer a result."""
DIVERGED = 0.2
"""By how much the log loss of the last epoch may exceed the first's. Each epoch shows other groups: where photons are
so few that a network is at its best within the first, means over 500 groups differ by 0.02 between epochs; that of a
training that diverged rose by 0.6."""

_SHAPE_ERROR = re.compile(
    r"(?i)incompatible shapes|InvalidArgumentError|(ValueError|TypeError): .*\bshapes?\b|could not be broadcast|"
    r"incompatible with the layer|dimensions must be equal"
)


def history_fault(path: Path, nepochs: int) -> str | None:
    """Say what is wrong with the history of a training of `nepochs` epochs, or return None."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        return f"its history cannot be read ({error.strerror})"
    try:
        epochs = [int(row["epoch"]) for row in rows]
        losses = [float(value) for row in rows for key, value in row.items() if key == "loss"]
        others = [float(value) for row in rows for key, value in row.items() if "loss" in key and value]
    except (KeyError, TypeError, ValueError):
        return "its history is not one row of epoch and loss per epoch"
    if epochs != list(range(1, nepochs + 1)):
        return f"its history holds {len(epochs)} of {nepochs} epochs"
    if len(losses) != nepochs or not all(map(math.isfinite, losses + others)):
        return "its loss is not finite in every epoch"
    if losses[-1] > losses[0] + DIVERGED:
        rise = f"from {losses[0]:.3g} in the first epoch to {losses[-1]:.3g} in the last"
        return f"its log loss rose {rise}: it diverged; try a lower LEARNING_RATE"
    return None


def shape_errors(log: Path) -> list[str]:
    """Return the lines of `log` that tell of a shape error, from the last run of each stage only.

    Each line starts with its stage and ' | '; a run starts with ' | === ... started'. Raises OSError when unreadable.
    """
    found: dict[str, list[str]] = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        stage = line.split(" | ", 1)[0]
        if re.match(r"\S+ \| === .* started", line):
            found[stage] = []
        elif _SHAPE_ERROR.search(line):
            found.setdefault(stage, []).append(line)
    return [line for lines in found.values() for line in lines]


def figure_fault(out: Path, stem: str, rows: int) -> str | None:
    """Say what is wrong with the figure `stem`.png and its numbers, `rows` rows or more in `stem`.csv, or None."""
    from PIL import Image, UnidentifiedImageError

    png, table = out / f"{stem}.png", out / f"{stem}.csv"
    try:
        with Image.open(png) as image:
            low, high = image.convert("L").getextrema()
    except (OSError, UnidentifiedImageError, SyntaxError):
        return f"{png.name} is missing or no image"
    if low == high:
        return f"{png.name} is empty"
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            cells = [list(row.values()) for row in csv.DictReader(stream)]
    except OSError as error:
        return f"{table.name} cannot be read ({error.strerror})"
    if len(cells) < rows:
        return f"{table.name} has {len(cells)} rows, expected one for each of {rows} reconstructions"
    for number, row in enumerate(cells, 1):
        values = [_float(cell) for cell in row if cell]
        numbers = [value for value in values if value is not None]
        if not numbers or not all(map(math.isfinite, numbers)):
            return f"{table.name}: row {number} is not finite"
    return None


def _float(word: Any) -> float | None:
    try:
        return float(word)
    except (TypeError, ValueError):
        return None


def verify_study(out: str | os.PathLike[str], arms: Sequence[Arm], nepochs: int) -> tuple[bool, list[str]]:
    """Judge the study in `out`: return whether it is VERIFIED, and in words what was verified or why it is not."""
    out, entries = Path(out), dict[str, Any]()
    faults, notes = list[str](), list[str]()
    for arm in arms:
        try:
            entry = entries[arm.name] = read_arm(out, arm.name)
        except ValueError as error:
            faults.append(f"{arm.name}: {error}")
            continue
        fault = history_fault(out / arm.name / layout.HISTORY, nepochs)
        if entry["status"] == "failed":
            fault = "its training failed"
        elif entry["status"] == "collapsed" and entry["nphotons"] >= ENOUGH_PHOTONS:
            fault = f"its network collapsed at {entry['nphotons']:.3g} photons per pattern"
        elif entry["status"] == "collapsed":
            notes.append(f"{arm.name}: the network collapsed at {entry['nphotons']:.3g} photons per pattern: a result")
        if fault:
            faults.append(f"{arm.name}: {fault}")
    faults += _study_faults(out, [arm.name for arm in arms], entries)
    if faults:
        return False, [*faults, *notes]
    return True, [
        f"trained to the end, {nepochs} epochs each, every loss and metric finite: {', '.join(entries)}",
        f"no network collapsed at {ENOUGH_PHOTONS:.0e} photons per pattern or more",
        "no shape error in run.log",
        "dose_comparison.png holds data in every panel",
        *notes,
    ]


def _study_faults(out: Path, names: list[str], entries: Mapping[str, Any]) -> list[str]:
    faults = []
    try:
        study = read_json(out / layout.METRICS)
        listed = [entry["name"] for entry in study["arms"]]
        if study["schema"] != 1 or listed != names:
            faults.append(f"metrics.json: it lists {listed}, expected {names} by schema 1")
        elif any(entries.get(entry["name"], entry) != entry for entry in study["arms"]):
            faults.append("metrics.json: it differs from the metrics of its arms")
    except (KeyError, TypeError):
        faults.append("metrics.json: 'schema' or 'arms' is missing")
    except ValueError as error:
        faults.append(str(error).replace(f"{out}{os.sep}", ""))
    try:
        faults += [f"run.log: {line}" for line in shape_errors(out / layout.LOG)]
    except OSError as error:
        faults.append(f"run.log: cannot be read ({error.strerror})")
    figure = figure_fault(out, layout.COMPARISON, len(names))
    return faults + ([figure] if figure else [])


def verify_sweep(out: str | os.PathLike[str]) -> tuple[bool, list[str]]:
    """Judge the sweep in `out`: return whether it is VERIFIED, and in words what was verified or why it is not."""
    entries, plan, out = sweep.collect(out), sweep.planned(out), Path(out)
    assert plan is not None
    faults, notes = list[str](), list[str]()
    for (seed, arm), entry in zip(sweep.members(plan), entries, strict=True):
        if entry["status"] in ("failed", "missing"):
            faults.append(f"{entry['name']}: {entry['status']} ({entry['reason']})")
            continue
        history = sweep.folder(out, seed) / arm.name / layout.HISTORY
        fault = history_fault(history, plan["nepochs"]) if entry["architecture"] else None
        if fault:
            faults.append(f"{entry['name']}: {fault}")
        if entry["status"] == "collapsed":
            told = f"{entry['name']}: collapsed at {entry['nphotons']:.3g} photons per pattern"
            (faults if entry["nphotons"] >= ENOUGH_PHOTONS else notes).append(told)
    for seed in plan["seeds"]:
        log = sweep.folder(out, seed) / layout.LOG
        faults += [f"seed-{seed}/run.log: {line}" for line in (shape_errors(log) if log.exists() else [])]
    if fault := figure_fault(out, layout.RESPONSE, len(plan["doses"]) * len(plan["losses"])):
        faults.append(fault)
    counts = Counter(entry["status"] for entry in entries)
    counted = f"{len(entries)} arms: " + ", ".join(f"{counts[s]} {s}" for s in ("ok", "collapsed", "failed", "missing"))
    if faults:
        return False, [counted, *faults, *notes]
    trained = any(entry["architecture"] for entry in entries)
    ended = f"every network trained to the end, {plan['nepochs']} epochs" if trained else "no network asked for"
    return True, [counted, f"{ended}; losses and metrics finite", *notes]


def write_verdict(out: str | os.PathLike[str]) -> str:
    """Judge the study or sweep in `out`, write its status.txt if that says something new, and return its text."""
    if sweep.planned(out) is not None:
        return write_status(out, *verify_sweep(out))
    plan = study.planned(out)
    return write_status(out, *verify_study(out, arms(plan["doses"], plan["losses"]), plan["nepochs"]))
