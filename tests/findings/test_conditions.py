"""The comparison of losses under several conditions: what was planted is what is told."""

import json

import numpy as np
import pytest
import yaml
from standins import entry

from ptycho.figures import sweeps
from ptycho.findings import conditions
from ptycho.findings.conditions import Condition
from ptycho.findings.intervals import mean_interval, range_interval
from ptycho.findings.response.dose_response import Difference, dose_response_of

SEEDS = (1, 2, 3)


def arms(gain: float, nphotons: float = 1e3) -> list[dict]:
    """nll that resolves `gain` more than mae, give or take a thousandth from seed to seed."""
    made = []
    for seed in SEEDS:
        for loss, frc50 in (("nll", 0.5 + gain + 0.001 * seed), ("mae", 0.5)):
            one = entry(f"seed-{seed}/1e3_{loss}", nphotons=nphotons, loss=loss, seed=seed, direct=None)
            for split in ("train", "heldout"):
                one[split]["amplitude_frc50"] = frc50
            made.append(one)
    return made


@pytest.fixture(scope="module")
def found():
    gains = {"lines": 0.1, "grf": -0.002, "sparse": -0.2}
    return [Condition(name, name, dose_response_of(arms(gain))) for name, gain in gains.items()]


def test_the_verdict_tells_under_which_conditions_which_loss_resolves_finer(found):
    assert conditions.conditions_in_words(found) == [
        f"unrolled, {split}, nll and mae at 1e+03 photons per pattern: "
        "nll resolves finer: lines; not shown to differ: grf; mae resolves finer: sparse."
        for split in ("held-out scan", "training scan")
    ]


def test_the_figure_shows_the_numbers_of_its_rows(found):
    rows = conditions.condition_rows(found)
    assert len(rows) == 6
    lines = next(row for row in rows if (row["condition"], row["split"]) == ("lines", "train"))
    assert lines["difference"] == pytest.approx(0.102) and 0.09 < lines["low"] < 0.102 < lines["high"] < 0.11
    upper, _ = sweeps.differences(found, "mae").axes
    drawn = sorted(container[0].get_xdata()[0] for container in upper.containers)
    split = {"held-out scan": "heldout", "training scan": "train"}[upper.get_ylabel().split(",\n")[1]]
    assert drawn == sorted(row["difference"] for row in rows if row["split"] == split)
    assert [label.get_text() for label in upper.get_yticklabels()] == ["lines", "grf", "sparse"]
    with pytest.raises(ValueError, match="no condition compares a loss with 'mse'"):
        sweeps.differences(found, "mse")


def test_sweeps_are_read_from_their_folders(tmp_path):
    folder = tmp_path / "grf"
    for seed in SEEDS:
        for loss in ("nll", "mae"):
            arm = folder / f"seed-{seed}" / f"1e3_{loss}"
            arm.mkdir(parents=True)
            curve = {"frequency": [0.5, 1.0], "complex": [1.0, 0.5], "amplitude": [1.0, 0.5], "phase": [1.0, 0.5]}
            parts = {"train": curve, "heldout": curve}
            (arm / "frc.json").write_text(json.dumps({"contrast": "amplitude", "parts": parts}))
    made = {
        "object_kind": "grf",
        "object_size": None,
        "N": 64,
        "phase": 1.0,
        "illumination": "zone_plate",
        "n_train": 9,
    }
    (folder / "seed-1" / "simulate.yaml").write_text(yaml.safe_dump(made))
    plan = {"doses": ["1e3"], "losses": ["nll", "mae"], "seeds": list(SEEDS), "methods": ["unrolled"], "nepochs": 5}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plan))
    (folder / "arms.json").write_text(json.dumps({"schema": 1, "arms": arms(0.1)}))
    (one,) = conditions.read(tmp_path, ["grf"])
    assert one.words == "grf, 256 pixels, phase over 1 rad; zone plate probe; 9 positions, N=64"
    assert [found.differ for found in one.study.differences] == [True, True]
    (folder / "sweep.yaml").unlink()
    with pytest.raises(ValueError, match="there is no sweep in it"):
        conditions.read(tmp_path, ["grf"])


def test_a_claim_near_a_collapse_tells_its_level(found):
    """There the interval is the range of all seeds; three of them hold the median with 75 %."""

    def claim(apart):
        return Difference(("unrolled", "train"), 1e3, "nll", "mae", apart).claim("alike", "unknown")

    assert claim(mean_interval(np.array([0.2, 0.21, 0.22]))) == "nll resolves finer"
    apart = range_interval(np.array([0.1, 0.2, 0.4]))
    assert claim(apart) == "nll resolves finer in each of 3 seeds, near a collapse (at a level of 75%)"
    assert claim(range_interval(np.array([-0.1, 0.2, 0.4]))) == "alike"
    assert {row["level"] for row in conditions.condition_rows(found)} == {0.95}
