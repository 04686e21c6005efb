"""Every figure of a study: functions that take arrays and return a Figure, and the one way to save and to show it."""

from __future__ import annotations

import base64
import csv
import html
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptycho.metrics import Evaluation
from ptycho.resolution import FRCCurve

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, told apart by colour-blind readers."""

GREY_RANGE = (1, 99)
"""Percentiles of the truth that black and white stand for: reconstructions are shown on the truth's own scale."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One arm in the comparison: what was counted, and what was made of it.

    counts : (N, N) photons of one pattern. image, truth : (h, w) amplitude, or phase in radians; mask : (h, w) bool.
    frc50 : fraction of Nyquist, None when collapsed. psnr_db, ssim, pearson : None where they do not exist.
    """

    dose: str
    nphotons: float
    loss: str
    counts: NDArray[np.integer]
    image: NDArray[np.floating]
    truth: NDArray[np.floating]
    mask: NDArray[np.bool_]
    frc50: float | None
    psnr_db: float | None
    ssim: float | None
    pearson: float | None


def _require_data(name: str, values: NDArray[Any] | None) -> NDArray[Any]:
    if values is None or np.size(values) == 0:
        raise ValueError(f"{name}: there is nothing to draw")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(values))} values are not finite")
    return values


def _blank(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def _scale_bar(axes: Axes, width: int) -> None:
    """A bar of a round number of pixels, about a fifth of the image."""
    length = next(b for b in (500, 200, 100, 50, 20, 10, 5, 2, 1) if b <= max(1, width / 4))
    transform = axes.get_xaxis_transform()
    start = 0.05 * width
    axes.plot([start, start + length], [0.06, 0.06], color="white", lw=5, transform=transform, solid_capstyle="butt")
    axes.plot([start, start + length], [0.06, 0.06], color="black", lw=2.5, transform=transform, solid_capstyle="butt")
    axes.text(
        start + length / 2,
        0.085,
        f"{length} px",
        ha="center",
        va="bottom",
        fontsize=8,
        transform=transform,
        bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
    )


def shared_scales(panels: Sequence[Panel]) -> tuple[LogNorm, Normalize]:
    """The scales all panels share: photons from one to the brightest pixel, and the truth's own grey range."""
    brightest = max(int(panel.counts.max()) for panel in panels)
    truth = np.concatenate([panel.truth[panel.mask] for panel in panels])
    low, high = np.percentile(truth, GREY_RANGE)
    return LogNorm(1, max(10, brightest)), Normalize(float(low), float(high))


