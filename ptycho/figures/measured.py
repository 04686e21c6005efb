"""The figures of a measured scan: its resolution against the dose, by images and on a star; where positions moved."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from ptycho.figures import style
from ptycho.findings.dose_needed import Level, Needed
from ptycho.judge import spokes
from ptycho.judge.frc import period_px, running_median
from ptycho.judge.halves import Thinning
from ptycho.judge.metrics import evaluate
from ptycho.judge.spokes import Star
from ptycho.scans.exposure import OF_PHOTONS, Exposure
from ptycho.scans.rawdata import RawData


class Spokes(NamedTuple):
    """Where a star is, and on rings of the radii, (rings,), how strong its spokes and the noise are, and what
    correlation with the truth the halves let expect at the period there."""

    where: Star
    radii: NDArray[np.float64]
    modulation: NDArray[np.float64]
    noise: NDArray[np.float64]
    correlation: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Image:
    """A reconstruction at one dose, particles per pattern: (h, w) real values in the mask, what they are, and the full
    period in pixels that its halves agree on; where it shows a star, also how strong its spokes are."""

    nphotons: float
    values: NDArray[np.float64]
    mask: NDArray[np.bool_]
    label: str
    period: float
    star: Spokes | None = None


def image(thinning: Thinning, truth: NDArray[np.complex64], is_star: bool) -> Image:
    """What a thinning's reconstruction from all its photons shows: phase or amplitude, as the ``truth`` (H, W) does."""
    if thinning.whole is None:
        raise ValueError(
            "no data: of the first thinning of a dose alone there is a reconstruction from all its photons"
        )
    found = evaluate(thinning.whole, truth, 1.0)
    values, true, label = np.abs(found.aligned.object), np.abs(found.aligned.truth), "amplitude (relative)"
    if found.contrast == "phase":
        values, true, label = found.phase, found.truth_phase, "phase (rad)"
    shown = Image(thinning.nphotons, values, found.aligned.mask, label, period_px(thinning.split.crossing))
    if not is_star:
        return shown
    star = spokes.find(true, shown.mask)
    radii, expected = spokes.rings(shown.mask, star.centre), thinning.split.expected
    correlation = np.interp(2 / star.period(radii), expected.frequency, running_median(expected.correlation))
    return replace(shown, star=Spokes(star, radii, *spokes.modulation(values, true, star, radii), correlation))


def spoke_rows(images: Sequence[Image]) -> list[dict[str, float | None]]:
    """How near to a star's centre its spokes show at each dose, and how near the halves say: radii, periods in pixels.
    correlation_shown: with the truth, as the halves let expect, at the period of the innermost ring that shows spokes;
    where it is high, what ends there are the spokes of the star, not the resolution."""
    rows = []
    for one in images:
        assert one.star is not None
        star, radii, modulation, noise, correlation = one.star
        shown = spokes.innermost(modulation, noise, radii)
        row: dict[str, float | None] = {"nphotons": one.nphotons, "spokes": float(star.spokes)}
        row |= {"period_halves": one.period, "radius_halves": star.radius(one.period), "radius_shown": shown}
        row["period_shown"] = None if shown is None else float(star.period(np.array(shown)))
        row["correlation_shown"] = None if shown is None else float(np.interp(shown, radii, correlation))
        rows.append(row)
    return rows


@style.styled
def against_dose(levels: Sequence[Level], asked: Needed | None, exposure: Exposure = OF_PHOTONS) -> Figure:
    """FRC50 and half-bit frequency of the halves, and FRC50 by the reference, with 95 % intervals, against the dose.
    With what was asked for: its frequency, and the dose that reaches it with the interval."""
    if not levels:
        raise ValueError("no data: no dose to draw")
    figure, [[axes]] = style.panels(5.8, 3.6)
    doses = [exposure.dose(level.nphotons) for level in levels]
    halves = [level.frc50 for level in levels], [level.half_bit for level in levels]
    for found, form, label in zip(halves, ("o-", "s--"), ("FRC50 expected", "half a bit"), strict=True):
        style.error_bars(axes, doses, found, form, markersize=4, capsize=3, label=f"halves, {label}")
    judged = [level.reference for level in levels]
    style.line(axes, doses, judged, "^:", markersize=4, linewidth=1.2, label="reference, FRC50")
    if asked is not None:
        axes.axhline(asked.frequency, color="0.45", linewidth=1, linestyle="-.", label="asked for")
        if asked.nphotons is not None:
            axes.axvline(exposure.dose(asked.nphotons), color="0.45", linewidth=1, label="dose needed")
            if asked.n > 1:
                ends = asked.low or levels[0].nphotons, asked.high or levels[-1].nphotons
                axes.axvspan(*map(exposure.dose, ends), color="0.85", label="its 95 % interval")
    axes.set(xscale="log", ylim=(0, 1.03), xlabel=exposure.unit, ylabel="frequency (fraction of Nyquist)")
    style.sample_axis(axes, exposure)
    figure.legend(frameon=False, loc="outside right center")
    right = axes.twinx()
    right.set(ylim=axes.get_ylim(), ylabel="full period (pixels)")
    right.set_yticks(*style.PERIOD_TICKS)
    return figure


