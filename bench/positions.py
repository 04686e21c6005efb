"""How far wrong positions of a scan are found, beside pty-chi: on simulated scans whose right positions are known.

    python -m bench.positions reports/positions

A Fermat spiral of 481 positions, 10 pixels apart, N = 128, under a probe of three incoherent modes that is 48 pixels
wide. Every method gets the same patterns, the true probe to start from, and the positions of the list CASES; pty-chi
gets the first two. What is left is told free of a common shift, which no pattern knows. Seconds are those of the whole
refinement, in a process of its own.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import ptychi_engines as peer
from bench.process import Row, measure
from ptycho import seeds
from ptycho.cores import usable_cores
from ptycho.physics import photons, probes, samples
from ptycho.scans.rawdata import RawData

N, WIDTH, STEP = 128, 48, 10.0  # detector pixels; the probe's diameter and the step in object pixels
MODES = (0.7, 0.2, 0.1)  # share of the light in each mode of the probe
POSITIONS = 481
REACH = 7.0  # the largest error, in pixels: 0.15 of the probe's width
CASES = [
    *(("random", dose, "lines") for dose in (1e6, 1e4, 1e8)),
    *((case, 1e6, "lines") for case in ("drift", "backlash", "affine", "right")),
    ("random", 1e6, "grf"),
]
"""The error of the positions, photons per pattern, the object."""
BESIDE = CASES[:2]
"""Those that pty-chi is given, too: each takes it minutes."""
EPOCHS = 100  # of pty-chi


def spiral(M: int) -> NDArray[np.float64]:
    """(x, y) as (2, M): a Fermat spiral with one position on every STEP^2 pixels."""
    k = np.arange(M)
    radius, angle = STEP * np.sqrt((k + 0.5) / np.pi), k * np.pi * (3 - np.sqrt(5))
    return radius * np.array([np.cos(angle), np.sin(angle)])


def raster(M: int) -> NDArray[np.float64]:
    """(x, y) as (2, M), to and fro, row by row."""
    side = int(np.sqrt(M))
    y, x = np.divmod(np.arange(side**2), side)
    return STEP * np.array([np.where(y % 2, side - 1 - x, x), y], float)


def errors(case: str, told: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """What the positions told, (2, M), miss: true minus told.

    random    of each by itself, uniform in a disk of REACH pixels: 5 pixels rms
    drift     smooth in the order of exposure, REACH pixels from end to end, and bent
    backlash  every other row is 4 pixels off
    affine    all distances 5 % longer, turned by a degree, sheared by 2 %
    right     none
    """
    M = told.shape[1]
    if case == "random":
        radius, angle = REACH * np.sqrt(rng.random(M)), 2 * np.pi * rng.random(M)
        return radius * np.array([np.cos(angle), np.sin(angle)])
    if case == "drift":
        time, turn = np.linspace(-1, 1, M), 2 * np.pi * rng.random()
        along, across = REACH / 2 * np.sin(1.4 * time + 0.3) / np.sin(1.4), 1.5 * np.cos(2.5 * time)
        cos, sin = np.cos(turn), np.sin(turn)
        return np.array([cos * along - sin * across, sin * along + cos * across])
    if case == "backlash":
        return np.array([4.0 * (np.rint(told[1] / STEP) % 2), np.zeros(M)])
    if case == "affine":
        turn = np.radians(1.0)
        A = 1.05 * np.array([[1, 0.02], [0, 1]]) @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        return (A - np.eye(2)) @ (told - told.mean(axis=1, keepdims=True))
    return np.zeros_like(told)


def probe() -> NDArray[np.complex64]:
    """(3, N, N): that of a zone plate, and two tilts of it."""
    first = probes.zone_plate(N, defocus=WIDTH / 2 / 0.25)
    x = (np.arange(N) - N // 2) / (WIDTH / 2)
    energy = np.sum(np.abs(first) ** 2)
    modes = [first]
    for tilt in (x[np.newaxis], x[:, np.newaxis]):
        mode = first * tilt
        modes.append(mode - sum(np.vdot(other, mode) / np.vdot(other, other) * other for other in modes))
    scaled = [
        mode * np.sqrt(share * energy / np.sum(np.abs(mode) ** 2)) for mode, share in zip(modes, MODES, strict=True)
    ]
    return np.stack(scaled).astype(np.complex64)


def simulate(case: str, dose: float, kind: str, seed: int, M: int = POSITIONS) -> tuple[RawData, NDArray[np.float64]]:
    """A scan with the positions told, and its true ones (x, y), (2, M), in the same frame."""
    rng = np.random.default_rng(seeds.derive(seed, "positions", case))
    told = raster(M) if case == "backlash" else spiral(M)
    true = told + errors(case, told, rng)
    size = int(np.ceil(np.ptp(true, axis=1).max())) + N + 24
    frame = size / 2 - (true.max(axis=1, keepdims=True) + true.min(axis=1, keepdims=True)) / 2
    told, true, P = told + frame, true + frame, probe()
    O = samples.make_object(kind, size, seed, phase=1.0)
    diff3d, s = photons.expose(photons.ideal_amplitude(O, P, *true), dose, rng)
    return RawData(diff3d, told[0], told[1], P, nphotons=dose, intensity_scale=s), true


def left(positions: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each of the positions (2, M) is from its true one, (2, M), free of a common shift."""
    error = positions - true
    return error - error.mean(axis=1, keepdims=True)


