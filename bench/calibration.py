"""Good and wrong scans through the tests of a measured scan's reference: `make calibration`.

The limits of :mod:`ptycho.judge.trust` are set so that every wrong scan is caught and no good one is. This script makes
the scans, runs each as a study would, and writes what was found to reports/calibration/calibration.csv. A test reads
that table against the limits of today.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError, TrainingError
from ptycho.files import user_cache
from ptycho.judge.gauge import remove_gauge
from ptycho.judge.trust import LIMITS, trust
from ptycho.physics import photons
from ptycho.reconstruct.reference import Reference, make_reference
from ptycho.scans import star

N = 64
Arrays = dict[str, Any]


def smooth(size: int, rng: np.random.Generator, finest: float = 0.12) -> NDArray[np.float64]:
    """(size, size), random between 0 and 1, with hardly anything finer than `finest` cycles a pixel."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * np.exp(-((frequency / finest) ** 2))).real
    return (field - field.min()) / np.ptp(field)


def beam(n: int = N, curvature: float = 0.5) -> NDArray[np.complex128]:
    """(n, n): a Gaussian, defocused, wider than it is high."""
    k = np.arange(n) - n // 2
    v, u = 8 * k[:, None] / n, 6 * k / n
    return np.exp(-(u**2 + v**2) / 2 + 1j * curvature * (v**2 + 0.2 * u**2))


