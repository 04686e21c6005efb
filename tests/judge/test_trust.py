"""Whether a reference is true: the figure of each test against an independent one, and what a wrong scan gives."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from bench import calibration
from ptycho.config import ORIENTATIONS
from ptycho.files import ROOT
from ptycho.judge import misfit, trust
from ptycho.judge.frc import FRCCurve
from ptycho.reconstruct.reference import make_reference
from ptycho.scans.faults import DOUBTFUL, MENDED, Fault
from ptycho.scans.reconstruction import Reconstruction

RNG = np.random.default_rng


@pytest.mark.parametrize("rate", [0.01, 0.3, 1.0, 4.0, 25.0, 1000.0])
def test_counting_scatters_the_root_of_a_count_as_many_draws_do(rate):
    drawn = np.sqrt(RNG(1).poisson(rate, 400_000))
    root = np.array(drawn.mean())
    assert misfit.root_scatter(root) == pytest.approx(drawn.var(), rel=0.02)
    assert misfit.rate_of(root) == pytest.approx(rate, rel=0.02)


def rates(shape=(60, 32, 32), seed=0):
    """Of a fall from hundreds of photons to a hundredth."""
    y, x = np.indices(shape[1:]) - shape[1] // 2
    return 300 * np.exp(-np.hypot(x, y) / 2.2) * RNG(seed).uniform(0.5, 1.5, shape)


def mean_roots(true, draws=400):
    return np.mean([np.sqrt(RNG(100 + k).poisson(true)) for k in range(draws)], axis=0)


def test_the_misfit_is_the_share_of_what_differs_between_patterns_that_a_fit_leaves():
    true = rates()
    counts, root = RNG(2).poisson(true).astype(float), mean_roots(true)
    assert abs(misfit.misfit(counts, root)) < 0.02
    wrong = mean_roots(true * RNG(3).uniform(0.6, 1.4, true.shape))
    differing = np.mean((root - root.mean(axis=0)) ** 2)
    assert misfit.misfit(counts, wrong) == pytest.approx(np.mean((root - wrong) ** 2) / differing, rel=0.1)
    same = np.broadcast_to(mean_roots(true.mean(axis=0)), true.shape)  # no pattern is told from another: all is left
    assert misfit.misfit(counts, same) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("gain", [0.125, 1.0, 2.5, 12.0])
def test_the_scatter_where_few_are_predicted_is_the_detector_s_units_a_photon(gain):
    true = rates()
    counts = gain * RNG(4).poisson(true / gain)
    assert misfit.dispersion_where_few(counts, true) == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize("gain", [0.125, 1.0, 3.0, 12.0])
@pytest.mark.parametrize("masked", [False, True])
def test_the_pixels_beside_tell_the_same_without_a_fit(gain, masked):
    counts, mask = gain * RNG(4).poisson(rates() / gain), None
    if masked:
        mask = RNG(5).random(counts.shape[1:]) > 0.05
        counts[:, ~mask] = 1000
    found = misfit.dispersion_beside(counts, mask)
    # a pattern that bends from pixel to pixel adds to the scatter: much, where counting has hardly any
    assert 0.9 * gain < found < max(1.25 * gain, 0.4)


def test_a_wrong_model_does_not_look_like_a_detector_s_unit():
    true = rates()
    wrong = true * RNG(5).uniform(0.7, 1.3, true.shape)
    assert misfit.dispersion_where_few(RNG(6).poisson(true).astype(float), wrong) < 1.2


def test_no_light_has_no_scatter():
    assert misfit.dispersion_where_few(np.zeros((4, 8, 8)), np.full((4, 8, 8), 1e-3)) is None


def test_a_background_is_the_share_that_was_added():
    true = rates()
    counts = RNG(7).poisson(true + 0.1).astype(float)
    share = 0.1 * true.size / counts.sum()
    assert misfit.background(counts, true) == pytest.approx(share, rel=0.15)
    assert abs(misfit.background(RNG(8).poisson(true).astype(float), true)) < 0.05 * share


def test_both_halves_of_the_positions_cover_the_scan():
    j, i = np.divmod(np.arange(14 * 12), 12)
    board = trust.every_other(i * 5.0, j * 5.0)
    assert np.array_equal(board, (i + j) % 2 == 0)
    x, y = RNG(9).uniform(0, 100, (2, 400))
    half = trust.every_other(x, y)
    assert 180 <= half.sum() <= 220
    quadrants = [half[(x > 50) == a][((y > 50)[(x > 50) == a]) == b].mean() for a in (0, 1) for b in (0, 1)]
    assert all(0.4 < share < 0.6 for share in quadrants)
    assert trust.every_other(np.zeros(20), np.arange(20.0)).sum() == 10


def test_what_was_not_lit_is_told_by_its_share():
    coverage = np.ones((40, 40), np.float32)
    coverage[:, 20:30] = 0
    found = Reconstruction(np.ones((40, 40), np.complex64), coverage, np.zeros(2))
    x, y = np.array([0.0, 39, 0, 39]), np.array([0.0, 0, 39, 39])
    assert trust.lit_share(found, x, y) == pytest.approx(0.75, abs=0.02)
    assert trust.lit_share(found, np.zeros(5), np.arange(5.0)) is None


def test_a_runner_up_is_told_from_the_orientation_found_by_what_differs_between_patterns():
    level = RNG(1).uniform(50, 150, (400, 8, 8))
    counts = RNG(2).poisson(level).astype(float)
    # counting about the mean is a quarter a pixel, the rest of the scatter of roots is the patterns' own
    differing = np.var(np.sqrt(level), axis=0).mean()
    assert misfit.diversity(counts) == pytest.approx(differing, rel=0.03)
    losses = dict.fromkeys(ORIENTATIONS, 5.0) | {"swap": np.log(0.35), "swap-flip-xy": np.log(0.36)}
    found = trust.stand_out(losses | {"flip-x": np.log(0.45)}, "swap", counts)
    assert found == pytest.approx(0.1 / differing, rel=0.03)
    assert trust.stand_out(losses | {"flip-x": np.log(0.35)}, "swap", counts) == pytest.approx(0, abs=1e-9)


def test_the_coarsest_rings_decide_with_their_weight():
    frequency = np.arange(1, 21) / 20
    curve = FRCCurve(frequency, np.where(frequency <= 0.2, 0.9, 0.0), np.arange(1, 21) * 6)
    assert trust.coarse(curve) == pytest.approx(0.9)


def test_what_is_doubtful_and_what_was_mended_are_told_apart():
    tests = (trust.Test("misfit", 0.001, True), trust.Test("halves", 0.1, False))
    faults = (Fault("totals", "scatter by 40 %", DOUBTFUL), Fault("pixels", "2 are dead", MENDED))
    told = trust.Trust(tests, None, 0.2, faults).as_dict()
    doubts, held = told["doubts"], told["told"]
    assert doubts[0] == "totals: scatter by 40 %" and doubts[1].startswith("halves 0.1, expected at least")
    assert held[0] == "pixels: 2 are dead; mended" and held[1].startswith("misfit 0.001, expected at most")
    assert told["finest"] == 0.2 and len(told["tests"]) == 2


def verdict_on(tmp_path, arrays):
    arrays.pop("truth")
    np.savez(tmp_path / "scan.npz", **arrays)
    return trust.trust(make_reference("scan.npz", tmp_path, seed=1, orientation="as-is"), seed=1)


SMALL = {"side": 9, "dose": 1e5, "given": True}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The reference of a good scan."""
    folder, arrays = tmp_path_factory.mktemp("good"), calibration.scan(RNG(1), **SMALL)
    arrays.pop("truth")
    np.savez(folder / "scan.npz", **arrays)
    return make_reference("scan.npz", folder, seed=1, orientation="as-is")


