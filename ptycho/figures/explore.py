"""The figures of explore.ipynb: one dose and loss side by side, and what each dose buys."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ptycho.figures import style
from ptycho.findings.looks import Look, Point
from ptycho.scans.exposure import Exposure


@style.styled
def look(found: Look) -> Figure:
    """Object, pattern and Fourier ring correlation, as far as they are known."""
    images = [image for image in (found.object, found.pattern) if image is not None]
    figure, [axes] = style.panels(3.2 * len(images) + 4.2, 3.2, columns=len(images) + 1)
    if found.object is not None:
        image, label = np.abs(found.object), "amplitude (relative)"
        if found.contrast == "phase":
            turned = found.object * np.exp(-1j * np.angle(np.nanmean(found.object)))
            image, label = np.angle(turned), "phase (rad)"
        low, high = np.nanpercentile(image, [0.5, 99.5])
        drawn = style.show_image(axes[0], image, found.object_title, Normalize(low, high, clip=True))
        style.scale_bar(axes[0], image.shape)
        figure.colorbar(drawn, ax=axes[0], label=label, location="bottom", shrink=0.9, extend="both")
    if found.pattern is not None:
        norm = style.counts_norm([found.pattern])
        drawn = style.show_image(axes[-2], found.pattern, found.pattern_title, norm, style.COUNTS)
        figure.colorbar(drawn, ax=axes[-2], label="counts per detector pixel", location="bottom", shrink=0.9)
    for label, (frequency, correlation) in found.curves.items():
        axes[-1].plot(frequency, correlation, linewidth=1.2, label=label)
    axes[-1].axhline(0.5, color="0.6", linestyle="--", linewidth=0.7, zorder=0)
    axes[-1].set(xlim=(0, 1), ylim=(-0.15, 1.05), xlabel="spatial frequency (fraction of Nyquist)")
    axes[-1].set_ylabel(f"Fourier ring correlation, {found.contrast}")
    axes[-1].legend(frameon=False, loc="lower left")
    return figure


@style.styled
def bought(points: Sequence[Point], dose: float, loss: str, exposure: Exposure) -> Figure:
    """Resolution and error against the dose, a colour a method, for one loss; the dose that is looked at is marked.
    Dashed: what an unbiased image resolves, and the least error without prior knowledge, where they are known."""
    figure, [[resolution, error]] = style.panels(7.4, 2.9, columns=2)
    mine = [point for point in points if point.loss == loss]
    for number, method in enumerate(dict.fromkeys(point.method for point in mine)):
        own = sorted((point for point in mine if point.method == method), key=lambda point: point.nphotons)
        doses = [exposure.dose(point.nphotons) for point in own]
        how = {"color": style.COLOURS[number], "linewidth": 1.2}
        style.line(resolution, doses, [point.frc50 for point in own], "o-", markersize=3, label=method, **how)
        for at, point in zip(doses, own, strict=True):
            if point.low is not None and point.high is not None:
                resolution.plot([at] * 2, [point.low, point.high], "-", **how)
        style.line(resolution, doses, [point.limit for point in own], "--", **how)
        style.line(error, doses, [point.error for point in own], "o-", markersize=3, **how)
        style.line(error, doses, [point.least for point in own], "--", **how)
    for axes in (resolution, error):
        shown = [exposure.dose(at) for at in (dose, *(point.nphotons for point in mine))]
        axes.axvline(shown[0], color="0.6", linewidth=0.8, zorder=0)
        axes.set(xscale="log", xlim=(min(shown) / 3, max(shown) * 3), xlabel=exposure.unit)
    resolution.set(ylim=(-0.03, 1.05), ylabel="FRC50 (fraction of Nyquist)")
    resolution.legend(frameon=False, loc="lower right", title=loss)
    error.set_ylabel("relative mean-square error")
    if error.lines[:-1]:
        error.set_yscale("log")
    return figure
