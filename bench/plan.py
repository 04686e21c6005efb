"""What is measured: the calls of :func:`bench.process.measure`, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

COLUMNS = (
    *("device", "cores", "task", "architecture", "N", "gridsize", "batch", "patterns_per_s", "groups_per_s"),
    *("gflops", "peak_gflops", "share_of_peak", "transform_us", "transforms_alone_per_s", "first_call_s"),
)
"""Of the throughput's rows, those to be read."""
DIRECT_BATCH = 50
"""Patterns a step of ``direct``, its default."""
PASSES = 12


def throughput(
    sizes: Sequence[int],
    gridsizes: Sequence[int],
    cores: int,
    devices: Sequence[str],
    batch: int,
    more_batches: Sequence[int],
    seconds: float,
) -> Iterator[dict[str, Any]]:
    """Every size with every gridsize on all cores and on each device; gridsize 2 alone on one core of the processor.

    More batches, and the reference ``cnn``, at the smallest size with gridsize 2.
    """
    places = [(device, cores) for device in devices] + ([("cpu", 1)] if cores > 1 else [])
    for device, used in places:
        at = {"cores": used, "device": device}
        for N in sizes:
            for gridsize in gridsizes if used == cores else sorted({*gridsizes} & {2}) or gridsizes[:1]:
                usual = (N, gridsize, used) == (min(sizes), 2, cores)
                batches = sorted({batch, *(more_batches if usual else [])})
                task = {"task": "throughput.networks", "N": N, "gridsize": gridsize, "seconds": seconds, **at}
                yield task | {"batch_sizes": batches, "architecture": "unrolled"}
                if usual:
                    yield task | {"batch_sizes": [batch], "architecture": "cnn"}
            yield {"task": "throughput.direct_fit", "N": N, "batch_size": DIRECT_BATCH, "passes": PASSES, **at}


def quality(
    path: str,
    budgets: Mapping[str, Sequence[int]],
    seeds: Iterable[int],
    cores: int,
    devices: Sequence[str],
    ptychi: bool,
) -> Iterator[dict[str, Any]]:
    """Every method for each seed, on the last of ``devices``; methods take turns, so that a slow spell hits all."""
    for seed in seeds:
        for method, budget in budgets.items():
            common = {"path": path, "budgets": budget, "seed": seed, "cores": cores, "device": devices[-1]}
            if method in ("unrolled", "cnn"):
                yield {"task": "quality.network", "architecture": method, **common}
            elif method == "direct":
                yield {"task": "quality.direct", **common}
            elif ptychi:
                yield {"task": "quality.ptychi", "engine": method, **common}
