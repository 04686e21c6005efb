"""Electron scans, each written by its own library, or byte by byte where that library only reads."""

import sys

import emdfile
import foreign
import h5py
import hdf5plugin
import numpy as np
import pytest
import rsciio.emd
import rsciio.hspy

from ptycho.__main__ import main
from ptycho.errors import DataError
from ptycho.scans import formats
from ptycho.scans.formats.scan import Scan

N = foreign.N
A, B = foreign.SCAN.raster
STEP, MRAD, VOLTAGE = foreign.SCAN.step, 0.25, 300e3
WAVELENGTH = 1.9687e-12  # of 300 kV, the tables' 1.97 pm
PIXEL = WAVELENGTH / (N * MRAD * 1e-3)
Y, X = (np.indices((A, B)) * np.array(STEP)[:, None, None]).reshape(2, -1)


def signal(scan, unit="mrad", scale=MRAD, length="nm"):
    """What HyperSpy hands to RosettaSciIO's writers."""
    dy, dx = (step * 1e9 for step in scan.step)
    told = [("y", dy, length, True), ("x", dx, length, True), ("ky", scale, unit, False), ("kx", scale, unit, False)]
    raster = scan.in_raster(scan.counts)
    axes = [
        {
            "_type": "UniformDataAxis",
            "name": name,
            "scale": step,
            "offset": -scale * N / 2,
            "size": size,
            "units": units,
            "navigate": navigate,
            "index_in_array": k,
        }
        for k, (size, (name, step, units, navigate)) in enumerate(zip(raster.shape, told, strict=True))
    ]
    microscope = {"TEM": {"beam_energy": VOLTAGE / 1e3, "convergence_angle": 21.0, "camera_length": 100.0}}
    return {
        "data": raster,
        "axes": axes,
        "metadata": {
            "General": {"title": "4D scan"},
            "Acquisition_instrument": microscope,
            "Signal": {"signal_type": "electron_diffraction"},
        },
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "tmp_parameters": {},
        "models": {},
        "package_info": {"package": "hyperspy", "package_version": "2"},
        "ragged": False,
    }


def hspy(folder, scan=foreign.SCAN, **how):
    rsciio.hspy.file_writer(str(folder / "scan.hspy"), signal(scan, **how))
    return folder / "scan.hspy"


def ncem(folder, scan=foreign.SCAN, **how):
    """EMD 0.2 as HyperSpy writes it: all axes the other way round."""
    rsciio.emd.file_writer(str(folder / "scan.emd"), signal(scan, **how))
    return folder / "scan.emd"


def py4dstem(folder, scan=foreign.SCAN, voltage=VOLTAGE, length="nm", unit="mrad"):
    """EMD 1.0 as py4DSTEM saves a data cube: its axes are Rx, Ry, Qx, Qy, of which Rx is the slow one."""
    dy, dx = (step * 1e9 for step in scan.step)
    cube = emdfile.Array(
        scan.in_raster(scan.counts),
        name="datacube",
        dims=[[0, dy], [0, dx], [0, MRAD], [0, MRAD]],
        dim_units=[length, length, unit, unit],
        dim_names=["Rx", "Ry", "Qx", "Qy"],
    )
    calibration = emdfile.Metadata(name="calibration")
    calibration["Q_pixel_size"], calibration["Q_pixel_units"] = MRAD, unit
    calibration["accelerating_voltage"], calibration["convergence_semiangle_mrad"] = voltage, 21.0
    calibration["defocus"], calibration["defocus_units"] = 50.0, "A"
    root = emdfile.Root(name="datacube_root")
    root.tree(cube)
    root.metadata = calibration
    emdfile.save(str(folder / "scan.h5"), root, mode="overwrite")
    return folder / "scan.h5"


