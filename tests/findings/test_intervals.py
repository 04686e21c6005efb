"""Intervals from few seeds hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from ptycho.findings.intervals import (
    crossing,
    isotonic,
    mean_draws,
    mean_interval,
    quantile_bounds,
    range_interval,
    share_interval,
)

STUDIES = 500
BINOMIAL = 3.3 * np.sqrt(0.95 * 0.05 / STUDIES)
"""Of 1000 sets of so many studies, 999 have a coverage this close to 95 %."""


@pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    found = [mean_interval(rng.normal(0.4, 0.05, n)) for _ in range(STUDIES)]
    assert np.mean([one.low <= 0.4 <= one.high for one in found]) == pytest.approx(0.95, abs=BINOMIAL)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_near_a_collapse_the_range_holds_the_median_as_often_as_it_says_and_no_interval_holds_the_mean(n):
    """One seed in five resolves nothing, the others about a half."""
    rng = np.random.default_rng(n)
    drawn = [np.where(rng.random(n) < 0.2, 0.0, rng.normal(0.5, 0.03, n)) for _ in range(4 * STUDIES)]
    # of the whole distribution, the mean is 0.4 and half of all values lie below 0.5 less a third of a deviation
    median = 0.5 + 0.03 * stats.norm.ppf(0.3 / 0.8)
    ranges = [range_interval(values) for values in drawn]
    assert {one.level for one in ranges} == {1 - 2.0 ** (1 - n)}
    held = np.mean([one.low <= median <= one.high for one in ranges])
    assert held == pytest.approx(ranges[0].level, abs=3.3 * np.sqrt(0.25 / len(drawn)))
    if n < 10:
        assert np.mean([one.low <= 0.4 <= one.high for one in map(mean_interval, drawn)]) < 0.75


def test_a_range_is_marked_and_one_value_has_none():
    found = range_interval(np.array([0.1, np.nan, 0.5, 0.4]))
    assert (found.n, found.mean, found.low, found.high, found.level) == (3, 0.4, 0.1, 0.5, 0.75)
    assert found.is_range and f"{found:.1f}" == "0.4 [0.1, 0.5]*"
    assert not range_interval(np.array([0.1])).is_range and range_interval(np.array([0.1])).low is None
    assert not mean_interval(np.array([0.1, 0.2])).is_range


def test_the_percentile_bootstrap_would_not():
    """Why Student's t: with five seeds, resampling holds the truth in 83 % of the studies."""
    rng = np.random.default_rng(0)
    held = 0
    for values in rng.normal(0, 1, (STUDIES, 5)):
        low, high = np.quantile(rng.choice(values, (500, 5)).mean(axis=1), [0.025, 0.975])
        held += low <= 0 <= high
    assert held / STUDIES < 0.9


def test_a_paired_difference_is_as_sure_as_its_pairs_not_as_its_seeds():
    rng = np.random.default_rng(1)
    seeds = rng.normal(0.5, 0.2, 8)
    a, b = seeds + rng.normal(0.02, 0.005, 8), seeds + rng.normal(0, 0.005, 8)
    assert mean_interval(a - b).low > 0
    assert stats.ttest_ind(a, b).pvalue > 0.5
    ours, theirs = mean_interval(a - b), stats.ttest_rel(a, b).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_values_that_are_missing_do_not_count_and_one_has_no_interval():
    assert mean_interval(np.array([0.2, np.nan, 0.4])) == mean_interval(np.array([0.2, 0.4]))
    alone, none = mean_interval(np.array([0.2, np.nan])), mean_interval(np.array([np.nan]))
    assert (alone.n, alone.mean, alone.low, alone.high) == (1, 0.2, None, None)
    assert (none.n, none.mean, none.low, none.high) == (0, None, None, None)
    assert mean_interval(np.array([0.9, 1.0]), (0, 1)).high == 1


def test_draws_of_means_and_of_their_differences_follow_student():
    rng = np.random.default_rng(2)
    values = rng.normal(0.5, 0.1, (5, 3)) + rng.normal(0, 0.2, (5, 1))
    drawn = mean_draws(values, 200_000, rng)
    for weights in ([1, 0, 0], [0, 1, -1], [0.2, 0.3, 0.5]):
        interval = mean_interval(values @ weights)
        low, high = np.quantile(drawn @ weights, [0.025, 0.975])
        width = interval.high - interval.low
        assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.02 * width)


