from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from ptycho.errors import DataError
from ptycho.physics.photons import expose, ideal_amplitude, intensity_scale
from ptycho.physics.probes import disk, make_probe, support_size, zone_plate
from ptycho.physics.samples import make_object, random_positions
from ptycho.scans import exposure, simulated
from ptycho.scans.dose import deviance, measured_dose, normalise, predicted_rate, thin, thin_to_dose, tolerance
from ptycho.scans.rawdata import BATCH, RawData


def scan(nphotons, seed=0, n=300, kind="disk", N=64, phase=1.0):
    """Return a simulated scan of a lines object and its probe."""
    rng = np.random.default_rng(seed)
    obj, probe = make_object("lines", 4 * N, seed, phase), make_probe(kind, N)
    x, y = random_positions(n, 4 * N, N, rng)
    diff3d, s = expose(ideal_amplitude(obj, probe, x, y), nphotons, rng)
    return RawData(diff3d, x, y, probe, nphotons=nphotons, intensity_scale=s)


def slow_amplitude(obj, probe, x, y):
    """One pattern, by map_coordinates and an explicit Fourier matrix: another way than the one tested."""
    N = probe.shape[-1]
    index = np.arange(N) - N // 2
    at = np.stack(np.meshgrid(y + index, x + index, indexing="ij"))
    patch = sum(
        unit * ndimage.map_coordinates(part.astype(float), at, order=1, mode="nearest")
        for part, unit in ((obj.real, 1), (obj.imag, 1j))
    )
    # F[q, r] = exp(-2 pi i q r / N) / sqrt(N), with q = 0 in the middle as the detector has it
    F = np.exp(-2j * np.pi * np.outer(index, np.arange(N)) / N) / np.sqrt(N)
    return np.sqrt(sum(np.abs(F @ (mode * patch) @ F.T) ** 2 for mode in probe.reshape(-1, N, N)))


@pytest.mark.parametrize("kind", ["disk", "gaussian", "zone_plate"])
def test_amplitude_equals_the_slow_oracle(kind):
    rng = np.random.default_rng(1)
    obj, probe = make_object("lines", 96, 1, phase=2.0), make_probe(kind, 32)
    x, y = random_positions(6, 96, 32, rng)
    x[0], y[0], x[1] = 40, 50, 33.5  # whole and half pixels too
    fast = ideal_amplitude(obj, probe, x, y)
    assert fast.shape == (6, 32, 32) and fast.dtype == np.float32
    for k in range(6):
        np.testing.assert_allclose(fast[k], slow_amplitude(obj, probe, x[k], y[k]), atol=2e-6)


def test_patch_index_half_N_lies_at_the_position_row_y_first():
    obj = np.zeros((90, 110), np.complex64)
    obj[40, 60] = 1
    probe = np.zeros((16, 16), np.complex64)
    probe[8, 8] = 1
    lit = ideal_amplitude(obj, probe, [60.0, 40.0, 60.5, 60.25], [40.0, 60.0, 40.0, 40.5])
    np.testing.assert_allclose(lit.max((1, 2)), np.array([1, 0, 0.5, 0.75 * 0.5]) / 16, atol=1e-7)