def raster(side: int, step: float, jitter: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, side^2) of x and y, row by row."""
    row, column = np.divmod(np.arange(side**2), side)
    return (np.stack([column, row]) + rng.uniform(-jitter, jitter, (2, side**2))) * step


def spiral(count: int, step: float) -> NDArray[np.float64]:
    """(2, count) of x and y on a Fermat spiral, neighbours about `step` apart."""
    k = np.arange(count)
    angle = k * np.pi * (3 - np.sqrt(5))
    return 0.56 * step * np.sqrt(k) * np.stack([np.cos(angle), np.sin(angle)])


def scan(
    rng: np.random.Generator,
    dose: float = 3e4,
    amplitude: float = 0.5,
    phase: float = 1.0,
    finest: float = 0.12,
    probe: NDArray[np.complexfloating] | None = None,
    places: NDArray[np.float64] | None = None,
    step: float = 5.0,
    side: int = 14,
    jitter: float = 0.3,
    given: bool = False,
    object_of: Callable[[int], NDArray[np.complex128]] | None = None,
    beam_intensity: NDArray[np.float64] | None = None,
) -> Arrays:
    """A scan as a file holds it, and its truth. It has no probe, which then has to be found, unless `given`."""
    P = beam() if probe is None else probe
    n = P.shape[-1]
    places = raster(side, step, jitter, rng) if places is None else places
    x, y = np.rint(places - places.min(axis=1, keepdims=True)) + n // 2 + 2
    size = int(max(x.max(), y.max())) + n // 2 + 4
    truth = (1 - amplitude * smooth(size, rng, finest)) * np.exp(1j * phase * smooth(size, rng, finest))
    truth = (truth if object_of is None else object_of(size)).astype(np.complex64)
    intensity = photons.ideal_amplitude(truth, P.astype(np.complex64), x, y).astype(np.float64) ** 2
    intensity *= dose / intensity.sum(axis=(1, 2)).mean()
    if beam_intensity is not None:
        intensity *= beam_intensity[:, None, None]
    counts = rng.poisson(intensity)
    arrays = {"counts": counts, "xcoords": x, "ycoords": y, "truth": truth}
    return arrays | {"probeGuess": P.astype(np.complex64)} if given else arrays


def with_counts(change: Callable[[NDArray[np.int64], np.random.Generator], NDArray], **scanned: Any) -> Callable:
    """A scan whose counts were changed on their way to the file."""

    def made(rng: np.random.Generator) -> Arrays:
        arrays = scan(rng, **scanned)
        counts = np.maximum(np.rint(change(arrays["counts"], rng)), 0).astype(np.int64)
        return arrays | {"counts": counts}

    return made


def with_places(change: Callable[[NDArray[np.float64], np.random.Generator], NDArray], **scanned: Any) -> Callable:
    """A scan whose positions, (2, M) of x and y, are not those that it was taken at."""

    def made(rng: np.random.Generator) -> Arrays:
        arrays = scan(rng, **scanned)
        given = np.stack([arrays["xcoords"], arrays["ycoords"]])
        changed = change(given, rng)
        x, y = changed + (given - changed).mean(axis=1, keepdims=True)  # in the frame of the truth still
        return arrays | {"xcoords": x, "ycoords": y}

    return made


def off(pixels: float) -> Callable[[NDArray[np.float64], np.random.Generator], NDArray]:
    return lambda xy, rng: xy + rng.normal(0, pixels / np.sqrt(2), xy.shape)


def measured(change: Callable[[Arrays, np.random.Generator], Arrays] | None = None) -> Callable:
    """The measured Siemens star, as it is or changed."""

    def made(rng: np.random.Generator) -> Arrays:
        data = star.load_siemens_star(star.fetch(user_cache()))
        arrays = {"counts": data.counts(), "probeGuess": data.probeGuess, "xcoords": data.xcoords}
        arrays["ycoords"] = data.ycoords
        return arrays if change is None else change(arrays, rng)

    return made


def thinned(dose: float) -> Callable[[Arrays, np.random.Generator], Arrays]:
    def change(arrays: Arrays, rng: np.random.Generator) -> Arrays:
        counts = arrays["counts"]
        return arrays | {"counts": rng.binomial(counts, dose / counts.sum(axis=(1, 2)).mean())}

    return change


def moved(change: Callable[[NDArray[np.float64], np.random.Generator], NDArray]) -> Callable:
    def made(arrays: Arrays, rng: np.random.Generator) -> Arrays:
        x, y = change(np.stack([arrays["xcoords"], arrays["ycoords"]]), rng)
        return arrays | {"xcoords": x, "ycoords": y}

    return made


def spokes(size: int, count: int) -> NDArray[np.complex128]:
    k = np.arange(size) - size / 2
    lit = (np.cos(count * np.arctan2(k[:, None], k)) > 0) & (np.hypot(k[:, None], k) < 0.45 * size)
    return (1 - 0.1 * lit) * np.exp(0.8j * lit)


def lattice(size: int) -> NDArray[np.complex128]:
    wave = np.cos(2 * np.pi * np.arange(size) / 5)
    return np.exp(0.8j * np.outer(wave, wave))


def modes(n: int = N) -> NDArray[np.complex128]:
    return np.stack([beam(n), 0.4 * beam(n) * (np.arange(n) - n // 2) / 8])


def disk(radius: float) -> NDArray[np.complex128]:
    k = np.arange(N) - N // 2
    return 1 / (1 + np.exp(2 * (np.hypot(k[:, None], k) - radius))) + 0j


def jumps(spread: float, given: bool = False) -> Callable[[np.random.Generator], Arrays]:
    return lambda rng: scan(rng, beam_intensity=1 + spread * rng.uniform(-1, 1, 14**2), given=given)


def block(rows: slice, columns: slice, value: float) -> Callable[[NDArray, np.random.Generator], NDArray]:
    """Pixels that read `value`, whatever falls on them."""

    def change(counts: NDArray, rng: np.random.Generator) -> NDArray:
        changed = counts.copy()
        changed[:, rows, columns] = value
        return changed

    return change


GOOD: dict[str, Callable[[np.random.Generator], Arrays]] = {
    **{f"{dose:.0e} photons": partial(scan, dose=dose) for dose in (3e3, 3e4, 3e6)},
    **{f"{dose:.0e} photons, probe given": partial(scan, dose=dose, given=True) for dose in (1e3, 3e5)},
    "steps of 8 pixels": partial(scan, step=8, side=11),
    "steps of 8 pixels, probe given": partial(scan, step=8, side=11, given=True),
    "a spiral": lambda rng: scan(rng, places=spiral(250, 7)),
    "a disk as probe": partial(scan, probe=disk(12), given=True),
    "a curved probe": partial(scan, probe=beam(curvature=2), given=True, dose=1e5),
    "two modes": partial(scan, probe=modes(), given=True, dose=1e5),
    "weak phase": partial(scan, amplitude=0, phase=0.15, dose=1e6),
    "strong phase": partial(scan, amplitude=0.3, phase=4, dose=1e5, given=True),
    "fine details": partial(scan, finest=0.3, dose=1e5, given=True),
    "coarse details": partial(scan, finest=0.03, dose=1e5),
    "a star of 12 spokes": partial(scan, object_of=partial(spokes, count=12), dose=1e5, given=True),
    "patterns of 128 pixels": lambda rng: scan(rng, probe=beam(128), step=10, side=12, dose=1e5),
    "a beam that fluctuates by 3 %": jumps(0.05, given=True),
    "positions off by 2 pixels under a probe of 50": with_places(off(2), dose=1e5, given=True),
    "the measured star": measured(),
    "the measured star at 1e4": measured(thinned(1e4)),
}
WRONG: dict[str, Callable[[np.random.Generator], Arrays]] = {
    "12 units a photon": with_counts(lambda n, rng: 12 * n, dose=3e3),
    "2.5 units a photon, read with noise": with_counts(lambda n, rng: 2.5 * n + rng.normal(0, 0.3, n.shape), dose=1e5),
    "7.3 units a photon, read with noise": with_counts(lambda n, rng: 7.3 * n + rng.normal(0, 2, n.shape)),
    "averages of 8 frames": with_counts(lambda n, rng: n / 8, dose=1e6),
    "no overlap": partial(scan, side=8, step=30),
    "no overlap, probe given": partial(scan, side=8, step=30, given=True),
    "gaps between positions": partial(scan, side=10, step=24),
    "positions off by 7 pixels": with_places(off(7), dose=1e6, given=True),
    "positions shuffled": with_places(lambda xy, rng: rng.permutation(xy, axis=1)),
    "positions of a spiral one frame late": lambda rng: with_places(
        lambda xy, _: np.roll(xy, 1, axis=1), places=spiral(250, 7)
    )(rng),
    "a background of 1 photon a pixel": with_counts(lambda n, rng: n + rng.poisson(1, n.shape)),
    "a background of 5 photons a pixel": with_counts(lambda n, rng: n + rng.poisson(5, n.shape)),
    "an offset of 40": with_counts(lambda n, rng: n + 40),
    "saturated at 65535": with_counts(lambda n, rng: np.minimum(n, 65535), dose=3e6),
    "saturated at 2000": with_counts(lambda n, rng: np.minimum(n, 2000), dose=3e5),
    "the same pattern everywhere": with_counts(lambda n, rng: rng.poisson(np.broadcast_to(n.mean(axis=0), n.shape))),
    "a lattice in step with the raster": partial(scan, jitter=0, object_of=lattice),
    "the measured star, 3 units a photon, read with noise": measured(
        lambda arrays, rng: (
            arrays
            | {"counts": np.maximum(np.rint(3.1 * arrays["counts"] + rng.normal(0, 1, arrays["counts"].shape)), 0)}
        )
    ),
    "the measured star, positions off by 7 pixels": measured(moved(off(7))),
    "the measured star, positions shuffled": measured(moved(lambda xy, rng: rng.permutation(xy, axis=1))),
}
MENDED: dict[str, Callable[[np.random.Generator], Arrays]] = {
    "a beam that jumps by 40 %": jumps(0.7),
    "centre off by (3, 2)": with_counts(lambda n, rng: np.roll(n, (3, 2), (1, 2))),
    "centre off by (3, 2), probe given": with_counts(lambda n, rng: np.roll(n, (3, 2), (1, 2)), given=True),
    "centre off by (6, -5)": with_counts(lambda n, rng: np.roll(n, (6, -5), (1, 2))),
    "centre at the corners": with_counts(lambda n, rng: np.fft.ifftshift(n, axes=(1, 2))),
    "a dead gap of 4 rows": with_counts(block(slice(37, 41), slice(None), 0)),
    "a hot pixel": with_counts(block(slice(10, 11), slice(50, 51), 1000)),
}
TURNED = {
    "3e+04 photons",
    "weak phase",
    "the measured star",
    "positions off by 7 pixels",
    "no overlap, probe given",
    "the measured star, positions off by 7 pixels",
}
"""Scans whose orientation is looked for, as a study does by default: that takes eight fits. The others are as-is."""
HARD: dict[str, Callable[[np.random.Generator], Arrays]] = {
    "a star of 36 spokes, finer than the detector resolves": partial(
        scan, object_of=partial(spokes, count=36), dose=1e5, given=True
    ),
    "fine details, no probe": partial(scan, finest=0.3, dose=1e5),
    "a beam that fluctuates by 3 %, no probe": jumps(0.05),
    "1e+03 photons, no probe": partial(scan, dose=1e3),
    "3e+03 photons, no probe": partial(scan, dose=3e3),
    "steps of 12 pixels, no probe": partial(scan, step=12, side=10),
    "a curved probe, not given": partial(scan, probe=beam(curvature=1.2), dose=1e5),
}
KINDS = {"good": GOOD, "wrong": WRONG, "mended": MENDED, "hard": HARD}
"""Scans that must pass, that must not, that must pass once a study has mended them; and hard ones, most without a
probe, whose object a fit finds or not: where it is not the true one, they must not pass."""


def examined(kind: str, name: str, seed: int) -> dict[str, Any]:
    """A row of the table: what the tests found about a scan, or the line that refused it."""
    rng = np.random.default_rng([seed, len(name), *name.encode()])
    arrays = KINDS[kind][name](rng)
    truth = arrays.pop("truth", None)
    row: dict[str, Any] = {"kind": kind, "scan": name, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder, "scan.npz"), **arrays)
        try:
            reference = make_reference("scan.npz", Path(folder), seed, "auto" if name in TURNED else "as-is")
            found = trust(reference, seed)
        except (DataError, TrainingError) as error:
            return row | {"refused": str(error).replace(f"{folder}/", "")}
    doubts = [line for line in found.doubts if line.split(" ")[0] not in LIMITS]
    row |= {"told": "; ".join(doubts), "finest": found.finest, "deviance": reference.deviance}
    row |= {test.name: test.value for test in found.tests}
    ends = np.array([arrays[axis].min() + arrays[axis].max() for axis in ("ycoords", "xcoords")])
    return row | {"r": None if truth is None else likeness(reference, truth, ends), "turned": reference.orientation}


def likeness(reference: Reference, truth: NDArray[np.complexfloating], ends: NDArray[np.float64]) -> float | None:
    """Modulus of the correlation of the reference's object with the truth, free of gauge; None if they do not meet.

    ends: (y, x), the sum of the least and the greatest position along each axis. With the positions turned by half a
    turn, the truth is the twin image.
    """
    if reference.orientation == "flip-xy":
        rows, columns = (int(end) - np.arange(size) for end, size in zip(ends, truth.shape, strict=True))
        truth = truth.conj().take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")
    elif reference.orientation != "as-is":
        return None
    try:
        aligned = remove_gauge(reference.fit.reconstruction, truth)
    except ValueError:
        return None
    pair = np.stack([aligned.object[aligned.mask], aligned.truth[aligned.mask]])
    return float(np.abs(np.corrcoef(pair)[0, 1]))


COLUMNS = ("kind", "scan", "seed", "refused", "told", *LIMITS, "finest", "deviance", "turned", "r")


def rows(seeds: int, only: str) -> Iterator[dict[str, Any]]:
    for kind, scans in KINDS.items():
        for name in scans:
            if only in f"{kind}: {name}":
                yield from (examined(kind, name, seed) for seed in range(1, seeds + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder of calibration.csv")
    parser.add_argument("--seeds", type=int, default=1, help="scans of each kind")
    parser.add_argument(
        "--only", default="", help="words in the kind and the name of a scan, such as 'wrong: no overlap'"
    )
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with open(given.out / "calibration.csv", "w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in rows(given.seeds, given.only):
            cells = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
            table.writerow(cells)
            file.flush()
            print(", ".join(f"{name} {value}" for name, value in cells.items() if value not in (None, "")), flush=True)


if __name__ == "__main__":
    main()
