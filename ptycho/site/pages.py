"""What the pages of a report hold: the notebooks as they were rendered, and around them what they do not tell."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ptycho.config import DIRECT
from ptycho.files import html_table, json_if_any, read_json
from ptycho.run.verdict import write_verdict
from ptycho.scans.exposure import Exposure
from ptycho.site import cells, curves, facts
from ptycho.study import layout, plan, status, sweep
from ptycho.study.arms import claimed, exposure_of
from ptycho.study.campaigns import CAMPAIGNS, sweeps_in
from ptycho.study.config import Arm, arms
from ptycho.study.layout import Stage

LOSSES = {"nll": "Poisson NLL", "mae": "MAE", "mse": "MSE of amplitudes", "anscombe": "Anscombe"}
BOXES = {status.VERIFIED: "tip", status.DOUBTFUL: "warning", status.NOT_VERIFIED: "danger"}
"""What the theme calls the box of each verdict."""
FIRST = Path(layout.INDEX).stem
UP = "../" * layout.INDEX.count("/")
"""From the first page to the study's folder."""


@dataclass(frozen=True)
class Page:
    """A page: its path within the site without a suffix, its title, and the cells of a notebook below that."""

    name: str
    title: str
    cells: Sequence[Any] = field(repr=False)

    def notebook(self) -> Any:
        """The page as a notebook."""
        from nbformat import v4

        return v4.new_notebook(cells=[cells.text(f"# {self.title}"), *self.cells])


def of_study(out: Path) -> list[Page]:
    """The pages of the study in `out`, the first one first. Where only its report is kept, those that are there.

    Raises ValueError naming a notebook that is not there.
    """
    planned, kept = plan.planned(out), sweep.report_alone(out)
    stages, found = layout.study_stages(planned), arms(planned["doses"], planned["losses"])
    told = exposure_of(json_if_any(out / layout.METRICS).get("arms", ()))
    titles = {arm.name: _title(arm, told) for arm in found}
    there = [stage for stage in stages if stage.shows and (not kept or (out / stage.rendered).exists())]
    others = [_page(out, stage, titles.get(stage.name, stage.shows)) for stage in there]
    others += _beside(out)
    shown = [
        cells.html(_verdict(out)),
        *cells.of_notebook(out / stages[-1].rendered),
        *_curves(curves.of_study(out, found)),
        *_last(out, out / layout.SIMULATE, titles, (layout.METRICS, *layout.drawn(layout.COMPARISON))),
        cells.contents(page.name for page in others),
    ]
    return [Page(FIRST, plan.title(out, planned), shown), *others]


def of_sweep(out: Path) -> list[Page]:
    """The pages of the sweep in `out`, the first one first: one a seed, and one an arm that was made."""
    planned = sweep.planned(out)
    assert planned is not None
    verdict = _verdict(out)
    entries = {entry["name"]: entry for entry in claimed(read_json(out / layout.ARMS))}
    told = exposure_of(entries.values())
    stages = {stage.name: stage for stage in layout.sweep_stages(planned)}
    titles = {f"{layout.seed_folder(seed)}/{arm.name}": _title(arm, told) for seed, arm in sweep.members(planned)}
    made = {name for name in titles if (out / stages[name].rendered).exists()}
    seeds, pages = [], []
    for seed in planned["seeds"]:
        folder = layout.seed_folder(seed)
        own = [name for name in titles if name.startswith(f"{folder}/")]
        rows = [_row(titles[name], f"../{name}.html" if name in made else "", entries[name]) for name in own]
        table = html_table(ROW, rows, [False, False, *[True] * 4])
        listed = [cells.html(table), cells.contents(name for name in own if name in made)]
        seeds.append(Page(f"seeds/{folder}", f"Seed {seed}", listed))
        pages += [_page(out, stages[name], f"{titles[name]}, seed {seed}") for name in own if name in made]
    others = [*seeds, *_beside(out)]
    files = (layout.ARMS, layout.TABLE, *layout.drawn(layout.RESPONSE), "dose_factor.csv", layout.WORDS)
    simulated = sweep.folder(out, planned["seeds"][0]) / layout.SIMULATE
    shown = [
        cells.html(verdict),
        *cells.of_notebook(out / layout.gathering().rendered),
        *_curves(curves.of_sweep(out, told.unit)),
        cells.text("## The arms"),
        cells.html(_statuses(planned, entries, made)),
        *_last(out, simulated, titles, files),
        cells.contents(page.name for page in others),
    ]
    return [Page(FIRST, plan.title(out, planned), shown), *others, *pages]


