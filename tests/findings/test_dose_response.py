"""The dose-response of a study whose answer is known: curves, factors, differences, what is missing, and the words."""

import copy
import csv
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from planted import DOSES, METHODS, SEEDS, entry, study

from ptycho.findings.response.arm_table import arm_rows, as_fitted, kept
from ptycho.findings.response.dose_factor import leaping
from ptycho.findings.response.dose_response import dose_response_of
from ptycho.findings.response.dose_verdict import verdict_in_short, verdict_in_words
from ptycho.findings.response.tables import response_caption, response_rows


def curve_of(found, loss, method=METHODS[0]):
    return next(curve for curve in found.curves if (curve.method, curve.loss) == (method, loss))


def factors_of(found, method=METHODS[0]):
    return {factor.level: factor for factor in found.factors if factor.method == method}


def test_curves_are_means_over_seeds_with_the_intervals_of_student():
    arms = study()
    found = dose_response_of(arms)
    assert list(dict.fromkeys(curve.method for curve in found.curves)) == METHODS
    assert (found.seeds, found.faults) == (SEEDS, ())
    curve = curve_of(found, "nll")
    assert [point.nphotons for point in curve.points] == list(DOSES)
    for dose, point in zip(DOSES, curve.points, strict=True):
        values = [a["train"]["amplitude_frc50"] for a in arms if a["loss"] == "nll" and a["nphotons"] == dose]
        assert point.values == tuple(values)
        assert point.interval.mean == pytest.approx(np.mean(values))
        half = 2.7764451 * np.std(values, ddof=1) / np.sqrt(5)
        assert point.interval.low == pytest.approx(max(0, np.mean(values) - half))
        assert (point.n_ok, point.n_collapsed, point.n_failed, point.n_missing) == (5, 0, 0, 0)


def test_the_factor_that_was_planted_is_found_and_lies_in_its_interval():
    factors = factors_of(dose_response_of(study(needs=5.0), resolutions=(0.4, 0.5, 0.7)))
    assert (factors[0.5].reference, factors[0.5].other) == ("nll", "mae")  # the likelihood, whatever comes first
    for resolution, factor in factors.items():  # the curves are straight: only noise is left
        assert factor.value == pytest.approx(5, rel=0.05)
        assert 4 < factor.low < 5 < factor.high < 6.2
        assert factor.doses[1] / factor.doses[0] == pytest.approx(factor.value)
        assert factor.doses[0] == pytest.approx(10 ** (1 + 4 * resolution), rel=0.15)
        assert factor.n == 5


def test_shared_deviations_cancel_in_differences_and_factors():
    """Seeds that differ by five times the losses' own noise: the pairs know better than the means."""
    arms = study(spread=0.05, needs=1.5)
    found = dose_response_of(arms)
    middle = next(d for d in found.differences if (d.method, d.nphotons) == (METHODS[0], 1e4))
    assert (middle.first, middle.second, middle.interval.n) == ("nll", "mae", 5)
    assert middle.differ
    nll, mae = (curve_of(found, loss).points[2].interval for loss in ("nll", "mae"))
    assert nll.low < mae.high  # the intervals of the means overlap
    assert middle.interval.high - middle.interval.low < 0.7 * (nll.high - nll.low)
    alone = copy.deepcopy(arms)
    for a in alone:  # the same values, the pairs torn apart
        if a["loss"] == "mae":
            a["seed"] = SEEDS[-a["seed"]]
    torn = factors_of(dose_response_of(alone))[0.5]
    paired = factors_of(found)[0.5]
    assert np.log(paired.high / paired.low) < 0.7 * np.log(torn.high / torn.low)


def test_where_a_curve_is_cut_at_what_may_be_claimed_a_factor_has_an_interval_alone():
    """Cut, the curves of a measured scan rise less steeply: a straight line would cross later than they do."""
    arms, finest, at = study(needs=5.0), 0.6, {"resolutions": (0.3, 0.55)}
    whole = factors_of(dose_response_of(arms, **at))
    for arm in arms:
        arm["train"]["amplitude_frc50"] = min(arm["train"]["amplitude_frc50"], finest)
    found, blind = dose_response_of(arms, **at, finest=finest), dose_response_of(arms, **at)
    below, above = factors_of(found).values()
    assert below == whole[0.3]  # crossed below what is cut
    assert factors_of(blind)[0.55].value < 0.8 * whole[0.55].value  # what a straight line would make of it
    assert above.value is None and "where it resolves all that may be claimed" in above.reason
    assert (above.low or 0) < whole[0.55].value < (above.high or np.inf)
    cut = "FRC50 is 0.600 [0.600, 0.600] with nll and 0.600 [0.600, 0.600] with mae; "
    for told, alike in ((found, "both resolve all that may be claimed"), (blind, "they are the same in")):
        sentences = [words for words in verdict_in_words(told) if cut in words]
        assert sentences and all(alike in words for words in sentences)


