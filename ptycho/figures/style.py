"""What the figures are drawn with: style, colour scales, image panels, scale bars."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.rcsetup import cycler

from ptycho.figures.colours import COLOURS
from ptycho.findings.intervals import Interval, reach
from ptycho.judge.frc import period_px
from ptycho.scans.exposure import Exposure

STYLE: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 9),
    **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), 8),
    "image.interpolation": "nearest",
    "axes.prop_cycle": cycler(color=COLOURS),
}
COUNTS, GREY = "inferno", "gray"
"""The colours of diffraction patterns and of images."""

LINE_STYLES = ("-", "--", "-.", ":")

FREQUENCIES = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
PERIOD_TICKS = FREQUENCIES, [f"{period_px(frequency):.3g}" for frequency in FREQUENCIES]
"""Of an axis of frequencies, in fractions of Nyquist: where it has ticks, and their full periods in pixels."""

styled = mpl.rc_context(STYLE)
"""Decorates what draws with STYLE, and leaves the caller's matplotlib settings as they were."""


def panels(width: float, height: float, rows: int = 1, columns: int = 1, **more: Any) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches, and its axes (rows, columns). more: what of their axes they share."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def error_bars(
    axes: Axes, x: Iterable[float], intervals: Sequence[Interval | None], form: str = "o-", **style: Any
) -> None:
    """Means over x (n,), joined by a line, and their intervals as bars; nothing where there is no mean. A hollow mark
    is a median, and its bar a range."""
    told = [(at, one) for at, one in zip(x, intervals, strict=True) if one is not None and one.mean is not None]
    x, means = np.array([(at, one.mean) for at, one in told], np.float64).reshape(-1, 2).T
    style = {"fmt": form, "markersize": 3, "linewidth": 1.2, "capsize": 2, **style}
    bars = axes.errorbar(x, means, reach([one for _, one in told]), **style)
    hollow = [place for place, (_, one) in enumerate(told) if one.is_range]
    axes.plot(x[hollow], means[hollow], "o", markersize=3, color=bars[0].get_color(), markerfacecolor="white", zorder=3)


def line(axes: Axes, x: Iterable[float], y: Iterable[float | None], form: str, **style: Any) -> None:
    """A line through the points (x, y), each (n,), whose y is known; nothing where none is."""
    if told := [point for point in zip(x, y, strict=True) if point[1] is not None]:
        axes.plot(*zip(*told, strict=True), form if len(told) > 1 else "_", **style)


def log_doses(axes: Axes, doses: Sequence[float]) -> None:
    """A logarithmic axis of doses, which has room on both sides of a single one."""
    if len(set(doses)) == 1:
        axes.set_xlim(doses[0] / 3, doses[0] * 3)
    axes.set_xscale("log")


def legend_beside(axes: Axes, *entries: Any, **more: Any) -> None:
    """A legend to the right of the axes."""
    axes.legend(*entries, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), **more)


def sample_axis(axes: Axes, exposure: Exposure) -> None:
    """A second axis of doses above the first, in what the sample feels, where that is known and another unit."""
    at_one, unit = exposure.on_sample(1.0), exposure.sample_unit
    if at_one is not None and unit is not None and unit != exposure.unit:
        top = axes.secondary_xaxis("top", functions=(lambda x: np.multiply(x, at_one), lambda x: np.divide(x, at_one)))
        top.set_xlabel(unit)


def dose_label(nphotons: float) -> str:
    """'10⁹', '4.6×10⁵': a dose in two significant digits."""
    digits, exponent = f"{nphotons:.1e}".split("e")
    power = f"10$^{{{int(exponent)}}}$"
    return power if digits == "1.0" else f"{digits.removesuffix('.0')}×{power}"


def require_image(name: str, image: Any, pattern: bool = False) -> np.ndarray:
    """The image, or a ValueError that names the panel that would have been empty."""
    if image is None or np.ndim(image) != 2 or np.size(image) == 0:
        raise ValueError(f"no data for the panel {name!r}: expected a 2-D image, found {np.shape(image)}")
    image = np.asarray(image)
    if not np.all(np.isfinite(image)):
        raise ValueError(f"no data for the panel {name!r}: {int(np.sum(~np.isfinite(image)))} non-finite pixels")
    if pattern and not (image.min() >= 0 and image.max() > 0):
        raise ValueError(f"no data for the panel {name!r}: a pattern needs counts >= 0, and some above zero")
    return image


def counts_norm(patterns: Sequence[np.ndarray]) -> LogNorm:
    """One log scale up to the brightest pixel; it starts below one photon, to tell a single photon from none."""
    return LogNorm(0.3, max(2.0, *(float(p.max()) for p in patterns)), clip=True)


def show_image(axes: Axes, image: np.ndarray, title: str, norm: Normalize, colours: str = GREY) -> AxesImage:
    """An image without ticks: its scale is told by a scale bar and a colour bar."""
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(image, cmap=colours, norm=norm)


def scale_bar(axes: Axes, shape: tuple[int, ...]) -> None:
    """A bar of a round number of object pixels, about a quarter of the width, on a dark ground."""
    height, width = shape
    length = max(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if n <= max(1, width / 3))
    x, y = 0.05 * width, 0.95 * height
    ground = (x - 0.02 * width, y - 0.115 * height), length + 0.04 * width, 0.135 * height
    axes.add_patch(Rectangle(*ground, color="black", alpha=0.65, linewidth=0))
    axes.add_patch(Rectangle((x, y - 0.022 * height), length, 0.022 * height, color="white", linewidth=0))
    middle = x + length / 2, y - 0.03 * height
    axes.text(*middle, f"{length} px", color="white", ha="center", va="bottom", fontsize=7)
