"""Curves that a reader can point at and switch on and off, for a page of the report, by Bokeh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptycho.config import DIRECT, PARTS
from ptycho.figures.colours import COLOURS
from ptycho.files import json_if_any, rows_of
from ptycho.study import layout
from ptycho.study.config import Arm

DASHES = ("solid", "dashed", "dashdot", "dotted")


@dataclass(frozen=True)
class Curve:
    """A line through the points (x, y), with a bar from low to high at each where these are given.

    colour, dash  their numbers
    shown         whether it is at first, or only when the reader asks for it
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int
    dash: int = 0
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    shown: bool = True


@dataclass(frozen=True)
class Plot:
    """Curves on common axes: their titles, which of them are logarithmic, and whether x counts whole things."""

    title: str
    across: str
    up: str
    curves: Sequence[Curve]
    logarithmic: str = ""
    whole: bool = False


def of_study(out: Path, arms: Iterable[Arm]) -> list[Plot]:
    """The correlation with the truth of every arm's parts, and the losses as they were trained."""
    correlations, losses = [], []
    for number, arm in enumerate(arms):
        found = json_if_any(out / arm.name / layout.FRC)
        for part, curve in found.get("parts", {}).items():
            points, how = (curve["frequency"], curve[found["contrast"]]), (number, list(PARTS).index(part))
            correlations.append(Curve(f"{arm.name}, {part}", *points, *how, shown=part in ("train", DIRECT)))
        if rows := rows_of(out / arm.name / layout.HISTORY):
            epochs, trained = ([float(row[key]) for row in rows] for key in ("epoch", "loss"))
            losses.append(Curve(arm.name, epochs, trained, number))
    plots = [Plot("Correlation with the truth", "spatial frequency (of Nyquist)", "ring correlation", correlations)]
    return plots + [Plot("Training", "epoch", "logarithm of the loss", losses, whole=True)] * bool(losses)


def of_sweep(out: Path, unit: str) -> list[Plot]:
    """FRC50 and error against the dose, with intervals over the seeds, of every method and loss."""
    from ptycho.findings.response.dose_response import method_label

    rows = rows_of(out / f"{layout.RESPONSE}.csv")
    dose = unit if rows and unit in rows[0] else "nphotons"  # a unit of its own has a column of its own
    keys = list(dict.fromkeys((row["method"], row["split"], row["loss"]) for row in rows))
    methods, losses = list(dict.fromkeys(key[:2] for key in keys)), list(dict.fromkeys(key[2] for key in keys))
    plots = []
    for field, up, logarithmic in (("frc50", "FRC50 (of Nyquist)", "x"), ("relative_mse", "relative error", "xy")):
        curves = []
        for key in keys:
            told = [row for row in rows if (row["method"], row["split"], row["loss"]) == key and row[field]]
            x, y, low, high = ([float(row[name] or row[field]) for row in told] for name in
                               (dose, field, f"{field}_low", f"{field}_high"))  # fmt: skip
            name = f"{key[2]}, {method_label(key[:2])}"
            how = losses.index(key[2]), methods.index(key[:2])
            curves.append(Curve(name, x, y, *how, low, high, shown=key[:2] == methods[0]))
        plots.append(Plot(up, unit, up, curves, logarithmic))
    return plots


def drawn(plots: Sequence[Plot]) -> tuple[str, list[tuple[Plot, str]]]:
    """The script that draws the plots, and each with its place on the page; both HTML. Empty plots are left out."""
    from bokeh.embed import components

    plots = [plot for plot in plots if any(curve.x for curve in plot.curves)]
    if not plots:
        return "", []
    script, places = components([_figure(plot) for plot in plots])
    return script, [(plot, f'<div class="curves">{place}</div>') for plot, place in zip(plots, places, strict=True)]


def _figure(plot: Plot) -> Any:
    from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Legend, LegendItem, Whisker
    from bokeh.plotting import figure

    look: dict[str, Any] = {
        "frame_height": 340,
        "sizing_mode": "stretch_width",
        "background_fill_alpha": 0,
        "border_fill_alpha": 0,
    }
    look |= {f"{axis}_axis_type": "log" for axis in plot.logarithmic}
    look |= {"toolbar_location": "above", "tools": "pan,box_zoom,wheel_zoom,reset,save"}
    made = figure(x_axis_label=plot.across, y_axis_label=plot.up, **look)
    made.toolbar.logo = None
    if plot.whole:
        made.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)
    items = []
    for curve in plot.curves:
        colour, dash = COLOURS[curve.colour % 6], DASHES[curve.dash % 4]  # the seventh is black: a dark page hides it
        columns = {"x": curve.x, "y": curve.y, "name": [curve.name] * len(curve.x)}
        columns |= {"low": curve.low, "high": curve.high} if curve.low else {}
        source = ColumnDataSource(columns)
        line = made.line("x", "y", source=source, color=colour, line_width=2, line_dash=dash, visible=curve.shown)
        parts: list[Any] = [line]
        if len(curve.x) < 40:
            parts.append(made.scatter("x", "y", source=source, color=colour, size=6, visible=curve.shown))
        if curve.low:
            made.add_layout(bars := Whisker(base="x", lower="low", upper="high", source=source, line_color=colour))
            bars.visible = curve.shown
            line.js_link("visible", bars, "visible")
        items.append(LegendItem(label=curve.name, renderers=parts))
    tips = [("", "@name"), (plot.across, "@x{0.[000]a}" if "x" in plot.logarithmic else "@x{0.000}")]
    tips.append((plot.up, "@y{0.[00000]}" if "y" in plot.logarithmic else "@y{0.000}"))
    made.add_tools(HoverTool(tooltips=tips))
    made.add_layout(
        Legend(items=items, click_policy="hide", ncols=1 + (len(items) - 1) // 6, background_fill_alpha=0), "below"
    )
    return made
