"""What `ptycho inspect` draws of a scan. It is a module of its own: an answer need not wait for what judges images."""

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptycho.figures import style
from ptycho.scans.formats.scan import Scan
from ptycho.scans.statistics import Statistics


@style.styled
def inspection(scan: Scan, found: Statistics, probe: NDArray[np.complexfloating] | None) -> Figure:
    """Mean pattern, pixels' range, positions and probe."""
    figure = Figure(figsize=(12, 3.4), layout="compressed")
    axes = figure.subplots(1, 4)
    for cell, image, title in ((axes[0], found.mean, "mean pattern"), (axes[1], found.high, "brightest of the scan")):
        shown = np.maximum(image, 0) / found.unit
        style.show_image(cell, shown, title, style.counts_norm([shown]), style.COUNTS)
    axes[2].set_title("positions")
    if scan.x is not None and scan.y is not None and len(scan.x) == len(scan.y):
        axes[2].plot(scan.x, scan.y, ".", markersize=3)
        unit = "metres" if scan.metres else "object pixels"
        axes[2].set(xlabel=f"x, {unit}", ylabel=f"y, {unit}", aspect="equal")
        axes[2].invert_yaxis()
    if probe is not None and probe.ndim in (2, 3):
        modulus = np.abs(probe.reshape(-1, *probe.shape[-2:])[0])
        title = "probe" if scan.probe is not None else "probe, to begin with"
        style.show_image(axes[3], modulus, title, Normalize(0, modulus.max() or 1))
    else:
        axes[3].axis("off")
    return figure
