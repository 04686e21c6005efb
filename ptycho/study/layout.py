"""Where everything of a study lies: one table of its stages, and the names of its files.

A stage is a notebook that runs once: what it is made from, and what it leaves. From this table follow the rules that
make goes by (:mod:`ptycho.run.engine`), what is done and what is not (:mod:`ptycho.study.status`), what the report
shows and what is removed. Paths are relative to the study's folder, OUT. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ptycho.config import DIRECT
from ptycho.errors import ConfigError
from ptycho.study.config import Arm, arms

SIMULATE, RESOLVE, STUDY, SWEEP = "simulate.yaml", "resolution.yaml", "study.yaml", "sweep.yaml"
"""The parameters of notebooks; the last two, of what compares the arms, tell the folder of a study and of a sweep."""
STATUS, LOG, INDEX, CRATE = "status.txt", "run.log", "report/index.html", "ro-crate-metadata.json"
METRICS, HISTORY, FRC = "metrics.json", "history.csv", "frc.json"
RECONSTRUCTION, MODEL = "reconstruction.npz", "model.keras"
"""Of an arm, in its folder; a study's own METRICS holds those of all its arms. HISTORY and BACKUP are called so by
:func:`ptycho.reconstruct.training.fit`, which writes them."""
PROGRESS, BACKUP, PROVENANCE = "progress.json", "backup", "provenance.json"
COMPARISON, RESOLUTION, RESPONSE, CURVES = "dose_comparison", "resolution", "dose_response", "frc_response"
"""The stems of figures, which lie there as PNG and PDF, with their numbers as CSV."""
BOUND = "bound.json"
"""The Cramér-Rao bounds of a study's scans."""
ARMS = "arms.json"
"""Every arm of a sweep, by the schema of METRICS; one without numbers has a status and a reason."""
TABLE, WORDS = "arms.csv", "verdict.txt"
"""Of a sweep: its arms as a table, and its verdict in words."""
MEASURED = "data/measured.npz"
"""A measured scan whole, and what all its photons told of it."""
TRUST = "data/trust.json"
"""Whether a measured scan's reference is true: its tests, what is doubtful, the finest frequency that is claimed."""
SOURCES = "sources"
"""The folder of digests, one a notebook and one of the scan: a stage is stale where the content has changed."""
RULES = "rules.mk"
RUNNING, PARTIAL, FAILED = ".partial.json", ".partial.ipynb", ".failed.ipynb"
"""Suffixes beside a notebook: of the file that says which process makes it, and of what it makes or left."""
SPLITS = {"train": "train", "heldout": "test"}
"""What the scans of both splits are called in their files' names."""


def scan_file(dose: str, split: str) -> str:
    """The scan of a dose, as a word, and of a split, one of SPLITS."""
    return f"data/{Arm(dose, '').dose_name}_{SPLITS[split]}.npz"


def arm_parameters(arm: Arm) -> str:
    """The parameters of an arm's notebook."""
    return f"{arm.name}/arm.yaml"


def seed_folder(seed: int) -> str:
    """The folder of one seed's study, within its sweep's."""
    return f"seed-{seed}"


def source(name: str) -> str:
    """The file that holds the digest of a notebook's code, or of the ``scan``."""
    return f"{SOURCES}/{name}.sha256"


def made(out: str | os.PathLike[str], name: str, by: str) -> Path:
    """The file `name` of the study or sweep in `out`. Raises ConfigError, naming what makes it, where it is missing."""
    path = Path(out, name)
    if not path.exists():
        raise ConfigError(f"{path} is missing. Run {by} first.")
    return path


def drawn(stem: str) -> tuple[str, ...]:
    """The files of a figure."""
    return tuple(f"{stem}.{suffix}" for suffix in ("png", "pdf", "csv"))


