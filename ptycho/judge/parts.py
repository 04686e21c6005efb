"""The parts of an arm, its network's reconstructions and the fit without one, judged against the truth."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.config import PARTS
from ptycho.errors import DataError
from ptycho.files import Table, text_table
from ptycho.judge.metrics import Evaluation, evaluate
from ptycho.scans.dose import both_deviances, photons_of
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
    """:func:`judge` for each part in `found`, of PARTS, against the scan it is of.
    trained_probe: what the network made of the scans' probe, (N, N) or (L, N, N); its parts predict counts with it."""
    judges = {part: scans[split] for part, split in PARTS.items() if part in found}
    if trained_probe is not None:
        judges |= {split: replace(scans[split], probeGuess=trained_probe) for split in judges.keys() & scans.keys()}
    return {part: judge(reconstruction, judges[part]) for part, reconstruction in found.items()}


def judge(reconstruction: Reconstruction, data: RawData) -> Evaluation:
    """The reconstruction against the scan's ``objectGuess``, and its deviance against the scan's counts: on the pixels
    that fits see, and where the scan has a ``guard`` on those held out, too."""
    deviances = both_deviances(data, reconstruction.object, reconstruction.origin_yx)
    return judge_object(reconstruction, data, *deviances)


def judge_object(reconstruction: Reconstruction, data: RawData, *deviances: float | None) -> Evaluation:
    """The reconstruction against the scan's ``objectGuess``; the deviances are passed on."""
    return evaluate(reconstruction, truth(data), photons_of(data), *deviances)


def parts_table(judged: Mapping[str, Evaluation]) -> Table:
    """The numbers of an arm's parts, a line each under a heading; ``-`` for what does not exist."""
    columns = {
        "amplitude_frc50": ("FRC50 amp.", ">10", ".2f"),
        "phase_frc50": ("FRC50 phase", ">11", ".2f"),
        "amplitude_psnr_db": ("PSNR dB", ">8", ".2f"),
        "amplitude_pearson": ("r", ">6", ".2f"),
        "relative_mse": ("rel. MSE", ">9", ".2g"),
        "amplitude_level": ("level", ">6", ".3f"),
        "deviance": ("deviance", ">9", ".2f"),
        "deviance_heldout_pixels": ("unseen", ">9", ".2f"),
    }
    rows = [
        [part, *map(one.as_dict().get, columns), " collapsed" if one.collapsed else " ok"]
        for part, one in judged.items()
    ]
    return text_table([("part", "<14", ""), *columns.values(), (" status", "", "")], rows)


def frc_record(judged: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The arm's ``frc.json``: the contrast of its object, and of each part the whole Fourier ring correlations.
    {contrast: amplitude or phase, parts: {part: {frequency: fractions of Nyquist, complex, amplitude, phase}}}, in five
    decimals; None of a contrast that the object lacks."""

    def rounded(values: NDArray[np.floating]) -> list[float]:
        return [round(float(value), 5) for value in values]

    parts: dict[str, Any] = {}
    for part, one in judged.items():
        frcs = {"complex": one.complex_frc, "amplitude": one.amplitude_frc, "phase": one.phase_frc}
        parts[part] = {"frequency": rounded(one.complex_frc.frequency)}
        parts[part] |= {name: frc and rounded(frc.correlation) for name, frc in frcs.items()}
    return {"contrast": next(iter(judged.values())).contrast, "parts": parts}
