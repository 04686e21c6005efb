"""Where a Fourier ring correlation crosses a threshold: what may decide it and what may not, on curves made by hand and
on images whose information is known ring by ring."""

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft

from ptycho.judge.frc import (
    FRCCurve,
    evaluation_window,
    frc,
    frc50,
    period_px,
    running_median,
    threshold,
    threshold_crossing,
)

KINDS = ("0.5", "half-bit", "one-bit")


def curve_of(correlation, n=10**6):
    rings = len(correlation)
    return FRCCurve(np.arange(1, rings + 1) / rings, np.array(correlation, float), np.full(rings, n))


def first_crossing(curve, kind="0.5"):
    """Oracle, and what is widely published: the first crossing, ring by ring, by interpolation from (0, 1)."""
    limits = threshold(curve.n, kind)
    frequency, correlation = [0.0, *curve.frequency], [1.0, *curve.correlation]
    limits = [limits[0], *limits]
    for k in range(1, len(frequency)):
        before, after = correlation[k - 1] - limits[k - 1], correlation[k] - limits[k]
        if after < 0:
            return float(np.interp(0.0, [after, before], [frequency[k], frequency[k - 1]]))
    return 1.0


def falling(rings, seed):
    return np.sort(np.random.default_rng(seed).uniform(-0.1, 1, rings))[::-1]


# --- curves -----------------------------------------------------------------------------------------------------------


def test_few_rings_cross_where_they_first_do():
    assert frc50(curve_of([1, 0.8, 0.4, 0.9])) == pytest.approx(0.5 + 0.25 * 0.75)
    assert frc50(curve_of([0.9, 0.9, 0.9])) == 1.0
    assert frc50(curve_of([0.0, 0.0])) == pytest.approx(0.25)
    assert threshold_crossing(curve_of([1, 0.0]), "half-bit") == pytest.approx(0.5 + 0.5 * (1 - 0.1716), abs=2e-3)
    assert threshold_crossing(curve_of([1, 0.0]), "one-bit") == pytest.approx(0.5 + 0.5 * (1 - 1 / 3), abs=2e-3)
    assert (period_px(1.0), period_px(0.25), period_px(0.0)) == (2.0, 8.0, float("inf"))


@pytest.mark.parametrize("rings", [8, 19, 20, 59, 60, 135])
def test_running_median_equals_its_definition(rings):
    values = np.random.default_rng(rings).normal(size=rings)
    half = rings // 20  # the rings within a twentieth of Nyquist
    expected = []
    for k in range(rings):
        inside = [values[j] if j < rings else -9.0 for j in range(max(0, k - half), k + half + 1)]
        expected.append(statistics.median([9.0] * (2 * half + 1 - len(inside)) + inside))
    assert np.array_equal(running_median(values), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rings", [8, 20, 64, 135, 200])
def test_a_falling_curve_crosses_where_it_first_does(rings, kind):
    curve = curve_of(falling(rings, seed=rings))
    assert np.array_equal(running_median(curve.correlation), curve.correlation)
    assert threshold_crossing(curve, kind) == pytest.approx(first_crossing(curve, kind), abs=1e-12)
    assert threshold_crossing(curve_of(falling(rings, 1) * 0.1 + 0.89), kind) == 1.0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data(), st.integers(20, 160), st.integers(0, 99), st.sampled_from(KINDS))
