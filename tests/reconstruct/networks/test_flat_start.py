"""The unrolled network leaves its flat start from every seed, on both losses."""

import keras
import pytest

from ptycho.config import ModelConfig, TrainingConfig
from ptycho.judge.parts import judge
from ptycho.reconstruct import groups, stitching, training
from ptycho.reconstruct.networks import model
from ptycho.scans import simulated


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["nll", "mae"])
@pytest.mark.parametrize("seed", range(1, 11))
def test_trap_seeds_that_never_leave_the_flat_start(seed, loss, tmp_path):
    """A harder case than the study: a seventh of its positions and two of its epochs, at 1e9 photons per pattern."""
    splits = simulated.simulate(64, 300, 100, seed)
    scans = {split: splits[split].expose("1e9") for split in splits}
    grouped = {split: groups.make_groups(scan, 2, seed=seed) for split, scan in scans.items()}
    reach = max(g.max_offset for g in grouped.values())
    config = TrainingConfig(ModelConfig(max_offset=reach), nphotons=1e9, loss=loss, nepochs=2, seed=seed)
    keras.utils.set_random_seed(seed)
    autoencoder, diffraction_to_obj = model.build(config.model, scans["train"].probeGuess)
    training.fit(autoencoder, grouped["train"], config, tmp_path)
    for split, reconstruction in stitching.reconstruct(diffraction_to_obj, grouped).items():
        judged = judge(reconstruction, scans[split])
        assert not judged.collapsed, split
        assert judged.amplitude_frc50 > 0.5, split
