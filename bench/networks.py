"""The network on the whole object beside the fits without one: is it as sharp, and does it err less?

    python -m bench.networks reports/networks [SEEDS]

Five objects, four doses, five seeds. Each case has a training and a held-out scan of another object, as dense. The
fit without a network (``direct``), the same smoothed as photons held out ask for (``smoothed``) and the network get the
photons of one scan each; the network is trained on those of the training scan alone. Two cases run side by side, each
on one core; the table is whole after every case.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.process import Row, side_by_side
from bench.tables import known, rounded
from ptycho import seeds
from ptycho.config import DENOISER, LEARNING_RATES, STAR
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

OBJECTS = ("lines", "grf", "siemens", "cells", "measured star")
DOSES = ("1e3", "1e4", "1e5", "1e7")
"""Photons per pattern; of the measured star the last stands for all of its photons."""
N, POSITIONS, OBJECT = 64, 2000, 256
CELLS = 574
"""Positions of the scan of cells, on a third as many as the others."""
COVERS = 3.0
"""Squared complex errors in units of their variance that 95 % of a normal distribution lie below."""
LOSS = "nll"


def cells(size: int, rng: np.random.Generator) -> NDArray[np.complex64]:
    """(size, size): cells of random phase, 0 to 1.2 rad, and amplitude, 0.6 to 1.2, with edges of a pixel."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    middles = rng.uniform(0, size, (size**2 // 150, 2))
    nearest = cKDTree(middles).query(np.stack(np.mgrid[:size, :size], axis=-1))[1]
    phase, amplitude = (rng.uniform(*ends, len(middles))[nearest] for ends in ((0, 1.2), (0.6, 1.2)))
    O = amplitude * np.exp(1j * phase)
    return (ndimage.gaussian_filter(O.real, 0.7) + 1j * ndimage.gaussian_filter(O.imag, 0.7)).astype(np.complex64)


@cache
def star() -> dict[str, RawData]:
    """The measured star's training and held-out scan, with all photons; the fit to all of both is the truth."""
    from ptycho.reconstruct.reference import make_reference

    return {split: one.scan for split, one in make_reference(STAR, Path(), 1).splits(1).items()}


def scans(kind: str, dose: str, seed: int) -> dict[str, RawData]:
    """The training and the held-out scan of one case."""
    from ptycho.physics import photons, probes, samples
    from ptycho.scans.dose import at_dose

    if kind == "measured star":
        word = "full" if dose == DOSES[-1] else dose
        return {
            split: at_dose(scan, word, np.random.default_rng(seeds.derive(seed, "noise", split, dose)))
            for split, scan in star().items()
        }
    made = {}
    for split in ("train", "heldout"):
        rng = np.random.default_rng(seeds.derive(seed, "scan", split))
        own = seeds.derive(seed, "object", split)
        if kind == "cells":
            O, M = cells(OBJECT, np.random.default_rng(own)), CELLS
            P = probes.defocused(probes.make_probe("gaussian", N)[np.newaxis], 1.0)[0].astype(np.complex64)
        else:
            O = samples.make_object(kind, OBJECT, own, 0.0 if kind == "lines" else 1.0)
            P, M = probes.make_probe("disk", N), POSITIONS
        x, y = samples.random_positions(M, OBJECT, N, rng)
        noise = np.random.default_rng(seeds.derive(seed, "noise", split, dose))
        diff3d, s = photons.expose(photons.ideal_amplitude(O, P, x, y), float(dose), noise)
        made[split] = RawData(diff3d, x, y, P, O, nphotons=float(dose), intensity_scale=s)
    return made


