"""Files of no kind known: what is in them, which layouts come near, and a map by which they open."""

import json
from dataclasses import replace

import foreign
import h5py
import numpy as np
import pytest
import yaml
from scipy.io import savemat

from ptycho.__main__ import main
from ptycho.errors import DataError
from ptycho.scans import formats, simulated
from ptycho.scans.formats import mapped
from ptycho.scans.formats.scan import Scan

M, N = foreign.M, foreign.N
KEV = foreign.ENERGY / foreign.EV / 1e3
RASTER = foreign.COUNTS.reshape(3, 4, N, N)


def hdf5(path, scan=foreign.SCAN):
    with h5py.File(path, "w") as file:
        file["scan/frames"] = scan.counts
        file["scan/motors/stage_x"], file["scan/motors/stage_y"] = scan.x_m * 1e6, scan.y_m * 1e6
        for name in ("stage_x", "stage_y"):
            file[f"scan/motors/{name}"].attrs["units"] = "um"
        file["scan/photon_energy"], file["scan/photon_energy"].attrs["units"] = KEV, "keV"
        file["scan/camera_distance"], file["scan/camera_distance"].attrs["units"] = foreign.DISTANCE * 1e3, "mm"
        file["scan/pixel_size"], file["scan/pixel_size"].attrs["units"] = foreign.DETECTOR * 1e6, "um"
        file["scan/bad_pixels"] = foreign.BAD.astype(np.uint8)
        file["scan/probe"] = scan.probe
    return path


def npz(path, scan=foreign.SCAN):
    np.savez(
        path,
        frames=np.moveaxis(scan.counts, 0, -1),
        places=np.stack([scan.x_m, scan.y_m], 1) * 1e6,
        energy=KEV,
        distance=foreign.DISTANCE,
        pixel=foreign.DETECTOR,
    )
    return path


def mat(path, scan=foreign.SCAN):
    frames = np.moveaxis(scan.in_raster(scan.counts), (0, 1), (-2, -1))
    told = {"frames": frames, "ppX": scan.x_m, "ppY": scan.y_m, "energy": KEV}
    savemat(path, {"scan": {**told, "distance": foreign.DISTANCE, "pixel_size": foreign.DETECTOR}})
    return path


FILES = {"scan.h5": hdf5, "scan.npz": npz, "scan.mat": mat}
UNITS = {
    "scan.npz": {"x": "um", "y": "um", "energy": "keV", "distance": "m", "detector_pixel": "m"},
    "scan.mat": {"x": "m", "y": "m", "energy": "keV", "distance": "m", "detector_pixel": "m"},
}
"""What a user has to add where the file states no units."""


def proposed(path, capsys):
    """The map that `inspect` prints, with the units that its reader knows and the file does not tell."""
    assert main(["inspect", str(path)]) == 1
    text = capsys.readouterr().out.partition("a map to start from:\n")[2]
    told = yaml.safe_load(text)
    for name, unit in UNITS.get(path.name, {}).items():
        assert told[name]["unit"] == "?"
        told[name]["unit"] = unit
    return told


@pytest.mark.parametrize("name", FILES)
def test_the_map_that_inspect_proposes_opens_the_file(name, tmp_path, capsys):
    path = FILES[name](tmp_path / name)
    told = proposed(path, capsys)
    (tmp_path / f"{name}.map.yaml").write_text(yaml.safe_dump(told))
    scan = formats.read(path)
    assert np.array_equal(scan.intensity(), foreign.COUNTS)
    assert np.array_equal(scan.patterns[np.array([9, 2, 2])], foreign.COUNTS[[9, 2, 2]])
    np.testing.assert_allclose(scan.x, foreign.X_M, rtol=1e-12)
    np.testing.assert_allclose(scan.y, foreign.Y_M, rtol=1e-12)
    assert scan.pixel == pytest.approx(foreign.PIXEL) and scan.energy == pytest.approx(foreign.ENERGY)
    if name == "scan.h5":
        assert np.array_equal(scan.mask, ~foreign.BAD) and np.array_equal(scan.probe, foreign.PROBE)
    assert tmp_path / f"{name}.map.yaml" in formats.files_of(path)
    main(["inspect", str(path)])
    out = capsys.readouterr().out
    assert "format     by a map" in out and "a map to start from" not in out
    assert main(["convert", str(path), str(tmp_path / "out.cxi")]) == 0
    after = formats.read(tmp_path / "out.cxi")
    assert np.array_equal(after.intensity(), foreign.COUNTS)
    assert np.array_equal(after.x, scan.x) and np.array_equal(after.y, scan.y) and after.energy == scan.energy
    believed = np.ones((N, N), bool) if scan.mask is None else scan.mask
    assert np.array_equal(formats.load(path).counts(), np.where(believed, foreign.COUNTS, 0))


