"""The network-free fit: it finds the object, from a wrong probe too, and says so when it cannot."""

from dataclasses import replace

import numpy as np
import pytest

from bench import calibration
from ptycho import files
from ptycho.errors import TrainingError
from ptycho.judge.gauge import remove_gauge
from ptycho.judge.parts import judge
from ptycho.physics import photons, probes
from ptycho.reconstruct import direct, positions
from ptycho.scans import simulated
from ptycho.scans.dose import normalise
from ptycho.scans.rawdata import RawData
from ptycho.study.status import Passes


@pytest.fixture(scope="module")
def splits():
    return simulated.simulate(64, 600, 40, seed=3, phase=0.5)


def judged(data, fit):
    return judge(fit.reconstruction, data)


def test_high_dose_is_reconstructed_to_nyquist():
    data = simulated.simulate(64, 2000, 1, seed=3, phase=0.5)["train"].expose("1e9")
    fit = direct.fit(data, "nll")
    found = judged(data, fit)
    assert found.amplitude_frc50 == found.phase_frc50 == 1
    assert found.relative_mse < 2e-7  # 1.4e-7; the Cramér-Rao bound is 7e-8
    assert fit.losses[-1] < fit.losses[0]
    assert np.array_equal(fit.probe, data.probeGuess)  # not asked to refine it


def test_the_same_seed_gives_the_same_bits(splits):
    data = splits["heldout"].expose("1e4")
    one, two = (direct.fit(data, "mae", passes=2, seed=5) for _ in range(2))
    assert np.array_equal(one.reconstruction.object, two.reconstruction.object)
    other = direct.fit(data, "mae", passes=2, seed=6)
    assert not np.array_equal(one.reconstruction.object, other.reconstruction.object)


def test_who_watches_the_passes_hears_of_each_and_changes_nothing(splits, tmp_path):
    data = splits["heldout"].expose("1e4")
    watched = direct.fit(data, "mae", passes=3, seed=5, watch=Passes(tmp_path, "direct", 2))
    alone = direct.fit(data, "mae", passes=3, seed=5)
    assert np.array_equal(watched.reconstruction.object, alone.reconstruction.object)
    assert np.array_equal(watched.losses, alone.losses)
    told = files.read_json(tmp_path / "progress.json")
    assert (told["stage"], told["passes"], told["epoch"], told["nepochs"]) == ("direct", 3, 2, 2) and told["done"] >= 1


