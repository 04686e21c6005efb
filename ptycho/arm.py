"""What an arm leaves behind: its reconstructions, judged against the truth, as files that other notebooks read."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho import exposure, files
from ptycho.metrics import Evaluation, evaluate
from ptycho.rawdata import DataError, RawData
from ptycho.registration import Reconstruction

PARTS = ("train", "heldout", "direct")
"""The network on both splits, and on the training split the fit without a network; an arm may lack either."""


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
    deviance, unseen = exposure.deviance(data, found, origin), None
    if data.guard is not None:
        unseen = exposure.deviance(data, found, origin, data.guard)
    return evaluate(reconstruction, truth(data), float(data.counts().sum()), deviance, unseen)


def entry(
    name: str,
    data: RawData,
    loss: str,
    seed: int,
    architecture: str | None,
    history: list[dict[str, float]],
    patterns: int,
    judged: Mapping[str, Evaluation],
) -> dict[str, Any]:
    """The arm's entry in ``metrics.json``.

    Parameters
    ----------
    architecture : str or None
        None for an arm without a network, whose history is empty.
    history : list of {epoch, loss, seconds}
        Of the training.
    patterns : int
        Patterns seen in one epoch.
    judged : mapping of ``PARTS`` to Evaluation
        Those that the arm has; the others' entries are None.
    """
    seconds = sum(row["seconds"] for row in history) if architecture else None
    of_network = [judged[split] for split in ("train", "heldout") if split in judged]
    collapsed = any(one.collapsed for one in of_network or judged.values())
    return {
        "name": name,
        "nphotons": data.nphotons,
        "loss": loss,
        "seed": seed,
        "architecture": architecture,
        "status": "collapsed" if collapsed else "ok",
        "train_seconds": seconds,
        "patterns_per_second": patterns * len(history) / seconds if seconds else None,
        **{part: judged[part].as_dict() if part in judged else None for part in PARTS},
    }


def table(judged: Mapping[str, Evaluation]) -> str:
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


def curves(judged: Mapping[str, Evaluation]) -> dict[str, Any]:
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


def save_reconstructions(path: str | os.PathLike[str], parts: Mapping[str, Reconstruction]) -> None:
    """Write ``<part>_object``, ``<part>_coverage`` and ``<part>_origin_yx`` of each part, whole or not at all."""
    arrays: dict[str, Any] = {}
    for part, found in parts.items():
        arrays[f"{part}_object"] = np.asarray(found.object, np.complex64)
        arrays[f"{part}_coverage"] = np.asarray(found.coverage, np.float32)
        arrays[f"{part}_origin_yx"] = np.asarray(found.origin_yx, np.float64)
    with files.replacing(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_reconstructions(path: str | os.PathLike[str]) -> dict[str, Reconstruction]:
    """What :func:`save_reconstructions` wrote: the network's parts, the direct one, or all.

    Raises
    ------
    DataError
        The file cannot be read, or lacks a part.
    """
    fields = ("object", "coverage", "origin_yx")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = {name.partition("_")[0] for name in arrays}
            parts = [p for p in PARTS if p in names or (p != "direct" and names & {"train", "heldout"})]
            if not parts:
                raise KeyError(f"none of {', '.join(PARTS)} is in it")
            return {part: Reconstruction(*(arrays[f"{part}_{field}"] for field in fields)) for part in parts}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: not the reconstructions of an arm ({error})") from error