def test_a_map_may_lie_elsewhere(tmp_path, capsys):
    path, elsewhere = hdf5(tmp_path / "scan.h5"), tmp_path / "maps.yaml"
    elsewhere.write_text(yaml.safe_dump(proposed(path, capsys)))
    main(["inspect", str(path), "--map", str(elsewhere)])
    assert "format     by a map" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.cxi"), "--map", str(elsewhere)]) == 0
    assert np.array_equal(formats.read(tmp_path / "out.cxi").intensity(), foreign.COUNTS)
    with pytest.raises(DataError, match="of no kind known here"):
        formats.read(path)


def test_json_holds_the_map_too(tmp_path, capsys):
    main(["inspect", str(hdf5(tmp_path / "scan.h5")), "--json"])
    assert "scan/frames" in json.loads(capsys.readouterr().out)["map"]


@pytest.mark.parametrize(
    "names", [("samx", "samy"), ("posX", "posY"), ("x/value", "y/value"), ("max_x_mm", "max_y_mm")]
)
def test_positions_are_two_arrays_whose_names_differ_in_the_axis(names, tmp_path, capsys):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["frames"], file["index"], file["energy"] = foreign.COUNTS, np.arange(M), np.arange(M)
        file[names[0]], file[names[1]] = foreign.X_M, foreign.Y_M
    main(["inspect", str(path)])
    told = yaml.safe_load(capsys.readouterr().out.partition("a map to start from:\n")[2])
    assert tuple(told[axis]["from"] for axis in "xy") == names


@pytest.mark.parametrize("shape", [(M, 2), (1, M, 2), (1, M, 1, 2)])
def test_a_table_of_positions_may_have_axes_of_one(shape, tmp_path, capsys):
    path = tmp_path / "scan.npz"
    table = np.stack([foreign.LEFT, foreign.TOP], axis=-1)
    np.savez(path, data=foreign.COUNTS[None], places=table.reshape(shape))
    main(["inspect", str(path)])
    proposed = capsys.readouterr().out.partition("a map to start from:\n")[2]
    told = yaml.safe_load(proposed)
    assert [told[axis]["from"] for axis in "xy"] == ["places"] * 2 and "step" not in told
    (tmp_path / "scan.npz.map.yaml").write_text(proposed.replace("'?'", "pixels"))
    scan = formats.read(path)
    assert np.array_equal(scan.x, foreign.LEFT) and np.array_equal(scan.y, foreign.TOP)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("step: 2 nm", np.indices((3, 4)).reshape(2, -1) * 2e-9),
        ("step: [2 nm, 3 nm]\nraster: [3, 4]", np.indices((3, 4)).reshape(2, -1) * np.array([[2e-9], [3e-9]])),
    ],
)
def test_a_map_completes_a_single_array(text, places, tmp_path, capsys):
    path = tmp_path / "scan.npy"
    np.save(path, RASTER)
    scan = formats.read(path)
    assert isinstance(scan.patterns, np.memmap) and np.array_equal(scan.patterns, foreign.COUNTS) and scan.x is None
    main(["inspect", str(path)])
    assert "step: '1 ?'" in capsys.readouterr().out
    (tmp_path / "scan.npy.map.yaml").write_text(f"{text}\nvoltage: 300 kV\ndetector_angle: 0.5 mrad\n")
    scan = formats.read(path)
    np.testing.assert_allclose(scan.y, places[0])
    np.testing.assert_allclose(scan.x, places[1])
    assert scan.voltage == 300e3 and scan.pixel == pytest.approx(1.9687e-12 / (N * 0.5e-3), rel=1e-4)
    main(["inspect", str(path)])
    assert "format     npy, completed by a map" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.npz")]) == 0
    assert np.array_equal(formats.load(tmp_path / "out.npz").counts(), foreign.COUNTS)


