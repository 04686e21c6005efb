"""Training: it learns, it repeats, it goes on where it stopped, and it says so when it fails.

Every training here compiles its step anew, which takes most of the time, so the network is as small as they come.
"""

import dataclasses
import io
import json
import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf

from ptycho.config import LOSSES, ModelConfig, TrainingConfig
from ptycho.cores import THREADS, gpus, parts_of, usable_cores
from ptycho.errors import TrainingError
from ptycho.physics import losses, probes
from ptycho.physics.photons import expose, ideal_amplitude
from ptycho.physics.samples import make_object, random_positions
from ptycho.reconstruct import callbacks, training
from ptycho.reconstruct.groups import make_groups
from ptycho.reconstruct.networks import model
from ptycho.scans.rawdata import RawData

NETWORK = ModelConfig(N=64, gridsize=2, max_offset=10.0, blocks=1, steps=1, filters=4)
CONFIG = TrainingConfig(model=NETWORK, nphotons=1e6, nepochs=4, batch_size=4, seed=3)


class Interrupted(Exception):
    pass


class InterruptAfter(keras.callbacks.Callback):
    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epochs:
            raise Interrupted


@pytest.fixture(scope="module")
def groups():
    rng, probe = np.random.default_rng(0), probes.disk(64)
    x, y = random_positions(64, 100, 64, rng)
    diff3d, s = expose(ideal_amplitude(make_object("lines", 100, 1), probe, x, y), 1e6, rng)
    return make_groups(RawData(diff3d, x, y, probe, nphotons=1e6, intensity_scale=s), gridsize=2)


def network(seed=5):
    keras.utils.set_random_seed(seed)
    return model.build(NETWORK)[0]


def weights(autoencoder):
    return [np.array(w) for w in autoencoder.get_weights()]


def losses_of(history):
    return [(row["epoch"], row["loss"]) for row in history]


@pytest.fixture(scope="module")
def whole(groups, tmp_path_factory):
    """A training from beginning to end: its folder, network, history and reports."""
    folder, autoencoder, reports = tmp_path_factory.mktemp("whole"), network(), []
    history = training.fit(autoencoder, groups, CONFIG, folder, report=reports.append)
    return folder, autoencoder, history, reports


def test_the_last_loss_is_the_least_and_the_history_is_on_disk(whole):
    folder, _, history, _ = whole
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    values = [row["loss"] for row in history]
    # at its highest rate, in the second epoch, a loss may rise: on some processors by 2 %
    assert np.isfinite(values).all() and min(values) == values[-1] < values[0]
    assert callbacks.read_history(folder / "history.csv") == history
    assert (folder / "history.csv").read_text().splitlines()[0] == "epoch,loss,seconds"


def test_progress_is_reported_after_each_epoch(whole, groups):
    _, _, history, (compiling, compiled, *reports) = whole
    assert compiling == {"stage": "compiling", "epoch": 0, "nepochs": 4}
    assert compiled == {"stage": "training", "epoch": 0, "nepochs": 4}
    assert [r["epoch"] for r in reports] == [1, 2, 3, 4] and {r["nepochs"] for r in reports} == {4}
    seconds = [row["seconds"] for row in history]
    assert [r["seconds_per_epoch"] for r in reports[1:]] == seconds[1:]
    # the first epoch took the time of compilation, too, which tells nothing of the next
    assert 0 < reports[0]["seconds_per_epoch"] < seconds[0]
    for report, row in zip(reports, history, strict=True):
        assert report["loss"] == row["loss"]
        assert report["patterns_per_second"] == pytest.approx(60 * CONFIG.batch_size * 4 / row["seconds"])  # 60 steps


def test_trap_weights_saved_untrained_or_copied_by_list_slice(whole, tmp_path):
    """What is saved is what was trained, and the object comes from those very weights."""
    _, autoencoder, _, _ = whole
    assert any((a != b).any() for a, b in zip(weights(autoencoder), weights(network()), strict=True))
    model.save(autoencoder, tmp_path / "model.keras")
    loaded, diffraction_to_obj = model.load(tmp_path / "model.keras")
    for trained, saved in zip(weights(autoencoder), weights(loaded), strict=True):
        np.testing.assert_array_equal(saved, trained)
    rng = np.random.default_rng(1)
    inputs = [rng.random((1, 64, 64, 4), np.float32), np.zeros((1, 1, 2, 4), np.float32)]
    np.testing.assert_array_equal(diffraction_to_obj(inputs), autoencoder(inputs)[0])


