"""A measured scan: what all its photons tell of its axes, probe, positions and object, and its cut into two splits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho import seeds
from ptycho.config import HELD_OUT, STAR
from ptycho.errors import DataError
from ptycho.files import user_cache
from ptycho.scans import formats, star
from ptycho.scans.archive import naming
from ptycho.scans.dose import at_dose, background_of, deviance, in_unit, normalise
from ptycho.scans.faults import DOUBTFUL, Fault, ready
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import SPLITS
from ptycho.scans.simulated import Acquisition

if TYPE_CHECKING:  # loads TensorFlow, which simulated scans do without
    from ptycho.reconstruct.direct import DirectFit

GUARDED = 0.03  # share of a measured scan's detector pixels, drawn at random, that no arm's fit sees
REFERENCE_PASSES = 50


@dataclass(frozen=True, eq=False)
class Measured(Acquisition):
    """One split of a measured scan, thinned to the dose asked for."""

    scan: RawData

    def _expose(self, dose: str, rng: np.random.Generator) -> RawData:
        try:
            return at_dose(self.scan, dose, rng)
        except DataError as error:  # a split may be dimmer than the scan, and what is mended fewer photons
            raise DataError(f"DOSES={dose}, {SPLITS[self.split]}: {error}; leave it out, or take full") from error


@dataclass(frozen=True, eq=False)
class Reference:
    """A measured scan and what all its photons told.

    scan: at full dose, with the probe and the positions that the arms train with; its ``objectGuess`` is the object
    that judges them. Refined positions are beside the given ones, ``xcoords_start``. orientation: which way the
    positions run, one of ``config.ORIENTATIONS``. losses: of all eight, from ``alignment.find_orientation``; empty
    where the orientation was given. deviance: of the reference fit, on all the pixels it saw. start: the scan that the
    fit began from, its positions turned. fit: what it found. estimated: whether the file has no probe, and that of
    ``start`` is an estimate. faults: what looked wrong with the file, and was mended or leaves doubt.
    """

    scan: RawData
    orientation: str
    losses: Mapping[str, float]
    deviance: float
    start: RawData
    fit: "DirectFit"
    estimated: bool = False
    faults: tuple[Fault, ...] = ()

    @property
    def shares(self) -> NDArray[np.float64]:
        """Of the light in each mode of the probe, (L,)."""
        power = np.sum(np.abs(self.scan.probeGuess.reshape(-1, self.scan.N**2)) ** 2, axis=1)
        return power / power.sum()

    @property
    def moved(self) -> tuple[float, NDArray[np.float64]] | None:
        """How refined positions differ from the given ones; None where the positions were not refined.

        A common factor to their distances, and what each then moved, (M,), in pixels and free of a common shift.
        """
        scan = self.scan
        if scan.xcoords_start is None or scan.ycoords_start is None:
            return None
        pairs = (scan.xcoords_start, scan.ycoords_start), (scan.xcoords, scan.ycoords)
        given, found = (np.stack(pair) - np.mean(pair, axis=1, keepdims=True) for pair in pairs)
        factor = float(np.sum(given * found) / np.sum(given**2))
        return factor, np.hypot(*(found - factor * given))

    def __str__(self) -> str:
        orientation = "as asked for"
        if self.losses:
            from ptycho.reconstruct import alignment

            name, loss = alignment.runner_up(self.losses, self.orientation)
            times = np.exp(loss - self.losses[self.orientation])
            orientation = f"found; {name}, the runner-up, leaves {times:.2f} times the squared error"
        positions = "as given"
        if self.moved is not None:
            factor, own = self.moved
            moves = f"each by {np.sqrt(np.mean(own**2)):.2f} pixels rms and at most {own.max():.2f}"
            positions = f"refined: distances times {factor:.3f}, then {moves}"
        shares = ", ".join(f"{100 * share:.1f}" for share in self.shares)
        return (
            f"orientation of the positions: {self.orientation}, {orientation}\n"
            f"positions: {positions}\n"
            f"probe: {len(self.shares)} incoherent mode{'s' * (len(self.shares) > 1)}, with {shares} % of the light\n"
            f"deviance of the reference: {self.deviance:.2f} a lit pixel; 1 is what counting alone explains"
        ) + "".join(f"\n{fault.weight}: {fault}" for fault in self.faults)

    def splits(self, seed: int) -> dict[str, Measured]:
        """The scan in two contiguous parts, ``train`` and ``heldout``, cut along x or, of a tall scan, along y."""
        x, y = self.scan.xcoords, self.scan.ycoords
        along = y if np.ptp(y) > 2 * np.ptp(x) else x
        held_out = along >= np.quantile(along, 1 - HELD_OUT)
        splits = {}
        for name, chosen in (("train", ~held_out), ("heldout", held_out)):
            part = self.scan.subset(chosen)
            assert part.objectGuess is not None
            splits[name] = Measured(name, part.objectGuess, part.probeGuess, part.xcoords, part.ycoords, seed, part)
        return splits


def make_reference(
    scan: str,
    folder: Path,
    seed: int,
    orientation: str = "auto",
    modes: int = 1,
    positions: str = "given",
    normalise: str = "auto",
) -> Reference:
    """Read a measured scan and let all its photons tell what a study has to know of it.

    A direct fit refines object and probe at full dose, and the positions too if ``positions`` is ``'refine'``. Its
    object is the reference, unless the file holds an ``objectGuess`` in the frame of those positions, which is then the
    truth. The reference saw the detector pixels of the scan's ``guard``; the arms do not.

    scan         ``config.STAR``, or a file of any of ``formats.FORMATS``, relative to ``folder``. Where it has no
                 probe, fits start from one estimated from the mean pattern, curved in several ways; the best is taken
    orientation  one of ``config.ORIENTATIONS``, or ``'auto'`` for the one that explains the patterns best
    modes        incoherent modes of the probe, at least; all those of the file are kept
    positions    ``'given'`` or ``'refine'``
    normalise    ``'auto'``: where the light is not steady, patterns are thinned to the weakest and fitted again
                 (:mod:`ptycho.reconstruct.illumination`); ``'none'``: they are not

    What looks wrong with the file is mended where it can be, before anything is fitted: :mod:`ptycho.scans.faults`.
    Raises DataError, a line for each, for faults that forbid a study, for unknown counts and for too few patterns.
    Raises TrainingError if a fit diverged.
    """
    from ptycho.reconstruct import alignment, direct, illumination, search

    data, told, estimated = load(scan, folder)
    curvatures = direct.CURVATURES[0] if estimated else ()
    losses: Mapping[str, float] = {}
    if orientation == "auto":
        data, orientation, losses = alignment.find_orientation(data, seed, curvatures)
    else:
        data = alignment.turn(data, orientation)
    if delay := alignment.find_delay(data, seed, curvatures)[0]:
        frame = f"one frame {'later' if delay > 0 else 'earlier'}"
        out_of_step = f"those of {frame} explain the patterns better: positions and patterns are out of step"
        told = (*told, Fault("positions", out_of_step, DOUBTFUL))
    given, refined = data, positions == "refine"
    modes, own = max(modes, data.probeGuess.size // data.N**2), seeds.derive(seed, "reference")

    def fitted(data: RawData) -> direct.DirectFit:
        return fit_all(data, modes, curvatures, own)

    if refined:
        data = alignment.magnify(data, alignment.find_magnification(data, seed, curvatures)[0])
        lit = replace(data, probeGuess=fitted(data).probe) if estimated else data
        placed = search.find_positions(lit, modes, seed)
        data = replace(data, xcoords=placed.xcoords, ycoords=placed.ycoords)

    if normalise == "auto":
        thinning = np.random.default_rng(seeds.derive(seed, "steady"))
        data, fit, uneven = illumination.steadied(data, fitted, thinning)
        if uneven is not None:
            assert data.nphotons is not None and given.nphotons is not None
            # what an orientation misses is a share of the photons, of which fewer are left
            losses = {name: loss + float(np.log(data.nphotons / given.nphotons)) for name, loss in losses.items()}
            given = given.subset(uneven.shares > 0)
            told = (*(fault for fault in told if fault.about != "totals"), uneven.fault)
    else:
        fit = fitted(data)
    found, offset, truth = fit.reconstruction, np.zeros(2), data.objectGuess
    # a brighter object under a fainter probe explains the same photons: it is made as bright as the truth, else one
    level = float(np.abs(found.object[found.lit]).mean()) if truth is None else found.brightness(truth)
    if truth is None:
        truth, offset = np.where(found.coverage > 0, found.object / level, 1).astype(np.complex64), found.origin_yx
    probe = (fit.probe * level).astype(np.complex64)
    unit = float(np.sqrt(np.sum(np.abs(data.probeGuess) ** 2) / np.sum(np.abs(probe) ** 2)))
    full = replace(
        in_unit(replace(data, probeGuess=probe), unit),
        xcoords=data.xcoords - offset[1],
        ycoords=data.ycoords - offset[0],
        xcoords_start=given.xcoords - offset[1] if refined else None,
        ycoords_start=given.ycoords - offset[0] if refined else None,
        objectGuess=truth,
        guard=guard(data, seed),
    )
    misfit = deviance(replace(data, probeGuess=fit.probe), found.object, found.origin_yx)
    return Reference(full, orientation, losses, misfit, data, fit, estimated, told)


def guard(data: RawData, seed: int) -> NDArray[np.bool_]:
    """(N, N): the valid pixels of a scan's detector, GUARDED of them, that no fit is to see."""
    drawn = np.random.default_rng(seeds.derive(seed, "guard")).random((data.N, data.N)) < GUARDED
    return drawn if data.mask is None else drawn & data.mask


