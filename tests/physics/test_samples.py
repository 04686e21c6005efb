import itertools

import numpy as np
import pytest

from ptycho.physics import samples
from ptycho.physics.samples import OBJECTS, gaussian_random_field, make_object, siemens_star


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("phase", [0.0, 1.0, 3.0])
def test_amplitude_fills_its_range_and_phase_has_the_peak_to_peak_asked(kind, phase):
    obj = make_object(kind, 128, seed=3, phase=phase)
    assert obj.shape == (128, 128) and obj.dtype == np.complex64
    assert np.abs(obj).min() == pytest.approx(0.5, abs=1e-6)
    assert np.abs(obj).max() == pytest.approx(1.5, abs=1e-6)
    assert np.angle(obj).min() == pytest.approx(-phase / 2, abs=1e-5)
    assert np.angle(obj).max() == pytest.approx(phase / 2, abs=1e-5)


@pytest.mark.parametrize("kind", OBJECTS)
def test_phase_zero_is_exactly_real_and_leaves_the_amplitude_alone(kind):
    flat, bent = make_object(kind, 96, seed=5), make_object(kind, 96, seed=5, phase=2.0)
    assert not flat.imag.any()
    np.testing.assert_allclose(np.abs(bent), np.abs(flat), rtol=1e-6)


@pytest.mark.parametrize("kind", OBJECTS)
def test_same_seed_same_bits_other_seed_other_object(kind):
    first, again, other = (make_object(kind, 128, seed, phase=1.0) for seed in (7, 7, 8))
    assert first.tobytes() == again.tobytes()
    assert abs(np.corrcoef(np.abs(first).ravel(), np.abs(other).ravel())[0, 1]) < 0.6


@pytest.mark.parametrize("kind", ["lines", "grf"])
def test_seeds_and_amplitude_versus_phase_are_independent(kind):
    objects = [make_object(kind, 128, seed, phase=1.0) for seed in range(24)]
    patterns = np.stack([[np.abs(o) - 1, np.angle(o)] for o in objects])
    patterns -= patterns.mean((0, 1))  # what all lines objects share: they are denser in the middle
    across_seeds = [np.corrcoef(a[0].ravel(), b[0].ravel())[0, 1] for a, b in itertools.pairwise(patterns)]
    within = [np.corrcoef(amplitude.ravel(), phase.ravel())[0, 1] for amplitude, phase in patterns]
    for correlations in (across_seeds, within):
        assert abs(np.mean(correlations)) < 4 * np.std(correlations) / np.sqrt(len(correlations))
        assert np.std(correlations) < 0.35


def test_siemens_phase_follows_the_spokes():
    obj = make_object("siemens", 128, seed=1, phase=1.0)
    np.testing.assert_allclose(np.angle(obj), np.abs(obj) - 1, atol=1e-5)


def test_lines_of_two_sizes_look_alike():
    def spectrum_and_mean(size):
        powers, means = [], []
        for seed in range(4):
            image = np.abs(make_object("lines", size, seed))[:256, :256].astype(float)
            window = np.hanning(256)[:, None] * np.hanning(256)
            power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
            q = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
            powers.append([power[(q >= low) & (q < 2 * low)].mean() for low in (0.02, 0.04, 0.08, 0.16)])
            means.append(image.mean())
        return np.mean(powers, axis=0), np.mean(means)

    (small, small_mean), (large, large_mean) = spectrum_and_mean(256), spectrum_and_mean(512)
    # with the 400 lines of the original on either canvas the ratio of line density, and of power, would be two
    np.testing.assert_array_less(np.abs(np.log2(large / small)), 0.6)
    assert abs(large_mean - small_mean) < 0.08


def test_lines_hold_detail_to_high_frequency():
    image = np.abs(make_object("lines", 256, seed=1)).astype(float)
    power = np.abs(np.fft.fft2(image - image.mean())) ** 2
    q = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
    assert power[(q > 0.2) & (q < 0.25)].mean() > 1e3 * np.finfo(np.float32).eps * power[q > 0].mean()