def test_interrupted_and_resumed_is_bit_for_bit_the_uninterrupted_training(whole, groups, tmp_path):
    """Hence the same seed twice gives the same weights and history, too: the first two epochs ran twice."""
    _, expected, history, _ = whole
    with pytest.raises(Interrupted):
        training.fit(network(), groups, CONFIG, tmp_path, callbacks=[InterruptAfter(2)])
    assert losses_of(callbacks.read_history(tmp_path / "history.csv")) == losses_of(history[:2])
    resumed = network(seed=99)  # a fresh process: what it starts from does not matter
    reports = []
    rows = training.fit(resumed, groups, CONFIG, tmp_path, report=reports.append)
    assert [r["epoch"] for r in reports] == [2, 2, 3, 4]  # compiling, compiled; no epoch ran again
    assert (
        all(reports[k]["seconds_per_epoch"] > 0 for k in (2, 3))
        and reports[2]["seconds_per_epoch"] < rows[2]["seconds"]
    )
    assert losses_of(rows) == losses_of(history)
    for a, b in zip(weights(resumed), weights(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_training_comes_back_without_training(whole, groups, monkeypatch):
    folder, expected, history, _ = whole
    monkeypatch.setattr(keras.Model, "fit", lambda *a, **k: pytest.fail("it trained again"))
    again = network(seed=99)
    assert training.fit(again, groups, CONFIG, folder) == history
    for a, b in zip(weights(again), weights(expected), strict=True):
        np.testing.assert_array_equal(a, b)


class Started(Exception):
    pass


@pytest.fixture
def start(monkeypatch):
    """Runs ``fit`` up to its training: the epoch it would begin with, and the state it would begin from."""

    def stop(self, data, **settings):
        raise Started(settings["initial_epoch"], int(self.optimizer.iterations.numpy()))

    monkeypatch.setattr(keras.Model, "fit", stop)

    def run(groups, config, folder):
        with pytest.raises(Started) as caught:
            training.fit(network(), groups, config, folder)
        return caught.value.args

    return run


@pytest.fixture
def kept(whole, tmp_path):
    """A copy of the folder of the finished training."""
    for path in [*(whole[0] / "backup").iterdir(), whole[0] / "history.csv"]:
        target = tmp_path / path.relative_to(whole[0])
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    "change", [{"learning_rate": 1e-3}, {"loss": "mae"}, {"nepochs": 5}, {"seed": 4}, {"batch_size": 8}]
)
def test_another_configuration_starts_anew(change, groups, kept, start):
    assert start(groups, dataclasses.replace(CONFIG, **change), kept) == (0, 0)


@pytest.mark.parametrize("field", ["diff3d", "intensity_scale", "probeGuess"])
def test_another_scan_starts_anew(field, groups, kept, start):
    data = dataclasses.replace(groups.data, **{field: getattr(groups.data, field) * 2})
    assert start(dataclasses.replace(groups, data=data), CONFIG, kept) == (0, 0)


def test_known_background_is_part_of_what_is_trained(groups, kept, start):
    data = dataclasses.replace(groups.data, background=0.5)
    assert start(dataclasses.replace(groups, data=data), CONFIG, kept) == (0, 0)


def test_trap_a_scan_is_copied_into_memory_to_name_its_backup(tmp_path):
    """The scan of 100 000 patterns, mapped from its file, was: 1.6 GB at once."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "patterns.npy", rng.random((500, 64, 64), np.float32))
    patterns = np.load(tmp_path / "patterns.npy", mmap_mode="r")
    mapped = make_groups(RawData(patterns, *rng.uniform(0, 60, (2, 500)), probes.disk(64), intensity_scale=1.0), 2)
    config = TrainingConfig(nphotons=1e6)
    tracemalloc.start()
    named = training._fingerprint(mapped, config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.1 * patterns.nbytes
    held = dataclasses.replace(mapped, data=dataclasses.replace(mapped.data, diff3d=np.array(patterns)))
    assert training._fingerprint(held, config) == named


def test_a_removed_history_starts_anew(groups, kept, start):
    (kept / "history.csv").unlink()
    assert start(groups, CONFIG, kept) == (0, 0)


def test_a_backup_half_written_when_the_process_was_killed_is_not_used(whole, kept, groups, monkeypatch):
    (name,) = (path.name for path in (kept / "backup").iterdir())
    (kept / "backup" / f".partial.0123.{name.replace('-4.', '-5.')}").write_bytes(b"half")
    monkeypatch.setattr(keras.Model, "fit", lambda *a, **k: pytest.fail("it trained again"))
    assert training.fit(network(), groups, CONFIG, kept) == whole[2]


def test_a_full_disk_keeps_the_last_backup(whole, kept, monkeypatch):
    (name,) = (path.name for path in (kept / "backup").iterdir())
    backup = callbacks.Backup(kept / "backup", name.split("-")[0])

    def full(self, path, *args):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    backup.set_model(whole[1])
    with pytest.raises(OSError, match="No space"):
        backup.on_epoch_end(4)
    assert [path.name for path in (kept / "backup").iterdir()] == [name] and backup.epochs == 4


def test_an_interrupt_is_told_in_one_line_with_the_epochs_that_are_kept(groups, tmp_path, monkeypatch):
    def stop(self, data, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        training.fit(network(), groups, CONFIG, tmp_path)
    told = "Interrupted: The training was stopped after 0 of 4 epochs. Run it again to go on."
    assert caught.value._render_traceback_() == [told]


def test_a_training_that_goes_on_says_so(groups, kept, capsys):
    training.fit(network(), groups, CONFIG, kept)
    told = "4 of 4 epochs were trained before: nothing is left to train\n"
    assert capsys.readouterr().out == told


def test_another_training_in_the_folder_ends_the_backup_of_the_first(kept):
    """Its history is written over: going back to it must not take the other's rows for its own."""
    backup = callbacks.Backup(kept / "backup", "another")
    backup.on_train_begin()
    assert not list((kept / "backup").iterdir())


def test_trap_nan_loss_reported_as_success(groups, tmp_path):
    autoencoder = network()
    alpha = next(w for w in autoencoder.trainable_weights if w.path.endswith("alpha"))
    alpha.assign(np.full(alpha.shape, np.nan))
    with pytest.raises(TrainingError, match="the loss of epoch 1 is nan; expected a finite number"):
        training.fit(autoencoder, groups, CONFIG, tmp_path)
    (row,) = callbacks.read_history(tmp_path / "history.csv")  # what happened is on record
    assert np.isnan(row["loss"])
    assert not list((tmp_path / "backup").iterdir())  # and nothing would go on from it


def test_trap_an_epoch_missing_from_the_history_unnoticed():
    rows = [{"epoch": 1, "loss": 0.5, "seconds": 1.0}]
    callbacks.require_finished(rows, 1)
    with pytest.raises(TrainingError, match="1 epochs of 2"):
        callbacks.require_finished(rows, 2)
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(TrainingError, match="epoch 1 is"):
            callbacks.require_finished([{**rows[0], "loss": value}], 1)


def test_a_scan_of_unknown_scale_is_refused(groups, tmp_path):
    data = dataclasses.replace(groups.data, intensity_scale=None)
    with pytest.raises(ValueError, match="intensity_scale"):
        training.fit(network(), dataclasses.replace(groups, data=data), CONFIG, tmp_path)


def test_a_canvas_too_small_for_the_groups_is_refused(groups, tmp_path):
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(NETWORK, max_offset=5.0))
    with pytest.raises(ValueError, match=r"^max_offset=5\.0 is not accepted: patterns lie up to 8\.74 pixels"):
        training.fit(network(), groups, config, tmp_path)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_objective_is_the_mean_log_of_each_groups_mean_loss_of_photons(loss):
    rng, s = np.random.default_rng(0), 30.0
    a, intensity = (rng.random((2, 8, 8, 4)).astype(np.float32) for _ in range(2))
    value = losses.DiffractionLoss(loss, s)(tf.constant(a), tf.constant(intensity))
    a, intensity = a.astype(float), intensity.astype(float)
    n, rate = (s * a) ** 2, s**2 * intensity + losses.RATE_FLOOR
    elementwise = {
        "nll": 2 * (n * np.log(n / rate) - (n - rate)),
        "mae": np.abs(s * a - s * np.sqrt(intensity)),
        "mse": (s * a - s * np.sqrt(intensity)) ** 2,
        "anscombe": (np.sqrt(n + 3 / 8) - losses.mean_root(tf.constant(rate)).numpy()) ** 2,
    }[loss]
    assert value.shape == () and float(value) == pytest.approx(
        np.log(elementwise.mean(axis=(1, 2, 3))).mean(), rel=1e-5
    )


