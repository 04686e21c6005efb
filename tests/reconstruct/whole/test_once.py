"""`ptycho reconstruct`: one scan in, one object out, and a warning where a network does not know such scans."""

from dataclasses import replace

import h5py
import keras
import numpy as np
import pytest

from ptycho.__main__ import main
from ptycho.config import ModelConfig
from ptycho.errors import ConfigError, DataError
from ptycho.judge.parts import judge
from ptycho.reconstruct import direct, groups
from ptycho.reconstruct.arm import apply
from ptycho.reconstruct.networks import denoiser, model
from ptycho.reconstruct.whole import denoising, once
from ptycho.scans import simulated
from ptycho.scans.dose import deviance
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction


@pytest.fixture(scope="module")
def scan():
    return replace(simulated.simulate(64, 120, 4, seed=1, object_size=128)["train"].expose("1e6"), pixel_size=2e-8)


@pytest.fixture(scope="module")
def folder(scan, tmp_path_factory):
    """A scan's file, and a network that is as if it had been trained on scans like it."""
    folder = tmp_path_factory.mktemp("once")
    scan.save(folder / "scan.npz")
    network = denoiser.build("nll", scan.probeGuess)
    found = denoising.reconstruct(network, scan, 2)
    explained = deviance(scan, found.object, found.origin_yx)
    denoiser.remember(network, denoising.describe(found, scan, explained))
    model.save(network, folder / "model.keras")
    return folder


