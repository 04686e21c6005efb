import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.physics import photons, samples
from ptycho.physics.probes import (
    PROBES,
    defocused,
    disk,
    electron,
    estimate,
    gaussian,
    make_probe,
    support_size,
    zone_plate,
)


@pytest.mark.parametrize("kind", PROBES)
@pytest.mark.parametrize("N", [64, 128, 256])
def test_probes_are_centred_of_order_one_and_inside_their_frame(kind, N):
    probe = make_probe(kind, N)
    assert probe.shape == (N, N) and probe.dtype == np.complex64
    assert np.abs(probe).max() == pytest.approx(1, abs=1e-6)
    assert 0.2 * N < support_size(probe) <= 0.6 * N
    intensity = np.abs(probe) ** 2
    index = np.arange(N)
    for axis in (0, 1):
        assert (intensity.sum(axis) * index).sum() / intensity.sum() == pytest.approx(N // 2, abs=0.01)
    inner = probe[1:, 1:]  # index N//2 is the middle of indices 1 .. N-1
    np.testing.assert_allclose(inner, inner[::-1, ::-1], atol=1e-5)


def test_disk_is_flat_and_real():
    probe = disk(64)
    assert set(np.unique(probe)) == {0, 1}
    assert probe.sum().real == pytest.approx(np.pi * 11**2, rel=0.03)
    assert support_size(probe) == 22
    assert probe[32, 32 + 10] == 1 and probe[32, 32 + 11] == 0
    assert support_size(disk(64, radius=20)) == 40


def test_gaussian_falls_as_stated():
    assert gaussian(64, sigma=5)[32, 37] == pytest.approx(np.exp(-0.5))


def test_zone_plate_has_an_annular_pupil_and_turns_with_defocus():
    N = 128
    probe = zone_plate(N)
    pupil = np.abs(np.fft.fftshift(np.fft.fft2(probe)))
    q = np.hypot(*(np.mgrid[:N, :N] - N // 2)) / N
    ring = pupil[(q > 0.15) & (q < 0.2)].mean()
    assert pupil[q < 0.03].max() < 0.1 * ring  # the central stop
    assert pupil[q > 0.35].max() < 0.02 * ring  # the aperture
    assert np.ptp(np.angle(probe[np.abs(probe) > 0.3])) > 1  # curved wave fronts: complex, not a real disk
    sizes = [support_size(zone_plate(N, defocus), 0.9) for defocus in (20, 72, 120)]
    assert sizes[0] < sizes[1] < sizes[2]


def slow_support(probe, energy):
    N = probe.shape[-1]
    total = (np.abs(probe.astype(complex)) ** 2).sum()
    for n in range(2, N + 1, 2):
        a, b = N // 2 - n // 2, N // 2 + n // 2
        if (np.abs(probe[..., a:b, a:b].astype(complex)) ** 2).sum() >= energy * total * (1 - 1e-12):
            return n
    raise AssertionError


@settings(deadline=None, max_examples=60)
@given(
    N=st.sampled_from([16, 18, 32]),
    modes=st.sampled_from([None, 1, 3]),
    energy=st.sampled_from([0.1, 0.5, 0.9, 0.99, 0.9999]),
    width=st.floats(0.5, 8),
    shift=st.tuples(st.integers(-8, 7), st.integers(-8, 7)),
    seed=st.integers(0, 2**16),
)
def test_support_is_the_smallest_even_crop_that_holds_the_energy(N, modes, energy, width, shift, seed):
    rng = np.random.default_rng(seed)
    shape = (N, N) if modes is None else (modes, N, N)
    r = np.hypot(*(np.mgrid[:N, :N] - N // 2))
    probe = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * np.exp(-((r / width) ** 2))
    probe = np.roll(probe, shift, axis=(-2, -1)).astype(np.complex64)
    assert support_size(probe, energy) == slow_support(probe, energy)


@settings(deadline=None, max_examples=40)
@given(y=st.integers(0, 31), x=st.integers(0, 31))
def test_support_of_one_pixel_reaches_it(y, x):
    probe = np.zeros((32, 32), np.complex64)
    probe[y, x] = 1j
    n = support_size(probe, energy=1)
    inside = [16 - n // 2 <= i < 16 + n // 2 for i in (y, x)]
    smaller = [16 - n // 2 + 1 <= i < 16 + n // 2 - 1 for i in (y, x)]
    assert all(inside) and not all(smaller)


def overlap(one, other):
    return abs(np.vdot(one, other)) / (np.linalg.norm(one) * np.linalg.norm(other))


@pytest.mark.parametrize("phase", [0.0, 1.0])
@pytest.mark.parametrize(("kind", "least"), [("disk", 0.9), ("gaussian", 0.95)])
@pytest.mark.parametrize("N", [64, 128])
def test_a_compact_probe_is_estimated_from_the_mean_pattern(kind, least, N, phase):
    P, O = make_probe(kind, N), samples.make_object("lines", 4 * N, 3, phase)
    x, y = samples.random_positions(100, 4 * N, N, np.random.default_rng(0))
    mean = np.square(photons.ideal_amplitude(O, P, x, y), dtype=np.float64).mean(0)
    found = estimate(np.random.default_rng(1).poisson(mean * (1e4 / mean.sum()), (20, N, N)).mean(0))
    assert found.shape == (N, N) and found.dtype == np.complex64
    assert overlap(P, found) > least
    assert np.sum(np.abs(found) ** 2) == pytest.approx(1e4, rel=0.01)
    if kind == "disk":  # whose transform changes sign: the mean amplitude without phases is a much smaller spot
        focus = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(np.sqrt(mean))))
        assert overlap(P, focus) < least - 0.05


def test_a_mean_pattern_of_one_pixel_still_gives_a_probe():
    mean = np.zeros((32, 32))
    mean[16, 16] = 1
    assert np.isfinite(estimate(mean)).all() and np.abs(estimate(mean)).sum() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_probe("square", 64), "probe kind is 'square'; expected one of disk, gaussian, zone_plate"),
        (lambda: disk(63), "N is 63; expected an even number"),
        (lambda: disk(64, radius=-1), "probe radius is -1"),
        (lambda: gaussian(64, sigma=0), "probe sigma is 0"),
        (lambda: zone_plate(64, defocus=float("nan")), "probe defocus is nan"),
        (lambda: support_size(np.ones((32, 16), np.complex64)), r"probe shape is \(32, 16\)"),
        (lambda: support_size(np.ones((15, 15), np.complex64)), r"probe shape is \(15, 15\)"),
        (lambda: support_size(np.zeros((16, 16), np.complex64)), "probe energy is 0.0"),
        (lambda: support_size(np.full((16, 16), np.nan, np.complex64)), "probe energy is nan"),
        (lambda: support_size(disk(16), energy=1.5), "energy is 1.5"),
        (lambda: estimate(np.ones((32, 16))), r"mean intensity has shape \(32, 16\)"),
        (lambda: estimate(np.zeros((32, 32))), "no light"),
        (lambda: estimate(np.full((32, 32), np.nan)), "infinite"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_probe_defocused_and_back_is_the_probe_and_its_far_field_keeps_its_intensity():
    P = np.stack([gaussian(64, 5), 0.3 * gaussian(64, 7)])
    moved = defocused(P[0], 0.7)
    far = [np.abs(np.fft.fft2(wave)) for wave in (P[0], moved)]
    np.testing.assert_allclose(far[1], far[0], atol=1e-4)
    np.testing.assert_allclose(defocused(moved, -0.7), P[0], atol=1e-6)
    assert defocused(P, 0.5).shape == P.shape


def test_a_gaussian_widens_as_a_beam_does():
    # its intensity's width grows by sqrt(1 + (z / z_R)^2); at the rms frequency of the waist the phase is z / (2 z_R)
    waist, k = gaussian(64, 4), np.arange(64) - 32
    x2 = (k**2 + k[:, None] ** 2).astype(float)
    before, after = (np.average(x2, weights=np.abs(P) ** 2) for P in (waist, defocused(waist, 0.8)))
    assert after / before == pytest.approx(1 + (2 * 0.8) ** 2, rel=1e-3)


LAMBDA, PIXEL, ANGLE = 4.1757e-12, 0.4e-10, 25e-3


def slow_electron(N, defocus, spherical, astigmatism, axis):
    """The probe of an aperture, a sum of tilted plane waves, each with the phase of its aberrations."""
    where = np.arange(N) - N // 2
    probe, step = np.zeros((N, N), complex), LAMBDA / (N * PIXEL)
    for row in where:
        for column in where:
            alpha, phi = step * np.hypot(row, column), np.arctan2(row, column)
            open_share = min(1.0, max(0.0, (ANGLE - alpha) / step + 0.5))
            # chi = 2 pi / lambda (-defocus a^2 / 2 + C12 a^2 cos(2 (phi - phi12)) / 2 + C30 a^4 / 4)
            twofold = astigmatism * np.cos(2 * (phi - axis))
            chi = 2 * np.pi / LAMBDA * ((twofold - defocus) * alpha**2 / 2 + spherical * alpha**4 / 4)
            tilt = np.exp(2j * np.pi * (row * where[:, None] + column * where) / N)
            probe += open_share * np.exp(-1j * chi) * tilt
    return probe / np.abs(probe).max()


@pytest.mark.parametrize(
    ("defocus", "spherical", "astigmatism", "axis"),
    [(0, 0, 0, 0), (10e-9, 0, 0, 0), (-5e-9, 20e-6, 0, 0), (3e-9, 1e-5, 4e-9, 0.4)],
)
def test_the_probe_of_electrons_equals_a_sum_of_plane_waves(defocus, spherical, astigmatism, axis):
    found = electron(24, PIXEL, LAMBDA, ANGLE, defocus, spherical=spherical, astigmatism=astigmatism, axis=axis)
    assert found.dtype == np.complex64 and np.abs(found).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(found, slow_electron(24, defocus, spherical, astigmatism, axis), atol=2e-6)


def test_underfocus_has_its_crossover_behind_the_sample():
    """Propagated by the defocus, exp(-i pi lambda z q^2), an underfocused probe is the focused one."""
    N, defocus = 64, 12e-9
    q = np.fft.fftfreq(N, PIXEL)
    onward = np.exp(-1j * np.pi * LAMBDA * defocus * (q[:, None] ** 2 + q**2))
    spectrum = np.fft.fft2(np.fft.ifftshift(electron(N, PIXEL, LAMBDA, ANGLE, defocus)))
    crossover = np.fft.fftshift(np.fft.ifft2(spectrum * onward))
    np.testing.assert_allclose(crossover / np.abs(crossover).max(), electron(N, PIXEL, LAMBDA, ANGLE, 0), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semi_angle": 25.0}, r"semi-angle is 2\.5e\+04 mrad, and the detector reaches to 52\.2"),
        ({"pixel": 0.0}, "probe pixel is 0.0"),
        ({"wavelength": float("nan")}, "probe wavelength is nan"),
        ({"N": 15}, "probe frame N is 15"),
    ],
)
def test_a_probe_of_electrons_that_cannot_be_is_refused(changes, message):
    given = {"N": 64, "pixel": PIXEL, "wavelength": LAMBDA, "semi_angle": ANGLE, "defocus": 0.0} | changes
    with pytest.raises(ValueError, match=message):
        electron(**given)
