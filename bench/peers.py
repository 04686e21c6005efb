"""Beside its peers on a measured scan: every method gets the same thinned photons, the same pixels and as many passes.

Each fits all the photons, which takes the seconds told, and both halves of them, whose agreement is the resolution
(``judge.halves``): no method is judged by the object of another. Below full dose the reference, a direct fit to all
photons, is a second judge.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import ptychi_engines as peer
from bench.process import Row
from ptycho import seeds
from ptycho.judge import halves
from ptycho.judge.frc import frc50
from ptycho.scans.dose import halve, measured_dose, thin_to_dose
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

BATCH = 25
"""Patterns a step of ``direct`` on a scan of some hundred."""


def thinned(scan: RawData, doses: Sequence[str], repeats: int, seed: int, folder: Path) -> Iterator[Row]:
    """Write each thinning of ``scan`` (of the full dose there is one) to ``folder``; its dose, number and path."""
    for dose in doses:
        for k in range(1 if dose == "full" else repeats):
            data = scan
            if dose != "full":
                own = seeds.derive(seed, "thinning", dose, str(k))
                data = thin_to_dose(scan, float(dose), np.random.default_rng(own))
            path = folder / f"{dose}_{k}.npz"
            data.save(path)
            nphotons = measured_dose(data, data.probeGuess).per_pattern
            yield {"dose": dose, "nphotons": nphotons, "thinning": k, "path": str(path)}


def trial(path: str, share: float, method: str, passes: int, seed: int) -> list[Row]:
    """One row: what ``method`` makes of the thinned scan in ``path``, which holds ``share`` of all photons.

    ``method`` is 'direct' or 'pty-chi' and, after a space, the loss or the engine.
    """
    data = RawData.load(path)
    assert data.objectGuess is not None
    program, _, kind = method.partition(" ")

    def fitted(part: RawData) -> tuple[float, Reconstruction]:
        if program == "pty-chi":
            return peer.fit(part, kind, [passes], seed)[0]
        return _direct(part, loss=kind, passes=passes, seed=seed)

    seconds, whole = fitted(data)
    one, other = (fitted(half)[1] for half in halve(data, np.random.default_rng(seed)))
    split = halves.compare_halves(one, other)
    judged: float | None = None
    if share < 1:
        judged = frc50(halves.against_reference(whole, data.objectGuess, share))
    return [{"method": method, "seconds": seconds, "split_frc50": split.frc50, "reference_frc50": judged}]


def _direct(data: RawData, **settings: Any) -> tuple[float, Reconstruction]:
    from ptycho.reconstruct import direct

    started = time.perf_counter()
    found = direct.fit(data, batch_size=BATCH, **settings).reconstruction
    return time.perf_counter() - started, found
