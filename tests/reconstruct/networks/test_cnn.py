"""The reference network: as many weights as PtychoPINN's, a patch a pattern, laid where the positions say."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptycho.config import PATTERN_SIZES, ModelConfig
from ptycho.physics import probes
from ptycho.reconstruct.networks import cnn, model

P = tf.fill((1, 4, 4), tf.constant(9, tf.complex64))  # as much light as in the patterns


def network(N=64, gridsize=2, m=None, border=False, filters_scale=0.05, seed=0):
    keras.utils.set_random_seed(seed)
    return cnn.EncoderDecoder(m or N, N, gridsize**2, border, filters_scale)


def inputs(N, C, B=2, seed=0, reach=5.0):
    rng = np.random.default_rng(seed)
    return rng.random((B, N, N, C), np.float32), rng.uniform(-reach, reach, (B, 1, 2, C)).astype(np.float32)


def weights_of(N, C, border):
    """Weights of PtychoPINN's network by hand: two 3 x 3 convolutions a stage and one a decoder, and the scale.

    Its n_filters_scale is 2. The last decoder convolution sees all channels but four, which are the border's.
    """
    down, up = {
        64: ([64, 128, 256], [128, 64]),
        128: ([32, 64, 128, 256], [256, 128, 64]),
        256: ([16, 32, 64, 128, 256], [512, 256, 128, 64]),
    }[N]

    def chain(before, filters):
        total = 0
        for f in filters:
            total += 9 * before * f + f + 9 * f * f + f
            before = f
        return total

    decoder = chain(256, up) + 9 * (64 - 4) * C + C
    if border:
        decoder += chain(4, [4096 // N]) + 9 * (4096 // N) * C + C
    return chain(C, down) + 2 * decoder + 1


@pytest.mark.parametrize(("N", "gridsize"), [(64, 1), (64, 2), (128, 2), (256, 2)])
@pytest.mark.parametrize("border", [False, True])
def test_it_has_the_weights_of_ptychopinn(N, gridsize, border):
    built = network(N, gridsize, border=border, filters_scale=1.0)
    built.build((None, N, N, gridsize**2))
    assert built.count_params() == weights_of(N, gridsize**2, border)
    if (N, gridsize, border) == (64, 2, False):
        assert built.count_params() == 2_257_001


@pytest.mark.parametrize("N", PATTERN_SIZES)
def test_poolings_leave_whole_pixels_and_at_least_8(N):
    k = cnn.stages(N)
    assert 2 <= k <= 5 and N % 2**k == 0 and N >> k >= 8
    assert {64: 3, 128: 4, 256: 5}.get(N, k) == k  # PtychoPINN's


@pytest.mark.parametrize(("N", "gridsize"), [(32, 5), (40, 1), (72, 4), (104, 2), (512, 1), (1000, 1), (1024, 1)])
def test_any_size_and_group_is_drawn(N, gridsize):
    amplitude, relative = inputs(N, gridsize**2, B=1)
    O = network(N, gridsize, m=44)(amplitude, relative, P)
    assert O.shape == (1, 1, 44, 44) and O.dtype == tf.complex64
    assert np.isfinite(O).all()


def test_the_border_is_drawn_where_the_probe_is_larger_than_half_the_frame():
    for sigma, border in ((4, False), (16, True)):
        y, x = np.mgrid[-32:32, -32:32]
        modes = np.exp(-(x**2 + y**2) / (2 * sigma**2)).astype(np.complex64)
        assert (probes.support_size(modes) > 32) == border
        built, _ = model.build(ModelConfig(architecture="cnn", filters_scale=0.05), modes)
        assert built.get_layer("reconstruction").border == border


@pytest.mark.parametrize("border", [False, True])
def test_the_centre_of_half_the_frame_is_drawn_from_all_channels_but_four(border):
    """The last four draw the border, which is zero where none is drawn."""
    N, built = 64, network(border=border)
    amplitude, _ = inputs(N, 4, B=1)
    before = built.patches(tf.constant(amplitude), P).numpy()
    side = N if border else N // 2
    assert before.shape == (1, 4, side, side)
    centre = np.zeros((side, side), bool)
    middle = slice(side // 2 - N // 4, side // 2 + N // 4)
    centre[middle, middle] = True
    # the amplitude is a sigmoid of up to 2, the phase within pi
    assert np.abs(before[..., centre]).max() < 2 and np.abs(before[..., centre]).min() > 0
    convolution = [layer for layer in built.amplitude.convolutions if hasattr(layer, "kernel")][-1]
    for channels, moved in ((slice(None, -4), centre), (slice(-4, None), ~centre)):
        bias = convolution.bias.numpy()
        changed = bias.copy()
        changed[channels] += 1.0
        convolution.bias.assign(changed)
        after = built.patches(tf.constant(amplitude), P).numpy()
        convolution.bias.assign(bias)
        found = np.abs(after - before).max(axis=(0, 1)) > 0
        assert not found[~moved].any() and (not moved.any() or found[moved].mean() > 0.5)


def bilinear(dy, dx, h, m):
    """(m, m, h, h): what a patch pixel puts on the canvas when index h//2 lies at canvas index m//2 + (dy, dx)."""

    def along(d):
        at = m // 2 - h // 2 + np.arange(h) + d
        return np.maximum(0, 1 - np.abs(np.arange(m)[:, np.newaxis] - at))

    return along(dy)[:, np.newaxis, :, np.newaxis] * along(dx)[np.newaxis, :, np.newaxis, :]