def test_any_few_rings_move_the_crossing_by_no_more_than_their_number(data, rings, seed, kind):
    curve = curve_of(falling(rings, seed))
    changed = data.draw(st.lists(st.integers(0, rings - 1), max_size=rings // 20, unique=True))
    broken = curve.correlation.copy()
    broken[changed] = data.draw(st.sampled_from([-1.0, 0.0, 1.0]))
    moved = threshold_crossing(curve_of(broken), kind) - threshold_crossing(curve, kind)
    assert abs(moved) <= (len(changed) + 1) / rings  # one more, for the interpolation between two rings


def test_a_band_that_is_lost_is_not_forgiven():
    """Most rings of a band below one half is the end, whatever comes after it."""
    correlation = np.ones(100)
    correlation[30:34] = 0
    assert frc50(curve_of(correlation)) == 1.0
    correlation[30:36] = 0
    assert 0.28 < frc50(curve_of(correlation)) < 0.36


def test_the_threshold_of_each_ring_is_its_own():
    """A correlation that stays at 0.4 holds a half bit only from where rings hold enough Fourier pixels."""
    n = np.arange(1, 101) * 8
    curve = FRCCurve(np.arange(1, 101) / 100, np.full(100, 0.4), n)
    assert np.flatnonzero(threshold(n, "half-bit") > 0.4).size == 3
    assert threshold_crossing(curve, "half-bit") == 1.0
    assert threshold_crossing(curve, "one-bit") < 0.01 and frc50(curve) < 0.01


# --- images -----------------------------------------------------------------------------------------------------------


def radius(size):
    """Spatial frequency of the pixels of a transform, as a fraction of Nyquist."""
    return 2 * np.hypot(fft.fftfreq(size)[:, None], fft.fftfreq(size))


def image_and_truth(correlation, size, rng):
    """White truth, and the image that holds of it what correlates by correlation(q) with it; the rest is white noise.

    At each frequency the image is c truth + sqrt(1 - c^2) noise of unit power, a signal-to-noise ratio of
    c^2 / (1 - c^2), so that the expected correlation is c.
    """
    truth, noise = rng.normal(size=(2, size, size))
    c = correlation(radius(size))
    image = fft.ifft2(c * fft.fft2(truth) + np.sqrt(1 - c**2) * fft.fft2(noise)).real
    return image, truth


def correlated(correlation, size, draws, seed=0):
    rng, window = np.random.default_rng(seed), evaluation_window(np.ones((size, size), bool))
    return [frc(*image_and_truth(correlation, size, rng), window) for _ in range(draws)]


def logistic(q, centre=0.4):
    return 1 / (1 + np.exp((q - centre) / 0.05))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [64, 128, 256])
def test_unrelated_noise_has_no_resolution(size, kind):
    """What remains is less than one ring on average: the first few, of 8 to 24 Fourier pixels, agree by chance."""
    rings = size // 2 * np.array([threshold_crossing(curve, kind) for curve in correlated(lambda q: 0 * q, size, 40)])
    assert rings.max() < 3 and rings.mean() < 1


@pytest.mark.parametrize("power", [1, 2])
def test_unrelated_images_have_no_resolution(power):
    """Images whose spectra fall as those of photographs do: the few strong low rings correlate by chance."""
    size, rng = 128, np.random.default_rng(4)
    window = evaluation_window(np.ones((size, size), bool))
    fall = np.maximum(radius(size), 1 / size) ** -power
    found = []
    for _ in range(40):
        a, b = (fft.ifft2(fft.fft2(noise) * fall).real for noise in rng.normal(size=(2, size, size)))
        found.append(frc50(frc(a, b, window)))
    assert max(found) < 0.1 and np.mean(found) < 0.03


@pytest.mark.parametrize(
    ("correlation", "expected", "bias", "spread"),
    [
        (lambda q: np.where(q < 0.3, 0.95, 0), 0.3, 0.005, 0.005),
        (lambda q: np.where(q < 0.8, 0.95, 0), 0.8, 0.005, 0.005),
        (lambda q: logistic(q, 0.1), 0.1, 0.01, 0.03),
        (lambda q: logistic(q, 0.4), 0.4, 0.01, 0.02),
        (lambda q: np.clip(1 - q, 0, 1), 0.5, 0.01, 0.04),
        (lambda q: np.clip(0.8 - 0.6 * q, 0, 1), 0.5, 0.02, 0.06),
    ],
    ids=["cut at 0.3", "cut at 0.8", "falls about 0.1", "falls about 0.4", "slow", "very slow"],
)
def test_the_known_cut_off_is_found_without_bias(correlation, expected, bias, spread):
    curves = correlated(correlation, 128, 40)
    found = [frc50(curve) for curve in curves]
    assert np.mean(found) == pytest.approx(expected, abs=bias)
    assert np.std(found) < spread
    first = [first_crossing(curve) for curve in curves]
    assert np.std(found) <= np.std(first) + 1e-3


def test_trap_the_first_crossing_of_a_slow_curve_is_an_early_chance():
    """Ring by ring, a curve that falls slowly through one half crosses it by chance long before it does."""
    curves = correlated(lambda q: np.clip(0.8 - 0.6 * q, 0, 1), 128, 40)
    assert np.mean([first_crossing(curve) for curve in curves]) < 0.4
    assert np.mean([frc50(curve) for curve in curves]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("band", [(0.0, 0.04), (0.07, 0.105)])
@pytest.mark.parametrize("size", [128, 256])
def test_trap_one_low_band_of_wrong_contrast_decides_the_resolution(band, size):
    """The contrast of a narrow band is reversed, as an amplitude's is where little of it is left beside a phase."""

    def reversed_in_band(q):
        return np.where((q > band[0]) & (q < band[1]), -0.5, logistic(q))

    curves = correlated(reversed_in_band, size, 10)
    for curve in curves:
        assert first_crossing(curve) < 0.1
        assert frc50(curve) == pytest.approx(0.4, abs=0.04)


@pytest.mark.parametrize("at", [0.5, 0.7, 0.97])
def test_trap_one_high_ring_that_agrees_raises_the_resolution(at):
    """A grid printed into both images, or chance: finer than what is resolved, it does not count."""
    plain = correlated(logistic, 256, 10)
    spurious = correlated(lambda q: np.where(abs(q - at) < 0.015, 0.99, logistic(q)), 256, 10)
    for a, b in zip(plain, spurious, strict=True):
        assert b.correlation[abs(b.frequency - at) < 0.01].min() > 0.8
        assert frc50(b) == pytest.approx(frc50(a), abs=0.02)