def test_the_same_arms_in_any_order_give_the_same_study():
    arms = study()
    assert dose_response_of(arms) == dose_response_of(arms[::-1])


def test_losses_that_do_not_differ_are_said_not_to():
    found = dose_response_of(study(needs=1.0))
    words = " ".join(verdict_in_words(found))
    assert not any(d.differ for d in found.differences if d.nphotons == 1e4 and d.method == METHODS[0])
    assert "it contains 0, the losses are not shown to differ" in words
    assert "the interval contains 1, the losses are not shown to differ" in words


def test_a_resolution_that_one_loss_never_reaches_has_a_lower_bound_only():
    arms = [a for a in study(needs=50.0) if a["nphotons"] < 1e6]
    factor = factors_of(dose_response_of(arms, resolutions=(0.7,)))[0.7]
    assert factor.value is None and factor.high is None
    assert factor.doses[0] is not None and factor.doses[1] is None
    assert 14 < factor.low < 16  # nll reaches it at 6.3e3, mae nowhere up to 1e5
    assert factor.reason == "mae does not reach an FRC50 of 0.70 of Nyquist at any dose up to 1e+05 photons per pattern"


def test_beyond_nyquist_or_what_is_claimed_no_straight_line_is_drawn():
    """nll resolves all at 1e6: where between 1e4 and 1e6 it reached 0.75 of Nyquist, a straight line does not tell."""
    arms = [a for a in study(needs=5.0) if a["nphotons"] in (1e2, 1e4, 1e6)]
    for a in arms:
        a["train"]["amplitude_frc50"] = min(1.0, a["train"]["amplitude_frc50"] - 0.1)
        if a["nphotons"] == 1e6:
            a["train"]["amplitude_frc50"] = 1.0
    found = factors_of(dose_response_of(arms, resolutions=(0.4, 0.75)))
    assert found[0.75].value is None and "where it resolves all that may be claimed" in found[0.75].reason
    beyond = factors_of(dose_response_of(arms, resolutions=(0.75,), finest=0.6))[0.75]
    assert beyond.value is None and beyond.reason == "no resolution beyond 0.60 of Nyquist is claimed"


def test_why_no_factor_can_be_given_is_told_in_short_too():
    arms = [a for a in study(needs=1.0) if a["nphotons"] in (1e2, 1e6) and a["seed"] == 1]
    (told,) = (
        s for s in verdict_in_short(dose_response_of(arms, resolutions=(0.5,))) if "direct" in s and "factor" in s
    )
    assert "nll reaches an FRC50 of 0.50 of Nyquist anywhere between 100 photons per pattern and 1e+06" in told
    assert "a single seed at some dose" in told


def test_a_resolution_reached_below_the_lowest_dose_bounds_the_factor_too():
    arms = [a for a in study(needs=5.0) if a["nphotons"] > 1e3]
    factor = factors_of(dose_response_of(arms, resolutions=(0.6,)))[0.6]
    assert factor.value is None and factor.high is None
    assert 1.1 < factor.low < 1.26  # mae needs 1.26e4; of nll all that is known is that 1e4 are more than enough
    assert "nll does better than an FRC50 of 0.60 of Nyquist already at 1e+04" in factor.reason
    both = factors_of(dose_response_of([a for a in study(needs=5.0) if a["nphotons"] > 1e4]))[0.25]
    assert (both.value, both.low, both.high) == (None, None, None)
    assert "no factor can be given: nll does better than an FRC50 of 0.25" in " ".join(
        verdict_in_words(dose_response_of([a for a in study() if a["nphotons"] > 1e4]))
    )


