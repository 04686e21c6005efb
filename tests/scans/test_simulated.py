"""Where scans come from: seeds that keep roles apart, files kept when unchanged."""

import os

import numpy as np
import pytest

from ptycho import seeds
from ptycho.physics import probes, samples
from ptycho.scans import exposure, formats, simulated
from ptycho.scans.rawdata import RawData


@pytest.fixture(scope="module")
def splits():
    return simulated.simulate(64, 40, 30, seed=1)


def test_trap_train_and_heldout_share_neither_object_nor_coordinates(splits):
    train, heldout = splits["train"], splits["heldout"]
    assert not np.intersect1d(train.x, heldout.x).size
    assert not np.intersect1d(train.y, heldout.y).size
    assert not np.array_equal(train.object, heldout.object)
    assert abs(np.corrcoef(np.abs(train.object).ravel(), np.abs(heldout.object).ravel())[0, 1]) < 0.5


def test_trap_noise_is_the_same_for_every_loss_of_a_dose(splits):
    one, two = (splits["train"].expose("1e4") for _ in range(2))
    assert np.array_equal(one.diff3d, two.diff3d)
    again = simulated.simulate(64, 40, 30, seed=1)["train"].expose("1e4")
    assert np.array_equal(one.diff3d, again.diff3d)
    other = simulated.simulate(64, 40, 30, seed=2)["train"].expose("1e4")
    assert not np.array_equal(one.diff3d, other.diff3d)


def test_doses_differ_in_noise_not_in_scan(splits):
    high, low = splits["train"].expose("1e6"), splits["train"].expose("1e4")
    assert np.array_equal(high.xcoords, low.xcoords)
    assert np.array_equal(high.objectGuess, low.objectGuess)
    counts = [data.counts().sum() / len(data) for data in (high, low)]
    assert counts == pytest.approx([1e6, 1e4], rel=0.01)


def test_an_unchanged_scan_keeps_its_file(splits, tmp_path):
    path = tmp_path / "train.npz"
    data = splits["train"].expose("1e4")
    assert simulated.save_if_changed(data, path)
    os.utime(path, (1, 1))
    assert not simulated.save_if_changed(data, path)
    assert path.stat().st_mtime == 1
    assert simulated.save_if_changed(splits["train"].expose("1e5"), path)
    assert path.stat().st_mtime > 1
    assert os.listdir(tmp_path) == ["train.npz"]
    assert isinstance(RawData.load(path), RawData)


@pytest.mark.parametrize(
    ("kind", "size", "illumination"),
    [("grf", None, "gaussian"), ("siemens", 150, "zone_plate"), ("lines", 130, "disk")],
)
def test_what_is_simulated_is_what_was_asked_for(kind, size, illumination):
    made = simulated.simulate(64, 20, 10, 3, 1.0, kind, size, illumination)
    for split in made.values():
        assert split.object.shape == (size or 256,) * 2
        np.testing.assert_array_equal(split.probe, probes.make_probe(illumination, 64))
        np.testing.assert_array_equal(
            split.object, samples.make_object(kind, size or 256, seeds.derive(3, "object", split.split), 1.0)
        )


@pytest.fixture(scope="module")
def electrons():
    return simulated.simulate_electrons(64, 90, 50, 1, voltage=80, semi_angle=25, defocus=20, step=0.8)


def test_a_dose_of_electrons_is_per_square_angstrom(electrons, tmp_path):
    """0.8 angstrom apart, patterns have 0.64 times the electrons per square angstrom."""
    for split in electrons.values():
        data = split.expose("1e4")
        assert data.counts().sum() / len(data) == pytest.approx(6400, rel=0.01)
        assert data.nphotons == pytest.approx(6400)
        told = exposure.of(data)
        assert (told.particle, told.unit, told.short) == ("electrons", "electrons per A^2", "e-/A^2")
        assert told.dose(6400) == pytest.approx(1e4) and told.on_sample(6400) == pytest.approx(1e4)
        assert told.nphotons(1e4) == pytest.approx(6400) and told.words(6400) == "1e+04 electrons per A^2"
    data.save(tmp_path / "scan.npz")
    again, scan = RawData.load(tmp_path / "scan.npz"), formats.read(tmp_path / "scan.npz")
    assert again.voltage == scan.voltage == 80e3 and again.particle == scan.particle == "electrons"
    np.testing.assert_allclose([again.step, scan.step], [[0.8e-10] * 2] * 2, rtol=1e-12)
    assert exposure.of(again) == told == exposure.read(told.as_dict())


def test_sheets_of_graphene_are_scanned_on_a_raster_of_the_step(electrons):
    train, heldout = electrons["train"], electrons["heldout"]
    pixel = 4.1757e-12 / 0.1  # the detector reaches to two semi-angles on both sides
    assert train.expose("1e2").pixel_size == pytest.approx(pixel, rel=1e-4)
    np.testing.assert_allclose(np.diff(train.x[:10]), 0.8e-10 / pixel, rtol=1e-4)
    assert not np.array_equal(train.object[:80, :80], heldout.object[:80, :80])
    np.testing.assert_array_equal(train.probe, heldout.probe)