def test_what_is_compiled_for_one_dose_serves_another():
    inputs = tf.TensorSpec((2, 8, 8, 4)), tf.TensorSpec((2, 8, 8, 4))

    def graph(s):
        loss = losses.DiffractionLoss("nll", s)
        traced = tf.function(loss.call, autograph=False).get_concrete_function(*inputs).graph
        return [(op.type, str(op.node_def.attr.get("value"))) for op in traced.get_operations()]

    assert graph(12.5) == graph(7.25)


def test_the_objective_comes_back_from_its_configuration():
    one = losses.DiffractionLoss("mae", 12.5)
    other = losses.DiffractionLoss.from_config(json.loads(json.dumps(one.get_config())))
    assert (other.loss, other.intensity_scale, other.name, other.logarithm) == ("mae", 12.5, "mae", True)
    raw = losses.DiffractionLoss("mae", 12.5, logarithm=False)
    assert not losses.DiffractionLoss.from_config(raw.get_config()).logarithm


def test_earlier_blocks_weigh_lightly_and_the_last_one_fully(groups):
    keras.utils.set_random_seed(5)
    autoencoder = model.build(dataclasses.replace(NETWORK, blocks=2))[0]
    trainer = training.trainer(autoencoder, CONFIG, 1.0, steps=10)
    assert len(trainer.outputs) == 2
    assert trainer.trainable_weights == autoencoder.trainable_weights  # the same variables, not copies
    amplitude, positions = (tf.constant(array) for array in groups.batch(np.arange(2)))
    per_block = trainer([amplitude, positions])
    np.testing.assert_allclose(per_block[-1], autoencoder([amplitude, positions])[2], rtol=1e-5, atol=1e-6)
    loss = losses.DiffractionLoss(CONFIG.loss, 1.0)
    expected = training.EARLIER_BLOCKS * loss(amplitude, per_block[0]) + loss(amplitude, per_block[1])
    value = np.mean([part for part, _ in trainer.gradients(amplitude, positions, amplitude)])
    assert value == pytest.approx(float(expected), rel=1e-5)


