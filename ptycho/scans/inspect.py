"""`python -m ptycho inspect`: what a file is, what it lacks, and what looks wrong with it."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config import STAR
from ptycho.errors import DataError
from ptycho.files import user_cache
from ptycho.physics import photons
from ptycho.physics.beam import ELECTRONVOLT
from ptycho.scans import exposure, faults, formats, star
from ptycho.scans.formats import proposal
from ptycho.scans.formats.scan import Scan
from ptycho.scans.statistics import Statistics

COLUMNS, ROWS = 48, 16
BEGINNING = {
    "probe of semi-angle and defocus": "a fit begins with that of the semi-angle and the defocus",
    "estimated probe": "it can be estimated from the mean pattern",
}
"""What is said of a scan without a probe, by what ``Scan.first_probe`` gives."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """A file's summary, what it lacks, and what looks wrong with it, in lines; the picture in characters, and what a
    drawn one is made of: scan, statistics and probe; None of a file without light. Where patterns or positions were not
    found, a map that may find them."""

    summary: dict[str, str]
    missing: list[str]
    wrong: list[str]
    seen: tuple[Scan, Statistics, NDArray[np.complexfloating] | None] | None = None
    picture: str = ""
    proposed: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values: summary {name: value}, missing and wrong lists of lines, map a text."""
        return {"summary": self.summary, "missing": self.missing, "wrong": self.wrong, "map": self.proposed}

    def __str__(self) -> str:
        lines = [f"{name:<10s} {value}" for name, value in self.summary.items()]
        lines += [self.picture] if self.picture else []
        lines += [f"missing: {line}" for line in self.missing]
        lines += [f"looks wrong: {line}" for line in self.wrong] or ["nothing looks wrong"]
        lines += ["a map to start from:", self.proposed.rstrip()] if self.proposed else []
        return "\n".join(lines)


def inspect(
    path: str | os.PathLike[str], mapping: str | os.PathLike[str] | None = None, material: str | None = None
) -> Inspection:
    """Examine a file of any format, or as the map `mapping` has it, or ``config.STAR``, which is fetched. One that
    cannot be read is an Inspection too, with the one thing that is wrong. material: a formula, for a dose in gray."""
    if path == STAR:
        return examine(star.scan(star.fetch(user_cache())), {"file": STAR, "format": star.PACKAGE}, material)
    path = Path(path)
    try:
        scan, kind = formats.opened(path, mapping)
        found = examine(scan, {"file": path.name, "format": kind}, material)
    except DataError as error:
        return Inspection({"file": path.name}, [], [str(error)], proposed=proposal.propose(path))
    complete = scan.patterns is not None and scan.x is not None
    return found if complete else replace(found, proposed=proposal.propose(path))


def examine(scan: Scan, summary: dict[str, str], material: str | None = None) -> Inspection:
    """Examine a scan, reading its patterns once, and once more on the frame of a study where they are of another size.

    Raises DataError for patterns that cannot be read, and as ``exposure.of_known`` does for a material.
    """
    found = faults.measure(scan)
    told = faults.examine(scan, found)
    summary = summary | _of_patterns(scan, found)
    if any(fault.about == faults.SIZE for fault in told) and all(fault.weight != faults.REFUSED for fault in told):
        scan = faults.mended(scan, told)
        found = faults.measure(scan)
        told = faults.kept(told)
        told += faults.new(faults.examine(scan, found), told)
        placed = scan
    else:
        placed = faults.mended(scan, [fault for fault in told if fault.about == "probe"])
    lit = found is not None and found.lit
    probe, whose = placed.probe, "probe" if placed.probe is not None else "estimated probe"
    if found is not None and lit and probe is None:
        H, W = found.mean.shape
        if H == W and H % 2 == 0 and H >= 16 and found.mean.min() >= 0:
            probe, whose = placed.first_probe(found.mean)
    refused = {fault.about for fault in told if fault.weight == faults.REFUSED}
    if refused:  # no study is made of it, which would mend the others
        told = [fault for fault in told if fault.weight != faults.MENDED]
    summary |= _of_positions(placed, found, probe, whose, refused, material) | _of_geometry(scan, found, lit)
    missing = [] if scan.probe is not None else [f"probe: {BEGINNING[whose]}"]
    missing += [] if scan.object is not None else ["object: it is what a reconstruction finds"]
    if lacking := ", ".join(scan.lacking).replace("_", " "):
        missing.append(f"{lacking}: the size of an object pixel is unknown")
    missing += [f"left aside: {note}" for note in scan.notes]
    picture = ""
    if scan.x is not None and scan.y is not None and len(scan.x) == len(scan.y):
        picture = scatter(scan.x, scan.y)
    wrong = [f"{fault}; a study mends it" if fault.weight == faults.MENDED else str(fault) for fault in told]
    return Inspection(summary, missing, wrong, (scan, found, probe) if found is not None and lit else None, picture)