def of_campaign(out: Path, campaign: str) -> list[Page]:
    """The one page of a `campaign`, one of CAMPAIGNS, in `out`: what its sweeps come to, and their reports."""
    shown = cells.of_notebook(out / f"{CAMPAIGNS[campaign].notebook[0]}.ipynb")
    table = _reports(sweeps_in(out, campaign), out)
    return [Page(FIRST, campaign.capitalize(), [*shown, cells.text("## The sweeps"), cells.html(table)])]


def _title(arm: Arm, told: Exposure) -> str:
    """What an arm is, in words: '1e4 photons, Poisson NLL'."""
    return f"{'all' if arm.dose == 'full' else arm.dose} {told.short}, {LOSSES[arm.loss]}"


def _page(out: Path, stage: Stage, title: str | None) -> Page:
    """The page of a stage, which leads to its notebook."""
    there = cells.link(UP + "../" * stage.name.count("/") + stage.rendered, stage.rendered)
    last = cells.html(f"<p>The notebook, with its code: {there}</p>")
    return Page(stage.name, title or stage.name, [*cells.of_notebook(out / stage.rendered), last])


def _verdict(out: Path) -> str:
    """The verdict of a study or sweep, whole."""
    word, *lines = write_verdict(out).splitlines()
    told = cells.listed(escape(line.removeprefix("- "), quote=False) for line in lines)
    return f'<div class="admonition {BOXES[word]}"><p class="admonition-title">{word}</p>{told}</div>'


def _curves(plots: Sequence[curves.Plot]) -> list[Any]:
    """Curves to point at, each under its title."""
    script, places = curves.drawn(plots)
    if not places:
        return []
    words = "Point at a curve to read it. Click on a name to hide or show a curve."
    found = [cells.text(f"## Curves\n\n{words}"), cells.html(f'<script src="_static/bokeh.min.js"></script>{script}')]
    for plot, place in places:
        found += [cells.text(f"### {plot.title}"), cells.html(place)]
    return found


def _last(out: Path, simulated: Path, arm_names: Iterable[str], files: Iterable[str]) -> list[Any]:
    """How it was made, and the files beside the report."""
    links = (cells.link(UP + name, name) for name in files if (out / name).exists())
    table = facts.table(simulated, [out / name for name in arm_names])
    heads = [cells.text(f"## {words}") for words in ("Parameters and versions", "Files")]
    return [heads[0], cells.html(table), heads[1], cells.html(cells.listed(links))]


ROW = ("arm", "status", "FRC50, network", "FRC50, direct", "rel. error, network", "rel. error, direct")


def _row(title: str, address: str, entry: Mapping[str, Any]) -> list[str]:
    """An arm of a seed: its page, how it ended, and what its two methods reach on the training scan."""
    parts = [entry.get(part) or {} for part in ("train", DIRECT)]
    reached = [part.get("phase_frc50") or part.get("amplitude_frc50") for part in parts]
    errors = [part.get("relative_mse") for part in parts]
    numbers = [(value, ".3f") for value in reached] + [(value, ".2g") for value in errors]
    told = ["-" if value is None else format(value, form) for value, form in numbers]
    return [cells.link(address, title) if address else title, entry["status"], *told]


def _statuses(planned: Mapping[str, Any], entries: Mapping[str, Any], made: Collection[str]) -> str:
    """A row an arm, a column a seed: how it ended, with a link to its page."""
    rows: dict[str, list[str]] = {}
    for seed, arm in sweep.members(planned):
        name = f"{layout.seed_folder(seed)}/{arm.name}"
        word = entries[name]["status"]
        shown = cells.link(f"{name}.html", word) if name in made else word
        rows.setdefault(arm.name, [arm.name]).append(shown)
    return html_table(("arm", *(f"seed {seed}" for seed in planned["seeds"])), rows.values())


def _beside(out: Path) -> list[Page]:
    """The page that lists the reports in the folders beside this one; none where there is none."""
    here = out.resolve()
    try:
        beside = sorted(here.parent.iterdir())
    except OSError:  # a folder may be open to a user who may not list it
        beside = []
    # os.path, for a path's own is_file raises PermissionError in a folder of somebody else
    found = {path.name: path for path in beside if os.path.isfile(path / layout.INDEX)}
    found.pop(here.name, None)
    return [Page("reports", "Other reports", [cells.html(_reports(found, here))])] if found else []


def _reports(found: Mapping[str, Path], out: Path) -> str:
    """A row a report, with its verdict: by their names, the folders of studies and sweeps."""
    rows = []
    for name, path in found.items():
        address = os.path.relpath(path / layout.INDEX, (out / layout.INDEX).parent)
        verdict = ""
        with suppress(OSError):  # a status.txt of somebody else may be unreadable
            verdict = next(iter(status.status_lines(path)), "")
        rows.append([cells.link(address, name) if (path / layout.INDEX).exists() else name, verdict])
    return html_table(("report", "verdict"), rows)
