"""The network on the whole object: it begins as the smoothed fit, and learns to err less without losing resolution."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptycho.judge.parts import judge
from ptycho.reconstruct.networks import denoiser, model
from ptycho.reconstruct.whole import denoising, splits, total_variation
from ptycho.scans import simulated


@pytest.fixture(scope="module")
def scans():
    return {name: one.expose("1e4") for name, one in simulated.simulate(64, 300, 200, seed=1, object_size=128).items()}


def trained(scan, folder, seed=1, loss="nll", nepochs=4):
    keras.utils.set_random_seed(seed)
    network = denoiser.build(loss, scan.probeGuess)
    made = splits.make_splits(scan, loss, seed)
    rows = denoising.train(network, made, nepochs=nepochs, learning_rate=3e-3, seed=seed, folder=folder)
    return network, rows


@pytest.fixture(scope="module")
def network(scans, tmp_path_factory):
    return trained(scans["train"], tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def fits(scans):
    """Of all photons of each scan: made once, for all tests."""
    return {name: splits.fit(scan, "nll", 7) for name, scan in scans.items()}


def test_untrained_it_is_the_smoothed_fit_and_a_little_of_the_fit(scans, fits):
    fit = fits["heldout"]
    found = denoising.denoise(denoiser.build("nll", scans["train"].probeGuess), fit)
    smooth = total_variation.smooth(fit, denoising.WEIGHT).numpy()
    lit = fit.found.coverage > 1e-6 * fit.found.coverage.max()
    np.testing.assert_allclose(found.object[lit], (0.1 * fit.found.object + 0.9 * smooth)[lit], atol=1e-4)
    assert np.all(found.object[~lit] == 1)


def test_trained_it_errs_less_than_the_fits_and_keeps_their_resolution(scans, fits, network):
    for name, scan in scans.items():
        fit = fits[name]
        plain, smooth = judge(fit.found, scan), judge(total_variation.smoothed(fit, denoising.WEIGHT), scan)
        found = judge(denoising.denoise(network[0], fit), scan)
        assert found.relative_mse < 0.25 * plain.relative_mse
        assert found.relative_mse < smooth.relative_mse
        # by all of 33 rings: the one where the correlation crosses a half is chance. A scan a seventh as long as the
        # study's teaches the mixture of the finest rings less
        assert found.amplitude_frc.correlation.mean() > plain.amplitude_frc.correlation.mean() - 0.03
        assert found.amplitude_pearson > plain.amplitude_pearson


def test_the_phase_of_the_whole_object_changes_nothing_else(scans, fits, network):
    fit = fits["heldout"]
    turned = replace(fit, found=replace(fit.found, object=fit.found.object * np.complex64(np.exp(2j))))
    one, other = (denoising.denoise(network[0], of).object for of in (fit, turned))
    lit = fit.found.coverage > 1e-2 * fit.found.coverage.max()
    np.testing.assert_allclose(other[lit], (one * np.exp(2j))[lit], atol=2e-4)


def test_its_history_counts_the_fits_and_its_loss_falls(network):
    rows = network[1]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["seconds"] > 2 * rows[1]["seconds"]
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.slow  # three trainings
def test_one_seed_makes_one_network(scans, tmp_path):
    few = scans["heldout"].subset(np.arange(40))
    (one, rows), (again, repeated) = (trained(few, tmp_path, nepochs=1) for _ in range(2))
    assert rows[0]["loss"] == pytest.approx(repeated[0]["loss"], rel=1e-6)
    for weight, other in zip(one.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-4)
    different = trained(few, tmp_path, seed=2, nepochs=1)[1]
    assert different[0]["loss"] != pytest.approx(rows[0]["loss"], rel=1e-6)


def test_saved_and_loaded_it_is_the_same_and_remembers(scans, fits, network, tmp_path):
    denoiser.remember(network[0], denoiser.Trained(1e4, 12.5, 1.25))
    model.save(network[0], tmp_path / "model.keras")
    loaded = model.load_any(tmp_path / "model.keras")
    assert denoiser.trained_on(loaded) == (1e4, 12.5, 1.25)
    assert denoiser.loss_of(loaded) == "nll" and model.size_of(loaded) == 64
    assert np.array_equal(denoiser.probe_of(loaded), scans["train"].probeGuess)
    fit = fits["heldout"]
    assert np.array_equal(denoising.denoise(loaded, fit).object, denoising.denoise(network[0], fit).object)


def test_its_gradient_reaches_every_weight(scans, fits):
    network = denoiser.build("nll", scans["train"].probeGuess)
    for weight in network.trainable_variables:
        weight.assign(weight + tf.random.normal(weight.shape, stddev=0.01, seed=1))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.abs(network(denoising.inputs(fits["heldout"]))) ** 2)
    for weight, slope in zip(
        network.trainable_variables, tape.gradient(loss, network.trainable_variables), strict=True
    ):
        assert slope is not None and np.any(slope.numpy() != 0), weight.path


@pytest.mark.parametrize("side", [(31, 40), (40, 31), (33, 33)])
def test_objects_of_any_size_keep_a_mixture_of_one_part(side):
    """With every frequency's mixture summing to one and nothing to add, equal inputs come out as they went in."""
    network = denoiser.build("nll", np.ones((64, 64), np.complex64))
    rng = np.random.default_rng(0)
    O = (1 + 0.1 * (rng.normal(size=(1, *side)) + 1j * rng.normal(size=(1, *side)))).astype(np.complex64)
    found = network([O, O, np.full((1, *side), 0.1, np.float32)]).numpy()
    np.testing.assert_allclose(found, O, atol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (3, 96, 96)])
def test_it_remembers_a_probe_of_any_number_of_modes(shape, tmp_path):
    rng = np.random.default_rng(0)
    P = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    model.save(denoiser.build("mae", P), tmp_path / "model.keras")
    loaded = model.load_any(tmp_path / "model.keras")
    assert np.array_equal(denoiser.probe_of(loaded), P)
    assert denoiser.loss_of(loaded) == "mae" and model.size_of(loaded) == shape[-1]
