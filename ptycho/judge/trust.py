"""Whether the reference of a measured scan is true: tests that no good fit of a wrong scan passes.

A fit explains photons by an object, a probe and positions. It can be wrong in each of them and still look like an
image. Two halves of the photons share these mistakes, and agree on nonsense. The tests here do not share them:

misfit       The share of what differs between patterns that neither the fit nor counting explains.
counts       Whether the counts are photons: how they scatter where few are counted.
background   Light where the fit predicts the least, as a share of all light.
overlap      Of the probe as found: 1 - step / diameter.
lit          Share of the scanned area that the probe, as found, lit.
halves       Two reconstructions, each from every other position, with an object and a probe of its own. They share no
             position, and agree as far as the image is true: with each other, and with that from all positions. Both
             begin with the probe of the file; where it has none, each looks for one from starts of its own.
orientation  How much more of what differs between patterns the runner-up misses than the orientation found.

The first three are in :mod:`ptycho.judge.misfit`. ``LIMITS`` were set on good and bad scans, simulated and measured:
``reports/calibration`` has the table.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from skimage.draw import polygon2mask

from ptycho import seeds
from ptycho.judge.frc import FRCCurve, frc50
from ptycho.judge.halves import agreement, with_truth
from ptycho.judge.misfit import background, dispersion_beside, dispersion_where_few, diversity, misfit, rate_of
from ptycho.reconstruct import alignment, direct
from ptycho.reconstruct.reference import Reference, fit_all
from ptycho.scans.dose import predicted_rate
from ptycho.scans.faults import DOUBTFUL, MENDED, Fault, overlap
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction


@dataclass(frozen=True)
class Limit:
    """What a test's figure may be: from ``low`` to ``high``; and what the figure means."""

    low: float
    high: float
    meaning: str


NONE = float("inf")
LIMITS = {
    "misfit": Limit(
        -NONE, 0.3, "share of what differs between patterns that neither the reference nor counting explains"
    ),
    "counts": Limit(0.5, 2.0, "scatter of the counts where few are predicted, 1 for photons"),
    "background": Limit(-NONE, 0.01, "share of the light that falls where the fit predicts the least"),
    "overlap": Limit(0.2, NONE, "overlap of neighbouring positions, by the probe as found"),
    "lit": Limit(0.9, NONE, "share of the scanned area that the probe lit"),
    "halves": Limit(
        0.6, NONE, "correlation of images from disjoint halves of the positions and from all, the coarsest fifth"
    ),
    "orientation": Limit(0.08, NONE, "share of how patterns differ that the runner-up orientation misses more"),
}


@dataclass(frozen=True)
class Test:
    """A test's figure, None where it cannot be had, and whether it is within its limits."""

    name: str
    value: float | None
    passed: bool

    @property
    def line(self) -> str:
        """What was found, what is accepted, and what it means."""
        limit = LIMITS[self.name]
        ends = [f"at least {limit.low:g}"] if np.isfinite(limit.low) else []
        ends += [f"at most {limit.high:g}"] if np.isfinite(limit.high) else []
        found = "cannot be had" if self.value is None else f"{self.value:.3g}"
        return f"{self.name} {found}, expected {' and '.join(ends)}: {limit.meaning}"


