"""A training as it is watched: its loss curve in the notebook, and in the arm's ``progress.json``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from IPython import display as ipython

from ptycho import display, figures
from ptycho.progress import write_progress


class LiveCurve:
    """What :func:`ptycho.training.fit` tells after each epoch, drawn in the place where this was made.

    folder: the arm's, which exists.
    label: what the loss is, with its unit.
    """

    def __init__(self, folder: Path, label: str):
        self.folder, self.label = folder, label
        self.epochs: list[dict[str, Any]] = []
        self._output = ipython.display(display_id=True)

    def __call__(self, progress: dict[str, Any]) -> None:
        """Add an epoch; {epoch, loss, ...} as :func:`ptycho.training.fit` reports it, the loss a logarithm."""
        self.epochs.append(progress)
        write_progress(self.folder, stage="training", **progress)
        curve = {"epoch": [row["epoch"] - 1 for row in self.epochs]}
        curve["loss"] = [math.exp(row["loss"]) for row in self.epochs]
        self._output.update(display.show(figures.loss_curve(curve, self.label), alt="Training loss against epoch"))
