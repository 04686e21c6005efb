"""Time to quality: every method on the same photons, a fit for each budget, judged against the truth.

Seconds are those of a user who has the scan in memory: building, compiling, fitting and stitching; not the import of
libraries, and not the judgement.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import ptychi_engines as peer
from bench.process import Row
from ptycho.judge.parts import judge
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

LOSS = "nll"


def network(path: str, architecture: str, budgets: Sequence[int], seed: int) -> list[Row]:
    """The network trained for each of ``budgets`` epochs, and its reconstruction of the scan it was trained on."""
    import keras

    from ptycho.config import LEARNING_RATES
    from ptycho.reconstruct import groups, stitching, training
    from ptycho.reconstruct.networks import model

    data = RawData.load(path)
    rows = []
    for epochs in budgets:
        started = time.perf_counter()
        grouped = {"train": groups.make_groups(data, 2, seed=seed)}
        rate = LEARNING_RATES[architecture][LOSS]
        config = training.configure(grouped, architecture, LOSS, nepochs=epochs, learning_rate=rate, seed=seed)
        keras.utils.set_random_seed(seed)
        autoencoder, diffraction_to_obj = model.build(config.model, data.probeGuess)
        with tempfile.TemporaryDirectory() as folder:
            training.fit(autoencoder, grouped["train"], config, Path(folder))
        found = stitching.reconstruct(diffraction_to_obj, grouped)["train"]
        rows.append(_row(architecture, epochs, seed, time.perf_counter() - started, found, data))
    return rows


def direct(path: str, budgets: Sequence[int], seed: int) -> list[Row]:
    """Maximum likelihood on the object's pixels, for each of ``budgets`` passes."""
    from ptycho.reconstruct import direct

    data = RawData.load(path)
    rows = []
    for passes in budgets:
        started = time.perf_counter()
        found = direct.fit(data, LOSS, passes=passes, seed=seed).reconstruction
        rows.append(_row("direct", passes, seed, time.perf_counter() - started, found, data))
    return rows


def ptychi(path: str, engine: str, budgets: Sequence[int], seed: int) -> list[Row]:
    """pty-chi's ``engine``, one of :data:`bench.ptychi_engines.ENGINES`, from empty space with the true probe.

    Its steps do not depend on how many are to come: one fit is looked at after each of ``budgets`` epochs.
    """
    data = RawData.load(path)
    fits = peer.fit(data, engine, budgets, seed)
    return [
        _row(f"pty-chi {engine}", epochs, seed, seconds, found, data)
        for epochs, (seconds, found) in zip(budgets, fits, strict=True)
    ]


def _row(method: str, budget: int, seed: int, seconds: float, found: Reconstruction, data: RawData) -> Row:
    judged = judge(found, data)
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
