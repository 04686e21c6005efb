"""The study that `make nbval` has executed again, held to the committed one: numbers with tolerances, not as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptycho.config import PARTS

ROOT = Path(__file__).parents[2]
SPREAD = {
    # by what made the image, and the dose: FRC50, PSNR (dB), SSIM, r; relative: error, deviance
    ("network", "high"): (0.0033, 0.37, 0.0136, 0.0041, 0.089, 0.48),
    ("network", "low"): (0.063, 0.19, 0.0107, 0.0139, 0.033, 0.079),
    ("fit", "high"): (0.0108, 0.126, 0.0019, 0.0005, 0.030, 0.093),
    ("fit", "low"): (0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003),
}
"""How far apart the numbers of an arm were on four instruction sets of a processor: AVX-512, AVX2, AVX, SSE4.2. The steps
of an optimiser make the last digits of a sum into whole ones where photons are many, and of a short training at any
dose; a fit to few photons comes out the same to four digits everywhere, so that is where a change of the physics or of a
loss cannot hide. Twice as far is allowed."""


def tolerances(part: str, name: str) -> dict[str, dict[str, float]]:
    """{metric: tolerance, as pytest.approx takes it} for a part of an arm."""
    kind = "fit" if part.startswith("direct") else "network"
    frc50, psnr, ssim, r, error, deviance = (2 * seen for seen in SPREAD[kind, name.partition("_")[0]])
    return {
        **dict.fromkeys(("amplitude_frc50", "phase_frc50"), {"abs": frc50}),
        "amplitude_psnr_db": {"abs": psnr},
        "amplitude_ssim": {"abs": ssim},
        **dict.fromkeys(("amplitude_pearson", "phase_pearson"), {"abs": r}),
        "relative_mse": {"rel": error},
        "photon_bound": {"rel": 1e-6},
        "deviance": {"rel": deviance},
    }


def arms(folder: str) -> dict[str, dict]:
    return {arm["name"]: arm for arm in json.loads((ROOT / folder / "metrics.json").read_text())["arms"]}


@pytest.mark.regression
@pytest.mark.parametrize("name", arms("reports/regression"))
def test_an_arm_executed_again_has_the_metrics_of_the_committed_one(name: str) -> None:
    committed, again = arms("reports/regression")[name], arms("build/nbval")[name]
    for key in ("status", "nphotons", "loss", "seed", "architecture"):
        assert again[key] == committed[key]
    for part in PARTS:
        assert again[part].keys() == committed[part].keys()
        for key, tolerance in tolerances(part, name).items():
            assert again[part][key] == pytest.approx(committed[part][key], **tolerance), f"{name}, {part}: {key}"
