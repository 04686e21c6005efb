"""Why a fit may err less than any unbiased image: what of each frequency it keeps, and how much of that is noise.

    python -m bench.bias reports/bias

One scan is exposed EXPOSURES times at each dose, and every exposure is fitted by ``direct`` without a network. The mean
of these images less the truth is the bias of the fit, and their scatter its variance. Both are told in units of the
least error that an image without bias can have (:mod:`ptycho.judge.cramer_rao`), for the whole image and for four bands
of frequency. There stands also what the fit keeps of the truth: 1 is all of it. ``limit.csv`` tells what an unbiased
image with the least errors resolves, and ``passes.csv`` what more or fewer passes over the patterns change.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.process import Row
from bench.tables import rounded
from ptycho import seeds
from ptycho.findings.intervals import Interval, mean_interval
from ptycho.judge.cramer_rao import InformationBound, information_bound
from ptycho.judge.frc import evaluation_window, frc50, masked_frc, ring_power
from ptycho.judge.gauge import remove_gauge
from ptycho.scans import simulated
from ptycho.scans.simulated import Simulated

DOSES = ("1e3", "1e4", "1e5")
LIMITS = ("1e2", "1e3", "1e4", "1e5", "1e6", "1e7", "1e9")
"""Doses at which scans are fitted, and at which it is told what an unbiased image resolves."""
LOSSES = ("nll", "mse", "anscombe")
EXPOSURES, SEED = 8, 1
PASSES, PASSED = (10, 30, 100), ("1e2", "1e4", "1e9")
"""How often ``nll`` sees every pattern, and the doses at which that is tried."""
BANDS = ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
"""Fractions of Nyquist."""


def images(scan: Simulated, dose: str, loss: str, **how: int) -> NDArray[np.complex128]:
    """The object fitted to each exposure, (K, H, W): in the truth's phase and its own modulus, 0 where not judged.

    ``how`` else ``direct.fit`` is told to fit, as ``passes=10``.
    """
    from ptycho.reconstruct import direct

    fitted = np.zeros((EXPOSURES, *scan.object.shape), np.complex128)
    for k, image in enumerate(fitted):
        data = replace(scan, seed=seeds.derive(SEED, "exposure", str(k))).expose(dose)
        found = direct.fit(data, loss, seed=seeds.derive(SEED, "fit", str(k)), **how).reconstruction
        aligned = remove_gauge(found, scan.object)
        corner = np.rint(found.origin_yx).astype(int) + [side.start for side in aligned.box]
        here = tuple(slice(at, at + size) for at, size in zip(corner, aligned.mask.shape, strict=True))
        image[here] = aligned.object / abs(aligned.scale)
    return fitted


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest part of an image that holds the mask."""
    return tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(mask))


def resolved(found: NDArray[np.complex128], truth: NDArray) -> Interval:
    """The FRC50 of the amplitude of images (K, H, W) of a truth (H, W), over the images."""
    mask = found.all(axis=0)
    box = box_of(mask)
    true = np.abs(truth[box])
    return mean_interval(np.array([frc50(masked_frc(np.abs(image[box]), true, mask[box])) for image in found]))


def row_of(found: NDArray[np.complex128], truth: NDArray, bound: InformationBound, nphotons: float) -> Row:
    """Bias and variance of images (K, H, W) of a truth (H, W), in units of the least error without bias."""
    box = box_of(bound.mask)
    truth, found = truth[box], found[(slice(None), *box)]
    mask = bound.mask[box] & found.all(axis=0)  # a few pixels of the outline are judged in some exposures alone
    K, power = len(found), float(np.sum(np.abs(truth[mask]) ** 2))
    least = bound.relative_mse(nphotons)
    variance = float(np.sum(np.var(found, axis=0, ddof=1)[mask]) / power)
    # the mean of K images still has 1/K of the variance
    bias = float(np.sum(np.abs(found.mean(axis=0) - truth)[mask] ** 2) / power) - variance / K
    row: Row = {"error": (bias + variance) / least, "bias": bias / least, "variance": variance / least}
    window, rings = evaluation_window(mask), bound.rings["amplitude"]
    amplitude, true = np.abs(found), np.abs(truth)
    mean = amplitude.mean(axis=0)

    def powers(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return ring_power(np.where(mask, image, 0), window)[1]

    whole = powers(true)
    # of two images, Re sum F_a conj(F_b) = (|F_(a+b)|^2 - |F_(a-b)|^2) / 4
    kept = (powers(mean + true) - powers(mean - true)) / 4
    noise = np.mean([powers(image - mean) for image in amplitude], axis=0) * K / (K - 1)
    for low, high in BANDS:
        band = (rings.frequency > low) & (rings.frequency <= high)
        weights = rings.n[band]
        row[f"kept_{high:g}"] = float(np.sum(kept[band] * weights) / np.sum(whole[band] * weights))
        spread = float(np.sum(noise[band] * weights) / np.sum(rings.noise[band] * weights))
        row[f"variance_{high:g}"] = spread * nphotons
    return row


def main(out: str) -> None:
    """Write the limits, and the table, whole after each dose and loss, with its figure."""
    from bench import figures
    from ptycho.figures import output

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    scan = simulated.simulate(64, 2000, 20, seed=SEED)["train"]
    bound = information_bound(scan.object, scan.probe, scan.x, scan.y)
    limits = [{"dose": dose, "frc50": frc50(bound.rings["amplitude"].expected(float(dose)))} for dose in LIMITS]
    output.save_rows(folder / "limit.csv", limits)
    rows: list[Row] = []
    for dose in PASSED:
        for passes in PASSES:
            fitted = images(scan, dose, "nll", passes=passes)
            found = row_of(fitted, scan.object, bound, float(dose))
            told = resolved(fitted, scan.object).row("frc50", "frc50_")
            shares = {name: found[name] for name in ("error", "bias", "variance")}
            rows.append(rounded({"dose": dose, "passes": passes, **told, **shares}))
            output.save_rows(folder / "passes.csv", rows)
            print(*rows[-1].values(), flush=True)
    rows = []
    for dose in DOSES:
        for loss in LOSSES:
            found = row_of(images(scan, dose, loss), scan.object, bound, float(dose))
            rows.append(rounded({"dose": dose, "loss": loss, **found}))
            output.save_rows(folder / "bias.csv", rows)
            output.save_png(figures.bias(rows), folder / "bias.png")
            print(*rows[-1].values(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
