"""Foreign formats: what others wrote is understood, what we write is read back exactly, what is wrong is refused."""

import os
import subprocess
import sys
from dataclasses import fields, replace

import foreign
import h5py
import numpy as np
import pytest

from bench import ptychi_engines
from ptycho.__main__ import main
from ptycho.errors import DataError
from ptycho.physics import photons
from ptycho.scans import formats, simulated
from ptycho.scans.formats import contract
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.stack import Stack
from ptycho.scans.formats.xrays import ptychodus_diffraction, ptychodus_product
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import PARTS, Reconstruction, save_reconstructions


def write(name, folder):
    make, filename = foreign.FILES[name]
    return make(folder / filename)


def same(one: Scan, other: Scan, but=()):
    for field in fields(Scan):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name in but:
            continue
        if field.name == "patterns" and a is not None:
            a, b = a[:], b[:]
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype and np.array_equal(a, b), field.name
        else:
            assert a == b, field.name


@pytest.mark.parametrize("name", foreign.FILES)
def test_a_file_by_its_published_layout_is_understood(name, tmp_path):
    path = write(name, tmp_path)
    assert name.startswith(formats.identify(path).NAME)
    data = formats.load(path)
    assert isinstance(data, RawData) and data.diff3d.shape == (foreign.M, foreign.N, foreign.N)
    order = slice(None, None, -1) if name.startswith("ptychodus") else slice(None)
    believed = np.ones((foreign.N, foreign.N), bool) if data.mask is None else data.mask
    assert np.array_equal(data.counts(), np.where(believed, foreign.COUNTS[order], 0))
    if name != "ptychovit":
        assert np.array_equal(data.mask, ~foreign.BAD)
    assert data.pixel_size == pytest.approx(foreign.PIXEL)
    if name == "ptyd":  # without an object the frame is free: positions are right but for a constant
        np.testing.assert_allclose(data.xcoords - data.xcoords[0], foreign.LEFT - foreign.LEFT[0], atol=1e-9)
        np.testing.assert_allclose(data.ycoords - data.ycoords[0], foreign.TOP - foreign.TOP[0], atol=1e-9)
        return
    assert np.array_equal(data.probeGuess, foreign.PROBE) and np.array_equal(data.objectGuess, foreign.OBJECT)
    # the object, seen where the file says, gives the counts: no sign, axis or half pixel is wrong
    x, y = np.round(data.xcoords, 6), np.round(data.ycoords, 6)
    rate = photons.ideal_amplitude(data.objectGuess, data.probeGuess, x, y).astype(float) ** 2
    lit = (rate > 5) & believed
    chi2 = np.mean((data.counts()[lit] - rate[lit]) ** 2 / rate[lit])
    assert 0.9 < chi2 < 1.1
    wrong = photons.ideal_amplitude(data.objectGuess, data.probeGuess, np.clip(x + 1, 0, foreign.W - 33), y) ** 2
    assert np.mean((data.counts()[lit] - wrong[lit]) ** 2 / np.maximum(wrong[lit], 1)) > 2


