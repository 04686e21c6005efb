"""Time to quality: every method on the same photons, a fit for each budget, judged against the truth.

Seconds are those of a user who has the scan in memory: building, compiling, fitting and stitching; not the import of
libraries, and not the judgement.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import signal

from bench.process import Row
from ptycho import arm
from ptycho.formats import ptychi as arrays
from ptycho.formats.scan import Scan
from ptycho.rawdata import RawData
from ptycho.registration import Reconstruction

LOSS = "nll"
FITTER = Path(__file__).with_name("ptychi_fit.py")


def network(path: str, architecture: str, budgets: Sequence[int], seed: int) -> list[Row]:
    """The network trained for each of ``budgets`` epochs, and its reconstruction of the scan it was trained on."""
    import keras

    from ptycho import groups, model, stitching, training
    from ptycho.config import LEARNING_RATES, ModelConfig, TrainingConfig

    data = RawData.load(path)
    rows = []
    for epochs in budgets:
        started = time.perf_counter()
        grouped = groups.make_groups(data, 2, seed=seed)
        config = TrainingConfig(
            model=ModelConfig(N=data.N, architecture=architecture, max_offset=grouped.max_offset),
            nphotons=data.nphotons,
            loss=LOSS,
            nepochs=epochs,
            batch_size=training.batch_size(grouped),
            learning_rate=LEARNING_RATES[architecture][LOSS],
            seed=seed,
        )
        keras.utils.set_random_seed(seed)
        autoencoder, diffraction_to_obj = model.build(config.model, data.probeGuess)
        with tempfile.TemporaryDirectory() as folder:
            training.fit(autoencoder, grouped, config, Path(folder))
        found = stitching.reconstruct(diffraction_to_obj, {"train": grouped})["train"]
        rows.append(_row(architecture, epochs, seed, time.perf_counter() - started, found, data))
    return rows


def direct(path: str, budgets: Sequence[int], seed: int) -> list[Row]:
    """Maximum likelihood on the object's pixels, for each of ``budgets`` passes."""
    from ptycho import direct

    data = RawData.load(path)
    rows = []
    for passes in budgets:
        started = time.perf_counter()
        found = direct.fit(data, LOSS, passes=passes, seed=seed).reconstruction
        rows.append(_row("direct", passes, seed, time.perf_counter() - started, found, data))
    return rows


def ptychi_version() -> str | None:
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


def _ptychi(*words: str) -> str:
    """What the Python named by the environment variable PTYCHI_PYTHON, or else this one, prints."""
    python = os.environ.get("PTYCHI_PYTHON", sys.executable)
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}  # a notebook's own, unknown elsewhere
    try:
        done = subprocess.run([python, *words], env=environment, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{python} {words[0]} failed: {getattr(error, 'stderr', None) or error}"[-2000:]) from error
    return done.stdout


def ptychi(path: str, engine: str, budgets: Sequence[int], seed: int) -> list[Row]:
    """pty-chi's ``engine``, 'LSQML' or 'EPIE', from empty space with the true probe.

    Its steps do not depend on how many are to come: one fit is looked at after each of ``budgets`` epochs.
    """
    data = RawData.load(path)
    N, P = data.N, data.probeGuess
    corner = np.floor([data.ycoords.min(), data.xcoords.min()]) - N // 2 - 2
    y, x = data.ycoords - corner[0], data.xcoords - corner[1]
    H, W = (int(np.ceil(v.max())) + N // 2 + 3 for v in (y, x))
    scan = Scan(
        patterns=data.counts(),
        x=x,
        y=y,
        metres=False,
        probe=P * np.complex64(data.intensity_scale),  # whose unitary far field is the counts' square root
        object=np.ones((H, W), np.complex64),
        object_center=(H / 2, W / 2),
    )
    visits = np.zeros((H, W))
    np.add.at(visits, (np.rint(y).astype(int), np.rint(x).astype(int)), 1)
    light = np.pad(np.abs(P) ** 2, ((0, 1), (0, 1)))  # of odd side, so that index N//2 is its middle
    coverage = np.maximum(signal.fftconvolve(visits, light, mode="same"), 0).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder, "given.npz"), Path(folder, "taken.npz")
        np.savez(given, **arrays.to_arrays(scan))
        words = json.dumps({"engine": engine, "budgets": list(budgets), "seed": seed})
        _ptychi(str(FITTER), str(given), str(taken), words)
        with np.load(taken) as results:
            seconds, objects = results["seconds"], results["objects"]
    return [
        _row(f"pty-chi {engine}", epochs, seed, float(s), Reconstruction(O, coverage, corner), data)
        for epochs, s, O in zip(budgets, seconds, objects, strict=True)
    ]


def _row(method: str, budget: int, seed: int, seconds: float, found: Reconstruction, data: RawData) -> Row:
    judged = arm.judge(found, data)
    return {
        "method": method,
        "budget": budget,
        "seed": seed,
        "seconds": seconds,
        "frc50": 0.0 if judged.collapsed else judged.amplitude_frc50,
        "psnr_db": judged.amplitude_psnr_db,
        "pearson": judged.amplitude_pearson,
        "collapsed": judged.collapsed,
    }