def test_frame_and_coverage_are_those_of_the_scan(splits):
    data = splits["heldout"].expose("1e4")
    found = direct.fit(data, "mse", passes=1).reconstruction
    n = probes.cropped_modes(data.probeGuess).shape[-1]
    first = np.floor([data.ycoords.min() - n // 2, data.xcoords.min() - n // 2]) - positions.MARGIN
    assert np.array_equal(found.origin_yx, first)
    light = len(data) * np.sum(np.abs(probes.cropped_modes(data.probeGuess)) ** 2)
    assert found.coverage.sum() == pytest.approx(light, rel=1e-4)
    assert np.all(found.object[found.coverage == 0] == 1)


def likeness(P, Q):
    """The highest correlation of two probes (n, n), 0 to 1, over shifts of pixels and over phase ramps."""
    shifts = [(dy, dx) for dy in range(-3, 4) for dx in range(-3, 4)]
    spectra = [np.fft.fft2(np.roll(P, by, (0, 1)) * Q.conj(), s=(256, 256)) for by in shifts]
    return np.abs(spectra).max() / np.linalg.norm(P) / np.linalg.norm(Q)


def test_a_wrong_probe_is_refined(splits):
    data = splits["train"].expose("1e6")
    y, x = np.mgrid[:64, :64] - 32
    curved = (data.probeGuess * np.exp(1j * (x**2 + y**2) / 200)).astype(np.complex64)
    told = replace(data, probeGuess=curved)
    kept = direct.fit(told, "mse", passes=25, batch_size=20)
    refined = direct.fit(told, "mse", passes=25, batch_size=20, refine_probe=True)
    assert refined.losses[-1] < kept.losses[-1] - 1
    before, after = (1 - likeness(P.reshape(64, 64), data.probeGuess) for P in (curved, refined.probe))
    assert after < 0.6 * before


def test_incoherent_modes_are_added_and_explain_more(splits):
    """Light of two modes, fitted by one and by two."""
    of, x = splits["train"], np.arange(64) - 32
    second = 0.7 * np.roll(of.probe * np.exp(0.1j * x), 4, axis=0)
    P = np.stack([of.probe, second]).astype(np.complex64)
    diff3d, s = photons.expose(photons.ideal_amplitude(of.object, P, of.x, of.y), 1e6, np.random.default_rng(0))
    data = RawData(diff3d, of.x, of.y, of.probe, of.object, nphotons=1e6, intensity_scale=s)
    one, two = (direct.fit(data, "mse", passes=12, batch_size=20, refine_probe=True, modes=n) for n in (1, 2))
    assert two.probe.shape == (2, 64, 64) and all(np.linalg.norm(mode) > 0 for mode in two.probe)
    assert two.losses[-1] < one.losses[-1] - 0.15
    errors = [judged(data, fit).relative_mse for fit in (one, two)]
    assert errors[1] < 0.85 * errors[0]


def test_a_fit_that_diverges_is_refused(splits):
    with pytest.raises(TrainingError, match="diverged"):
        direct.fit(splits["heldout"].expose("1e4"), "nll", passes=2, learning_rate=float("nan"))


def test_refined_modes_are_orthogonal_and_change_no_intensity(splits):
    rng = np.random.default_rng(0)
    P = (rng.normal(size=(3, 16, 16)) + 1j * rng.normal(size=(3, 16, 16))).astype(np.complex64)
    mixed = direct._orthogonal(P)
    gram = np.einsum("aij,bij->ab", mixed, mixed.conj())
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-3 and np.all(np.diff(np.diag(gram).real) < 0)
    patch = rng.normal(size=(16, 16)) + 1j * rng.normal(size=(16, 16))
    one, other = (np.sum(np.abs(np.fft.fft2(modes * patch)) ** 2, axis=0) for modes in (P, mixed))
    np.testing.assert_allclose(one, other, rtol=1e-4)


def problem_of(data):
    corner = np.stack([data.ycoords, data.xcoords], axis=1) - 32
    placement = positions.Placement(corner, 64)
    start = np.stack([np.ones(placement.shape), np.zeros(placement.shape)])
    return direct.Problem(data, data.probeGuess[np.newaxis], start, placement, "mse")


@pytest.mark.parametrize("floor", [0.1, 0.0])
def test_the_best_of_the_starts_is_begun_anew_until_it_settles(floor, splits):
    problem = problem_of(splits["heldout"].expose("1e4"))
    P, begun = problem.estimates()[1].numpy(), []

    def run():
        """Leaves half the probe, and a loss that falls with it to a floor."""
        probe, image = problem.variables["probe"], problem.variables["object"]
        assert np.all(image.numpy() == problem.start["object"])
        begun.append(float(np.abs(probe.numpy()).max()))
        probe.assign(probe.value / 2)
        image.assign(image.value + 1)
        return np.array([9.0, max(begun[-1] / top, floor)])

    top = float(np.abs(problem.variables["probe"].numpy()).max())
    losses = problem.settled(run, [P, P / 2, P / 4, 2 * P])
    found = np.array(begun) / top
    falling = [1, 0.5, 0.25, 2, *(2.0**-k for k in range(3, 3 + direct.AT_MOST))]
    assert found == pytest.approx(falling[:7] if floor else falling)
    # at the floor, the last run was no better than the one before: that one is kept
    best = 0.0625 if floor else found[-1]
    assert losses[-1] == max(best, floor)
    assert np.abs(problem.variables["probe"].numpy()).max() / top == pytest.approx(best / 2)


def test_a_start_that_diverges_is_not_chosen(splits):
    problem = problem_of(splits["heldout"].expose("1e4"))
    P = problem.estimates()[1].numpy()
    ends = iter([float("nan"), 2.0, 3.0, 2.0])
    assert problem.settled(lambda: np.array([next(ends)]), [P, P, P])[-1] == 2


@pytest.mark.slow
def test_a_curved_probe_is_found_from_the_mean_pattern_alone():
    made = calibration.scan(np.random.default_rng(1), probe=calibration.beam(curvature=1.2), side=9, dose=1e5)
    mean = probes.estimate(made["counts"].mean(axis=0))
    data = normalise(made["counts"], made["xcoords"], made["ycoords"], mean)
    how = {"passes": 30, "batch_size": 10, "refine_probe": True}
    one, best = direct.fit(data, "mse", **how), direct.fit(data, "mse", **how, curvatures=direct.CURVATURES[0])
    assert best.losses[-1] < one.losses[-1] - 1
    likeness = []
    for fit in (one, best):
        aligned = remove_gauge(fit.reconstruction, made["truth"])
        pair = np.stack([aligned.object[aligned.mask], aligned.truth[aligned.mask]])
        likeness.append(np.abs(np.corrcoef(pair)[0, 1]))
    assert likeness[0] < 0.7 and likeness[1] > 0.97
