"""The overfit guard: detector pixels that no fit sees, and what they tell."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho import seeds
from ptycho.errors import DataError
from ptycho.judge.metrics import NAMES
from ptycho.judge.parts import judge
from ptycho.reconstruct import direct, reference
from ptycho.scans.dose import deviance
from ptycho.scans.rawdata import RawData
from ptycho.scans.simulated import simulate

UNSEEN = "deviance_heldout_pixels"


@pytest.fixture(scope="module")
def guard():
    return np.random.default_rng(4).random((64, 64)) < 0.03


@pytest.fixture(scope="module")
def simulated():
    return simulate(64, 250, 20, seed=2, phase=0.5)["train"]


def test_the_true_object_predicts_seen_and_unseen_pixels_alike(simulated, guard):
    data = replace(simulated.expose("1e6"), guard=guard)
    seen = deviance(data, simulated.object, np.zeros(2))
    unseen = deviance(data, simulated.object, np.zeros(2), guard)
    # a pixel's deviance has a variance of about 2, and more than 10 000 of the unseen are lit: 5 standard errors
    assert 1 < seen < 1.1 and unseen == pytest.approx(seen, abs=5 * np.sqrt(2 / 10_000))


def test_a_fit_that_fits_noise_predicts_unseen_pixels_worse_than_the_truth(simulated, guard):
    data = replace(simulated.expose("1e4"), guard=guard)
    found = {passes: direct.fit(data, "nll", passes=passes).reconstruction for passes in (3, 60)}
    little, much = (judge(reconstruction, data).as_dict() for reconstruction in found.values())
    truth_seen, truth_unseen = (deviance(data, simulated.object, np.zeros(2), p) for p in (~guard, guard))
    assert much["deviance"] < little["deviance"]  # whoever saw these alone would go on
    assert much["deviance"] < 0.97 * truth_seen and much[UNSEEN] > 1.05 * truth_unseen


def test_no_fit_sees_a_held_out_pixel(simulated, guard):
    data = replace(simulated.expose("1e4"), guard=guard)
    other = replace(data, diff3d=np.where(guard, np.float32(7), data.diff3d))
    one, two = (direct.fit(d, "nll", passes=1).reconstruction.object for d in (data, other))
    assert one.tobytes() == two.tobytes()
    assert np.array_equal(data.fitted, ~guard) and data.counts()[:, guard].any()  # photons all the same


@pytest.mark.slow
def test_measured_scans_have_a_guard_and_simulated_ones_none(simulated, tmp_path, monkeypatch):
    data = simulated.expose("1e6")
    mask = np.ones((64, 64), bool)
    mask[:, 20:22] = False
    replace(data, objectGuess=None, mask=mask).save(tmp_path / "scan.npz")
    monkeypatch.setattr(reference, "REFERENCE_PASSES", 2)
    parts = reference.make_reference("scan.npz", tmp_path, 7, "as-is").splits(7)
    drawn = np.random.default_rng(seeds.derive(7, "guard")).random((64, 64)) < reference.GUARDED
    for part in parts.values():
        scan = part.expose("1e4")
        assert np.array_equal(scan.guard, drawn & mask) and np.array_equal(scan.fitted, ~drawn & mask)
    assert 0.02 < drawn.mean() < 0.04
    scan.save(tmp_path / "again.npz")
    again = RawData.load(tmp_path / "again.npz")
    assert np.array_equal(again.guard, scan.guard) and again.guard.dtype == bool
    fit = direct.fit(scan, "nll", passes=1).reconstruction
    numbers = judge(fit, scan).as_dict()
    assert numbers[UNSEEN] > 0 and set(numbers) == {*NAMES, UNSEEN}
    assert data.guard is None and data.fitted is None
    assert set(judge(direct.fit(data, "nll", passes=1).reconstruction, data).as_dict()) == set(NAMES)


def test_a_guard_of_everything_is_refused(simulated, guard):
    data = simulated.expose("1e4")
    with pytest.raises(DataError, match="guard holds out every valid pixel"):
        replace(data, mask=guard, guard=guard)
    with pytest.raises(DataError, match=r"guard is bool \(8, 8\); expected \(N, N\) of True where held out, N = 64"):
        replace(data, guard=np.ones((8, 8), bool))