def test_across_a_collapse_the_doses_at_hand_confine_the_factor_and_no_line_is_drawn():
    """The truth leaps within a decade: mae resolves nothing up to 3e3 and what nll resolves from there on."""
    arms = study(needs=1.0)
    for a in arms:
        for part in ("train", "heldout", "direct"):
            lost = a["loss"] == "mae" and a["nphotons"] <= 1e3
            a[part]["amplitude_frc50"] = None if lost else 0.9 * a[part]["amplitude_frc50"]
    found = dose_response_of(arms, resolutions=(0.4, 0.8))
    factors = factors_of(found)
    needed = 10 ** (1 + 4 * 0.4 / 0.9)  # by nll, for 0.4 of Nyquist
    assert factors[0.4].value is None and factors[0.4].doses[0] == pytest.approx(needed, rel=0.1)
    assert factors[0.4].low == pytest.approx(1e3 / needed, rel=0.15)
    assert factors[0.4].high == pytest.approx(1e4 / needed, rel=0.15)
    assert factors[0.4].low < 3e3 / needed < factors[0.4].high
    assert factors[0.8].value == pytest.approx(1, rel=0.05)  # both doses about it resolve
    words = " ".join(verdict_in_words(found))
    ends = f"more than {factors[0.4].low:.3g} and less than {factors[0.4].high:.3g} times the photons of nll"
    assert ends in words
    assert (
        "mae reaches an FRC50 of 0.40 of Nyquist anywhere between 1e+03 photons per pattern, where a seed resolves"
        in words
    )
    assert f"[{factors[0.4].low:.3g}, {factors[0.4].high:.3g}] at 0.40" in " ".join(verdict_in_short(found))


def test_a_collapsed_arm_resolves_nothing_and_is_counted():
    arms = study()
    collapsed = next(a for a in arms if (a["nphotons"], a["loss"], a["seed"]) == (1e5, "mae", 3))
    collapsed["status"] = "collapsed"
    for part in ("train", "heldout"):
        collapsed[part]["amplitude_frc50"] = None
    found = dose_response_of(arms)
    point = curve_of(found, "mae").points[3]
    assert point.values[2] == 0 and (point.n_ok, point.n_collapsed) == (4, 1)
    interval = point.interval  # of the median, for near a collapse a mean has none
    assert (interval.mean, interval.low, interval.high) == (np.median(point.values), 0, max(point.values))
    assert interval.level == 1 - 0.5**4 and not curve_of(found, "mae").points[2].interval.is_range
    (apart,) = (d.interval for d in found.differences if (d.method, d.nphotons) == (METHODS[0], 1e5))
    assert apart.is_range and apart.high == pytest.approx(curve_of(found, "nll").points[3].values[2])
    (row,) = (
        r
        for r in response_rows(found)
        if (r["method"], r["split"], r["loss"], r["nphotons"]) == (*METHODS[0], "mae", 1e5)
    )
    assert row["frc50_level"] == interval.level
    assert curve_of(found, "mae", METHODS[2]).points[3].n_ok == 5  # the direct fit did not collapse with the network
    words = " ".join(verdict_in_words(found))
    assert "Of 5 mae arms: 1 collapsed (95 % interval of their share: 1 to 72 %)" in words
    assert found.faults == ()


def test_a_seed_that_resolves_less_from_more_photons_marks_its_dose_and_all_its_numbers():
    """One of five trainings at the highest dose is lost: no interval of a mean holds there."""
    arms = study()
    (lost,) = (a for a in arms if (a["nphotons"], a["loss"], a["seed"]) == (DOSES[-1], "nll", 3))
    lost["train"] |= {"amplitude_frc50": 0.2, "relative_mse": 0.5, "information_bound": 0.01}
    found = dose_response_of(arms)
    curves = (found.curves, found.errors, found.efficiencies)
    resolved, error, efficiency = (next(c for c in of if (c.method, c.loss) == (METHODS[0], "nll")) for of in curves)
    assert all(curve.points[-1].interval.is_range for curve in (resolved, error, efficiency))
    assert not any(point.interval.is_range for point in resolved.points[:-1])
    assert (resolved.points[-1].interval.low, error.points[-1].interval.high) == (0.2, 0.5)
    alike = dose_response_of([a for a in study() if a["loss"] == "nll"])
    assert not any(point.interval.is_range for curve in alike.curves for point in curve.points)