def ours(path: str, seed: int) -> list[Row]:
    """The positions that POSITIONS=refine finds, and the seconds it takes."""
    from ptycho.reconstruct.reference import make_reference

    started = time.perf_counter()
    file = Path(path)
    scan = make_reference(file.name, file.parent, seed, "as-is", len(MODES), "refine").scan
    seconds, told = time.perf_counter() - started, RawData.load(file)
    assert scan.xcoords_start is not None and scan.ycoords_start is not None
    x = told.xcoords + scan.xcoords - scan.xcoords_start
    y = told.ycoords + scan.ycoords - scan.ycoords_start
    return [{"seconds": seconds, "x": x.tolist(), "y": y.tolist()}]


def theirs(path: str, engine: str, epochs: int, seed: int) -> list[Row]:
    """The same of pty-chi, which refines object, probe and positions together."""
    seconds, x, y = peer.refine_positions(RawData.load(path), engine, epochs, seed)
    return [{"seconds": seconds, "x": x.tolist(), "y": y.tolist()}]


def compare(seed: int, epochs: int, engines: Sequence[str], folder: Path) -> Iterator[tuple[Row, list[Row]]]:
    """For every case and method a row, and one for each position: its error as told, and what is left of it."""
    for case, dose, kind in CASES:
        data, true = simulate(case, dose, kind, seed)
        path = str(folder / "scan.npz")
        data.save(path)
        told = np.stack([data.xcoords, data.ycoords])
        before = left(told, true)
        beside = engines if (case, dose, kind) in BESIDE else ()
        for method in ("ptycho", *beside):
            words: Row = {} if method == "ptycho" else {"engine": method, "epochs": epochs}
            task = f"positions.{'theirs' if words else 'ours'}"
            (found,) = measure(task, usable_cores(), path=path, seed=seed, **words)
            after = left(np.array([found["x"], found["y"]]), true)
            distance = np.hypot(*after)
            row: Row = {"case": case, "object": kind, "nphotons": dose, "method": method, "seed": seed}
            row |= {"before_rms": rms(np.hypot(*before)), "left_rms": rms(distance)}
            row |= {"left_median": round(float(np.median(distance)), 3), "left_most": round(float(distance.max()), 3)}
            row |= {"seconds": round(found["seconds"], 1), "cores": found["cores"]}
            names = ("x", "y", "before_x", "before_y", "left_x", "left_y")
            of_each = np.vstack([told, before, after]).T.round(3).tolist()
            yield row, [{"method": method} | dict(zip(names, values, strict=True)) for values in of_each]


def rms(values: NDArray[np.float64]) -> float:
    return round(float(np.sqrt(np.mean(values**2))), 3)


def main(out: str) -> None:
    """Write the table and the figure of the first case, whole after every method."""
    from bench import figures
    from ptycho.figures import output

    engines = [*peer.POSITION_ENGINES] if peer.version() else []
    rows: list[Row] = []
    drawn: list[Row] = []
    Path(out).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for row, of_each in compare(1, EPOCHS, engines, Path(scratch)):
            print(*row.values(), flush=True)
            rows.append(row)
            output.save_rows(Path(out) / "positions.csv", rows)
            if (row["case"], row["nphotons"], row["object"]) == CASES[0]:
                drawn += of_each
                output.save_rows(Path(out) / "errors.csv", drawn)
                output.save_png(figures.position_errors(drawn), Path(out) / "errors.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
