"""The Cramér-Rao bounds of a study's scans, as a file: they cost minutes and depend on no dose, loss or network."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.files import json_if_any, user_cache, write_json
from ptycho.judge import cramer_rao
from ptycho.judge.cramer_rao import information_bound
from ptycho.judge.parts import truth
from ptycho.scans.rawdata import RawData
from ptycho.study import layout, plan


def write(out: str | os.PathLike[str]) -> Path:
    """Write `out`/bound.json, {train, heldout}: each {of, at_one_photon, standard_error, rings} or, without a bound,
    {of, reason}. ``of`` is a digest of object, probe and positions: what is known of these, here or in the user's
    cache, is not computed again. ``rings`` holds the arrays of ``frc.Rings`` by contrast.

    Any dose's scans will do, the first is read. Raises DataError when they cannot be.
    """
    out = Path(out)
    dose = plan.planned(out)["doses"][0]
    known, bounds = json_if_any(out / layout.BOUND), {}
    (out / layout.BOUND).unlink(missing_ok=True)  # it may be another scan's: what fails here leaves no bound
    for split in layout.SPLITS:
        bounds[split] = _bound(RawData.load(out / layout.scan_file(dose, split)), known.get(split, {}))
    write_json(out / layout.BOUND, bounds)
    return out / layout.BOUND


def _bound(scan: RawData, known: dict[str, Any]) -> dict[str, Any]:
    told = (truth(scan), scan.probeGuess, scan.xcoords, scan.ycoords, scan.mask, scan.fitted)
    digest = hashlib.sha256(b"".join(array.tobytes() for array in told if array is not None)).hexdigest()
    if known.get("of") == digest and ("rings" in known or "reason" in known):
        return known
    # other studies of a campaign have the same scan; a bound by other code is another
    code = hashlib.sha256(Path(cramer_rao.__file__).read_bytes()).hexdigest()
    kept = user_cache() / "bounds" / f"{digest[:20]}-{code[:20]}.json"
    if found := json_if_any(kept):
        return found
    found = _computed(scan, digest)
    with suppress(OSError):  # a cache that cannot be written is done without
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, found)
    return found


def _computed(scan: RawData, digest: str) -> dict[str, Any]:
    given = (truth(scan), scan.probeGuess, scan.xcoords, scan.ycoords)
    try:
        bound = information_bound(*given, mask=scan.mask, fitted=scan.fitted)
    except (ValueError, ArithmeticError) as error:  # a scan that leaves its object, or does not determine it
        return {"of": digest, "reason": str(error)}
    rings = {
        contrast: {name: np.asarray(values, np.float64).tolist() for name, values in asdict(found).items()}
        for contrast, found in bound.rings.items()
    }
    return {"of": digest, "at_one_photon": bound.at_one_photon, "standard_error": bound.standard_error, "rings": rings}