@pytest.mark.parametrize("exponent", [2.0, 3.0, 4.0])
def test_grf_spectrum_has_the_exponent_stated(exponent):
    fields = [gaussian_random_field(256, np.random.default_rng(seed), exponent) for seed in range(4)]
    power = np.mean([np.abs(np.fft.fft2(f - f.mean())) ** 2 / f.var() for f in fields], axis=0)
    q = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
    use = (q > 0.01) & (q < 0.5)
    slope = np.polyfit(np.log(q[use]), np.log(power[use]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.05)


def test_siemens_star_has_its_spokes_and_hub():
    star = siemens_star(513, spokes=24, inner_radius=20)
    for radius in (40, 120, 250):
        theta = np.arange(0, 2 * np.pi, 1e-4)
        ring = star[
            np.rint(256 + radius * np.sin(theta)).astype(int), np.rint(256 + radius * np.cos(theta)).astype(int)
        ]
        spectrum = np.abs(np.fft.rfft(ring - ring.mean()))
        assert spectrum.argmax() == 24
        assert ring.mean() == pytest.approx(0.5, abs=0.02)  # as much spoke as gap: no bias from antialiasing
    y, x = np.mgrid[-256:257, -256:257]
    assert (star[np.hypot(y, x) < 19] == 1).all()


def test_siemens_star_edges_are_antialiased():
    star = siemens_star(256)
    grey = (star > 0.01) & (star < 0.99)
    assert 0.01 < grey.mean() < 0.3
    # a shift by a quarter of a pixel moves grey, not whole pixels
    moved = siemens_star(256, centre=(127.5, 127.75))
    assert 0 < np.abs(moved - star).mean() < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cells", 64, 1), "object kind is 'cells'; expected one of lines, grf, siemens"),
        (("lines", 8, 1), "object size is 8 pixels"),
        (("lines", 64, -1), "object seed is -1"),
        (("grf", 64, 1, -0.5), "object phase is -0.5"),
        (("grf", 64, 1, float("nan")), "object phase is nan"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_object(*arguments)


F0 = 2.5087  # angstrom, the scattering factor of carbon at rest: the sum of its a


def test_an_atom_of_carbon_has_the_projected_potential_of_its_gaussians(monkeypatch):
    """In real space each term a exp(-b q^2 / 4) is a (4 pi / b) exp(-4 pi^2 r^2 / b)."""
    monkeypatch.setattr(samples, "CONTAMINATION", 0.0)
    monkeypatch.setattr(samples, "_honeycomb", lambda width, rng: np.array([[6.4, 5.12]]))
    found = np.angle(samples.graphene(256, 0.05e-10, 80e3, seed=1))
    y, x = np.arange(256)[:, None] * 0.05 - 6.4, np.arange(256) * 0.05 - 5.12
    r2, terms = y**2 + x**2, zip(*samples.CARBON, strict=True)
    expected = 1.15656 * 0.0417571 * sum(4 * np.pi * a / b * np.exp(-4 * np.pi**2 * r2 / b) for a, b in terms)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=3e-4)


def test_graphene_has_its_atoms_and_its_lattice(monkeypatch):
    monkeypatch.setattr(samples, "CONTAMINATION", 0.0)
    size, side = 256, 0.4
    sheet = samples.graphene(size, side * 1e-10, 80e3, seed=2)
    assert sheet.dtype == np.complex64
    np.testing.assert_allclose(np.abs(sheet), 1, atol=1e-6)
    cell = 1.5 * np.sqrt(3) * 1.42**2  # of two atoms
    assert np.angle(sheet).mean() == pytest.approx(1.15656 * 0.0417571 * F0 * 2 / cell, rel=0.02)
    power = np.abs(np.fft.fft2(np.angle(sheet) * np.hanning(size)[:, None] * np.hanning(size))) ** 2
    q = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size, side)] * 2))
    power[q < 0.1] = 0
    assert q.ravel()[power.argmax()] == pytest.approx(1 / (1.5 * 1.42), abs=1.5 / (size * side))


def test_contamination_is_random_and_the_same_for_a_seed():
    first, again, other = (samples.graphene(96, 0.4e-10, 80e3, seed) for seed in (7, 7, 8))
    assert first.tobytes() == again.tobytes() and not np.array_equal(first, other)
    for pixel, voltage in ((0.0, 80e3), (1e-11, float("inf"))):
        with pytest.raises(ValueError, match="of graphene is"):
            samples.graphene(64, pixel, voltage, 1)


@pytest.mark.parametrize(("n", "step"), [(1, 3.0), (9, 2.4), (11, 0.7), (16, 5.0)])
def test_a_raster_goes_row_by_row_and_fits_its_object(n, step):
    (x, y), size = samples.raster(n, step, 64)
    side = int(np.ceil(np.sqrt(n)))
    np.testing.assert_allclose(x - x[0], [step * (k % side) for k in range(n)])
    np.testing.assert_allclose(y - y[0], [step * (k // side) for k in range(n)])
    assert min(x.min(), y.min()) - 32 >= 0 and max(x.max(), y.max()) + 31 <= size - 1
    with pytest.raises(ValueError, match="step of the raster is 0"):
        samples.raster(4, 0, 64)
