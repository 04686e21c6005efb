"""Trains the same network on one device and on two, for ``tests/test_replicas.py``: devices are set at the start."""

import json
import sys
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from ptycho.config import ModelConfig, TrainingConfig
from ptycho.reconstruct import groups, training
from ptycho.reconstruct.networks import model
from ptycho.scans import simulated


def losses(grouped: groups.Groups, devices: list[str]) -> list[float]:
    """The loss of each epoch of a training on these devices."""
    network = ModelConfig(max_offset=grouped.max_offset, blocks=1, steps=1, filters=4)
    config = TrainingConfig(network, nphotons=1e6, nepochs=2, batch_size=8, seed=3)
    keras.utils.set_random_seed(5)
    strategy = tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else tf.distribute.get_strategy()
    with strategy.scope():
        autoencoder, _ = model.build(network)
    with tempfile.TemporaryDirectory() as folder:
        rows = training.fit(autoencoder, grouped, config, Path(folder))
    return [row["loss"] for row in rows]


if __name__ == "__main__":
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    scan = simulated.simulate(64, 64, 4, seed=1)["train"].expose("1e6")
    grouped = groups.make_groups(scan, 2)
    found = {number: losses(grouped, [f"CPU:{k}" for k in range(number)]) for number in (1, 2)}
    Path(sys.argv[1]).write_text(json.dumps(found))
