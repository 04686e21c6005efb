"""How far a study is: what a running notebook tells of itself, and the table of `make status`."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho.files import json_if_any, text_table, write_if_changed, write_json
from ptycho.study import sources
from ptycho.study.layout import FAILED, PROGRESS, RUNNING, STATUS, Stage


def write_progress(
    arm_dir: str | os.PathLike[str],
    *,
    stage: str,
    epoch: int,
    nepochs: int,
    seconds_per_epoch: float | None = None,
    **details: float,
) -> None:
    """Write `arm_dir`/progress.json: `epoch` of `nepochs` are done, `stage` is under way; `details` are kept beside."""
    values = {"pid": os.getpid(), "stage": stage, "epoch": epoch, "nepochs": nepochs}
    write_json(Path(arm_dir) / PROGRESS, {**values, "seconds_per_epoch": seconds_per_epoch, **details})


@dataclass(frozen=True)
class Row:
    """A line of the status table; times in seconds, None where unknown."""

    name: str
    state: str
    step: str = ""
    elapsed: float | None = None
    eta: float | None = None


def _alive(marker: Mapping[str, Any]) -> bool:
    """Whether the process that wrote `marker` runs; of another machine's, what it wrote is all there is to know."""
    if marker.get("machine", platform.node()) != platform.node():
        return True
    try:
        os.kill(int(marker["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, KeyError, TypeError, ValueError):
        return False
    return True


def _time(path: Path) -> float:
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
    step = f"{progress['stage']} {progress['epoch']}/{progress['nepochs']}" if progress else ""
    if _alive(running):
        elapsed = now - running["started"]
        if not progress or _time(progress_file) < running["started"]:
            return Row(stage.name, "running", "", elapsed)
        left, seconds = progress["nepochs"] - progress["epoch"], progress.get("seconds_per_epoch")
        return Row(stage.name, "running", step, elapsed, left * seconds if seconds is not None else None)
    made, failed = _time(notebook), _time(notebook.with_suffix(FAILED))
    needed = max(_time(out / path) for path in stage.needs)
    if failed > max(made, _time(out / stage.parameters)):
        return Row(stage.name, "failed")
    whole = notebook.exists() and all((out / path).exists() for path in stage.outputs)
    if whole and made >= needed and sources.is_current(out / stage.code, stage.notebook):
        metadata = json_if_any(notebook).get("metadata", {})
        return Row(stage.name, "done", "", metadata.get("papermill", {}).get("duration"))
    if progress and _time(progress_file) > needed > made:
        return Row(stage.name, "stopped", step)
    return Row(stage.name, "stopped" if running else "pending")


def survey(out: str | os.PathLike[str], stages: Sequence[Stage], now: float | None = None) -> list[Row]:
    """How each of `stages`, in their order, stands. What is made from something that is yet to be made is not done."""
    out, now = Path(out), time.time() if now is None else now
    rows, stale = [], set[str]()
    for stage in stages:
        row = state_of(out, stage, now)
        if row.state in ("done", "failed") and stale.intersection(stage.inputs):
            row = Row(stage.name, "pending")
        if row.state != "done":
            stale.update((stage.rendered, *stage.outputs))
        rows.append(row)
    return rows


def write_unfinished(out: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Say in status.txt of an unfinished study which stages stopped and how far they were, beside those that failed."""
    stopped = []
    for row in (row for row in rows if row.state == "stopped"):
        stage, _, epochs = row.step.partition(" ")
        where = f" in its {stage}, after epoch {epochs.replace('/', ' of ')}" if epochs else ""
        stopped.append(f"{row.name}: stopped{where}")
    write_status(out, NOT_VERIFIED, [*_failures(out), *(stopped or ["the study has not finished"])])


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def status_summary(rows: Sequence[Row], beside: int = 0) -> str:
    """Return in one line how many arms are done, running, failed and to come, and when all will be.

    The time left is that of the arms to come, each as long as the mean of those done, shared by those that run side by
    side: as many as are found running, and `beside` more that are about to.
    """
    count = Counter(row.state for row in rows)
    done, failed, running = count["done"], count["failed"], count["running"]
    to_come = len(rows) - done - failed - running
    words = f"{done} of {len(rows)} arms done, {running} running, {failed} failed, {to_come} to come"
    took = [row.elapsed for row in rows if row.state == "done" and row.elapsed is not None]
    at_once = min(len(rows), running + beside)
    if not took or not at_once:
        return words
    mean = sum(took) / len(took)
    left = to_come * mean + sum(max(0.0, mean - (row.elapsed or 0)) for row in rows if row.state == "running")
    return f"{words}; ETA {_duration(left / at_once)}" if left else words


def status_table(rows: Sequence[Row]) -> str:
    """Return `rows` as text, a line each under a heading; times as minutes:seconds."""
    width = max([14, *(len(row.name) for row in rows)])
    widths = {"stage": f"<{width}", "state": "<8", "step": "<18", "elapsed": ">8", "ETA": ">8"}
    cells = ((row.name, row.state, row.step, _duration(row.elapsed), _duration(row.eta)) for row in rows)
    return text_table([(title, form, "") for title, form in widths.items()], cells)


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
    """Withdraw a verdict that new work makes void: one of success, or (`after_success` False) one of failure."""
    if (lines := status_lines(out)) and (lines[0] != NOT_VERIFIED) == after_success:
        write_status(out, NOT_VERIFIED, ["the study has not finished"])


def add_failure(out: str | os.PathLike[str], line: str) -> None:
    """Add the failure of a stage, in one line, to the others of this study's status.txt."""
    write_status(out, NOT_VERIFIED, [*_failures(out), line])


def _failures(out: str | os.PathLike[str]) -> list[str]:
    return [line.removeprefix("- ") for line in status_lines(out)[1:] if " failed: " in line]
