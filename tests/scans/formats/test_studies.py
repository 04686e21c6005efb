"""A file of every format through a whole study: one raster, written by each format's own library, whose places and
counts are known."""

import os
import subprocess
import sys

import foreign
import numpy as np
import pytest
import test_electrons as electrons
import test_maps as maps
import test_nexus as nexus
import test_ptychoshelves as ptychoshelves
import yaml
from standins import ROOT

from ptycho.reconstruct import reference
from ptycho.scans import formats, inspect
from ptycho.study import plan
from ptycho.study.config import StudyConfig

XRAYS = foreign.raster(electrons.PIXEL)
"""Electron scans have its counts too, and the steps of its raster."""
EMPAD = foreign.raster(1 / (128 * 2e8), n=128)


def mapped(path, **told):
    """The file, with a map beside it that tells what its format does not."""
    path.with_name(f"{path.name}.map.yaml").write_text(yaml.safe_dump(told))
    return path


RASTER = {
    "step": [f"{step * 1e9:.9g} nm" for step in XRAYS.step],
    "voltage": f"{electrons.VOLTAGE / 1e3} kV",
    "detector_angle": f"{electrons.MRAD} mrad",
}
"""A map's words for a raster of electrons of which the file tells nothing but the shape."""


def frames(array, axes, **words):
    """A map's words for the scan's numbers, from a file that states no units."""
    told = {"patterns": {"from": array, "axes": axes}, "pixel_size": f"{foreign.PIXEL * 1e9} nm"}
    return told | words


def npy(folder):
    np.save(folder / "scan.npy", XRAYS.in_raster(XRAYS.counts))
    return mapped(folder / "scan.npy", **RASTER)


def matlab(version):
    return lambda folder: ptychoshelves.WRITERS[version](folder / "scan.mat", ptychoshelves.content(XRAYS))


def foreign_file(name):
    make, filename = foreign.FILES[name]
    return lambda folder: make(folder / filename, XRAYS)


FILES = {
    **{name: foreign_file(name) for name in foreign.FILES},
    "nexus, NXcxi_ptycho": lambda folder: nexus.nxcxi_ptycho(folder / "scan.cxi", XRAYS),
    "nexus, mapping": lambda folder: nexus.diamond_mapping(folder / "scan.nxs", XRAYS),
    "nexus, GDA": lambda folder: nexus.diamond_gda(folder / "scan.nxs", XRAYS),
    **{f"ptychoshelves, {version}": matlab(version) for version in ptychoshelves.WRITERS},
    "dectris, Arina": lambda folder: electrons.arina(folder, XRAYS, tuple(s * 1e9 for s in XRAYS.step), M=49),
    "hspy": lambda folder: electrons.hspy(folder, XRAYS),
    "emd, HyperSpy": lambda folder: mapped(electrons.ncem(folder, XRAYS), voltage=f"{electrons.VOLTAGE / 1e3} kV"),
    "emd, py4DSTEM": lambda folder: electrons.py4dstem(folder, XRAYS),
    "mib": lambda folder: mapped(electrons.mib(folder, XRAYS), **RASTER),
    "empad": lambda folder: electrons.empad(folder, EMPAD),
    "npy": npy,
    "HDF5 by a map": lambda folder: mapped(
        maps.hdf5(folder / "scan.h5", XRAYS),
        **frames("scan/frames", "frame row column"),
        x={"from": "scan/motors/stage_x", "unit": "um"},
        y={"from": "scan/motors/stage_y", "unit": "um"},
        probe="scan/probe",
    ),
    "NPZ by a map": lambda folder: mapped(
        maps.npz(folder / "scan.npz", XRAYS),
        **frames("frames", "row column frame"),
        **{axis: {"from": "places", "column": k, "unit": "um"} for k, axis in enumerate("xy")},
    ),
    "MATLAB by a map": lambda folder: mapped(
        maps.mat(folder / "scan.mat", XRAYS),
        **frames("scan/frames", "row column slow fast"),
        **{axis: {"from": f"scan/pp{axis.upper()}", "unit": "m"} for axis in "xy"},
    ),
}
"""How each is written into a folder."""
TOLERANCE = 2e-3
"""Object pixels: the wavelength by which `electrons` sets its steps has five digits."""


def expected(name):
    """The scan that was written, and which of its patterns in which order."""
    return EMPAD if name == "empad" else XRAYS, {
        "dectris, Arina": slice(0, 49),
        "ptychodus-diffraction": slice(None, None, -1),
        "ptychodus-diffraction, NPZ": slice(None, None, -1),
    }.get(name, slice(None))


def holds(data, name):
    """Whether a RawData is the scan that was written: counts and probe exactly, places but for the frame's origin."""
    scan, order = expected(name)
    believed = np.ones(data.diff3d.shape[1:], bool) if data.mask is None else data.mask
    assert np.array_equal(data.counts(), np.where(believed, scan.counts[order], 0))
    if name == "dectris, Arina":  # a square is cut from the raster by its number of patterns alone
        left, top = (5 * np.arange(49) % 35, 6 * (np.arange(49) // 7))
    else:
        left, top = scan.left[order], scan.top[order]
    for found, wanted in ((data.xcoords, left), (data.ycoords, top)):
        np.testing.assert_allclose(found - found.mean(), wanted - wanted.mean(), atol=TOLERANCE)


@pytest.mark.parametrize("name", FILES)
def test_a_file_goes_through_inspect_and_convert_and_a_study_reads_it(name, tmp_path):
    path = FILES[name](tmp_path)
    found = inspect.inspect(path)
    assert not found.wrong
    data = formats.load(path)
    holds(data, name)
    if formats.read(path).probe is not None:
        assert np.array_equal(data.probeGuess, XRAYS.probe)
    (tmp_path / "out").mkdir()
    formats.convert(path, tmp_path / "out" / "scan.npz")
    again = formats.load(tmp_path / "out" / "scan.npz")
    holds(again, name)
    for field in ("xcoords", "ycoords", "probeGuess", "mask", "pixel_size"):
        assert np.array_equal(getattr(data, field), getattr(again, field)), field
    config = plan.at_measured_doses(StudyConfig(scan=str(path), N=None, doses=("full", "1e3")), tmp_path, asked=True)
    assert tmp_path / "study" / "sources" / "scan.sha256" in plan.write_plan(tmp_path / "study", config)
    holds(reference.load(path.name, tmp_path)[0], name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_whole_study_verifies_a_file_of_every_format(name, tmp_path):
    words = [f"SCAN={FILES[name](tmp_path)}", f"OUT={tmp_path / 'study'}", "NEPOCHS=1", "DOSES=full", "LOSSES=nll"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ptycho", "study", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    status = (tmp_path / "study" / "status.txt").read_text()
    assert done.returncode == 0 and status.startswith("VERIFIED"), done.stdout[-2000:] + status
