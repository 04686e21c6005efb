"""Resolution without a truth: a scan's photons are split in two, both halves reconstructed, and the two compared.

Two images of one signal with independent noise correlate in each ring as F = S / (S + N), S and N the powers of signal
and noise of either. The image from all photons has the noise N / 2, so it correlates with the truth as::

    C = sqrt(S / (S + N/2)) = sqrt(2 F / (1 + F))

(Rosenthal and Henderson, J. Mol. Biol. 333 (2003) 721, appendix; C = 1/2 is their F = 0.143.) Where F is noise about
zero, the root makes it look like C = 0.1 to 0.2.

Errors that both halves share count as signal: a wrong probe, wrong positions, and the bias of a loss. Fits of the
Poisson likelihood follow the theory: on a simulated scan of 400 positions the FRC50 expected and that against the truth
were 0.42 and 0.38 of Nyquist at 1e4 photons per pattern, 0.58 and 0.58 at 1e5, 0.71 and 0.72 at 1e6. The losses of
amplitudes do not, because the root of a small count is biased: ``mse`` promised 1.00 at 1e5, the truth said 0.55.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ptycho import seeds
from ptycho.judge.frc import FRCCurve, frc50, masked_frc, threshold_crossing
from ptycho.judge.gauge import evaluation_region, remove_gauge
from ptycho.reconstruct import direct
from ptycho.scans.dose import at_dose, halve, measured_dose
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

THRESHOLD = "half-bit"
"""For the halves of one scan: where all its photons together reach half a bit (van Heel and Schatz 2005, eq. 17)."""


@dataclass(frozen=True, eq=False)
class SplitResolution:
    """What the two halves of a scan's photons agree on, frequencies as fractions of Nyquist. curve: of their complex
    objects. crossing: where it falls below THRESHOLD; 1 if it never does. expected: the correlation with the truth that
    follows for the reconstruction from all photons. frc50: of ``expected``."""

    curve: FRCCurve
    crossing: float
    expected: FRCCurve
    frc50: float
    halves: tuple[Reconstruction, Reconstruction]


def split_resolution(data: RawData, loss: str, seed: int, *, passes: int = 30, batch_size: int = 50) -> SplitResolution:
    """The resolution at which two reconstructions by ``direct.fit``, each from half the photons, agree.

    A fair coin splits the counts of ``data`` photon by photon, so the halves share no noise. ``seed`` is that of the
    split and of both fits. Raises DataError if the counts are not known, TrainingError if a fit diverged, and
    ValueError if the scan covers too small an area to be judged.
    """
    split = halve(data, np.random.default_rng(seeds.derive(seed, "halves")))
    fits = (
        direct.fit(half, loss, seed=seeds.derive(seed, "halves", name), passes=passes, batch_size=batch_size)
        for name, half in zip(("first", "second"), split, strict=True)
    )
    return compare_halves(*(fit.reconstruction for fit in fits))


def compare_halves(one: Reconstruction, other: Reconstruction) -> SplitResolution:
    """Judge two reconstructions (H, W) of one scan by each other, over the area the scan covers. One probe and the same
    positions leave nothing between them but a constant phase: no shift, no ramp. Raises ValueError if their frames
    differ or the covered area is too small."""
    if one.object.shape != other.object.shape or not np.array_equal(one.origin_yx, other.origin_yx):
        frames = " and ".join(f"{half.object.shape} at {half.origin_yx}" for half in (one, other))
        raise ValueError(f"halves of one scan share their frame; found {frames}")
    rows, columns, mask = evaluation_region(one.coverage)
    first, second = (half.object[rows, columns].astype(np.complex128) for half in (one, other))
    first *= np.exp(1j * np.angle(np.vdot(first[mask], second[mask])))
    curve = masked_frc(first, second, mask)
    expected = replace(curve, correlation=with_truth(curve.correlation))
    return SplitResolution(curve, threshold_crossing(curve, THRESHOLD), expected, frc50(expected), (one, other))


def agreement(reconstruction: Reconstruction, image: np.ndarray) -> FRCCurve:
    """The FRC of complex objects, free of gauge: of a reconstruction and an image (H, W) whose pixel [0, 0] is at 0.
    Raises ValueError if they hardly overlap or the covered area is too small."""
    aligned = remove_gauge(reconstruction, image)
    return masked_frc(aligned.object, aligned.truth, aligned.mask)


def against_reference(reconstruction: Reconstruction, reference: np.ndarray, share: float) -> FRCCurve:
    """The correlation with the truth, from that with a reference (H, W) made from all photons.

    The reconstruction's own photons are the ``share`` f of these. To first order in the noise, the error of an image
    from all photons is the mean of the errors of images from its parts. With N the power of the reconstruction's noise,
    the reference has the noise f N, all of it shared::

        C_ref^2 = (S + f N) / (S + N)   hence   C^2 = S / (S + N) = (C_ref^2 - f) / (1 - f)

    Raises ValueError unless 0 < share < 1: an image is no judge of itself.
    """
    if not 0 < share < 1:
        raise ValueError(f"share of the photons is {share}; expected a number in (0, 1)")
    curve = agreement(reconstruction, reference)
    square = np.sign(curve.correlation) * curve.correlation**2
    return replace(curve, correlation=np.sqrt(np.maximum(square - share, 0) / (1 - share)))


def with_truth(correlation: np.ndarray) -> np.ndarray:
    """C = sqrt(2 F / (1 + F)) of the halves' correlation F, (rings,); 0 where F is negative."""
    F = np.maximum(correlation, 0)
    return np.sqrt(2 * F / (1 + F))


