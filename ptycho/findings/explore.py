"""What one dose and one loss give: in a study with its reconstructions, in a sweep's report, or from a scan's own file.

Each of these is a :class:`Source`. What a repository does not keep is not made up: a report without reconstructions has
its curves, and beside them an example, a pattern and the object of a small simulated scan at the same dose.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ptycho import seeds
from ptycho.config import DIRECT
from ptycho.errors import ConfigError
from ptycho.files import json_if_any, read_json
from ptycho.findings.looks import Look, Point, brightest, example, pattern_at, where_lit
from ptycho.findings.response import spectra
from ptycho.findings.response.arm_table import as_fitted
from ptycho.judge.halves import BATCH, LOSS, PASSES, split_resolution
from ptycho.reconstruct import direct
from ptycho.reconstruct.whole import once
from ptycho.scans.dose import SAME_DOSE, photons_of, thin_to_dose
from ptycho.scans.exposure import Exposure
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import SPLITS, load_reconstructions
from ptycho.study import layout, sweep
from ptycho.study.arms import claimed, exposure_of
from ptycho.study.status import unclaimed

SEED = 1
LAB = "lab"
"""The study that the notebooks make where they are run by hand: it comes first."""

REFERENCE = "This scan was measured. Its images are compared with the fit to all photons, not with a truth."
HALVES = "Both halves share the mistakes of the probe and the positions, so they can agree on more than is true."


class Source(Protocol):
    """Something to look at. Its doses are in particles per pattern; ``exposure`` tells them in words."""

    @property
    def exposure(self) -> Exposure: ...

    @property
    def doses(self) -> Sequence[float]: ...

    @property
    def losses(self) -> Sequence[str]: ...

    @property
    def told(self) -> Sequence[str]:
        """What to know before the numbers are read."""

    def look(self, dose: float, loss: str) -> Look: ...

    def points(self) -> list[Point]:
        """What each dose buys; nothing where that is not known, or in doubt."""


class Study:
    """A folder with arms, such as `make study` or the notebooks leave."""

    def __init__(self, folder: Path):
        entries = [read_json(path) for path in sorted(folder.glob(f"*/{layout.METRICS}"))]
        gathered = json_if_any(folder / layout.METRICS)
        entries = claimed({"finest": gathered.get("finest", 1.0), "arms": entries})
        self.folder, self.arms = folder, {(entry["nphotons"], entry["loss"]): entry for entry in entries}
        self.exposure = exposure_of(entries)
        self.doses = sorted({nphotons for nphotons, _ in self.arms}, reverse=True)
        self.losses = list(dict.fromkeys(loss for _, loss in self.arms))
        self.measured = (folder / layout.MEASURED).exists() or (folder / layout.RESOLVE).exists()
        self.doubts = gathered.get("doubts", [])
        self.told = unclaimed(self.doubts) or [REFERENCE] * self.measured

    def look(self, dose: float, loss: str) -> Look:
        if (dose, loss) not in self.arms:
            raise ConfigError(f"{self.folder} has no arm of {loss} at {self.exposure.words(dose)}")
        name = self.arms[dose, loss]["name"]
        told = read_json(self.folder / name / layout.FRC)
        contrast = told["contrast"]
        curves = {part: (np.array(one["frequency"]), np.array(one[contrast])) for part, one in told["parts"].items()}
        scan = self.folder / layout.scan_file(name.removesuffix(f"_{loss}"), "train")
        made = self.folder / name / layout.RECONSTRUCTION
        if scan.exists() and made.exists():
            found = load_reconstructions(made)
            part = next(iter(found))
            words = f"{part}, {name}" if part == DIRECT else f"reconstruction, {SPLITS[part]} of {name}"
            shown: dict[str, Any] = {"object": where_lit(found[part]), "object_title": words}
            shown |= {"pattern": brightest(RawData.load(scan)), "pattern_title": pattern_at(dose, self.exposure)}
            return Look(contrast, curves, **shown)
        return Look(contrast, curves, **({} if self.measured else example(dose, self.exposure)))

    def points(self) -> list[Point]:
        found: list[Point] = []
        for (nphotons, loss), entry in self.arms.items() if not self.doubts else ():
            contrast = spectra.contrast_of(self.folder, [entry])
            for part in ("train", DIRECT):
                if (one := entry[part]) is not None:
                    method, frc50 = entry["architecture"] if part == "train" else DIRECT, one[f"{contrast}_frc50"]
                    errors = one["relative_mse"], as_fitted(one["photon_bound"])
                    found.append(Point(method, loss, nphotons, frc50 or 0.0, None, None, None, *errors))
        return found


class Sweep:
    """A sweep's report: its tables over doses and frequencies."""

    def __init__(self, folder: Path):
        self.folder, gathered = folder, read_json(folder / layout.ARMS)
        self.found, self.doubts = spectra.mean_curves(folder, gathered["arms"]), gathered.get("doubts", [])
        self.exposure = exposure_of(gathered["arms"])
        self.doses = sorted({curve.nphotons for curve in self.found.curves}, reverse=True)
        self.losses = list(dict.fromkeys(curve.loss for curve in self.found.curves))
        plan = sweep.planned(folder)
        self.measured = gathered.get("finest", 1.0) < 1 or bool(plan and plan["measured"])
        self.told = unclaimed(self.doubts) or [REFERENCE] * self.measured

    def look(self, dose: float, loss: str) -> Look:
        curves = {
            f"{curve.method[0]}, {SPLITS[curve.method[1]]}": (curve.frequency, curve.correlation[:, 0])
            for curve in self.found.curves
            if (curve.nphotons, curve.loss) == (dose, loss)
        }
        return Look(self.found.contrast, curves, **({} if self.measured else example(dose, self.exposure)))

    def points(self) -> list[Point]:
        with open(self.folder / f"{layout.RESPONSE}.csv", newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
        names = ("frc50", "frc50_low", "frc50_high", "frc50_limit", "relative_mse")
        found = []
        for row in rows if not self.doubts else ():
            least = _number(row.get("cramer_rao_limit"))
            told = (*(_number(row.get(name)) for name in names), None if least is None else as_fitted(least))
            found.append(Point(row["method"], row["loss"], float(row["nphotons"]), *told))
        return found


class ScanFile:
    """A scan's own file: fitted at each dose that is looked at, from thinned photons, and judged by their halves."""

    losses = (LOSS,)

    def __init__(self, path: str):
        """Fits object and probe to all photons. Raises DataError for a file of no use."""
        made = once.reconstruct(path)
        self.data, self.whole, self.told = made.data, made.found, [*made.told, HALVES]
        self.exposure = Exposure(self.data.particle)
        full = photons_of(self.data) / len(self.data)
        self.doses = [full, *(dose for dose in (1e7, 1e6, 1e5, 1e4, 1e3) if dose * SAME_DOSE < full)]
        self.seen: dict[float, tuple[Look, Point]] = {}

    def look(self, dose: float, loss: str) -> Look:
        if dose not in self.seen:
            own = seeds.derive(SEED, "thinning", f"{dose:g}", "0")
            how: dict[str, Any] = {"passes": PASSES, "batch_size": BATCH}
            data, found = self.data, self.whole
            if dose < self.doses[0]:
                data = thin_to_dose(data, dose, np.random.default_rng(own))
                found = direct.fit(data, LOSS, seed=own, **how).reconstruction
            split, image = split_resolution(data, LOSS, own, **how), where_lit(found)
            flat = np.nanstd(np.angle(image)) <= np.nanstd(np.abs(image))
            line = {"expected from two halves of the photons": (split.expected.frequency, split.expected.correlation)}
            shown: dict[str, Any] = {"object": image, "object_title": f"direct at {self.exposure.words(dose)}"}
            shown |= {"pattern": brightest(data), "pattern_title": pattern_at(dose, self.exposure)}
            looked = Look("amplitude" if flat else "phase", line, **shown)
            self.seen[dose] = looked, Point(DIRECT, LOSS, dose, split.frc50, None, None, None, None, None)
        return self.seen[dose][0]

    def points(self) -> list[Point]:
        return [point for _, point in self.seen.values()]


def sources(reports: Path) -> dict[str, Source]:
    """The studies, and the sweeps with their curves, in `reports`, by their folders. Raises ConfigError for none."""
    sweeps = {path.parent for path in reports.rglob(layout.ARMS) if (path.parent / f"{layout.CURVES}.csv").exists()}
    studies = {path.parents[1] for path in reports.glob(f"*/*/{layout.METRICS}")} - sweeps
    first = (reports / LAB, reports / "sweep")
    folders = sorted(studies | sweeps, key=lambda folder: (folder not in first, folder != first[0], folder))
    if not folders:
        raise ConfigError(f"{reports} holds no study and no sweep. Run the notebooks simulate and train-arm first.")
    return {str(one.relative_to(reports)): Sweep(one) if one in sweeps else Study(one) for one in folders}


def in_words(points: Sequence[Point], dose: float, loss: str, exposure: Exposure) -> list[str]:
    """What the dose buys, a sentence a method."""
    told = []
    for one in points:
        if (one.nphotons, one.loss) == (dose, loss) and one.frc50 is not None:
            ends = "" if one.low is None or one.high is None else f" [{one.low:.2f}, {one.high:.2f}]"
            told.append(f"{one.method} resolves {one.frc50:.2f}{ends} of Nyquist at {exposure.words(dose)}")
            told[-1] += "" if one.limit is None else f"; an unbiased image resolves at most {one.limit:.2f}"
            told[-1] += "" if one.error is None else f". Its relative error is {one.error:.2g}"
            told[-1] += "." if one.least is None else f"; without prior knowledge it is at least {one.least:.2g}."
    return told


def _number(word: str | None) -> float | None:
    return float(word) if word else None
