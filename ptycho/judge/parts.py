"""The parts of an arm, its network's reconstructions and the fit without one, judged against the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.judge.metrics import Evaluation, evaluate
from ptycho.scans.dose import deviance
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction


def truth(data: RawData) -> NDArray[np.complex64]:
    """The object that a scan's reconstructions are judged by. Raises DataError for a scan without one."""
    if data.objectGuess is None:
        raise DataError("objectGuess is missing; expected the object that reconstructions are compared with")
    return data.objectGuess


def judge_parts(
    found: Mapping[str, Reconstruction],
    scans: Mapping[str, RawData],
    trained_probe: NDArray[np.complex64] | None = None,
) -> dict[str, Evaluation]:
    """:func:`judge` for each part in `found`: a network's against the scan it is of, ``direct`` against ``train``.

    trained_probe: what the network made of the scans' probe, (N, N) or (L, N, N); its parts predict counts with it.
    """
    judges = dict(scans)
    if trained_probe is not None:
        judges = {split: replace(scan, probeGuess=trained_probe) for split, scan in scans.items()}
    judges["direct"] = scans["train"]
    return {part: judge(reconstruction, judges[part]) for part, reconstruction in found.items()}


def judge(reconstruction: Reconstruction, data: RawData) -> Evaluation:
    """The reconstruction against the scan's ``objectGuess``, and its deviance against the scan's counts.

    On the pixels that fits see, and where the scan has a ``guard`` on those held out, too.
    """
    found, origin = reconstruction.object, reconstruction.origin_yx
    seen, unseen = deviance(data, found, origin), None
    if data.guard is not None:
        unseen = deviance(data, found, origin, data.guard)
    return evaluate(reconstruction, truth(data), float(data.counts().sum()), seen, unseen)


def parts_table(judged: Mapping[str, Evaluation]) -> str:
    """The numbers of an arm's parts as text, a line each under a heading; ``-`` for what does not exist."""
    lines = [
        f"{'':8s} {'FRC50 amp.':>10s} {'FRC50 phase':>11s} {'PSNR dB':>8s} {'r':>6s} {'rel. MSE':>9s}"
        f" {'deviance':>9s} {'unseen':>9s}"
    ]
    for part, judgement in judged.items():
        numbers = judgement.as_dict()
        cells = [numbers[k] for k in ("amplitude_frc50", "phase_frc50", "amplitude_psnr_db", "amplitude_pearson")]
        cells.append(numbers.get("deviance_heldout_pixels"))
        amp, phs, psnr, r, unseen = ["-" if cell is None else f"{cell:.2f}" for cell in cells]
        word = "  collapsed" if judgement.collapsed else ""
        mse, deviance = numbers["relative_mse"], numbers["deviance"]
        lines.append(
            f"{part:8s} {amp:>10s} {phs:>11s} {psnr:>8s} {r:>6s} {mse:9.2g} {deviance:9.2f} {unseen:>9s}{word}"
        )
    return "\n".join(lines)


def frc_record(judged: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The arm's ``frc.json``: the contrast of its object, and of each part the whole Fourier ring correlations.

    {contrast: amplitude or phase, parts: {part: {frequency: fractions of Nyquist, complex, amplitude, phase:
    correlations}}}, in five decimals; None of a contrast that the object lacks.
    """

    def rounded(values: NDArray[np.floating]) -> list[float]:
        return [round(float(value), 5) for value in values]

    parts: dict[str, Any] = {}
    for part, one in judged.items():
        frcs = {"complex": one.complex_frc, "amplitude": one.amplitude_frc, "phase": one.phase_frc}
        parts[part] = {"frequency": rounded(one.complex_frc.frequency)}
        parts[part] |= {name: frc and rounded(frc.correlation) for name, frc in frcs.items()}
    return {"contrast": next(iter(judged.values())).contrast, "parts": parts}
