"""The study that `make nbval` has executed again, held to the committed one: numbers with tolerances, not as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptycho.config import PARTS

ROOT = Path(__file__).parents[2]
TOLERANCES = {
    "amplitude_frc50": {"abs": 0.03},
    "phase_frc50": {"abs": 0.03},
    "amplitude_psnr_db": {"abs": 0.06},
    "amplitude_ssim": {"abs": 0.02},
    "amplitude_pearson": {"abs": 0.02},
    "phase_pearson": {"abs": 0.02},
    "relative_mse": {"rel": 0.1},
    "photon_bound": {"rel": 0.01},
    "deviance": {"rel": 0.012},
}
"""How far apart two processors may be: three times what was seen of PSNR and deviance, 0.02 dB and 0.4 %."""


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
        for key, tolerance in TOLERANCES.items():
            assert again[part][key] == pytest.approx(committed[part][key], **tolerance), f"{name}, {part}: {key}"
