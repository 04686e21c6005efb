"""A measured scan: its axes, probe, positions and object found, cut in two, thinned."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho.config import ORIENTATIONS
from ptycho.errors import DataError
from ptycho.judge.dispersion import dispersion
from ptycho.physics import photons, probes, samples
from ptycho.reconstruct import alignment, reference
from ptycho.reconstruct.alignment import turn
from ptycho.scans import formats, simulated
from ptycho.scans.dose import deviance, predicted_rate, thin_to_dose
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction


def measure(path):
    return reference.make_reference(path.name, path.parent, 1, "as-is").splits(1)


@pytest.fixture(scope="module")
def measured_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.npz"
    scan = simulated.simulate(64, 160, 8, seed=4, phase=0.4)["train"].expose("1e6")
    counts = scan.counts()
    np.savez(path, diff3d=counts, xcoords=scan.xcoords, ycoords=scan.ycoords, probeGuess=scan.probeGuess)
    return path, scan, counts


@pytest.fixture(scope="module")
def parts(measured_file):
    return measure(measured_file[0])


def test_a_measured_scan_is_cut_and_thinned(measured_file, parts):
    _, scan, counts = measured_file
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


def test_the_reference_explains_the_measured_counts(parts):
    train = parts["train"].expose("full")
    flat = deviance(train, np.ones_like(train.objectGuess), np.zeros(2))
    found = deviance(train, train.objectGuess, np.zeros(2))
    assert found < flat / 10


def test_a_split_that_measured_less_than_the_scan_is_named_with_the_dose(parts):
    dim = parts["heldout"]
    dim = replace(dim, scan=thin_to_dose(dim.scan, 9000, np.random.default_rng(0)))
    message = r"DOSES=1e4, held-out scan: nphotons is 10000; expected .* leave it out, or take full"
    with pytest.raises(DataError, match=message):
        dim.expose("1e4")


def test_the_files_own_object_is_the_truth(measured_file, tmp_path):
    _, scan, _ = measured_file
    scan.save(tmp_path / "known.npz")
    train = measure(tmp_path / "known.npz")["train"]
    assert np.array_equal(train.object, scan.objectGuess)
    # with it, in whatever unit it is, the probe explains the photons
    replace(scan, objectGuess=3 * scan.objectGuess).save(tmp_path / "bright.npz")
    for found in (train, measure(tmp_path / "bright.npz")["train"]):
        data = found.expose("full")
        rate = predicted_rate(data, data.objectGuess, np.zeros(2))
        assert rate.sum() == pytest.approx(data.counts().sum(), rel=0.02)


def test_an_object_that_is_elsewhere_is_no_truth():
    found = Reconstruction(np.ones((8, 8), np.complex64), np.ones((8, 8), np.float32), np.array([4.0, 4.0]))
    truth = np.full((20, 20), 0.5, np.complex64)
    assert found.brightness(truth) == pytest.approx(2)
    for dark in (truth[:4], np.where(np.arange(20) < 4, truth, 0)):
        with pytest.raises(DataError, match="objectGuess: it is empty where the light fell"):
            found.brightness(dark)


def test_the_runner_up_is_neither_the_orientation_found_nor_its_twin():
    losses = dict.fromkeys(ORIENTATIONS, 0.7) | {"as-is": 0.0, "flip-xy": -0.01, "swap": 0.4}
    assert alignment.runner_up(losses, "as-is") == ("swap", 0.4)


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
    monkeypatch.setattr(reference, "REFERENCE_PASSES", 5)
    parts = measure(tmp_path / "scan.cxi")
    expected = measure(path)
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
            lambda s: {name: value if name == "probeGuess" else value[:5] for name, value in s.items()},
            "expected 8 or more",
        ),
        (lambda s: {"diff3d": np.sqrt(s["diff3d"]).astype(np.float32) / 7}, "intensity_scale is missing"),
    ],
)
def test_scans_a_study_cannot_use_are_refused_by_name(measured_file, tmp_path, change, message):
    with np.load(measured_file[0]) as arrays:
        values = dict(arrays)
    np.savez(tmp_path / "bad.npz", **{**values, **change(values)})
    with pytest.raises(DataError, match=message) as caught:
        reference.make_reference("bad.npz", tmp_path, seed=1)
    assert "bad.npz" in str(caught.value)


def test_what_looks_wrong_is_refused_by_name_before_anything_is_fitted(measured_file, tmp_path, monkeypatch):
    _, scan, counts = measured_file
    monkeypatch.setattr("ptycho.reconstruct.direct.fit", None)
    np.savez(tmp_path / "adu.npz", counts=12 * counts, xcoords=scan.xcoords * 1e-8, ycoords=scan.ycoords * 1e-8)
    with pytest.raises(DataError) as caught:
        reference.make_reference("adu.npz", tmp_path, seed=1)
    said = str(caught.value).splitlines()
    assert said[0].startswith(f"{tmp_path / 'adu.npz'}: ") and len(said) == 2
    assert "found metres?" in said[0] and "a multiple of 12" in said[1]


def test_what_is_mended_is_told_and_the_fit_sees_the_mended_scan(measured_file, tmp_path, monkeypatch):
    _, scan, counts = measured_file
    monkeypatch.setattr(reference, "REFERENCE_PASSES", 2)
    shifted = np.roll(counts, (3, -2), axis=(1, 2))
    np.savez(
        tmp_path / "off.npz", counts=shifted, xcoords=scan.xcoords, ycoords=scan.ycoords, probeGuess=scan.probeGuess
    )
    found = reference.make_reference("off.npz", tmp_path, 1, "as-is", normalise="none")
    assert [fault.weight for fault in found.faults] == ["mended"] and "mended: patterns: centred on (35, 30)" in str(
        found
    )
    seen = found.start.mask
    assert seen.sum() == 61 * 62 and np.array_equal(found.start.counts()[:, seen], counts[:, seen])


def test_positions_out_of_step_are_told_with_a_given_orientation_too(measured_file, monkeypatch):
    path = measured_file[0]
    monkeypatch.setattr(alignment, "find_delay", lambda *_: (-1, {}))
    monkeypatch.setattr(reference, "REFERENCE_PASSES", 2)
    found = reference.make_reference(path.name, path.parent, 1, "as-is")
    (told,) = (fault for fault in found.faults if "out of step" in str(fault))
    assert told.weight == "doubtful" and "those of one frame earlier explain the patterns better" in str(told)


def test_a_tall_scan_is_cut_across(measured_file):
    _, scan, _ = measured_file
    for x, y, along in ((0.4, 1, "ycoords"), (0.6, 1, "xcoords"), (1, 0.1, "xcoords"), (0, 1, "ycoords")):
        data = replace(scan, xcoords=scan.xcoords * x, ycoords=scan.ycoords * y, objectGuess=np.ones((400, 400)))
        parts = reference.Reference(data, "as-is", {}, 1.0, data, None).splits(1)
        train, heldout = (getattr(parts[name].scan, along) for name in ("train", "heldout"))
        assert train.max() < heldout.min() and len(heldout) == len(scan) / 4


@pytest.mark.slow
def test_the_orientation_is_found_or_given_and_the_rest_follows(measured_file, tmp_path, monkeypatch):
    path, _, counts = measured_file
    scan = RawData.load(path)
    turned = turn(scan, "swap-flip-x")
    np.savez(
        tmp_path / "turned.npz",
        counts=counts,
        xcoords=turned.xcoords,
        ycoords=turned.ycoords,
        probeGuess=scan.probeGuess,
    )
    (back,) = [o for o in ORIENTATIONS if np.allclose(_span(turn(turned, o)), _span(scan))]
    found = reference.make_reference("turned.npz", tmp_path, seed=1)
    half_turn = _half_turn(back)  # under a real and symmetric probe the two fit alike
    assert found.orientation in (back, half_turn) and set(found.losses) == set(ORIENTATIONS)
    assert f"orientation of the positions: {found.orientation}, found; " in str(found)
    monkeypatch.setattr(reference, "REFERENCE_PASSES", 2)
    asked = reference.make_reference("turned.npz", tmp_path, 1, back)
    np.testing.assert_allclose(_span(asked.scan), _span(scan), atol=1e-9)
    assert asked.orientation == back and not asked.losses and "as asked for" in str(asked)


def _span(data):
    return np.stack([data.xcoords - data.xcoords.min(), data.ycoords - data.ycoords.min()])


def _half_turn(name):
    swap, x, y = (word in name for word in ("swap", "x", "y"))
    return next(o for o in ORIENTATIONS if ("swap" in o, "x" in o, "y" in o) == (swap, not x, not y))


@pytest.mark.slow
def test_refined_positions_and_modes_reach_the_arms(tmp_path):
    """Planted errors of a pixel either way and steps 8 % too long: 2.2 pixels rms along an axis, 0.3 when refined."""
    rng = np.random.default_rng(3)
    P, O = probes.make_probe("disk", 64), samples.make_object("lines", 160, 3, phase=1.0)
    true = np.stack(samples.random_positions(300, 160, 64, rng))
    diff3d, s = photons.expose(photons.ideal_amplitude(O, P, *true), 1e6, rng)
    middle = true.mean(axis=1, keepdims=True)
    told = middle + 1.08 * (true - middle) + rng.uniform(-1, 1, true.shape)
    RawData(diff3d, *told, P, intensity_scale=s, pixel_size=1e-8).save(tmp_path / "off.npz")
    found = reference.make_reference("off.npz", tmp_path, 1, "as-is", modes=2, positions="refine")
    factor, own = found.moved
    assert factor == pytest.approx(1 / 1.08, abs=0.01)
    assert np.sqrt(np.mean(own**2)) == pytest.approx(np.sqrt(2 / 3), rel=0.2)
    positions = np.stack([found.scan.xcoords, found.scan.ycoords])
    left, planted = (p - true - np.mean(p - true, axis=1, keepdims=True) for p in (positions, told))
    assert planted.std() > 2.2 and left.std() < 0.3
    start = np.stack([found.scan.xcoords_start, found.scan.ycoords_start])
    np.testing.assert_allclose(start - start.mean(axis=1, keepdims=True), told - told.mean(axis=1, keepdims=True))
    assert found.scan.pixel_size == pytest.approx(1.08e-8, rel=0.01)  # if the stage told true
    assert found.scan.probeGuess.shape == (2, 64, 64) and found.shares.sum() == pytest.approx(1)
    assert found.shares[0] > found.shares[1] and "2 incoherent modes" in str(found)
    assert all(part.probe.shape == (2, 64, 64) for part in found.splits(1).values())


def test_the_ladder_is_poisson_and_a_ladder_that_is_not_is_seen(parts):
    whole = parts["train"].expose("full")
    rng = np.random.default_rng(0)
    thinned = thin_to_dose(whole, 1e4, rng)
    found = dispersion(thinned, whole)
    assert found.binomial and abs(found.thinning - 1) < 4 * found.error and found.error < 0.01
    itself = dispersion(whole, whole)
    assert itself.thinning is None and itself.binomial and itself.words == "-"
    assert itself.index == itself.expected
    share = 1e4 / (whole.counts().sum() / len(whole))
    # given the counts N, (n - f l)^2 has the variance 2 v^2 + v + 4 v (f N - f l)^2, with v = f (1 - f) N, nearly
    N, rate = whole.counts(), predicted_rate(whole, whole.objectGuess, np.zeros(2))
    v = share * (1 - share) * N
    error = np.sqrt(np.sum(2 * v**2 + v + 4 * v * (share * (N - rate)) ** 2)) / np.sum(share * rate)
    assert error < 0.03 and found.index == pytest.approx(found.expected, abs=4 * error)
    assert found.expected == pytest.approx(1 + share * (itself.index - 1), abs=0.01)
    # rounded to the mean: no noise; every pattern its own share: too much
    s = thinned.intensity_scale
    rounded = replace(thinned, diff3d=(np.sqrt(np.rint(share * whole.counts())) / s).astype(np.float32))
    assert not dispersion(rounded, whole).binomial
    shares = np.clip(share * rng.normal(1, 0.2, (len(whole), 1, 1)), 0, 1)
    uneven = replace(thinned, diff3d=(np.sqrt(rng.binomial(whole.counts(), shares)) / s).astype(np.float32))
    assert dispersion(uneven, whole).thinning > 1 + 5 * found.error


def test_the_standard_error_of_a_thinning_is_that_of_many(parts):
    whole = parts["train"].expose("full").subset(slice(0, 4))
    found = [dispersion(thin_to_dose(whole, 2e3, np.random.default_rng(k)), whole) for k in range(200)]
    values = np.array([one.thinning for one in found])
    error = found[0].error
    assert values.mean() == pytest.approx(1, abs=4 * error / np.sqrt(200))
    assert values.std() == pytest.approx(error, rel=0.2)
