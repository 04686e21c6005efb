"""NeXus files, laid out by h5py as the definition NXcxi_ptycho says and as Diamond's beamlines write them."""

import foreign
import h5py
import hdf5plugin
import numpy as np
import pytest

from ptycho.__main__ import main
from ptycho.errors import DataError
from ptycho.scans import formats

A, B = foreign.SCAN.raster
KEV = foreign.ENERGY / foreign.EV / 1e3


def group(parent, name, kind, **attributes):
    found = parent.require_group(name)
    found.attrs["NX_class"] = kind
    found.attrs.update(attributes)
    return found


def put(parent, name, value, units=None, **how):
    item = parent.create_dataset(name, data=value, **how)
    if units:
        item.attrs["units"] = units
    return item


def detector(parent, name, kind="NXdetector"):
    found = group(parent, name, kind)
    put(found, "distance", foreign.DISTANCE * 1e3, "mm")
    put(found, "x_pixel_size", foreign.DETECTOR * 1e6, "um")
    put(found, "y_pixel_size", foreign.DETECTOR * 1e6, "um")
    put(found, "pixel_mask", foreign.BAD.astype(np.uint32))
    return found


def nxcxi_ptycho(path, scan=foreign.SCAN):
    """By contributed_definitions/NXcxi_ptycho.nxdl.xml: a raster, and a virtual dataset that lists it for CXI."""
    A, B = scan.raster
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        entry = group(file, "entry_1", "NXentry", default="data")
        entry["title"], entry["definition"] = "a raster", "NXptycho"
        instrument = group(entry, "instrument_1", "NXinstrument")
        source = group(instrument, "source_1", "NXsource")
        put(source, "energy", 3.0e9 * foreign.EV)  # that of the machine, in joules as CXI's
        beam = group(instrument, "beam_1", "NXbeam")
        put(beam, "incident_beam_energy", KEV, "keV")
        camera = detector(instrument, "detector_1")
        camera.attrs.update(signal="data", axes=["translation", "data"])
        put(camera, "data", scan.in_raster(scan.counts), **hdf5plugin.Bitshuffle())
        translation = np.stack([scan.x_m, scan.y_m, 0 * scan.x_m], 1)
        put(camera, "translation", translation * 1e6, "um")
        layout = h5py.VirtualLayout(scan.counts.shape, scan.counts.dtype)
        source = h5py.VirtualSource(".", camera["data"].name, camera["data"].shape)
        for k in range(A):
            layout[k * B : (k + 1) * B] = source[k]
        listed = group(entry, "data_1", "NXcollection")
        listed.create_virtual_dataset("data", layout)
        sample = group(entry, "sample_1", "NXsample")
        group(sample, "geometry_1", "NXcollection")["translation"] = camera["translation"]
        moved = group(sample, "transformations", "NXtransformations")
        put(moved, "x", scan.in_raster(scan.x_m) * 1e3, "mm"), put(moved, "y", scan.in_raster(scan.y_m) * 1e3, "mm")
        shown = group(entry, "data", "NXdata", signal="data", axes=["y", "x", ".", "."])
        for name, item in (("data", camera["data"]), ("x", moved["x"]), ("y", moved["y"])):
            shown[name] = item
    return path


def diamond_mapping(path, scan=foreign.SCAN):
    """As Diamond's mapping scans lie (I14, J08): axes that were set, positions that were read back, linked frames."""
    A, B = scan.raster
    with h5py.File(path.with_name("merlin.h5"), "w") as file:
        put(file, "data", scan.in_raster(scan.counts))
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = group(file, "entry", "NXentry")
        instrument = group(entry, "instrument", "NXinstrument")
        camera = detector(instrument, "merlin")
        camera["data"] = h5py.ExternalLink("merlin.h5", "data")
        put(group(instrument, "dcm", "NXmonochromator"), "energy", KEV, "keV")
        shown = group(entry, "merlin", "NXdata", signal="data")
        shown.attrs.update(axes=["SampleY_value_set", "SampleX_value_set", ".", "."])
        shown["data"] = h5py.ExternalLink("merlin.h5", "data")
        (
            put(shown, "SampleY", scan.in_raster(scan.y_m) * 1e3, "mm"),
            put(shown, "SampleX", scan.in_raster(scan.x_m) * 1e3, "mm"),
        )
        put(shown, "SampleY_value_set", np.arange(A) * 1e-3, "mm")
        put(shown, "SampleX_value_set", np.arange(B) * 1e-3, "mm")
    return path


def diamond_gda(path, scan=foreign.SCAN):
    """As GDA wrote them (I13): entry1, motors in a group of their own, one list of frames."""
    with h5py.File(path, "w") as file:
        entry = group(file, "entry1", "NXentry")
        instrument = group(entry, "instrument", "NXinstrument")
        detector(instrument, "merlin_sw_hdf")
        stage = group(instrument, "lab_sxy", "NXpositioner")
        put(stage, "lab_sx", scan.x_m * 1e6, "micron"), put(stage, "lab_sy", scan.y_m * 1e6, "micron")
        put(group(instrument, "monochromator", "NXmonochromator"), "energy", KEV * 1e3, "eV")
        put(group(entry, "merlin_sw_hdf", "NXdata"), "data", scan.counts)
    return path


