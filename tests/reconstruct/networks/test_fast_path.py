"""What was made fast changes no number: the forward model, the losses and their gradients as written in a textbook.

The fast path is compiled by XLA in single precision, crops the probe and transforms in corner order. The plain one is
NumPy in double precision, whole frames, one pattern after the other, and finite differences.
"""

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from ptycho.config import LOSSES
from ptycho.physics import losses, optics, probes
from ptycho.physics.losses import DiffractionLoss

N, m, S = 64, 44, 300.0  # detector, canvas, intensity scale


@pytest.fixture(scope="module")
def case():
    """Four patterns of one object through a disk, and counts of another object there."""
    rng = np.random.default_rng(7)
    O, other = (1 + 0.3 * (rng.normal(size=(m, m)) + 1j * rng.normal(size=(m, m))) for _ in range(2))
    offsets = rng.uniform(-4, 4, (4, 2)).astype(np.float32).astype(np.float64)  # the very same in both precisions
    counts = rng.poisson(S**2 * intensity(other, offsets)).astype(np.float64)
    return O, offsets, counts


def intensity(O, offsets):
    """|fftshift(FFT2(P O_k))|^2 / N^2 of each pattern, (K, N, N) float64, whole frames around the canvas."""
    P, found = probes.disk(N).astype(np.complex128), []
    frame = np.pad(O, N)  # far more than any patch reaches
    for dy, dx in offsets:
        y, x = m // 2 + N + dy - N // 2, m // 2 + N + dx - N // 2
        rows, columns = int(np.floor(y)), int(np.floor(x))
        u, v = y - rows, x - columns
        W = frame[rows : rows + N + 1, columns : columns + N + 1]
        W = (1 - u) * W[:-1] + u * W[1:]
        patch = (1 - v) * W[:, :-1] + v * W[:, 1:]
        found.append(np.abs(np.fft.fftshift(np.fft.fft2(P * patch))) ** 2 / N**2)
    return np.array(found)


def plain(loss, O, offsets, counts):
    """The objective of one group, a float."""
    n, rate = counts, S**2 * intensity(O, offsets)
    if loss == "nll":
        rate = rate + losses.RATE_FLOOR
        elementwise = 2 * (special.xlogy(n, n / rate) - (n - rate))
    elif loss == "anscombe":
        elementwise = (np.sqrt(n + 0.375) - mean_root(rate + losses.RATE_FLOOR)) ** 2
    else:
        error = np.sqrt(n) - np.sqrt(rate)
        elementwise = np.abs(error) if loss == "mae" else error**2
    return np.log(elementwise.mean())


def mean_root(rate):
    """Over all counts of a Poisson distribution; beyond 400 photons what is left of its series is below 1e-7."""
    n, few = np.arange(600)[:, np.newaxis], rate < 400
    found = np.sqrt(rate + 0.375) - 1 / (8 * np.sqrt(np.maximum(rate, 1)))
    found[few] = np.sum(np.sqrt(n + 0.375) * stats.poisson.pmf(n, rate[few]), axis=0)
    return found


def fast(loss, O, offsets, counts):
    """The same and its gradient dL/dx + i dL/dy (m, m), as the networks and ``direct`` compute them."""
    P = tf.constant(probes.cropped_modes(probes.disk(N)))
    objective = DiffractionLoss(loss, S)
    A = optics.to_corner(tf.constant(np.sqrt(counts)[None] / S, tf.float32))
    at = tf.constant(offsets[None], tf.float32)

    @tf.function(jit_compile=True)
    def value_and_gradient(canvas):
        with tf.GradientTape() as tape:
            tape.watch(canvas)
            T = optics.Translation(at, P.shape[-1], m)
            value = objective(A, optics.diffract(T.forward(canvas), P, N))
        return value, tape.gradient(value, canvas)

    value, gradient = value_and_gradient(tf.constant(O[None], tf.complex64))
    return float(value), gradient.numpy()[0].astype(np.complex128)


def test_the_forward_model_is_the_plain_one_to_1e_5(case):
    O, offsets, _ = case
    P = tf.constant(probes.cropped_modes(probes.disk(N)))

    @tf.function(jit_compile=True)
    def diffract(canvas, at):
        T = optics.Translation(at, P.shape[-1], m)
        return optics.to_centre(optics.diffract(T.forward(canvas), P, N))

    found = diffract(tf.constant(O[None], tf.complex64), tf.constant(offsets[None], tf.float32)).numpy()[0]
    expected = intensity(O, offsets)
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)
    np.testing.assert_allclose(np.sqrt(found), np.sqrt(expected), atol=1e-5 * np.sqrt(expected).max())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_and_their_gradients_are_the_plain_ones_to_1e_5(loss, case):
    value, gradient = fast(loss, *case)
    O, *measured = case
    assert value == pytest.approx(plain(loss, O, *measured), abs=1e-5)
    rng, h = np.random.default_rng(1), 1e-4 if loss == "anscombe" else 1e-6  # scipy's pmf is right to 1e-12 alone
    lit = np.abs(gradient) > 0  # where no light falls, nothing changes
    assert lit.any()
    for _ in range(5):
        direction = lit * (rng.normal(size=(m, m)) + 1j * rng.normal(size=(m, m)))
        direction *= np.linalg.norm(gradient) / np.linalg.norm(direction)
        direction += gradient  # half along the gradient: a slope that rounding does not drown
        direction /= np.linalg.norm(direction)
        slope = (plain(loss, O + h * direction, *measured) - plain(loss, O - h * direction, *measured)) / (2 * h)
        assert np.vdot(gradient, direction).real == pytest.approx(slope, rel=1e-5)
