"""The resolution of a measured scan against its dose, over several thinnings, without a truth.

Both halves of every thinning's photons are reconstructed by :func:`ptycho.direct.fit` with the likelihood of its
counts; their correlation tells what all of them resolve (:mod:`ptycho.halves`). The first thinning of each dose is
also fitted whole: to be seen, and to be held against the reference that all photons gave. At full dose there is
nothing to thin, the split alone differs, and only the halves can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ptycho import direct, exposure, halves, seeds
from ptycho.rawdata import RawData
from ptycho.registration import Reconstruction
from ptycho.resolution import FRCCurve, frc50

LOSS = "nll"
"""The fits that keep what theory says of halves: see :mod:`ptycho.halves`."""

PASSES, FULL_PASSES, BATCH = 12, 24, 25
"""Of a thinned scan and of the whole one, whose finer details take longer: ten passes by 25 patterns gave the Siemens
star's FRC50 at 1e4 photons per pattern as twenty by 50 did, to 0.01, but at 4.6e5 0.82 instead of 0.88 of Nyquist."""


@dataclass(frozen=True, eq=False)
class Thinning:
    """One thinning of a scan, and what its reconstructions resolve.

    dose: as the study calls it. nphotons: per pattern, as counted; fluence: per object pixel. seed: 0, 1 ... of the
    thinning. split: of its halves. whole: from all its photons; None but for the first thinning. reference: the
    correlation of that with the truth, as the reference lets expect; None at full dose too.
    """

    dose: str
    nphotons: float
    fluence: float
    seed: int
    split: halves.SplitResolution
    whole: Reconstruction | None
    reference: FRCCurve | None

    @property
    def reference_frc50(self) -> float | None:
        """Of ``reference``, as a fraction of Nyquist."""
        return None if self.reference is None else frc50(self.reference)

    def as_row(self) -> dict[str, Any]:
        """The numbers, for a CSV file."""
        return {
            "dose": self.dose,
            "nphotons": self.nphotons,
            "photons_per_object_pixel": self.fluence,
            "thinning": self.seed,
            "split_half_bit": self.split.crossing,
            "split_frc50": self.split.frc50,
            "reference_frc50": self.reference_frc50,
        }


def thin(scan: RawData, doses: Sequence[str], repeats: int, seed: int) -> Iterator[Thinning]:
    """Thin ``scan`` to each dose ``repeats`` times, and judge each thinning.

    Parameters
    ----------
    scan : RawData
        At full dose, its ``objectGuess`` the reference.
    doses : sequence of str
        Photons per pattern, or ``'full'``.
    repeats : int
    seed : int
        Of the study; the thinnings' seeds are derived from it.

    Raises
    ------
    DataError
        The counts are not known.
    ValueError
        The scan has fewer photons than a dose asks for, or covers too small an area to be judged.
    TrainingError
        A fit diverged.
    """
    assert scan.objectGuess is not None and scan.intensity_scale is not None
    for dose in doses:
        settings: dict[str, Any] = {"passes": FULL_PASSES if dose == "full" else PASSES, "batch_size": BATCH}
        for k in range(repeats):
            own = seeds.derive(seed, "thinning", dose, str(k))
            data, whole, reference = scan, None, None
            if dose != "full":
                data = exposure.thin_to_dose(scan, float(dose), np.random.default_rng(own))
            if k == 0:
                whole = direct.fit(data, LOSS, seed=own, **settings).reconstruction
                if data is not scan:
                    assert data.intensity_scale is not None
                    share = (data.intensity_scale / scan.intensity_scale) ** 2
                    reference = halves.against_reference(whole, scan.objectGuess, share)
            measured = exposure.measured_dose(data, data.probeGuess)
            split = halves.split_resolution(data, LOSS, own, **settings)
            yield Thinning(dose, measured.per_pattern, measured.per_object_pixel, k, split, whole, reference)