@settings(deadline=None, max_examples=25)
@given(modes=st.sampled_from([None, 1, 3]), N=st.sampled_from([16, 32]), n=st.integers(1, 40), seed=st.integers(0, 999))
def test_the_transform_is_unitary_and_modes_add_in_intensity(modes, N, n, seed):
    rng = np.random.default_rng(seed)
    shape = (modes or 1, N, N)
    probe = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    obj = np.exp(1j * rng.random((3 * N, 4 * N))).astype(np.complex64)
    x, y = rng.integers(N // 2, 3 * N, n), rng.integers(N // 2, 2 * N, n)
    amplitude = ideal_amplitude(obj, probe if modes else probe[0], x, y).astype(float)
    np.testing.assert_allclose((amplitude**2).sum((1, 2)), (np.abs(probe) ** 2).sum(), rtol=1e-5)
    apart = sum(ideal_amplitude(obj, mode, x, y).astype(float) ** 2 for mode in probe)
    np.testing.assert_allclose(amplitude**2, apart, rtol=1e-4, atol=1e-5)


def test_only_what_the_probe_lights_must_lie_on_the_object():
    obj, probe = make_object("lines", 64, 0), disk(32, radius=4)  # lights indices 12 to 19 of 32
    reach = support_size(probe, 1) // 2
    assert reach == 4
    edge = ideal_amplitude(obj, probe, [4.0, 60.0], [4.0, 60.0])
    padded = np.pad(obj, 40)
    np.testing.assert_allclose(edge, ideal_amplitude(padded, probe, [44.0, 100.0], [44.0, 100.0]), atol=1e-6)


@pytest.mark.parametrize("bad", [(3.9, 30), (30, 3.9), (60.1, 30), (30, 60.1), (np.nan, 30), (30, -np.inf)])
def test_the_first_position_outside_is_named(bad):
    obj, probe = make_object("lines", 64, 0), disk(32, radius=4)
    x, y = np.array([30.0, bad[0], bad[0]]), np.array([30.0, bad[1], bad[1]])
    with pytest.raises(
        ValueError, match=r"position 1 .* outside the object of shape \(64, 64\); expected 4 <= x <= 60"
    ):
        ideal_amplitude(obj, probe, x, y)


def test_amplitude_refuses_wrong_shapes():
    obj, probe = make_object("lines", 64, 0), disk(32)
    for arguments, message in (
        ((obj[0], probe, [32.0], [32.0]), r"object shape is \(64,\)"),
        ((obj, probe[:8], [32.0], [32.0]), r"probe shape is \(8, 32\)"),
        ((obj, probe, [32.0, 30.0], [32.0]), r"positions have shapes x \(2,\), y \(1,\)"),
        ((obj, probe, [], []), "with M >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            ideal_amplitude(*arguments)


@pytest.mark.parametrize("nphotons", [1e2, 1e4, 1e9])
def test_measured_dose_is_the_dose_asked_within_one_percent(nphotons):
    data = scan(nphotons)
    dose = measured_dose(data, data.probeGuess)
    assert dose.per_pattern == pytest.approx(nphotons, rel=0.01)
    assert dose.per_detector_pixel == pytest.approx(nphotons / 64**2, rel=0.01)


def test_fluence_is_photons_per_illuminated_pixel():
    probe = np.zeros((16, 16), np.complex64)
    probe[4:12, 4:12] = 3  # an 8 x 8 square, tiled 3 x 5 without overlap: 960 pixels, evenly covered
    rows, columns = np.mgrid[:3, :5]
    counts = np.full((15, 16, 16), 10)
    data = normalise(counts, 20.0 + 8 * columns.ravel(), 20.0 + 8 * rows.ravel(), probe)
    dose = measured_dose(data, data.probeGuess)
    assert dose.per_object_pixel == pytest.approx(15 * 2560 / 960)
    assert (dose.per_pattern, dose.per_detector_pixel) == (2560, 10)


def test_fluence_counts_each_pattern_that_a_pixel_sees():
    once, twice = scan(1e4, n=600), scan(1e4, n=1200)
    ratio = measured_dose(twice, disk(64)).per_object_pixel / measured_dose(once, disk(64)).per_object_pixel
    assert ratio == pytest.approx(2, rel=0.05)


def test_trap_dose_check_that_could_not_pass():
    """Compared as normalised amplitudes all doses look alike, and no check on them can tell 1e4 photons from 1e9."""
    high, low = scan(1e9), scan(1e4)
    normalised = [float(np.square(d.diff3d.astype(float)).sum((1, 2)).mean()) for d in (high, low)]
    assert normalised[0] == pytest.approx(normalised[1], rel=0.01)
    doses = [measured_dose(d, d.probeGuess).per_pattern for d in (high, low)]
    assert doses == pytest.approx([1e9, 1e4], rel=0.01)


def test_trap_nphotons_recorded_but_inert():
    """The dose must change the data, by its photon noise, and not only a number stored beside them."""
    rng = np.random.default_rng(0)
    obj, probe = make_object("lines", 256, 0), disk(64)
    x, y = random_positions(300, 256, 64, rng)
    ideal = ideal_amplitude(obj, probe, x, y).astype(float)
    errors = []
    lit = (intensity_scale(ideal, 1e5) * ideal) ** 2 > 20  # where even the lowest dose has photons
    for nphotons in (1e5, 1e7, 1e9):
        diff3d, _ = expose(ideal, nphotons, np.random.default_rng(1))
        errors.append(np.square(diff3d - ideal)[lit].mean())
    # the noise of sqrt(counts) is near 1/2 whatever the counts, so that of the amplitude falls as 1 / (4 s^2)
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(100, rel=0.05)


def test_scale_of_amplitude_and_photons():
    ideal = np.random.default_rng(0).random((4, 8, 8))
    s = intensity_scale(ideal, 500)
    assert (s**2 * ideal**2).sum((1, 2)).mean() == pytest.approx(500)
    diff3d, same = expose(ideal, 500, np.random.default_rng(0))
    assert same == s and diff3d.dtype == np.float32
    np.testing.assert_allclose((s * diff3d.astype(float)) ** 2, np.rint((s * diff3d.astype(float)) ** 2), atol=1e-4)


def test_scale_is_right_for_very_many_dim_patterns():
    # a float32 running sum of so many equal terms would lose 1 part in 100 and more
    ideal = np.broadcast_to(np.float32(0.1), (50_000, 16, 16))
    assert intensity_scale(ideal, 1.0) == pytest.approx(1 / np.sqrt(2.56), rel=1e-6)


def test_counts_are_poisson_of_the_expected_rate():
    ideal = np.sqrt(np.array([[[0.0, 0.3, 2.0, 50.0]]], np.float64))
    tiled = np.repeat(ideal, 40_000, axis=0)
    diff3d, s = expose(tiled, 52.3, np.random.default_rng(2))
    assert s == pytest.approx(1)
    counts = np.rint((s * diff3d.astype(float)) ** 2)[:, 0]
    assert not counts[:, 0].any()
    for k, rate in ((1, 0.3), (2, 2.0), (3, 50.0)):
        assert poisson_p_value(counts[:, k], rate) > 1e-3


def test_very_bright_pixels_are_exposed():
    data = np.zeros((2, 8, 8))
    data[:, 4, 4] = 1
    diff3d, s = expose(data, 1e9, np.random.default_rng(0))
    assert np.rint((s * diff3d[:, 4, 4].astype(float)) ** 2) == pytest.approx(1e9, rel=5 / np.sqrt(1e9))


def poisson_p_value(values, rate):
    """Return the p-value of a chi-square test of `values` against Poisson(rate), in bins that expect 20 or more."""
    expected = len(values) * stats.poisson.pmf(np.arange(10 * rate + 20), rate)
    observed = np.bincount(values.astype(int), minlength=len(expected))[: len(expected)]
    enough = expected >= 20
    binned = [np.append(counts[enough], len(values) - counts[enough].sum()) for counts in (observed, expected)]
    return stats.chisquare(*binned).pvalue


@pytest.mark.parametrize(("rate", "fraction"), [(100.0, 0.03), (8.0, 0.5), (1000.0, 0.9)])
def test_thinned_counts_are_poisson_at_the_lower_dose(rate, fraction):
    """Chi-square over the whole distribution at 99.9 %, and dispersion within its own 99.9 % interval, n = 40 000."""
    rng = np.random.default_rng(11)
    counts = rng.poisson(rate, 40_000)
    kept = thin(counts, fraction, rng)
    assert poisson_p_value(kept, rate * fraction) > 1e-3
    dispersion = (len(kept) - 1) * kept.var(ddof=1) / kept.mean()
    low, high = stats.chi2.ppf([0.0005, 0.9995], len(kept) - 1)
    assert low < dispersion < high
    # scaling and rounding instead of thinning would have the wrong variance, and this test would say so
    rounded = np.rint(counts * fraction)
    assert not low < (len(kept) - 1) * rounded.var(ddof=1) / rounded.mean() < high


def test_thinned_and_removed_photons_are_independent():
    rng = np.random.default_rng(12)
    counts = rng.poisson(20, 40_000)
    kept = thin(counts, 0.3, rng)
    r = np.corrcoef(kept, counts - kept)[0, 1]
    assert abs(r) < 3.3 / np.sqrt(len(counts))  # 99.9 %


@settings(deadline=None, max_examples=60)
@given(
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.uint64, np.float32, np.float64]),
    top=st.integers(1, 255),
    fraction=st.floats(0.001, 1),
    seed=st.integers(0, 999),
)
def test_thinning_only_removes_whole_photons(dtype, top, fraction, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, top, (3, 4, 4)).astype(dtype)
    kept = thin(counts, fraction, rng)
    assert kept.dtype == np.int64 and kept.shape == counts.shape
    assert (kept >= 0).all() and (kept <= counts.astype(np.int64)).all()
    assert np.array_equal(thin(counts, 1.0, rng), counts)


def test_thinning_uint16_does_not_wrap():
    counts = np.full((100, 100), 65_535, np.uint16)
    kept = thin(counts, 0.5, np.random.default_rng(0))
    assert kept.mean() == pytest.approx(65_535 / 2, rel=1e-3)
    assert kept.sum() > 2**28


@pytest.mark.parametrize(
    ("counts", "fraction", "message"),
    [
        (np.array([1, -2]), 0.5, r"counts holds negative values \(as low as -2\)"),
        (np.array([1.5]), 0.5, "not whole numbers"),
        (np.array([np.nan]), 0.5, "not whole numbers"),
        (np.array([1j]), 0.5, "counts has type complex128"),
        (np.array([5]), 0.0, "fraction of photons to keep is 0.0"),
        (np.array([5]), 1.01, "fraction of photons to keep is 1.01"),
        (np.array([5]), float("nan"), "fraction of photons to keep is nan"),
    ],
)
def test_thinning_refuses(counts, fraction, message):
    with pytest.raises(ValueError, match=message):
        thin(counts, fraction, np.random.default_rng(0))


def test_thin_to_dose_keeps_the_object_in_its_units():
    full = scan(1e6)
    thinned = thin_to_dose(full, 1e4, np.random.default_rng(5))
    assert thinned.nphotons == 1e4
    assert measured_dose(thinned, full.probeGuess).per_pattern == pytest.approx(1e4, rel=0.01)
    energies = [np.square(d.diff3d.astype(float)).sum((1, 2)).mean() for d in (full, thinned)]
    assert energies[1] == pytest.approx(energies[0], rel=0.01)
    assert np.array_equal(thinned.counts(), np.rint(thinned.counts()))
    assert np.array_equal(thinned.xcoords, full.xcoords)
    with pytest.raises(ValueError, match=r"nphotons is 1e\+07; expected a number in \(0, "):
        thin_to_dose(full, 1e7, np.random.default_rng(5))
    own = full.counts().sum() / len(full)
    assert thin_to_dose(full, 1.009 * own, np.random.default_rng(5)) is full  # a percent above is that dose
    with pytest.raises(ValueError, match="expected a number in"):
        thin_to_dose(full, 1.011 * own, np.random.default_rng(5))


@pytest.mark.parametrize("nphotons", [0, -1, float("nan"), float("inf")])
def test_dose_must_be_a_positive_number(nphotons):
    with pytest.raises(ValueError, match="nphotons is"):
        expose(np.ones((1, 4, 4)), nphotons, np.random.default_rng(0))


@pytest.mark.parametrize("amplitude", [np.zeros((2, 4, 4)), np.ones((0, 4, 4)), np.full((1, 4, 4), np.nan)])
def test_patterns_without_light_are_refused(amplitude):
    with pytest.raises(ValueError, match="the patterns have mean energy"):
        intensity_scale(amplitude, 1e4)


@settings(deadline=None, max_examples=30)
@given(unit=st.floats(1e-3, 1e3), modes=st.sampled_from([None, 2]), nphotons=st.sampled_from([30.0, 1e4, 1e6]))
def test_normalise_gives_the_measured_scan_the_units_of_a_simulation(unit, modes, nphotons):
    rng = np.random.default_rng(3)
    probe = zone_plate(32)
    probe = np.stack([probe, 0.5j * np.roll(probe, 1, 0)]) if modes else probe
    x, y = random_positions(40, 96, 32, rng)
    obj = np.ones((96, 96), np.complex64)
    ideal = ideal_amplitude(obj, probe, x, y).astype(float)
    counts = rng.poisson(ideal**2 * nphotons / (ideal**2).sum((1, 2)).mean())
    data = normalise(counts, x, y, (unit * probe).astype(np.complex64))
    n = support_size(probe)
    assert np.square(np.abs(data.probeGuess)).sum() == pytest.approx(n**2, rel=1e-5)
    assert data.nphotons == pytest.approx(counts.sum() / 40)
    assert data.intensity_scale**2 * n**2 == pytest.approx(data.nphotons)
    assert np.array_equal(data.counts(), counts)
    # so that the truth, an object of one, predicts the counts: nothing is left to scale
    predicted = (data.intensity_scale * ideal_amplitude(obj, data.probeGuess, x, y).astype(float)) ** 2
    chi_square = (np.square(counts - predicted)[predicted > 1e-3] / predicted[predicted > 1e-3]).mean()
    assert chi_square == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("masked", [False, True])
def test_a_known_background_is_no_dose(masked):
    rng, N, b, light = np.random.default_rng(0), 32, 3.0, 2e4
    data = scan(light, N=N)
    mask = np.ones((N, N), bool)
    mask[: N // 4] = not masked
    kept = float(data.counts().sum(where=mask)) / len(data)  # of the light, on pixels that are believed
    counts = (data.counts() + rng.poisson(b, data.diff3d.shape)) * mask
    s = float(data.intensity_scale)
    lit = replace(data, diff3d=(np.sqrt(counts) / s).astype(np.float32), mask=mask, background=b, nphotons=kept)
    chance = 5 * np.sqrt(kept / len(data) + b * N**2 / len(data))
    found = measured_dose(lit, data.probeGuess)
    assert found.per_pattern == pytest.approx(kept, abs=chance)
    assert found.per_detector_pixel == pytest.approx(kept / mask.sum(), abs=chance / mask.sum())
    told = normalise(counts, data.xcoords, data.ycoords, data.probeGuess, b * mask.sum())
    assert told.nphotons == pytest.approx(kept, abs=chance)
    thinned = thin_to_dose(lit, 5e3, rng)
    assert thinned.background == pytest.approx(b * 5e3 / kept, rel=1e-2)
    assert measured_dose(thinned, data.probeGuess).per_pattern == pytest.approx(5e3, rel=0.02)
    with pytest.raises(DataError, match="hold no photon beyond the background"):
        normalise(counts, data.xcoords, data.ycoords, data.probeGuess, 1e6)


def test_normalise_refuses():
    counts, x, probe = np.ones((3, 16, 16), int), np.full(3, 20.0), np.ones((16, 16), complex)
    for arguments, message in (
        ((counts * 0, x, x, probe), "hold no photon"),
        ((counts[:0], x[:0], x[:0], probe), "hold no photon"),
        ((counts + 0.5, x, x, probe), "not whole numbers"),
        ((-counts, x, x, probe), "negative"),
        ((counts, x, x[:2], probe), "ycoords has 2 values; expected 3"),
        ((counts, x, x, probe * 0), "probeGuess: probe energy is 0.0"),
        ((counts, x, x, np.ones((8, 8))), r"probeGuess has shape \(8, 8\)"),
    ):
        with pytest.raises(DataError, match=message):
            normalise(*arguments)


KEV = 1.602176634e-16
WATER_8_KEV = 9.915  # cm^2/g: mass energy-absorption coefficient (NIST, Hubbell and Seltzer)


def tiled(**known):
    """An 8 x 8 square, tiled 3 x 5 without overlap: 960 pixels, 2560 photons in each of 15 patterns."""
    probe = np.zeros((16, 16), np.complex64)
    probe[4:12, 4:12] = 3
    rows, columns = np.mgrid[:3, :5]
    data = normalise(np.full((15, 16, 16), 10), 20.0 + 8 * columns.ravel(), 20.0 + 8 * rows.ravel(), probe)
    return replace(data, **known)


def test_photons_fall_on_square_microns_where_the_pixel_is_known():
    assert exposure.of(tiled()) == exposure.OF_PHOTONS and exposure.OF_PHOTONS.sample_unit is None
    told = exposure.of(tiled(pixel_size=20e-9))
    assert (told.unit, told.sample_unit, told.dose(7.0)) == ("photons per pattern", "photons per um^2", 7.0)
    assert told.on_sample(2560) == pytest.approx(15 * 2560 / (960 * 0.02**2))


def test_gray_follow_from_the_energy_that_the_sample_absorbs():
    """A joule per kilogram: photons per m^2, times joules of each, times m^2 per kilogram."""
    told = exposure.of(tiled(pixel_size=20e-9, energy=8 * KEV), "H2O")
    per_square_metre = 15 * 2560 / (960 * (20e-9) ** 2)
    assert told.sample_unit == "Gy"
    assert told.on_sample(2560) == pytest.approx(per_square_metre * 8 * KEV * WATER_8_KEV * 0.1, rel=0.01)
    assert exposure.read(told.as_dict()) == told and exposure.read(None) == exposure.OF_PHOTONS


@pytest.mark.parametrize(("kev", "coefficient"), [(1, 4065), (3, 191.7), (10, 4.944), (15, 1.374)])
def test_absorption_is_that_of_the_tables(kev, coefficient):
    found = exposure.gray_per_fluence("H2O", kev * KEV)
    assert found == pytest.approx(kev * KEV * coefficient * 0.1, rel=0.01)


@pytest.mark.parametrize(
    ("known", "material", "message"),
    [
        ({"pixel_size": 2e-8, "energy": KEV}, "protein", "MATERIAL='protein' is no formula; expected one like"),
        ({"pixel_size": 2e-8, "energy": KEV}, "12", "MATERIAL='12' is no formula"),
        ({"pixel_size": 2e-8}, "H2O", "MATERIAL=H2O: the energy of the photons is unknown"),
        ({"energy": KEV}, "H2O", "MATERIAL=H2O: the size of an object pixel is unknown"),
        ({"pixel_size": 2e-8, "energy": 1.0}, "H2O", r"the photons have 6.242e\+18 eV; expected 100 to 800000 eV"),
    ],
)
def test_gray_that_cannot_be_told_are_refused(known, material, message):
    with pytest.raises(DataError, match=message):
        exposure.of(tiled(**known), material)


def test_electrons_without_a_raster_are_told_by_the_area_that_they_light():
    told = exposure.of(tiled(pixel_size=0.4e-10, voltage=80e3))
    assert told.unit == told.sample_unit == "electrons per A^2"
    assert told.dose(2560) == pytest.approx(15 * 2560 / (960 * 0.4**2))
    assert exposure.of_known(tiled(voltage=80e3)).unit == "electrons per pattern"


@pytest.mark.parametrize(("counted", "accepted"), [(1e8, 0.01), (250_000, 0.01), (2500, 0.1), (225, 1 / 3)])
def test_a_dose_may_miss_the_one_asked_for_by_a_percent_or_by_chance(counted, accepted):
    """Of 2500 photons the standard error is 2 %: five of these are a tenth."""
    assert tolerance(counted) == pytest.approx(accepted)


@pytest.mark.parametrize("dose", ["1e5", "3"])
def test_the_deviance_is_the_mean_over_all_lit_pixels_however_many_the_patterns(dose):
    scan = simulated.simulate(16, BATCH + 76, 1, seed=3)["train"].expose(dose)
    n, rate = scan.counts().astype(float), predicted_rate(scan, scan.objectGuess, np.zeros(2))
    lit, rate = rate >= 1, np.maximum(rate, 1e-6)
    each = 2 * (np.where(n > 0, n * np.log(np.maximum(n, 1) / rate), 0) - (n - rate))
    assert lit.any() == (dose == "1e5")  # of three photons a pattern no pixel gets one
    expected = each[lit].mean() if lit.any() else each.mean()
    assert deviance(scan, scan.objectGuess, np.zeros(2)) == pytest.approx(expected, rel=1e-12)