def test_signs_rows_and_pixels_of_positions(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, frames=np.sqrt(foreign.COUNTS), table=np.stack([foreign.TOP, -foreign.LEFT]))
    (tmp_path / "scan.npz.map.yaml").write_text(
        "patterns: {from: frames, axes: frame row column, kind: amplitude}\n"
        "x: {from: table, row: 1, unit: pixels, sign: -1}\ny: {from: table, row: 0, unit: pixels}\n"
    )
    scan = formats.read(path)
    assert scan.amplitude and not scan.metres
    assert np.array_equal(scan.x, foreign.LEFT) and np.array_equal(scan.y, foreign.TOP)


@pytest.mark.parametrize("told", ["0.25", "{from: level}"])
def test_a_map_tells_a_background(told, tmp_path, capsys):
    path = tmp_path / "scan.npz"
    np.savez(path, frames=foreign.COUNTS, x=foreign.LEFT, y=foreign.TOP, level=np.float32(0.25))
    (tmp_path / "scan.npz.map.yaml").write_text(
        "patterns: {from: frames, axes: frame row column}\n"
        f"x: {{from: x, unit: pixels}}\ny: {{from: y, unit: pixels}}\nbackground: {told}\n"
    )
    assert formats.read(path).background == 0.25
    data = formats.load(path)
    assert data.background == 0.25 and np.array_equal(data.counts(), foreign.COUNTS)
    main(["inspect", str(path)])
    assert "background 0.25 photons per detector pixel" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.npz")]) == 0
    assert formats.load(tmp_path / "out.npz").background == 0.25
    assert main(["convert", str(path), str(tmp_path / "out.ptyd")]) == 2
    assert "cannot hold background; name them after --drop" in capsys.readouterr().err


