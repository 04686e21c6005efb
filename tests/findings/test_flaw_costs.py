"""What flaws cost: planted scans that are worth a known share of their photons."""

import numpy as np
import pytest
from standins import entry

from ptycho.figures import sweeps
from ptycho.findings import flaws
from ptycho.findings.response.dose_factor import FRC50
from ptycho.findings.response.dose_response import dose_response_of
from ptycho.study.arms import OF_NETWORK

LADDER = (1e2, 1e3, 1e4, 1e5, 1e6)
SEEDS = (1, 2, 3)
WITHOUT_NETWORK = dict.fromkeys(OF_NETWORK)


def resolved(dose):
    return float(np.clip((np.log10(dose) - 1) / 4, 0, 1))


def arms(doses, cost=1.0, spread=0.0):
    """A scan of which each dose is worth one `cost` times less; seeds deviate from one another by `spread`."""
    made = []
    for dose in doses:
        for seed in SEEDS:
            worth = dose / cost * np.exp(spread * (seed - 2))
            one = entry(f"{dose:.0e}_{seed}", nphotons=dose, loss="nll", seed=seed, **WITHOUT_NETWORK)
            one["direct"] |= {"amplitude_frc50": resolved(worth), "relative_mse": 100 / worth}
            made.append(one)
    return made


def study(**made):
    return dose_response_of(arms(**made))


def costs(**made):
    return list(flaws.costs_of("dim", study(doses=(1e4, 1e6), **made), study(doses=LADDER)))


def test_a_flaw_costs_what_was_planted_by_either_yardstick():
    found = costs(cost=5.0)
    by_error = [one for one in found if one.yardstick.of_error]
    assert [one.nphotons for one in by_error] == [1e4, 1e6]
    assert [one.factor.mean for one in by_error] == pytest.approx([5.0, 5.0], rel=1e-6)
    # at 1e6 the flawless scan resolves everything: FRC50 says nothing there
    (by_frc50,) = (one for one in found if one.yardstick == FRC50)
    assert by_frc50.nphotons == 1e4 and by_frc50.factor.mean == pytest.approx(5.0, rel=1e-6)
    assert by_frc50.words.startswith("5 [5, 5")


def test_seeds_that_differ_widen_the_interval_about_their_geometric_mean():
    found = next(one for one in costs(cost=5.0, spread=0.2) if one.yardstick.of_error)
    assert found.factor.mean == pytest.approx(5.0, rel=1e-6)
    assert found.factor.low < 5 * np.exp(-0.2) and 5 * np.exp(0.2) < found.factor.high


def test_a_scan_worse_than_the_lowest_dose_costs_more_than_a_number():
    found = costs(cost=1e3)
    assert [one.at_least for one in found if one.nphotons == 1e4] == [1e2, 1e2]
    assert found[0].words == "more than 1e+02" and found[0].factor.mean is None
    assert next(one for one in found if one.nphotons == 1e6).factor.mean == pytest.approx(1e3)


def test_a_scan_that_does_better_costs_less_than_one_and_one_beyond_the_ladder_nothing():
    found = {one.nphotons: one for one in costs(cost=0.5) if one.yardstick.of_error}
    assert found[1e4].factor.mean == pytest.approx(0.5)
    assert found[1e6].factor.mean == 1.0  # the ladder ends there


def test_the_figure_and_the_words_tell_the_numbers():
    blind = flaws.costs_of("blind", study(doses=(1e4,), cost=1e3), study(doses=LADDER))
    found = [*costs(cost=5.0), *blind]
    rows = flaws.cost_rows(found)
    assert [row["flaw"] for row in rows] == ["dim", "dim", "dim", "blind", "blind"]
    assert rows[0]["factor"] == pytest.approx(5.0) and rows[3]["factor"] is None and rows[3]["at_least"] == 100
    figure = sweeps.flaw_costs(found, flaws.ERROR)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["dim", "blind"]
    drawn = [bar[0].get_xdata()[0] for axes in (left, right) for bar in axes.containers]
    assert drawn == pytest.approx([5.0, 5.0])
    assert [line.get_xdata()[0] for line in left.get_lines() if line.get_marker() == ">"] == [100]
    assert flaws.costs_in_words(found)[0] == (
        "dim, direct, training scan, 1e+04 photons per pattern, divides them: "
        "by relative error: nll 5 [5, 5]; by FRC50: nll 5 [5, 5]."
    )
    with pytest.raises(ValueError, match="no flaw has a cost"):
        sweeps.flaw_costs([], flaws.ERROR)
