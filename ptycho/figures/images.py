"""Every figure of the study: arrays in, a matplotlib Figure out; pyplot, with its global state, is not used."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ptycho.figures import style
from ptycho.findings.comparison import DoseRow
from ptycho.judge.frc import FRCCurve, running_median, threshold
from ptycho.judge.metrics import Evaluation
from ptycho.scans.exposure import PHOTONS


def grey_limits(rows: Sequence[DoseRow], phase: bool = False) -> tuple[float, float]:
    """The one grey scale of a comparison: the range of the truth, widest over all panels, in amplitude or radians. The
    truth's, because a noisy arm must not set the contrast in which the others are seen."""
    judged = [panel.evaluation for row in rows for panel in row.panels]
    registered = [e for e in judged if not e.collapsed] or judged  # what collapsed lies anywhere on the truth
    values = [(e.truth_phase if phase else np.abs(e.aligned.truth))[e.aligned.mask] for e in registered]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _comparison(rows: Sequence[DoseRow]) -> list[str]:
    """Names of the losses, one a column; ValueError where the rows are not a full table with data in every cell."""
    if not rows or not rows[0].panels:
        raise ValueError("no data: a dose comparison needs at least one dose and one reconstruction")
    losses = [panel.loss for panel in rows[0].panels]
    for row in rows:
        if [panel.loss for panel in row.panels] != losses:
            raise ValueError(f"dose {row.nphotons:g} has losses {[p.loss for p in row.panels]}; expected {losses}")
        style.require_image(f"pattern at {row.nphotons:g} photons", row.counts, pattern=True)
        for panel in row.panels:
            if panel.evaluation is None:
                raise ValueError(f"no data for the panel '{panel.loss} at {row.nphotons:g} photons'")
            style.require_image(f"{panel.loss} at {row.nphotons:g} photons", panel.evaluation.aligned.object)
    return losses


def _quality(evaluation: Evaluation, phase: bool) -> str:
    """The second line of a title: resolution and fidelity of what is shown, '–' where there is no number."""

    def told(name: str, value: float | None, form: str, unit: str = "") -> str:
        return f"{name} –" if value is None else f"{name} {value:{form}}{unit}"

    if phase:
        frc50, fidelity = evaluation.phase_frc50, told("r =", evaluation.phase_pearson, ".2f")
    else:
        frc50, fidelity = evaluation.amplitude_frc50, told("PSNR", evaluation.amplitude_psnr_db, ".1f", " dB")
    return f"{'collapsed' if evaluation.collapsed else told('FRC50', frc50, '.2f')}, {fidelity}"


@style.styled
def dose_comparison(rows: Sequence[DoseRow], phase: bool = False) -> Figure:
    """A row for each dose: a diffraction pattern in log counts, and the reconstruction by each loss. All
    reconstructions share one grey scale (amplitude; with `phase`, radians) and all patterns one log scale. Raises
    ValueError rather than draw a panel without data."""
    losses, limits = _comparison(rows), grey_limits(rows, phase)
    figure, axes = style.panels(2.25 * (1 + len(losses)) + 0.35, 2.6 * len(rows) + 0.5, len(rows), 1 + len(losses))
    norm, grey = style.counts_norm([row.counts for row in rows]), Normalize(*limits, clip=True)
    for row, line in zip(rows, axes, strict=True):
        dose = f"{style.dose_label(row.exposure.dose(row.nphotons))} {row.exposure.short}"
        patterns = style.show_image(line[0], row.counts, f"{dose}\none diffraction pattern", norm, style.COUNTS)
        for panel, cell in zip(row.panels, line[1:], strict=True):
            e = panel.evaluation
            title = f"{dose}, {panel.loss.upper()}\n{_quality(e, phase)}"
            images = style.show_image(cell, e.phase if phase else np.abs(e.aligned.object), title, grey)
            style.scale_bar(cell, e.phase.shape)
    bars: dict[str, Any] = {"location": "bottom", "pad": 0.02, "aspect": 20}
    counted = f"{rows[0].exposure.particle} per detector pixel"
    figure.colorbar(patterns, ax=list(axes[:, 0]), label=counted, shrink=0.9, **bars)
    label, shrink = "phase (rad)" if phase else "amplitude (relative)", 0.9 / len(losses)  # both bars of one length
    figure.colorbar(images, ax=list(axes[:, 1:].ravel()), label=label, extend="both", shrink=shrink, **bars)
    return figure


