"""The factories: names, shapes and types; nothing is built at import; a model is one file that runs no code."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from ptycho import model as doors
from ptycho import params
from ptycho.config import ModelConfig, TrainingConfig, update_legacy_dict
from ptycho.errors import ConfigError
from ptycho.physics import probes
from ptycho.physics.losses import DiffractionLoss
from ptycho.reconstruct.networks import model

SMALL = {"blocks": 1, "steps": 1, "filters": 4, "filters_scale": 0.1}
REPOSITORY = Path(doors.__file__).parents[1]


def inputs(N, gridsize, B=2, seed=0):
    rng = np.random.default_rng(seed)
    C = gridsize**2
    return [rng.random((B, N, N, C), np.float32), rng.uniform(-5, 5, (B, 1, 2, C)).astype(np.float32)]


def fresh(code, *arguments, options=("-W", "error")):
    """Run ``code`` in a process of its own; its standard output and standard error."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def cfg(monkeypatch):
    """An empty ``ptycho.params.cfg`` of this test's own, and no models built from another."""
    monkeypatch.setattr(params, "cfg", {})
    doors._default_models.cache_clear()
    yield params.cfg
    doors._default_models.cache_clear()


def test_sizes_and_gridsizes_follow_one_another_in_one_process():
    for N, gridsize in ((64, 1), (64, 2), (128, 2), (64, 3), (256, 1), (64, 2)):
        autoencoder, diffraction_to_obj = doors.create_model_with_gridsize(gridsize, N)
        assert isinstance(autoencoder, keras.Model) and isinstance(diffraction_to_obj, keras.Model)
        assert (autoencoder.name, diffraction_to_obj.name) == ("autoencoder", "diffraction_to_obj")
        C, B = gridsize**2, 1
        group = inputs(N, gridsize, B)
        obj, amplitude, intensity = autoencoder(group)
        assert obj.shape == (B, N, N, 1) and obj.dtype == "complex64"
        assert amplitude.shape == intensity.shape == (B, N, N, C)
        assert amplitude.dtype == intensity.dtype == "float32"
        np.testing.assert_allclose(amplitude**2, intensity, rtol=1e-4, atol=1e-6)
        alone = diffraction_to_obj(group)
        np.testing.assert_array_equal(alone, obj)
        for tensor, expected in zip(autoencoder.outputs, [(None, N, N, 1)] + [(None, N, N, C)] * 2, strict=True):
            assert tensor.shape == expected


