"""Losses against SciPy in float64, where counts are zero, few and ten million."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import special, stats

from ptycho.physics import losses

LOSSES = [losses.poisson_deviance, losses.amplitude_mae, losses.amplitude_mse, losses.anscombe_mse]
COUNTS = st.one_of(st.integers(0, 20), st.integers(0, 10**7))
AMPLITUDES = st.floats(0, 1e4, width=32, allow_subnormal=False)
RATES = st.one_of(st.just(0.0), st.floats(2**-20, 1e7, width=32))


def evaluate(loss, n, rate):
    """The loss in float32, as TensorFlow computes it, and its gradient with respect to the rate."""
    rate = tf.Variable(np.float32(rate))
    with tf.GradientTape() as tape:
        value = loss(tf.constant(np.float32(n)), rate)
    return value.numpy(), tape.gradient(value, rate).numpy()


def deviance64(n, rate):
    n, rate = np.float64(n), np.float64(rate) + losses.RATE_FLOOR
    return 2 * (special.xlogy(n, n / rate) - (n - rate))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 1)])
def test_elementwise_shape_in_is_shape_out(loss, shape):
    value = loss(tf.ones(shape), 2 * tf.ones(shape))
    assert value.shape == shape and value.dtype == tf.float32
    assert np.ptp(value.numpy()) == 0  # nothing is reduced or weighed by position


def mean_root64(rate):
    n = np.arange(600)
    return np.sum(np.sqrt(n + 0.375) * stats.poisson.pmf(n, rate))


@given(rate=st.floats(0, 200, width=32))
@example(rate=0.0)
@example(rate=losses.BEND)
def test_the_mean_root_is_summed_over_all_counts(rate):
    with tf.GradientTape() as tape:
        at = tf.Variable(np.float32(rate))
        found = losses.mean_root(at)
    assert float(found) == pytest.approx(mean_root64(rate), rel=1e-6)
    n = np.arange(600)
    slope = np.sum((np.sqrt(n + 1.375) - np.sqrt(n + 0.375)) * stats.poisson.pmf(n, rate))  # of a Poisson mean
    assert float(tape.gradient(found, at)) == pytest.approx(slope, abs=1e-5, rel=1e-4)


@pytest.mark.parametrize("rate", [1e3, 1e6, 1e9, 1e11])
def test_the_mean_root_of_many_photons_is_their_root(rate):
    at = tf.Variable(np.float32(rate))
    with tf.GradientTape() as tape:
        found = losses.mean_root(at)
    assert float(found) == pytest.approx(np.sqrt(rate + 0.125), rel=1e-6)
    assert float(tape.gradient(found, at)) == pytest.approx(0.5 / np.sqrt(rate), rel=1e-3)


@pytest.mark.parametrize("rate", [0.01, 0.1, 1.0, 4.0, 30.0, 1e3])
def test_the_stabilised_error_is_least_at_the_true_rate_and_that_of_plain_amplitudes_is_not(rate):
    n = np.arange(3000)
    weight = stats.poisson.pmf(n, rate)
    rates = tf.constant(np.geomspace(0.02, 2.0, 2001) * rate, tf.float32)[:, tf.newaxis]

    def least(loss):
        return float(rates[int(np.argmin(loss @ weight)), 0]) / rate

    counts = tf.constant(n, tf.float32)
    tried = {"stabilised": losses.anscombe_mse(counts, rates), "plain": losses.amplitude_mse(counts**0.5, rates**0.5)}
    found = {name: least(np.asarray(loss, np.float64)) for name, loss in tried.items()}
    assert found["stabilised"] == pytest.approx(1 - losses.RATE_FLOOR / rate, abs=0.01)
    assert rate > 20 or found["plain"] < 0.95


@given(n=COUNTS, rate=RATES)
def test_deviance_equals_float64(n, rate):
    value, gradient = evaluate(losses.poisson_deviance, n, rate)
    # float32 rounds excess and logarithm: 4 parts in 1e7 of either, which is 1e-3 photons where the deviance is one
    size = abs(np.float64(np.float32(rate)) - n) + n * abs(np.log((rate + 1e-3) / n) if n else 0)
    np.testing.assert_allclose(value, deviance64(n, np.float32(rate)), rtol=1e-6, atol=4e-7 * size + 1e-6)
    assert np.isfinite(gradient)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("error", [1e-5, -1e-5, 3e-4, 1e-2])
def test_deviance_stays_accurate_at_ten_million_photons(error, xla):
    n = 1e7
    rate = float(np.float32(n * (1 + error)))
    value, gradient = evaluate(tf.function(losses.poisson_deviance, jit_compile=xla, autograph=False), n, rate)
    assert abs(value - deviance64(n, rate)) < 1e-6 * abs(rate - n)  # 1e-4 of a photon where the deviance is 1e-3
    np.testing.assert_allclose(gradient, 2 * (1 - n / rate), rtol=1e-2)
    naive = 2 * (np.float32(n) * np.log(np.float32(n) / np.float32(rate)) - (np.float32(n) - np.float32(rate)))
    if error == 1e-5:
        assert abs(naive - deviance64(n, rate)) > 10 * abs(value - deviance64(n, rate))  # what the log1p is for


def test_deviance_of_no_counts_is_twice_the_rate_and_of_the_truth_is_zero():
    assert evaluate(losses.poisson_deviance, 0, 3.0)[0] == pytest.approx(2 * (3 + losses.RATE_FLOOR), rel=1e-6)
    assert evaluate(losses.poisson_deviance, 0, 0.0)[0] == pytest.approx(2 * losses.RATE_FLOOR, rel=1e-6)
    for n in (1, 7, 1e3, 1e7):
        assert evaluate(losses.poisson_deviance, n, n - losses.RATE_FLOOR)[0] == pytest.approx(0, abs=1e-6)


def test_no_light_predicted_where_ten_million_photons_fell_is_finite():
    value, gradient = evaluate(losses.poisson_deviance, 1e7, 0.0)
    assert np.isfinite(value) and value > 1e7
    assert np.isfinite(gradient) and gradient < -1e9


@given(n=COUNTS, rate=st.floats(2**-10, 1e7, width=32))
def test_gradient_of_the_deviance_is_twice_that_of_the_nll(n, rate):
    n, rate = np.float64(np.float32(n)), np.float64(np.float32(rate))
    step = 1j * 1e-30  # the derivative of an analytic function is the imaginary part of a step along i
    l = rate + losses.RATE_FLOOR + step
    twice = 2 * (l - n * np.log(l)).imag / 1e-30
    np.testing.assert_allclose(evaluate(losses.poisson_deviance, n, rate)[1], twice, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("n", "rate"), [(1.0, 0.25), (3.0, 3.5), (1e4, 9.9e3), (1e7, 1e7 + 100), (1e7, 2.0)])
def test_gradient_of_the_deviance_in_the_counts_is_twice_their_log_ratio(n, rate):
    counts = tf.Variable(np.float32(n))
    with tf.GradientTape() as tape:
        value = losses.poisson_deviance(counts, tf.constant(np.float32(rate)))
    expected = 2 * np.log(np.float64(n) / (np.float64(rate) + losses.RATE_FLOOR))
    np.testing.assert_allclose(tape.gradient(value, counts), expected, rtol=1e-4)


def test_expected_deviance_per_pixel_is_about_one():
    rate, pixels = 20.0, 100_000
    n = np.random.default_rng(0).poisson(rate, pixels)
    value = losses.poisson_deviance(tf.constant(n, tf.float32), tf.fill((pixels,), rate)).numpy().astype(float)
    # chi-square with one degree of freedom has variance 2; the next term of the expectation is 1 / (6 rate)
    expected = 1 + 1 / (6 * rate)
    assert abs(value.mean() - expected) < 4 * np.sqrt(2 / pixels) + rate**-2


@given(a=AMPLITUDES, predicted=AMPLITUDES)
def test_amplitude_losses_equal_numpy(a, predicted):
    error = np.float64(a) - np.float64(predicted)
    np.testing.assert_allclose(evaluate(losses.amplitude_mae, a, predicted)[0], abs(error), rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(evaluate(losses.amplitude_mse, a, predicted)[0], error**2, rtol=1e-6, atol=1e-30)


def test_a_loss_without_a_name_of_its_own_is_refused():
    for name in losses.LOSSES:
        assert losses.DiffractionLoss(name, 1.0).loss == name
    with pytest.raises(ValueError, match="loss is 'mea'; expected one of nll, mae, mse"):
        losses.DiffractionLoss("mea", 1.0)


@pytest.mark.parametrize("name", list(losses.LOSSES))
def test_a_known_background_is_part_of_every_rate(name):
    """Counts of light and background, compared with their rate, lose what a rate of both does without one."""
    rng = np.random.default_rng(4)
    s, background = 30.0, 40.0
    intensity = rng.random((3, 8, 8, 1)).astype(np.float32)
    counts = rng.poisson(s**2 * intensity + background)
    a = (np.sqrt(counts) / s).astype(np.float32)
    with_it = losses.DiffractionLoss(name, s, background=background)
    expected = losses.DiffractionLoss(name, s)(a, intensity + np.float32(background / s**2))
    np.testing.assert_allclose(with_it(a, intensity), expected, rtol=1e-5)
    again = losses.DiffractionLoss.from_config(with_it.get_config())
    assert again.background == background
    without = losses.DiffractionLoss(name, s)
    assert float(with_it(a, intensity)) < float(without(a, intensity))  # the model that is true explains more
