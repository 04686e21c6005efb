"""How far a study is: what a running notebook tells of itself, and how each stage stands."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ptycho.files import json_if_any, write_if_changed, write_json
from ptycho.study import sources
from ptycho.study.layout import CRATE, FAILED, PROGRESS, RUNNING, STATUS, Stage


def write_progress(
    arm_dir: str | os.PathLike[str],
    *,
    stage: str,
    epoch: int,
    nepochs: int,
    seconds_per_epoch: float | None = None,
    **details: float | None,
) -> None:
    """Write `arm_dir`/progress.json: `epoch` of `nepochs` are done, `stage` is under way; `details` are kept beside."""
    values = {"pid": os.getpid(), "stage": stage, "epoch": epoch, "nepochs": nepochs}
    write_json(Path(arm_dir) / PROGRESS, {**values, "seconds_per_epoch": seconds_per_epoch, **details})


class Passes:
    """Goes through the passes of a fit, and tells of them in the progress.json of `arm_dir`, once a second at most.

    `part` is the part of the arm that is fitted; the training before it had `nepochs` epochs.
    """

    def __init__(self, arm_dir: str | os.PathLike[str], part: str, nepochs: int):
        self.arm_dir, self.part, self.nepochs = arm_dir, part, nepochs

    def __call__(self, passes: range) -> Iterator[int]:
        begun = told = time.monotonic()
        for done in passes:
            now = time.monotonic()
            begun = now if done == 1 else begun  # the first pass also compiles
            if done <= 1 or now - told >= 1:
                each = (now - begun) / (done - 1) if done > 1 else None
                how = {"passes": len(passes), "done": done, "seconds_per_pass": each}
                write_progress(self.arm_dir, stage=self.part, epoch=self.nepochs, nepochs=self.nepochs, **how)
                told = now
            yield done


WORDS = {
    **{"inference": "reconstructing", "direct_heldout": "direct on the held-out scan"},
    **{"simulate": "simulating", "resolution": "finding the resolution", "train-arm": "starting"},
    **{"compare": "comparing", "dose-response": "gathering"},
}
"""What a notebook is doing: by the stage that it told, or by its name until it has told one."""


def _doing(progress: Mapping[str, Any]) -> str:
    """What a notebook that told `progress` is doing. It is in the epoch or pass after those that are done."""
    stage, epochs = progress["stage"], progress["nepochs"]
    if progress.get("passes"):
        done, passes = progress["done"], progress["passes"]
        return f"{WORDS.get(stage, stage)}, " + (f"pass {done + 1} of {passes}" if done else "compiling")
    return f"epoch {min(progress['epoch'] + 1, epochs)} of {epochs}" if stage == "training" else WORDS.get(stage, stage)


def _left(progress: Mapping[str, Any], age: float) -> float | None:
    """Seconds to the end of the training or fit that `progress` is of, which was told `age` seconds ago."""
    left, each = progress["nepochs"] - progress["epoch"], progress.get("seconds_per_epoch")
    if progress.get("passes"):
        left, each = progress["passes"] - progress["done"], progress["seconds_per_pass"]
    return None if each is None else max(0.0, left * each - min(max(0.0, age), each))


@dataclass(frozen=True)
class Row:
    """A line of the status table; times in seconds, None where unknown."""

    name: str
    state: str
    step: str = ""
    elapsed: float | None = None
    eta: float | None = None
    notebook: str = "train-arm"

    @property
    def now(self) -> str:
        """What it is doing, under its name; a stage that is no arm's is known by what it does."""
        seed = self.name.rpartition("/")[0]
        name = self.name if self.notebook == "train-arm" else seed
        return f"{name}: {self.step}" if name else self.step


def arms_of(rows: Iterable[Row]) -> list[Row]:
    """Those of the arms: the others take little time, and are not counted."""
    return [row for row in rows if row.notebook == "train-arm"]