def arina(folder, scan=foreign.SCAN, step=(0.5, 0.4), M=foreign.M - 3):
    """DECTRIS's master file, its links, bitshuffle-LZ4 and the file with the step that lies beside it."""
    for k, part in enumerate((slice(0, 5), slice(5, M))):
        with h5py.File(folder / f"scan_data_{k + 1:06d}.h5", "w") as file:
            frames = scan.counts[part].astype(np.uint32)
            file.create_dataset("entry/data/data", data=frames, chunks=(1, N, N), **hdf5plugin.Bitshuffle())
    with h5py.File(folder / "scan_master.h5", "w") as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        for k in (1, 2):
            file[f"entry/data/data_{k:06d}"] = h5py.ExternalLink(f"scan_data_{k:06d}.h5", "/entry/data/data")
        detector = file.create_group("entry/instrument/detector")
        for name, value in (("x_pixel_size", 1e-4), ("y_pixel_size", 1e-4), ("detector_distance", 0.4)):
            detector[name] = value
            detector[name].attrs["units"] = "m"
        detector["detectorSpecific/pixel_mask"] = foreign.BAD.astype(np.uint32)
        file["entry/instrument/beam/incident_energy"] = VOLTAGE
    if step:
        with h5py.File(folder / "scan.h5", "w") as file:
            file.create_group("STEM Metadata").attrs["Pixel Size"] = np.array(step)
    return folder / "scan_master.h5"


def mib(folder, scan=foreign.SCAN):
    """Merlin's frames, as the headers that RosettaSciIO reads say: a clock that waits at the end of each line."""
    with open(folder / "scan.mib", "wb") as file:
        for k, frame in enumerate(scan.counts):
            time = f"2026-01-01T00:00:{k * 0.001 + k // scan.raster[1] * 0.01:09.6f}"
            head = f"MQ1,{k + 1:06d},00384,01,{N:04d},{N:04d},U16,   1x1,01,{time}Z,0.001,{time}000Z,1000000ns,12,"
            file.write(head.ljust(384).encode())
            file.write(frame[::-1].astype(">u2").tobytes())  # row 0 of a file is at the bottom
    return folder / "scan.mib"


