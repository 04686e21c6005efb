"""pty-chi on our scans: its engines run in the Python that has them, on our counts, and answer in our frame.

Its arrays in memory (ptychi.api.task.PtychographyTask, version 2.2): diffraction_data (M, N, N) intensity, zero
frequency at the centre (pty-chi shifts it: `fft_shift`); object_data (slices, H, W); probe_data (coherent, incoherent,
N, N); probe_position_{y,x}_px (M,), y along rows and x along columns as here; valid_pixel_mask (N, N), True if valid.

By default the origin of the positions is put at round(H/2) - 1/2 of the object, and a position is that of the patch's
middle, (N-1)/2: position 0 puts index N//2 of the patch on object pixel round(H/2).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

FITTER = Path(__file__).with_name("ptychi_fit.py")

ENGINES = {
    "EPIE": {"engine": "EPIE"},
    "LSQML": {"engine": "LSQML", "noise_model": "GAUSSIAN"},
    "LSQML Poisson": {"engine": "LSQML", "noise_model": "POISSON"},
}
"""What the fitter is told for each; of LSQML, pty-chi's own default noise model is the Gaussian one, of amplitudes."""

POSITION_ENGINES = {
    "pty-chi LSQML, defaults": {**ENGINES["LSQML"], "limit": 0.1},
    "pty-chi LSQML, steps up to 2 px": {**ENGINES["LSQML"], "limit": 2.0},
}
"""The same where positions are refined, by the gradient, pty-chi's default; ``limit``: of a single step, in pixels."""


def version() -> str | None:
    """The version of pty-chi, None where the extra ``bench`` is not installed.

    Raises RuntimeError when the Python that PTYCHI_PYTHON names cannot import it.
    """
    code = "import ptychi.api; from importlib import metadata; print(metadata.version('ptychi'))"
    try:
        return _ptychi("-c", code).split()[-1]
    except RuntimeError:
        if "PTYCHI_PYTHON" in os.environ:
            raise
        return None


def fit(data: RawData, engine: str, epochs: Sequence[int], seed: int) -> list[tuple[float, Reconstruction]]:
    """The seconds spent, and the object, after each of ``epochs`` of one fit from empty space.

    Parameters
    ----------
    data : RawData
        With known counts; its probe and positions are held. What its ``fitted`` leaves out, pty-chi does not see.
    engine : str
        Of ENGINES.
    epochs : sequence of int, increasing

    Raises
    ------
    RuntimeError
        pty-chi failed, or is not there.
    """
    scan, corner = _framed(data, room=2)
    assert scan.x is not None and scan.y is not None and scan.object is not None
    visits = np.zeros(scan.object.shape)
    np.add.at(visits, (np.rint(scan.y).astype(int), np.rint(scan.x).astype(int)), 1)
    P = data.probeGuess.reshape(-1, data.N, data.N)
    light = np.pad(np.sum(np.abs(P) ** 2, axis=0), ((0, 1), (0, 1)))  # of odd side, so that index N//2 is its middle
    coverage = np.maximum(signal.fftconvolve(visits, light, mode="same"), 0).astype(np.float32)
    found = _fitted(scan, {**ENGINES[engine], "budgets": [*epochs], "seed": seed})
    return [
        (float(s), Reconstruction(O, coverage, corner)) for s, O in zip(found["seconds"], found["objects"], strict=True)
    ]


def refine_positions(
    data: RawData, engine: str, epochs: int, seed: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The seconds of a fit that refines object, probe and positions, and the positions x, y, (M,), in data's frame.

    ``engine`` is of POSITION_ENGINES. Raises RuntimeError as :func:`fit` does.
    """
    scan, corner = _framed(data, room=20)
    found = _fitted(scan, {**POSITION_ENGINES[engine], "budgets": [epochs], "seed": seed})
    assert scan.object is not None
    y, x = (found["positions"] + np.rint(np.array(scan.object.shape) / 2) + corner).T
    return float(found["seconds"][-1]), x, y


def _framed(data: RawData, room: int) -> tuple[Scan, NDArray[np.float64]]:
    """The scan on an empty object with ``room`` pixels around its patches, and that object's first pixel (y, x)."""
    N = data.N
    corner = np.floor([data.ycoords.min(), data.xcoords.min()]) - N // 2 - room
    y, x = data.ycoords - corner[0], data.xcoords - corner[1]
    H, W = (int(np.ceil(v.max())) + N // 2 + 1 + room for v in (y, x))
    scan = Scan(
        patterns=data.counts(),
        x=x,
        y=y,
        metres=False,
        # whose unitary far field is the counts' square root
        probe=data.probeGuess.reshape(-1, N, N) * np.complex64(data.intensity_scale or 1.0),
        object=np.ones((H, W), np.complex64),
        object_center=(H / 2, W / 2),
        mask=data.fitted,
    )
    return scan, corner


def _fitted(scan: Scan, words: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """What the fitter writes of a scan, told ``words``."""
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder, "given.npz"), Path(folder, "taken.npz")
        np.savez(given, **to_arrays(scan))
        _ptychi(str(FITTER), str(given), str(taken), json.dumps(words))
        with np.load(taken) as results:
            return dict(results)


def to_arrays(scan: Scan) -> dict[str, NDArray[Any]]:
    """What PtychographyTask takes, y first, by its own names, of a scan with patterns, positions, probe and object."""
    scan = scan.in_pixels()  # so that the object's first pixel is (0, 0)
    assert scan.x is not None and scan.y is not None and scan.probe is not None and scan.object is not None
    arrays = {
        "diffraction_data": scan.intensity(),
        "probe_position_y_px": scan.y - np.rint(scan.object.shape[0] / 2),
        "probe_position_x_px": scan.x - np.rint(scan.object.shape[1] / 2),
        "probe_data": scan.probe.reshape(1, -1, *scan.probe.shape[-2:]),
        "object_data": scan.object[np.newaxis],
    }
    return arrays if scan.mask is None else {**arrays, "valid_pixel_mask": scan.mask}


def _ptychi(*words: str) -> str:
    """What the Python named by the environment variable PTYCHI_PYTHON, or else this one, prints."""
    python = os.environ.get("PTYCHI_PYTHON", sys.executable)
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}  # a notebook's own, unknown elsewhere
    try:
        done = subprocess.run([python, *words], env=environment, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{python} {words[0]} failed: {getattr(error, 'stderr', None) or error}"[-2000:]) from error
    return done.stdout
