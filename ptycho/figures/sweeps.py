"""The figures of several sweeps side by side: conditions, fluence, learning rates, and the published curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure

from ptycho.figures.style import COLOURS, LINE_STYLES, dose_label, styled
from ptycho.findings.conditions import Condition, comparisons
from ptycho.findings.dose_response import DoseResponse
from ptycho.findings.fluence import AXES, doses_along
from ptycho.findings.intervals import reach
from ptycho.findings.learning_rates import Trial, trials_of
from ptycho.findings.published import METHODS, Row
from ptycho.scans.reconstruction import SPLITS

_MARKS = {"network": ("o-", COLOURS[0]), "direct": ("o-", COLOURS[1]), "as_published": ("x:", COLOURS[0])}
"""Line style and colour of each of METHODS."""


@styled
def differences(conditions: Sequence[Condition], second: str) -> Figure:
    """The difference of FRC50 between the reference loss and `second`: a panel a dose and method, a line a condition.

    To the right of zero the reference resolves finer.
    """
    found = [(condition, one) for condition, one in comparisons(conditions) if one.second == second]
    if not found:
        raise ValueError(f"no condition compares a loss with {second!r}")
    doses = sorted({one.nphotons for _, one in found})
    methods = list(dict.fromkeys(one.method for _, one in found))
    names = [condition.name for condition in conditions]
    drawn = Figure(
        figsize=(2.3 * len(doses) + 1.6, (0.22 * len(names) + 0.5) * len(methods) + 0.5), layout="constrained"
    )
    grid = drawn.subplots(len(methods), len(doses), squeeze=False, sharex=True, sharey=True)
    for axes, method in zip(grid, methods, strict=True):
        axes[0].set_ylabel(f"{method[0]},\n{SPLITS[method[1]]}")
        for cell, nphotons in zip(axes, doses, strict=True):
            cell.axvline(0, color="0.6", linewidth=0.8)
            for condition, one in found:
                if (one.method, one.nphotons) != (method, nphotons) or one.interval.mean is None:
                    continue
                place = names.index(condition.name)
                colour = COLOURS[place % len(COLOURS)]
                bar = reach([one.interval])
                cell.errorbar(one.interval.mean, place, xerr=bar, fmt="o", color=colour, markersize=3, capsize=2)
            cell.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    for cell, nphotons in zip(grid[0], doses, strict=True):
        cell.set_title(f"{dose_label(nphotons)} photons per pattern")
    drawn.supxlabel(f"FRC50 of {found[0][1].first} less that of {second} (fraction of Nyquist)", fontsize=9)
    return drawn


@styled
def fluence_axes(studies: Mapping[str, DoseResponse], method: tuple[str, str]) -> Figure:
    """FRC50 of one method against both axes: a colour a loss, a line style a sweep, intervals over seeds."""
    drawn = Figure(figsize=(7.6, 2.9), layout="constrained")
    axes = drawn.subplots(1, 2, sharey=True)
    losses = list(dict.fromkeys(curve.loss for study in studies.values() for curve in study.curves))
    for cell, axis in zip(axes, AXES, strict=True):
        for style, (name, study) in zip(LINE_STYLES, studies.items(), strict=False):
            for curve in study.curves:
                if curve.method != method:
                    continue
                told = [
                    (dose, point.interval)
                    for dose, point in zip(doses_along(study, curve, axis), curve.points, strict=True)
                    if point.interval.mean is not None
                ]
                cell.errorbar(
                    [dose for dose, _ in told],
                    [one.mean for _, one in told],
                    reach([one for _, one in told]),
                    fmt=f"o{style}",
                    color=COLOURS[losses.index(curve.loss)],
                    markersize=3,
                    linewidth=1.2,
                    capsize=2,
                    label=f"{name}, {curve.loss}",
                )
        cell.set(xscale="log", xlabel=axis, ylim=(-0.03, 1.05))
    axes[0].set_ylabel("FRC50 (fraction of Nyquist)")
    axes[0].set_title(f"{method[0]}, {SPLITS[method[1]]}", loc="left")
    axes[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawn


@styled
def learning_rates(trials: Sequence[Trial], chosen: Mapping[str, float]) -> Figure:
    """The FRC50 that the rule judges against the learning rate: a panel a dose, a colour a loss, a ring a choice.

    Small points are seeds, lines go through their means.
    """
    doses = sorted({trial.nphotons for trial in trials})
    rates = sorted({trial.learning_rate for trial in trials})
    drawn = Figure(figsize=(3.1 * len(doses) + 1.2, 2.8), layout="constrained")
    axes = drawn.subplots(1, len(doses), squeeze=False, sharey=True)[0]
    for cell, nphotons in zip(axes, doses, strict=True):
        cell.set_title(f"{dose_label(nphotons)} photons per pattern")
        for colour, loss in zip(COLOURS, chosen, strict=False):
            found = {rate: [t.frc50 for t in trials_of(trials, loss, rate, nphotons)] for rate in rates}
            means = {rate: fmean(frc50s) for rate, frc50s in found.items()}
            points = [(rate, frc50) for rate, frc50s in found.items() for frc50 in frc50s]
            cell.plot(*zip(*points, strict=True), ".", color=colour, markersize=3, alpha=0.6)
            cell.plot(rates, list(means.values()), "-", color=colour, linewidth=1.2, label=loss)
            cell.plot(chosen[loss], means[chosen[loss]], "o", color=colour, markersize=9, fillstyle="none")
        cell.set(xscale="log", xlabel="learning rate", ylim=(-0.03, 1.03))
        cell.set_xticks(rates, [f"{rate:g}" for rate in rates])
        cell.minorticks_off()
    split = "" if trials[0].heldout is None else "held-out "
    axes[0].set_ylabel(f"{split}FRC50 (fraction of Nyquist)")
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="loss\n(ring: chosen)")
    return drawn


@styled
def published_comparison(rows: Sequence[Row]) -> Figure:
    """FRC50 against the dose, a panel a loss: published, ours with intervals, and what the photons allow."""
    losses = list(dict.fromkeys(row.loss for row in rows))
    drawn = Figure(figsize=(3.6 * len(losses) + 1.2, 2.9), layout="constrained")
    axes = drawn.subplots(1, len(losses), squeeze=False, sharey=True)[0]
    for cell, loss in zip(axes, losses, strict=True):
        members = [row for row in rows if row.loss == loss]
        for name, (style, colour) in _MARKS.items():
            told = [(row.nphotons, getattr(row, name)) for row in members]
            told = [(dose, one) for dose, one in told if one is not None and one.mean is not None]
            cell.errorbar(
                [dose for dose, _ in told],
                [one.mean for _, one in told],
                reach([one for _, one in told]),
                fmt=style,
                color=colour,
                linewidth=1,
                markersize=3,
                capsize=2,
                label=METHODS[name],
            )
        for name, style, colour, label in (
            ("published", "s--", "black", "published"),
            ("limit", ":", "0.4", "photon limit"),
        ):
            told = [(row.nphotons, getattr(row, name)) for row in members if getattr(row, name) is not None]
            if told:
                cell.plot(*zip(*told, strict=True), style, color=colour, markersize=4, linewidth=1, label=label)
        cell.set(xscale="log", xlabel="photons per pattern", ylim=(-0.03, 1.05), title=loss)
    axes[0].set_ylabel("FRC50 (fraction of Nyquist)")
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawn
