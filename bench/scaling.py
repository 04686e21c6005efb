"""Time and memory against the number of patterns, which stay in their file: nothing should grow but the time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from bench import samples, throughput
from bench.process import Row, peak_memory
from ptycho.config import ModelConfig, TrainingConfig
from ptycho.reconstruct import groups, stitching, training
from ptycho.reconstruct.networks import model


def stages(path: str, N: int, gridsize: int, patterns: int) -> list[Row]:
    """Rows of opening and grouping, of training for an epoch, and of inference on as many groups, before stitching.

    Training and inference compile: some seconds that do not depend on the number of patterns.
    """
    rows = []

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        started = time.perf_counter()
        with peak_memory() as peak:
            yield
        seconds, own, mapped = time.perf_counter() - started, peak["RssAnon"], peak["RssFile"]
        scan = 4e-6 * patterns * N**2
        found = {"seconds": seconds, "own_mb": own, "mapped_mb": mapped, "scan_mb": scan}
        rows.append({"stage": name, "patterns": patterns, **found})

    with stage("open and group"):
        grouped = groups.make_groups(samples.mosaic(path, N, patterns), gridsize)
    with stage("train"), tempfile.TemporaryDirectory() as folder:
        keras.utils.set_random_seed(1)
        network = ModelConfig(N=N, gridsize=gridsize, max_offset=grouped.max_offset)
        config = TrainingConfig(model=network, nepochs=1, batch_size=training.batch_size(grouped))
        autoencoder, _ = model.build(network, grouped.data.probeGuess)
        training.fit(autoencoder, grouped, config, Path(folder))
    with stage("infer"):
        estimate, _ = throughput.inference(grouped, network)
        chosen = np.arange(0, len(grouped), gridsize**2)
        for batch in np.resize(chosen, (-(-len(chosen) // stitching.BATCH), stitching.BATCH)):
            estimate(batch)
    return rows