def case(kind: str, dose: str, seed: int) -> list[Row]:
    """A row for each split and method."""
    import keras

    from ptycho.judge.parts import judge
    from ptycho.reconstruct import direct
    from ptycho.reconstruct.networks import denoiser
    from ptycho.reconstruct.whole import denoising, splits, total_variation

    both, own = scans(kind, dose, seed), seeds.derive(seed, "fit")
    made = splits.make_splits(both["train"], LOSS, own)
    weight = total_variation.choose(made, splits.Judge(made.rest, LOSS))
    keras.utils.set_random_seed(own)
    network = denoiser.build(LOSS, both["train"].probeGuess)
    rate = LEARNING_RATES[DENOISER][LOSS]
    with tempfile.TemporaryDirectory() as folder:
        how = {"nepochs": 5, "learning_rate": rate, "seed": own}
        history = denoising.train(network, made, folder=Path(folder), **how)
    seconds = sum(row["seconds"] for row in history)
    rows: list[Row] = []
    for split, data in both.items():
        fitted = splits.fit(data, LOSS, own)
        few = len(data) * splits.PASSES < 50 * splits.STEPS
        plain = direct.fit(data, LOSS, seed=own).reconstruction if few else fitted.found
        found = {"direct": plain, "smoothed": total_variation.smoothed(fitted, weight)}
        found["network"] = denoising.denoise(network, fitted)
        for method, one in found.items():
            judged = judge(one, data)
            of = judged.contrast
            row: Row = {"object": kind, "dose": dose, "seed": seed, "split": split, "method": method, "contrast": of}
            row |= {"frc50": getattr(judged, f"{of}_frc50"), "pearson": getattr(judged, f"{of}_pearson")}
            row |= {"relative_mse": judged.relative_mse, "photon_bound": judged.photon_bound}
            row |= {"deviance": judged.deviance, "weight": weight if method == "smoothed" else None}
            row |= {"seconds": seconds if method == "network" else None, "covered": None}
            if split == "train" and method != "smoothed":
                apart = [denoising.denoise(network, fit) if method == "network" else fit.found for fit in made.fits]
                row["covered"] = covered(one, splits.scatter([each.object for each in apart]), data)
            rows.append(row)
    return rows


def covered(found: Reconstruction, sigma: NDArray[np.float32], data: RawData) -> float:
    """The share of pixels whose true value lies within the 95 % of a standard deviation (H, W) of each."""
    from ptycho.judge.gauge import remove_gauge
    from ptycho.judge.parts import truth

    aligned = remove_gauge(found, truth(data))
    y, x = aligned.box
    error = np.abs(aligned.object - aligned.truth) ** 2
    return float(np.mean((error <= COVERS * sigma[y, x] ** 2)[aligned.mask]))


def _case(of: tuple[str, str, int]) -> list[Row]:
    return [rounded(row) for row in case(*of)]


