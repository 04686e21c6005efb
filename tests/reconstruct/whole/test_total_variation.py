"""The fit smoothed by total variation: the minimum against an independent one, and the weight that photons choose."""

import numpy as np
import pytest
import tensorflow as tf
from skimage.restoration import denoise_tv_chambolle

from ptycho.judge.parts import judge
from ptycho.reconstruct.whole import splits, total_variation
from ptycho.scans import simulated


def cost(u, O, threshold):
    """The sum that is to be least, in NumPy."""
    y, x = (np.diff(u, axis=axis, append=np.take(u, [-1], axis=axis)) for axis in (0, 1))
    return np.sum(np.abs(u - O) ** 2) / 2 + np.sum(threshold * np.sqrt(np.abs(y) ** 2 + np.abs(x) ** 2))


def noisy(seed, shape=(40, 33)):
    rng = np.random.default_rng(seed)
    O = np.ones(shape, complex)
    O[8:20, 5:25] = 0.7 * np.exp(0.8j)
    return (O + 0.1 * (rng.normal(size=shape) + 1j * rng.normal(size=shape))).astype(np.complex64)


def denoised(O, threshold):
    return total_variation.denoise(tf.constant(O), tf.constant(threshold, tf.float32)).numpy()


def test_the_gradient_and_its_adjoint_pass_the_dot_product_test():
    rng = np.random.default_rng(0)
    u, p = ((rng.normal(size=shape) + 1j * rng.normal(size=shape)) for shape in ((7, 9), (2, 7, 9)))
    one = np.vdot(p, total_variation._gradient(tf.constant(u)).numpy())
    other = np.vdot(total_variation._adjoint(tf.constant(p)).numpy(), u)
    assert one == pytest.approx(other, rel=1e-12)


@pytest.mark.parametrize("threshold", [0.02, 0.15, 1.0])
def test_nothing_near_it_costs_less(threshold):
    O = noisy(1)
    weights = np.full(O.shape, threshold, np.float32)
    u = denoised(O, weights)
    least, rng = cost(u, O, weights), np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(20):
            other = u + size * (rng.normal(size=O.shape) + 1j * rng.normal(size=O.shape))
            assert cost(other, O, weights) > least
        assert cost(u + size * (O - u), O, weights) >= least * (1 - 1e-5)


def test_of_a_real_image_it_is_the_minimum_that_scikit_image_finds():
    O = noisy(3).real
    theirs = denoise_tv_chambolle(O, weight=0.15, eps=1e-9, max_num_iter=20_000)
    ours = denoised(O.astype(np.complex64), np.full(O.shape, 0.15))
    assert np.abs(ours.imag).max() == 0
    assert cost(ours, O, 0.15) <= cost(theirs, O, 0.15) * 1.002  # theirs took up to 20 000 iterations
    assert np.sqrt(np.mean((ours.real - theirs) ** 2)) < 3e-3  # of noise of 0.1


def test_it_keeps_the_mean_and_the_phase_of_the_whole_and_a_constant():
    O, weights = noisy(4), np.full((40, 33), 0.1)
    u = denoised(O, weights)
    assert u.mean() == pytest.approx(O.mean(), abs=1e-5)
    np.testing.assert_allclose(denoised(O * np.complex64(1j), weights), 1j * u, atol=1e-5)
    flat = np.full((40, 33), 1 + 2j, np.complex64)
    np.testing.assert_allclose(denoised(flat, weights), flat, atol=1e-6)


@pytest.mark.slow
def test_photons_held_out_choose_a_weight_that_lowers_the_error():
    scan = simulated.simulate(64, 250, 4, seed=1, object_size=128)["train"].expose("1e4")
    found, weight = total_variation.reconstruct(scan, "nll", 1)
    assert 0.2 < weight < 2
    fitted = splits.fit(scan, "nll", 1)
    assert judge(found, scan).relative_mse < 0.5 * judge(fitted.found, scan).relative_mse
    # a wrong weight would have been seen: the error is near the least that any of them has
    errors = {w: judge(total_variation.smoothed(fitted, w), scan).relative_mse for w in total_variation.WEIGHTS}
    assert errors[weight] < 1.6 * min(errors.values())
