"""Optics against an independent NumPy oracle: explicit bilinear loops, ``numpy.fft``, and the exposure's own model."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.physics import optics, probes
from ptycho.physics.photons import ideal_amplitude

FRACTION = st.floats(-4, 4, width=32, allow_subnormal=False)


def complex_normal(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def loop_patch(canvas, dy, dx, n):
    """Patch index n//2 at canvas index m//2 + (dy, dx): four weights a pixel, float64, zero outside the canvas."""
    m = canvas.shape[-1]
    patch = np.zeros((n, n), np.complex128)
    for i in range(n):
        for j in range(n):
            y, x = m // 2 - n // 2 + i + float(dy), m // 2 - n // 2 + j + float(dx)
            for u in (int(np.floor(y)), int(np.floor(y)) + 1):
                for v in (int(np.floor(x)), int(np.floor(x)) + 1):
                    if 0 <= u < m and 0 <= v < m:
                        patch[i, j] += (1 - abs(y - u)) * (1 - abs(x - v)) * canvas[u, v]
    return patch


def numpy_intensity(patch, modes, N):
    """Centred order, the exit waves in the middle of the frame: another way than padding at its end."""
    n = patch.shape[-1]
    before = N // 2 - n // 2
    intensity = np.zeros((N, N))
    for mode in modes:
        wave = np.zeros((N, N), np.complex128)
        wave[before : before + n, before : before + n] = mode * patch
        intensity += np.abs(np.fft.fftshift(np.fft.fft2(wave)) / N) ** 2
    return intensity


def inner(a, b):
    return np.vdot(np.asarray(a, np.complex128), np.asarray(b, np.complex128))