LOSS = "nll"  # its fits follow the theory of halves, as the top of this file says
PASSES, FULL_PASSES, BATCH = 12, 24, 25
"""Of a thinned scan and of the whole one, whose finer details take longer: ten passes by 25 patterns gave the Siemens
star's FRC50 at 1e4 photons per pattern as twenty by 50 did, to 0.01, but at 4.6e5 0.82 instead of 0.88 of Nyquist."""


@dataclass(frozen=True, eq=False)
class Thinning:
    """One thinning of a scan, number ``seed`` of a dose, and what its reconstructions resolve.

    nphotons: per pattern, as counted; fluence: per object pixel. split: of its halves. whole: from all its photons;
    None but for the first thinning. reference: the expected correlation of that with the truth, by
    ``against_reference``; None at full dose too.
    """

    dose: str
    nphotons: float
    fluence: float
    seed: int
    split: SplitResolution
    whole: Reconstruction | None
    reference: FRCCurve | None

    @property
    def reference_frc50(self) -> float | None:
        """Of ``reference``, as a fraction of Nyquist."""
        return None if self.reference is None else frc50(self.reference)

    def as_row(self) -> dict[str, Any]:
        """The numbers, for a CSV file."""
        dose = {"dose": self.dose, "nphotons": self.nphotons, "photons_per_object_pixel": self.fluence}
        split = {"split_half_bit": self.split.crossing, "split_frc50": self.split.frc50}
        return {**dose, "thinning": self.seed, **split, "reference_frc50": self.reference_frc50}


def thinnings(scan: RawData, doses: Sequence[str], repeats: int, seed: int) -> Iterator[Thinning]:
    """Thin ``scan`` to each dose ``repeats`` times, and judge each thinning by its halves.

    ``scan`` is at full dose, its ``objectGuess`` the reference. A dose is in the unit of its exposure, or ``'full'``,
    where only the split differs. The first thinning of each dose is also fitted whole and held against the reference.
    The study's ``seed`` gives each its own. Raises as :func:`split_resolution`, and ValueError where a scan has fewer
    photons.
    """
    assert scan.objectGuess is not None and scan.intensity_scale is not None
    for dose in doses:
        passes = FULL_PASSES if dose == "full" else PASSES
        for k in range(repeats):
            own = seeds.derive(seed, "thinning", dose, str(k))
            data = at_dose(scan, dose, np.random.default_rng(own))
            whole, reference = None, None
            if k == 0:
                whole = direct.fit(data, LOSS, seed=own, passes=passes, batch_size=BATCH).reconstruction
                if data is not scan:
                    assert data.intensity_scale is not None
                    share = (data.intensity_scale / scan.intensity_scale) ** 2
                    reference = against_reference(whole, scan.objectGuess, share)
            measured = measured_dose(data, data.probeGuess)
            split = split_resolution(data, LOSS, own, passes=passes, batch_size=BATCH)
            yield Thinning(dose, measured.per_pattern, measured.per_object_pixel, k, split, whole, reference)