def test_a_training_is_configured_by_its_scan_and_its_canvas_holds_every_scan(groups):
    far = dataclasses.replace(groups, coords_relative=groups.coords_relative * 3)
    config = training.configure(
        {"train": groups, "heldout": far}, "cnn", "mae", nepochs=7, learning_rate=0.5, seed=9, probe_trainable=True
    )
    network = ModelConfig(N=64, gridsize=2, architecture="cnn", max_offset=far.max_offset, probe_trainable=True)
    assert config == TrainingConfig(network, 1e6, "mae", 7, 16, 0.5, 9)  # in batches of 16, as PtychoPINN
    ours = training.configure({"train": groups}, "unrolled", "mae", nepochs=7, learning_rate=0.5, seed=9)
    assert ours.batch_size == training.batch_size(groups)
    unknown = dataclasses.replace(groups, data=dataclasses.replace(groups.data, nphotons=None))
    with pytest.raises(ValueError, match="nphotons of the scan is None"):
        training.configure({"train": unknown}, "cnn", "mae", nepochs=7, learning_rate=0.5, seed=9)


def test_the_learning_rate_rises_in_a_fifth_of_the_training_and_falls_to_zero():
    optimizer, step = training.trainer(network(), CONFIG, 1.0, steps=50).optimizer, np.arange(51)

    def rate(k):
        optimizer.iterations.assign(k)
        return float(optimizer.learning_rate)

    falling = 0.5 * (1 + np.cos(np.pi * (step - 10) / 40))
    expected = CONFIG.learning_rate * np.where(step < 10, step / 10, falling)
    np.testing.assert_allclose([rate(k) for k in step], expected, rtol=1e-5, atol=1e-7)


