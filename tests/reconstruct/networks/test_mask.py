"""Pixels that are not to be believed: whatever they hold, no result depends on it, and the others count as before."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptycho.config import LOSSES, ModelConfig, TrainingConfig
from ptycho.physics import losses, optics, photons
from ptycho.physics.probes import disk
from ptycho.physics.samples import make_object, random_positions
from ptycho.reconstruct import direct, training
from ptycho.reconstruct.groups import make_groups
from ptycho.reconstruct.networks import model
from ptycho.reconstruct.networks.layers import mask_of
from ptycho.scans.dose import deviance, measured_dose, thin_to_dose
from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import RawData

N = 64
SMALL = {"max_offset": 10.0, "blocks": 1, "steps": 2, "filters": 4, "filters_scale": 0.05}
GARBAGE = {"none": 0.0, "huge": 3e38, "ones": 1.0}


@pytest.fixture(scope="module")
def mask():
    """A beam-stop in the middle, a gap between modules and some dead pixels."""
    valid = np.random.default_rng(1).random((N, N)) > 0.02
    valid[30:34, 30:34] = valid[:, 40:42] = False
    return valid


@pytest.fixture(scope="module")
def scan(mask):
    rng, probe = np.random.default_rng(0), disk(N)
    x, y = random_positions(60, 100, N, rng)
    ideal = photons.ideal_amplitude(make_object("lines", 100, 1, phase=0.5), probe, x, y)
    diff3d, s = photons.expose(ideal, 1e6, rng)
    return RawData(diff3d, x, y, probe, nphotons=1e6, intensity_scale=s, mask=mask)


def holding(scan, kind):
    """The scan with something else in the pixels that are masked."""
    if kind == "random":
        garbage = np.random.default_rng(2).lognormal(0, 12, scan.diff3d.shape).astype(np.float32)
    else:
        garbage = np.float32(GARBAGE[kind])
    return replace(scan, diff3d=np.where(scan.mask, scan.diff3d, garbage))


def test_the_garbage_is_there_and_breaks_a_fit_without_a_mask(scan):
    dirty = replace(holding(scan, "ones"), mask=None)
    clean = replace(holding(scan, "none"), mask=None)
    one, other = (direct.fit(data, "nll", passes=1).reconstruction.object for data in (dirty, clean))
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("loss", ["nll", "mae", "mse"])
def test_direct_is_bit_for_bit_the_same(scan, loss):
    one, other = (direct.fit(holding(scan, kind), loss, passes=2, refine_probe=True) for kind in ("huge", "random"))
    assert one.reconstruction.object.tobytes() == other.reconstruction.object.tobytes()
    assert one.probe.tobytes() == other.probe.tobytes() and one.losses.tobytes() == other.losses.tobytes()
    assert one.losses[1] < one.losses[0]  # and it learned from the others


def trained(scan, architecture, folder):
    """Weights, history and outputs after an epoch."""
    keras.utils.set_random_seed(5)
    config = ModelConfig(N=N, architecture=architecture, **SMALL)
    autoencoder, diffraction_to_obj = model.build(config, scan.probeGuess, scan.mask)
    groups = make_groups(scan, 2)
    history = training.fit(autoencoder, groups, TrainingConfig(model=config, nepochs=1, batch_size=4), folder)
    batch = groups.batch(np.arange(8))
    outputs = [output.numpy() for output in (*autoencoder(batch), diffraction_to_obj(batch))]
    return [*autoencoder.get_weights(), *outputs, np.array([row["loss"] for row in history])]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["unrolled", "cnn"])
def test_networks_are_bit_for_bit_the_same(scan, architecture, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "STEPS_PER_EPOCH", 15)  # of four groups: each pattern is seen
    found = {k: trained(holding(scan, k), architecture, tmp_path / k) for k in ("huge", "random")}
    for a, b in zip(found["huge"], found["random"], strict=True):
        assert np.isfinite(a).all() and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("architecture", ["unrolled", "cnn"])
def test_the_mask_is_in_the_file_and_is_not_trained(mask, architecture, tmp_path):
    config = ModelConfig(N=N, architecture=architecture, **SMALL)
    autoencoder, _ = model.build(config, mask=mask)
    model.save(autoencoder, tmp_path / "model.keras")
    loaded, diffraction_to_obj = model.load(tmp_path / "model.keras")
    assert np.array_equal(mask_of(loaded), mask)
    assert not any("mask" in weight.path for weight in loaded.trainable_weights)
    rng = np.random.default_rng(0)
    amplitude, relative = rng.random((1, N, N, 4), np.float32), np.zeros((1, 1, 2, 4), np.float32)
    dirty = np.where(mask[..., np.newaxis], amplitude, np.float32(1e30))
    np.testing.assert_array_equal(diffraction_to_obj([amplitude, relative]), autoencoder([dirty, relative])[0])
    bare, _ = model.build(config)
    assert mask_of(bare) is None and len(bare.weights) == len(loaded.weights) - 1


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"mask has shape \(32, 32\); N=64 asks for \(64, 64\)"):
        model.build(ModelConfig(N=N, **SMALL), mask=np.ones((32, 32), bool))


def test_a_network_without_the_scans_mask_is_refused(scan, tmp_path):
    config = TrainingConfig(model=ModelConfig(N=N, **SMALL))
    bare, _ = model.build(config.model)
    with pytest.raises(ValueError, match=rf"^the scan leaves out {np.sum(~scan.mask)} detector pixels, the network 0;"):
        training.fit(bare, make_groups(scan, 2), config, tmp_path)


def test_where_nothing_is_measured_the_prediction_is_kept(mask):
    """The gradient is that of the misfit of the valid pixels alone, by TensorFlow's own differentiation."""
    rng = np.random.default_rng(0)
    O, P = (tf.complex(*rng.normal(size=(2, *shape)).astype(np.float32)) for shape in ((3, 20, 20), (2, 20, 20)))
    valid = tf.constant(np.fft.ifftshift(mask), tf.float32)
    A = valid * rng.random((3, N, N)).astype(np.float32)
    real, imaginary = tf.Variable(tf.math.real(O)), tf.Variable(tf.math.imag(O))
    with tf.GradientTape() as tape:
        predicted = optics.amplitude(optics.diffract(tf.complex(real, imaginary), P, N))
        misfit = tf.reduce_sum(valid * (predicted - A) ** 2) / 2
    expected = tf.complex(*tape.gradient(misfit, [real, imaginary])).numpy()
    found = optics.data_gradient(O, P, A, 0.0, 1e-9, valid)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(found - optics.data_gradient(O, P, A, 0.0, 1e-9)[0]).max() > 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_objective_is_the_mean_over_valid_pixels(mask, loss):
    rng, s = np.random.default_rng(0), 30.0
    a, intensity = (rng.random((2, N, N, 4)).astype(np.float32) for _ in range(2))
    dirty = np.where(mask[..., np.newaxis], a, np.float32(3e38))
    masked = losses.DiffractionLoss(loss, s, mask[..., np.newaxis])
    # the same pixels, taken out beforehand
    expected = losses.DiffractionLoss(loss, s)(a[:, mask], intensity[:, mask])
    assert float(masked(dirty, intensity)) == pytest.approx(float(expected), rel=1e-5)
    again = losses.DiffractionLoss.from_config(masked.get_config())
    assert float(again(dirty, intensity)) == float(masked(a, intensity))


