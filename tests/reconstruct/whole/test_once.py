"""`ptycho reconstruct`: one scan in, one object out, and a warning where a network does not know such scans."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from ptycho.__main__ import main
from ptycho.judge.parts import judge
from ptycho.reconstruct.networks import denoiser, model
from ptycho.reconstruct.whole import denoising, once
from ptycho.scans import simulated
from ptycho.scans.dose import deviance
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
    assert "deviance" in out and "did not see" in out and "trained on" not in out and "unlike" not in out
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
    denoiser.remember(network, trained)
    told = once._unlike(trained, denoiser.Trained(1e6, 20.0, 1.2))
    assert len(told) == 1 and words in told[0]


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
    model.save(denoiser.build("nll", np.ones((128, 128), np.complex64)), tmp_path / "large.keras")
    before = set(tmp_path.iterdir())
    status, _, err = said(capsys, *words)
    assert status == 2 and message in err and len(err.strip().splitlines()) == 1
    assert set(tmp_path.iterdir()) == before
