"""The processor's cores: how many there are, and how a batch is spread over them.

XLA compiles a step for one core: on two, the same step takes as long. Compiled calls that do not depend on one another
do run side by side, so a batch is cut and every part is given to the same compiled function. A graphics processor takes
the batch as a whole: there the parts would follow one another, each too small to fill it.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import tensorflow as tf


T = TypeVar("T")
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
"""Environment variables that bound the threads of a process; the runner sets them for each notebook."""


def usable_cores() -> int:
    """The processor cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor(*fields: str) -> str:
    """The first line of /proc/cpuinfo that starts with one of `fields`; elsewhere, what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.startswith(fields)), platform.processor())


def threads() -> int:
    """The threads that this process computes with: those it was given, else one a core."""
    given = os.environ.get(THREADS[0], "")
    return int(given) if given.isdigit() and int(given) else usable_cores()


class _QuietStart(MetaPathFinder):
    """Finds TensorFlow as usual, and has it loaded without the lines that its C++ then writes to descriptor 2."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _silent(spec.loader.exec_module)  # type: ignore[method-assign, assignment]
        return spec


def _silent(load: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def load_silently(module: ModuleType) -> None:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            load(module)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)

    return load_silently


def start_quietly() -> None:
    """Have TensorFlow write no lines of its C++ when it is imported, and later only those of its level 3.

    A level of TF_CPP_MIN_LOG_LEVEL that somebody chose stays. It is not imported here: that takes seconds.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules and not any(isinstance(finder, _QuietStart) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietStart())


def gpus() -> list[str]:
    """The graphics processors that TensorFlow computes on here, by the name of their model."""
    import tensorflow as tf

    found = tf.config.get_visible_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in found]


def parts_of(batch_size: int) -> int:
    """Into how many equal parts a batch is cut: one a thread, or as many fewer as divide it; on a GPU, into one."""
    if gpus():
        return 1
    return max(k for k in range(1, min(threads(), batch_size) + 1) if batch_size % k == 0)


def spread(function: Callable[..., T], xla: bool = True) -> Callable[..., list[T]]:
    """``function`` of tensors (B, ...), compiled, as one that gives a list: its value for each part of the batch.

    To be called within a graph: there, the parts do not wait for one another. Without ``xla`` there is one part, whose
    operations TensorFlow itself spreads over the cores. Tensors that are given as ``whole`` are not cut; every part
    gets them after its own.
    """
    import tensorflow as tf

    compiled = tf.function(function, jit_compile=xla, autograph=False)

    def in_parts(*batch: tf.Tensor, whole: tuple[tf.Tensor, ...] = ()) -> list[T]:
        parts = parts_of(batch[0].shape[0]) if xla else 1
        cut = zip(*(tf.split(tensor, parts) for tensor in batch), strict=True)
        return [compiled(*pieces, *whole) for pieces in cut]

    return in_parts
