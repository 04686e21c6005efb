"""What is to be reached, beside what was measured here and what the machine's Fourier transforms alone would allow."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.process import Row
from ptycho.files import ROOT

TRANSFORM_US = 8.0
"""Microseconds of a 64 x 64 transform on a core of the machine that the targets were set on."""

STUDY = {"NEPOCHS": 5}
_RATES = {
    "training": ("groups_per_s", 400.0),
    "inference": ("patterns_per_s", 4000.0),
    "direct": ("patterns_per_s", 2e4),
}
_SECONDS = {"import ptycho": 0.2, "a notebook that imports what an arm needs": 3.0, "make study": 110.0}


def study(jobs: Sequence[int]) -> list[Row]:
    """Rows (what, jobs, seconds) of `make study` from nothing but the environment, so many arms at a time."""
    rows = []
    (ROOT / "build").mkdir(exist_ok=True)
    for number in jobs:
        with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
            words = [f"{name}={value}" for name, value in STUDY.items()] + [f"JOBS={number}"]
            command = ["make", "study", f"OUT={Path(folder).relative_to(ROOT)}/study", *words]
            started = time.perf_counter()
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            rows.append({"what": "make study", "jobs": number, "seconds": time.perf_counter() - started})
    return rows


def table(starts: Sequence[Row], studies: Sequence[Row], throughput: Sequence[Row]) -> list[Row]:
    """Each target with the best that was measured on the processor, N = 64, gridsize 2.

    ``scaled`` is the target as this machine's transform would have it, slower or faster than TRANSFORM_US;
    ``transforms_alone`` what is left if nothing but the transforms took time. Of seconds, less is better.
    """
    rows = []
    usual = [row for row in throughput if (row["device"], row["N"]) == ("cpu", 64) and row["architecture"] != "cnn"]
    slower = usual[0]["transform_us"] / TRANSFORM_US
    for task, (unit, target) in _RATES.items():
        best = max((row for row in usual if row["task"] == task and _asked(row)), key=lambda row: row[unit])
        alone = best["transforms_alone_per_s"] * best[unit] / best["patterns_per_s"]
        rows.append(_row(f"{task}, {unit.replace('_per_s', '/s')}", target, best[unit], target / slower, alone))
    for what, target in _SECONDS.items():
        found = [row["seconds"] for row in (*starts, *studies) if row["what"] == what]
        if found:
            rows.append(_row(f"{what}, s", target, min(found), target * slower, None))
    return rows


def _asked(row: Row) -> bool:
    return row["task"] == "direct" or row["gridsize"] == 2


def _row(what: str, target: float, measured: float, scaled: float, alone: float | None) -> Row:
    better = min if what.endswith(", s") else max
    return {
        "what": what,
        "target": target,
        "measured": measured,
        "met": "yes" if better(target, measured) == measured else "no",
        "scaled": scaled,
        "met_scaled": "yes" if better(scaled, measured) == measured else "no",
        "transforms_alone": alone,
    }
