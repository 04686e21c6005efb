"""The arms of a study side by side: curves, the table, and a verdict in words that follows from the numbers."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.config import PARTS
from ptycho.cores import threads
from ptycho.files import Table, text_table
from ptycho.judge.frc import FRCCurve
from ptycho.judge.metrics import Evaluation
from ptycho.judge.parts import judge_object
from ptycho.scans import exposure
from ptycho.scans.exposure import OF_PHOTONS, Exposure
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import SPLITS, load_reconstructions
from ptycho.study import layout
from ptycho.study.arms import claimed, exposure_of, trusted
from ptycho.study.config import Arm
from ptycho.study.status import unclaimed

INDISTINCT = 0.02  # of Nyquist: FRC50 of one seed that differ by less are not told apart


@dataclass(frozen=True, eq=False)
class Compared:
    """An arm, the scan it was trained on, and its reconstructions of that scan judged against the truth."""

    arm: Arm
    scan: RawData
    network: Evaluation
    direct: Evaluation


@dataclass(frozen=True, eq=False)
class ReconstructionPanel:
    """One reconstruction of the dose comparison: the loss it was trained with and its judgement."""

    loss: str
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class DoseRow:
    """One dose: counts (N, N) of one diffraction pattern, photons per pattern, and a reconstruction for each loss."""

    nphotons: float
    counts: np.ndarray
    panels: tuple[ReconstructionPanel, ...]
    exposure: Exposure = OF_PHOTONS


def read_compared(out: Path, arms: Sequence[Arm]) -> dict[str, Compared]:
    """Read the training scan and the reconstructions of each arm, by its name, and judge them again, an arm a core.

    Of a measured scan, their resolution is no finer than the reference lets one claim, and none where it is doubtful.
    Raises DataError, naming the file, for one that is missing or breaks its schema.
    """
    with ThreadPoolExecutor(threads()) as pool:
        judged = pool.map(lambda arm: _read_compared(out, arm), arms)
        return {arm.name: one for arm, one in zip(arms, judged, strict=True)}


def _read_compared(out: Path, arm: Arm) -> Compared:
    scan = RawData.load(out / layout.scan_file(arm.dose, "train"))
    found = load_reconstructions(out / arm.name / layout.RECONSTRUCTION)
    judged = [judge_object(found[part], scan) for part in ("train", "direct")]
    if (out / layout.TRUST).exists():
        doubts, _, finest = trusted([out])
        judged = [_claimed(one, None if doubts else finest) for one in judged]
    return Compared(arm, scan, *judged)


def _claimed(judged: Evaluation, finest: float | None) -> Evaluation:
    def no_finer(value: float | None) -> float | None:
        return None if value is None or finest is None else min(value, finest)

    return replace(judged, amplitude_frc50=no_finer(judged.amplitude_frc50), phase_frc50=no_finer(judged.phase_frc50))


def contrast_of(compared: Mapping[str, Compared]) -> str:
    """``'amplitude'`` or ``'phase'``: what the study's object shows, and the study's resolution is of."""
    return next(iter(compared.values())).network.contrast


def frc_of_arms(compared: Mapping[str, Compared]) -> dict[str, dict[str, FRCCurve]]:
    """At each dose, in words, the FRC on the training scan by each loss, and of its direct reference."""
    name, found = f"{contrast_of(compared)}_frc", dict[str, dict[str, FRCCurve]]()
    for one in compared.values():
        nphotons = one.scan.nphotons
        dose = one.arm.dose if nphotons is None else exposure.of(one.scan).words(nphotons)
        at_dose = found.setdefault(dose, {})
        for label, judged in ((one.arm.loss, one.network), (f"{one.arm.loss}, direct", one.direct)):
            at_dose[label] = getattr(judged, name)
    return found


COLUMNS = {
    "amplitude_frc50": ("FRC50 amp.", ">10", ".2f"),
    "phase_frc50": ("FRC50 ph.", ">9", ".2f"),
    "amplitude_psnr_db": ("PSNR dB", ">8", ".1f"),
    "amplitude_ssim": ("SSIM", ">5", ".2f"),
    "amplitude_pearson": ("r", ">5", ".2f"),
    "relative_mse": ("rel. MSE", ">9", ".2g"),
    "amplitude_level": ("level", ">6", ".3f"),
    "photon_bound": ("bound", ">8", ".2g"),
    "deviance": ("deviance", ">9", ".2f"),
    "deviance_heldout_pixels": ("unseen", ">7", ".2f"),
}
"""Of the table: the numbers of a part, and how each is shown."""


def arms_table(metrics: Mapping[str, Any]) -> Table:
    """The arms' numbers, one line an arm and part; without a resolution where the reference is doubtful."""
    rows, shown, told = [], [*COLUMNS], exposure_of(metrics["arms"])
    found = claimed(metrics)
    if metrics.get("doubts"):
        shown = [name for name in COLUMNS if not name.endswith("frc50")]
    for arm, part in product(found, PARTS):
        if numbers := arm.get(part):
            status = arm["status"] if part in SPLITS else "no network"
            cells = [numbers.get(name) for name in shown]
            rows.append([arm["name"], part, told.dose(arm["nphotons"]), *cells, f" {status}"])
        else:
            rows.append([arm["name"], part, "", f"no numbers: {arm['status']}"])
    columns = [("arm", "<12", ""), ("part", "<14", ""), (told.short, ">8", ".3g"), *(COLUMNS[name] for name in shown)]
    columns.append((" status", "", ""))
    return text_table(columns, rows)


