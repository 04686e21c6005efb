"""Photons shared in two: the fits and the judges have no noise in common, and what they judge is what was counted."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, special

from ptycho.physics.losses import RATE_FLOOR
from ptycho.reconstruct.whole import splits
from ptycho.scans import simulated
from ptycho.scans.dose import predicted_rate, split


@pytest.fixture(scope="module")
def scan():
    return simulated.simulate(64, 60, 4, seed=1, object_size=128)["train"].expose("1e4")


@pytest.fixture(scope="module")
def made(scan):
    return splits.make_splits(scan, "nll", 1)


def test_both_shares_together_are_all_that_was_counted(scan):
    one, other = split(scan, 0.8, np.random.default_rng(0))
    assert np.array_equal(one.counts() + other.counts(), scan.counts())
    for part, share in ((one, 0.8), (other, 0.2)):
        assert part.nphotons == pytest.approx(share * scan.nphotons)
        assert part.intensity_scale == pytest.approx(np.sqrt(share) * scan.intensity_scale)
    # given the true rates, the two are independent: their residuals do not correlate
    rate = predicted_rate(scan, scan.objectGuess, np.zeros(2))
    lit = rate > 1
    first, second = (p.counts()[lit] - share * rate[lit] for p, share in ((one, 0.8), (other, 0.2)))
    n = lit.sum()
    assert abs(np.mean(first * second) / (first.std() * second.std())) < 5 / np.sqrt(n)


@pytest.mark.parametrize(("M", "expected"), [(10, 1), (129, 3), (574, 17), (1666, 49), (2000, 50), (20_000, 50)])
def test_a_small_scan_takes_small_steps_and_a_thousand_of_them(M, expected):
    assert splits.batch_size(M) == expected
    assert splits.PASSES * -(-M // expected) >= min(splits.STEPS, splits.PASSES * M)


def test_every_pattern_is_judged_by_the_photons_that_its_fit_did_not_see(scan, made):
    assert len(made.fits) == splits.SPLITS and made.patterns == len(scan)
    rest = made.rest.counts().reshape(splits.SPLITS, *scan.diff3d.shape)
    share = rest.sum(axis=(1, 2, 3)) / scan.counts().sum()
    assert np.all(np.abs(share - (1 - splits.SHARE)) < 0.01)
    assert len({part.tobytes() for part in rest}) == splits.SPLITS
    assert np.array_equal(made.rest.xcoords, np.tile(scan.xcoords, splits.SPLITS))


def test_the_judge_has_the_deviance_of_an_independent_count(scan, made):
    judge, O = splits.Judge(made.rest, "nll"), made.fits[1].found
    chosen = np.arange(len(scan), len(scan) + 6)
    rate = predicted_rate(made.rest.subset(chosen), O.object, O.origin_yx) + RATE_FLOOR
    n = made.rest.counts()[chosen]
    expected = np.log((2 * (special.xlogy(n, n / rate) - (n - rate))).mean(axis=(1, 2))).mean()
    found = judge.mean_loss(tf.constant(O.object), tf.constant(chosen, tf.int32))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_its_gradient_is_the_slope_of_its_loss(scan, made):
    judge, O = splits.Judge(made.rest, "nll"), made.fits[0].found.object
    chosen, rng = tf.range(8), np.random.default_rng(0)
    loss, gradient = judge.gradient(tf.constant(O), chosen)
    assert float(loss) == pytest.approx(float(judge.mean_loss(tf.constant(O), chosen)), rel=1e-6)
    direction = (rng.normal(size=O.shape) + 1j * rng.normal(size=O.shape)).astype(np.complex64)
    step = 1e-2
    ahead, behind = (float(judge.mean_loss(tf.constant(O + s * direction), chosen)) for s in (step, -step))
    slope = np.vdot(gradient.numpy(), direction).real
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=0.05)


@pytest.mark.slow
def test_no_masked_pixel_is_judged(scan):
    mask = np.ones((64, 64), bool)
    mask[:, 30:34] = False
    masked = replace(scan, mask=mask)
    other = replace(masked, diff3d=np.where(mask, scan.diff3d, 7).astype(np.float32))
    one, two = (splits.make_splits(data, "nll", 1) for data in (masked, other))
    chosen = tf.range(10)
    losses = [
        float(splits.Judge(made.rest, "nll").mean_loss(tf.constant(one.fits[0].found.object), chosen))
        for made in (one, two)
    ]
    assert np.isfinite(losses).all()
    assert losses[0] == pytest.approx(losses[1], rel=0.1)  # other coins fall, for other counts are masked


def test_the_noise_of_a_fit_is_that_of_its_photons(scan):
    fitted = splits.fit(scan, "nll", 1)
    light = fitted.found.coverage
    bright = light > 0.5 * light.max()
    photons = light * scan.counts().sum() / light.sum()
    np.testing.assert_allclose(fitted.sigma[bright], 1 / np.sqrt(photons[bright]), rtol=1e-4)
    assert fitted.sigma.max() == pytest.approx(fitted.sigma.min() / np.sqrt(splits.FAINTEST), rel=1e-3)


def test_known_background_makes_a_fit_no_surer(scan, monkeypatch):
    counts = scan.counts()
    brighter = replace(scan, diff3d=np.sqrt(counts + 2).astype(np.float32) / scan.intensity_scale, background=2.0)
    alone = splits.fit(scan, "nll", 1)
    monkeypatch.setattr(splits.direct, "fit", lambda *_, **__: type("Fit", (), {"reconstruction": alone.found}))
    np.testing.assert_allclose(splits.fit(brighter, "nll", 1).sigma, alone.sigma, rtol=1e-4)


def test_the_scatter_of_shares_tells_the_noise_of_the_whole():
    """Means of subsamples: of n normal values, the mean of a share p varies about that of all by sigma^2/n (1-p)/p."""
    rng = np.random.default_rng(0)
    n, side, repeats = 1000, 40, splits.SPLITS
    values = rng.normal(size=(n, side, side)) + 1j * rng.normal(size=(n, side, side))
    keep = rng.random((repeats, n)) < splits.SHARE
    means = np.stack([values[one].mean(axis=0) for one in keep]).astype(np.complex64)
    lit = np.hypot(*(np.mgrid[:side, :side] - side // 2)) < 15
    sigma = splits.scatter(list(np.where(lit, means, 1)), lit)
    assert np.nanmean(sigma) == pytest.approx(np.sqrt(2 / n), rel=0.08)
    # nothing is known where no light fell, and the rim is as uncertain as the middle
    assert np.array_equal(np.isnan(sigma), ~lit)
    rim = lit & (ndimage.distance_transform_edt(lit) < 2)
    assert np.nanmean(sigma[rim]) == pytest.approx(np.sqrt(2 / n), rel=0.15)
