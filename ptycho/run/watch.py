"""How far a study or sweep is, in words: the table of `make status`, and the one line that is told while it is made.

Both go by the files that its notebooks write as they work (:mod:`ptycho.study.status`), whatever process looks at them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ptycho.files import json_if_any, text_table
from ptycho.study import layout, plan, status, sweep
from ptycho.study.campaigns import campaign_in, sweeps_in
from ptycho.study.layout import Stage
from ptycho.study.status import Row, arms_of


def duration(seconds: float | None) -> str:
    """A time as minutes:seconds, or hours:minutes:seconds."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def time_left(arms: Sequence[Row], jobs: int | None = None) -> float | None:
    """Seconds until all arms are made, `jobs` at a time, or as many as are found running; None where not known.

    An arm takes as long as the mean of those done. Before one is done, it takes as long as one that is running: its
    time so far, which holds start and compilation once, and its epochs left, at the pace of those it has trained.
    """
    count = Counter(row.state for row in arms)
    running = [row for row in arms if row.state == "running"]
    to_come, at_once = count["pending"] + count["stopped"], min(len(arms), jobs or len(running))
    took = [row.elapsed for row in arms if row.state == "done" and row.elapsed is not None]
    expected = [(row.elapsed or 0.0) + row.eta for row in running if row.eta is not None]
    if not at_once or not (took or expected):
        return None
    each = sum(took) / len(took) if took else max(expected)
    left = [max(row.eta or 0.0, each - (row.elapsed or 0.0)) for row in running]
    return max([(to_come * each + sum(left)) / at_once, *left])


def status_summary(arms: Sequence[Row], jobs: int | None = None) -> str:
    """Return in one line how many arms are done, running, failed and to come, and when all will be."""
    count, left = Counter(row.state for row in arms), time_left(arms, jobs)
    done, running, failed = count["done"], count["running"], count["failed"]
    to_come = len(arms) - done - failed - running
    words = f"{done} of {len(arms)} arms done, {running} running, {failed} failed, {to_come} to come"
    return f"{words}; ETA {duration(left)}" if left else words


def goes_on(out: str | os.PathLike[str], stages: Sequence[Stage], rows: Sequence[Row]) -> str:
    """Say in one line from where a new run goes on: what is done, and the epoch of an arm that kept one; "" for none.

    What an arm kept is its backup: without one it begins anew, however far it was.
    """
    arms, stopped = arms_of(rows), []
    done = [row for row in arms if row.state == "done"]
    for stage, row in zip(stages, rows, strict=True):
        backups = Path(out, stage.folder, layout.BACKUP).glob("*-*.weights.h5") if row.state == "stopped" else ()
        kept = max((int(path.name.split("-")[1].split(".")[0]) for path in backups), default=0)
        nepochs = json_if_any(Path(out, stage.folder, layout.PROGRESS)).get("nepochs", 0)
        if kept:
            where = f"at epoch {kept + 1} of {nepochs}" if kept < nepochs else "after its training"
            stopped.append(f"{row.name} {where}")
    if len(done) == len(arms) or not (done or stopped):
        return ""
    are = "is" if len(done) == 1 else "are"
    return f"goes on: {'; '.join([f'{len(done)} of {len(arms)} arms {are} done', *in_short(stopped)])}"


def in_short(names: Sequence[str], most: int = 3) -> list[str]:
    """The first `most` of them, and how many more there are."""
    more = len(names) - most
    return [*names[:most], f"{more} more"] if more > 0 else list(names)


def status_table(rows: Sequence[Row]) -> str:
    """Return `rows` as text, a line each under a heading."""
    width = max([14, *(len(row.name) for row in rows)])
    widths = {"stage": f"<{width}", "state": "<8", "step": "<22", "elapsed": ">8", "ETA": ">8"}
    cells = ((row.name, row.state, row.step, duration(row.elapsed), duration(row.eta)) for row in rows)
    return text_table([(title, form, "") for title, form in widths.items()], cells)


def tell(out: str | os.PathLike[str]) -> str:
    """How far the study or sweep in `out` is, in words: of a sweep, the table has no arm that is done or to come.
    Where only its report is kept, its verdict. Of a campaign, a line for each of its sweeps.

    What stopped is also said in the status.txt of a study, where that can be written. Raises ConfigError where there
    is none of them.
    """
    if campaign := campaign_in(out):
        begun = ((name, path, (path / layout.SWEEP).exists()) for name, path in sweeps_in(Path(out), campaign).items())
        return "\n".join(f"{name}: {_in_a_line(path) if there else 'not begun'}" for name, path, there in begun)
    if sweep.report_alone(out):
        words = "only its report is kept, without its scans and networks"
        return "\n".join([f"{out}: {words}", *status.status_lines(out)])
    stages = stages_of(out)
    rows = [*status.survey(out, stages), *_bounds(out, stages)]
    told = rows
    if sweep.planned(out) is not None:
        told = [row for row in rows if row.state in ("running", "failed", "stopped")]
    elif any(row.state == "stopped" for row in rows):
        with suppress(OSError):  # whoever may only read the folder still sees the table
            status.write_unfinished(out, rows)
    return "\n".join([status_summary(arms_of(rows)), *([status_table(told)] if told else [])])


