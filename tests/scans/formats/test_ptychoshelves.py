"""PtychoShelves .mat, version 5 by SciPy's writer and 7.3 by h5py as MATLAB lays it out."""

import foreign
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from ptycho.__main__ import main
from ptycho.errors import DataError
from ptycho.physics import photons
from ptycho.scans import formats

M, N = foreign.M, foreign.N
LAMBDA = 6.62607015e-34 * 299792458.0 / foreign.ENERGY


def content(scan):
    H, W = scan.object.shape
    # find_reconstruction_ROI: first pixel, counted from 1, = position + ceil(object / 2 - probe / 2)
    positions = np.stack([scan.left + 1 - np.ceil((W - N) / 2), scan.top + 1 - np.ceil((H - N) / 2)], 1)
    p = {"lambda": LAMBDA, "dx_spec": np.full((1, 2), foreign.PIXEL), "z": foreign.DISTANCE, "ds": foreign.DETECTOR}
    return {
        "dp": np.moveaxis(scan.counts, 0, -1),
        "object": scan.object,
        "probe": scan.probe[:, :, None, None],
        "outputs": {"probe_positions": positions},
        "p": p,
    }


CONTENT = content(foreign.SCAN)


def version_5(path, content):
    savemat(path, content, do_compression=True)
    return path


def version_7_3(path, content):
    """Axes the other way round, complex numbers as pairs, numbers as (1, 1), and MATLAB's 128 bytes before HDF5's."""

    def put(group, name, value):
        if isinstance(value, dict):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            for key in value:
                put(inner, key, value[key])
            return
        array = np.atleast_2d(value).T
        if array.dtype.kind == "c":
            pairs = np.empty(array.shape, [("real", array.real.dtype), ("imag", array.real.dtype)])
            pairs["real"], pairs["imag"] = array.real, array.imag
            array = pairs
        group.create_dataset(name, data=array)

    with h5py.File(path, "w", userblock_size=512) as file:
        for name in content:
            put(file, name, content[name])
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


WRITERS = {"5": version_5, "7.3": version_7_3}


@pytest.fixture(params=WRITERS)
def write(request, tmp_path):
    def write(**changes):
        content = {name: value for name, value in {**CONTENT, **changes}.items() if value is not None}
        return WRITERS[request.param](tmp_path / "Niter100.mat", content)

    return write


def test_a_reconstruction_is_understood(write):
    path = write()
    assert formats.identify(path).NAME == "ptychoshelves"
    scan = formats.read(path)
    assert scan.pixel == foreign.PIXEL and scan.energy == pytest.approx(foreign.ENERGY)
    assert scan.distance == foreign.DISTANCE and scan.detector_pixel == foreign.DETECTOR
    data = formats.load(path)
    assert np.array_equal(data.counts(), foreign.COUNTS)
    assert np.array_equal(data.probeGuess, foreign.PROBE) and np.array_equal(data.objectGuess, foreign.OBJECT)
    assert np.array_equal(data.xcoords, foreign.LEFT + N // 2) and np.array_equal(data.ycoords, foreign.TOP + N // 2)
    rate = photons.ideal_amplitude(data.objectGuess, data.probeGuess, data.xcoords, data.ycoords).astype(float) ** 2
    lit = rate > 5
    assert 0.9 < np.mean((data.counts()[lit] - rate[lit]) ** 2 / rate[lit]) < 1.1


def test_it_goes_through_inspect_and_convert_exactly(write, tmp_path, capsys):
    path = write()
    main(["inspect", str(path)])
    assert "format     ptychoshelves" in capsys.readouterr().out
    out = tmp_path / "out" / "scan.cxi"
    out.parent.mkdir()
    assert main(["convert", str(path), str(out)]) == 0
    before, after = formats.load(path), formats.load(out)
    assert np.array_equal(before.counts(), after.counts())
    assert np.array_equal(before.objectGuess, after.objectGuess)
    assert np.array_equal(before.probeGuess, after.probeGuess)
    np.testing.assert_allclose(after.xcoords, before.xcoords, atol=1e-9)
    np.testing.assert_allclose(after.ycoords, before.ycoords, atol=1e-9)


def test_modes_and_variations_of_the_probe(write):
    probe = np.stack([foreign.PROBE, 2 * foreign.PROBE, 3 * foreign.PROBE], -1)
    scan = formats.read(write(probe=np.stack([probe, 0 * probe], -1)))
    assert scan.probe.shape == (3, N, N) and np.array_equal(scan.probe[1], 2 * foreign.PROBE)
    assert scan.notes == ("1 further variations of the probe",)


def test_electrons_of_fold_slice_are_in_angstroms(write):
    """The raster of the prepared patterns: rows of it are slow."""
    raster = np.moveaxis(foreign.COUNTS.reshape(3, 4, N, N), (0, 1), (-2, -1))
    p = {"lambda": 0.0197, "dx_spec": np.full((1, 2), 0.25)}
    path = write(dp=raster, p=p, voltage=300.0, alpha=21.4, dk=0.03, ADU=151.0)
    scan = formats.read(path)
    assert np.array_equal(scan.patterns[:], foreign.COUNTS) and np.array_equal(scan.patterns[4:9], foreign.COUNTS[4:9])
    assert scan.energy is None and scan.pixel == pytest.approx(0.25e-10)
    assert scan.voltage == 300e3 and scan.wavelength == pytest.approx(1.9687e-12, rel=1e-4)
    assert scan.semi_angle == pytest.approx(21.4e-3) and scan.detector_frequency == pytest.approx(3e8)
    assert scan.notes == ("ADU = 151: the patterns are not divided by it",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": {"probe_positions": np.ones((M, 3))}}, r"probe_positions has shape \(12, 3\); expected \(M, 2\)"),
        ({"outputs": None}, "the positions are missing"),
        ({"dp": None}, "the diffraction patterns are missing"),
        ({"dp": np.ones((N, N))}, r"dp .*\(64, 64\); expected"),
        ({"p": {"dx_spec": [[1e-8, 2e-8]], "lambda": 1e-10}}, "expected square pixels"),
        ({"p": {"lambda": [[1.0, 2.0]]}}, r"p/lambda is float64 .*; expected one number"),
    ],
)
def test_what_is_wrong_is_one_line(changes, message, write):
    path = write(**changes)
    with pytest.raises(DataError, match=message) as caught:
        formats.load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_damaged_file_is_named(write):
    path = write()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError) as caught:
        formats.load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
