"""What the networks share, and the unrolled one, which is plain physics while it is untrained."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from ptycho.config import ModelConfig
from ptycho.physics import probes
from ptycho.reconstruct.networks import layers, model
from ptycho.reconstruct.networks.unrolled import Unrolled


def bilinear_matrix(dy, dx, n, m):
    """Canvas (m*m) -> patch (n*n): index n//2 at canvas index m//2 + (dy, dx); zero outside."""
    i, j = (part.ravel() for part in np.mgrid[:n, :n])
    y, x = m // 2 - n // 2 + i + dy, m // 2 - n // 2 + j + dx
    u, v = np.floor(y).astype(int), np.floor(x).astype(int)
    T = sparse.csr_matrix((n * n, m * m))
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = (1 - np.abs(y - u - a)) * (1 - np.abs(x - v - b))
        inside = (u + a >= 0) & (u + a < m) & (v + b >= 0) & (v + b < m)
        where = (np.flatnonzero(inside), ((u + a) * m + v + b)[inside])
        T = T + sparse.csr_matrix((weight[inside], where), shape=(n * n, m * m))
    return T


def accelerated_descent(amplitude, relative, modes, m, iterations, poisson):
    """The object (m, m) of one group after so many steps, in float64 and by another road than the network's.

    O <- O - v, v <- v/2 + g / (0.9 coverage + 0.1 max coverage), with g the gradient over all patterns of the group of
    half the squared amplitude error, or of a part ``poisson`` of half the Poisson one, under a background of a
    thousandth of the mean intensity; amplitudes are centred, exit waves in the middle of their frame.
    """
    N, C = amplitude.shape[0], amplitude.shape[-1]
    L, n, _ = modes.shape
    T = [bilinear_matrix(-relative[1, c], -relative[0, c], n, m) for c in range(C)]
    light = np.sum(np.abs(modes.astype(np.complex128)) ** 2, axis=0).ravel()
    coverage = sum(t.T @ light for t in T)
    weight = 1 / (0.9 * coverage + 0.1 * coverage.max())
    background = 1e-3 * light.sum() / N**2
    inside = slice(N // 2 - n // 2, N // 2 - n // 2 + n)
    O, v = np.ones(m * m, np.complex128), np.zeros(m * m, np.complex128)
    for _ in range(iterations):
        g = np.zeros(m * m, np.complex128)
        for c, t in enumerate(T):
            patch = (t @ O).reshape(n, n)
            waves = np.zeros((L, N, N), np.complex128)
            waves[:, inside, inside] = modes * patch
            Psi = np.fft.fftshift(np.fft.fft2(waves), axes=(-2, -1)) / N
            ratio = (amplitude[..., c] ** 2 + background) / (np.sum(np.abs(Psi) ** 2, axis=0) + background)
            excess = (1 - poisson) * (1 - np.sqrt(ratio)) + poisson * (1 - ratio)
            back = np.fft.ifft2(np.fft.ifftshift(excess * Psi, axes=(-2, -1))) * N
            g += t.T @ np.sum(modes.conj() * back[:, inside, inside], axis=0).ravel()
        v = 0.5 * v + weight * g
        O = O - v
    return O.reshape(m, m)


def inputs(N, C, B=2, seed=0, reach=5.0):
    rng = np.random.default_rng(seed)
    return rng.random((B, N, N, C), np.float32), rng.uniform(-reach, reach, (B, 1, 2, C)).astype(np.float32)


@pytest.mark.parametrize(("L", "poisson"), [(1, 0.0), (2, 0.0), (1, 0.6)])
def test_the_untrained_unrolled_network_is_plain_physics(L, poisson):
    N, C = 64, 4
    y, x = np.mgrid[:N, :N] / N
    probe = probes.disk(N) * np.exp(2j * (x + y**2)).astype(np.complex64)
    probe = np.stack([probe, 0.5j * np.roll(probe, (3, -2), axis=(0, 1))])[:L]
    modes = probes.cropped_modes(probe)
    m = layers.canvas_size(modes.shape[-1], 5.0)
    _, relative = inputs(N, C)
    rng = np.random.default_rng(1)
    truth = 1 + 0.3 * (rng.normal(size=(2, m, m)) + 1j * rng.normal(size=(2, m, m)))
    # patterns of an object under a probe with light at all frequencies: where the model has hardly any light and the
    # pattern does, the phase of the model's field is rounding error, and two right implementations part
    amplitude = np.sqrt(layers.Diffraction(N)(tf.constant(truth, tf.complex64), relative, tf.constant(modes)).numpy())
    network = Unrolled(m, blocks=2, steps=2, filters=4)
    assert not network.poisson.numpy().any()  # an untrained one is led by amplitudes
    network.poisson.assign(np.full((2, 2), poisson))
    estimates = network(tf.constant(amplitude), tf.constant(relative), tf.constant(modes)).numpy()
    assert estimates.shape == (2, 2, m, m) and estimates.dtype == np.complex64
    for b in range(2):
        for block in range(2):
            expected = accelerated_descent(amplitude[b], relative[b, 0], modes, m, 2 * (block + 1), poisson)
            assert np.abs(expected - 1).max() > 0.1  # it did move
            np.testing.assert_allclose(estimates[b, block], expected, atol=1e-4)
            assert np.linalg.norm(estimates[b, block] - expected) < 1e-4 * np.linalg.norm(expected - 1)


def test_the_physics_finds_the_object_that_made_the_patterns():
    """A group from a known object: after 24 steps the misfit has fallen a hundredfold."""
    rng = np.random.default_rng(0)
    modes = probes.cropped_modes(probes.disk(64))
    m = layers.canvas_size(modes.shape[-1], 8.0)
    coarse = rng.uniform(0.7, 1.3, (1, m // 4, m // 4, 1)).astype(np.float32)
    truth = tf.cast(tf.image.resize(coarse, (m, m), method="bicubic")[..., 0], tf.complex64)
    relative = tf.constant(rng.uniform(-8, 8, (1, 1, 2, 4)), tf.float32)
    measure = layers.Diffraction(64)
    intensity = measure(truth, relative, tf.constant(modes))
    estimates = Unrolled(m, blocks=1, steps=24, filters=4)(tf.sqrt(intensity), relative, tf.constant(modes))

    def misfit(O):
        return float(tf.reduce_sum((tf.sqrt(measure(O, relative, tf.constant(modes))) - tf.sqrt(intensity)) ** 2))

    assert misfit(estimates[:, -1]) < 0.01 * misfit(tf.ones_like(truth))


def objective_gradients(config, probe=None, amplitude=None):
    """The objects, and the gradient of the amplitude misfit with respect to each trainable weight."""
    keras.utils.set_random_seed(0)
    autoencoder, _ = model.build(config, probe)
    random, relative = inputs(config.N, config.channels, B=1)
    amplitude = random if amplitude is None else amplitude
    with tf.GradientTape() as tape:
        obj, predicted, _ = autoencoder([amplitude, relative])
        value = tf.reduce_mean((predicted - amplitude) ** 2)
    weights = autoencoder.trainable_weights
    gradients = tape.gradient(value, [w.value for w in weights])
    return obj.numpy(), dict(zip([w.path for w in weights], gradients, strict=True))


@pytest.mark.parametrize("architecture", ["unrolled", "cnn"])
@pytest.mark.parametrize("dark", [False, True])
def test_gradients_are_finite_also_where_no_photon_came(architecture, dark):
    config = ModelConfig(architecture=architecture, blocks=2, steps=1, filters=4, filters_scale=0.1)
    amplitude = np.zeros((1, 64, 64, 4), np.float32) if dark else None
    obj, gradients = objective_gradients(config, amplitude=amplitude)
    assert np.isfinite(obj).all()
    for path, gradient in gradients.items():
        assert gradient is not None and np.isfinite(gradient).all(), path


def test_a_trainable_probe_is_one_more_weight_and_learns():
    small = {"blocks": 1, "steps": 1, "filters": 4}
    _, fixed = objective_gradients(ModelConfig(**small))
    _, free = objective_gradients(ModelConfig(**small, probe_trainable=True))
    (added,) = set(free) - set(fixed)
    assert len(free) == len(fixed) + 1 and "probe" in added
    assert np.isfinite(free[added]).all() and np.abs(free[added]).max() > 1e-4


@pytest.mark.parametrize("architecture", ["unrolled", "cnn"])
def test_two_incoherent_modes(architecture):
    probe = np.stack([probes.disk(64), 0.3j * np.roll(probes.disk(64), 2, axis=0)])
    config = ModelConfig(architecture=architecture, blocks=1, steps=1, filters=4, filters_scale=0.1)
    autoencoder, _ = model.build(config, probe)
    one, _ = model.build(config, probe[0])
    amplitude, relative = inputs(64, 4)
    intensity = autoencoder([amplitude, relative])[2].numpy()
    assert intensity.shape == (2, 64, 64, 4) and np.isfinite(intensity).all()
    # the second mode brings light, with the untrained objects close to one
    assert np.abs(intensity.sum() / one([amplitude, relative])[2].numpy().sum() - 1) > 0.01


@pytest.mark.parametrize(("m", "N"), [(40, 64), (80, 64), (64, 64), (44, 64)])
def test_the_frame_keeps_the_centre_and_fills_with_ones(m, N):
    O = np.full((1, m, m), 3j, np.complex64)
    O[0, m // 2, m // 2] = 7
    framed = layers.Frame(N)(tf.constant(O)).numpy()
    assert framed.shape == (1, N, N, 1) and framed[0, N // 2, N // 2, 0] == 7
    assert (framed == 1).sum() == max(0, N * N - m * m)


@pytest.mark.parametrize(("n", "max_offset"), [(22, 8.0), (30, 0.0), (64, 12.3)])
def test_the_canvas_holds_every_patch(n, max_offset):
    m = layers.canvas_size(n, max_offset)
    assert m % 4 == 0
    assert m // 2 - n // 2 - max_offset >= 0  # first pixel of a patch
    assert m // 2 - n // 2 + n - 1 + max_offset <= m - 1  # and its last
    assert m < n + 2 * max_offset + 2 + 4


@pytest.mark.parametrize("xla", [False, True])
def test_the_convolutions_gradients_are_those_of_tensorflow(xla):
    rng = np.random.default_rng(3)
    x, kernel, weight = (
        tf.constant(rng.standard_normal(shape), tf.float32) for shape in ((2, 6, 9, 5), (3, 3, 5, 4), (2, 6, 9, 4))
    )
    layer = layers.Convolution(4, use_bias=False)
    layer.build(x.shape)
    layer.kernel.assign(kernel)

    @tf.function(jit_compile=xla, autograph=False)
    def found():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(weight * layer(x))
        return value, tape.gradient(value, [x, layer.kernel.value])

    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        value = tf.reduce_sum(weight * tf.nn.conv2d(x, kernel, 1, "SAME"))
    expected = value, tape.gradient(value, [x, kernel])
    for one, other in zip(tf.nest.flatten(found()), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_convolution_comes_back_from_its_configuration():
    one = layers.Convolution(4, activation="relu", name="block0_in")
    other = layers.Convolution.from_config(one.get_config())
    assert other.get_config() == one.get_config()
