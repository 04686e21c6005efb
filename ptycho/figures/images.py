"""Every figure of the study: arrays in, a matplotlib Figure out; pyplot, with its global state, is not used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ptycho.figures.style import (
    DIFFERENCE_COLOURS,
    GREY,
    LINE_STYLES,
    PATTERN_COLOURS,
    PHASE_COLOURS,
    counts_norm,
    dose_label,
    require_image,
    scale_bar,
    show_image,
    styled,
)
from ptycho.findings.comparison import DoseRow, ReconstructionPanel
from ptycho.judge.frc import FRCCurve, period_px, running_median, threshold
from ptycho.judge.metrics import Evaluation
from ptycho.scans.formats.scan import Scan
from ptycho.scans.statistics import Statistics


def _image_of(panel: ReconstructionPanel, phase: bool) -> np.ndarray:
    evaluation = panel.evaluation
    return evaluation.phase if phase else np.abs(evaluation.aligned.object)


def grey_limits(rows: Sequence[DoseRow], phase: bool = False) -> tuple[float, float]:
    """The one grey scale of a comparison: the range of the truth, widest over all panels, in amplitude or radians.

    The truth's, because a noisy arm must not set the contrast in which the others are seen.
    """
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
        require_image(f"pattern at {row.nphotons:g} photons", row.counts, pattern=True)
        for panel in row.panels:
            if panel.evaluation is None:
                raise ValueError(f"no data for the panel '{panel.loss} at {row.nphotons:g} photons'")
            require_image(f"{panel.loss} at {row.nphotons:g} photons", panel.evaluation.aligned.object)
    return losses


def _quality(evaluation: Evaluation, phase: bool) -> str:
    """The second line of a title: resolution and fidelity of what is shown, '–' where there is no number."""

    def number(value: float | None, form: str) -> str:
        return "–" if value is None else form.format(value)

    frc50 = evaluation.phase_frc50 if phase else evaluation.amplitude_frc50
    resolution = "collapsed" if evaluation.collapsed else f"FRC50 {number(frc50, '{:.2f}')}"
    if phase:
        return f"{resolution}, r = {number(evaluation.phase_pearson, '{:.2f}')}"
    return f"{resolution}, PSNR {number(evaluation.amplitude_psnr_db, '{:.1f} dB')}"


@styled
def dose_comparison(rows: Sequence[DoseRow], phase: bool = False) -> Figure:
    """A row for each dose: a diffraction pattern in log counts, and the reconstruction by each loss.

    All reconstructions share one grey scale (amplitude; with `phase`, radians) and all patterns one log scale.
    Raises ValueError rather than draw a panel without data.
    """
    losses, limits = _comparison(rows), grey_limits(rows, phase)
    width, height = 2.25 * (1 + len(losses)) + 0.35, 2.6 * len(rows) + 0.5
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(len(rows), 1 + len(losses), squeeze=False)
    norm, grey = counts_norm([row.counts for row in rows]), Normalize(*limits, clip=True)
    for row, line in zip(rows, axes, strict=True):
        dose = f"{dose_label(row.nphotons)} photons"
        patterns = show_image(line[0], row.counts, f"{dose}\none diffraction pattern", norm, PATTERN_COLOURS)
        for panel, cell in zip(row.panels, line[1:], strict=True):
            e, image = panel.evaluation, _image_of(panel, phase)
            title = f"{dose}, {panel.loss.upper()}\n{_quality(e, phase)}"
            images = show_image(cell, image, title, grey, GREY)
            scale_bar(cell, image.shape)
    bars: dict[str, Any] = {"location": "bottom", "pad": 0.02}
    figure.colorbar(patterns, ax=list(axes[:, 0]), label="photons per detector pixel", shrink=0.9, aspect=20, **bars)
    label = "phase (rad)" if phase else "amplitude (relative)"
    shrink = 0.9 / len(losses)  # as long as the bar of the patterns
    figure.colorbar(images, ax=list(axes[:, 1:].ravel()), label=label, extend="both", shrink=shrink, aspect=20, **bars)
    return figure


def dose_comparison_rows(rows: Sequence[DoseRow], phase: bool = False) -> list[dict[str, Any]]:
    """The numbers beside the dose comparison, a dictionary for each reconstruction; None where there is no number.

    vmin, vmax: the grey scale shared by all. pattern_photons: in the pattern shown. data_range: of PSNR and SSIM.
    """
    _comparison(rows)
    vmin, vmax = grey_limits(rows, phase)
    return [
        {"nphotons": row.nphotons, "loss": panel.loss, "collapsed": panel.evaluation.collapsed}
        | panel.evaluation.as_dict()
        | {
            "contrast_ratio": panel.evaluation.contrast_ratio,
            "data_range": panel.evaluation.data_range,
            "vmin": vmin,
            "vmax": vmax,
            "pattern_photons": float(row.counts.sum()),
        }
        for row in rows
        for panel in row.panels
    ]


@styled
def frc_curves(curves: Mapping[str, FRCCurve], thresholds: Sequence[str] = ("0.5",)) -> Figure:
    """Fourier ring correlation against spatial frequency, a colour and style a label; threshold curves in grey.

    The thick line is the running median, which crosses the threshold 0.5 at FRC50; the thin one is every ring.
    """
    if not curves:
        raise ValueError("no data: no FRC curve to draw")
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (label, curve) in enumerate(curves.items()):
        median, style = running_median(curve.correlation), LINE_STYLES[number // 7 % 4]
        (thick,) = axes.plot(curve.frequency, median, style, linewidth=1.4, label=label)
        axes.plot(curve.frequency, curve.correlation, color=thick.get_color(), linewidth=0.5, alpha=0.5)
    longest = max(curves.values(), key=lambda curve: curve.frequency.size)
    for kind, style in zip(thresholds, ("--", ":", "-."), strict=False):
        line = threshold(longest.n, kind)
        axes.plot(longest.frequency, line, style, color="0.45", linewidth=1, label=f"threshold {kind}")
    axes.set(xlim=(0, 1), ylim=(min(-0.05, *(float(c.correlation.min()) for c in curves.values())), 1.03))
    axes.set(xlabel="spatial frequency (fraction of Nyquist)", ylabel="Fourier ring correlation")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    top = axes.twiny()
    top.set_xlim(0, 1)
    ticks = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
    top.set_xticks(ticks, [f"{period_px(f):.3g}" for f in ticks])
    top.set_xlabel("period (pixels)")
    return figure


@styled
def loss_curve(history: Mapping[str, Sequence[float]], label: str = "loss") -> Figure:
    """Training loss, and validation loss where recorded, by epoch; logarithmic where all are positive.

    history: columns of equal length as Keras logs them, 'loss' and perhaps 'val_loss', 'epoch' (from 0).
    label: what the loss is, with its unit. Raises ValueError on an empty or non-finite history.
    """
    lines = {"training": history.get("loss"), "validation": history.get("val_loss")}
    drawn = {name: np.asarray(values, float) for name, values in lines.items() if values is not None and len(values)}
    if "training" not in drawn or not all(np.all(np.isfinite(v)) for v in drawn.values()):
        raise ValueError("no data: a loss curve needs a finite column 'loss' with at least one epoch")
    figure = Figure(figsize=(4.6, 3.0), layout="constrained")
    axes = figure.subplots()
    for (name, values), style in zip(drawn.items(), ("o-", "s--"), strict=False):
        epochs = np.asarray(history.get("epoch", np.arange(values.size)), float) + 1
        axes.plot(epochs, values, style, markersize=3, linewidth=1.4, label=name)
    if all(np.all(v > 0) for v in drawn.values()):
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


@styled
def reconstruction_vs_truth(evaluation: Evaluation) -> Figure:
    """Truth, reconstruction and their difference, in amplitude and, where the truth has any, in phase.

    Truth and reconstruction share the truth's range, the difference is symmetric about zero on half of that range;
    what exceeds a scale takes its end colour. Pixels that the scan did not see are left blank.
    """
    aligned, rows = evaluation.aligned, []
    rows.append(("amplitude", "relative", np.abs(aligned.truth), np.abs(aligned.object), GREY))
    if evaluation.phase_frc is not None:
        rows.append(("phase", "rad", evaluation.truth_phase, evaluation.phase, PHASE_COLOURS))
    figure = Figure(figsize=(7.4, 2.2 * len(rows)), layout="constrained")
    for line, (name, unit, truth, image, colours) in zip(
        figure.subplots(len(rows), 3, squeeze=False), rows, strict=True
    ):
        low, high = truth[aligned.mask].min(), truth[aligned.mask].max()
        reach = (high - low) / 2 or 0.5
        shared = Normalize(low, high) if high > low else Normalize(low - 0.5, high + 0.5)
        panels = (
            (f"truth, {name}", truth, shared, colours),
            (f"reconstruction, {name}", image, shared, colours),
            ("reconstruction − truth", image - truth, Normalize(-reach, reach), DIFFERENCE_COLOURS),
        )
        for cell, (title, values, norm, cmap) in zip(line, panels, strict=True):
            require_image(title, values)
            drawn = show_image(cell, np.where(aligned.mask, values, np.nan), title, norm, cmap)
            extend = "neither" if title.startswith("truth") else "both"
            figure.colorbar(drawn, ax=cell, label=f"{name} ({unit})", shrink=0.85, extend=extend)
        scale_bar(line[0], truth.shape)
    return figure


@styled
def diffraction_gallery(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """Diffraction patterns side by side on one log scale. counts: (k, N, N) photons; labels: k titles, the doses."""
    if len(counts) == 0 or len(counts) != len(labels):
        raise ValueError(f"no data: a gallery needs a label for each pattern; found {len(counts)} and {len(labels)}")
    for label, pattern in zip(labels, counts, strict=True):
        require_image(label, pattern, pattern=True)
    columns = min(4, len(counts))
    lines = -(-len(counts) // columns)
    figure = Figure(figsize=(2.05 * columns + 0.9, 2.25 * lines), layout="constrained")
    cells = figure.subplots(lines, columns, squeeze=False)
    norm = counts_norm(list(counts))
    for cell in cells.ravel()[len(counts) :]:
        cell.remove()
    for cell, label, pattern in zip(cells.ravel(), labels, counts, strict=False):
        drawn = show_image(cell, pattern, label, norm, PATTERN_COLOURS)
    shown = list(cells.ravel()[: len(counts)])
    figure.colorbar(drawn, ax=shown, label="photons per detector pixel", shrink=0.9)
    return figure


@styled
def scan_overview(x: np.ndarray, y: np.ndarray, object: np.ndarray, probe: np.ndarray) -> Figure:
    """What is imaged, where and with what: the object's amplitude with the scan positions on it, and the probe.

    x, y: (M,) object pixels. object: complex (H, W). probe: complex (N, N), or (L, N, N) incoherent modes, of which
    the total amplitude and the phase of the first are shown.
    """
    if np.size(x) == 0 or np.shape(x) != np.shape(y):
        raise ValueError(f"no data: a scan needs as many x as y; found shapes {np.shape(x)} and {np.shape(y)}")
    require_image("object", object)
    modes = np.reshape(probe, (-1, *np.shape(probe)[-2:]))
    amplitude, phase = np.sqrt(np.sum(np.abs(modes) ** 2, axis=0)), np.angle(modes[0])
    require_image("probe", amplitude, pattern=True)
    figure = Figure(figsize=(9.2, 2.9), layout="constrained")
    axes = figure.subplots(1, 3)
    image = np.abs(object)
    drawn = show_image(axes[0], image, f"object and {np.size(x)} scan positions", Normalize(), GREY)
    figure.colorbar(drawn, ax=axes[0], label="amplitude (relative)", shrink=0.9)
    size = float(np.clip(3000 / np.size(x), 1.5, 12))
    axes[0].scatter(x, y, s=size, color="#E69F00", linewidths=0, alpha=0.8)
    scale_bar(axes[0], image.shape)
    drawn = show_image(axes[1], amplitude, "probe, amplitude", Normalize(0), GREY)
    figure.colorbar(drawn, ax=axes[1], label="amplitude (relative)", shrink=0.9)
    dark = np.where(amplitude > 0.05 * amplitude.max(), phase, np.nan)  # elsewhere the phase is that of nothing
    drawn = show_image(axes[2], dark, "probe, phase", Normalize(-np.pi, np.pi), "twilight")
    figure.colorbar(drawn, ax=axes[2], label="phase (rad)", shrink=0.9)
    for cell in axes[1:]:
        scale_bar(cell, amplitude.shape)
    return figure


@styled
def inspection(scan: Scan, found: Statistics, probe: NDArray[np.complexfloating] | None) -> Figure:
    """Mean pattern, pixels' range, positions and probe."""
    figure = Figure(figsize=(12, 3.4), layout="compressed")
    axes = figure.subplots(1, 4)
    for place, image, title in ((0, found.mean, "mean pattern"), (1, found.high, "brightest of the scan")):
        shown = np.maximum(image, 0)
        show_image(axes[place], shown / found.unit, title, counts_norm([shown / found.unit]), PATTERN_COLOURS)
    axes[2].set_title("positions")
    if scan.x is not None and scan.y is not None and len(scan.x) == len(scan.y):
        axes[2].plot(scan.x, scan.y, ".", markersize=3)
        unit = "metres" if scan.metres else "object pixels"
        axes[2].set(xlabel=f"x, {unit}", ylabel=f"y, {unit}", aspect="equal")
        axes[2].invert_yaxis()
    if probe is not None and probe.ndim in (2, 3):
        modulus = np.abs(probe.reshape(-1, *probe.shape[-2:])[0])
        title = "probe" if scan.probe is not None else "probe, estimated"
        show_image(axes[3], modulus, title, Normalize(0, modulus.max() or 1), GREY)
    else:
        axes[3].axis("off")
    return figure