WRONG = [
    ("background: -1", "background is -1; expected a number > 0"),
    ("background: 1 photon", "background is '1 photon'; expected {from, unit}, or a number"),
    ("pattern: {from: scan/frames}", "'pattern' is no part of a map; expected some of patterns, x, y"),
    ("patterns: {from: scan/frames, order: C}", "patterns has 'order'; expected from, axes, kind"),
    ("patterns: {from: scan/images, axes: frame row column}", "there is no array scan/images; found scan/"),
    ("patterns: {from: scan/frames, axes: time row column}", "the axes of scan/frames are 'time row column'"),
    ("patterns: {from: scan/frames, axes: slow fast row column}", r"scan/frames is \(12, 64, 64\) uint16; expected"),
    ("patterns: {from: scan/frames, axes: frame row column, kind: counts}", "the kind of patterns is 'counts'"),
    ("x: {from: scan/motors/stage_x, unit: um}", "the map names one of x and y; expected both"),
    ("x: {from: scan/pixel_size}\ny: {from: scan/pixel_size}", r"y is scan/pixel_size, float64 \(\)"),
    ("x: {from: scan/motors/stage_x}\ny: {from: scan/motors/stage_y}", "y has the unit ''; expected a unit of length"),
    ("energy: 8.8", "energy is 8.8; expected {from, unit}, or a number and a unit of energy: J, eV, keV"),
    ("energy: 8.8 mm", "energy has the unit 'mm'; expected a unit of energy"),
    ("step: 1 ?", r"a raster \[3, 3\] has not 12 patterns"),
    ("step: 1 ?\nraster: [3, 4]", "step has the unit '?'; expected a unit of length: m, mm, um, nm, A, pm"),
    ("step: 1 nm\nraster: 80", "raster is 80; expected `raster: [slow, fast]`"),
    ("step: 1 nm\nraster:", "raster is None; expected `raster: [slow, fast]`"),
    ("step: 1 nm\nraster: [-3, -4]", "a raster [-3, -4] has not 12 patterns"),
    ("step: 1 nm\nraster: [yes, 12]", "a raster [True, 12] has not 12 patterns"),
    ("wavelength: 0 nm", "wavelength is 0 m; expected a finite number > 0"),
    ("wavelength: -1 nm", "wavelength is -1e-09 m; expected a finite number > 0"),
    *(
        (f"y: {{from: scan/table, unit: um, {word}: {value}}}\nx: {{from: scan/table, unit: um, column: 1}}", message)
        for word, value, message in (
            ("column", "2", "the column of y is 2; expected a whole number from 0 to 1, for scan/table is (12, 2)"),
            ("column", "", "the column of y is None; expected a whole number from 0 to 1"),
            ("column", "first", "the column of y is 'first'; expected a whole number from 0 to 1"),
            ("column", "yes", "the column of y is True; expected a whole number from 0 to 1"),
            ("row", "12", "the row of y is 12; expected a whole number from 0 to 11, for scan/table is (12, 2)"),
            ("row", "", "the row of y is None; expected a whole number from 0 to 11"),
        )
    ),
    ("[1, 2]", "holds list; expected a map of patterns"),
    ("x: {from: [", "is no YAML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_with_a_map_is_one_line(text, message, tmp_path):
    path = hdf5(tmp_path / "scan.h5")
    with h5py.File(path, "a") as file:
        file["scan/table"] = np.stack([foreign.X_M, foreign.Y_M], axis=1) * 1e6
    if "patterns" not in text:
        text = f"patterns: {{from: scan/frames, axes: frame row column}}\n{text}" if not text.startswith("[") else text
    (tmp_path / "scan.h5.map.yaml").write_text(text)
    with pytest.raises(DataError) as caught:
        formats.read(path)
    assert message.replace("\\", "") in str(caught.value)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "near"),
    [
        ({"entry/data/frames": 1, "entry/instrument/detector/distance": 1, "entry/data/x": 1}, "nexus"),
        ({"chunks/data": 1, "chunks/positions": 1, "psize": 1}, "ptyd"),
        ({"datacube/data": 1, "dim0": 1, "dim1": 1}, "emd"),
        ({"Xcoords": 1, "ycoord": 1, "probe_guess": 1}, "npz"),
    ],
)
def test_the_nearest_layouts_are_told(arrays, near, tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        for name in arrays:
            file[name] = np.ones(3)
    with pytest.raises(DataError, match=rf"of no kind known here; nearest are {near} \(lacks ") as caught:
        formats.read(path)
    told = str(caught.value)
    assert told.count("(lacks ") == 3 and "\n" not in told and told.startswith(f"{path}: an HDF5 file that holds ")


def test_what_is_no_file_of_arrays_gets_no_map(tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_text("of no kind known here")
    assert main(["inspect", str(path)]) == 1
    assert "a map to start from" not in capsys.readouterr().out


@pytest.fixture
def microscope(tmp_path):
    """A scan of electrons in the units of a detector, 12.5 for one, with noise below half of that; its true counts."""
    split = simulated.simulate_electrons(N, 64, 9, 1, voltage=80, semi_angle=25, defocus=20, step=1.0)["train"]
    counts = split.expose("1e3").counts()
    noise = np.random.default_rng(1).uniform(0, 0.4, counts.shape)
    np.savez(tmp_path / "scan.npz", frames=((counts + noise) * 12.5).astype(np.float32))
    told = {
        **{"patterns": {"from": "frames", "axes": "frame row column"}, "step": "1 A", "voltage": "80 kV"},
        **{"semi_angle": "25 mrad", "defocus": "20 nm", "detector_angle": f"{100 / N} mrad", "gain": 12.5},
    }
    return tmp_path / "scan.npz", told, counts, split


def write(path, told):
    path.with_name(f"{path.name}.map.yaml").write_text(yaml.safe_dump(told))


def test_a_gain_makes_counts_of_the_units_of_a_detector(microscope, capsys):
    path, told, counts, _ = microscope
    write(path, told)
    data = formats.load(path)
    assert np.array_equal(data.counts(), counts) and data.particle == "electrons" and data.voltage == 80e3
    main(["inspect", str(path)])
    out = capsys.readouterr().out
    assert "intensity, electron counts" in out and "gain       12.5 detector units for one of the electrons" in out
    assert "dose       electrons: " in out and f"sample     {counts.sum() / 64:.4g} electrons per A^2" in out
    write(path, {name: word for name, word in told.items() if name != "gain"})
    main(["inspect", str(path)])
    assert "of unknown scale" in capsys.readouterr().out
    with pytest.raises(DataError, match="or a map beside it with `gain`, the detector units for one of the electrons"):
        formats.load(path).counts()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain": 0}, "gain is 0; expected a number > 0"),
        ({"gain": "12 counts"}, "gain is '12 counts'; expected {from, unit}, or a number"),
        ({"voltage": 80}, "voltage is 80; expected {from, unit}, or a number and a unit of voltage: V, kV"),
        (
            {"patterns": {"from": "frames", "axes": "frame row column", "kind": "amplitude"}},
            "patterns that are intensity",
        ),
    ],
)
def test_a_gain_or_a_unit_that_cannot_be_is_one_line(changes, message, microscope):
    path, told, *_ = microscope
    write(path, told | changes)
    with pytest.raises(DataError) as caught:
        formats.read(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "word"), [("voltage", "80 V"), ("semi_angle", "25 rad")])
