"""The choice of learning rates: the rule on made-up arms, and the one that the project trains with."""

import ast
import json

import numpy as np
import pytest
import readme
from hypothesis import given
from hypothesis import strategies as st
from standins import ROOT, entry

from ptycho.config import DENOISER, DIRECT, LEARNING_RATES, LOSSES, PHASE_LEARNING_RATES
from ptycho.errors import ConfigError
from ptycho.figures import sweeps
from ptycho.findings import learning_rates
from ptycho.findings.learning_rates import Trial
from ptycho.study.campaigns import ask
from ptycho.study.config import StudyConfig


def trials(**heldout: dict[float, list[float]]) -> list[Trial]:
    """{loss: {rate: held-out FRC50 at two doses, of one seed or of several after one another}}."""
    return [
        Trial(loss, (1e4, 1e9)[k % 2], k // 2, rate, 0.9, value, "ok" if value else "collapsed")
        for loss, by_rate in heldout.items()
        for rate, values in by_rate.items()
        for k, value in enumerate(values)
    ]


FOUND = trials(
    nll={1e-3: [0.2, 0.8, 0.3, 0.7], 4e-3: [0.4, 0.7, 0.5, 0.6]},
    mae={1e-3: [0.3, 0.6, 0.3, 0.6], 4e-3: [0.0, 0.8, 0.2, 0.7]},
)


def test_a_loss_keeps_its_rate_unless_another_resolves_more_of_what_was_never_seen():
    assert learning_rates.mean_frc50(FOUND)["mae"] == {1e-3: pytest.approx(0.45), 4e-3: pytest.approx(0.425)}
    for used in (1e-3, 4e-3, 9.0):  # the last was not tried
        assert learning_rates.choose(FOUND, {"nll": used, "mae": used}) == {"nll": 4e-3, "mae": 1e-3}
    near = trials(nll={1e-3: [0.4, 0.6], 4e-3: [0.41, 0.6]})
    assert learning_rates.choose(near, {"nll": 1e-3}) == {"nll": 1e-3}
    assert learning_rates.choose(near, {"nll": 4e-3}) == {"nll": 4e-3}
    assert learning_rates.choose(trials(nll={4e-3: [0.5, 0.5], 1e-3: [0.4, 0.6]}), {"nll": 9.0}) == {"nll": 1e-3}
    assert learning_rates.choose(trials(mae={1e-3: [0.0, 0.0], 4e-3: [0.0, 0.1]}), {"mae": 1e-3}) == {"mae": 4e-3}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 9))
def test_no_rate_that_was_tried_is_better_than_the_chosen_by_a_ring_and_the_choice_is_settled(values, place):
    found = trials(nll={10.0**k: [value, value] for k, value in enumerate(values)})
    chosen = learning_rates.choose(found, {"nll": 10.0**place})
    means = learning_rates.mean_frc50(found)["nll"]
    assert means[chosen["nll"]] >= max(means.values()) - learning_rates.TOLERANCE
    assert learning_rates.choose(found, chosen) == chosen


def test_the_table_and_the_figure_show_every_network_and_the_choice():
    chosen = {"nll": 4e-3, "mae": 1e-3}
    lines = learning_rates.rates_table(FOUND, chosen).splitlines()
    assert lines[0].split()[-2:] == ["0.001", "0.004"]
    assert [line.split() for line in lines[1:]] == [
        ["nll", "1e+04", "0.250", "0.450"],
        ["nll", "1e+09", "0.750", "0.650"],
        ["nll", "mean", "0.500", "0.550*"],
        ["mae", "1e+04", "0.300", "0.100", "(1)"],
        ["mae", "1e+09", "0.600", "0.750"],
        ["mae", "mean", "0.450*", "0.425"],
    ]
    assert len({len(line) for line in lines}) == 1
    low, high = sweeps.learning_rates(FOUND, chosen).axes
    lines = {line.get_label(): line.get_xydata() for line in low.lines}
    assert lines["nll"] == pytest.approx(np.array([[1e-3, 0.25], [4e-3, 0.45]]))
    assert lines["mae"] == pytest.approx(np.array([[1e-3, 0.3], [4e-3, 0.1]]))
    points = low.lines[0].get_xydata().tolist()
    assert points == [[1e-3, 0.2], [1e-3, 0.3], [4e-3, 0.4], [4e-3, 0.5]]
    assert low.get_ylim() == high.get_ylim()


def write_sweep(folder, arms, contrast="amplitude"):
    """A sweep of which the rule sees what it looks at: every arm's numbers, and the contrast of its object."""
    for arm in arms:
        (folder / arm["name"]).mkdir(parents=True, exist_ok=True)
        (folder / arm["name"] / "frc.json").write_text(json.dumps({"contrast": contrast, "parts": {}}))
    (folder / "arms.json").write_text(json.dumps({"schema": 1, "arms": arms}))


