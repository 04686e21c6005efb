"""The record of an arm, metrics.json: its schema, how it is made and read. Standard library only."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_type_hints

from ptycho.config import PARTS
from ptycho.files import read_json
from ptycho.scans import exposure
from ptycho.study import layout

if TYPE_CHECKING:
    from ptycho.judge.metrics import Evaluation
    from ptycho.scans.rawdata import RawData


def arm_entry(
    name: str,
    data: RawData,
    loss: str,
    seed: int,
    architecture: str | None,
    history: list[dict[str, float]],
    patterns: int,
    judged: Mapping[str, Evaluation],
) -> dict[str, Any]:
    """The arm's entry in ``metrics.json``.

    `architecture` is None for an arm without a network, whose `history`, {epoch, loss, seconds} for each epoch of the
    training, is empty. `patterns` are seen in one epoch. `judged` holds those of ``PARTS`` that the arm has; the
    others' entries are None. Where more than photons per pattern is known of the dose, ``exposure`` tells it.
    """
    told = exposure.of(data)
    seconds = sum(row["seconds"] for row in history) if architecture else None
    of_network = [judged[split] for split in ("train", "heldout") if split in judged]
    collapsed = any(one.collapsed for one in of_network or judged.values())
    return {
        "name": name,
        "nphotons": data.nphotons,
        "loss": loss,
        "seed": seed,
        "architecture": architecture,
        "status": "collapsed" if collapsed else "ok",
        "train_seconds": seconds,
        "patterns_per_second": patterns * len(history) / seconds if seconds else None,
        **({} if told == exposure.OF_PHOTONS else {"exposure": told.as_dict()}),
        **{part: judged[part].as_dict() if part in judged else None for part in PARTS},
    }


def exposure_of(entries: Iterable[Any]) -> exposure.Exposure:
    """What the doses of a study are to its sample, as the first of its arms tells that knows it."""
    known = (entry.get("exposure") for entry in entries if isinstance(entry, dict))
    return exposure.read(next(filter(None, known), None))


STATUSES = ("ok", "collapsed", "failed")


@dataclass(frozen=True)
class PartRecord:
    """The numbers of one part of an arm, as metrics.json has them; more of them may stand beside.

    FRC50 are fractions of Nyquist, null where the part collapsed. What an object without such a contrast
    lacks is null, too.
    """

    amplitude_frc50: float | None
    phase_frc50: float | None
    amplitude_psnr_db: float | None
    amplitude_ssim: float | None
    amplitude_pearson: float | None
    phase_pearson: float | None
    relative_mse: float
    photon_bound: float
    deviance: float


@dataclass(frozen=True)
class ArmRecord:
    """An arm, as metrics.json has it: the schema. ``direct`` is the reference without a network, on the training scan;
    ``direct_heldout``, on the held-out one, may be absent.

    What is of a network is null where there is none: OF_NETWORK.
    """

    name: str
    nphotons: float
    loss: str
    seed: int
    architecture: str | None
    status: str
    train_seconds: float | None
    patterns_per_second: float | None
    train: PartRecord | None
    heldout: PartRecord | None
    direct: PartRecord | None


OF_NETWORK = ("architecture", "train_seconds", "patterns_per_second", "train", "heldout")


def check_fields(entry: Any, record: type, where: str) -> None:
    """Raise ValueError, naming `where` and the key, unless `entry` holds the fields of `record`."""
    hints = get_type_hints(record)
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: found {type(entry).__name__}, expected an object with {', '.join(hints)}")
    for key, hint in hints.items():
        if key not in entry:
            raise ValueError(f"{where}: {key!r} is missing")
        wanted = get_args(hint) or (hint,)
        kinds = [kind for one in wanted for kind in _JSON.get(one, (one,))]
        if not isinstance(entry[key], tuple(kinds)) or isinstance(entry[key], bool):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise ValueError(f"{where}: {key!r} is {entry[key]!r}, expected {expected}")


_JSON: dict[Any, tuple[type, ...]] = {float: (int, float), PartRecord: (dict,)}
"""What JSON has for a type, where that is another."""


def _check_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value!r}, expected a finite number")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_finite(inner, f"{where}: {key!r}")


def check_arm(entry: Any, path: str | os.PathLike[str], name: str | None = None) -> None:
    """Raise ValueError, naming `path` and the key, unless `entry` is an ArmRecord of finite numbers.

    `name` is the arm it should be. An arm has a network, whose entries are then all there, or `direct`, or both.
    """
    check_fields(entry, ArmRecord, str(path))
    absent = [key for key in OF_NETWORK if entry[key] is None]
    if absent and (len(absent) < len(OF_NETWORK) or entry["direct"] is None):
        raise ValueError(f"{path}: {absent[0]!r} is null, expected the entries of a network, of 'direct', or of both")
    for part in PARTS:
        if entry.get(part) is not None:
            check_fields(entry[part], PartRecord, f"{path}: {part!r}")
    _check_finite(entry, str(path))
    if entry["status"] not in STATUSES:
        raise ValueError(f"{path}: 'status' is {entry['status']!r}, expected one of {STATUSES}")
    if name is not None and entry["name"] != name:
        raise ValueError(f"{path}: 'name' is {entry['name']!r}, expected {name!r}")


def read_arm(out: Path, name: str) -> Any:
    """The entry of the arm `name` in the study's folder `out`.

    Raises ValueError, with the path within `out`, when its metrics.json is missing, corrupt or against the schema.
    """
    path = out / name / layout.METRICS
    try:
        entry = read_json(path)
        check_arm(entry, path.relative_to(out), name)
    except ValueError as error:
        raise ValueError(str(error).replace(f"{out}{os.sep}", "")) from error
    return entry


class Trusted(NamedTuple):
    """What is doubtful about the reference of a measured scan, what else its tests found, a line each, and the finest
    frequency that may be claimed, as a fraction of Nyquist."""

    doubts: list[str]
    told: list[str]
    finest: float


def trusted(folders: Iterable[Path]) -> Trusted:
    """The trust.json in each folder of a study of a measured scan together, each test told once.

    A file that cannot be read is a doubt.
    """
    doubts, told, finest = list[str](), list[str](), 1.0
    for folder in folders:
        try:
            found = read_json(folder / layout.TRUST)
            doubts += found["doubts"]
            told += found["told"]
            finest = min(finest, found["finest"])
        except (ValueError, KeyError, TypeError) as error:
            doubts.append(f"whether the reference is true is not known ({error})")
    return Trusted(_each_once(doubts), _each_once(told), finest)


def _each_once(lines: Iterable[str]) -> list[str]:
    """The lines without those that repeat one; of lines that differ in a test's figure alone, one with their range."""
    found: dict[tuple[str, str], set[str]] = {}
    for line in map(str, lines):
        test = re.fullmatch(r"(\w+ )(-?\d+(?:\.\d+)?(?:e[+-]\d+)?)(, expected .*)", line)
        before, figure, after = test.groups() if test else (line, "", "")
        found.setdefault((before, after), set()).add(figure)
    told = []
    for (before, after), figures in found.items():
        ordered = sorted(figures, key=lambda figure: (float(figure or 0), figure))
        told.append(before + " to ".join(dict.fromkeys((ordered[0], ordered[-1]))) + after)
    return told