def _in_a_line(out: Path) -> str:
    if sweep.report_alone(out):
        return next(iter(status.status_lines(out)), "only its report is kept, without a verdict")
    return tell(out).splitlines()[0]


def stages_of(out: str | os.PathLike[str]) -> list[Stage]:
    """The stages of the study or sweep in `out`. Raises ConfigError where there is neither."""
    if (swept := sweep.planned(out)) is not None:
        return [*layout.sweep_stages(swept), layout.gathering()]
    return layout.study_stages(plan.planned(out))


def _bounds(out: str | os.PathLike[str], stages: Sequence[Stage]) -> list[Row]:
    """The bounds of scans that are being computed, which no notebook does."""
    seeds = dict.fromkeys(stage.seed for stage in stages if stage.seed)
    markers = {seed: json_if_any(Path(out, seed, layout.BOUND).with_suffix(layout.RUNNING)) for seed in seeds}
    at_work = (seed for seed, marker in markers.items() if status.alive(marker))
    return [Row(f"{seed}bound", "running", "computing the bound", notebook="bound") for seed in at_work]


# --- the one line -----------------------------------------------------------------------------------------------------


EVERY = 10.0
"""Seconds between two lines, without a terminal. A line that would say the same is left out."""
DRAIN = 10.0
"""Seconds to wait, when make has ended, for the last of what it prints."""


class Watch:
    """The one line of a study or sweep in `out`, `jobs` of whose stages are made at a time: while it lasts, a bar in a
    terminal, else now and then a line. `title` comes before it, where there are several."""

    def __init__(self, out: Path, jobs: int, title: str = ""):
        self.out, self.jobs, self.title = out, jobs, f"{title}: " if title else ""
        self.started = time.time()
        self.stages = stages_of(out)
        self._seen: list[tuple[float, ...]] = []
        self._rows: list[Row] = []
        self._facts: object = None
        self._at = 0.0
        self._bar: Any = None
        self._lock = threading.Lock()

    def rows(self) -> list[Row]:
        """How each stage stands. What an earlier run left as failed is to come, for make tries it again."""
        seen = [tuple(status.time_of(path) for path in self._files(stage)) for stage in self.stages]
        if seen != self._seen:
            self._rows, self._seen = status.survey(self.out, self.stages), seen
            for k, (row, times) in enumerate(zip(self._rows, seen, strict=True)):
                if row.state == "failed" and times[-1] < self.started:
                    self._rows[k] = replace(row, state="pending")
        now = time.time()
        both = zip(self.stages, self._rows, strict=True)
        rows = [status.state_of(self.out, stage, now) if row.state == "running" else row for stage, row in both]
        return [*rows, *_bounds(self.out, self.stages)]

    def _files(self, stage: Stage) -> list[Path]:
        """Those that change when a stage begins or ends."""
        made = self.out / stage.rendered
        return [made.with_suffix(layout.RUNNING), made, made.with_suffix(layout.FAILED)]

    def __enter__(self) -> Watch:
        if words := goes_on(self.out, self.stages, status.survey(self.out, self.stages)):
            print(f"{self.title}{words}", flush=True)
        if sys.stdout.isatty() and all(os.get_terminal_size(sys.stdout.fileno())):  # some have no size
            from tqdm import tqdm

            tqdm.set_lock(threading.RLock())  # its own would also hold for other processes, and start one to keep it
            how = f"{self.title}|{{bar:20}}| {{n}} of {{total}} arms{{postfix}}"
            total = len(arms_of(self.rows()))
            self._bar = tqdm(total=total, bar_format=how, file=sys.stdout, leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with suppress(OSError):  # the terminal may have gone
                self._bar.close()

    def until_ended(self, child: subprocess.Popen[str]) -> int:
        """Tell of the stages until `child`, which makes them, has ended; return its status. What it prints comes out
        above the line."""
        pipes = ((child.stdout, sys.stdout), (child.stderr, sys.stderr))
        copies = [threading.Thread(target=self._copy, args=both, daemon=True) for both in pipes]
        for copy in copies:
            copy.start()
        while True:
            try:
                made = child.wait(1.0)
                break
            except subprocess.TimeoutExpired:
                with suppress(OSError):
                    self._tell()
        for copy in copies:
            copy.join(DRAIN)
        return made

    def _copy(self, pipe: IO[str], to: IO[str]) -> None:
        for text in pipe:
            with suppress(OSError), self._lock:  # a terminal that takes no more does not stop the study
                if self._bar is not None:
                    self._bar.write(text, file=to, end="")
                else:
                    to.write(text)
                to.flush()

    def _tell(self) -> None:
        rows = self.rows()
        arms, doing = arms_of(rows), ", ".join(in_short([row.now for row in rows if row.state == "running"]))
        count = Counter(row.state for row in arms)
        if self._bar is not None:
            left = time_left(arms, self.jobs)
            words = [
                f"{count['failed']} failed" * bool(count["failed"]),
                f"ETA {duration(left)}" if left else "",
                doing,
            ]
            self._bar.n = count["done"]
            self._bar.set_postfix_str(", ".join(filter(None, words)))
            return
        now, facts = time.time(), (count, doing)
        if doing and facts != self._facts and now - self._at >= EVERY:
            self._facts, self._at = facts, now
            with self._lock:
                print(f"{self.title}{status_summary(arms, self.jobs)}; {doing}", flush=True)
