"""The figures of several sweeps side by side: conditions, flaws, fluence, learning rates, and the published curve."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ptycho.figures.colours import COLOURS
from ptycho.figures.style import LINE_STYLES, dose_label, error_bars, legend_beside, line, log_doses, panels, styled
from ptycho.findings.conditions import Condition, comparisons
from ptycho.findings.flaws import Cost, flaws_of
from ptycho.findings.fluence import AXES, doses_along
from ptycho.findings.intervals import reach
from ptycho.findings.learning_rates import Trial, trials_of
from ptycho.findings.published import METHODS, Row
from ptycho.findings.response.dose_factor import Yardstick
from ptycho.findings.response.dose_response import DoseResponse, method_label

_MARKS = {"network": ("o-", COLOURS[0]), "direct": ("o-", COLOURS[1]), "as_published": ("x:", COLOURS[0])}
"""Line style and colour of each of METHODS."""


@styled
def differences(conditions: Sequence[Condition], second: str) -> Figure:
    """The difference of FRC50 between the reference loss and `second`: a panel a dose and method, a line a condition.
    To the right of zero the reference resolves finer."""
    found = [(condition, one) for condition, one in comparisons(conditions) if one.second == second]
    if not found:
        raise ValueError(f"no condition compares a loss with {second!r}")
    doses = sorted({one.nphotons for _, one in found})
    methods = list(dict.fromkeys(one.method for _, one in found))
    names = [condition.name for condition in conditions]
    size = 2.3 * len(doses) + 1.6, (0.22 * len(names) + 0.5) * len(methods) + 0.5
    drawn, grid = panels(*size, len(methods), len(doses), sharex=True, sharey=True)
    for cell in grid.flat:
        cell.axvline(0, color="0.6", linewidth=0.8)
        cell.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    for cell, method in zip(grid[:, 0], methods, strict=True):
        cell.set_ylabel(method_label(method).replace(" ", "\n", 1))
    for cell, nphotons in zip(grid[0], doses, strict=True):
        cell.set_title(f"{dose_label(nphotons)} photons per pattern")
    for condition, one in (pair for pair in found if pair[1].interval.mean is not None):
        cell, place = grid[methods.index(one.method), doses.index(one.nphotons)], names.index(condition.name)
        look = {"fmt": "o", "color": COLOURS[place % len(COLOURS)], "markersize": 3, "capsize": 2}
        cell.errorbar(one.interval.mean, place, xerr=reach([one.interval]), **look)
    drawn.supxlabel(f"FRC50 of {found[0][1].first} less that of {second} (fraction of Nyquist)", fontsize=9)
    return drawn


@styled
def flaw_costs(costs: Sequence[Cost], yardstick: Yardstick) -> Figure:
    """How many times fewer photons each flaw leaves, by a yardstick: a panel a dose, a line a flaw, a colour a loss. An
    arrow says at least. Raises ValueError where the yardstick tells nothing."""
    found = [one for one in costs if one.yardstick == yardstick]
    if not found:
        raise ValueError(f"no flaw has a cost by {yardstick.name}")
    doses, places = sorted({one.nphotons for one in found}), flaws_of(costs)
    losses = list(dict.fromkeys((one.method, one.loss) for one in found))
    height, apart = (0.1 + 0.1 * len(losses)) * len(places) + 1, 0.8 / len(losses)
    drawn, [axes] = panels(2.9 * len(doses) + 2.2, height, columns=len(doses), sharey=True)
    for cell, nphotons in zip(axes, doses, strict=True):
        cell.axvline(1, color="0.6", linewidth=0.8)
        cell.set(xscale="log", title=f"{dose_label(nphotons)} photons per pattern")
        cell.set(yticks=range(len(places)), yticklabels=places, ylim=(len(places) - 0.5, -0.5))
        for one in (one for one in found if one.nphotons == nphotons):
            number = losses.index((one.method, one.loss))
            at = places[one.flaw] + apart * (number - (len(losses) - 1) / 2)
            look = {"color": COLOURS[number % len(COLOURS)], "markersize": 3}
            if one.at_least is not None:
                cell.plot(one.at_least, at, ">", **look)
            elif one.factor.mean is not None:
                cell.errorbar(one.factor.mean, at, xerr=reach([one.factor]), fmt="o", capsize=2, **look)
    drawn.supxlabel(f"photons divided by, for equal {yardstick.name}", fontsize=9)
    named = {f"{method_label(method)}, {loss}": COLOURS[k % len(COLOURS)] for k, (method, loss) in enumerate(losses)}
    marks = [Line2D([], [], marker="o", linestyle="", markersize=3, color=colour) for colour in named.values()]
    legend_beside(axes[-1], marks, list(named))
    return drawn


@styled
def fluence_axes(studies: Mapping[str, DoseResponse], method: tuple[str, str]) -> Figure:
    """FRC50 of one method against both axes: a colour a loss, a line style a sweep, intervals over seeds; in grey what
    an unbiased image with the least errors resolves."""
    drawn, [axes] = panels(7.6, 2.9, columns=2, sharey=True)
    losses = list(dict.fromkeys(curve.loss for study in studies.values() for curve in study.curves))
    for cell, axis in zip(axes, AXES, strict=True):
        for style, (name, study) in zip(LINE_STYLES, studies.items(), strict=False):
            limits = study.limits_of(method)
            doses = doses_along(limits, axis)
            for curve in (one for one in study.curves if one.method == method):
                found = [point.interval for point in curve.points]
                look = {"color": COLOURS[losses.index(curve.loss)], "label": f"{name}, {curve.loss}"}
                error_bars(cell, doses, found, f"o{style}", **look)
            allowed = [limit.resolution for limit in limits]
            line(cell, doses, allowed, style, color="0.5", linewidth=1, label=f"{name}, photon limit")
        cell.set(xscale="log", xlabel=axis, ylim=(-0.03, 1.05))
    axes[0].set_ylabel("FRC50 (fraction of Nyquist)")
    axes[0].set_title(method_label(method), loc="left")
    legend_beside(axes[1])
    return drawn


@styled
def learning_rates(trials: Sequence[Trial], chosen: Mapping[str, float]) -> Figure:
    """The FRC50 that the rule judges against the learning rate: a panel a dose, a colour a loss, a ring a choice. Small
    points are seeds, lines go through their means."""
    doses = sorted({trial.nphotons for trial in trials})
    rates = sorted({trial.learning_rate for trial in trials})
    drawn, [axes] = panels(3.1 * len(doses) + 1.2, 2.8, columns=len(doses), sharey=True)
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
    legend_beside(axes[-1], title="loss\n(ring: chosen)")
    return drawn


@styled
def published_comparison(rows: Sequence[Row]) -> Figure:
    """FRC50 against the dose, a panel a loss: published, ours with intervals, and what the photons allow."""
    losses = list(dict.fromkeys(row.loss for row in rows))
    drawn, [axes] = panels(3.6 * len(losses) + 1.2, 2.9, columns=len(losses), sharey=True)
    for cell, loss in zip(axes, losses, strict=True):
        members = [row for row in rows if row.loss == loss]
        doses = [row.nphotons for row in members]
        for name, (style, colour) in _MARKS.items():
            found = [getattr(row, name) for row in members]
            error_bars(cell, doses, found, style, color=colour, linewidth=1, label=METHODS[name])
        published, limits = [row.published for row in members], [row.limit for row in members]
        line(cell, doses, published, "s--", color="black", markersize=4, linewidth=1, label="published")
        line(cell, doses, limits, ":", color="0.4", linewidth=1, label="photon limit")
        log_doses(cell, doses)
        cell.set(xlabel="photons per pattern", ylim=(-0.03, 1.05), title=loss)
    axes[0].set_ylabel("FRC50 (fraction of Nyquist)")
    legend_beside(axes[-1])
    return drawn