def under(probe: NDArray[np.complex64], data: RawData, counts: NDArray[np.int64]) -> RawData:
    """A measured scan and its counts in the units of `normalise`, with a probe in place of its own."""
    names = ("objectGuess", "mask", "background", "pixel_size", "energy", "voltage", "step")
    kept = {name: getattr(data, name) for name in names}
    return replace(normalise(counts, data.xcoords, data.ycoords, probe, background_of(data)), **kept)


def fit_all(data: RawData, modes: int, curvatures: tuple[float, ...], seed: int, *, rough: float = 0.0) -> "DirectFit":
    """The fit of object and probe to all photons of a scan, or of a part of it: ``direct.fit`` has the parameters.

    A small scan takes few patterns a step, so that each pass has steps enough. Raises TrainingError if it diverged.
    """
    from ptycho.reconstruct import direct

    few = max(1, min(50, len(data) // 10))
    probe: dict[str, Any] = {"refine_probe": True, "modes": modes, "curvatures": curvatures}
    return direct.fit(data, "mse", passes=REFERENCE_PASSES, batch_size=few, rough=rough, seed=seed, **probe)


def load(scan: str, folder: Path) -> tuple[RawData, tuple[Fault, ...], bool]:
    """The scan in the units of `normalise`, mended, what looked wrong with it, and whether its probe is an estimate.

    Raises DataError for a scan of no use.
    """
    if scan == STAR:
        return star.load_siemens_star(star.fetch(user_cache())), (), False
    path = folder / scan
    found = formats.read(path)
    with naming(path):
        found, told = ready(found)
        data = found.rawdata()
        counts = data.counts()
    # only now is the scale of probe and object known to be of order one
    return under(data.probeGuess, data, counts), told, found.probe is None