RESOLUTIONS = [f"{of}_{name}" for of in ("amplitude", "phase") for name in ("frc50", "first", "seventh")]
"""The numbers of a part that tell a resolution."""


def claimed(gathered: Mapping[str, Any]) -> list[Any]:
    """The arms of a study or sweep, as gathered, without a resolution finer than its ``finest``, a fraction of Nyquist:
    more than the reference of a measured scan lets one claim."""
    finest = gathered.get("finest", 1.0)

    def no_finer(part: Mapping[str, Any]) -> dict[str, Any]:
        finer = {name: finest for name in RESOLUTIONS if part.get(name) is not None and part[name] > finest}
        return {**part, **finer}

    return [
        {name: no_finer(value) if name in PARTS and isinstance(value, dict) else value for name, value in arm.items()}
        if isinstance(arm, dict)
        else arm
        for arm in gathered["arms"]
    ]


def collect(out: str | os.PathLike[str], names: Iterable[str], measured: bool = False) -> dict[str, Any]:
    """Return the content of `out`/metrics.json, put together from the metrics.json of each arm in `names`.

    Of a `measured` scan also what resolution.json tells, the doubts about its reference, and the finest frequency that
    it lets one claim. Raises ValueError naming
    the file that is missing, corrupt or against the schema.
    """
    found = [read_arm(Path(out), name) for name in names]
    if not found:
        raise ValueError(f"{out}: a study needs at least one arm")
    told: dict[str, Any] = {}
    if measured:
        told["resolution"] = read_json(Path(out) / f"{layout.RESOLUTION}.json")
        told["doubts"], _, told["finest"] = trusted([Path(out)])
    return {"schema": 1, "arms": found, **told}