def test_draws_take_what_each_column_has():
    values = np.random.default_rng(3).normal(0.5, 0.1, (6, 2))
    values[2:4, 1] = np.nan
    drawn = mean_draws(values, 200_000, np.random.default_rng(4))
    for column in (0, 1):
        interval = mean_interval(values[:, column])
        low, high = np.quantile(drawn[:, column], [0.025, 0.975])
        assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.02 * (interval.high - interval.low))
    values[:5, 1] = np.nan
    with pytest.raises(ValueError, match="column 1 holds 1 values"):
        mean_draws(values, 10, np.random.default_rng(4))


def test_crossings_are_interpolated_or_bounded():
    x = np.array([2.0, 4.0, 5.0])
    curves = np.array(
        [
            [0.0, 0.4, 0.8],  # crosses 0.5
            [0.6, 0.7, 0.8],  # did so before
            [0.1, 0.2, 0.3],  # never does
            [0.2, 0.5, 0.5],  # reaches it at the first of two
            [0.5, 0.5, 0.5],  # has it from the start
        ]
    )
    low, high = crossing(x, curves, 0.5)
    np.testing.assert_allclose(low, [4.25, -np.inf, 5, 4, 2])
    np.testing.assert_allclose(high, [4.25, 2, np.inf, 4, 2])
    assert crossing(np.array([3.0]), np.array([0.7]), 0.5) == (-np.inf, 3)
    assert crossing(np.array([3.0]), np.array([0.2]), 0.5) == (3, np.inf)


def test_a_crossing_within_a_leap_is_anywhere_in_it():
    x = np.array([2.0, 4.0, 5.0])
    curves = np.array([[0.0, 0.4, 0.8], [0.0, 0.6, 0.8], [0.6, 0.7, 0.8], [0.1, 0.2, 0.3], [0.2, 0.5, 0.5]])
    low, high = crossing(x, curves, 0.5, leaps=np.array([True, False, True]))
    np.testing.assert_allclose(low, [4.25, 2, -np.inf, 5, 2])
    np.testing.assert_allclose(high, [4.25, 4, 2, np.inf, 4])
    assert crossing(x, curves[1], 0.5, leaps=np.array([True, False, True])) == (2, 4)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True), st.floats(0.01, 0.99))
@example([0.0, 5e-324], 0.5)
def test_crossing_inverts_linear_interpolation(values, value):
    x, curve = np.arange(len(values), dtype=float), np.sort(values)
    low, high = crossing(x, curve, value)
    if curve[0] <= value <= curve[-1]:
        assert low == high
        assert np.interp(low, x, curve) == pytest.approx(value, abs=1e-9)
    else:
        assert np.isinf(low) or np.isinf(high)


def test_draws_without_a_bound_make_an_interval_without_one():
    low, high = np.array([*[1.0] * 90, *[2.0] * 10]), np.array([*[3.0] * 90, *[np.inf] * 10])
    assert quantile_bounds(low, high) == (1, np.inf)
    high[90:] = 3.5
    assert quantile_bounds(low, high) == (1, 3.5)


@pytest.mark.parametrize("n", [pytest.param(3, marks=pytest.mark.slow), 5, pytest.param(10, marks=pytest.mark.slow)])
def test_the_interval_of_a_dose_factor_holds_the_truth(n):
    """Two losses, sigmoids over the logarithm of the dose, that share the deviations of their seeds."""
    doses = np.arange(2.0, 9.0)
    truth = [0.05 + 0.9 / (1 + np.exp(1.3 * (middle - doses))) for middle in (4.5, 5.2)]
    expected = float(crossing(doses, truth[1], 0.5)[0] - crossing(doses, truth[0], 0.5)[0])
    rng, held = np.random.default_rng(n), 0
    for _ in range(STUDIES):
        shared = rng.normal(0, 0.03, (n, 1))
        tables = [np.clip(curve + shared + rng.normal(0, 0.03, (n, 7)), 0, 1) for curve in truth]
        drawn = mean_draws(np.concatenate(tables, axis=1), 800, rng)
        (low_a, high_a), (low_b, high_b) = (
            crossing(doses, isotonic(half, np.full(7, n)), 0.5) for half in np.split(drawn, 2, axis=1)
        )
        low, high = quantile_bounds(low_b - high_a, high_b - low_a)
        held += low <= expected <= high
    assert 0.95 - BINOMIAL <= held / STUDIES <= 0.985


def test_shares():
    assert share_interval(0, 5) == pytest.approx((0, 1 - 0.025**0.2))
    low, high = share_interval(1, 5)
    assert stats.binom.sf(0, 5, low) == pytest.approx(0.025)
    assert stats.binom.cdf(1, 5, high) == pytest.approx(0.025)
    with pytest.raises(ValueError, match="found 0 of 0"):
        share_interval(0, 0)