@pytest.mark.parametrize("gridsize", [1, 2])
@pytest.mark.parametrize("N", [32, 48, 96, 104])
@pytest.mark.parametrize("architecture", ["unrolled", "cnn"])
def test_any_multiple_of_8_is_trained_saved_and_loaded(architecture, N, gridsize, tmp_path):
    config = ModelConfig(N=N, gridsize=gridsize, architecture=architecture, **SMALL)
    autoencoder, _ = model.build(config)
    autoencoder.compile(keras.optimizers.Adam(0.01), loss=[None, None, DiffractionLoss("nll", 10.0)], run_eagerly=True)
    group = inputs(N, gridsize)
    before = [weight.numpy() for weight in autoencoder.trainable_weights]
    assert np.isfinite(autoencoder.train_on_batch(group, [None, None, group[0]]))
    assert any((weight.numpy() != old).any() for weight, old in zip(autoencoder.trainable_weights, before, strict=True))
    model.save(autoencoder, tmp_path / "model.keras")
    loaded, _ = model.load(tmp_path / "model.keras")
    for found, expected in zip(loaded(group), autoencoder(group), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_model_saved_by_version_0_1_0_still_loads_and_finds_the_same_object():
    """Its classes were then in ``ptycho.networks``; they are found by the name that they are registered under."""
    _, diffraction_to_obj = model.load(REPOSITORY / "tests/data/unrolled-0.1.0.keras")
    rng = np.random.default_rng(0)
    obj = diffraction_to_obj([rng.random((1, 64, 64, 1), np.float32), np.zeros((1, 1, 2, 1), np.float32)])
    assert np.abs(obj).sum() == pytest.approx(3998.7056, rel=1e-5)


def test_trap_models_frozen_at_import_whatever_update_legacy_dict_writes(cfg):
    """What is configured after the import counts, arm by arm."""
    for N, gridsize, loss in ((64, 2, "nll"), (128, 1, "mae")):
        update_legacy_dict(cfg, TrainingConfig(model=ModelConfig(N=N, gridsize=gridsize, **SMALL), loss=loss))
        autoencoder, _ = doors.create_compiled_model()
        assert autoencoder.input_shape[0] == (None, N, N, gridsize**2)
        assert autoencoder.loss[2].loss == loss


def test_compiled_model_takes_loss_scale_and_rate_from_the_legacy_dict(cfg):
    config = TrainingConfig(model=ModelConfig(**SMALL), nphotons=1e6, loss="mse", learning_rate=0.0625)
    update_legacy_dict(cfg, config)
    autoencoder, diffraction_to_obj = doors.create_compiled_model()
    assert float(autoencoder.optimizer.learning_rate) == 0.0625
    objective = autoencoder.loss[2]
    assert objective.loss == "mse"
    light = np.sum(np.abs(probes.disk(64)) ** 2)
    assert objective.intensity_scale**2 * light == pytest.approx(1e6)  # photons of an object of modulus one
    assert objective.logarithm
    assert autoencoder.get_layer("probe") is diffraction_to_obj.get_layer("probe")
    update_legacy_dict(cfg, replace(config, model=ModelConfig(architecture="cnn", **SMALL)))
    assert not doors.create_compiled_model()[0].loss[2].logarithm


def test_an_unknown_loss_in_the_legacy_dict_is_refused_by_name(cfg):
    cfg["loss"] = "huber"
    with pytest.raises(ConfigError, match="loss='huber' is not accepted"):
        doors.create_compiled_model()


def test_arguments_go_before_the_legacy_dict_and_defaults_after_it(cfg):
    update_legacy_dict(cfg, ModelConfig(N=128, gridsize=3, **SMALL))
    assert doors.create_compiled_model()[0].input_shape[0] == (None, 128, 128, 9)
    assert doors.create_compiled_model(gridsize=1, N=64)[0].input_shape[0] == (None, 64, 64, 1)
    cfg.clear()
    assert doors.create_compiled_model()[0].input_shape[0] == (None, 64, 64, 4)
    cfg["N"] = 100
    with pytest.raises(ConfigError, match="N=100"):
        doors.create_compiled_model()


def test_module_attributes_are_deprecated_and_built_on_first_use(cfg):
    update_legacy_dict(cfg, ModelConfig(N=64, gridsize=1, **SMALL))
    assert doors._default_models.cache_info().currsize == 0
    with pytest.warns(DeprecationWarning, match=r"ptycho\.model\.autoencoder"):
        autoencoder = doors.autoencoder
    with pytest.warns(DeprecationWarning, match=r"ptycho\.model\.diffraction_to_obj"):
        diffraction_to_obj = doors.diffraction_to_obj
    assert autoencoder.input_shape[0] == (None, 64, 64, 1)
    group = inputs(64, 1)
    np.testing.assert_array_equal(diffraction_to_obj(group), autoencoder(group)[0])
    with pytest.warns(DeprecationWarning):
        assert doors.autoencoder is autoencoder
    with pytest.raises(AttributeError, match="no attribute 'discriminator'"):
        _ = doors.discriminator


@pytest.mark.parametrize("architecture", ["unrolled", "cnn"])
def test_trap_true_positions_silently_ignored(architecture):
    keras.utils.set_random_seed(1)
    autoencoder, _ = model.build(ModelConfig(architecture=architecture, **SMALL))
    if architecture == "cnn":
        # an untrained one draws next to nothing, and where there is nothing to see a move changes nothing
        kernel = autoencoder.get_layer("reconstruction").amplitude.fine.kernel
        kernel.assign(30 * kernel)
    amplitude, relative = inputs(64, 2, B=1)
    moved = relative + np.float32([[0, 1.5, 0, 1.5], [0, 0, 0, 0]])  # against one another
    one, other = autoencoder([amplitude, relative]), autoencoder([amplitude, moved])
    assert np.abs(one[2] - other[2]).max() > 1e-3 * np.abs(one[2]).max()
    assert np.abs(one[0] - other[0]).max() > 1e-2


def test_positions_are_x_and_y_with_relative_sign_minus_one():
    """A pattern to the right of the centre sees what is to the right of it."""
    autoencoder, _ = model.build(ModelConfig(gridsize=1, **SMALL))
    frame, measure = autoencoder.get_layer("object"), autoencoder.get_layer("intensity")
    P = autoencoder.get_layer("probe")(None)
    obj = np.ones((1, 40, 40), np.complex64)
    obj[0, 20 + 3, 20 + 7] = 3  # y 3, x 7 from the centre
    relative = np.array([-7, -3], np.float32).reshape(1, 1, 2, 1)
    seen = measure(obj, relative, P).numpy()
    centred = np.ones((1, 40, 40), np.complex64)
    centred[0, 20, 20] = 3
    np.testing.assert_allclose(seen, measure(centred, 0 * relative, P), rtol=1e-4, atol=1e-4)
    assert frame(obj)[0, 32 + 3, 32 + 7, 0] == 3


@pytest.mark.parametrize("shape", [(32, 32), (64,), (3, 64, 32)])
def test_a_probe_of_another_size_is_refused(shape):
    with pytest.raises(ValueError, match="N=64 asks for"):
        model.build(ModelConfig(N=64, **SMALL), np.ones(shape, np.complex64))


# -- one file, loaded anywhere, running nothing ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_probe():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(2, 64, 64)) + 1j * rng.normal(size=(2, 64, 64))).astype(np.complex64)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, random_probe):
    """A model of each architecture, as no initialiser made it, in a file."""
    folder, models = tmp_path_factory.mktemp("models"), {}
    for architecture in ("unrolled", "cnn"):
        autoencoder, _ = model.build(ModelConfig(architecture=architecture, **SMALL), random_probe)
        rng = np.random.default_rng(1)
        for w in autoencoder.trainable_weights:
            w.assign(w + 0.05 * rng.normal(size=w.shape).astype(np.float32))
        model.save(autoencoder, folder / f"{architecture}.keras")
        models[architecture] = autoencoder
    return folder, models


def test_a_saved_model_gives_bit_identical_output_in_a_fresh_process(saved, random_probe, tmp_path):
    folder, models = saved
    amplitude, relative = inputs(64, 2)
    np.savez(tmp_path / "in.npz", amplitude=amplitude, relative=relative)
    code = """
import sys, numpy as np
from ptycho.reconstruct.networks import model
folder, work = sys.argv[1:]
given = np.load(work + "/in.npz")
for name in ("unrolled", "cnn"):
    autoencoder, diffraction_to_obj = model.load(f"{folder}/{name}.keras")
    group = [given["amplitude"], given["relative"]]
    obj, amplitude, intensity = autoencoder(group)
    modes = autoencoder.get_layer("probe")(None)
    np.savez(f"{work}/{name}.npz", obj=obj, amplitude=amplitude, intensity=intensity, modes=modes,
             alone=diffraction_to_obj(group))
"""
    fresh(code, folder, tmp_path, options=())
    for name, autoencoder in models.items():
        there = np.load(tmp_path / f"{name}.npz")
        here = autoencoder([amplitude, relative])
        for key, expected in zip(("obj", "amplitude", "intensity"), here, strict=True):
            assert there[key].tobytes() == expected.numpy().tobytes(), (name, key)
        assert there["alone"].tobytes() == here[0].numpy().tobytes()
        assert there["modes"].tobytes() == probes.cropped_modes(random_probe).tobytes()  # the probe is in the file


def test_a_loaded_model_is_the_one_saved_and_can_be_trained(saved):
    folder, models = saved
    loaded, _ = model.load(folder / "unrolled.keras")
    one, other = models["unrolled"], loaded
    assert [w.path for w in other.weights] == [w.path for w in one.weights]
    assert [w.path for w in other.trainable_weights] == [w.path for w in one.trainable_weights]
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def edited(source, target, change=lambda config: None, drop=()):
    """A copy of a model's file with its configuration changed or members left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            if name not in drop:
                new.writestr(name, content)
    return target


def refused(path):
    with pytest.raises(ValueError, match=r"^.*: .*expected") as caught:
        model.load(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 300 + len(str(path))
    return message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.keras")
    assert "no such file" in refused(tmp_path)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(kept, saved, tmp_path):
    whole = (saved[0] / "unrolled.keras").read_bytes()
    path = tmp_path / "model.keras"
    path.write_bytes(whole[: int(kept * len(whole))])
    assert "truncated" in refused(path)


def test_damage_within_a_file_is_refused(saved, tmp_path):
    content = bytearray((saved[0] / "unrolled.keras").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "model.keras").write_bytes(content)
    assert "damaged" in refused(tmp_path / "model.keras")
    for member in ("config.json", "model.weights.h5"):
        refused(edited(saved[0] / "unrolled.keras", tmp_path / "model.keras", drop=(member,)))
    refused(
        edited(saved[0] / "unrolled.keras", tmp_path / "model.keras", lambda c: c["config"].update(layers=[])),
    )


def test_nothing_in_a_file_is_run(saved, tmp_path):
    ran = tmp_path / "ran"

    def call(config):
        config.update(module="os", class_name="system", registered_name=None, config={"command": f"touch {ran}"})

    def call_within(config):
        layer = next(c for c in config["config"]["layers"] if c["name"] == "reconstruction")
        layer.update(
            module="subprocess", class_name="Popen", registered_name=None, config={"args": ["touch", str(ran)]}
        )

    for change in (call, call_within):
        refused(edited(saved[0] / "unrolled.keras", tmp_path / "model.keras", change))
    lambda_model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    lambda_model.save(tmp_path / "model.keras")
    assert "Lambda" in refused(tmp_path / "model.keras")  # its Python code is not even read
    assert not ran.exists()


def test_a_model_of_another_kind_is_refused(tmp_path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    refused(tmp_path / "model.keras")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")

    def full(self, partial):
        Path(partial).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(ValueError, match=r"model\.keras: cannot be written \(No space left on device\)"):
        model.save(saved[1]["unrolled"], path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.keras"] and path.read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_named(saved, tmp_path):
    with pytest.raises(ValueError, match=r"none/model\.keras: cannot be written"):
        model.save(saved[1]["unrolled"], tmp_path / "none" / "model.keras")


# -- imports -----------------------------------------------------------------------------------------------------------


def test_importing_the_package_is_quick_and_loads_neither_numpy_nor_tensorflow():
    code = "import sys, ptycho; print([m for m in ('numpy', 'scipy', 'keras', 'tensorflow') if m in sys.modules])"
    stdout, stderr = fresh(code, options=("-X", "importtime"))
    assert stdout.strip() == "[]"
    (line,) = [line for line in stderr.splitlines() if line.endswith("| ptycho")]
    assert int(line.split("|")[1]) < 200_000  # microseconds; it takes about one thousand


def test_configuration_and_data_modules_load_no_tensorflow():
    names = "config params seeds physics.samples physics.probes physics.photons"
    names += " scans.rawdata scans.dose reconstruct.groups judge.metrics"
    code = f"""
import importlib, sys
for name in {names.split()!r}:
    importlib.import_module("ptycho." + name)
assert not {{"tensorflow", "keras"}} & set(sys.modules)
"""
    fresh(code)


def test_tensorflow_starts_without_a_line():
    """What is imported first, the package's own module or Keras, makes no difference."""
    done = subprocess.run(
        [sys.executable, "-c", "import ptycho.reconstruct.direct, keras, tensorflow; print(tensorflow.__version__)"],
        cwd=REPOSITORY,
        env={name: word for name, word in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout and not done.stderr


def test_importing_in_any_order_builds_nothing():
    """No model, layer or variable comes to be, whatever is imported first."""
    code = """
import importlib, random, sys
from unittest import mock
import keras, tensorflow as tf

names = "config params model physics.optics physics.losses"
of_fits = "training groups stitching direct networks.layers networks.unrolled networks.cnn networks.model"
names = ["ptycho." + name for name in [*names.split(), *("reconstruct." + one for one in of_fits.split())]]
forbidden = [mock.patch.object(kind, "__init__", side_effect=AssertionError(f"{kind} was built"))
             for kind in (keras.Model, keras.layers.Layer, keras.Variable, tf.Variable)]
for patch in forbidden:
    patch.start()
orders = [[first] + [n for n in names if n != first] for first in names]
for seed in range(2):
    orders.append(random.Random(seed).sample(names, len(names)))
for order in orders:
    for loaded in [m for m in sys.modules if m == "ptycho" or m.startswith("ptycho.")]:
        del sys.modules[loaded]
    for name in order:
        importlib.import_module(name)
    assert "autoencoder" not in vars(sys.modules["ptycho.model"])
    assert sys.modules["ptycho.params"].cfg == {}
try:
    keras.layers.Dense(1)
except AssertionError:
    print("the patches bite")
"""
    assert fresh(code)[0].strip() == "the patches bite"


def test_the_probe_of_a_network_is_told_in_its_frame_trained_or_not():
    modes = np.stack([probes.gaussian(64), 0.3j * probes.gaussian(64) * (np.arange(64) - 32) / 9]).astype(np.complex64)
    autoencoder, _ = model.build(ModelConfig(probe_trainable=True, blocks=1, steps=1, filters=4), modes)
    found, n = model.probe_of(autoencoder, 64), probes.support_size(modes)
    held = slice(32 - n // 2, 32 + n // 2)
    assert found.shape == (2, 64, 64) and np.array_equal(found[:, held, held], modes[:, held, held])
    assert n < 64 and not found[:, 0].any()
    layer = autoencoder.get_layer("probe")
    layer.pair.assign(2 * layer.pair)
    assert np.array_equal(model.probe_of(autoencoder, 64), 2 * found)
    single, _ = model.build(ModelConfig(blocks=1, steps=1, filters=4), modes[0])
    assert model.probe_of(single, 64).shape == (64, 64)