@style.styled
def by_dose(images: Sequence[Image], exposure: Exposure = OF_PHOTONS) -> Figure:
    """The reconstructions side by side on one grey scale, that of the first; on a star the ring on which its spokes
    have the period that the halves agree on."""
    if not images:
        raise ValueError("no data: no reconstruction to draw")
    low, high = np.percentile(images[0].values[images[0].mask], (1, 99))
    grey = Normalize(float(low), float(high), clip=True)
    figure, [axes] = style.panels(2.6 * len(images) + 0.8, 3.1, columns=len(images))
    for cell, image in zip(axes, images, strict=True):
        style.require_image(f"{image.nphotons:g} photons", image.values)
        dose = f"{style.dose_label(exposure.dose(image.nphotons))} {exposure.short}"
        title = f"{dose}\nhalves agree to {image.period:.3g} px"
        drawn = style.show_image(cell, np.where(image.mask, image.values, np.nan), title, grey)
        if image.star is not None:
            star = image.star.where
            ring = Circle(star.centre[::-1], star.radius(image.period), fill=False, color="#D55E00", linewidth=1.2)
            cell.add_patch(ring)
        style.scale_bar(cell, image.values.shape)
    figure.colorbar(drawn, ax=figure.axes, label=images[0].label, shrink=0.8, extend="both")
    return figure


@style.styled
def spoke_modulation(images: Sequence[Image]) -> Figure:
    """How strongly the spokes of a star show against their period, and in thin lines the noise; a colour each dose. A
    vertical line marks the period that the halves of each dose agree on."""
    figure, [[axes]] = style.panels(5.8, 3.4)
    for image in images:
        if image.star is None:
            raise ValueError("no data: spokes can be drawn of a star alone")
        period, label = image.star.where.period(image.star.radii), f"{style.dose_label(image.nphotons)} photons"
        (line,) = axes.plot(period, image.star.modulation, linewidth=1.4, label=label)
        axes.plot(period, image.star.noise, color=line.get_color(), linewidth=0.6)
        axes.axvline(image.period, color=line.get_color(), linewidth=0.9, linestyle="--")
    axes.set(xscale="log", xlabel="full period of the spokes (pixels)", ylabel=f"modulation of the {images[0].label}")
    ticks = (2, 3, 4, 6, 8, 10, 15, 20, 30)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    style.legend_beside(axes)
    return figure


@style.styled
def position_moves(scan: RawData) -> Figure:
    """Where refined positions are found, as arrows from the given ones, to scale; and the moves along x and y in the
    order of exposure, where a drift is smooth and a backlash goes by rows. Free of a common shift."""
    if scan.xcoords_start is None or scan.ycoords_start is None:
        raise ValueError("no data: the scan has no positions from before they were refined")
    given = np.stack([scan.xcoords_start, scan.ycoords_start])
    moves = np.stack([scan.xcoords, scan.ycoords]) - given
    moves -= moves.mean(axis=1, keepdims=True)
    figure, [[where, when]] = style.panels(7.6, 3.6, columns=2)
    where.quiver(*given, *moves, angles="xy", scale_units="xy", scale=1, width=0.004)
    rms = np.sqrt(np.mean(np.sum(moves**2, axis=0)))
    where.set(title=f"found minus given, {rms:.2f} px rms", xlabel="x (pixels)", ylabel="y (pixels)", aspect="equal")
    where.invert_yaxis()
    for axis, move in zip("xy", moves, strict=True):
        when.plot(move, ".", markersize=3, label=axis)
    when.set(xlabel="order of exposure", ylabel="found minus given (pixels)")
    style.legend_beside(when)
    return figure