def alive(marker: Mapping[str, Any]) -> bool:
    """Whether the process that wrote `marker` runs; of another machine's, what it wrote is all there is to know."""
    if marker.get("machine", platform.node()) != platform.node():
        return True
    try:
        os.kill(int(marker["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, KeyError, TypeError, ValueError):
        return False
    # where nobody collects a process that has ended, as in many containers, its number stays in use
    with suppress(OSError):
        return not Path(f"/proc/{marker['pid']}/stat").read_text().rpartition(")")[2].startswith(" Z")
    return True


def time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def state_of(out: Path, stage: Stage, now: float) -> Row:
    """How the stage stands: done, running, failed, stopped or pending.

    It is done when its notebook is no older than anything it is made from, what it leaves is there, and the code of
    its notebook is still that of which the digest was taken.
    """
    notebook = out / stage.rendered
    running, progress_file = json_if_any(notebook.with_suffix(RUNNING)), notebook.with_name(PROGRESS)
    progress = json_if_any(progress_file)
    if alive(running):
        elapsed = now - running["started"]
        if not progress or (told := time_of(progress_file)) < running["started"]:
            return Row(stage.name, "running", WORDS.get(stage.notebook, ""), elapsed, None, stage.notebook)
        return Row(stage.name, "running", _doing(progress), elapsed, _left(progress, now - told), stage.notebook)
    made, failed = time_of(notebook), time_of(notebook.with_suffix(FAILED))
    needed = max(time_of(out / path) for path in stage.needs)
    if failed > max(made, time_of(out / stage.parameters)):
        return Row(stage.name, "failed", notebook=stage.notebook)
    whole = notebook.exists() and all((out / path).exists() for path in stage.outputs)
    if whole and made >= needed and sources.is_current(out / stage.code, stage.notebook):
        return Row(stage.name, "done", "", _took(notebook, made), None, stage.notebook)
    if progress and time_of(progress_file) > needed > made:
        return Row(stage.name, "stopped", _doing(progress), notebook=stage.notebook)
    return Row(stage.name, "stopped" if running else "pending", notebook=stage.notebook)


@cache
def _took(notebook: Path, made: float) -> float | None:
    """Seconds that the rendered notebook, of the time `made`, took."""
    return json_if_any(notebook).get("metadata", {}).get("papermill", {}).get("duration")


def survey(out: str | os.PathLike[str], stages: Sequence[Stage], now: float | None = None) -> list[Row]:
    """How each of `stages`, in their order, stands. What is made from something that is yet to be made is not done."""
    out, now = Path(out), time.time() if now is None else now
    rows, stale = [], set[str]()
    for stage in stages:
        row = state_of(out, stage, now)
        if row.state in ("done", "failed") and stale.intersection(stage.inputs):
            row = Row(stage.name, "pending", notebook=stage.notebook)
        if row.state != "done":
            stale.update((stage.rendered, *stage.outputs))
        rows.append(row)
    return rows


def write_unfinished(out: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Say in status.txt of an unfinished study which stages stopped and how far they were, beside those that failed."""
    stopped = [f"{row.name}: stopped" + f" ({row.step})" * bool(row.step) for row in rows if row.state == "stopped"]
    write_status(out, NOT_VERIFIED, [*failures(out), *(stopped or ["the study has not finished"])])


VERIFIED, DOUBTFUL, NOT_VERIFIED = "VERIFIED", "DOUBTFUL", "NOT VERIFIED"
"""The verdicts: all ran and what it says is true; all ran, but the reference of a measured scan may be wrong; it did
not run as it should."""


def unclaimed(doubts: Sequence[str]) -> list[str]:
    """What a study of a doubtful reference says in place of a resolution or a dose; nothing where there is no doubt."""
    return (
        [f"{DOUBTFUL}: no resolution and no dose is claimed, for the reference may be wrong.", *doubts]
        if doubts
        else []
    )


def write_status(out: str | os.PathLike[str], verdict: str, lines: Iterable[str]) -> str:
    """Write `out`/status.txt, the verdict its first line, if it says something new; return its text."""
    text = "\n".join([verdict, *(f"- {line}" for line in lines)]) + "\n"
    write_if_changed(Path(out) / STATUS, text)
    return text


def status_lines(out: str | os.PathLike[str]) -> list[str]:
    """The lines of `out`/status.txt; none where there is none."""
    path = Path(out) / STATUS
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def mark_unfinished(out: str | os.PathLike[str], after_success: bool) -> None:
    """Withdraw a verdict that new work makes void: one of success, or (`after_success` False) one of failure.

    The record of the files goes with the verdict: new work changes them."""
    if (lines := status_lines(out)) and (lines[0] != NOT_VERIFIED) == after_success:
        write_status(out, NOT_VERIFIED, ["the study has not finished"])
        (Path(out) / CRATE).unlink(missing_ok=True)


def add_failure(out: str | os.PathLike[str], line: str) -> None:
    """Add the failure of a stage, in one line, to the others of this study's status.txt."""
    write_status(out, NOT_VERIFIED, [*failures(out), line])


def failures(out: str | os.PathLike[str]) -> list[str]:
    """The lines of `out`/status.txt that tell of a stage that failed."""
    return [line.removeprefix("- ") for line in status_lines(out)[1:] if " failed: " in line]
