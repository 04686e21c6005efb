"""The figures of a dose-response over seeds, and the numbers beside them: a panel a method, a colour a loss."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ptycho.figures.colours import COLOURS
from ptycho.figures.style import dose_label, error_bars, legend_beside, line, log_doses, panels, sample_axis, styled
from ptycho.findings.response.arm_table import as_fitted
from ptycho.findings.response.dose_response import Curve, DoseResponse, method_label, methods_of
from ptycho.findings.response.dose_verdict import CLAIMED
from ptycho.findings.response.spectra import Curves, SpectralRatio
from ptycho.scans.exposure import OF_PHOTONS, Exposure

UNBIASED = "photon limit,\nunbiased"
APART = 0.06  # decades between the marks of two losses at one dose


def _by_method(methods: Sequence[tuple[str, str]], rows: int = 1) -> tuple[Figure, np.ndarray]:
    """A grid of axes, (rows, methods), that share their doses and, within a row, their scale."""
    figure, axes = panels(3.1 * len(methods) + 1.2, 2.7 * rows + 0.4, rows, len(methods), sharex=True, sharey="row")
    for cell, method in zip(axes[0], methods, strict=True):
        cell.set_title(method_label(method))
    return figure, axes


def _losses(curves: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(curve.loss for curve in curves))


def _draw_curve(axes: Axes, curve: Curve, number: int, count: int, exposure: Exposure) -> None:
    """Means joined by a line, their intervals as bars, and every seed as a faint dot, or a cross where collapsed."""
    colour, shift = COLOURS[number], 10 ** (APART * (number - (count - 1) / 2))
    doses = [exposure.dose(point.nphotons) * shift for point in curve.points]
    error_bars(axes, doses, [point.interval for point in curve.points], color=colour, label=curve.loss)
    for x, point in zip(doses, curve.points, strict=True):
        if point.interval.mean is not None:
            seeds = [value for value in point.values if value is not None]
            axes.plot([x] * len(seeds), seeds, ".", color=colour, markersize=3, alpha=0.35)


@styled
def resolution_response(study: DoseResponse) -> Figure:
    """FRC50 against the dose: means over seeds with 95 % intervals, every seed, and how many arms did not end well.
    Dashed grey, where it is known: what an unbiased image with the least error that the photons allow resolves."""
    methods, losses = methods_of(study.curves), _losses(study.curves)
    figure, axes = _by_method(methods)
    for cell, method in zip(axes[0], methods, strict=True):
        for curve in (one for one in study.curves if one.method == method):
            number = losses.index(curve.loss)
            _draw_curve(cell, curve, number, len(losses), study.exposure)
            for point in curve.points:
                if lost := point.n_collapsed + point.n_failed + point.n_missing:
                    at = (study.exposure.dose(point.nphotons), 1.02 + 0.055 * number)
                    cell.annotate(str(lost), at, color=COLOURS[number], fontsize=6, ha="center", annotation_clip=False)
        limits = study.limits_of(method)
        doses = [study.exposure.dose(limit.nphotons) for limit in limits]
        line(cell, doses, [limit.resolution for limit in limits], "--", color="0.35", linewidth=1.1, label=UNBIASED)
        log_doses(cell, doses)
        cell.set(xlabel=study.exposure.unit, ylim=(-0.03, 1.02 + 0.06 * len(losses)))
        sample_axis(cell, study.exposure)
        cell.axhline(1.0, color="0.8", linewidth=0.6, zorder=0)
    axes[0, 0].set_ylabel(f"{study.quantity.partition('_')[0]} FRC50 (fraction of Nyquist)")
    legend_beside(axes[0, -1], title="loss\n(above: arms\ncollapsed or lost)")
    return figure


@styled
def error_response(study: DoseResponse) -> Figure:
    """Relative mean-square error against the dose, with the least that photons allow, and how close the methods come.
    Above: errors, geometric means over seeds; grey those of an unbiased image, by counting photons, M/n, and by Cramér
    and Rao. Below: the share of the photons' information kept, by Cramér and Rao where that is known, else by M/n; 1 is
    all."""
    methods, losses = methods_of(study.errors), _losses(study.errors)
    figure, axes = _by_method(methods, rows=2)
    known = any(limit.information is not None for limit in study.limits)
    shares = study.attained if known else study.efficiencies
    for (upper, lower), method in zip(axes.T, methods, strict=True):
        for cell, curves in ((upper, study.errors), (lower, shares)):
            for curve in (one for one in curves if one.method == method):
                _draw_curve(cell, curve, losses.index(curve.loss), len(losses), study.exposure)
        limits = study.limits_of(method)
        doses = [study.exposure.dose(limit.nphotons) for limit in limits]
        for name, style, field in (("Cramér-Rao", "--", "information"), ("M/n", ":", "counting")):
            least = [None if (of := getattr(limit, field)) is None else as_fitted(of) for limit in limits]
            line(upper, doses, least, style, color="0.35", linewidth=1.1, label=name)
        log_doses(upper, doses)
        upper.set(yscale="log")
        log_doses(lower, doses)
        lower.set(yscale="log", xlabel=study.exposure.unit)
        lower.axhline(1, color="0.35", linestyle="--" if known else ":", linewidth=1)
    axes[0, 0].set_ylabel("relative mean-square error")
    axes[1, 0].set_ylabel(f"share of information kept\n(by {'Cramér and Rao' if known else 'M/n'})")
    legend_beside(axes[0, -1])
    return figure


@styled
def frc_response(found: Curves, exposure: Exposure = OF_PHOTONS) -> Figure:
    """Fourier ring correlation with the truth, a row a method and a column a dose: means over seeds, 95 % intervals."""
    if not found.curves:
        raise ValueError("no data: no FRC curve to draw")
    figure, cells = _by_dose(found.curves, exposure)
    for curve, cell, colour in cells:
        mean, low, high = curve.correlation.T
        cell.plot(curve.frequency, mean, color=colour, linewidth=1, label=curve.loss)
        cell.fill_between(curve.frequency, low, high, color=colour, alpha=0.2, linewidth=0)
    for cell in figure.axes:
        cell.axhline(0.5, color="0.6", linestyle="--", linewidth=0.7, zorder=0)
        cell.set(ylim=(-0.15, 1.05))
    figure.supylabel("Fourier ring correlation", fontsize=9)
    return figure


@styled
def efficiency_response(ratios: Sequence[SpectralRatio], exposure: Exposure = OF_PHOTONS) -> Figure:
    """Detective quantum efficiency by frequency, a row a method and a column a dose; 1 is an unbiased image with the
    least noise that the photons allow, more is knowledge of what objects look like."""
    if not ratios:
        raise ValueError("no data: no bound to compare with")
    figure, cells = _by_dose(ratios, exposure)
    for one, cell, colour in cells:
        cell.plot(one.frequency, one.efficiency, color=colour, linewidth=1, label=one.loss)
    for cell in figure.axes:
        cell.axhline(1, color="0.6", linestyle="--", linewidth=0.7, zorder=0)
        cell.set(yscale="log", ylim=(1e-2, 1e2))
    figure.supylabel("detective quantum efficiency", fontsize=9)
    return figure


def _by_dose(curves: Sequence[Any], exposure: Exposure) -> tuple[Figure, list[tuple[Any, Axes, str]]]:
    """A grid of axes over frequency, a row a method and a column a dose, with a legend of all losses; and of each curve
    its axes and colour."""
    methods, losses = methods_of(curves), _losses(curves)
    doses = sorted({curve.nphotons for curve in curves})
    size = 1.5 * len(doses) + 1.4, 1.7 * len(methods) + 0.6
    figure, axes = panels(*size, len(methods), len(doses), sharex=True, sharey=True)
    for cell, method in zip(axes[:, 0], methods, strict=True):
        cell.set_ylabel(method_label(method).replace(" ", "\n", 1))
    for cell in axes.flat:
        cell.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    for cell, dose in zip(axes[0], doses, strict=True):
        cell.set_title(f"{dose_label(exposure.dose(dose))} {exposure.short}", fontsize=8)
    figure.supxlabel("spatial frequency (fraction of Nyquist)", fontsize=9)
    handles = [Line2D([], [], color=colour, linewidth=1) for colour, _ in zip(COLOURS, losses, strict=False)]
    legend_beside(axes[0, -1], handles, losses)
    places = [(methods.index(curve.method), doses.index(curve.nphotons)) for curve in curves]
    return figure, [
        (curve, axes[at], COLOURS[losses.index(curve.loss)]) for curve, at in zip(curves, places, strict=True)
    ]


@styled
def factor_response(study: DoseResponse) -> Figure:
    """The dose factor between losses against the resolution, with 95 % intervals; an arrow where one has no end."""
    methods = methods_of(study.curves)
    pairs = list(dict.fromkeys((factor.reference, factor.other) for factor in study.factors))
    figure, axes = _by_method(methods)
    for cell, method in zip(axes[0], methods, strict=True):
        for number, pair in enumerate(pairs):
            label: str | None = f"{pair[1]} over {pair[0]}"
            for factor in study.factors:
                if factor.method == method and (factor.reference, factor.other) == pair:
                    x = factor.level + 0.012 * (number - (len(pairs) - 1) / 2)
                    label = _draw_factor(cell, x, factor, COLOURS[number], label)
        for value, style in ((1, "-"), (CLAIMED, ":")):
            cell.axhline(value, color="0.5", linestyle=style, linewidth=0.8, zorder=0)
        cell.set(yscale="log", xlim=(0, 1), xlabel="FRC50 (fraction of Nyquist)")
    axes[0, 0].set_ylabel(f"times the {study.exposure.particle} needed")
    drawn = [pair for cell in axes[0] for pair in zip(*cell.get_legend_handles_labels(), strict=True)]
    if handles := {label: handle for handle, label in drawn}:
        legend_beside(axes[0, -1], handles.values(), handles)
    return figure


def _draw_factor(axes: Axes, x: float, factor: Any, colour: str, label: str | None) -> str | None:
    """Draw one factor, or nothing where nothing is known; return the label that is still to be given."""
    low, high, value = factor.low, factor.high, factor.value
    if value is None and low is None and high is None:
        return label
    if value is not None:
        axes.plot(x, value, "o", color=colour, markersize=4, label=label)
        label = None
    # an interval without an end: three times as far as what is known
    start, end = low or (value or high) / 3, high or (value or low) * 3
    if factor.n == 1:
        start = end = value
    axes.plot([x, x], [start, end], "-", color=colour, linewidth=1.2, label=label)
    for at, mark, known in ((start, "v", low), (end, "^", high)):
        if known is None and factor.n > 1:
            axes.plot(x, at, mark, color=colour, markersize=4, fillstyle="none")
    return None
