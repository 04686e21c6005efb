"""Resolution without a truth: the halves' correlation is what theory says it is, of images and of whole scans."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho.errors import DataError
from ptycho.judge import halves
from ptycho.judge.frc import FRCCurve, frc50, threshold_crossing
from ptycho.judge.metrics import evaluate
from ptycho.reconstruct import direct
from ptycho.scans import simulated
from ptycho.scans.dose import halve, thin_to_dose
from ptycho.scans.reconstruction import Reconstruction
from ptycho.scans.simulated import simulate


@pytest.fixture(scope="module")
def data():
    return simulated.simulate(64, 400, 20, seed=2, phase=0.8)["train"].expose("1e5")


def test_halves_add_up_and_share_no_noise(data):
    one, other = halve(data, np.random.default_rng(0))
    a, b = one.counts(), other.counts()
    assert np.array_equal(a + b, data.counts())
    assert a.sum() == pytest.approx(b.sum(), rel=1e-3)
    # the counts of one pixel vary over the patterns with the object; the truth removed, the halves know nothing of
    # one another, while unsplit counts would be correlated by -1 (b = n - a) or +1 (b = a)
    simulated = simulate(64, 400, 20, seed=2, phase=0.8)["train"]
    rate = np.maximum((simulated.ideal.astype(float) * one.intensity_scale) ** 2, 1e-9)
    assert one.intensity_scale == other.intensity_scale == pytest.approx(data.intensity_scale / np.sqrt(2))
    assert one.nphotons == other.nphotons == data.nphotons / 2
    lit = rate > 1
    r = np.corrcoef(*(((n - rate) / np.sqrt(rate))[lit] for n in (a, b)))[0, 1]  # of unit variance, each of them
    assert abs(r) < 4 / np.sqrt(lit.sum())
    with pytest.raises(DataError, match="intensity_scale"):
        halve(replace(data, intensity_scale=None), np.random.default_rng(0))


def test_images_of_known_signal_and_noise_correlate_as_theory_says():
    """A white signal of power one, white noise of power N in each image: F = 1 / (1 + N), C = 1 / sqrt(1 + N/2)."""
    rng = np.random.default_rng(0)

    def white():
        return rng.normal(size=(256, 256)) + 1j * rng.normal(size=(256, 256))

    coverage, origin = np.ones((256, 256), np.float32), np.array([30.0, -4.0])
    signal = white()
    for noise in (0.25, 1.0, 4.0):
        one, other = (signal + np.sqrt(noise) * white() for _ in range(2))
        turned = Reconstruction(np.exp(1j) * one, coverage, origin)
        found = halves.compare_halves(turned, Reconstruction(other, coverage, origin))
        weight = found.curve.n
        assert np.average(found.curve.correlation, weights=weight) == pytest.approx(1 / (1 + noise), abs=0.01)
        expected = np.average(found.expected.correlation, weights=weight)
        assert expected == pytest.approx(1 / np.sqrt(1 + noise / 2), abs=0.02)
        truth = np.vdot((one + other) / 2, signal).real / np.linalg.norm((one + other) / 2) / np.linalg.norm(signal)
        assert expected == pytest.approx(truth, abs=0.02)


def test_halves_of_two_frames_are_refused():
    blank = Reconstruction(np.ones((64, 64), complex), np.ones((64, 64)), np.zeros(2))
    with pytest.raises(ValueError, match="halves of one scan share their frame"):
        halves.compare_halves(blank, replace(blank, origin_yx=np.array([1.0, 0.0])))


def test_with_truth_is_the_formula_and_knows_no_negative_signal():
    F = np.array([-0.2, 0.0, 1 / 7, 1 / 3, 1.0])
    np.testing.assert_allclose(halves.with_truth(F), [0, 0, 0.5, np.sqrt(0.5), 1])


def test_a_scan_without_a_truth_promises_what_the_truth_confirms(data):
    split = halves.split_resolution(data, "nll", seed=1)
    full = direct.fit(data, "nll", seed=3).reconstruction
    against_truth = evaluate(full, data.objectGuess, float(data.counts().sum())).complex_frc
    promised = np.interp(against_truth.frequency, split.expected.frequency, split.expected.correlation)
    signal = against_truth.frequency < frc50(against_truth)
    tenth = against_truth.frequency[signal] // 0.1
    for k in np.unique(tenth):  # rings hold few pixels: their mean over a tenth of Nyquist
        rings = np.flatnonzero(signal)[tenth == k]
        assert promised[rings].mean() == pytest.approx(against_truth.correlation[rings].mean(), abs=0.03)
    assert split.frc50 == pytest.approx(frc50(against_truth), abs=0.03)
    assert split.crossing == threshold_crossing(split.curve, "half-bit") < split.frc50
    # the same seed, the same answer; the halves are not the whole
    assert len(split.halves) == 2 and not np.array_equal(split.halves[0].object, split.halves[1].object)
    again = halves.compare_halves(*split.halves)
    assert np.array_equal(again.curve.correlation, split.curve.correlation)


@pytest.mark.slow
def test_a_reference_that_shares_photons_tells_of_the_truth(data):
    """Half of the reference's photons are the image's own: what it shares with it is no evidence, and is taken out."""
    share = 0.5
    thinned = thin_to_dose(data, 5e4, np.random.default_rng(5))
    found = direct.fit(thinned, "nll", seed=1).reconstruction
    reference = direct.fit(data, "nll", seed=2).reconstruction
    framed = replace(found, origin_yx=found.origin_yx - reference.origin_yx)
    corrected = halves.against_reference(framed, reference.object, share)
    naive = halves.agreement(framed, reference.object)
    true = halves.agreement(found, data.objectGuess)
    assert frc50(naive) > frc50(true) + 0.15
    assert frc50(corrected) == pytest.approx(frc50(true), abs=0.06)
    with pytest.raises(ValueError, match="share of the photons is 1"):
        halves.against_reference(framed, reference.object, 1)


def test_the_share_is_taken_out_as_algebra_says(monkeypatch):
    S, N, f = 2.0, 3.0, 0.3
    curve = FRCCurve(np.array([0.5, 1.0]), np.array([np.sqrt((S + f * N) / (S + N)), 0.1]), np.array([9, 9]))
    monkeypatch.setattr(halves, "agreement", lambda *_: curve)
    found = halves.against_reference(None, None, f).correlation
    np.testing.assert_allclose(found, [np.sqrt(S / (S + N)), 0])
