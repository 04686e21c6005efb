"""Light that is not steady: found by the fit that it disturbs, taken out by thinning, and told."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho.config import ORIENTATIONS
from ptycho.physics import photons, probes, samples
from ptycho.reconstruct import alignment, illumination, reference
from ptycho.reconstruct.direct import DirectFit
from ptycho.scans.dose import normalise, thin_each
from ptycho.scans.reconstruction import Reconstruction

M, N = 120, 64


@pytest.fixture(scope="module")
def scene():
    """Object, probe, positions, and the ideal intensities (M, N, N) with a mean of 1e5 photons."""
    rng = np.random.default_rng(0)
    O, P = samples.make_object("grf", 160, 3, phase=1.0), probes.make_probe("zone_plate", N)
    x, y = samples.random_positions(M, 160, N, rng)
    ideal = photons.ideal_amplitude(O, P, x, y).astype(float) ** 2
    return O, P, x, y, ideal * 1e5 / ideal.sum((1, 2)).mean()


def exposed(scene, light):
    """A scan in light of these factors (M,), and the fit that is true but for them."""
    O, P, x, y, ideal = scene
    counts = np.random.default_rng(1).poisson(ideal * np.reshape(light, (-1, 1, 1)))
    data = normalise(counts, x, y, P)
    rate = photons.ideal_amplitude(O, data.probeGuess, x, y).astype(float) ** 2 * data.intensity_scale**2
    bright = (O * np.sqrt(ideal.sum() / rate.sum())).astype(np.complex64)
    found = Reconstruction(bright, np.ones(O.shape, np.float32), np.zeros(2))
    return data, DirectFit(found, data.probeGuess, np.zeros(1))


def test_the_factors_are_found(scene):
    light = np.random.default_rng(2).uniform(0.3, 1.7, M)
    found = illumination.factors(*exposed(scene, light))
    np.testing.assert_allclose(found, light, rtol=0.03)


def test_known_background_is_as_bright_everywhere_and_no_part_of_the_factors(scene):
    light = np.random.default_rng(2).uniform(0.3, 1.7, M)
    data, fit = exposed(scene, light)
    counts = data.counts() + np.random.default_rng(4).poisson(20.0, data.diff3d.shape)
    amplitude = (np.sqrt(counts) / data.intensity_scale).astype(np.float32)
    found = illumination.factors(replace(data, diff3d=amplitude, background=20.0), fit)
    np.testing.assert_allclose(found, light, rtol=0.05)


def test_what_an_orientation_misses_is_told_in_the_photons_that_are_left(scene, tmp_path, monkeypatch):
    """The verdict sets it against what differs between the thinned patterns."""
    _, P, x, y, ideal = scene
    light = np.random.default_rng(2).uniform(0.5, 1.5, M)
    counts = np.random.default_rng(1).poisson(ideal * light[:, None, None])
    np.savez(tmp_path / "scan.npz", counts=counts, xcoords=x, ycoords=y, probeGuess=P)
    data, fit = exposed(scene, light)
    given = dict.fromkeys(ORIENTATIONS, 1.0) | {"as-is": 0.0}
    monkeypatch.setattr(alignment, "find_orientation", lambda data, *_: (data, "as-is", given))
    monkeypatch.setattr(alignment, "find_delay", lambda *_: (0, {}))
    monkeypatch.setattr(reference, "fit_all", lambda *_, **__: fit)
    found = reference.make_reference("scan.npz", tmp_path, 1)
    left = found.start.nphotons / data.nphotons
    assert 0.3 < left < 0.8
    assert found.losses == pytest.approx({name: loss + np.log(left) for name, loss in given.items()})


@pytest.mark.parametrize("scatter", [0.0, 0.02])
def test_steady_light_is_left_alone(scatter, scene):
    assert illumination.uneven(*exposed(scene, 1 + scatter * np.random.default_rng(2).normal(size=M))) is None


def test_all_are_thinned_to_the_weakest_and_stay_poisson(scene):
    light = np.random.default_rng(2).uniform(0.5, 1.5, M)
    light[7] = 0.01
    data, fit = exposed(scene, light)
    uneven = illumination.uneven(data, fit)
    assert uneven.shares[7] == 0 and np.all(uneven.shares[np.arange(M) != 7] > 0) and uneven.shares.max() == 1
    even = thin_each(data, uneven.shares, np.random.default_rng(3))
    kept = np.arange(M) != 7
    assert len(even) == M - 1 and np.array_equal(even.xcoords, data.xcoords[kept])
    rate = light[kept].min() * scene[4][kept]
    n = even.counts()
    assert np.all(n <= data.counts()[kept])
    assert np.sum((n - rate) ** 2) / rate.sum() == pytest.approx(1, abs=0.03)  # the index of dispersion
    assert even.nphotons == pytest.approx(n.sum() / len(n))
    # object and probe stay as they are: the brightness is in the intensity scale
    assert np.mean(even.diff3d**2) == pytest.approx(np.mean(data.diff3d[kept] ** 2), rel=1e-3)
    told = str(uneven.fault)
    assert "the light varied by" in told and "1 of 120, weaker still, are left out" in told


@pytest.mark.slow
def test_a_study_thins_a_scan_in_light_that_jumps_and_says_so(scene, tmp_path):
    _, P, x, y, ideal = scene
    light = np.random.default_rng(2).uniform(0.5, 1.5, M)
    counts = np.random.default_rng(1).poisson(ideal * light[:, None, None])
    np.savez(tmp_path / "scan.npz", counts=counts, xcoords=x, ycoords=y, probeGuess=P)
    as_is = reference.make_reference("scan.npz", tmp_path, 1, "as-is", normalise="none")
    even = reference.make_reference("scan.npz", tmp_path, 1, "as-is")
    assert [fault.weight for fault in as_is.faults] == ["doubtful"] and [f.weight for f in even.faults] == ["mended"]
    assert "mended: totals: the light varied by" in str(even)
    assert even.deviance < 0.3 * as_is.deviance
    assert illumination.uneven(even.start, even.fit) is None
    assert even.start.nphotons < as_is.start.nphotons