def test_an_image_that_its_halves_do_not_show_is_seen(good):
    found = good.fit.reconstruction
    wrong = replace(found, object=found.object[::-1])
    told = trust.trust(replace(good, fit=replace(good.fit, reconstruction=wrong)), seed=1)
    assert {test.name for test in told.tests if not test.passed} >= {"misfit", "halves"}
    assert trust.agreed(found, replace(found, origin_yx=found.origin_yx + 1000)) is None


def test_a_good_scan_is_believed(good):
    found = trust.trust(good, seed=1)
    assert found.doubts == [] and 0.2 < found.finest <= 1
    assert {test.name for test in found.tests} == set(trust.LIMITS) - {"orientation"}  # it was asked for


@pytest.mark.slow
def test_positions_that_are_off_leave_what_counting_does_not_explain(tmp_path):
    found = verdict_on(tmp_path, calibration.with_places(calibration.off(7), **SMALL)(RNG(1)))
    assert "misfit" in {test.name for test in found.tests if not test.passed}


@pytest.mark.slow
def test_shuffled_positions_give_halves_that_show_nothing_in_common(tmp_path):
    shuffled = calibration.with_places(lambda xy, rng: rng.permutation(xy, axis=1), **SMALL)
    found = verdict_on(tmp_path, shuffled(RNG(1)))
    assert {test.name for test in found.tests if not test.passed} >= {"misfit", "halves"}


@pytest.fixture(scope="module")
def table():
    with open(ROOT / "reports" / "calibration" / "calibration.csv", newline="") as file:
        return list(csv.DictReader(file))


def caught(row):
    """What today's limits make of a row: the lines and tests that refuse it or leave it in doubt."""
    figures = {name: row[name] for name in trust.LIMITS}
    failed = [name for name, figure in figures.items() if figure and not trust.within(name, float(figure))]
    return [cell for cell in (row["refused"], row["told"]) if cell] + failed


def test_every_wrong_scan_is_caught_and_no_good_one(table):
    assert [(row["scan"], caught(row)) for row in table if row["kind"] in ("good", "mended") and caught(row)] == []
    assert [row["scan"] for row in table if row["kind"] == "wrong" and not caught(row)] == []


def test_a_probe_that_a_fit_does_not_find_is_caught(table):
    passed = [row for row in table if row["kind"] == "hard" and not caught(row)]
    assert passed and [(row["scan"], row["r"]) for row in passed if float(row["r"]) < 0.7] == []


def test_the_table_has_every_scan_of_the_calibration(table):
    made = {(kind, name) for kind, scans in calibration.KINDS.items() for name in scans}
    assert {(row["kind"], row["scan"]) for row in table} == made


def test_no_good_scan_lies_close_to_a_limit(table):
    for row in (row for row in table if row["kind"] == "good"):
        for name, limit in trust.LIMITS.items():
            if row[name]:
                assert 1.02 * limit.low < float(row[name]) < 0.95 * limit.high, (row["scan"], name)