def comparison_in_words(metrics: Mapping[str, Any], contrast: str) -> list[str]:
    """Sentences that follow from the numbers: per dose and scan which loss resolves more, and what stays open. None of
    these where the reference is doubtful."""
    if doubtful := unclaimed(metrics.get("doubts", ())):
        return doubtful
    sentences, told = [], exposure_of(metrics["arms"])
    found = claimed(metrics)
    for nphotons in dict.fromkeys(arm["nphotons"] for arm in metrics["arms"]):
        members = [arm for arm in found if arm["nphotons"] == nphotons]
        for split, words in SPLITS.items():
            reached = {arm["loss"]: (arm.get(split) or {}).get(f"{contrast}_frc50") for arm in members}
            sentences.append(f"At {told.words(nphotons)}, {words}: {_ranking(reached, contrast)}")
    return [
        *sentences,
        *(f"The arm {arm['name']} {arm['status']}." for arm in metrics["arms"] if arm["status"] != "ok"),
        *_overfit(metrics["arms"]),
        "These are single trainings from one seed: they carry no interval, and two doses do not fix by what factor one "
        f"loss saves {told.particle} over another.",
        *metrics.get("resolution", {}).get("recommendation", ()),
    ]


def _overfit(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fit whose deviance is highest on unseen detector pixels over seen ones; nothing where none were held out."""
    found = [
        (numbers["deviance_heldout_pixels"] / numbers["deviance"], arm["name"], part)
        for arm, part in product(entries, PARTS)
        if (numbers := arm.get(part)) and numbers.get("deviance_heldout_pixels") is not None
    ]
    if not found:
        return []
    ratio, name, part = max(found)
    return [
        f"Detector pixels that no fit saw are predicted with at most {ratio:.2f} times the deviance of those that the "
        f"fits saw ({name}, {SPLITS.get(part, part)}); 1 is a fit that learned no noise."
    ]


def _ranking(reached: Mapping[str, float | None], contrast: str) -> str:
    found = {loss: value for loss, value in reached.items() if value is not None}
    lost = " and ".join(loss for loss in reached if loss not in found)
    gone = f" No resolution from {lost}: collapsed or failed." if lost else ""
    ranked = sorted(((value, loss) for loss, value in found.items()), reverse=True)
    if not ranked:
        return gone.strip()
    told = ""
    if len(ranked) > 1:
        (best, winner), (next_best, runner_up) = ranked[:2]
        told = f"; {winner} resolves finer than {runner_up}"
        told += f", {best / next_best:.2f} times" if next_best > 0 else ""
        if best - next_best < INDISTINCT:
            # in the study's own order: a list by rank would tell apart what is not
            ranked = [(value, loss) for loss, value in found.items()]
            told = f"; {' and '.join(loss for loss in found if loss in (winner, runner_up))} are not told apart"
    words = ", ".join(f"{loss} {value:.2f}" for value, loss in ranked)
    return f"{contrast} FRC50 is {words} of Nyquist{told}.{gone}"


def comparison_caption(metrics: Mapping[str, Any], contrast: str) -> str:
    """The six-panel figure in words, for those who cannot see it."""
    told = []
    for arm in claimed(metrics):
        reached = None if metrics.get("doubts") else (arm.get("train") or {}).get(f"{contrast}_frc50")
        told.append(f"{arm['name']}: " + ("no resolution" if reached is None else f"FRC50 {reached:.2f} of Nyquist"))
    return (
        f"One row a dose: a diffraction pattern in log counts and the reconstruction of each loss. {'; '.join(told)}."
    )


def dose_rows(compared: Mapping[str, Compared]) -> list[DoseRow]:
    """The rows of the comparison figure: each dose's brightest pattern and its arms, the likelihood last."""
    found = []
    for dose in dict.fromkeys(one.arm.dose for one in compared.values()):
        members = [one for one in compared.values() if one.arm.dose == dose]
        counts = members[0].scan.counts()
        photons = counts.sum(axis=(1, 2))
        members = sorted(members, key=lambda one: one.arm.loss == "nll")
        panels = tuple(ReconstructionPanel(one.arm.loss, one.network) for one in members)
        told = exposure.of(members[0].scan)
        found.append(DoseRow(float(photons.mean()), counts[photons.argmax()], panels, told))
    return found