def said(capsys, *words):
    status = main(["reconstruct", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_fit_is_written_as_every_format_that_was_asked_for(scan, folder, tmp_path, capsys):
    targets = [tmp_path / name for name in ("found.npz", "found.h5", "found.png")]
    status, out, err = said(capsys, folder / "scan.npz", "-o", *targets)
    assert status == 0, err
    assert "fitting object and probe to 120 patterns of 64 x 64 pixels" in out
    assert "deviance" in out and "were not seen" in out and "trained on" not in out and "unlike" not in out
    with np.load(targets[0]) as arrays:
        found = Reconstruction(*(arrays[name] for name in ("object", "coverage", "origin_yx")))
        assert arrays["probe"].shape == (64, 64) and arrays["pixel_size"] == 2e-8 and "sigma" not in arrays
    assert judge(found, scan).amplitude_pearson > 0.95
    with h5py.File(targets[1]) as product:
        assert np.array_equal(product["object"][0], found.object)
        assert product["object"].attrs["pixel_width_m"] == pytest.approx(2e-8)
    assert targets[2].read_bytes().startswith(b"\x89PNG")


def test_a_network_reconstructs_the_next_scan_of_its_set_up(scan, folder, tmp_path, capsys):
    words = folder / "scan.npz", "--model", folder / "model.keras", "--uncertainty", "-o", tmp_path / "found.npz"
    status, out, err = said(capsys, *words)
    assert status == 0, err
    assert "with the network" in out and "trained on" not in out and "unlike" not in out
    with np.load(tmp_path / "found.npz") as arrays:
        found = Reconstruction(*(arrays[name] for name in ("object", "coverage", "origin_yx")))
        sigma = arrays["sigma"]
    assert judge(found, scan).amplitude_pearson > 0.95
    lit = found.coverage > 0.5 * found.coverage.max()
    assert 0 < sigma[lit].max() < 0.1


LIKE = denoiser.Trained(1e6, 20.0, 1.2)


@pytest.mark.parametrize(
    ("trained", "words"),
    [
        (denoiser.Trained(1e9, 20.0, 1.2), "photons per pattern; the network was trained on a scan with 1e+09"),
        (denoiser.Trained(1e6, 200.0, 1.2), "patterns on a pixel of the object"),
        (denoiser.Trained(1e6, 20.0, 0.01), "deviance; the network was trained on a scan with 0.01"),
    ],
)
def test_a_scan_unlike_the_networks_is_told(trained, words, folder):
    network = model.load_any(folder / "model.keras")
    own = denoiser.trained_on(network)
    # what the network remembers is true of the scan but for the one thing that the case names
    changed = {name: value for name, value in trained._asdict().items() if value != getattr(LIKE, name)}
    denoiser.remember(network, own._replace(**changed))
    made = once.reconstruct(str(folder / "scan.npz"), network)
    told = [line for line in made.told if "the network was trained on" in line]
    assert len(told) == 1 and words in told[0]


@pytest.fixture(scope="module")
def gaussian():
    """A scan whose probe is in a unit of its own, and an untrained network of groups, which is physics already."""
    scan = simulated.simulate(64, 120, 4, seed=1, object_size=128, illumination="gaussian")["train"].expose("1e6")
    reach = groups.make_groups(scan, 2).max_offset + 2
    keras.utils.set_random_seed(1)
    return scan, lambda mask=None: model.build(ModelConfig(64, 2, max_offset=reach), scan.probeGuess, mask)[0]


def test_a_network_of_groups_gets_amplitudes_in_the_unit_of_its_own_probe(gaussian, tmp_path):
    scan, build = gaussian
    scan.save(tmp_path / "scan.npz")
    network = build()
    made = once.reconstruct(str(tmp_path / "scan.npz"), network)
    probe = scan.probeGuess
    assert np.linalg.norm(made.data.probeGuess - probe) < 0.02 * np.linalg.norm(probe)  # a network has none of its rim
    # how bright the light is without an object, nobody knows: it is taken to be as bright as with it
    factor = scan.intensity_scale / made.data.intensity_scale
    assert 0.7 < factor < 1.4 and np.allclose(made.data.diff3d, factor * scan.diff3d, rtol=1e-4, atol=1e-6)
    alone = apply(network, scan, 7)
    here, there = (np.abs(found.object[found.lit]).mean() for found in (made.found, alone))
    assert here == pytest.approx(factor * there, rel=0.1)
    assert made.deviance[1] is None and "were not seen" not in str(made)  # it sees the whole detector


def test_of_a_network_with_a_mask_the_pixels_under_it_are_those_not_seen(gaussian, tmp_path):
    scan, build = gaussian
    scan.save(tmp_path / "scan.npz")
    mask = np.ones((64, 64), bool)
    mask[20:24] = False
    made = once.reconstruct(str(tmp_path / "scan.npz"), build(mask))
    assert np.array_equal(made.data.guard, ~mask) and made.deviance[1] > 0


def test_a_mask_that_hides_what_a_network_sees_is_refused(gaussian, tmp_path):
    scan, build = gaussian
    mask = np.ones((64, 64), bool)
    mask[20:24] = False
    replace(scan, mask=mask).save(tmp_path / "scan.npz")
    with pytest.raises(DataError, match="leaves out 256 detector pixels that the network was trained to see"):
        once.reconstruct(str(tmp_path / "scan.npz"), build())
    assert once.reconstruct(str(tmp_path / "scan.npz"), build(mask)).deviance[1] is None


def test_a_network_of_groups_tells_no_uncertainty(gaussian):
    with pytest.raises(ConfigError, match="--uncertainty: the network is of groups"):
        once.reconstruct("never read", gaussian[1](), uncertainty=True)


def test_the_uncertainty_lies_on_the_pixels_of_the_object(scan):
    """The fit of the probe, too, is on all of its pixels, and so is its object; the shares' fits are on fewer."""
    fit = direct.fit(scan, "mse", passes=2, refine_probe=True)
    given = replace(scan, probeGuess=fit.probe)
    sigma = once._uncertainty(None, given, fit.reconstruction, 1, lambda words: None)
    light = fit.reconstruction.coverage
    assert sigma.shape == light.shape and np.isnan(sigma).any()
    bright = light > 0.2 * light.max()
    assert np.isfinite(sigma[bright]).all()
    # where more light fell, less is uncertain; ten pixels aside, this does not hold so well
    alike = [np.corrcoef(sigma[bright], np.roll(light, shift, 1)[bright])[0, 1] for shift in (0, -10, 10)]
    assert alike[0] < min(alike[1:])


def test_a_probe_unlike_the_networks_is_told(scan, folder):
    y, x = np.mgrid[-32:32, -32:32]
    network = denoiser.build("nll", np.where(np.hypot(y, x) < 5, scan.probeGuess, 0))
    made = once.reconstruct(str(folder / "scan.npz"), network)
    assert any("the probe of the file is unlike the network's" in line for line in made.told)
    right = once.reconstruct(str(folder / "scan.npz"), model.load_any(folder / "model.keras"))
    assert not any("network" in line for line in right.told)
    # and the counts tell that it is wrong
    assert made.deviance[1] > 2 * right.deviance[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("missing.npz", "-o", "found.npz"), "missing.npz"),
        (("unsized.npz", "-o", "found.npz", "found.h5"), "found.h5: a product of ptychodus is in metres, and the scan"),
        (("scan.npz", "-o", "found.tif"), "found.tif: .tif names no format; expected one of .png, .npz, .h5, .hdf5"),
        (("scan.npz", "--method", "network", "-o", "found.npz"), "--method network needs --model"),
        (("scan.npz", "--model", "scan.npz", "-o", "found.npz"), "scan.npz: damaged, or no model of this package"),
        (("scan.npz", "--model", "other.keras", "-o", "found.npz"), "other.keras: there is no such file"),
        (("scan.npz", "--model", "large.keras", "-o", "found.npz"), "the network was trained on 128 x 128"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(words, message, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan.npz").symlink_to(folder / "scan.npz")
    replace(RawData.load(folder / "scan.npz"), pixel_size=None).save(tmp_path / "unsized.npz")
    model.save(denoiser.build("nll", np.ones((128, 128), np.complex64)), tmp_path / "large.keras")
    before = set(tmp_path.iterdir())
    status, _, err = said(capsys, *words)
    assert status == 2 and message in err and len(err.strip().splitlines()) == 1
    assert set(tmp_path.iterdir()) == before