@given(
    offsets=st.lists(st.tuples(FRACTION, FRACTION), min_size=1, max_size=3),
    n=st.integers(2, 9),
    extra=st.integers(0, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_translation_equals_bilinear_loops(offsets, n, extra, seed):
    m = n + extra  # small canvases too: what lies outside is zero
    canvas = complex_normal(np.random.default_rng(seed), m, m)
    patches = optics.Translation(tf.constant([offsets]), n, m).forward(tf.constant(canvas[None])).numpy()[0]
    expected = [loop_patch(canvas, dy, dx, n) for dy, dx in offsets]
    np.testing.assert_allclose(patches, expected, atol=2e-5)


def test_whole_offsets_cut_the_canvas_row_first():
    canvas = np.arange(12 * 12, dtype=np.float32).reshape(1, 12, 12).astype(np.complex64)
    T = optics.Translation(tf.constant([[[2.0, -1.0]]]), n=4, m=12)
    # index n//2 = 2 at (6 + 2, 6 - 1)
    np.testing.assert_array_equal(T.forward(tf.constant(canvas))[0, 0], canvas[0, 6:10, 3:7])


@given(
    B=st.integers(1, 3),
    C=st.integers(1, 4),
    n=st.integers(2, 12),
    extra=st.integers(0, 12),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
def test_translation_passes_the_dot_product_test(B, C, n, extra, seed):
    rng, m = np.random.default_rng(seed), n + extra
    T = optics.Translation(tf.constant(rng.uniform(-5, 5, (B, C, 2)), tf.float32), n, m)
    O, patches = complex_normal(rng, B, m, m), complex_normal(rng, B, C, n, n)
    forward, adjoint = T.forward(tf.constant(O)).numpy(), T.adjoint(tf.constant(patches)).numpy()
    scale = np.linalg.norm(O) * np.linalg.norm(patches)
    assert abs(inner(patches, forward) - inner(adjoint, O)) < 1e-5 * scale


@pytest.mark.parametrize("n", [10, 16])
def test_illumination_and_far_field_pass_the_dot_product_test(n):
    rng, N = np.random.default_rng(n), 16
    P, patches = complex_normal(rng, 2, n, n), complex_normal(rng, 3, n, n)
    waves, fields = complex_normal(rng, 3, 2, n, n), complex_normal(rng, 3, 2, N, N)
    one = inner(waves, optics.illuminate(tf.constant(patches), tf.constant(P)))
    other = inner(optics.illuminate_adjoint(tf.constant(waves), tf.constant(P)), patches)
    assert abs(one - other) < 1e-5 * np.linalg.norm(waves) * np.linalg.norm(patches)
    one = inner(fields, optics.far_field(tf.constant(waves), N))
    other = inner(optics.far_field_adjoint(tf.constant(fields), n), waves)
    assert abs(one - other) < 1e-5 * np.linalg.norm(waves) * np.linalg.norm(fields)


@pytest.mark.parametrize("n", [9, 10, 16])
def test_far_field_is_unitary(n):
    waves = complex_normal(np.random.default_rng(n), 4, n, n)
    fields = optics.far_field(tf.constant(waves), 16).numpy()
    np.testing.assert_allclose(np.sum(np.abs(fields) ** 2), np.sum(np.abs(waves) ** 2), rtol=1e-5)
    np.testing.assert_allclose(optics.far_field_adjoint(tf.constant(fields), n), waves, atol=1e-5)


@pytest.mark.parametrize("kind", ["disk", "zone_plate"])
@pytest.mark.parametrize("L", [1, 2])
def test_diffraction_equals_numpy_and_the_exposure(kind, L):
    rng, N, m = np.random.default_rng(3), 32, 40
    probe = probes.make_probe(kind, N)
    probe = np.stack([probe, 0.5j * np.roll(probe, (1, 2), axis=(0, 1))])[:L]
    P = probes.cropped_modes(probe)
    canvas, offsets = complex_normal(rng, m, m), rng.uniform(-3, 3, (1, 5, 2)).astype(np.float32)
    T = optics.Translation(tf.constant(offsets), P.shape[-1], m)
    corner = optics.diffract(T.forward(tf.constant(canvas[None])), tf.constant(P), N)
    intensity = optics.to_centre(corner).numpy()[0]
    assert intensity.shape == (5, N, N) and intensity.dtype == np.float32
    peak = intensity.max()
    for k, (dy, dx) in enumerate(offsets[0]):
        expected = numpy_intensity(loop_patch(canvas, dy, dx, P.shape[-1]), P, N)
        np.testing.assert_allclose(intensity[k], expected, atol=1e-5 * peak)
    # the exposure takes the probe whole where it can; the network only where 99.99 % of its energy is
    frame = np.pad(canvas, N // 2)
    y, x = m // 2 + N // 2 + offsets[0].T.astype(np.float64)
    expected = ideal_amplitude(frame, probe, x, y) ** 2
    np.testing.assert_allclose(intensity, expected, atol=(1e-5 if kind == "disk" else 0.03) * peak)


def test_modes_add_incoherently():
    rng = np.random.default_rng(0)
    patches, P = tf.constant(complex_normal(rng, 3, 8, 8)), complex_normal(rng, 2, 8, 8)
    both = optics.diffract(patches, tf.constant(P), 16)
    apart = [optics.diffract(patches, tf.constant(P[k : k + 1]), 16) for k in range(2)]
    np.testing.assert_allclose(both, apart[0] + apart[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("N", [7, 8])
def test_centre_and_corner_are_the_two_shifts(N):
    x = np.random.default_rng(0).normal(size=(2, 3, N, N)).astype(np.float32)
    np.testing.assert_array_equal(optics.to_corner(tf.constant(x)), np.fft.ifftshift(x, axes=(-2, -1)))
    np.testing.assert_array_equal(optics.to_centre(tf.constant(x)), np.fft.fftshift(x, axes=(-2, -1)))
    np.testing.assert_array_equal(optics.to_centre(optics.to_corner(tf.constant(x))), x)


def test_coverage_is_the_light_that_patterns_bring():
    rng, n, m = np.random.default_rng(1), 6, 14
    P, offsets = complex_normal(rng, 2, n, n), rng.uniform(-3, 3, (2, 3, 2)).astype(np.float32)
    T = optics.Translation(tf.constant(offsets), n, m)
    light = optics.coverage(T, tf.constant(P)).numpy()
    assert light.shape == (2, m, m) and light.dtype == np.float32
    fluence = np.sum(np.abs(P) ** 2, axis=0)
    # what canvas pixel (u, v) gets is what an object that is one there, and zero elsewhere, lets through
    for u, v in ((7, 7), (3, 9), (0, 0)):
        delta = np.zeros((m, m))
        delta[u, v] = 1
        for b in range(2):
            expected = sum(np.sum(fluence * loop_patch(delta, dy, dx, n).real) for dy, dx in offsets[b])
            assert light[b, u, v] == pytest.approx(expected, abs=1e-4)


def gradient_case(L=2):
    rng, n, N = np.random.default_rng(5), 6, 8
    patches, P = complex_normal(rng, 3, n, n), complex_normal(rng, L, n, n)
    A = np.abs(rng.normal(size=(3, N, N))).astype(np.float32)
    return patches, P, A


DATA_TERMS = [(0.0, 1e-6), (0.0, 0.05), (0.35, 0.05), (1.0, 0.05), (1.0, 1e-2), (-0.2, 0.3)]


def misfit(patches, P, A, poisson, floor):
    """The data term, float64, in corner order."""
    N = A.shape[-1]
    total = 0.0
    for patch, a in zip(patches.astype(np.complex128), A.astype(np.float64), strict=True):
        intensity = sum(np.abs(np.fft.fft2(mode * patch, s=(N, N)) / N) ** 2 for mode in P.astype(np.complex128))
        expected, measured = intensity + floor, a**2 + floor
        total += (1 - poisson) / 2 * np.sum((np.sqrt(expected) - np.sqrt(measured)) ** 2)
        total += poisson / 2 * np.sum(expected - measured * np.log(expected))
    return total


@pytest.mark.parametrize(("poisson", "floor"), DATA_TERMS)
def test_data_gradient_equals_finite_differences(poisson, floor):
    """dL = Re sum conj(g) dO, so that g = dL/dx + i dL/dy: the direction of steepest ascent."""
    patches, P, A = gradient_case()
    g, intensity = optics.data_gradient(tf.constant(patches), tf.constant(P), tf.constant(A), poisson, floor)
    np.testing.assert_allclose(intensity, optics.diffract(tf.constant(patches), tf.constant(P), 8), rtol=1e-5)
    h = 1e-5
    for index in ((0, 0, 0), (1, 2, 5), (2, 3, 1)):
        step = np.zeros(patches.shape, np.complex128)
        step[index] = h
        slope = [
            (misfit(patches + s, P, A, poisson, floor) - misfit(patches - s, P, A, poisson, floor)) / (2 * h)
            for s in (step, 1j * step)
        ]
        assert g.numpy()[index] == pytest.approx(slope[0] + 1j * slope[1], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("poisson", "floor"), DATA_TERMS)
def test_data_gradient_equals_automatic_differentiation(poisson, floor):
    """TensorFlow's gradient of a real function of z is dL/dx + i dL/dy, that is 2 dL/d(conj z), as here."""
    patches, P, A = map(tf.constant, gradient_case())
    with tf.GradientTape() as tape:
        tape.watch(patches)
        expected, measured = optics.diffract(patches, P, 8) + floor, A * A + floor
        amplitudes = tf.reduce_sum((tf.sqrt(expected) - tf.sqrt(measured)) ** 2)
        counts = tf.reduce_sum(expected - measured * tf.math.log(expected))
        value = (1 - poisson) / 2 * amplitudes + poisson / 2 * counts
    g, _ = optics.data_gradient(patches, P, A, poisson, floor)
    np.testing.assert_allclose(g, tape.gradient(value, patches), rtol=1e-4, atol=1e-5)


def test_poisson_s_data_term_is_unbiased_by_few_photons():
    """Of counts about the truth's own intensity, the mean Poisson gradient is none; that of amplitudes is not."""
    rng = np.random.default_rng(6)
    patch, P, _ = gradient_case(L=1)
    patch, photons = patch[:1], 0.3
    intensity = optics.diffract(tf.constant(patch), tf.constant(P), 8).numpy()
    scale = photons / intensity.mean()
    draws = 20_000
    A = np.sqrt(rng.poisson(scale * intensity, (draws, 8, 8)) / scale).astype(np.float32)
    patches = tf.repeat(tf.constant(patch), draws, axis=0)
    size = {}
    for poisson in (0.0, 1.0):
        each = optics.data_gradient(patches, tf.constant(P), tf.constant(A), poisson, 1e-3 / scale)[0].numpy()
        error = np.sqrt(np.mean(np.abs(each - each.mean(0)) ** 2) / draws)
        size[poisson] = np.sqrt(np.mean(np.abs(each.mean(0)) ** 2)) / error
    assert size[1.0] < 2 < 10 < size[0.0], size


def test_the_truth_has_no_gradient():
    patches, P, _ = map(tf.constant, gradient_case())
    g, _ = optics.data_gradient(patches, P, tf.sqrt(optics.diffract(patches, P, 8)), 0.5, 1e-3)
    assert np.abs(g).max() < 1e-5


def test_gradients_are_finite_where_there_is_no_light():
    P = tf.constant(complex_normal(np.random.default_rng(0), 1, 6, 6))
    dark = tf.zeros((1, 6, 6), tf.complex64)
    g, intensity = optics.data_gradient(dark, P, tf.ones((1, 8, 8)), 0.5, 1e-6)
    assert np.isfinite(g).all() and not intensity.numpy().any()
    with tf.GradientTape() as tape:
        tape.watch(dark)
        value = tf.reduce_sum(optics.amplitude(optics.diffract(dark, P, 8)))
    assert np.isfinite(value) and np.isfinite(tape.gradient(value, dark)).all()


def test_translation_is_differentiable_in_the_positions():
    rng = np.random.default_rng(2)
    canvas = complex_normal(rng, 1, 20, 20)
    offset = np.array([[[0.3, -1.6]]], np.float32)
    at = tf.Variable(offset)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(optics.squared_modulus(optics.Translation(at, 8, 20).forward(tf.constant(canvas))))
    slope = tape.gradient(value, at).numpy()[0, 0]

    def energy(dy, dx):
        return np.sum(np.abs(loop_patch(canvas[0], dy, dx, 8)) ** 2)

    dy, dx = offset[0, 0].astype(np.float64)
    h = 1e-4
    expected = [
        (energy(dy + h, dx) - energy(dy - h, dx)) / (2 * h),
        (energy(dy, dx + h) - energy(dy, dx - h)) / (2 * h),
    ]
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-2)


@given(seed=st.integers(0, 99), n=st.integers(2, 8).map(lambda half: 2 * half))
@settings(max_examples=15)
def test_patches_of_a_large_object_equal_those_of_a_canvas(seed, n):
    rng, m = np.random.default_rng(seed), 32
    O = tf.constant(complex_normal(rng, m, m))
    offsets = rng.uniform(-(m - n) / 2, (m - n) / 2 - 1.001, (5, 2)).astype(np.float32)
    start = m // 2 - n // 2 + offsets.astype(np.float64)
    corner = np.floor(start).astype(np.int32)
    patches = optics.bilinear_patches(O, tf.constant(corner), tf.constant((start - corner).astype(np.float32)), n)
    expected = optics.Translation(tf.constant(offsets[None]), n, m).forward(O[None])[0]
    np.testing.assert_allclose(patches, expected, atol=2e-5)


def test_scale_multiplies_by_a_real_factor_and_passes_its_gradient():
    z, factor = tf.constant([1 + 2j, -3j], tf.complex64), tf.Variable([2.0, 0.5])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(optics.squared_modulus(optics.scale(factor, z)))
    np.testing.assert_allclose(optics.scale(factor, z), [2 + 4j, -1.5j])
    np.testing.assert_allclose(tape.gradient(value, factor), [2 * 2 * 5, 2 * 0.5 * 9])