def dose_comparison(panels: Sequence[Panel], *, phase: bool = False) -> Figure:
    """Rows are doses; columns a diffraction pattern in log counts, then one reconstruction for each loss.

    Parameters
    ----------
    panels : sequence of Panel
        One for each dose and loss; those of a dose share their pattern.
    phase : bool
        Whether images are phases in radians rather than amplitudes.

    Raises
    ------
    ValueError
        A panel is missing, empty, not finite, or its pattern holds no photon.
    """
    if not panels:
        raise ValueError("there are no panels to draw")
    doses, losses = (list(dict.fromkeys(getattr(p, k) for p in panels)) for k in ("dose", "loss"))
    losses.sort(key=lambda loss: loss == "nll")  # the likelihood last: MAE, then NLL
    by_place = {(p.dose, p.loss): p for p in panels}
    for dose in doses:
        for loss in losses:
            if (dose, loss) not in by_place:
                raise ValueError(f"the panel of dose {dose} and loss {loss} is missing")
    for p in panels:
        if not _require_data(f"pattern of {p.dose}", p.counts).any():
            raise ValueError(f"pattern of {p.dose}: no photon was counted")
        _require_data(f"reconstruction of {p.dose} {p.loss}", p.image)
        _require_data(f"truth of {p.dose} {p.loss}", p.truth[p.mask])
    photons, grey = shared_scales(panels)

    columns = 1 + len(losses)
    figure = Figure(figsize=(3.5 * columns, 3.6 * len(doses) + 0.2), dpi=100, layout="constrained")
    grid = np.atleast_2d(figure.subplots(len(doses), columns, squeeze=False))
    dark = colormaps["magma"].with_extremes(bad="black", under="black")
    for row, dose in zip(grid, doses, strict=True):
        pattern = by_place[dose, losses[0]]
        drawn = row[0].imshow(pattern.counts, norm=photons, cmap=dark, interpolation="nearest")
        row[0].set_title(f"counted, {pattern.nphotons:.3g} photons per pattern", fontsize=10)
        for axes, loss in zip(row[1:], losses, strict=True):
            panel = by_place[dose, loss]
            shown = axes.imshow(panel.image, norm=grey, cmap="gray", interpolation="nearest")
            reached = "collapsed" if panel.frc50 is None else f"FRC50 {panel.frc50:.2f} of Nyquist"
            quality = "" if panel.psnr_db is None else f", PSNR {panel.psnr_db:.1f} dB"
            axes.set_title(f"{loss.upper()} at {panel.nphotons:.3g}\n{reached}{quality}", fontsize=10)
            _scale_bar(axes, panel.image.shape[1])
        for axes in row:
            _blank(axes)
    figure.colorbar(drawn, ax=grid[:, 0], location="bottom", label="photons", shrink=0.85, aspect=30, pad=0.02)
    unit = "phase, radians" if phase else "amplitude"
    bar = figure.colorbar(shown, ax=grid[:, 1:], location="bottom", label=unit, shrink=0.85, aspect=60, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    return figure


def dose_comparison_rows(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """The numbers of :func:`dose_comparison`, one row a panel; None where a number does not exist."""
    photons, grey = shared_scales(panels)
    return [
        {
            "dose": p.dose,
            "photons_per_pattern": p.nphotons,
            "loss": p.loss,
            "frc50_of_nyquist": p.frc50,
            "psnr_db": p.psnr_db,
            "ssim": p.ssim,
            "pearson_r": p.pearson,
            "grey_min": grey.vmin,
            "grey_max": grey.vmax,
            "image_mean": float(p.image[p.mask].mean()),
            "image_std": float(p.image[p.mask].std()),
            "pattern_photons": int(p.counts.sum()),
            "photons_max": photons.vmax,
        }
        for p in panels
    ]


def frc_curves(curves: Mapping[str, FRCCurve | None]) -> Figure:
    """Fourier ring correlation against spatial frequency; labels ending in ``direct`` are dashed in their colour."""
    figure = Figure(figsize=(7, 4), dpi=100, layout="constrained")
    axes = figure.subplots()
    names = [label for label in curves if not label.endswith("direct")]
    for label, curve in curves.items():
        if curve is None:
            continue
        owner = label.removesuffix(" direct")
        colour = COLOURS[names.index(owner) % len(COLOURS)] if owner in names else "black"
        dashed = label.endswith("direct")
        axes.plot(
            curve.frequency,
            curve.correlation,
            "--" if dashed else "-",
            color=colour,
            lw=1.0 if dashed else 1.8,
            label=label,
        )
    axes.axhline(0.5, color="grey", lw=0.8, ls=":")
    axes.set(xlim=(0, 1), ylim=(-0.1, 1.05), xlabel="spatial frequency / Nyquist", ylabel="Fourier ring correlation")
    axes.legend(fontsize=8, ncols=2, frameon=False)
    return figure


def loss_curve(history: Sequence[Mapping[str, float]]) -> Figure:
    """The objective, a logarithm of the mean loss per detector pixel, against epoch."""
    figure = Figure(figsize=(5.5, 2.8), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot([row["epoch"] for row in history], [row["loss"] for row in history], "o-", color=COLOURS[0], ms=3)
    axes.set(xlabel="epoch", ylabel="log mean loss per pixel")
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def reconstruction_vs_truth(evaluation: Evaluation) -> Figure:
    """Truth, reconstruction and difference, in amplitude and, where the object has one, in phase."""
    aligned = evaluation.aligned
    rows = [("amplitude", np.abs(aligned.truth), np.abs(aligned.object))]
    if evaluation.phase_frc is not None:
        rows.append(("phase, radians", evaluation.truth_phase, evaluation.phase))
    figure = Figure(figsize=(9.5, 3.2 * len(rows)), dpi=90, layout="constrained")
    for (unit, truth, image), axes in zip(rows, figure.subplots(len(rows), 3, squeeze=False), strict=True):
        low, high = np.percentile(truth[aligned.mask], GREY_RANGE)
        half = (high - low) / 2
        for ax, title, values, norm, cmap in (
            (axes[0], "truth", truth, Normalize(low, high), "gray"),
            (axes[1], "reconstruction", image, Normalize(low, high), "gray"),
            (axes[2], "difference", image - truth, Normalize(-half, half), "RdBu_r"),
        ):
            drawn = ax.imshow(np.where(aligned.mask, values, np.nan), norm=norm, cmap=cmap, interpolation="nearest")
            ax.set_title(title, fontsize=10)
            _blank(ax)
            figure.colorbar(drawn, ax=ax, label=unit, shrink=0.8)
        _scale_bar(axes[0], truth.shape[1])
    return figure


def diffraction_gallery(counts: NDArray[np.integer], labels: Sequence[str]) -> Figure:
    """Patterns (k, N, N) in photons on one logarithmic scale, one row for each run of equal labels."""
    _require_data("diffraction gallery", counts)
    rows: list[tuple[str, list[int]]] = []
    for k, label in enumerate(labels):
        if not rows or rows[-1][0] != label:
            rows.append((label, []))
        rows[-1][1].append(k)
    columns = max(len(members) for _, members in rows)
    figure = Figure(figsize=(1.9 * columns + 0.8, 1.95 * len(rows)), dpi=90, layout="constrained")
    norm = LogNorm(1, max(10, int(counts.max())))
    dark = colormaps["magma"].with_extremes(bad="black", under="black")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for (label, members), axes in zip(rows, grid, strict=True):
        for ax in axes:
            _blank(ax)
        for k, ax in zip(members, axes, strict=False):
            drawn = ax.imshow(counts[k], norm=norm, cmap=dark, interpolation="nearest")
        axes[0].set_ylabel(f"{label} photons")
    figure.colorbar(drawn, ax=grid, label="photons", shrink=0.8)
    return figure


def scan_overview(x: NDArray[Any], y: NDArray[Any], O: NDArray[Any], P: NDArray[Any]) -> Figure:
    """The object's amplitude and phase, with the positions of the scan on the first, and the probe's amplitude."""
    figure = Figure(figsize=(11, 3.5), dpi=90, layout="constrained")
    scan, phase, probe = figure.subplots(1, 3)
    lit = P.reshape(-1, *P.shape[-2:])
    for ax, title, values, unit in (
        (scan, f"object and {len(x)} positions", np.abs(O), "amplitude"),
        (phase, "object", np.angle(O), "phase, radians"),
        (probe, "probe", np.sqrt(np.sum(np.abs(lit) ** 2, axis=0)), "amplitude"),
    ):
        low, high = np.percentile(values, GREY_RANGE)
        drawn = ax.imshow(values, cmap="gray", vmin=low, vmax=high if high > low else low + 1)
        ax.set_title(title, fontsize=10)
        ax.set(xlabel="x, pixels", ylabel="y, pixels")
        figure.colorbar(drawn, ax=ax, label=unit, shrink=0.8)
    scan.plot(x, y, ".", color=COLOURS[1], ms=1.5)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, stem: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``stem.png``, ``stem.pdf`` and, the numbers beside them, ``stem.csv``; each whole or not at all."""
    pdf = io.BytesIO()
    figure.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    for suffix, content in ((".png", png(figure)), (".pdf", pdf.getvalue()), (".csv", text.getvalue().encode())):
        path = Path(f"{os.fspath(stem)}{suffix}")
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.write_bytes(content)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


class Shown:
    """A figure for a notebook's output: an image with alternative text."""

    def __init__(self, figure: Figure, alt: str):
        self.image, self.alt = base64.b64encode(png(figure)).decode(), alt

    def _repr_html_(self) -> str:
        source = f"data:image/png;base64,{self.image}"
        return f'<img src="{source}" alt="{html.escape(self.alt)}" style="max-width:100%">'

    def __repr__(self) -> str:
        return f"[figure] {self.alt}"


def show(figure: Figure, alt: str) -> Shown:
    """Display a figure in a notebook with its alternative text ``alt``."""
    if not alt.strip():
        raise ValueError("alt is empty; every figure needs a text for those who cannot see it")
    return Shown(figure, alt)