def test_the_reference_network_is_trained_on_the_loss_itself_at_a_constant_rate(groups):
    """Its gradient is that of the Poisson likelihood of the counts; what is reported is a logarithm all the same."""
    keras.utils.set_random_seed(5)
    autoencoder = model.build(ModelConfig(architecture="cnn", max_offset=10.0, filters_scale=0.05))[0]
    config = dataclasses.replace(CONFIG, learning_rate=1e-3)
    s = groups.data.intensity_scale
    trainer = training.trainer(autoencoder, config, s, steps=50)
    amplitude, positions = (tf.constant(array) for array in groups.batch(np.arange(2)))
    with tf.GradientTape() as tape:
        rate = s**2 * autoencoder([amplitude, positions])[2] + losses.RATE_FLOOR
        likelihood = tf.reduce_mean(tf.nn.log_poisson_loss((s * amplitude) ** 2, tf.math.log(rate)))
    expected = tape.gradient(likelihood, [w.value for w in autoencoder.trainable_weights])
    ((loss, found),) = trainer.gradients(amplitude, positions, amplitude)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, 2 * other, rtol=1e-2, atol=1e-3 * np.abs(one).max())
    reported = trainer.train_step((amplitude, positions, amplitude))["loss"]
    assert float(reported) == pytest.approx(np.log(loss), rel=1e-4)
    assert float(trainer.optimizer.learning_rate) == pytest.approx(1e-3)


@pytest.mark.slow
def test_a_step_in_parts_is_the_step_as_a_whole(groups, monkeypatch):
    amplitude, positions = (tf.constant(array) for array in groups.batch(np.arange(8)))
    batch = [amplitude, positions, amplitude]
    keras.utils.set_random_seed(5)
    trainer = training.trainer(network(), CONFIG, 1.0, steps=10)
    monkeypatch.setenv(THREADS[0], "1")
    ((loss, whole),) = trainer.gradients(*batch)
    for parts in (2, 4):
        monkeypatch.setenv(THREADS[0], str(parts))
        losses, cut = zip(*trainer.gradients(*batch), strict=True)
        assert len(losses) == parts and float(tf.reduce_mean(losses)) == pytest.approx(float(loss), rel=1e-5)
        for gradient, pieces in zip(whole, zip(*cut, strict=True), strict=True):
            np.testing.assert_allclose(np.mean(pieces, axis=0), gradient, rtol=1e-3, atol=1e-5 * np.abs(gradient).max())


def test_a_batch_is_cut_into_a_part_for_each_thread(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert [parts_of(size) for size in (1, 2, 4, 6, 9)] == [1, 2, 2, 3, 3]
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "0")  # TensorFlow's word for all
    assert parts_of(usable_cores()) == usable_cores()


def test_a_batch_stays_whole_on_a_gpu(monkeypatch):
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    details = {"device_name": "NVIDIA H200", "compute_capability": (9, 0)}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [gpu] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert gpus() == ["NVIDIA H200"] and [parts_of(size) for size in (1, 2, 9)] == [1, 1, 1]


def test_an_epoch_shows_every_pattern_once_and_is_never_shorter_than_sixty_steps(groups):
    def sizes(M):
        many = dataclasses.replace(groups, indices=np.zeros((M, 4), np.int64))
        batch_size = training.batch_size(many)
        return batch_size, training.steps_per_epoch(many, batch_size), training.patterns_per_epoch(many, batch_size)

    assert sizes(2000) == (8, 63, 63 * 8 * 4)
    assert sizes(100) == (2, 60, 60 * 2 * 4)
    assert sizes(100_000) == (32, 782, 782 * 32 * 4)


def test_progress_is_printed_for_the_log(tmp_path):
    history = callbacks.History(tmp_path / "history.csv", [], 3, 100, lambda progress: None)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", printed)
        history.on_epoch_begin(0)
        history.on_epoch_end(0, {"loss": 1.25})
    words = printed.getvalue()
    assert words.startswith("epoch 1/3  log loss 1.2500") and "patterns/s" in words and "ETA" in words
