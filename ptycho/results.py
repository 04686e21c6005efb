"""What a finished study must hold: the schema of metrics.json, and the verdict of status.txt."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptycho.config import Arm
from ptycho.files import read_json, write_if_changed

STATUSES = ("ok", "collapsed", "failed")
ENOUGH_PHOTONS = 1e8
"""Photons per pattern from which a collapsed network is a fault and no longer a result."""
DIVERGED = 0.2
"""By how much the log loss of the last epoch may exceed the first's. Each epoch shows other groups: where photons are
so few that a network is at its best within the first, means over 500 groups differ by 0.02 between epochs; that of a
training that diverged rose by 0.6."""

_NUMBER = (int, float)
_NULLABLE = (*_NUMBER, type(None))
_ARM: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "nphotons": _NUMBER,
    "loss": (str,),
    "seed": (int,),
    "architecture": (str, type(None)),
    "status": (str,),
    "train_seconds": _NULLABLE,
    "patterns_per_second": _NULLABLE,
    "train": (dict, type(None)),
    "heldout": (dict, type(None)),
    "direct": (dict, type(None)),
}
_OF_NETWORK = ("architecture", "train_seconds", "patterns_per_second", "train", "heldout")
"""All null in an arm without a network."""
_SPLIT: dict[str, tuple[type, ...]] = {
    "amplitude_frc50": _NULLABLE,  # fractions of Nyquist; null where collapsed or absent
    "phase_frc50": _NULLABLE,
    "amplitude_psnr_db": _NUMBER,
    "amplitude_ssim": _NUMBER,
    "amplitude_pearson": _NUMBER,
    "phase_pearson": _NULLABLE,  # null for an object without phase, where no correlation is defined
    "relative_mse": _NUMBER,
    "photon_bound": _NUMBER,
    "deviance": _NUMBER,
}
_SHAPE_ERROR = re.compile(
    r"incompatible shapes|InvalidArgumentError|(ValueError|TypeError): .*\bshapes?\b|could not be broadcast|"
    r"incompatible with the layer|dimensions must be equal",
    re.IGNORECASE,
)
_LOG_START = re.compile(r"^(\S+) \| === .* started")


def _check_keys(entry: Any, keys: Mapping[str, tuple[type, ...]], where: str) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: found {type(entry).__name__}, expected an object with {', '.join(keys)}")
    for key, kinds in keys.items():
        if key not in entry:
            raise ValueError(f"{where}: {key!r} is missing")
        value = entry[key]
        if not isinstance(value, kinds) or isinstance(value, bool):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ValueError(f"{where}: {key!r} is {value!r}, expected {expected}")


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value!r}, expected a finite number")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_finite(inner, f"{where}: {key!r}")


def check_arm(entry: Any, path: str | os.PathLike[str], name: str | None = None) -> None:
    """Raise ValueError, naming `path` and the key, unless `entry` is an arm's metrics by the schema, all finite.

    `name` is the arm it should be; `direct` holds the metrics of the reference without a network, on the training scan.
    An arm has a network, whose entries are then all there, or `direct`, or both.
    """
    _check_keys(entry, _ARM, str(path))
    absent = [key for key in _OF_NETWORK if entry[key] is None]
    if absent and (len(absent) < len(_OF_NETWORK) or entry["direct"] is None):
        raise ValueError(f"{path}: {absent[0]!r} is null, expected the entries of a network, of 'direct', or of both")
    for split in ("train", "heldout", "direct"):
        if entry[split] is not None:
            _check_keys(entry[split], _SPLIT, f"{path}: {split!r}")
    for key in entry:
        _check_finite(entry[key], f"{path}: {key!r}")
    if entry["status"] not in STATUSES:
        raise ValueError(f"{path}: 'status' is {entry['status']!r}, expected one of {STATUSES}")
    if name is not None and entry["name"] != name:
        raise ValueError(f"{path}: 'name' is {entry['name']!r}, expected {name!r}")


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
        return (
            f"its log loss rose from {losses[0]:.3g} in the first epoch to {losses[-1]:.3g} in the last: "
            "it diverged; try a lower LEARNING_RATE"
        )
    return None


def shape_errors(log: Path) -> list[str]:
    """Return the lines of `log` that tell of a shape error, from the last run of each stage only.

    Each line starts with its stage and ' | '; a run starts with ' | === ... started'. Raises OSError when unreadable.
    """
    found: dict[str, list[str]] = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        stage = line.split(" | ", 1)[0]
        if _LOG_START.match(line):
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


def read_arm(out: Path, name: str) -> Any:
    """The entry of the arm `name` in the study's folder `out`.

    Raises ValueError, with the path within `out`, when its metrics.json is missing, corrupt or against the schema.
    """
    path = out / name / "metrics.json"
    try:
        entry = read_json(path)
        check_arm(entry, path.relative_to(out), name)
    except ValueError as error:
        raise ValueError(str(error).replace(f"{out}{os.sep}", "")) from error
    return entry


def verify(out: str | os.PathLike[str], arms: Sequence[Arm], nepochs: int) -> tuple[bool, list[str]]:
    """Judge the study in `out`: return whether it is VERIFIED, and in words what was verified or why it is not."""
    out = Path(out)
    faults: list[str] = []
    notes: list[str] = []
    entries: dict[str, Any] = {}
    for arm in arms:
        try:
            entry = read_arm(out, arm.name)
        except ValueError as error:
            faults.append(f"{arm.name}: {error}")
            continue
        entries[arm.name] = entry
        fault = history_fault(out / arm.name / "history.csv", nepochs)
        if entry["status"] == "failed":
            fault = "its training failed"
        elif entry["status"] == "collapsed" and entry["nphotons"] >= ENOUGH_PHOTONS:
            fault = f"its network collapsed at {entry['nphotons']:.3g} photons per pattern"
        elif entry["status"] == "collapsed":
            notes.append(f"{arm.name}: the network collapsed at {entry['nphotons']:.3g} photons per pattern: a result")
        if fault:
            faults.append(f"{arm.name}: {fault}")
    faults += _study_faults(out, [arm.name for arm in arms], entries, len(arms))
    if faults:
        return False, [*faults, *notes]
    names = ", ".join(entries)
    return True, [
        f"trained to the end, {nepochs} epochs each, every loss and metric finite: {names}",
        f"no network collapsed at {ENOUGH_PHOTONS:.0e} photons per pattern or more",
        "no shape error in run.log",
        "dose_comparison.png holds data in every panel",
        *notes,
    ]


def _study_faults(out: Path, names: Iterable[str], entries: Mapping[str, Any], rows: int) -> list[str]:
    faults = []
    try:
        study = read_json(out / "metrics.json")
        listed = [entry["name"] for entry in study["arms"]]
        if study["schema"] != 1 or listed != list(names):
            faults.append(f"metrics.json: it lists {listed}, expected {list(names)} by schema 1")
        elif any(entries.get(entry["name"], entry) != entry for entry in study["arms"]):
            faults.append("metrics.json: it differs from the metrics of its arms")
    except (KeyError, TypeError):
        faults.append("metrics.json: 'schema' or 'arms' is missing")
    except ValueError as error:
        faults.append(str(error).replace(f"{out}{os.sep}", ""))
    try:
        faults += [f"run.log: {line}" for line in shape_errors(out / "run.log")]
    except OSError as error:
        faults.append(f"run.log: cannot be read ({error.strerror})")
    figure = figure_fault(out, "dose_comparison", rows)
    return faults + ([figure] if figure else [])


def write_status(out: str | os.PathLike[str], ok: bool, lines: Iterable[str]) -> str:
    """Write `out`/status.txt, first line VERIFIED or NOT VERIFIED, if it says something new; return its text."""
    text = "\n".join(["VERIFIED" if ok else "NOT VERIFIED", *(f"- {line}" for line in lines)]) + "\n"
    write_if_changed(Path(out) / "status.txt", text)
    return text


def mark_unfinished(out: str | os.PathLike[str], after_success: bool) -> None:
    """Withdraw a verdict that new work makes void: one of success, or (`after_success` False) one of failure."""
    path = Path(out) / "status.txt"
    if path.exists() and path.read_text(encoding="utf-8").startswith("VERIFIED") == after_success:
        write_status(out, False, ["the study has not finished"])


def add_failure(out: str | os.PathLike[str], line: str) -> None:
    """Add the failure of a stage, in one line, to the others of this study's status.txt."""
    path = Path(out) / "status.txt"
    known = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    failures = [old.removeprefix("- ") for old in known if " failed: " in old]
    write_status(out, False, [*failures, line])