def test_kilovolts_told_as_volts_and_milliradians_as_radians_look_wrong(name, word, microscope, capsys):
    path, told, *_ = microscope
    write(path, told | {name: word})
    assert main(["inspect", str(path)]) == 1
    expected = "expected volts, found kilovolts?" if name == "voltage" else "expected radians, found milliradians?"
    assert expected in capsys.readouterr().out


def test_a_fit_begins_with_the_probe_of_semi_angle_and_defocus(microscope, capsys):
    path, told, counts, split = microscope
    write(path, told)
    found = formats.load(path).probeGuess
    assert np.sum(np.abs(found) ** 2) == pytest.approx(counts.sum() / 64, rel=1e-4)
    likeness = np.abs(np.vdot(found, split.probe)) / np.linalg.norm(found) / np.linalg.norm(split.probe)
    assert likeness > 0.999
    main(["inspect", str(path)])
    assert "missing: probe: a fit begins with that of the semi-angle and the defocus" in capsys.readouterr().out
    write(path, {name: word for name, word in told.items() if name != "defocus"})
    guessed = formats.load(path).probeGuess
    assert np.abs(np.vdot(guessed, split.probe)) / np.linalg.norm(guessed) / np.linalg.norm(split.probe) < 0.9
    main(["inspect", str(path)])
    assert "missing: probe: it can be estimated from the mean pattern" in capsys.readouterr().out


def test_a_raster_of_photons_is_no_scan_of_electrons(tmp_path):
    """The step of a raster says nothing of the particle where the energy of photons is known."""
    path = hdf5(tmp_path / "scan.h5")
    told = {"patterns": {"from": "scan/frames", "axes": "frame row column"}, "step": "1 um", "raster": [3, 4]}
    told |= {"energy": "8.8 keV", "distance": "2 m", "detector_pixel": "75 um"}
    path.with_name("scan.h5.map.yaml").write_text(yaml.safe_dump(told))
    scan = formats.read(path)
    assert scan.particle == "photons" and scan.rawdata().particle == "photons"


def test_what_a_map_says_of_the_particle_comes_before_the_file(tmp_path):
    path = hdf5(tmp_path / "scan.h5")
    known = Scan(energy=200 * foreign.EV * 1e3, patterns=foreign.COUNTS)
    electrons = mapped.read(path, {"voltage": "200 kV"}, known)
    assert electrons.wavelength == pytest.approx(2.508e-12, rel=1e-3) and electrons.particle == "electrons"
    for told in ({"energy": "8.8 keV"}, {"wavelength": "1.409 A"}):
        photons = mapped.read(path, told, replace(electrons, detector_angle=5e-4))
        assert photons.wavelength == pytest.approx(1.409e-10, rel=1e-3) and photons.particle == "photons"
