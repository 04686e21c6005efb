"""The network of an arm: every architecture behind one door, and photons that judge apart from those that are seen."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ptycho import params
from ptycho.errors import DataError
from ptycho.judge.parts import judge_parts
from ptycho.reconstruct import groups, training
from ptycho.reconstruct.arm import apply, of_arm
from ptycho.reconstruct.whole import denoising, splits
from ptycho.scans import simulated

SETTINGS = {"nepochs": 1, "learning_rate": 3e-3, "gridsize": 2, "probe_trainable": False, "target": "same"}


@pytest.fixture(scope="module")
def scans():
    return {name: one.expose("1e4") for name, one in simulated.simulate(64, 120, 80, seed=1, object_size=128).items()}


@pytest.fixture
def cfg(monkeypatch):
    monkeypatch.setattr(params, "cfg", {})


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["unrolled", "denoiser"])
def test_it_trains_by_other_photons_and_reconstructs_every_scan(architecture, scans, tmp_path, cfg):
    network = of_arm(architecture, scans, "nll", 1, **SETTINGS | {"target": "split"})
    assert architecture in str(network) and "weights" in str(network)
    rows = network.train(tmp_path, lambda progress: None)
    assert len(rows) == 1 and network.patterns > 0 and network.trained_probe is None
    found = network.reconstruct()
    assert set(found) == {"train", "heldout"}
    sigma = network.uncertainty()
    if architecture == "denoiser":
        assert sigma.shape == found["train"].object.shape and 0 < np.nanmedian(sigma) < 1
    else:
        assert sigma is None
    assert all(np.isfinite(one.relative_mse) for one in judge_parts(found, scans).values())
    again = apply(network.autoencoder, scans["heldout"], 1)
    assert again.object.shape == found["heldout"].object.shape


def test_a_scan_that_does_not_fit_on_the_networks_canvas_is_refused(scans, cfg):
    network = of_arm("unrolled", scans, "nll", 1, **SETTINGS)
    sparse = scans["heldout"].subset(np.arange(0, 80, 10))
    with pytest.raises(DataError, match="groups of 4 patterns take"):
        apply(network.autoencoder, sparse, 1)


@pytest.mark.parametrize(("architecture", "trains"), [("unrolled", training), ("denoiser", denoising)])
def test_trap_a_training_that_is_run_twice_goes_on_over_the_finished_network(
    architecture, trains, scans, cfg, tmp_path, monkeypatch
):
    network, begun = of_arm(architecture, scans, "nll", 1, **SETTINGS), []

    def train(autoencoder, *given, **settings):
        begun.append(autoencoder.get_weights())
        autoencoder.set_weights([weight + 1 for weight in begun[-1]])
        return []

    monkeypatch.setattr(trains, "fit" if trains is training else "train", train)
    monkeypatch.setattr(splits, "make_splits", lambda *given: SimpleNamespace(fits=[]))
    network.train(tmp_path, print)
    network.train(tmp_path, print)
    for first, second in zip(*begun, strict=True):
        np.testing.assert_array_equal(first, second)


def test_an_interrupted_denoiser_is_told_in_one_line(scans, cfg, tmp_path, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(splits, "make_splits", stop)
    network = of_arm("denoiser", scans, "nll", 1, **SETTINGS)
    with pytest.raises(KeyboardInterrupt) as caught:
        network.train(tmp_path, print)
    told = "Interrupted: The training was stopped. Run it again: it begins anew."
    assert caught.value._render_traceback_() == [told]


def test_split_photons_are_independent_and_the_same_from_one_seed(scans):
    grouped = groups.make_groups(scans["train"], 2)
    chosen = grouped.indices[:6]
    seen, rest = grouped.split(chosen, (1, 3))
    s = scans["train"].intensity_scale
    counts = [np.square(s * np.sqrt(p) * a) for a, p in ((seen, groups.SHARE), (rest, 1 - groups.SHARE))]
    np.testing.assert_allclose(counts[0] + counts[1], scans["train"].counts()[chosen], atol=1e-2)
    assert counts[1].sum() / counts[0].sum() == pytest.approx(1 / 9, rel=0.05)
    again, other = grouped.split(chosen, (1, 3)), grouped.split(chosen, (1, 4))
    assert np.array_equal(seen, again[0]) and not np.array_equal(seen, other[0])


def test_what_a_mask_leaves_out_is_not_split(scans):
    mask = np.ones((64, 64), bool)
    mask[20:30] = False
    data = scans["train"]
    garbage = replace(data, mask=mask, diff3d=np.where(mask, data.diff3d, 1e30).astype(np.float32))
    whole, other = (groups.make_groups(one, 2) for one in (replace(data, mask=mask), garbage))
    for a, b in zip(whole.split(whole.indices[:3], (1, 0)), other.split(whole.indices[:3], (1, 0)), strict=True):
        assert np.array_equal(a, b) and not a[..., ~mask].any() and a[..., mask].any()


def test_the_pipeline_draws_every_batch_anew_and_resumes_where_it_was(scans):
    grouped = groups.make_groups(scans["train"], 2)

    def batches(which, target):
        return [[part.numpy() for part in batch] for batch in grouped.dataset(4, which, 1, target)]

    whole, later = batches(range(0, 5), "split"), batches(range(3, 5), "split")
    for one, other in zip(whole[3:], later, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    for seen, _, judging in whole:
        assert not np.array_equal(seen, judging)
    for seen, _, judging in batches(range(2), "same"):
        assert np.array_equal(seen, judging)
    assert np.array_equal(batches(range(1), "same")[0][1], whole[0][1])
