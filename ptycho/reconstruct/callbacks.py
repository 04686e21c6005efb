"""What a training leaves behind as it goes: its history, and the state it can go on from."""

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from ptycho import files
from ptycho.errors import Interrupted, TrainingError

Report = Callable[[dict[str, Any]], None]
COLUMNS = {"epoch": int, "loss": float, "seconds": float}  # of ``history.csv``


def require_finished(rows: Sequence[dict[str, float]], nepochs: int) -> None:
    """Raise TrainingError unless ``rows`` are the finite losses of ``nepochs`` epochs."""
    for row in rows:
        if not math.isfinite(row["loss"]):
            raise TrainingError(f"the loss of epoch {row['epoch']:.0f} is {row['loss']}; expected a finite number")
    if len(rows) != nepochs:
        raise TrainingError(f"the history holds {len(rows)} epochs of {nepochs}; training stopped early")


@contextmanager
def interruptible(words: Callable[[], str]) -> Iterator[None]:
    """An interrupt of what is done within raises Interrupted: a notebook then shows ``words()``, and no traceback."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"The training was stopped{words()}") from None


class History(keras.callbacks.Callback):
    """Keeps ``history.csv``, a row an epoch, after the ``rows`` of an interrupted training; prints a line for each.

    What a training did before its first epoch took ``spent`` seconds, which that epoch's row includes, as it does the
    first batch, with which everything is compiled. The report leaves both out of ``seconds_per_epoch``. It also hears
    when compiling begins and when it has ended.
    """

    def __init__(
        self,
        path: Path,
        rows: list[dict[str, float]],
        nepochs: int,
        patterns: int,
        report: Report,
        spent: float = 0.0,
    ):
        super().__init__()
        self.path, self.rows, self.nepochs, self.patterns, self.report = path, rows, nepochs, patterns, report
        self.spent = spent
        self._compiling: float | None = None  # seconds that it took, for the first epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._compiling = None
        self.report({"stage": "compiling", "epoch": len(self.rows), "nepochs": self.nepochs})

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._compiling is None:
            self._compiling = time.perf_counter() - self._started
            self.report({"stage": "training", "epoch": len(self.rows), "nepochs": self.nepochs})

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        took = time.perf_counter() - self._started
        seconds = took + (0.0 if self.rows else self.spent)
        lasting, self._compiling = took - (self._compiling or 0.0), 0.0
        self.rows.append({"epoch": epoch + 1, "loss": float((logs or {})["loss"]), "seconds": seconds})
        table = [COLUMNS, *(row.values() for row in self.rows)]
        files.write_text(self.path, "".join(",".join(map(str, line)) + "\n" for line in table))
        require_finished(self.rows, epoch + 1)
        loss, speed, left = self.rows[-1]["loss"], self.patterns / seconds, lasting * (self.nepochs - epoch - 1)
        told = f"epoch {epoch + 1}/{self.nepochs}  log loss {loss:.4f}  {speed:.0f} patterns/s  ETA {left:.0f} s"
        print(told, flush=True)
        progress = {"loss": loss, "seconds_per_epoch": lasting, "patterns_per_second": speed}
        self.report({"stage": "training", "epoch": epoch + 1, "nepochs": self.nepochs, **progress})


class Backup(keras.callbacks.Callback):
    """Keeps the state after the last whole epoch in one file, named by training and epoch and replaced at once.

    Keras' own ``BackupAndRestore`` writes weights and epoch to two files. A process killed in between goes on from the
    wrong weights, or not at all.
    """

    def __init__(self, folder: Path, training: str):
        super().__init__()
        self.folder, self.training = folder, training

    @property
    def epochs(self) -> int:
        """Epochs of this training that are kept; none is 0."""
        kept = self.folder.glob(f"{self.training}-*.weights.h5")
        return max((int(path.name.split("-")[1].split(".")[0]) for path in kept), default=0)

    def restore(self, model: keras.Model) -> None:
        """Bring weights and optimizer of ``model`` back to where they were."""
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self._path(self.epochs))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for other in self.folder.glob("*.weights.h5"):
            if not other.name.startswith(self.training):  # the history it goes with is about to be written over
                other.unlink()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        previous = self._path(self.epochs)
        with files.replacing(self._path(epoch + 1)) as partial:
            self.model.save_weights(partial)
        previous.unlink(missing_ok=True)

    def _path(self, epochs: int) -> Path:
        return self.folder / f"{self.training}-{epochs}.weights.h5"


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a ``history.csv``; none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return [{name: kind(row[name]) for name, kind in COLUMNS.items()} for row in csv.DictReader(file)]