@dataclass(frozen=True)
class Stage:
    """A notebook that runs once.

    name        what the log, the status and the messages call it
    notebook    the stem of the notebook
    folder      where its output goes, "" for OUT
    parameters  the YAML file that it runs with
    inputs      what else it is made from
    outputs     what it leaves beside its output
    shows       what the report calls its page, None for the stage that the report opens with
    """

    name: str
    notebook: str
    folder: str
    parameters: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    shows: str | None = None

    @property
    def rendered(self) -> str:
        """The rendered notebook."""
        return f"{self.folder}{self.notebook}.ipynb"

    @property
    def code(self) -> str:
        """The file that holds the digest of the notebook's code."""
        return f"{self.seed}{source(self.notebook)}"

    @property
    def seed(self) -> str:
        """The folder of the seed's study that it is of, with a slash; "" for a stage of OUT itself."""
        return self.name.partition("/")[0] + "/" if "/" in self.name else ""

    @property
    def needs(self) -> tuple[str, ...]:
        """All it is made from."""
        return (self.parameters, self.code, *self.inputs)

    def within(self, folder: str) -> Stage:
        """The stage of a study whose folder is one of a sweep's."""
        inputs, outputs = (tuple(f"{folder}/{path}" for path in paths) for paths in (self.inputs, self.outputs))
        name, own, parameters = (f"{folder}/{path}" for path in (self.name, self.folder, self.parameters))
        return replace(self, name=name, folder=own, parameters=parameters, inputs=inputs, outputs=outputs)


def study_stages(plan: Mapping[str, Any]) -> list[Stage]:
    """The stages of a study in their order: `plan` holds doses, losses, methods, and whether the scan is measured."""
    scans = [scan_file(dose, split) for dose in plan["doses"] for split in SPLITS]
    digest, whole = ((source("scan"),), (MEASURED, TRUST)) if plan["measured"] else ((), ())
    stages = [Stage("simulate", "simulate", "", SIMULATE, digest, (*scans, *whole), "The scans")]
    if plan["measured"]:
        outputs = (f"{RESOLUTION}.json", *drawn(RESOLUTION))
        stages.append(
            Stage("resolution", "resolution", "", RESOLVE, (MEASURED, TRUST), outputs, shows="The resolution")
        )
    stages += [_arm(arm, plan["methods"]) for arm in arms(plan["doses"], plan["losses"])]
    compared = tuple(stage.rendered for stage in stages[1:])
    return [*stages, Stage("compare", "compare", "", STUDY, compared, (METRICS, *drawn(COMPARISON)))]


def _arm(arm: Arm, methods: Sequence[str]) -> Stage:
    trained = (HISTORY, MODEL) if set(methods) - {DIRECT} else ()
    made = tuple(f"{arm.name}/{name}" for name in (METRICS, FRC, RECONSTRUCTION, *trained))
    scans = tuple(scan_file(arm.dose, split) for split in SPLITS)
    return Stage(arm.name, "train-arm", f"{arm.name}/", arm_parameters(arm), scans, made, shows=arm.name)


def sweep_stages(plan: Mapping[str, Any]) -> list[Stage]:
    """The stages of a sweep as far as its arms: `plan` has seeds, too."""
    stages = [stage for stage in study_stages(plan) if stage.notebook in ("simulate", "train-arm")]
    return [stage.within(seed_folder(seed)) for seed in plan["seeds"] for stage in stages]


def gathering() -> Stage:
    """The stage that puts the arms of a sweep together."""
    figures = (RESPONSE, "error_response", CURVES)
    made = (TABLE, f"{RESPONSE}.json", WORDS, *(file for stem in figures for file in drawn(stem)))
    return Stage("dose-response", "dose-response", "", SWEEP, (ARMS,), made)


def seeds_in(out: Path) -> Iterator[Path]:
    """The folders of the seeds' studies that lie in a sweep's folder `out`."""
    return (study.parent for study in out.glob(f"seed-*/{STUDY}"))


def leavings(out: Path) -> Iterator[Path]:
    """The files and folders that a study or sweep in `out` may have made, whether or not they are there."""
    yield from (arm.parent for arm in out.glob("*/arm.yaml"))
    told = (STATUS, LOG, CRATE, METRICS, WORDS, ARMS, BOUND, f"bound{RUNNING}")
    yield from (out / name for name in (*told, Path(INDEX).parent, STUDY, SWEEP, RULES, SOURCES, "data"))
    notebooks = ("simulate", "compare", "resolution", "dose-response")
    figures = (
        COMPARISON,
        RESPONSE,
        "error_response",
        CURVES,
        "efficiency_response",
        "dose_factor",
        "published",
        "spokes",
        "arms",
    )
    for pattern in (*(f"{stem}.*" for stem in (*notebooks, *figures)), "blocked_*.md", ".partial.*"):
        yield from out.glob(pattern)