@pytest.mark.parametrize(("seed", "leaps"), [([0.07, 0.37], True), ([0.24, 0.37], False), ([0.0, 0.0], True)])
def test_a_seed_leaps_where_it_resolves_nothing_or_gains_faster_than_the_dose(seed, leaps):
    table = np.array([[0.3, 0.38], seed, [np.nan, 0.4]])
    assert leaping(np.array([5e3, 1e4]), table).any(axis=0).tolist() == [leaps, seed[1] == 0]


def test_a_factor_is_confined_where_a_seed_leaps():
    """At 1e4 one seed of mae resolves a twentieth of what it does at 1e5: nobody knows where between it begins to."""
    arms = study(needs=5.0)
    for a in arms:
        if (a["nphotons"], a["loss"], a["seed"]) == (1e4, "mae", 3):
            a["train"]["amplitude_frc50"] *= 0.05
    found = dose_response_of(arms, resolutions=(0.6,))
    factor = factors_of(found)[0.6]
    assert factor.value is None and "leaps" in factor.reason and factor.low < 5 < factor.high
    assert factors_of(found, METHODS[2])[0.6].value == pytest.approx(5, rel=0.1)  # the direct fit did not
    assert any("A star marks a cell near a collapse" in sentence for sentence in verdict_in_words(found))


def test_every_yardstick_has_its_factor_and_the_verdict_says_where_they_disagree():
    """mae needs 5 times the photons for an equal FRC50, 2 times for 1/7, and half of them for an equal error."""
    rng, arms = np.random.default_rng(0), study(needs=5.0)
    for a in arms:
        needs = {"nll": (1, 1), "mae": (2, 0.5)}[a["loss"]]
        for part in ("train", "heldout", "direct"):
            seventh = (np.log10(a["nphotons"] / needs[0]) - 1) / 4 + rng.normal(0, 0.002)
            a[part] |= {"amplitude_seventh": float(np.clip(seventh, 0, 1))}
            a[part] |= {"relative_mse": 10 * needs[1] / a["nphotons"] * float(np.exp(rng.normal(0, 0.02)))}
    found = dose_response_of(arms)
    by = {(one.yardstick.name, one.level): one for one in found.others if one.method == METHODS[0]}
    assert by["FRC 1/7", 0.5].value == pytest.approx(2, rel=0.05)
    assert by["FRC 1/7", 0.5].low < 2 < by["FRC 1/7", 0.5].high
    assert by["relative error", 1e-3].value == pytest.approx(0.5, rel=0.05)
    assert 0.45 < by["relative error", 1e-3].low < by["relative error", 1e-3].high < 0.55
    assert by["relative error", 1e-3].doses == pytest.approx((1e4, 5e3), rel=0.1)
    words = " ".join(verdict_in_short(found))
    assert "by relative error mae needs, times the photons of nll: 0.5" in words
    assert (
        "the yardsticks disagree: mae needs more by FRC50 0.25" in words and "and less by relative error 1e-02" in words
    )
    whole = " ".join(verdict_in_words(found))
    assert "for a relative error of 1e-03 mae needs 0.5" in whole and "for an FRC 1/7 of 0.50 of Nyquist mae" in whole
    agreed = [a for a in study(needs=5.0)]
    assert "disagree" not in " ".join(verdict_in_short(dose_response_of(agreed)))


def test_arms_that_tell_nothing_are_left_out_by_name():
    arms = study()
    failed = next(a for a in arms if (a["nphotons"], a["loss"], a["seed"]) == (1e3, "nll", 2))
    failed["status"] = "failed"
    for part in ("train", "heldout", "direct"):
        del failed[part]
    corrupt = next(a for a in arms if (a["nphotons"], a["loss"], a["seed"]) == (1e3, "nll", 4))
    corrupt["train"]["relative_mse"] = float("nan")
    arms = [a for a in arms if (a["nphotons"], a["loss"], a["seed"]) != (1e3, "nll", 5)]
    found = dose_response_of([*arms, "no entry", {"name": "nameless"}, entry(0.0, "nll", 1, 0.5)])
    assert set(found.faults) == {
        "1e+03_nll_2: failed",
        "1e+03_nll_4: 'train': 'relative_mse' is nan, expected a finite number",
        "unrolled, nll, 1e+03 photons per pattern, seed 5: missing",
        "entry 49: found str, expected an object with name, nphotons, loss, seed, architecture, status, train_seconds, "
        "patterns_per_second, train, heldout, direct",
        "nameless: 'nphotons' is missing",
        "0e+00_nll_1: 'nphotons' is 0.0, expected a number > 0",
    }
    point = curve_of(found, "nll").points[1]
    assert (point.n_ok, point.n_collapsed, point.n_failed, point.n_missing) == (2, 0, 1, 2)
    assert point.interval.n == 2
    assert [value is None for value in point.values] == [False, True, False, True, True]
    words = verdict_in_words(found)
    assert all(f"Left out: {fault}." in words for fault in found.faults)
    assert any("Of 5 nll arms: 1 failed, 2 missing." in sentence for sentence in words)


