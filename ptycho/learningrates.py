"""The learning rate of each loss, chosen by a rule on seeds that no result is taken from, and how much hangs on it.

The rule: a rate is judged by how much its networks resolve of objects they never saw, the held-out FRC50 averaged over
doses and seeds, where a collapsed arm resolves nothing. A loss keeps the rate in use unless another that was tried
resolves more by over :data:`TOLERANCE`; then it takes the best. No loss is favoured by it: each has a rate that is as
good for it as any. The fit without a network sees one scan only, and is judged on that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from ptycho import frcresponse, sweep
from ptycho.armtable import without_numbers
from ptycho.config import DIRECT, ConfigError, StudyConfig
from ptycho.drawing import COLOURS, dose_label, styled
from ptycho.files import read_json, write_if_changed

TOLERANCE = 0.01
"""Of Nyquist: about the width of a ring of these objects' spectrum, 1/128, which a seed's noise can move a rate by."""


@dataclass(frozen=True)
class Trial:
    """One arm: what it was trained with, and the FRC50 it reached on both scans; 0 where it collapsed.

    ``heldout`` is None where there is no network.
    """

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


def plan(out: str | os.PathLike[str], rates: Sequence[str], config: StudyConfig) -> None:
    """Write `out`/rates.yaml, what the report of the learning rates is made with. Raises ConfigError.

    config: of the studies; its one method is the one whose rates are tried, a network or `direct`.
    """
    import yaml

    try:
        values = [float(rate) for rate in rates]
    except ValueError:
        values = []
    if not values or len(set(values)) < len(values):
        raise ConfigError(f"RATES={' '.join(rates)!r} is not accepted: distinct numbers > 0")
    if len(config.methods) != 1:
        accepted = f"one, {config.architecture} or {DIRECT}"
        raise ConfigError(f"METHODS={' '.join(config.methods)!r} is not accepted: {accepted}")
    for value in values:
        replace(config, learning_rate=value)
    (method,) = config.methods
    used = {loss: config.learning_rates(loss)[method] for loss in config.losses}
    path = Path(out) / "rates.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_if_changed(path, yaml.safe_dump({"out": ".", "rates": list(rates), "used": used}, sort_keys=False))
    except OSError as error:
        raise ConfigError(f"OUT={str(out)!r} cannot be written ({error.strerror}); expected a folder") from error


def gather(out: str | os.PathLike[str], rates: Sequence[str]) -> list[Trial]:
    """The arms of the sweeps in the folders of `out` that are called by their learning rates, `rates`.

    Their FRC50 is that of the contrast which the sweep's objects show.

    Raises ValueError for a sweep that is missing, or whose arms were not all trained: a rule needs them all.
    """
    trials = []
    for rate in rates:
        path = Path(out) / rate / sweep.ARMS
        entries = read_json(path)["arms"]
        for arm in entries:
            if without_numbers(arm):
                raise ValueError(f"{path}: {arm['name']} is {arm['status']}; expected every arm trained")
        shown = f"{frcresponse.gather(path.parent, entries).contrast}_frc50"
        for arm in entries:
            own = "train" if arm["architecture"] else DIRECT
            frc50 = {part: judged[shown] or 0.0 for part in (own, "heldout") if (judged := arm[part])}
            trials.append(
                Trial(
                    arm["loss"],
                    arm["nphotons"],
                    arm["seed"],
                    float(rate),
                    frc50[own],
                    frc50.get("heldout"),
                    arm["status"],
                )
            )
    return trials


def mean_frc50(trials: Sequence[Trial]) -> dict[str, dict[float, float]]:
    """For each loss and learning rate the FRC50, held-out where there is a network, averaged over doses and seeds."""
    means: dict[str, dict[float, float]] = {}
    for loss in dict.fromkeys(trial.loss for trial in trials):
        for rate in sorted({trial.learning_rate for trial in trials}):
            means.setdefault(loss, {})[rate] = fmean(t.frc50 for t in _of(trials, loss, rate))
    return means


def _of(trials: Sequence[Trial], loss: str, rate: float, nphotons: float | None = None) -> list[Trial]:
    return [t for t in trials if (t.loss, t.learning_rate) == (loss, rate) and nphotons in (None, t.nphotons)]


def choose(trials: Sequence[Trial], used: Mapping[str, float]) -> dict[str, float]:
    """The learning rate of each loss by the rule, `used` being those in use; of equally good ones the smallest."""
    chosen = {}
    for loss, means in mean_frc50(trials).items():
        best = max(means, key=lambda rate: (means[rate], -rate))
        kept = means.get(used[loss], -inf) >= means[best] - TOLERANCE
        chosen[loss] = used[loss] if kept else best
    return chosen


def table(trials: Sequence[Trial], chosen: Mapping[str, float]) -> str:
    """The FRC50 that the rule judges, averaged over seeds, and how many of them collapsed, where any did; text.

    A line a loss and dose and one for the mean, where a star marks the rate `chosen`; a column a learning rate.
    """
    rates = sorted({trial.learning_rate for trial in trials})
    lines = [f"{'loss':5s} {'photons per pattern':>19s} " + " ".join(f"{rate:>9.3g}" for rate in rates)]
    for loss, means in mean_frc50(trials).items():
        for nphotons in dict.fromkeys(trial.nphotons for trial in trials):
            words = []
            for found in (_of(trials, loss, rate, nphotons) for rate in rates):
                collapsed = sum(trial.status == "collapsed" for trial in found)
                words.append(f"{fmean(t.frc50 for t in found):.3f}" + (f" ({collapsed})" if collapsed else ""))
            lines.append(f"{loss:5s} {nphotons:19.3g} " + " ".join(f"{word:>9s}" for word in words))
        told = [f"{means[rate]:.3f}{'*' if rate == chosen[loss] else ''}" for rate in rates]
        lines.append(f"{loss:5s} {'mean':>19s} " + " ".join(f"{word:>9s}" for word in told))
    return "\n".join(lines)


@styled
def figure(trials: Sequence[Trial], chosen: Mapping[str, float]) -> Figure:
    """The FRC50 that the rule judges against the learning rate: a panel a dose, a colour a loss, a ring a choice.

    Small points are seeds, lines go through their means.
    """
    doses = sorted({trial.nphotons for trial in trials})
    rates = sorted({trial.learning_rate for trial in trials})
    drawn = Figure(figsize=(3.1 * len(doses) + 1.2, 2.8), layout="constrained")
    axes = drawn.subplots(1, len(doses), squeeze=False, sharey=True)[0]
    for cell, nphotons in zip(axes, doses, strict=True):
        cell.set_title(f"{dose_label(nphotons)} photons per pattern")
        for colour, loss in zip(COLOURS, chosen, strict=False):
            found = {rate: [t.frc50 for t in _of(trials, loss, rate, nphotons)] for rate in rates}
            means = {rate: fmean(frc50s) for rate, frc50s in found.items()}
            points = [(rate, frc50) for rate, frc50s in found.items() for frc50 in frc50s]
            cell.plot(*zip(*points, strict=True), ".", color=colour, markersize=3, alpha=0.6)
            cell.plot(rates, list(means.values()), "-", color=colour, linewidth=1.2, label=loss)
            cell.plot(chosen[loss], means[chosen[loss]], "o", color=colour, markersize=9, fillstyle="none")
        cell.set(xscale="log", xlabel="learning rate", ylim=(-0.03, 1.03))
        cell.set_xticks(rates, [f"{rate:g}" for rate in rates])
        cell.minorticks_off()
    split = "" if trials[0].heldout is None else "held-out "
    axes[0].set_ylabel(f"{split}FRC50 (fraction of Nyquist)")
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="loss\n(ring: chosen)")
    return drawn
