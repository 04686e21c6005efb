"""The learning rate of each loss, chosen by a rule on seeds that no result is taken from, and how much hangs on it.

The rule: a rate is judged by how much its networks resolve of objects they never saw, the held-out FRC50 averaged over
doses and seeds, where a collapsed arm resolves nothing. A loss keeps the rate in use unless another that was tried
resolves more by over :data:`TOLERANCE`; then it takes the best. No loss is favoured by it: each has a rate that is as
good for it as any. The fit without a network sees one scan only, and is judged on that.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean

from ptycho.config import DIRECT
from ptycho.files import Table, read_json, text_table
from ptycho.findings.response import arm_table, spectra
from ptycho.study import layout

TOLERANCE = 0.01
"""Of Nyquist: about the width of a ring of these objects' spectrum, 1/128, which a seed's noise can move a rate by."""


@dataclass(frozen=True)
class Trial:
    """One arm: what it was trained with, and the FRC50 it reached on both scans; 0 where it collapsed. ``heldout`` is
    None where there is no network."""

    loss: str
    nphotons: float
    seed: int
    learning_rate: float
    train: float
    heldout: float | None
    status: str

    @property
    def frc50(self) -> float:
        """By which the rule judges."""
        return self.train if self.heldout is None else self.heldout


def read_trials(out: str | os.PathLike[str], rates: Sequence[str]) -> list[Trial]:
    """The arms of the sweeps in the folders of `out` that are called by their learning rates, `rates`. Their FRC50 is
    that of the contrast which the sweep's objects show. Raises ValueError for a sweep that is missing, or whose arms
    were not all trained: a rule needs them all."""
    trials = []
    for rate in rates:
        path = layout.made(out, f"{rate}/{layout.ARMS}", "`make rates`")
        entries = read_json(path)["arms"]
        for arm in entries:
            if arm_table.without_numbers(arm):
                raise ValueError(f"{path}: {arm['name']} is {arm['status']}; expected every arm trained")
        shown = f"{spectra.contrast_of(path.parent, entries)}_frc50"
        for arm in entries:
            own = "train" if arm["architecture"] else DIRECT
            frc50 = {part: judged[shown] or 0.0 for part in (own, "heldout") if (judged := arm[part])}
            trial = (arm["loss"], arm["nphotons"], arm["seed"], float(rate), frc50[own], frc50.get("heldout"))
            trials.append(Trial(*trial, arm["status"]))
    return trials


def mean_frc50(trials: Sequence[Trial]) -> dict[str, dict[float, float]]:
    """For each loss and learning rate the FRC50, held-out where there is a network, averaged over doses and seeds."""
    rates = sorted({trial.learning_rate for trial in trials})
    losses = dict.fromkeys(trial.loss for trial in trials)
    return {loss: {rate: fmean(t.frc50 for t in trials_of(trials, loss, rate)) for rate in rates} for loss in losses}


def trials_of(trials: Sequence[Trial], loss: str, rate: float, nphotons: float | None = None) -> list[Trial]:
    return [t for t in trials if (t.loss, t.learning_rate) == (loss, rate) and nphotons in (None, t.nphotons)]


def choose(trials: Sequence[Trial], used: Mapping[str, float]) -> dict[str, float]:
    """The learning rate of each loss by the rule, `used` being those in use; of equally good ones the smallest."""
    chosen = {}
    for loss, means in mean_frc50(trials).items():
        best = max(means, key=lambda rate: (means[rate], -rate))
        kept = means.get(used[loss], -inf) >= means[best] - TOLERANCE
        chosen[loss] = used[loss] if kept else best
    return chosen


def rates_table(trials: Sequence[Trial], chosen: Mapping[str, float]) -> Table:
    """The FRC50 that the rule judges, averaged over seeds, and how many of them collapsed, where any did. A line
    a loss and dose and one for the mean, where a star marks the rate `chosen`; a column a learning rate."""
    rates, rows = sorted({trial.learning_rate for trial in trials}), []
    for loss, means in mean_frc50(trials).items():
        for nphotons in dict.fromkeys(trial.nphotons for trial in trials):
            words = []
            for found in (trials_of(trials, loss, rate, nphotons) for rate in rates):
                collapsed = sum(trial.status == "collapsed" for trial in found)
                words.append(f"{fmean(t.frc50 for t in found):.3f}" + (f" ({collapsed})" if collapsed else ""))
            rows.append([loss, nphotons, *words])
        rows.append([loss, "mean", *(f"{means[rate]:.3f}{'*' if rate == chosen[loss] else ''}" for rate in rates)])
    columns = [("loss", "<5", ""), ("photons per pattern", ">19", ".3g")]
    return text_table(columns + [(f"{rate:.3g}", ">9", "") for rate in rates], rows)