def test_a_search_needs_every_arm(tmp_path):
    folder = tmp_path / "1e-3"
    arms = [entry("high_nll"), entry("low_nll", status="collapsed")]
    arms[1]["heldout"]["amplitude_frc50"] = None
    write_sweep(folder, arms)
    assert [(t.nphotons, t.heldout) for t in learning_rates.read_trials(tmp_path, ["1e-3"])] == [(1e9, 0.9), (1e4, 0.0)]
    with pytest.raises(ValueError, match=r"arms\.json"):
        learning_rates.read_trials(tmp_path, ["1e-3", "2e-3"])
    arms[1] = {**arms[1], "status": "failed", "train": None, "heldout": None}
    write_sweep(folder, arms)
    with pytest.raises(ValueError, match="low_nll is failed; expected every arm trained"):
        learning_rates.read_trials(tmp_path, ["1e-3"])


def test_an_object_that_shifts_the_phase_is_judged_by_its_phase(tmp_path):
    arm = entry("high_nll")
    arm["train"]["phase_frc50"], arm["heldout"]["phase_frc50"] = 0.6, 0.5
    write_sweep(tmp_path / "1e-3", [arm], contrast="phase")
    (found,) = learning_rates.read_trials(tmp_path, ["1e-3"])
    assert (found.train, found.heldout) == (0.6, 0.5)


@pytest.mark.parametrize("rates", ["", "fast", "1e-3 0.001"])
def test_wrong_rates_are_refused_before_anything_is_written(rates):
    with pytest.raises(ConfigError, match=r"^RATES="):
        ask("rates", {"RATES": rates})
    with pytest.raises(ConfigError, match=r"^LEARNING_RATE="):
        ask("rates", {"RATES": "-1"})
    with pytest.raises(ConfigError, match=r"^METHODS='unrolled direct' is not accepted: one, unrolled or direct"):
        ask("rates", {"RATES": "1e-3", "METHODS": "unrolled direct"})


@pytest.mark.parametrize(
    ("report", "used"), [("rates", LEARNING_RATES["unrolled"]), ("rates-siemens-star", PHASE_LEARNING_RATES)]
)
def test_the_rates_that_are_trained_with_are_those_the_rule_chose(report, used):
    committed = [
        Trial(
            row["loss"],
            float(row["nphotons"]),
            int(row["seed"]),
            float(row["learning_rate"]),
            float(row["train"]),
            float(row["heldout"]),
            row["status"],
        )
        for row in readme.rows(f"{report}/learning_rates.csv")
    ]
    assert used["anscombe"] == used["mse"]  # not tried: it is an error of the same kind
    used = {loss: rate for loss, rate in used.items() if loss != "anscombe"}
    assert learning_rates.choose(committed, used) == used


def test_what_the_fit_without_a_network_resolves_does_not_hang_on_its_rate():
    rows = readme.rows("rates-direct/learning_rates.csv")
    by_case = {}
    for row in rows:
        by_case.setdefault((row["loss"], row["nphotons"]), []).append(float(row["train"]))
    assert {loss for loss, _ in by_case} == set(LOSSES) - {"anscombe"}  # not tried
    assert all(max(found) - min(found) < 0.01 for found in by_case.values())
    assert set(LEARNING_RATES[DIRECT].values()) <= {float(row["learning_rate"]) for row in rows}


def test_without_a_network_the_rule_judges_the_scan_that_is_fitted(tmp_path):
    arms = [{**entry("low_nll"), "architecture": None, "train": None, "heldout": None}]
    write_sweep(tmp_path / "1e-1", arms)
    (found,) = learning_rates.read_trials(tmp_path, ["1e-1"])
    assert (found.heldout, found.train, found.frc50) == (None, arms[0]["direct"]["amplitude_frc50"], found.train)
    (axes,) = sweeps.learning_rates([found], {found.loss: found.learning_rate}).axes
    assert axes.get_ylabel() == "FRC50 (fraction of Nyquist)"


def test_an_object_that_shifts_the_phase_has_rates_of_its_own():
    for words, used in (
        ({}, LEARNING_RATES["unrolled"]),
        ({"OBJECT": "siemens", "PHASE": "1"}, PHASE_LEARNING_RATES),
        ({"SCAN": "siemens-star", "ARCH": "unrolled"}, PHASE_LEARNING_RATES),
        ({"SCAN": "siemens-star"}, LEARNING_RATES[DENOISER]),
        ({"METHODS": DIRECT, "SCAN": "siemens-star"}, LEARNING_RATES[DIRECT]),
    ):
        known = ask("rates", {"RATES": "1e-3", "LOSSES": "nll mae", **words}).gathering()
        read_and_written = {"evidence": ".", "out": "."}
        assert known == read_and_written | {"rates": ["1e-3"], "used": {loss: used[loss] for loss in ("nll", "mae")}}
    assert StudyConfig(phase=1.0, architecture="cnn", methods=("cnn",)).learning_rates("nll") == {"cnn": 1e-3}


@pytest.mark.parametrize(
    ("notebook", "name", "expected"),
    [
        ("learning-rates", "used", LEARNING_RATES["unrolled"]),
        ("train-arm", "learning_rates", {method: LEARNING_RATES[method]["nll"] for method in ("unrolled", DIRECT)}),
    ],
)
def test_a_notebook_starts_from_the_same_rates(notebook, name, expected):
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    line = next(row for row in cells[1]["source"] if row.startswith(f"{name} = "))
    assert ast.literal_eval(line.split("=", 1)[1].split("#")[0].strip()) == expected