def cases(numbers: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    for seed in numbers:
        for kind in OBJECTS:
            for dose in DOSES:
                yield kind, dose, seed


WORDS = ("object", "dose", "split", "method", "contrast")
"""Columns of the table that hold no number."""
SHARPNESS, HALF = 0.01, 0.5
"""FRC50 that a network may lose against ``direct``, and its share of the error of ``direct`` where photons are few."""


def summary(rows: Sequence[Row]) -> list[Row]:
    """A row for each object, dose and split: means over seeds, and what the network gains in each seed, with intervals.

    gain: FRC50 of the network less that of ``direct``. of_direct, of_smoothed: error of the network over theirs.
    """
    from ptycho.findings.intervals import geometric_interval, mean_interval

    cells: dict[tuple[str, str, str], dict[str, list[Row]]] = {}
    for row in rows:
        cells.setdefault((row["object"], row["dose"], row["split"]), {}).setdefault(row["method"], []).append(row)
    made = []
    for (kind, dose, split), of in cells.items():
        frc50, error = (
            {method: np.array([row[name] or 0 for row in of[method]], float) for method in of}
            for name in ("frc50", "relative_mse")
        )
        told: Row = {"object": kind, "dose": dose, "split": split, "seeds": len(of["network"])}
        for name, values in (("frc50", frc50), ("error", error)):
            told |= {f"{name}_{method}": float(values[method].mean()) for method in values}
        told |= {"photon_bound": float(np.mean([row["photon_bound"] for row in of["network"]]))}
        told |= mean_interval(frc50["network"] - frc50["direct"]).row("gain", "gain_")
        for other in ("direct", "smoothed"):
            told |= geometric_interval(error["network"] / error[other]).row(f"of_{other}", f"of_{other}_")
        for method in ("direct", "network"):
            shares = [row["covered"] for row in of[method] if row["covered"] is not None]
            told[f"covered_{method}"] = float(np.mean(shares)) if shares else None
        told["seconds"] = float(np.mean([row["seconds"] for row in of["network"]]))
        made.append(rounded(told))
    return made


def verdict(cells: Sequence[Row]) -> str:
    """What was asked for, how often the means over seeds reach it, and every cell that misses it."""
    few = [cell for cell in cells if float(cell["dose"]) <= 1e4]
    questions = (
        (cells, f"FRC50 at least that of direct less {SHARPNESS}", lambda c: c["gain"] >= -SHARPNESS, "gain"),
        (
            few,
            f"up to 1e4 photons, at most {HALF} of the error of direct",
            lambda c: c["of_direct"] <= HALF,
            "of_direct",
        ),
        (cells, "no more error than direct", lambda c: c["of_direct"] <= 1, "of_direct"),
        (cells, "no more error than the smoothed fit", lambda c: c["of_smoothed"] <= 1, "of_smoothed"),
    )
    lines = []
    for asked, words, holds, name in questions:
        missed = [f"{c['object']} {c['dose']} {c['split']} {c[name]:.3g}" for c in asked if not holds(c)]
        lines.append(f"{words}: {len(asked) - len(missed)} of {len(asked)}" + "".join(f"\n  not {m}" for m in missed))
    return "\n".join(lines) + "\n"


def limit(kind: str) -> list[Row]:
    """What an unbiased image with the least errors resolves of an object's held-out scan, a row a dose, of one seed."""
    from ptycho.judge.cramer_rao import information_bound
    from ptycho.judge.frc import frc50
    from ptycho.judge.metrics import contrast_of
    from ptycho.judge.parts import truth

    exposed = {dose: scans(kind, dose, 1)["heldout"] for dose in DOSES}
    data = exposed[DOSES[-1]]
    told = (truth(data), data.probeGuess, data.xcoords, data.ycoords)
    bound = information_bound(*told, mask=data.mask, fitted=data.fitted)
    true = told[0][bound.mask]
    rings = bound.rings[contrast_of(np.abs(true), np.angle(true))]
    expected = {dose: frc50(rings.expected(scan.nphotons)) for dose, scan in exposed.items()}
    return [rounded({"object": kind, "dose": dose, "frc50": found}) for dose, found in expected.items()]


def main(out: str, last: str = "5") -> None:
    """Write the table of each case and method, and after each the means, the verdict and the figure; at first what
    photons allow.

    What the tables hold already is not computed again.
    """
    from bench import figures
    from ptycho.figures import output
    from ptycho.files import write_text

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if not (limits := known(folder / "limit.csv", WORDS, ())):
        limits = [row for kind in OBJECTS for row in limit(kind)]
        output.save_rows(folder / "limit.csv", limits)
    rows = known(folder / "networks.csv", WORDS, ("seed",))
    done = {(row["object"], row["dose"], row["seed"]) for row in rows}
    asked = [one for one in cases(range(1, int(last) + 1)) if one not in done]
    for found in side_by_side(_case, asked, each=4):
        rows += found
        means = summary(rows)
        output.save_rows(folder / "networks.csv", rows)
        output.save_rows(folder / "summary.csv", means)
        write_text(folder / "verdict.txt", verdict(means))
        held_out = [row for row in rows if row["split"] == "heldout"]
        output.save_png(figures.networks(held_out, limits), folder / "networks.png")
        print(*(" ".join(map(str, row.values())) for row in found), sep="\n", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