def empad(folder, scan=foreign.SCAN):
    """128 x 128 float32 and two lines of footer for each frame, beside an XML."""
    (A, B), (M, H, W), (height, width) = scan.raster, scan.counts.shape, np.multiply(scan.raster, scan.step)
    frames = np.zeros((M, 130, 128), "<f4")
    frames[:, :H, :W] = scan.counts
    frames.tofile(folder / f"scan_x{B}_y{A}.raw")
    (folder / "scan.xml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>
<root><raw_file filename="scan_x{B}_y{A}.raw"/><pix_x value="{B}">{B}</pix_x><pix_y value="{A}">{A}</pix_y>
<timestamp isoformat="2026-01-01T00:00:00"/><scan_parameters mode="acquire"/>
<iom_measurements><calibrated_pixelsize>2.0e-10</calibrated_pixelsize>
<optics><get_full_scan_field_of_view>[{height}, {width}]</get_full_scan_field_of_view></optics></iom_measurements>
</root>"""
    )
    return folder / "scan.xml"


CALIBRATED = {"hspy": hspy, "emd, HyperSpy": ncem, "emd, py4DSTEM": py4dstem}


@pytest.mark.parametrize("name", CALIBRATED)
def test_a_calibrated_scan_is_understood(name, tmp_path):
    path = CALIBRATED[name](tmp_path)
    assert name.startswith(formats.identify(path).NAME)
    scan = formats.read(path)
    assert np.array_equal(scan.intensity(), foreign.COUNTS)
    assert np.array_equal(scan.patterns[np.array([9, 2, 2])], foreign.COUNTS[[9, 2, 2]])
    np.testing.assert_allclose(scan.x, X, atol=1e-20)
    np.testing.assert_allclose(scan.y, Y, atol=1e-20)
    np.testing.assert_allclose(scan.step, STEP)
    assert scan.energy is None and scan.detector_angle == pytest.approx(MRAD * 1e-3)
    if name != "emd, HyperSpy":  # whose writer keeps no settings
        assert scan.voltage == VOLTAGE and scan.semi_angle == pytest.approx(21e-3)
        assert scan.wavelength == pytest.approx(WAVELENGTH, rel=1e-4) and scan.pixel == pytest.approx(PIXEL, rel=1e-4)
    if name == "emd, py4DSTEM":
        assert scan.defocus == pytest.approx(50e-10)


@pytest.mark.parametrize("name", CALIBRATED)
def test_a_calibrated_scan_goes_through_inspect_and_convert_exactly(name, tmp_path, capsys):
    path = CALIBRATED[name](tmp_path)
    main(["inspect", str(path)])
    told = capsys.readouterr().out
    assert "step       5e-10 m between rows, 4e-10 m between columns" in told and "pixels of 0.25 mrad" in told
    if name != "emd, HyperSpy":
        assert "voltage    300 kV, electrons of 1.969e-12 m" in told and "object     pixels of 1.2305e-10 m" in told
    else:
        assert "missing: voltage: the size of an object pixel is unknown" in told
    out = tmp_path / "out.cxi"
    assert main(["convert", str(path), str(out)]) == 0
    assert "detector angle: only the object pixel that follows from them is kept" in capsys.readouterr().out
    before, after = formats.read(path), formats.read(out)
    assert np.array_equal(after.intensity(), foreign.COUNTS)
    assert np.array_equal(before.x, after.x) and np.array_equal(before.y, after.y) and before.pixel == after.pixel
    if before.pixel:
        assert main(["convert", str(path), str(tmp_path / "out.npz")]) == 0
        data = formats.load(tmp_path / "out.npz")
        assert np.array_equal(data.counts(), foreign.COUNTS) and data.pixel_size == before.pixel
        np.testing.assert_allclose(data.xcoords - data.xcoords[0], X / PIXEL, rtol=1e-4)


@pytest.mark.parametrize("make", [hspy, ncem])
def test_a_detector_in_spatial_frequency_needs_no_voltage(make, tmp_path):
    scan = formats.read(make(tmp_path, unit="1/nm", scale=0.1))
    assert scan.detector_frequency == pytest.approx(1e8) and scan.pixel == pytest.approx(1 / (N * 1e8))


def test_the_wavelength_of_electrons_is_relativistic():
    """The tables' 100 kV: 3.701 pm; 200 kV: 2.508 pm (Williams and Carter, Transmission Electron Microscopy)."""
    for voltage, picometres in ((100e3, 3.701), (200e3, 2.508), (300e3, 1.969)):
        assert Scan(voltage=voltage).wavelength == pytest.approx(picometres * 1e-12, abs=5e-16)


def test_an_arina_is_read_from_its_links(tmp_path, capsys):
    path = arina(tmp_path)
    assert formats.identify(path).NAME == "dectris"
    scan = formats.read(path)
    assert np.array_equal(scan.intensity(), foreign.COUNTS[:9]) and np.array_equal(scan.mask, ~foreign.BAD)
    np.testing.assert_allclose(scan.y.reshape(3, 3)[:, 0], np.arange(3) * STEP[0])
    np.testing.assert_allclose(scan.x.reshape(3, 3)[0], np.arange(3) * STEP[1])
    assert scan.voltage == pytest.approx(VOLTAGE) and scan.energy is None
    assert scan.pixel == pytest.approx(WAVELENGTH * 0.4 / (N * 1e-4), rel=1e-4)
    assert tmp_path / "scan.h5" in formats.files_of(path) and tmp_path / "scan_data_000002.h5" in formats.files_of(path)
    main(["inspect", str(path)])
    assert "format     dectris" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.cxi")]) == 0
    after = formats.read(tmp_path / "out.cxi")
    assert np.array_equal(after.intensity(), foreign.COUNTS[:9]) and np.array_equal(after.x, scan.x)


def test_an_eiger_without_a_step_has_no_positions(tmp_path):
    path = arina(tmp_path, step=None)
    scan = formats.read(path)
    assert scan.x is None and scan.energy == pytest.approx(VOLTAGE * foreign.EV) and scan.voltage is None
    with pytest.raises(DataError, match="the positions are missing"):
        formats.load(path)


def test_an_arina_that_is_no_square_is_named(tmp_path):
    with pytest.raises(DataError, match="12 patterns are no square raster; expected one, or positions in a map"):
        formats.read(arina(tmp_path, M=12))


def test_mib_is_read_through_rosettasciio(tmp_path, capsys):
    path = mib(tmp_path)
    assert formats.identify(path).NAME == "mib or empad"
    scan = formats.read(path)
    assert np.array_equal(scan.intensity(), foreign.COUNTS) and scan.patterns.dtype == np.dtype("uint16")
    assert np.array_equal(scan.patterns[np.array([9, 2, 2])], foreign.COUNTS[[9, 2, 2]]) and not len(scan.patterns[:0])
    assert scan.x is None and scan.notes == (
        "the raster, whose step is not calibrated: state `step` in a map",
        "the raster (3, 4), from the times of the frames: there is no scan.hdr",
    )
    main(["inspect", str(path)])
    assert "(12, 64, 64) uint16, intensity, photon counts" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.cxi")]) == 0
    assert np.array_equal(formats.read(tmp_path / "out.cxi").intensity(), foreign.COUNTS)


def test_empad_is_read_through_rosettasciio(tmp_path, capsys):
    path = empad(tmp_path)
    scan = formats.read(path)
    assert scan.patterns.shape == (12, 128, 128)
    assert np.array_equal(scan.patterns[3:7][:, :64, :64], foreign.COUNTS[3:7].astype(np.float32))
    np.testing.assert_allclose(scan.step, STEP)
    assert scan.detector_frequency == pytest.approx(2e8)
    assert formats.files_of(path) == [path, tmp_path / "scan_x4_y3.raw"]
    main(["inspect", str(path)])
    assert "(12, 128, 128) float32" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.cxi")]) == 0
    after = formats.read(tmp_path / "out.cxi")
    assert np.array_equal(after.intensity(), scan.intensity()) and np.array_equal(after.x, scan.x)


@pytest.mark.parametrize("make", [mib, empad])
def test_without_rosettasciio_one_line_tells_how_to_install_it(make, tmp_path, monkeypatch):
    path = make(tmp_path)
    for name in ("rsciio.quantumdetector", "rsciio.empad"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match=r'not installed; expected it after: pip install "ptycho\[em\]"$') as caught:
        formats.read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


WRONG = [
    (lambda folder: hspy(folder, unit="furlong"), "the detector of Experiments/4D scan has the unit 'furlong'"),
    (lambda folder: hspy(folder, length="s"), "has the unit 's'; expected a unit of length: m, mm, um, nm, A, pm"),
    (lambda folder: py4dstem(folder, length="furlong"), "has the unit 'furlong'; expected a unit of length"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_units_are_one_line(make, message, tmp_path):
    path = make(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        formats.read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_voltage_in_kilovolts_is_understood_and_a_wrong_one_refused(tmp_path, capsys):
    assert formats.read(py4dstem(tmp_path, voltage=300.0)).voltage == 300e3
    path = py4dstem(tmp_path, voltage=2.0)
    assert main(["inspect", str(path)]) == 1
    assert "voltage: 2000 V accelerate the electrons; expected volts" in capsys.readouterr().out


def test_a_scan_without_a_step_is_refused_by_a_study_alone(tmp_path, capsys):
    path = hspy(tmp_path, length="")
    assert "whose step is not calibrated" in formats.read(path).notes[0]
    with pytest.raises(DataError, match="the positions are missing; expected patterns and positions"):
        formats.load(path)


@pytest.mark.parametrize("make", [hspy, ncem, py4dstem])
def test_a_cut_file_is_named(make, tmp_path):
    path = make(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError) as caught:
        formats.load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_signals_that_are_no_raster_are_listed(tmp_path):
    path = hspy(tmp_path)
    with h5py.File(path, "r+") as file:
        file["Experiments/4D scan/axis-1"].attrs["navigate"] = False
    with pytest.raises(DataError, match=r"found .*/4D scan/data \(3, 4, 64, 64\); expected a signal with two axes"):
        formats.read(path)


def test_arrays_of_other_axes_are_listed(tmp_path):
    root = emdfile.Root(name="root")
    root.tree(emdfile.Array(foreign.COUNTS, name="stack"))
    emdfile.save(str(tmp_path / "scan.h5"), root, mode="w")
    with pytest.raises(DataError, match=r"found root/stack/data \(12, 64, 64\); expected an array of four axes"):
        formats.read(tmp_path / "scan.h5")


def test_an_older_py4dstem_file_in_pixels_gives_its_patterns(tmp_path):
    """Version 0.12: a group of type 1, axes of which nobody measured the pixels, and another cube beside it."""
    path, raster = tmp_path / "scan.h5", foreign.SCAN.in_raster(foreign.COUNTS)
    with h5py.File(path, "w") as file:
        for name in ("datacube_0", "datacube_1"):
            cube = file.create_group(f"4DSTEM_experiment/data/datacubes/{name}")
            cube.attrs["emd_group_type"] = 1
            cube["data"] = raster
            for k, axis in enumerate(("R_x", "R_y", "Q_x", "Q_y")):
                cube[f"dim{k + 1}"] = np.arange(raster.shape[k])
                cube[f"dim{k + 1}"].attrs.update(name=axis, units="[pix]")
    scan = formats.read(path)
    assert np.array_equal(scan.intensity(), foreign.COUNTS) and scan.x is None and scan.pixel is None
    assert scan.notes[1] == "4DSTEM_experiment/data/datacubes/datacube_1: one dataset is read"