FILES = {"nxcxi_ptycho": nxcxi_ptycho, "mapping": diamond_mapping, "gda": diamond_gda}


@pytest.fixture(params=FILES)
def path(request, tmp_path):
    return FILES[request.param](tmp_path / ("scan.cxi" if request.param == "nxcxi_ptycho" else "scan.nxs"))


def test_it_is_understood(path):
    assert formats.identify(path).NAME == "nexus"
    scan = formats.read(path)
    assert np.array_equal(scan.intensity(), foreign.COUNTS)
    np.testing.assert_allclose(scan.x, foreign.X_M, rtol=1e-12)
    np.testing.assert_allclose(scan.y, foreign.Y_M, rtol=1e-12)
    assert scan.energy == pytest.approx(foreign.ENERGY) and scan.distance == pytest.approx(foreign.DISTANCE)
    assert scan.detector_pixel == pytest.approx(foreign.DETECTOR) and scan.pixel == pytest.approx(foreign.PIXEL)
    assert np.array_equal(scan.mask, ~foreign.BAD)
    data = scan.rawdata()
    np.testing.assert_allclose(data.xcoords - data.xcoords[0], foreign.LEFT - foreign.LEFT[0], atol=1e-6)
    np.testing.assert_allclose(data.ycoords - data.ycoords[0], foreign.TOP - foreign.TOP[0], atol=1e-6)


def test_it_goes_through_inspect_and_convert_exactly(path, tmp_path, capsys):
    main(["inspect", str(path)])
    told = capsys.readouterr().out
    assert "format     nexus" in told and "object     pixels of 2e-08 m" in told
    out = tmp_path / "out" / "scan.cxi"
    out.parent.mkdir()
    assert main(["convert", str(path), str(out)]) == 0
    before, after = formats.read(path), formats.read(out)
    assert np.array_equal(before.intensity(), after.intensity()) and np.array_equal(before.mask, after.mask)
    for name in ("x", "y", "energy", "distance", "detector_pixel"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name


def test_set_values_are_spread_over_the_raster(tmp_path):
    path = diamond_mapping(tmp_path / "scan.nxs")
    with h5py.File(path, "r+") as file:
        del file["entry/merlin/SampleX"], file["entry/merlin/SampleY"]
    scan = formats.read(path)
    np.testing.assert_allclose(scan.x.reshape(A, B), np.tile(np.arange(B) * 1e-6, (A, 1)))
    np.testing.assert_allclose(scan.y.reshape(A, B), np.tile(np.arange(A)[:, None] * 1e-6, (1, B)))


def replaced(key, value, units="mm"):
    def change(file):
        del file[key]
        put(file, key, value, units)

    return change


def without_unit(key):
    def change(file):
        del file[key].attrs["units"]

    return change


DIAMOND = "entry/merlin/SampleX"
WRONG = [
    (without_unit(DIAMOND), r"SampleX has no attribute units; expected a unit of length: m, mm, um, nm, A, pm"),
    (
        replaced(DIAMOND, foreign.SCAN.in_raster(foreign.X_M), "furlong"),
        r"SampleX has the unit 'furlong'; expected a unit of length: m",
    ),
    (
        replaced("entry/instrument/dcm/energy", KEV, "mm"),
        r"energy has the unit 'mm'; expected a unit of energy: J, eV, keV",
    ),
    (replaced("entry/instrument/dcm/energy", [8.0, 9.0], "keV"), r"has 2 values, 8 to 9; expected one"),
    (replaced("entry/instrument/merlin/x_pixel_size", 50.0, "um"), "expected square ones"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong_is_one_line(change, message, tmp_path):
    path = diamond_mapping(tmp_path / "scan.nxs")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(DataError, match=message) as caught:
        formats.read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_positions_of_another_number_are_named(tmp_path):
    path = diamond_gda(tmp_path / "scan.nxs")
    with h5py.File(path, "r+") as file:
        replaced("entry1/instrument/lab_sxy/lab_sx", np.arange(7.0))(file)
    with pytest.raises(DataError, match=r"lab_sx \(7,\) do not fit a scan \(12,\); expected x and y of each pattern"):
        formats.read(path)
    with h5py.File(path, "r+") as file:
        del file["entry1/instrument/lab_sxy/lab_sx"], file["entry1/instrument/lab_sxy/lab_sy"]
    with pytest.raises(DataError, match="the positions are missing"):
        formats.load(path)


def test_frames_that_are_gone_are_named(tmp_path):
    path = diamond_mapping(tmp_path / "scan.nxs")
    path.with_name("merlin.h5").unlink()
    with pytest.raises(DataError, match="the diffraction patterns are missing"):
        formats.load(path)
