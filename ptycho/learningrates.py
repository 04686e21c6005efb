"""The learning rate of each loss, chosen by a rule on a seed that no result is taken from, and how much hangs on it.

The rule: of the rates tried, that whose networks resolve most of an object they never saw, the held-out FRC50 averaged
over the doses; a collapsed arm resolves nothing, and of equal rates the smaller is taken. No loss is favoured by it:
each may have the rate that is best for it. The fit without a network sees one scan only, and is judged on that.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from ptycho import sweep
from ptycho.armtable import without_numbers
from ptycho.config import DIRECT, ConfigError, StudyConfig
from ptycho.drawing import COLOURS, dose_label, styled
from ptycho.files import read_json, write_if_changed


@dataclass(frozen=True)
class Trial:
    """One arm: what it was trained with, and the FRC50 it reached on both scans; 0 where it collapsed.

    ``heldout`` is None where there is no network.
    """

    loss: str
    nphotons: float
    learning_rate: float
    train: float
    heldout: float | None
    status: str

    @property
    def frc50(self) -> float:
        """By which the rule judges."""
        return self.train if self.heldout is None else self.heldout


def plan(out: str | os.PathLike[str], rates: Sequence[str], methods: Sequence[str], architecture: str) -> None:
    """Write `out`/rates.yaml, what the report of the learning rates is made with. Raises ConfigError.

    methods: the one whose rates are tried, the network called `architecture` or `direct`.
    """
    import yaml

    try:
        values = [float(rate) for rate in rates]
    except ValueError:
        values = []
    if not values or len(set(values)) < len(values):
        raise ConfigError(f"RATES={' '.join(rates)!r} is not accepted: distinct numbers > 0")
    if len(methods) != 1:
        raise ConfigError(f"METHODS={' '.join(methods)!r} is not accepted: one, {architecture} or {DIRECT}")
    for value in values:
        StudyConfig(learning_rate=value, architecture=architecture, methods=tuple(methods))
    path = Path(out) / "rates.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen = {"out": ".", "rates": list(rates), "method": methods[0]}
        write_if_changed(path, yaml.safe_dump(chosen, sort_keys=False))
    except OSError as error:
        raise ConfigError(f"OUT={str(out)!r} cannot be written ({error.strerror}); expected a folder") from error


def gather(out: str | os.PathLike[str], rates: Sequence[str]) -> list[Trial]:
    """The arms of the sweeps in the folders of `out` that are called by their learning rates, `rates`.

    Raises ValueError for a sweep that is missing, or whose arms were not all trained: a rule needs them all.
    """
    trials = []
    for rate in rates:
        path = Path(out) / rate / sweep.ARMS
        for arm in read_json(path)["arms"]:
            if without_numbers(arm):
                raise ValueError(f"{path}: {arm['name']} is {arm['status']}; expected every arm trained")
            own = "train" if arm["architecture"] else DIRECT
            frc50 = {part: judged["amplitude_frc50"] or 0.0 for part in (own, "heldout") if (judged := arm[part])}
            trials.append(
                Trial(arm["loss"], arm["nphotons"], float(rate), frc50[own], frc50.get("heldout"), arm["status"])
            )
    return trials


def mean_frc50(trials: Sequence[Trial]) -> dict[str, dict[float, float]]:
    """For each loss and learning rate the FRC50, held-out where there is a network, averaged over the doses."""
    means: dict[str, dict[float, float]] = {}
    for loss in dict.fromkeys(trial.loss for trial in trials):
        for rate in sorted({trial.learning_rate for trial in trials}):
            found = [trial.frc50 for trial in trials if (trial.loss, trial.learning_rate) == (loss, rate)]
            means.setdefault(loss, {})[rate] = sum(found) / len(found)
    return means


def choose(trials: Sequence[Trial]) -> dict[str, float]:
    """The learning rate of each loss, by the rule."""
    return {loss: max(means, key=lambda rate: (means[rate], -rate)) for loss, means in mean_frc50(trials).items()}


def table(trials: Sequence[Trial]) -> str:
    """The FRC50 that the rule judges: a line a loss and dose and one for the mean, a column a learning rate; text."""
    rates = sorted({trial.learning_rate for trial in trials})
    lines = [f"{'loss':5s} {'photons per pattern':>19s} " + " ".join(f"{rate:>9.3g}" for rate in rates)]
    chosen, means = choose(trials), mean_frc50(trials)
    for loss in means:
        for nphotons in dict.fromkeys(trial.nphotons for trial in trials):
            found = {t.learning_rate: t for t in trials if (t.loss, t.nphotons) == (loss, nphotons)}
            words = [f"{t.frc50:.3f}" if t.status == "ok" else t.status for t in map(found.get, rates) if t]
            lines.append(f"{loss:5s} {nphotons:19.3g} " + " ".join(f"{word:>9s}" for word in words))
        told = [f"{means[loss][rate]:.3f}{'*' if rate == chosen[loss] else ''}" for rate in rates]
        lines.append(f"{loss:5s} {'mean':>19s} " + " ".join(f"{word:>9s}" for word in told))
    return "\n".join(lines)


@styled
def figure(trials: Sequence[Trial]) -> Figure:
    """The FRC50 that the rule judges against the learning rate: a panel a dose, a colour a loss, a ring a choice."""
    doses = sorted({trial.nphotons for trial in trials})
    rates = sorted({trial.learning_rate for trial in trials})
    chosen = choose(trials)
    drawn = Figure(figsize=(3.1 * len(doses) + 1.2, 2.8), layout="constrained")
    axes = drawn.subplots(1, len(doses), squeeze=False, sharey=True)[0]
    for cell, nphotons in zip(axes, doses, strict=True):
        cell.set_title(f"{dose_label(nphotons)} photons per pattern")
        for colour, loss in zip(COLOURS, chosen, strict=False):
            found = sorted((t.learning_rate, t.frc50) for t in trials if (t.loss, t.nphotons) == (loss, nphotons))
            cell.plot(*zip(*found, strict=True), "o-", color=colour, markersize=3, linewidth=1.2, label=loss)
            cell.plot(chosen[loss], dict(found)[chosen[loss]], "o", color=colour, markersize=9, fillstyle="none")
        cell.set(xscale="log", xlabel="learning rate", ylim=(-0.03, 1.03))
        cell.set_xticks(rates, [f"{rate:g}" for rate in rates])
        cell.minorticks_off()
    split = "" if trials[0].heldout is None else "held-out "
    axes[0].set_ylabel(f"{split}FRC50 (fraction of Nyquist)")
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="loss\n(ring: chosen)")
    return drawn
