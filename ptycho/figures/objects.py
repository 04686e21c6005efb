"""One reconstructed object, without a truth beside it."""

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ptycho.figures import style
from ptycho.scans.reconstruction import Reconstruction


@style.styled
def reconstructed(found: Reconstruction, sigma: NDArray[np.float32] | None = None) -> Figure:
    """Amplitude and phase of an object, where light fell; and the standard deviation of each pixel, if known.

    sigma: (H, W). The phase is drawn about its mean, in radians. What exceeds the middle 99 % takes the end colours.
    """
    lit = found.lit
    rows, columns = (slice(*np.flatnonzero(lit.any(axis=axis))[[0, -1]] + np.array([0, 1])) for axis in (1, 0))
    O, lit = found.object[rows, columns], lit[rows, columns]
    phase = np.angle(O * np.exp(-1j * np.angle(np.mean(O[lit]))))
    shown = [("amplitude", np.abs(O), "amplitude (relative)"), ("phase", phase, "phase (rad)")]
    if sigma is not None:
        shown.append(("uncertainty", sigma[rows, columns], "standard deviation (relative)"))
    figure, [axes] = style.panels(3.2 * len(shown), 3.4, columns=len(shown))
    for cell, (title, image, label) in zip(axes, shown, strict=True):
        image = np.where(lit, image, np.nan)
        low, high = np.nanpercentile(image, [0.5, 99.5])
        drawn = style.show_image(cell, image, title, Normalize(low, high, clip=True), style.GREY)
        style.scale_bar(cell, image.shape)
        figure.colorbar(drawn, ax=cell, label=label, location="bottom", shrink=0.9, extend="both")
    return figure