def test_doses_and_deviance_count_valid_pixels_only(scan, mask):
    whole = replace(scan, mask=None)
    dirty = holding(scan, "huge")
    counts = whole.counts()
    assert np.array_equal(dirty.counts(), np.where(mask, counts, 0))
    dose, full = measured_dose(dirty, scan.probeGuess), measured_dose(whole, scan.probeGuess)
    assert dose.per_pattern == counts[:, mask].sum() / len(scan) < full.per_pattern
    assert dose.per_detector_pixel == pytest.approx(counts[:, mask].mean())
    thinned = thin_to_dose(dirty, 1e4, np.random.default_rng(0))
    assert measured_dose(thinned, scan.probeGuess).per_pattern == pytest.approx(1e4, rel=0.01)
    assert not thinned.counts()[:, ~mask].any()
    truth, origin = make_object("lines", 100, 1, phase=0.5), np.zeros(2)
    assert deviance(dirty, truth, origin) == deviance(scan, truth, origin)
    assert deviance(scan, truth, origin) == pytest.approx(1, abs=0.05)
    assert deviance(replace(holding(scan, "ones"), mask=None), truth, origin) > 100


@pytest.mark.parametrize("sentinel", [-1.0, np.nan, 2.0**60])
def test_what_a_file_holds_in_dead_pixels_is_not_read(scan, mask, sentinel):
    counts = np.where(mask, scan.counts(), sentinel)
    read = Scan(patterns=counts, x=scan.xcoords, y=scan.ycoords, metres=False, mask=mask).rawdata()
    assert np.array_equal(read.counts(), scan.counts())
    clean = Scan(patterns=scan.counts(), x=scan.xcoords, y=scan.ycoords, metres=False, mask=mask).rawdata()
    assert read.probeGuess.tobytes() == clean.probeGuess.tobytes()  # the estimate from the mean pattern
    with pytest.raises(ValueError, match=r"patterns|mean intensity"):  # without a mask it is
        Scan(patterns=counts, x=scan.xcoords, y=scan.ycoords, metres=False).rawdata()