def test_efficiency_is_the_signal_to_noise_ratio_over_what_photons_allow():
    """Planted: images whose error is, before their scale is fitted, 4 + seed times the least. The fit makes it
    e / (1 + e), which says nothing of the photons kept."""
    arms = study()
    for a in arms:
        least = 1e2 / a["nphotons"]
        error = (4 + a["seed"]) * least
        a["heldout"] |= {"photon_bound": least, "relative_mse": error / (1 + error)}
    curve = next(c for c in dose_response_of(arms).efficiencies if c.method == METHODS[1])
    expected = [1 / (4 + s) for s in SEEDS]
    assert all(point.values == pytest.approx(expected) for point in curve.points)
    assert curve.points[0].interval.mean == pytest.approx(np.exp(np.mean(np.log(expected))))


def test_trap_an_image_of_nothing_keeps_no_information():
    """Its scale fitted, an image that shows nothing errs by 1, and the bound of few photons may be higher than that."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=10_000) + 1.0
    for share in (0.0, 1.0):
        found = share * truth + rng.normal(size=truth.size) * 3
        scale = found @ truth / (found @ found)
        error = np.sum((scale * found - truth) ** 2) / np.sum(truth**2)
        expected = share**2 * np.sum(truth**2) / (9 * truth.size) * 4.5
        assert kept(error, 4.5) == pytest.approx(expected, rel=0.1, abs=0.01)
    assert as_fitted(4.5) == pytest.approx(error, rel=0.05)
    assert np.isnan(kept(np.nan, 1.0)) and np.isnan(kept(0.0, 1.0))


def test_errors_are_geometric_means_and_are_held_against_both_limits():
    arms = study()
    for a in arms:
        error = {"nll": 2.0, "mae": 8.0}[a["loss"]] * 1e-2 / a["nphotons"] * 10.0 ** (a["seed"] - 3)
        a["train"] |= {"photon_bound": 1e-3 / a["nphotons"], "relative_mse": error}
        a["train"] |= {"information_bound": 1e-2 / a["nphotons"], "amplitude_frc50_limit": 0.1 * a["seed"]}
    found = dose_response_of(arms)
    nll, mae = (next(c for c in found.errors if (c.method, c.loss) == (METHODS[0], loss)) for loss in ("nll", "mae"))
    assert [point.interval.mean for point in nll.points] == pytest.approx([0.02 / dose for dose in DOSES])
    assert [point.interval.mean for point in mae.points] == pytest.approx([0.08 / dose for dose in DOSES])
    limits = [limit for limit in found.limits if limit.method == METHODS[0]]
    assert [limit.counting for limit in limits] == pytest.approx([1e-3 / dose for dose in DOSES])
    assert [limit.information for limit in limits] == pytest.approx([1e-2 / dose for dose in DOSES])
    seeds = [a["seed"] for a in arms if (a["nphotons"], a["loss"]) == (DOSES[0], "nll")]
    assert [limit.resolution for limit in limits] == pytest.approx([0.1 * np.mean(seeds)] * len(DOSES))
    assert all(limit.resolution is None for limit in found.limits if limit.method != METHODS[0])
    attained = next(c for c in found.attained if (c.method, c.loss) == (METHODS[0], "nll"))
    assert attained.points[0].values == pytest.approx([0.5 * 10.0 ** (3 - s) for s in SEEDS], rel=0.03)
    assert {limit.information for limit in found.limits if limit.method == METHODS[1]} == {None}
    words = " ".join(verdict_in_short(found))
    assert "unrolled, held-out scan: the Cramér-Rao bound of nll is not known." in words
    kept = (
        "nll, share of the information of photons that is kept, by Cramér and Rao, by photons per pattern: 0.5 at 100"
    )
    assert kept in words


@pytest.mark.parametrize("method", ["direct", "unrolled"])
def test_arms_of_one_method_alone_tell_of_no_other(method):
    arms = study()
    for a in arms:
        if method == "direct":
            a |= dict.fromkeys(("architecture", "train_seconds", "patterns_per_second", "train", "heldout"))
        else:
            a["direct"] = None
    found = dose_response_of(arms)
    assert list(dict.fromkeys(c.method for c in found.curves)) == (METHODS[2:] if method == "direct" else METHODS[:2])
    assert found.faults == () and all(point.n_ok == 5 for curve in found.curves for point in curve.points)
    assert {row["part"] for row in arm_rows(arms)} == ({"direct"} if method == "direct" else {"train", "heldout"})
    assert factors_of(found, found.curves[0].method)[0.5].value == pytest.approx(5, rel=0.1)


def test_the_verdict_in_short_holds_the_claim_against_the_interval():
    def claims(needs):
        short = verdict_in_short(dose_response_of(study(needs=needs), resolutions=(0.3, 0.5)))
        return next(s for s in short if s.startswith("unrolled, held-out scan: mae needs"))

    assert claims(5.0).endswith("A factor of 10 is excluded, it is less at 0.30, 0.50.")
    assert claims(10.0).endswith("A factor of 10 is not excluded at 0.30, 0.50.")
    assert claims(30.0).endswith("A factor of 10 is excluded, it is more at 0.30, 0.50.")
    alike = verdict_in_short(dose_response_of(study(needs=1.0)))
    assert any("nll and mae are not shown to differ at" in sentence for sentence in alike)
    arms = study()
    arms[0]["status"] = "collapsed"
    arms[0]["train"]["amplitude_frc50"] = None
    arms[-1] = {**arms[-1], "status": "failed", "reason": "no memory"}
    words = verdict_in_short(dose_response_of(arms))
    assert "unrolled, training scan: of mae arms collapsed, by photons per pattern: 1 of 5 at 100." in words
    assert "Left out: 1e+06_nll_5: failed (no memory)." in words


def test_one_seed_supports_no_claim():
    found = dose_response_of([a for a in study() if a["seed"] == 1])
    factor = factors_of(found)[0.5]
    assert factor.value == pytest.approx(5, rel=0.1)
    assert (factor.low, factor.high, factor.n) == (None, None, 1)
    assert all(difference.differ is None for difference in found.differences)
    words = " ".join(verdict_in_words(found))
    assert "it supports no claim" in words and "no interval, and no claim" in words
    assert "resolves finer" not in words


def test_two_doses_far_apart_are_told():
    words = " ".join(verdict_in_words(dose_response_of([a for a in study() if a["nphotons"] in (1e2, 1e6)])))
    assert "4.0 decades apart: the factors rest on straight lines between them, up to 2 decades." in words
    assert "decades apart" not in " ".join(verdict_in_words(dose_response_of(study())))


def test_no_factor_is_read_off_between_doses_that_lie_too_far_apart():
    """Of 1e2 and 1e6 photons the curve of nll passes 0.5 of Nyquist somewhere, and nobody knows where."""
    far = dose_response_of([a for a in study(needs=5.0) if a["nphotons"] in (1e2, 1e6)])
    for factor in (one for one in (*far.factors, *far.others) if one.level in (0.5, 1e-3)):
        assert factor.value is None and factor.doses == (None, None)
        if factor.yardstick.name == "FRC50":
            assert "between 100 photons per pattern and 1e+06, for no dose between them was measured" in factor.reason
            assert factor.low <= 1e-4 and factor.high >= 1e4
    near = dose_response_of([a for a in study(needs=5.0) if a["nphotons"] in (1e2, 1e4, 1e6)])
    assert factors_of(near)[0.5].value == pytest.approx(5, rel=0.2)


def test_the_verdict_names_dose_loss_factor_interval_and_seeds():
    found = dose_response_of(study(needs=5.0))
    words = verdict_in_words(found)
    factor = factors_of(found, METHODS[1])[0.5]
    doses = f"({factor.doses[1]:.3g} against {factor.doses[0]:.3g} per pattern; 5 seeds)."
    assert (
        f"unrolled, held-out scan: for an FRC50 of 0.50 of Nyquist mae needs {factor.value:.3g} "
        f"[{factor.low:.3g}, {factor.high:.3g}] times the photons of nll {doses}"
    ) in words
    at_equal_dose = next(w for w in words if w.startswith("unrolled, held-out scan: at 1e+04 photons per pattern"))
    assert at_equal_dose.endswith("over 5 seeds: nll resolves finer.")
    assert not any(re.search(r"\b(nan|None|inf)\b", sentence) for sentence in words)


def test_phase_is_gathered_where_the_object_has_it():
    arms = study()
    with pytest.raises(ValueError, match="no arm has phase_frc50"):
        dose_response_of(arms, "phase_frc50")
    for a in arms:
        for part in ("train", "heldout", "direct"):
            a[part] |= {"phase_frc50": a[part]["amplitude_frc50"] / 2, "phase_pearson": 0.9}
    means = [
        [p.interval.mean for p in curve_of(dose_response_of(arms, quantity), "nll").points]
        for quantity in ("amplitude_frc50", "phase_frc50")
    ]
    np.testing.assert_allclose(means[1], np.array(means[0]) / 2)


def test_what_is_not_accepted_is_named():
    arms = study()
    with pytest.raises(ValueError, match="quantity is 'psnr'"):
        dose_response_of(arms, "psnr")
    with pytest.raises(ValueError, match=r"resolution is 1.0; expected a fraction of Nyquist in \(0, 1\)"):
        dose_response_of(arms, resolutions=(0.5, 1.0))
    with pytest.raises(ValueError, match="1e\\+02_mae_1 and again are both"):
        dose_response_of([*arms, {**arms[0], "name": "again"}])
    with pytest.raises(ValueError, match=r"no arm has amplitude_frc50; found 0 entries"):
        dose_response_of([])


def test_the_table_has_every_arm():
    arms = [entry(1e4, "nll", 1, 0.5), entry(1e4, "mae", 1, None, status="collapsed"), {"name": "broken"}, 7]
    arms.append({**entry(1e4, "mse", 1, 0.5), "status": "failed"})
    rows = arm_rows(arms)
    assert len(rows) == 3 + 3 + 1 + 1 + 1
    assert all(row.keys() == rows[0].keys() for row in rows)
    file = io.StringIO()
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    back = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["name"] for row in back[::3]] == ["1e+04_nll_1", "1e+04_mae_1", "broken"]
    assert [row["part"] for row in back[:3]] == ["train", "heldout", "direct"]
    assert float(back[0]["amplitude_frc50"]) == 0.5 and float(back[0]["efficiency"]) == 0.5
    assert (back[3]["amplitude_frc50"], back[3]["status"]) == ("", "collapsed")
    assert back[6]["status"] == "broken: 'nphotons' is missing"
    assert back[7]["name"] == "entry 3"
    assert back[8]["status"] == "1e+04_mse_1: failed"


def test_an_object_without_amplitude_contrast_has_its_bound_in_the_table():
    arm = entry(1e4, "nll", 1, None)
    arm["train"] |= {"amplitude_pearson": None, "phase_pearson": 0.9, "phase_frc50": 0.5}
    arm["train"] |= {"relative_mse": 0.02, "photon_bound": 0.01, "information_bound": 0.015}
    row = next(row for row in arm_rows([arm]) if row["part"] == "train")
    assert (row["information_bound"], row["efficiency"]) == (0.015, pytest.approx(0.01 / 0.02 * 0.98))
    assert row["attained"] == pytest.approx(0.015 / 0.02 * 0.98)


def test_the_statistics_need_no_tensorflow():
    code = "import sys, ptycho.findings.response.dose_verdict as _; "
    code += "print({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_study_of_electrons_is_told_per_square_angstrom():
    """Steps of 2 angstrom: 4 electrons per pattern are one per square angstrom."""
    arms = [a | {"exposure": {"particle": "electrons", "area": 4e-20, "gray": None}} for a in study()]
    arms[3] = {**arms[3], "status": "failed", "reason": "no memory"}
    found, plain = dose_response_of(arms[:-1]), dose_response_of(study())
    assert curve_of(found, "nll").points[0].nphotons == 1e2 and plain.exposure.unit == "photons per pattern"
    words = " ".join([*verdict_in_words(found), *verdict_in_short(found), response_caption(found)])
    assert "at 25 electrons per A^2 FRC50 is" in words and "times the electrons of nll" in words
    assert "against" in words and "2.5e+03" in words and "photons" not in words
    row = response_rows(found)[0]
    assert (row["nphotons"], row["electrons per A^2"]) == (1e2, 25) and "electrons per A^2" not in response_rows(plain)[
        0
    ]