@pytest.mark.parametrize("name", foreign.FILES)
def test_what_is_written_is_read_back_exactly(name, tmp_path):
    path = write(name, tmp_path)
    kind, scan = formats.identify(path), formats.read(path)
    (tmp_path / "again").mkdir()
    again = tmp_path / "again" / path.name
    kind.write(again, scan)
    back = formats.read(again)
    if kind is ptychodus_diffraction:
        product = again.with_name(path.name.replace("diffraction", "product"))
        ptychodus_product.write(product, scan)
        back = formats.read(again)
    if kind is contract:  # the contract's writer keeps amplitude, from which the counts come back
        assert np.array_equal(back.intensity(), scan.intensity())
        same(scan, back, but=("patterns", "amplitude", "intensity_scale"))
        once = again.with_name("once.npz")
        kind.write(once, back)
        return same(back, formats.read(once))
    same(scan, back)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_a_product_is_read_back_exactly(suffix, tmp_path):
    path = (foreign.product_h5 if suffix == ".h5" else foreign.product_npz)(tmp_path / f"product{suffix}")
    scan = formats.read(path)
    assert formats.identify(path) is ptychodus_product
    assert scan.energy == pytest.approx(foreign.ENERGY) and scan.pixel == foreign.PIXEL
    pixels = scan.in_pixels()
    np.testing.assert_allclose(pixels.x, foreign.LEFT + foreign.N // 2, atol=1e-6)
    np.testing.assert_allclose(pixels.y, foreign.TOP + foreign.N // 2, atol=1e-6)
    again = tmp_path / f"again-product{suffix}"
    ptychodus_product.write(again, scan)
    same(scan, formats.read(again))


def test_pty_chi_has_its_arrays_with_y_first(tmp_path):
    scan = formats.read(write("cxi", tmp_path))
    arrays = ptychi_engines.to_arrays(scan)
    # the rule of ptychi.image_proc: the first pixel is position + round(shape / 2) - 1/2 - (N - 1) / 2
    top = arrays["probe_position_y_px"] + np.round(foreign.H / 2) - 0.5 - (foreign.N - 1) / 2
    left = arrays["probe_position_x_px"] + np.round(foreign.W / 2) - 0.5 - (foreign.N - 1) / 2
    np.testing.assert_allclose(top, foreign.TOP, atol=1e-6)
    np.testing.assert_allclose(left, foreign.LEFT, atol=1e-6)
    assert np.array_equal(arrays["diffraction_data"], foreign.COUNTS)
    assert arrays["probe_data"].shape == (1, 1, foreign.N, foreign.N)
    assert arrays["object_data"].shape == (1, foreign.H, foreign.W)
    assert np.array_equal(arrays["probe_data"][0, 0], foreign.PROBE)
    assert np.array_equal(arrays["object_data"][0], foreign.OBJECT)
    assert np.array_equal(arrays["valid_pixel_mask"], ~foreign.BAD)


@pytest.mark.parametrize("name", ["cxi", "ptychovit", "ptyd", "ptychodus-diffraction", "npz"])
def test_patterns_stay_in_the_file_until_they_are_wanted(name, tmp_path):
    path = write(name, tmp_path)
    patterns = formats.read(path).patterns
    assert isinstance(patterns, Stack | np.memmap)
    order = slice(None, None, -1) if name.startswith("ptychodus") else slice(None)
    truth = foreign.COUNTS[order]
    for frames in (slice(2, 9, 3), np.array([7, 1, 1, 4]), np.arange(foreign.M) % 2 == 0, slice(0, 0)):
        assert np.array_equal(patterns[frames], truth[frames])


def test_wavelength_and_legacy_places_are_read_from_cxi(tmp_path):
    path = tmp_path / "old.cxi"
    with h5py.File(path, "w") as file:
        file["entry_1/instrument_1/detector_1/data"] = foreign.COUNTS
        file["entry_1/data_1/translation"] = np.stack([foreign.X_M, foreign.Y_M], 1)
        file["entry_1/instrument_1/source_1/wavelength"] = 1e-10
        file["entry_1/instrument_1/source_1/illumination"] = foreign.PROBE
    scan = formats.read(path)
    assert scan.energy == pytest.approx(12398.42 * foreign.EV, rel=1e-6)
    assert np.array_equal(scan.probe, foreign.PROBE) and scan.mask is None
    with pytest.raises(DataError, match=r"object pixel is unknown \(distance, detector_pixel missing\)"):
        scan.rawdata()


def test_ptyd_weights_of_frames_become_one_mask(tmp_path):
    path = foreign.ptyd(tmp_path / "scan.ptyd")
    weights = np.ones((5, foreign.N, foreign.N))
    weights[3, 10, 11] = 0
    with h5py.File(path, "r+") as file:
        del file["chunks/0/weights"], file["meta/weight2d"]
        file["chunks/0/weights"] = weights
    mask = formats.read(path).mask
    assert not mask[10, 11] and mask.sum() == mask.size - 1


def test_patterns_and_positions_are_paired_by_number(tmp_path):
    path = write("ptychodus-diffraction", tmp_path)
    with h5py.File(path, "r+") as file:
        del file["indexes"]
        file["indexes"] = np.where(foreign.NUMBERS[::-1] == 8, 1000, foreign.NUMBERS[::-1])
    scan = formats.read(path)
    assert len(scan.patterns) == len(scan.x) == foreign.M - 1
    assert scan.notes == ("2 patterns or positions without a partner",)
    keep = np.flatnonzero(foreign.NUMBERS[::-1] != 8)
    assert np.array_equal(scan.patterns[:], foreign.COUNTS[::-1][keep])
    assert np.array_equal(scan.x, foreign.X_M[::-1][keep])
    with h5py.File(path, "r+") as file:
        file["indexes"][...] = 5
    with pytest.raises(DataError, match="share a number"):
        formats.read(path)


def test_a_scan_without_a_probe_gets_one_from_its_mean_pattern(tmp_path):
    data = formats.load(write("ptyd", tmp_path))
    assert data.probeGuess.shape == (foreign.N, foreign.N)
    assert np.sum(np.abs(data.probeGuess) ** 2) == pytest.approx(data.counts().sum((1, 2)).mean(), rel=1e-3)


CHAIN = [(source, to) for source in ("cxi", "ptychovit", "npz") for to in ("scan.cxi", "pair_dp.hdf5", "scan.npz")]


@pytest.mark.parametrize(
    ("source", "target"), [*CHAIN, ("cxi", "scan.ptyd"), ("ptyd", "scan.cxi"), ("ptyd", "scan.npz")]
)
def test_a_scan_keeps_its_meaning_through_any_conversion(source, target, tmp_path, capsys):
    path = write(source, tmp_path)
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / target
    drop = {"scan.ptyd": ["probe", "object"], "pair_dp.hdf5": ["mask"]}.get(target, [])
    assert main(["convert", str(path), str(out), *(["--drop", *drop] if drop else [])]) == 0
    before, after = formats.load(path), formats.load(out)
    assert np.array_equal(before.diff3d, after.diff3d) and before.intensity_scale == after.intensity_scale
    np.testing.assert_allclose(after.xcoords - after.xcoords[0], before.xcoords - before.xcoords[0], atol=1e-6)
    np.testing.assert_allclose(after.ycoords - after.ycoords[0], before.ycoords - before.ycoords[0], atol=1e-6)
    if "object" not in drop and source != "ptyd":
        np.testing.assert_allclose(after.xcoords, before.xcoords, atol=1e-6)
        assert np.array_equal(after.objectGuess, before.objectGuess)
    if "mask" not in drop and source != "ptychovit":
        assert np.array_equal(after.mask, before.mask)


@pytest.mark.parametrize(
    ("source", "target", "words", "message"),
    [
        ("cxi", "x.ptyd", [], "ptyd cannot hold probe, object; name them after --drop"),
        ("cxi", "product.h5", [], "ptychodus-product cannot hold patterns, mask"),
        ("cxi", "x.tiff", [], ".tiff names no format; expected one of cxi (.cxi)"),
        ("cxi", "x.cxi", ["--to", "tiff"], "tiff names no format"),
        ("cxi", "x.npz", ["--drop", "probes"], "--drop probes: expected some of patterns"),
        ("npz", "nowhere/x.cxi", [], "cannot be written (No such file or directory)"),
        ("npz", "x.ptyd", ["--drop", "probe", "object"], "energy, distance, detector_pixel missing"),
        ("ptyd", "product.h5", ["--drop", "patterns", "mask"], "probe, object, object_center missing"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(source, target, words, message, tmp_path, capsys):
    path = write(source, tmp_path)
    before = sorted(os.listdir(tmp_path))
    assert main(["convert", str(path), str(tmp_path / target), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.count(str(tmp_path)) <= 1
    assert sorted(os.listdir(tmp_path)) == before


def test_pixels_of_unknown_size_become_metres_only_with_one(tmp_path, capsys):
    path = tmp_path / "scan.npz"
    formats.load(write("cxi", tmp_path)).save(path)
    data = replace(RawData.load(path), pixel_size=None)
    data.save(path)
    assert main(["convert", str(path), str(tmp_path / "x.cxi")]) == 2
    assert "object pixel is unknown" in capsys.readouterr().err
    for size in ("-3", "0", "nan", "inf"):
        assert main(["convert", str(path), str(tmp_path / "x.cxi"), "--pixel-size", size]) == 2
        assert f"--pixel-size {size}; expected a finite number of metres, above 0" in capsys.readouterr().err
    assert main(["convert", str(path), str(tmp_path / "x.cxi"), "--pixel-size", "2e-8"]) == 0
    np.testing.assert_allclose(formats.load(tmp_path / "x.cxi").xcoords, data.xcoords, atol=1e-6)
    assert main(["convert", str(path), str(path)]) == 2
    assert "the source itself" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write("cxi", tmp_path)
    out = tmp_path / "out.cxi"
    out.write_bytes(b"old")

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(DataError, match=r"out.cxi: cannot be written \(No space left on device\)"):
        formats.convert(path, out)
    assert out.read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == ["out.cxi", "scan.cxi"]


def truncated(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def without(*keys):
    def change(path):
        with h5py.File(path, "r+") as file:
            for key in keys:
                del file[key]

    return change


def put(key, value):
    def change(path):
        with h5py.File(path, "r+") as file:
            if key in file:
                del file[key]
            file[key] = value

    return change


MALFORMED = [
    *(
        (name, truncated, "truncated|BadZip|not a zip")
        for name in ("cxi", "ptychodus-diffraction", "ptychovit", "ptyd")
    ),
    ("npz", truncated, "damaged or truncated"),
    (
        "cxi",
        put("entry_1/sample_1/geometry_1/translation", np.ones(4)),
        r"translation has shape \(4,\); expected \(M, 2\)",
    ),
    ("cxi", put("entry_1/instrument_1/detector_1/y_pixel_size", 1e-3), "expected square pixels"),
    ("cxi", put("entry_1/instrument_1/source_1/energy", np.ones(3)), r"energy has shape \(3,\); expected one number"),
    (
        "cxi",
        put("entry_1/image_2/data", np.ones((2, 9, 9), complex)),
        r"object has shape \(2, 9, 9\); expected one layer",
    ),
    ("cxi", put("entry_1/data_1/data", np.ones((4, 4))), r"data has shape \(4, 4\); expected patterns \(M, N, N\)"),
    ("cxi", put("entry_1/data_1/data", "text"), "expected a dataset of real numbers"),
    ("ptyd", put("chunks/1/positions", np.ones((7, 3))), r"chunks/1/positions has shape \(7, 3\); expected \(m, 2\)"),
    ("ptyd", put("meta/psize", [1.0, 2.0]), "expected square pixels"),
    ("ptyd", put("chunks/1/data", np.ones((7, 8, 8))), r"chunks/1/data has shape \(7, 8, 8\)"),
    ("ptyd", without("chunks/0", "chunks/1"), "the diffraction patterns are missing"),
    ("ptyd", without("chunks/1/positions"), "xcoords has 5 values; expected 12"),
    ("ptychodus-diffraction", put("indexes", np.ones(3, int)), r"indexes is int64 \(3,\); expected integers \(12,\)"),
    ("ptychodus-diffraction", put("indexes", np.arange(12) + 900), "no pattern has the number of a position"),
    ("ptychodus-diffraction", put("patterns", np.ones((12, 64, 64), complex)), "expected a dataset of real numbers"),
    ("ptychovit", put("dp", np.ones((64, 64))), r"dp has shape \(64, 64\)"),
    ("ptychovit", lambda path: os.remove(path.with_name("scan_para.hdf5")), "scan_para.hdf5 is missing"),
]


@pytest.mark.parametrize(("name", "change", "message"), MALFORMED)
def test_malformed_files_are_refused_in_one_clear_message(name, change, message, tmp_path):
    path = write(name, tmp_path)
    change(path)
    with pytest.raises(DataError, match=message) as caught:
        formats.load(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            b"not a scan",
            "a file that begins b'not a sc', of no kind known here; expected one of dectris, nexus",
        ),
        ("a.h5", None, "cannot be read"),
        ("empty.npz", b"", "a file that begins b''"),
    ],
)
def test_unknown_kinds_are_refused(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        formats.read(tmp_path / name)


def test_containers_of_something_else_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["spectrum"] = np.ones(3)
    with pytest.raises(DataError, match=r"an HDF5 file that holds spectrum \(3,\) float64, of no kind"):
        formats.read(tmp_path / "other.h5")
    np.savez(tmp_path / "other.npz", spectrum=np.ones(3))
    with pytest.raises(DataError, match=r"an NPZ file that holds spectrum \(3,\) float64, of no kind"):
        formats.read(tmp_path / "other.npz")
    np.save(tmp_path / "other.npy", np.ones(3))
    with pytest.raises(DataError, match=r"an array float64 \(3,\); expected real numbers \(M, N, N\)"):
        formats.read(tmp_path / "other.npy")


@pytest.mark.parametrize("name", ["product.h5", "product.npz", "object.cxi"])
def test_the_reconstruction_of_an_arm_is_exported_in_its_place(name, tmp_path, capsys):
    scan = write("npz", tmp_path)
    top, left = -3, 7  # the reconstruction's frame is not that of the scan's own object
    found = Reconstruction(foreign.OBJECT[:90, :100], np.ones((90, 100), np.float32), np.array([top, left], float))
    source, out = tmp_path / "reconstruction.npz", tmp_path / name
    save_reconstructions(source, dict.fromkeys(PARTS, found))
    assert main(["convert", str(source), str(out)]) == 2
    assert "expected their scan's file after --of" in capsys.readouterr().err
    assert main(["convert", str(source), str(out), "--of", str(scan), "--part", "test"]) == 2
    assert "no part 'test'; expected one of train, heldout, direct" in capsys.readouterr().err
    assert main(["convert", str(source), str(out), "--of", str(scan), "--part", "heldout"]) == 0
    back = formats.read(out).in_pixels()
    assert np.array_equal(back.object, found.object) and np.array_equal(back.probe, foreign.PROBE)
    np.testing.assert_allclose(back.x, foreign.LEFT + foreign.N // 2 - left, atol=1e-6)
    np.testing.assert_allclose(back.y, foreign.TOP + foreign.N // 2 - top, atol=1e-6)
    assert back.pixel == pytest.approx(foreign.PIXEL)


# what ptychodus itself makes of our files


@pytest.fixture(scope="module")
def ptychodus():
    return pytest.importorskip("ptychodus.api.io", reason="needs ptychodus and pydantic, which the study does not")


def exported(tmp_path, name):
    path = tmp_path / name
    scan = replace(formats.read(write("cxi", tmp_path)), patterns=None, mask=None, pixel_size=foreign.PIXEL)
    formats.by_name(path).write(path, scan)
    return path


@pytest.mark.parametrize("name", ["product.h5", "product.npz", "out.cxi"])
def test_ptychodus_opens_our_products(name, tmp_path, ptychodus):
    from pathlib import Path

    path = exported(tmp_path, name)
    if name.endswith(".h5"):
        product = ptychodus.load_product(path)
    elif name.endswith(".npz"):
        from ptychodus.plugins.npz_product_file import NPZProductFileIO

        product = NPZProductFileIO().read(Path(path))
    else:
        from ptychodus.plugins.cxi_file import CXIProductFileIO

        product = CXIProductFileIO().read(Path(path))
    assert product.metadata.photon_energy_eV == pytest.approx(foreign.ENERGY / foreign.EV)
    assert product.metadata.detector_distance_m == foreign.DISTANCE
    geometry = product.object_.get_geometry()
    x = geometry.map_probe_positions_to_object_x_px(product.probe_positions)
    y = geometry.map_probe_positions_to_object_y_px(product.probe_positions)
    np.testing.assert_allclose(x - (foreign.N - 1) / 2, foreign.LEFT, atol=1e-6)
    np.testing.assert_allclose(y - (foreign.N - 1) / 2, foreign.TOP, atol=1e-6)
    assert np.array_equal(product.probes.get_probe_no_opr().get_array()[0], foreign.PROBE)
    assert np.array_equal(product.object_.get_layer(0), foreign.OBJECT)
    assert geometry.pixel_width_m == geometry.pixel_height_m == pytest.approx(foreign.PIXEL)


def test_ptychodus_opens_our_patterns(tmp_path, ptychodus):
    scan = formats.read(write("cxi", tmp_path))
    path = tmp_path / "diffraction.h5"
    ptychodus_diffraction.write(path, scan)
    data = ptychodus.load_diffraction_data(path)
    assert np.array_equal(data.get_patterns(), foreign.COUNTS) and np.array_equal(data.get_bad_pixels(), foreign.BAD)
    assert data.get_pixel_geometry().width_m == foreign.DETECTOR

    from ptychodus.plugins.cxi_file import CXIDiffractionFileReader

    (tmp_path / "out").mkdir()
    formats.convert(write("cxi", tmp_path), tmp_path / "out" / "scan.cxi")
    dataset = CXIDiffractionFileReader().read(tmp_path / "out" / "scan.cxi")
    assert np.array_equal(dataset[0].get_patterns(), foreign.COUNTS)
    assert np.array_equal(dataset.get_bad_pixels(), foreign.BAD)


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_we_open_what_ptychodus_writes(suffix, tmp_path, ptychodus):
    from ptychodus.plugins.npz_diffraction_file import NPZDiffractionFileIO
    from ptychodus.plugins.npz_product_file import NPZProductFileIO

    (tmp_path / "theirs").mkdir()
    product, patterns = (tmp_path / "theirs" / f"{name}{suffix}" for name in ("product", "diffraction"))
    if suffix == ".h5":
        ptychodus.save_product(product, ptychodus.load_product(foreign.product_h5(tmp_path / product.name)))
        data = ptychodus.load_diffraction_data(foreign.ptychodus_h5(tmp_path / patterns.name))
        ptychodus.save_diffraction_data(patterns, data)
    else:
        NPZProductFileIO().write(product, NPZProductFileIO().read(foreign.product_npz(tmp_path / product.name)))
        data = NPZDiffractionFileIO().read(foreign.ptychodus_npz(tmp_path / patterns.name))
        NPZDiffractionFileIO().write(patterns, data)
    scan = formats.read(patterns)
    order = np.argsort(scan.indices)
    assert np.array_equal(scan.intensity()[order], foreign.COUNTS) and np.array_equal(scan.mask, ~foreign.BAD)
    np.testing.assert_allclose(scan.x[order], foreign.X_M, rtol=1e-12)
    np.testing.assert_allclose(scan.y[order], foreign.Y_M, rtol=1e-12)
    assert scan.pixel == pytest.approx(foreign.PIXEL) and scan.energy == pytest.approx(foreign.ENERGY)
    assert np.array_equal(scan.probe, foreign.PROBE) and np.array_equal(scan.object, foreign.OBJECT)


def test_products_have_the_layout_that_ptychodus_reads(tmp_path):
    """The same without ptychodus, by h5py alone."""
    path = exported(tmp_path, "product.h5")
    with h5py.File(path) as file:
        assert file.attrs["photon_energy_eV"] == pytest.approx(foreign.ENERGY / foreign.EV)
        assert file.attrs["detector_object_distance_m"] == foreign.DISTANCE
        assert file.attrs["name"] == "product"
        assert np.array_equal(file["object"][0], foreign.OBJECT) and file["object"].ndim == 3
        assert np.array_equal(file["probe"][0, 0], foreign.PROBE) and file["probe"].ndim == 4
        center, pixel = file["object"].attrs["center_x_m"], file["object"].attrs["pixel_width_m"]
        middle = (file["probe_position_x_m"][:] - center) / pixel + (foreign.W - 1) / 2
        np.testing.assert_allclose(middle - (foreign.N - 1) / 2, foreign.LEFT, atol=1e-6)
        assert file["object_layer_spacing_m"].size == 0 and np.array_equal(
            file["probe_position_indexes"], np.arange(12)
        )


@pytest.mark.parametrize("key", ["counts", "diff3d"])
def test_a_cubic_stack_is_read_by_its_totals(key, tmp_path):
    """Of (N, N, N), the axis along which the totals are most even is that of the patterns."""
    scan = simulated.simulate(64, 64, 4, seed=1)["train"].expose("1e4")
    counts = scan.counts()
    patterns = counts if key == "counts" else scan.diff3d
    rest = {"xcoords": scan.xcoords, "ycoords": scan.ycoords, "probeGuess": scan.probeGuess, "intensity_scale": 1.0}
    for name, stack in (("first", patterns), ("last", np.moveaxis(patterns, 0, -1))):
        path = tmp_path / f"{name}.npz"
        np.savez(path, **{key: stack}, **rest)
        found = formats.read(path)
        assert np.array_equal(found.patterns, patterns) and np.array_equal(
            formats.load(path).diff3d, found.rawdata().diff3d
        )
        assert bool(found.notes) == (name == "last")


def test_sources_that_are_gone_are_named(tmp_path):
    path, data = write("cxi", tmp_path), "entry_1/instrument_1/detector_1/data"
    layout = h5py.VirtualLayout(foreign.COUNTS.shape, foreign.COUNTS.dtype)
    layout[...] = h5py.VirtualSource("source.h5", "data", foreign.COUNTS.shape)
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["data"] = foreign.COUNTS
    with h5py.File(path, "r+") as file:
        del file[data]
        file.create_virtual_dataset(data, layout)
    assert np.array_equal(formats.read(path).patterns[:], foreign.COUNTS)
    (tmp_path / "source.h5").unlink()
    with pytest.raises(DataError, match=r"is a virtual dataset, and its source source\.h5 is not there"):
        formats.read(path)


@pytest.mark.parametrize(
    ("keep_open", "message"),
    [("h5py.File(path, 'r+')", "locked by another program"), ("swmr(path)", "still being written, or never closed")],
)
def test_files_that_are_being_written_are_named(keep_open, message, tmp_path):
    code = f"""
import h5py, sys
path = sys.argv[1]
def swmr(path):
    file = h5py.File(path, "w", libver="latest")
    file.create_dataset("entry_1/data_1/data", (1, 64, 64), maxshape=(None, 64, 64), chunks=(1, 64, 64))
    file.swmr_mode = True
    return file
file = {keep_open}
print("open", flush=True)
sys.stdin.read()
"""
    path = write("cxi", tmp_path)
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(DataError, match=message):
            formats.read(path)
        writer.stdin.close()


@pytest.mark.parametrize("frames", [False, True])
def test_a_dark_frame_is_taken_off(frames, tmp_path, capsys):
    path, dark = write("cxi", tmp_path), np.full((foreign.N, foreign.N), 40.0)
    with h5py.File(path, "r+") as file:
        file["entry_1/instrument_1/detector_1/data"][...] = foreign.COUNTS + 40
        file["entry_1/instrument_1/detector_1/data_dark"] = np.stack([dark - 1, dark + 1]) if frames else dark
    scan = formats.read(path)
    assert np.array_equal(scan.intensity(), foreign.COUNTS) and scan.intensity().dtype == np.int64
    assert main(["convert", str(path), str(tmp_path / "out.npz")]) == 0
    assert "left aside: the dark frame, which is taken off" in capsys.readouterr().out
    assert np.array_equal(formats.read(tmp_path / "out.npz").intensity(), foreign.COUNTS)


def test_patterns_and_masks_of_text_are_named(tmp_path):
    arrays = {"counts": foreign.COUNTS, "xcoords": foreign.LEFT, "ycoords": foreign.TOP, "mask": np.full((64, 64), "a")}
    np.savez(tmp_path / "mask.npz", **arrays)
    with pytest.raises(DataError, match="mask has type <U1; expected numbers of kind 'biu'"):
        formats.read(tmp_path / "mask.npz")


def test_a_distance_of_zero_is_unknown(tmp_path, capsys):
    path = write("ptyd", tmp_path)
    put("meta/distance", 0.0)(path)
    main(["inspect", str(path)])
    assert "missing: distance: the size of an object pixel is unknown" in capsys.readouterr().out


def test_the_sides_of_a_pixel_are_told_as_numbers(tmp_path):
    path = foreign.product_npz(tmp_path / "product.npz")
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "object_pixel_height_m": 3e-8})
    with pytest.raises(DataError, match=r"pixels are \[2e-08, 3e-08\] metres; expected square ones"):
        formats.read(path)
