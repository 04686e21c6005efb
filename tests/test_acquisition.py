"""Where scans come from: seeds that keep roles apart, measured scans cut and thinned, files kept when unchanged."""

import os

import numpy as np
import pytest

from ptycho import acquisition, formats
from ptycho.rawdata import DataError, RawData


@pytest.fixture(scope="module")
def splits():
    return acquisition.simulate(64, 40, 30, seed=1)


def test_trap_train_and_heldout_share_neither_object_nor_coordinates(splits):
    train, heldout = splits["train"], splits["heldout"]
    assert not np.intersect1d(train.x, heldout.x).size
    assert not np.intersect1d(train.y, heldout.y).size
    assert not np.array_equal(train.object, heldout.object)
    assert abs(np.corrcoef(np.abs(train.object).ravel(), np.abs(heldout.object).ravel())[0, 1]) < 0.5


def test_trap_noise_is_the_same_for_every_loss_of_a_dose(splits):
    one, two = (splits["train"].expose("1e4") for _ in range(2))
    assert np.array_equal(one.diff3d, two.diff3d)
    again = acquisition.simulate(64, 40, 30, seed=1)["train"].expose("1e4")
    assert np.array_equal(one.diff3d, again.diff3d)
    other = acquisition.simulate(64, 40, 30, seed=2)["train"].expose("1e4")
    assert not np.array_equal(one.diff3d, other.diff3d)


def test_doses_differ_in_noise_not_in_scan(splits):
    high, low = splits["train"].expose("1e6"), splits["train"].expose("1e4")
    assert np.array_equal(high.xcoords, low.xcoords)
    assert np.array_equal(high.objectGuess, low.objectGuess)
    counts = [data.counts().sum() / len(data) for data in (high, low)]
    assert counts == pytest.approx([1e6, 1e4], rel=0.01)


@pytest.fixture(scope="module")
def measured_file(tmp_path_factory, splits):
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    scan = acquisition.simulate(64, 160, 8, seed=4, phase=0.4)["train"].expose("1e6")
    counts = scan.counts()
    np.savez(path, diff3d=counts, xcoords=scan.xcoords, ycoords=scan.ycoords, probeGuess=scan.probeGuess)
    return path, scan, counts


def test_a_measured_scan_is_cut_and_thinned(measured_file):
    path, scan, counts = measured_file
    parts = acquisition.measure(path.name, path.parent, seed=1)
    train, heldout = parts["train"], parts["heldout"]
    assert len(train.x) + len(heldout.x) == len(scan)
    assert len(heldout.x) == pytest.approx(len(scan) / 4, abs=1)
    assert train.x.max() < heldout.x.min()  # contiguous
    assert np.array_equal(
        np.sort(np.concatenate([train.expose("full").counts(), heldout.expose("full").counts()]).sum((1, 2))),
        np.sort(counts.sum((1, 2))),
    )
    thinned = train.expose("1e4")
    assert thinned.counts().sum() / len(thinned) == pytest.approx(1e4, rel=0.01)
    assert np.all(thinned.counts() <= train.expose("full").counts())
    H, W = train.object.shape
    assert 0 < train.y.min() < train.y.max() < H
    assert 0 < train.x.min() < heldout.x.max() < W


def test_the_reference_explains_the_measured_counts(measured_file):
    from ptycho import exposure

    path, _, _ = measured_file
    train = acquisition.measure(path.name, path.parent, seed=1)["train"].expose("full")
    flat = exposure.deviance(train, np.ones_like(train.objectGuess), np.zeros(2))
    found = exposure.deviance(train, train.objectGuess, np.zeros(2))
    assert found < flat / 10


def test_the_files_own_object_is_the_truth(measured_file, tmp_path):
    _, scan, _ = measured_file
    scan.save(tmp_path / "known.npz")
    train = acquisition.measure("known.npz", tmp_path, seed=1)["train"]
    assert np.array_equal(train.object, scan.objectGuess)


def test_a_foreign_scan_with_a_mask_is_measured_like_the_contracts(measured_file, tmp_path, monkeypatch):
    path, _, counts = measured_file
    mask = np.ones((64, 64), bool)
    mask[3, 5] = False
    known = RawData.load(path)
    foreign = formats.Scan(
        patterns=counts,
        x=known.xcoords * 1e-8,
        y=known.ycoords * 1e-8,
        probe=known.probeGuess,
        mask=mask,
        pixel_size=1e-8,
    )
    formats.by_name(tmp_path / "scan.cxi").write(tmp_path / "scan.cxi", foreign)
    monkeypatch.setattr(acquisition, "REFERENCE_PASSES", 5)
    parts = acquisition.measure("scan.cxi", tmp_path, seed=1)
    expected = acquisition.measure(path.name, path.parent, seed=1)
    for split, part in parts.items():
        full = part.expose("full")
        assert np.array_equal(full.counts(), np.where(mask, expected[split].expose("full").counts(), 0))
        assert np.array_equal(full.mask, mask) and np.array_equal(part.expose("1e4").mask, mask)
        assert full.pixel_size == pytest.approx(1e-8)
        np.testing.assert_allclose(np.diff(part.x), np.diff(expected[split].x), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"diff3d": np.ones((9, 32, 32), np.int64), "probeGuess": np.ones((32, 32), np.complex64)},
            "patterns of 32 pixels",
        ),
        ({"diff3d": np.ones((5, 64, 64), np.int64)}, "at least 8"),
        ({"diff3d": np.ones((9, 64, 64), np.float32)}, "intensity_scale is missing"),
    ],
)
def test_scans_a_study_cannot_use_are_refused_by_name(tmp_path, change, message):
    values = {"probeGuess": np.ones((64, 64), np.complex64), **change}
    M = len(values["diff3d"])
    np.savez(tmp_path / "bad.npz", xcoords=np.arange(M) * 3.0, ycoords=np.arange(M) * 3.0, **values)
    with pytest.raises(DataError, match=message) as caught:
        acquisition.measure("bad.npz", tmp_path, seed=1)
    assert "bad.npz" in str(caught.value)


def test_an_unchanged_scan_keeps_its_file(splits, tmp_path):
    path = tmp_path / "train.npz"
    data = splits["train"].expose("1e4")
    assert acquisition.save_if_changed(data, path)
    os.utime(path, (1, 1))
    assert not acquisition.save_if_changed(data, path)
    assert path.stat().st_mtime == 1
    assert acquisition.save_if_changed(splits["train"].expose("1e5"), path)
    assert path.stat().st_mtime > 1
    assert os.listdir(tmp_path) == ["train.npz"]
    assert isinstance(RawData.load(path), RawData)