@pytest.mark.parametrize(("gridsize", "m", "border"), [(1, 48, False), (2, 48, False), (2, 24, False), (2, 72, True)])
def test_the_patches_are_laid_where_the_positions_say_and_averaged(gridsize, m, border):
    """On canvases that hold all patches, cut them and go beyond them; zero where none is."""
    amplitude, relative = inputs(64, gridsize**2)
    built = network(64, gridsize, m, border)
    found = built(amplitude, relative, P).numpy()
    patches = built.patches(tf.constant(amplitude), P).numpy().astype(np.complex128)
    for b in range(2):
        total, number = np.zeros((m, m), complex), np.zeros((m, m))
        for c in range(gridsize**2):
            put = bilinear(-relative[b, 0, 1, c], -relative[b, 0, 0, c], patches.shape[-1], m)
            total += np.einsum("yxij,ij->yx", put, patches[b, c])
            number += put.sum(axis=(2, 3))
        np.testing.assert_allclose(found[b, 0], total / (number + 1e-3), atol=1e-5)
        if m == 48:
            assert (number == 0).any() and not found[b, 0][number == 0].any()


def test_a_shifted_position_moves_its_patch_alone():
    amplitude, _ = inputs(64, 1, B=1)
    built = network(gridsize=1, m=64)
    one, other = (built(amplitude, np.float32(r).reshape(1, 1, 2, 1), P).numpy()[0, 0] for r in ([0, 0], [-7, 3]))
    np.testing.assert_allclose(other, np.roll(one, (-3, 7), axis=(0, 1)), atol=1e-6)
    assert np.abs(one).max() > 0.5
    # of two patterns far apart, one is where it was
    amplitude, _ = inputs(64, 4, B=1)
    built, at = network(m=96), np.zeros((1, 1, 2, 4), np.float32)
    at[0, 0, 0] = [25, -25, -25, -25]  # x, relative sign -1: the first lies to the left
    moved = at.copy()
    moved[0, 0, 0, 0] = 30
    one, other = (built(amplitude, r, P).numpy()[0, 0] for r in (at, moved))
    np.testing.assert_array_equal(one[:, 48:], other[:, 48:])
    np.testing.assert_allclose(other[:, 2:38], one[:, 7:43], atol=1e-6)


def test_the_scale_multiplies_the_object_and_divides_what_is_seen():
    amplitude, relative = inputs(64, 4)
    built = network()
    one = built(amplitude, relative, P)
    built.log_scale.assign(np.log(3.0))
    np.testing.assert_allclose(built(3 * amplitude, relative, P), 3 * one, rtol=1e-4, atol=1e-5)
    # of the unit of amplitudes, which the probe has too, nothing depends
    built.log_scale.assign(0.0)
    np.testing.assert_allclose(built(100 * amplitude, relative, 100 * P), one, rtol=1e-4, atol=1e-5)


def test_untrained_it_starts_near_empty_space():
    amplitude, _ = inputs(64, 4)
    patches = network(filters_scale=1.0).patches(tf.constant(amplitude), P).numpy()
    assert np.abs(patches - 1).max() < 0.5
