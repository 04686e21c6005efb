"""The verdict of status.txt: whether a study ran as it should, and whether what it was made from can be believed.

NOT VERIFIED is a study in which something did not run to its end. DOUBTFUL is one that ran on a measured scan whose
reference may be wrong (``data/trust.json``, by :mod:`ptycho.judge.trust`): it claims no resolution and no dose.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ptycho.files import read_json
from ptycho.study import layout, status, sweep
from ptycho.study import plan as study
from ptycho.study.arms import exposure_of, read_arm, trusted
from ptycho.study.config import Arm, arms
from ptycho.study.status import DOUBTFUL, NOT_VERIFIED, VERIFIED, Row, write_status

LIMITING = 1.5
"""From this many times the deviance of the fit without a network, it is the network that limits, not the light."""
NAMED = 4
"""Arms named in one line."""
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
    except (UnicodeDecodeError, csv.Error):
        return "its history is no table"
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


class Verdict(NamedTuple):
    """The word, VERIFIED, DOUBTFUL or NOT VERIFIED, and the lines that say why."""

    word: str
    lines: list[str]


def _verdict(faults: list[str], doubts: list[str], found: list[str], notes: list[str]) -> Verdict:
    """The worst of what was found decides; `found` says what was verified, and stands where nothing is at fault."""
    if faults:
        return Verdict(NOT_VERIFIED, [*faults, *doubts, *notes])
    return Verdict(DOUBTFUL if doubts else VERIFIED, [*doubts, *notes, *found])


def verify_study(
    out: str | os.PathLike[str], arms: Sequence[Arm], nepochs: int, measured: bool = False, unmade: Sequence[Row] = ()
) -> Verdict:
    """Judge the study in `out`, of a `measured` scan or of a simulated one. What the stages `unmade` left is of other
    parameters, scans or code, or not whole: it is not looked at."""
    out, entries, lost = Path(out), dict[str, Any](), {row.name for row in unmade}
    faults, notes = [_why_unmade(out, row) for row in unmade], list[str]()
    for arm in (arm for arm in arms if arm.name not in lost):
        try:
            entry = entries[arm.name] = read_arm(out, arm.name)
        except ValueError as error:
            faults.append(f"{arm.name}: {error}")
            continue
        fault = history_fault(out / arm.name / layout.HISTORY, nepochs)
        dose = exposure_of([entry]).words(entry["nphotons"])
        if entry["status"] == "failed":
            fault = "its training failed"
        elif entry["status"] == "collapsed" and entry["nphotons"] >= ENOUGH_PHOTONS:
            fault = f"its network collapsed at {dose}"
        elif entry["status"] == "collapsed":
            notes.append(f"{arm.name}: the network collapsed at {dose}: a result")
        if fault:
            faults.append(f"{arm.name}: {fault}")
    faults += _study_faults(out, [arm.name for arm in arms], entries)
    doubts, told, _ = trusted([out] if measured else [])
    found = [
        f"trained to the end, {nepochs} epochs each, every loss and metric finite: {', '.join(entries)}",
        f"no network collapsed at {ENOUGH_PHOTONS:.0e} {exposure_of(entries.values()).particle} per pattern or more",
        "no shape error in run.log",
        "dose_comparison.png holds data in every panel",
        *told,
    ]
    return _verdict(faults, doubts, found, [*_limited(list(entries.values())), *notes])


def _why_unmade(out: Path, row: Row) -> str:
    """Of a stage that failed, what its failure left in status.txt."""
    failure = next((line for line in status.failures(out) if line.startswith(f"{row.name}: ")), None)
    if row.state == "failed" and failure:
        return failure
    return f"{row.name}: not made with the present parameters, scans and code ({row.state}); `make study` goes on"


def _limited(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The arms whose network explains its photons far worse than the fit without one, the worst first."""
    times = {}
    for entry in entries:
        network, direct = entry.get("train"), entry.get("direct")
        if network and direct and network["deviance"] > LIMITING * direct["deviance"]:
            name = f"{entry['name']} {network['deviance']:.3g} against {direct['deviance']:.3g}"
            times[name] = network["deviance"] / direct["deviance"]
    if not times:
        return []
    worst = sorted(times, key=lambda name: -times[name])
    more = f" and {len(worst) - NAMED} more" if len(worst) > NAMED else ""
    named = ", ".join(worst[:NAMED])
    return [f"the network limits, not the light: deviance of the network and of the fit without one: {named}{more}"]


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


def verify_sweep(out: str | os.PathLike[str]) -> Verdict:
    """Judge the sweep in `out`. A doubt about the scan of one seed is a doubt about all."""
    entries, plan, out = sweep.entries_of(out), sweep.planned(out), Path(out)
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
            line = f"{entry['name']}: collapsed at {exposure_of(entries).words(entry['nphotons'])}"
            (faults if entry["nphotons"] >= ENOUGH_PHOTONS else notes).append(line)
    for seed in plan["seeds"]:
        log = sweep.folder(out, seed) / layout.LOG
        faults += [f"seed-{seed}/run.log: {line}" for line in (shape_errors(log) if log.exists() else [])]
    if fault := figure_fault(out, layout.RESPONSE, len(plan["doses"]) * len(plan["losses"])):
        faults.append(fault)
    counts = Counter(entry["status"] for entry in entries)
    counted = f"{len(entries)} arms: " + ", ".join(f"{counts[s]} {s}" for s in ("ok", "collapsed", "failed", "missing"))
    doubts, told, _ = trusted(sweep.folder(out, seed) for seed in plan["seeds"] if plan["measured"])
    trained = any(entry["architecture"] for entry in entries)
    ended = f"every network trained to the end, {plan['nepochs']} epochs" if trained else "no network asked for"
    found = [f"{ended}; losses and metrics finite", *told]
    verdict = _verdict(faults, doubts, found, [*_limited(entries), *notes])
    return Verdict(verdict.word, [counted, *verdict.lines])


def write_verdict(out: str | os.PathLike[str]) -> str:
    """Judge the study or sweep in `out`, write its status.txt if that says something new, and return its text.

    Where only the report is kept, nothing can be judged again: the text is that of the status.txt that is there.
    """
    if sweep.report_alone(out):
        return "\n".join([*status.status_lines(out), ""])
    if sweep.planned(out) is not None:
        return write_status(out, *verify_sweep(out))
    plan = study.planned(out)
    unmade = [row for row in status.survey(out, layout.study_stages(plan)) if row.state != "done"]
    planned = arms(plan["doses"], plan["losses"])
    return write_status(out, *verify_study(out, planned, plan["nepochs"], plan["measured"], unmade))
