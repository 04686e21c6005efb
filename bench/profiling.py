"""Where the time goes: the operations that XLA runs, as TensorFlow's profiler times them, summed by kind."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from bench import samples, throughput
from bench.process import Row, timed
from ptycho.reconstruct import direct
from ptycho.scans.rawdata import RawData

KINDS = {
    "Fourier transforms": r"^i?fft",
    "convolutions": r"^(conv|matmul|dot)",
    "gather and scatter": r"gather|scatter",
}
"""By XLA's name of an operation; the products of matrices are gradients of the convolutions' kernels. The others are
fusions, named by some of what they hold: not to be told apart."""
ELEMENTWISE = "elementwise (arithmetic, copies, sums)"
OUTSIDE = "outside XLA (loading, dispatch, waiting)"


def table(N: int, gridsize: int, batch_size: int, calls: int) -> list[Row]:
    """Rows (task, kind, ms of one call, share of it) of a training step, a batch of inference and a pass of direct.

    On one core, where the operations follow one another, the shares add up to one.
    """
    groups, config = samples.grouped(N, gridsize)
    step, _ = throughput.training_step(groups, config, batch_size)
    estimate, _ = throughput.inference(groups, config)
    chosen = np.arange(batch_size)
    return [
        *_networks(f"training, {batch_size} groups", step, calls),
        *_networks(f"inference, {batch_size} groups", lambda: estimate(chosen), calls),
        *_direct(samples.scan(N, 500), calls),
    ]


def _networks(task: str, call: Callable[[], Any], calls: int) -> list[Row]:
    call()  # compiles
    call()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        total = sum(timed(call, 0, calls))
        tf.profiler.experimental.stop()
        return _rows(task, Path(folder), total, calls)


def _direct(data: RawData, calls: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        passes = throughput.Passes(lambda number: tf.profiler.experimental.start(folder) if number == 2 else None)
        direct.fit(data, "nll", passes=2 + calls, seed=passes)
        total = time.perf_counter() - passes.at[2]
        tf.profiler.experimental.stop()
        return _rows(f"direct, {len(data)} patterns", Path(folder), total, calls)


def _rows(task: str, folder: Path, total: float, calls: int) -> list[Row]:
    spent = Counter[str]()
    for name, seconds in _operations(folder):
        spent[_kind(name)] += seconds
    spent[OUTSIDE] = max(0.0, total - sum(spent.values()))
    return [
        {"task": task, "kind": kind, "ms": 1e3 * seconds / calls, "share": seconds / sum(spent.values())}
        for kind, seconds in spent.most_common()
    ]


def _kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE)), ELEMENTWISE)


def _operations(folder: Path) -> Iterator[tuple[str, float]]:
    """(name, seconds) of everything XLA ran."""
    for path in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace()
        space.ParseFromString(path.read_bytes())
        for plane in space.planes:
            marks = {number for number, stat in plane.stat_metadata.items() if stat.name == "hlo_op"}
            for line in plane.lines:
                for event in line.events:
                    if marks & {stat.metadata_id for stat in event.stats}:
                        yield plane.event_metadata[event.metadata_id].name, event.duration_ps * 1e-12