def dose_comparison_rows(rows: Sequence[DoseRow], phase: bool = False) -> list[dict[str, Any]]:
    """The numbers beside the dose comparison, a dictionary for each reconstruction; None where there is no number.
    vmin, vmax: the grey scale shared by all. pattern_photons: in the pattern shown. data_range: of PSNR and SSIM."""
    _comparison(rows)
    vmin, vmax = grey_limits(rows, phase)
    return [
        {"nphotons": row.nphotons, "loss": panel.loss, "collapsed": panel.evaluation.collapsed}
        | panel.evaluation.as_dict()
        | {name: getattr(panel.evaluation, name) for name in ("contrast_ratio", "data_range")}
        | {"vmin": vmin, "vmax": vmax, "pattern_photons": float(row.counts.sum())}
        for row in rows
        for panel in row.panels
    ]


@style.styled
def frc_curves(
    curves: Mapping[str, FRCCurve] | Mapping[str, Mapping[str, FRCCurve]], thresholds: Sequence[str] = ("0.5",)
) -> Figure:
    """Fourier ring correlation against spatial frequency. curves: by label, or by title and label: a panel a title. A
    label has one look in all panels. Threshold curves are grey. The thick line is the running median, which crosses the
    threshold 0.5 at FRC50; the thin one is every ring. Of medians that agree, the later one is thinner and has gaps."""
    if not curves:
        raise ValueError("no data: no FRC curve to draw")
    facets: Any = {title: found for title, found in curves.items() if isinstance(found, Mapping)} or {"": curves}
    labels: list[str] = list(dict.fromkeys(label for facet in facets.values() for label in facet))
    lowest = min(float(curve.correlation.min()) for facet in facets.values() for curve in facet.values())
    columns = min(3, len(facets))
    rows, width = -(-len(facets) // columns), 4.1 if columns == 1 else 3.1
    figure, grid = style.panels(width * columns + 1.5, 3.4 * rows, rows, columns)
    for cell in grid.ravel()[len(facets) :]:
        cell.remove()
    handles: dict[str, Any] = {}
    for axes, (title, facet) in zip(grid.flat, facets.items(), strict=False):
        for label, curve in facet.items():
            number, median = labels.index(label), running_median(curve.correlation)
            how = {"color": style.COLOURS[number % 7], "linewidth": 2.4 - 0.3 * (number % 4)}
            (handles[label],) = axes.plot(curve.frequency, median, style.LINE_STYLES[number % 4], label=label, **how)
            axes.plot(curve.frequency, curve.correlation, color=how["color"], linewidth=0.5, alpha=0.5)
        longest = max(facet.values(), key=lambda curve: curve.frequency.size)
        for kind, dashes in zip(thresholds, ("--", ":", "-."), strict=False):
            line, how = threshold(longest.n, kind), {"color": "0.45", "linewidth": 1, "label": f"threshold {kind}"}
            (handles[f"threshold {kind}"],) = axes.plot(longest.frequency, line, dashes, **how)
        axes.set(xlim=(0, 1), ylim=(min(-0.05, lowest), 1.03), title=title)
        axes.set(xlabel="spatial frequency (fraction of Nyquist)")
        top = axes.twiny()
        top.set(xlim=(0, 1), xlabel="period (pixels)")
        top.set_xticks(*style.PERIOD_TICKS)
    for axes in grid[:, 0]:
        axes.set_ylabel("Fourier ring correlation")
    style.legend_beside(grid[0, -1], list(handles.values()), list(handles))
    return figure


@style.styled
def loss_curve(history: Mapping[str, Sequence[float]], label: str = "log loss") -> Figure:
    """Training loss, and validation loss where recorded, by epoch. history: columns of equal length as Keras logs them,
    'loss' and perhaps 'val_loss', 'epoch' (from 0). label: what the loss is, with its unit. Raises ValueError on an
    empty or non-finite history."""
    lines = {"training": history.get("loss"), "validation": history.get("val_loss")}
    drawn = {name: np.asarray(values, float) for name, values in lines.items() if values is not None and len(values)}
    if "training" not in drawn or not all(np.all(np.isfinite(v)) for v in drawn.values()):
        raise ValueError("no data: a loss curve needs a finite column 'loss' with at least one epoch")
    figure, [[axes]] = style.panels(4.6, 3.0)
    for (name, values), form in zip(drawn.items(), ("o-", "s--"), strict=False):
        epochs = np.asarray(history.get("epoch", np.arange(values.size)), float) + 1
        axes.plot(epochs, values, form, markersize=3, linewidth=1.4, label=name)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


@style.styled
def reconstruction_vs_truth(evaluation: Evaluation) -> Figure:
    """Truth, reconstruction and their difference, in amplitude and, where the truth has any, in phase. Truth and
    reconstruction share the truth's range, the difference is symmetric about zero on half of that range; what exceeds a
    scale takes its end colour. Pixels that the scan did not see are left blank."""
    aligned = evaluation.aligned
    rows = [("amplitude", "relative", np.abs(aligned.truth), np.abs(aligned.object), style.GREY)]
    if evaluation.phase_frc is not None:
        rows.append(("phase", "rad", evaluation.truth_phase, evaluation.phase, "cividis"))
    figure, axes = style.panels(7.4, 2.2 * len(rows), len(rows), 3)
    for line, (name, unit, truth, image, colours) in zip(axes, rows, strict=True):
        low, high = truth[aligned.mask].min(), truth[aligned.mask].max()
        reach = (high - low) / 2 or 0.5
        shared = Normalize(low, high) if high > low else Normalize(low - 0.5, high + 0.5)
        shown = (
            (f"truth, {name}", truth, shared, colours),
            (f"reconstruction, {name}", image, shared, colours),
            ("reconstruction − truth", image - truth, Normalize(-reach, reach), "PuOr"),
        )
        for cell, (title, values, norm, cmap) in zip(line, shown, strict=True):
            style.require_image(title, values)
            drawn = style.show_image(cell, np.where(aligned.mask, values, np.nan), title, norm, cmap)
            extend = "neither" if title.startswith("truth") else "both"
            figure.colorbar(drawn, ax=cell, label=f"{name} ({unit})", shrink=0.85, extend=extend)
        style.scale_bar(line[0], truth.shape)
    return figure


@style.styled
def diffraction_gallery(counts: np.ndarray, labels: Sequence[str], particle: str = PHOTONS) -> Figure:
    """Diffraction patterns on one log scale, a row a label. counts: (k, N, N) of the `particle`. labels: k titles."""
    if len(counts) == 0 or len(counts) != len(labels):
        raise ValueError(f"no data: a gallery needs a label for each pattern; found {len(counts)} and {len(labels)}")
    for label, pattern in zip(labels, counts, strict=True):
        style.require_image(label, pattern, pattern=True)
    lines = {label: [p for one, p in zip(labels, counts, strict=True) if one == label] for label in labels}
    columns, norm = max(map(len, lines.values())), style.counts_norm(list(counts))
    figure, grid = style.panels(2.05 * columns + 0.9, 2.25 * len(lines), len(lines), columns)
    for row, (label, patterns) in zip(grid, lines.items(), strict=True):
        for cell, pattern in zip(row, patterns, strict=False):
            drawn = style.show_image(cell, pattern, label, norm, style.COUNTS)
        for cell in row[len(patterns) :]:
            cell.remove()
    figure.colorbar(drawn, ax=figure.axes, label=f"{particle} per detector pixel", shrink=0.9)
    return figure


@style.styled
def scan_overview(x: np.ndarray, y: np.ndarray, object: np.ndarray, probe: np.ndarray) -> Figure:
    """What is imaged, where and with what: the object's amplitude with the scan positions on it, and the probe. x, y:
    (M,) object pixels. object: complex (H, W). probe: complex (N, N), or (L, N, N) incoherent modes, of which the total
    amplitude and the phase of the first are shown."""
    if np.size(x) == 0 or np.shape(x) != np.shape(y):
        raise ValueError(f"no data: a scan needs as many x as y; found shapes {np.shape(x)} and {np.shape(y)}")
    style.require_image("object", object)
    modes = np.reshape(probe, (-1, *np.shape(probe)[-2:]))
    amplitude, phase = np.sqrt(np.sum(np.abs(modes) ** 2, axis=0)), np.angle(modes[0])
    style.require_image("probe", amplitude, pattern=True)
    figure, [axes] = style.panels(9.2, 2.9, columns=3)
    dark = np.where(amplitude > 0.05 * amplitude.max(), phase, np.nan)  # elsewhere the phase is that of nothing
    shown = (
        (np.abs(object), f"object and {np.size(x)} scan positions", "amplitude (relative)", Normalize(), style.GREY),
        (amplitude, "probe, amplitude", "amplitude (relative)", Normalize(0), style.GREY),
        (dark, "probe, phase", "phase (rad)", Normalize(-np.pi, np.pi), "twilight"),
    )
    for cell, (image, title, label, norm, colours) in zip(axes, shown, strict=True):
        figure.colorbar(style.show_image(cell, image, title, norm, colours), ax=cell, label=label, shrink=0.9)
    axes[0].scatter(x, y, s=np.clip(3000 / np.size(x), 1.5, 12), color="#E69F00", linewidths=0, alpha=0.8)
    for cell, (image, *_) in zip(axes, shown, strict=True):
        style.scale_bar(cell, image.shape)
    return figure
