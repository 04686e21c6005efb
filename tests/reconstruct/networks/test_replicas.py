"""Several devices train one network through ``tf.distribute``: the loss curve is that of one device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from ptycho.config import ModelConfig, TrainingConfig
from ptycho.reconstruct import groups, training
from ptycho.reconstruct.networks import model
from ptycho.scans.simulated import simulate


@pytest.mark.slow  # 50 s: it compiles everything twice, for devices of its own
def test_two_devices_train_like_one(tmp_path):
    """Sums in another order round otherwise, and Adam's first steps make more of it: 1e-4 in the logarithm here."""
    here = Path(__file__).resolve()
    environment = {**os.environ, "PYTHONPATH": str(here.parents[3]), "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, str(here.parents[2] / "replicas.py"), str(tmp_path / "found.json")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    one, two = json.loads((tmp_path / "found.json").read_text()).values()
    assert len(one) == len(two) == 2
    assert two == pytest.approx(one, abs=1e-3)
    assert one[1] < one[0] - 0.02  # it learned: the curves agree on more than a start


def test_a_batch_that_replicas_cannot_share_is_refused(tmp_path, monkeypatch):
    grouped = groups.make_groups(simulate(64, 16, 4, seed=1)["train"].expose("1e6"), 2)
    network = ModelConfig(max_offset=grouped.max_offset, blocks=1, steps=1, filters=4)
    autoencoder, _ = model.build(network)
    monkeypatch.setattr(tf.distribute.Strategy, "num_replicas_in_sync", property(lambda strategy: 3))
    with pytest.raises(ValueError, match="batch_size=8 is not accepted: a multiple of the 3 replicas"):
        training.fit(autoencoder, grouped, TrainingConfig(network, nphotons=1e6, batch_size=8), tmp_path)