def scatter(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """The positions in characters, y downwards: '.' for one in a cell, ':' for a few, '#' for five or more."""
    ok = np.isfinite(x) & np.isfinite(y)
    if not ok.any():
        return ""
    row, column = (
        np.rint((v[ok] - v[ok].min()) / (np.ptp(v[ok]) or 1) * (n - 1)).astype(int)
        for v, n in ((y, ROWS), (x, COLUMNS))
    )
    cells = np.bincount(row * COLUMNS + column, minlength=ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    return "\n".join("  |" + "".join(" .:::#"[min(n, 5)] for n in line).rstrip() for line in cells)


def _of_patterns(scan: Scan, found: Statistics | None) -> dict[str, str]:
    if scan.patterns is None:
        return {"patterns": "none"}
    counted = found is not None and faults.counted(scan, found)
    scale = f"{scan.particle[:-1]} counts" if counted else "of unknown scale"
    kind = f"{'amplitude' if scan.amplitude else 'intensity'}, {scale}"
    values = {"patterns": f"{scan.patterns.shape} {scan.patterns.dtype}, {kind}"}
    if found is not None and found.bad == 0:
        values["brightest"] = f"{found.high.max():.4g} in a pixel, {found.totals.mean():.4g} per pattern"
    return values


def _of_positions(
    scan: Scan,
    found: Statistics | None,
    probe: NDArray[np.complexfloating] | None,
    whose: str,
    refused: set[str],
    material: str | None,
) -> dict[str, str]:
    """Positions; overlap and dose where nothing that they follow from is refused."""
    if scan.x is None or scan.y is None:
        return {"positions": "none"}
    values = {}
    if np.isfinite(scan.x).any() and np.isfinite(scan.y).any():
        ranges = [f"{n} {np.nanmin(v):.5g} to {np.nanmax(v):.5g}" for n, v in (("x", scan.x), ("y", scan.y))]
        values["positions"] = f"{len(scan.x)}, {', '.join(ranges)} {'m' if scan.metres else 'pixels'}"
    places = faults.in_pixels(scan)
    if refused & faults.PLACES or probe is None or probe.ndim not in (2, 3):
        return values
    if places is None or len(scan.x) < 2:
        return values
    share, step, diameter = faults.overlap(*places, probe)
    values["overlap"] = f"{share:.0%}: step {step:.3g}, {whose} {diameter:.3g} object pixels across"
    if found is not None and faults.counted(scan, found) and not refused & {"patterns", "mask"}:
        pixels, lit = found.valid.sum(), photons.illuminated_area(*places, probe) / len(scan.x)
        each = found.totals.mean() - (scan.background or 0.0) * pixels
        words = f"{each:.4g} per pattern, {each / pixels:.4g} per detector pixel"
        values["dose"] = f"{scan.particle}: {words}, {each / lit:.4g} per object pixel"
        felt = exposure.of_known(scan, scan.pixel, lit, material)
        if (dose := felt.on_sample(each)) is not None:
            values["sample"] = f"{dose:.4g} {felt.sample_unit}"
    return values


def _of_geometry(scan: Scan, found: Statistics | None, lit: bool) -> dict[str, str]:
    angle, frequency = scan.detector_angle, scan.detector_frequency
    sides = {"m": scan.detector_pixel, "mrad": angle and angle * 1e3, "1/A": frequency and frequency * 1e-10}
    values = {
        "energy": scan.energy and f"{scan.energy / ELECTRONVOLT / 1e3:.5g} keV, {scan.wavelength:.4g} m",
        "voltage": scan.voltage and f"{scan.voltage / 1e3:.5g} kV, electrons of {scan.wavelength:.4g} m",
        "semi-angle": scan.semi_angle and f"{scan.semi_angle * 1e3:.5g} mrad",
        "defocus": scan.defocus is not None and f"{scan.defocus:.5g} m",
        "step": scan.step and f"{scan.step[0]:.5g} m between rows, {scan.step[1]:.5g} m between columns",
        "background": scan.background and f"{scan.background:.4g} {scan.particle} per detector pixel",
        "distance": scan.distance and f"{scan.distance:.5g} m",
        "detector": ", ".join(f"pixels of {side:.5g} {unit}" for unit, side in sides.items() if side),
        "object": scan.pixel and f"pixels of {scan.pixel:.5g} m",
        "probe": scan.probe is not None and f"{scan.probe.shape} {scan.probe.dtype}",
        "guess": scan.object is not None and f"an object {scan.object.shape} {scan.object.dtype}",
        "gain": scan.gain and f"{scan.gain:.5g} detector units for one of the {scan.particle}",
        "mask": scan.mask is not None and f"{1 - scan.mask.mean():.2%} of the pixels left out",
        "zeros": found is not None and lit and f"{np.mean(found.high <= 0):.2%} of the pixels never lit",
    }
    return {name: text for name, text in values.items() if text}
