"""One measurement in a process of its own: on so many cores, on a device, with nothing compiled or cached before.

``measure`` starts ``python -m bench.process``, which narrows itself to its cores before TensorFlow is imported, calls
the function named and prints the rows it returns.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ptycho.cores import THREADS, usable_cores
from ptycho.run.environment import xla_flags

T, R = TypeVar("T"), TypeVar("R")
Row = dict[str, Any]
STATUS = Path("/proc/self/status")


def measure(task: str, cores: int, device: str = "cpu", **parameters: Any) -> list[Row]:
    """The rows that ``bench.<module>.<function>(**parameters)`` returns, ``task`` being 'module.function'.

    Parameters
    ----------
    cores : int
        The processor cores that the process may use, and the threads it computes with.
    device : {'cpu', 'gpu'}

    Raises
    ------
    RuntimeError
        The process failed; the message ends with the last it said.
    """
    # what the runner keeps of earlier compilations would hide what one takes
    flags = [word for word in os.environ.get("TF_XLA_FLAGS", "").split() if "persistent_cache" not in word]
    environment = {**os.environ, "TF_XLA_FLAGS": " ".join(flags), **dict.fromkeys(THREADS, str(cores))}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3"} | ({"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {})
    command = [sys.executable, "-m", "bench.process", task, str(cores), json.dumps(parameters)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{task}({parameters}) on {cores} cores failed:\n{done.stderr[-2000:]}")
    rows = json.loads(done.stdout.splitlines()[-1])
    return [{"device": device, "cores": cores, **row} for row in rows]


def side_by_side(task: Callable[[T], R], cases: Iterable[T], each: int) -> Iterator[R]:
    """``task`` of each case in order, as many at a time as there are cores, each in a process on one core.

    A process ends after ``each`` cases: TensorFlow keeps what it compiled for as long as a process lives. What the
    runner of notebooks compiled before is found in its cache.
    """
    os.environ |= {**dict.fromkeys(THREADS, "1"), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    os.environ["TF_XLA_FLAGS"] = xla_flags()
    with get_context("spawn").Pool(usable_cores(), maxtasksperchild=each) as pool:
        yield from pool.imap(task, cases)


def devices() -> list[str]:
    """The kinds of device that TensorFlow finds here, asked in a process that ends again."""
    code = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ["cpu", "gpu"] if int(done.stdout) else ["cpu"]


def timed(call: Callable[[], Any], seconds: float, least: int = 5) -> list[float]:
    """The duration of each call, in seconds; ``least`` calls, and as many more as ``seconds`` allow."""
    durations: list[float] = []
    while len(durations) < least or sum(durations) < seconds:
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)
    return durations


def peak_gflops(seconds: float = 0.5) -> float:
    """What the machine reaches here at best: GFLOP/s, 2 n^3 a product, of the fastest large float32 matrix product."""
    import tensorflow as tf

    n = 8192 if tf.config.list_physical_devices("GPU") else 2048
    A = tf.random.stateless_normal((n, n), seed=(0, 0))
    return 2e-9 * n**3 / min(timed(lambda: tf.matmul(A, A)[0, 0].numpy(), seconds))


def transform_us(N: int, seconds: float = 0.3) -> float:
    """Microseconds of one complex N x N Fourier transform as the forward model runs it: by XLA, 32 at a time, one core.

    Eight follow one another in a call: what a call costs, and memory that is new to it, which doubles the time of one,
    are not the transform's. On a GPU, which takes them all at once, it is the time of 32 over 32.
    """
    import tensorflow as tf

    def transforms(fields: tf.Tensor) -> tf.Tensor:
        for _ in range(8):
            fields = tf.signal.fft2d(fields)
        return fields

    fields = tf.complex(*(tf.random.stateless_normal((32, N, N), seed=(0, k)) for k in range(2)))
    compiled = tf.function(transforms, jit_compile=True, autograph=False)
    compiled(fields)
    return 1e6 / 32 / 8 * float(np.median(timed(lambda: compiled(fields)[0, 0, 0].numpy(), seconds)))


def memory(kind: str) -> float:
    """Megabytes this process has now: 'RssAnon', its own; 'RssFile', pages of files, which the system takes back.

    Not a number where the system keeps no such account (it is Linux').
    """
    if not STATUS.exists():
        return float("nan")
    return int(STATUS.read_text().split(f"{kind}:")[1].split()[0]) / 1024


@contextmanager
def peak_memory(every: float = 0.02) -> Iterator[dict[str, float]]:
    """Fills the dictionary it gives with the largest ``memory`` of each kind while the block runs."""
    peak = {kind: memory(kind) for kind in ("RssAnon", "RssFile")}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            for kind in peak:
                peak[kind] = max(peak[kind], memory(kind))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def main(task: str, cores: str, parameters: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    module, function = task.rsplit(".", 1)
    rows = getattr(importlib.import_module(f"bench.{module}"), function)(**json.loads(parameters))
    print(json.dumps(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
