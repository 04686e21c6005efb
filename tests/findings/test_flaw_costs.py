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


def test_a_scan_worse_than_the_lowest_dose_costs_at_least_a_number():
    found = costs(cost=1e3)
    assert [one.at_least for one in found if one.nphotons == 1e4] == pytest.approx([1e2, 1e2])
    assert found[0].words == "at least 1e+02" and found[0].factor.mean is None
    assert next(one for one in found if one.nphotons == 1e6).factor.mean == pytest.approx(1e3)


def test_where_the_flawless_scan_does_as_badly_at_several_doses_the_highest_of_them_counts():
    """Both resolve nothing at 1e2 and at 1e3: at 1e4 the flaw costs at least 10, and not 100."""
    flawed, ladder = arms(doses=(1e4,)), arms(doses=LADDER)
    for one in [*flawed, *ladder]:
        if one in flawed or one["nphotons"] < 1e4:
            one["direct"]["amplitude_frc50"] = None
    found = flaws.costs_of("blind", dose_response_of(flawed), dose_response_of(ladder))
    (by_frc50,) = (one for one in found if one.yardstick == FRC50)
    assert by_frc50.at_least == pytest.approx(10) and by_frc50.words == "at least 10"


def test_one_seed_beyond_the_ladder_leaves_a_least_factor_of_all():
    """Two seeds lose half of the photons, of one all that is known is that it loses 99 of 100."""
    flawed = arms(doses=(1e4,), cost=2.0)
    flawed[0]["direct"]["relative_mse"] = 2.0
    found = next(iter(flaws.costs_of("torn", dose_response_of(flawed), study(doses=LADDER))))
    assert found.at_least == pytest.approx((2 * 2 * 100) ** (1 / 3)) and found.factor.mean is None


def test_a_scan_that_does_better_costs_less_than_one_and_one_beyond_the_ladder_nothing():
    found = {one.nphotons: one for one in costs(cost=0.5) if one.yardstick.of_error}
    assert found[1e4].factor.mean == pytest.approx(0.5)
    assert found[1e6].factor.mean == 1.0  # the ladder ends there


def test_the_figure_and_the_words_tell_the_numbers():
    blind = flaws.costs_of("blind", study(doses=(1e4,), cost=1e3), study(doses=LADDER))
    found = [*costs(cost=5.0), *blind]
    rows = flaws.cost_rows(found)
    assert [row["flaw"] for row in rows] == ["dim", "dim", "dim", "blind", "blind"]
    assert rows[0]["factor"] == pytest.approx(5.0) and rows[3]["factor"] is None
    assert rows[3]["at_least"] == pytest.approx(100)
    figure = sweeps.flaw_costs(found, flaws.ERROR)
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["dim", "blind"]
    drawn = [bar[0].get_xdata()[0] for axes in (left, right) for bar in axes.containers]
    assert drawn == pytest.approx([5.0, 5.0])
    assert [line.get_xdata()[0] for line in left.get_lines() if line.get_marker() == ">"] == pytest.approx([100])
    assert flaws.costs_in_words(found)[0] == (
        "dim, direct, training scan, 1e+04 photons per pattern, divides them: "
        "by relative error: nll 5 [5, 5]; by FRC50: nll 5 [5, 5]."
    )
    with pytest.raises(ValueError, match="no flaw has a cost"):
        sweeps.flaw_costs([], flaws.ERROR)