@dataclass(frozen=True, eq=False)
class Trust:
    """The tests of a reference, and how far its image is true.

    halves: what the two images from disjoint halves of the positions agree on; None where they share no area. finest:
    the FRC50, a fraction of Nyquist, that follows for the image from all positions: no resolution beyond it is true.
    faults: what looked wrong with the scan before anything was fitted, doubtful or mended.
    """

    tests: tuple[Test, ...]
    halves: FRCCurve | None
    finest: float
    faults: tuple[Fault, ...] = ()

    @property
    def doubts(self) -> list[str]:
        """A line for each fault of the scan, and for each test that failed."""
        faults = [str(fault) for fault in self.faults if fault.weight == DOUBTFUL]
        return [*faults, *(test.line for test in self.tests if not test.passed)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON file: tests, doubts, what else was found, finest."""
        told = [f"{fault}; mended" for fault in self.faults if fault.weight == MENDED]
        told += [test.line for test in self.tests if test.passed]
        tests = [asdict(test) for test in self.tests]
        return {"tests": tests, "doubts": self.doubts, "told": told, "finest": self.finest}

    def __str__(self) -> str:
        lines = [f"{'passed' if test.passed else 'FAILED'}: {test.line}" for test in self.tests]
        return "\n".join([*lines, f"no resolution finer than {self.finest:.3f} of Nyquist is claimed"])


def trust(reference: Reference, seed: int) -> Trust:
    """Test a reference. Raises TrainingError if a fit of half the positions diverged."""
    start, fit = reference.start, reference.fit
    as_found = replace(start, probeGuess=fit.probe)
    counts = start.counts().astype(np.float64)
    root = np.sqrt(predicted_rate(as_found, fit.reconstruction.object, fit.reconstruction.origin_yx))
    scatter = [dispersion_beside(counts, start.mask)]
    if start.fitted is not None:
        counts, root = counts[:, start.fitted], root[:, start.fitted]
    rate = rate_of(root)
    scatter.append(dispersion_where_few(counts, rate))
    halves = position_halves(as_found, start.probeGuess, len(reference.shares), reference.estimated, seed)
    curves = [agreed(*pair) for pair in combinations((*halves, fit.reconstruction), 2)]
    curve = curves[0]
    figures = {
        "misfit": misfit(counts, root),
        "counts": min(filter(None, scatter), default=None),
        "background": background(counts, rate),
        "overlap": overlap(start.xcoords, start.ycoords, fit.probe)[0],
        "lit": lit_share(fit.reconstruction, start.xcoords, start.ycoords),
        "halves": min(0.0 if found is None else coarse(found) for found in curves),
    }
    if reference.losses:
        figures["orientation"] = stand_out(reference.losses, reference.orientation, counts)
    found = tuple(Test(name, value, within(name, value)) for name, value in figures.items())
    finest = 0.0 if curve is None else frc50(replace(curve, correlation=with_truth(curve.correlation)))
    return Trust(found, curve, finest, reference.faults)


def within(name: str, value: float | None) -> bool:
    """Whether the figure of a test is within its limits; one that cannot be had is not."""
    return value is not None and LIMITS[name].low <= value <= LIMITS[name].high


SEEN = 0.02
"""Of the median coverage: below it, a pixel was not lit."""


def lit_share(found: Reconstruction, x: NDArray[np.floating], y: NDArray[np.floating]) -> float | None:
    """Share of the convex hull of the positions (M,), in pixels, that was lit. None of positions along a line."""
    points = np.stack([y, x], axis=1) - found.origin_yx
    try:
        outline = points[ConvexHull(points).vertices]
    except QhullError:
        return None
    inside = polygon2mask(found.object.shape, outline)
    typical = np.median(found.coverage[found.coverage > 0])
    return float(np.mean(found.coverage[inside] > SEEN * typical))


def every_other(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Half of the positions (M,), such that both halves cover the whole scan evenly: a chessboard's of a raster.

    Strips as high as the steps are wide are walked along, and every other position is taken.
    """
    height = np.sqrt(max(np.ptp(x), 1) * max(np.ptp(y), 1) / len(x))
    strip = np.floor((y - y.min()) / height).astype(int)
    chosen = np.zeros(len(x), bool)
    for number, own in enumerate(np.unique(strip)):
        along = np.flatnonzero(strip == own)
        chosen[along[np.argsort(x[along], kind="stable")][number % 2 :: 2]] = True
    return chosen


ROUGH = 0.1
"""Of the start of each half's object: noise, its rms over the modulus of empty space."""


def position_halves(
    data: RawData, probe: NDArray[np.complex64], modes: int, estimated: bool, seed: int
) -> tuple[Reconstruction, Reconstruction]:
    """Two images that share neither positions nor start.

    data: a scan at its positions as found, with known counts. probe: (N, N) or (L, N, N), from which each half finds
    ``modes`` modes of its own; where it is ``estimated``, from curvatures that the other does not try. Raises
    TrainingError if a fit diverged.
    """
    chosen = every_other(data.xcoords, data.ycoords)
    images = []
    for name, half, curvatures in zip(("first", "second"), (chosen, ~chosen), direct.CURVATURES, strict=True):
        part = replace(data.subset(half), probeGuess=probe, objectGuess=None)
        own = seeds.derive(seed, "positions", name)
        images.append(fit_all(part, modes, curvatures if estimated else (), own, rough=ROUGH).reconstruction)
    return images[0], images[1]


def agreed(one: Reconstruction, other: Reconstruction) -> FRCCurve | None:
    """What two images of a frame agree on, free of gauge; None where they share no area."""
    try:
        return agreement(*_in_one_frame(one, other))
    except ValueError:
        return None


def _in_one_frame(one: Reconstruction, other: Reconstruction) -> tuple[Reconstruction, np.ndarray]:
    """The first where both were lit, and the second's object (H, W), both from the pixel (0, 0) of one frame."""
    origin = np.minimum(one.origin_yx, other.origin_yx)
    corners = [np.rint(image.origin_yx - origin).astype(int) for image in (one, other)]
    H, W = np.max([corner + image.object.shape for corner, image in zip(corners, (one, other), strict=True)], axis=0)
    objects, coverages = np.ones((2, H, W), np.complex64), np.zeros((2, H, W), np.float32)
    for k, ((y, x), image) in enumerate(zip(corners, (one, other), strict=True)):
        h, w = image.object.shape
        objects[k, y : y + h, x : x + w] = image.object
        coverages[k, y : y + h, x : x + w] = image.coverage / np.median(image.coverage[image.coverage > 0])
    return Reconstruction(objects[0], coverages.min(axis=0), np.zeros(2)), objects[1]


COARSE = 0.2
"""Of the rings that hold nearly all of an image: the coarsest, as a share of those to Nyquist."""


def coarse(curve: FRCCurve) -> float:
    """The mean correlation of the coarsest rings, weighted by their Fourier pixels."""
    low = curve.frequency <= COARSE
    return float(np.average(curve.correlation[low], weights=curve.n[low]))


def stand_out(losses: Mapping[str, float], chosen: str, counts: NDArray[np.floating]) -> float:
    """How much more the runner-up of the orientations misses than the one ``chosen``, as a share of the diversity.

    losses: by orientation, :func:`ptycho.reconstruct.alignment.trial_loss`. counts: (M, ...), as many photons.
    """
    _, loss = alignment.runner_up(losses, chosen)
    return float((np.exp(loss) - np.exp(losses[chosen])) / diversity(counts))
