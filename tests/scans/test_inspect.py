"""`inspect` says what a file holds, and names the fault planted in each of many broken ones."""

import os
import subprocess
import sys
from pathlib import Path

import foreign
import h5py
import numpy as np
import pytest
from PIL import Image
from standins import ROOT, the_star

from ptycho.__main__ import main
from ptycho.config import STAR
from ptycho.scans import inspect, simulated

M, N = foreign.M, foreign.N


def contract(**changes):
    arrays = {
        "counts": foreign.COUNTS,
        "xcoords": foreign.LEFT + N // 2.0,
        "ycoords": foreign.TOP + N // 2.0,
        "probeGuess": foreign.PROBE,
        "objectGuess": foreign.OBJECT,
        "pixel_size": foreign.PIXEL,
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def lit(counts=foreign.COUNTS):
    """A copy that may be broken, brighter where the pattern is faint so that a dark pixel is remarkable."""
    r = np.hypot(*(np.mgrid[:N, :N] - N // 2))
    return counts.astype(np.int64) + np.random.default_rng(0).poisson(100 * np.exp(-r / 15), counts.shape)


def with_pixels(value, *index):
    counts = lit()
    counts[(slice(None), *index)] = value
    return counts


def beam_stop():
    counts = foreign.COUNTS.copy()
    counts[:, N // 2 - 2 : N // 2 + 3, N // 2 - 2 : N // 2 + 3] = 0
    return counts


def changed(index, value, dtype=float):
    values = foreign.COUNTS.astype(dtype)
    values[index] = value
    return values


nan_x = contract()["xcoords"].copy()
nan_x[3] = np.nan
root = np.sqrt(foreign.COUNTS.astype(float)).astype(np.float32)
small = foreign.OBJECT[:, :128]
FAULTS = {
    "no patterns": ({"counts": None}, "patterns: missing"),
    "no positions": ({"xcoords": None, "ycoords": None}, "positions: missing"),
    "one position too few": ({"xcoords": np.ones(M - 1)}, "positions: 11 values of x for 12 patterns"),
    "NaN in the patterns": (
        {"counts": None, "diff3d": np.where(foreign.COUNTS == 3, np.nan, root)},
        "values are NaN or infinite",
    ),
    "negative counts": ({"counts": changed((2, 3, 4), -7, np.int64)}, "patterns: negative intensity, as low as -7"),
    "two scans": (
        {"scan_index": np.arange(M) // 7},
        "scan_index: 2 scans in one file (patterns: 7 of scan 0, 5 of scan 1); expected one scan per file",
    ),
    "NaN in a position": ({"xcoords": nan_x}, "positions: 1 of 12 are NaN"),
    "all positions equal": ({"xcoords": np.full(M, 70.0), "ycoords": np.full(M, 70.0)}, "positions: all equal"),
    "positions in metres": (
        {"xcoords": foreign.X_M, "ycoords": foreign.Y_M},
        "pixels; expected pixels, found metres?",
    ),
    "x and y swapped, on the object": (
        {"xcoords": foreign.TOP + N // 2.0, "ycoords": np.minimum(foreign.LEFT + N // 2.0, foreign.H - 1)},
        "explain the patterns better with x and y swapped",
    ),
    "x and y swapped, off the object": (
        {
            "objectGuess": np.pad(foreign.OBJECT, ((0, 0), (0, 90))),
            "xcoords": foreign.TOP + 30.0,
            "ycoords": foreign.LEFT + N // 2.0 + 80,
        },
        "lie outside the object of shape (130, 251); with x and y swapped they would be inside",
    ),
    "the sign of x flipped, on the object": (
        {"xcoords": foreign.W - foreign.LEFT - N // 2.0},
        "explain the patterns better with the sign of x flipped",
    ),
    "the sign of y flipped, off the object": (
        {"ycoords": -foreign.TOP - N // 2.0},
        "lie outside the object of shape (130, 161); with the sign of y flipped they would be inside",
    ),
    "fft-shifted": ({"counts": np.fft.ifftshift(foreign.COUNTS, axes=(1, 2))}, "at the corners: fft-shifted"),
    "off centre": ({"counts": np.roll(foreign.COUNTS, 12, axis=2)}, "patterns: centred on"),
    "amplitude given as counts": ({"counts": root}, "amplitude given as intensity"),
    "counts given as amplitude": (
        {"counts": None, "diff3d": foreign.COUNTS.astype(np.float32)},
        "counts given as amplitude",
    ),
    "hot pixel": ({"counts": with_pixels(60000, 9, 50)}, "pixels: 1 hot, the first at (y, x) = (9, 50)"),
    "dead pixel": (
        {"counts": with_pixels(0, 20, 21)},
        "pixels: 1 dead ones amid light, the first at (y, x) = (20, 21)",
    ),
    "dead column": ({"counts": with_pixels(0, slice(None), 40)}, "pixels: 64 dead ones amid light, as in column 40"),
    "blank frames": ({"counts": changed(slice(5, 8), 0, np.int64)}, "patterns: 3 of 12 are blank, without light"),
    "stuck detector": ({"counts": np.repeat(foreign.COUNTS[:1], M, 0)}, "the detector was stuck"),
    "beam-stop": ({"counts": beam_stop()}, "pixels: the centre is blank, 25 pixels: a beam-stop"),
    "not square, and one object pixel": (
        {"counts": foreign.COUNTS[:, :, 8:], "probeGuess": None},
        "object pixel: 2e-08 m along both axes; the object pixels of 64 x 56 patterns are not square",
    ),
    "too few pixels": (
        {"counts": foreign.COUNTS[:, 20:44, 20:44], "probeGuess": None},
        "patterns: 24 x 24 pixels; expected 32 or more along each side",
    ),
    "another N": (
        {"counts": np.pad(foreign.COUNTS, ((0, 0), (10, 10), (10, 10))), "probeGuess": None},
        "size: 84 x 84 pixels, cropped to 80 x 80, which keeps all counts; a study mends it",
    ),
    "probe of another size": ({"probeGuess": foreign.PROBE[8:-8, 8:-8]}, "probe: (48, 48) pixels for patterns of"),
    "mask of another size": ({"mask": np.ones((9, 9), bool)}, "mask: (9, 9) pixels for patterns of (64, 64)"),
    "too little overlap": (
        {"objectGuess": None, "xcoords": contract()["xcoords"] * 4, "ycoords": contract()["ycoords"] * 4},
        "of the probe's diameter; expected 50% or more",
    ),
    "two kinds of patterns": ({"diff3d": root}, "found diff3d and counts; expected one"),
    "pickled patterns": ({"counts": np.array([None] * M)}, "counts holds pickled Python objects"),
}


def found(capsys, path):
    status = main(["inspect", str(path)])
    text = capsys.readouterr().out
    wrong = [line.removeprefix("looks wrong: ") for line in text.splitlines() if line.startswith("looks wrong: ")]
    assert status == (1 if wrong else 0)
    return wrong, text


@pytest.mark.parametrize("fault", FAULTS)
def test_the_planted_fault_is_named_and_no_other(fault, tmp_path, capsys):
    changes, message = FAULTS[fault]
    path = tmp_path / "scan.npz"
    np.savez(path, **contract(**changes))
    wrong, _ = found(capsys, path)
    assert len(wrong) == 1 and message in wrong[0]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("source_1/energy", foreign.ENERGY / foreign.EV / 1e3, "expected joules, found keV?"),
        ("source_1/energy", foreign.ENERGY / foreign.EV, "expected joules, found eV?"),
        ("detector_1/distance", 2000.0, "expected metres, found millimetres?"),
        ("detector_1/x_pixel_size", 75.0, "expected metres, found micrometres"),
    ],
)
def test_units_that_cannot_be_are_named(key, value, message, tmp_path, capsys):
    path = foreign.cxi(tmp_path / "scan.cxi")
    with h5py.File(path, "r+") as file:
        file[f"entry_1/instrument_1/{key}"][...] = value
        if "pixel" in key:
            file[f"entry_1/instrument_1/{key.replace('x_', 'y_')}"][...] = value
    wrong, _ = found(capsys, path)
    assert any(message in line for line in wrong)


def test_positions_in_pixels_where_metres_belong_are_named(tmp_path, capsys):
    path = foreign.cxi(tmp_path / "scan.cxi")
    with h5py.File(path, "r+") as file:
        file["entry_1/sample_1/geometry_1/translation"][:, :2] /= foreign.PIXEL
    wrong, _ = found(capsys, path)
    assert len(wrong) == 1 and "expected metres, found pixels" in wrong[0]


def test_unreadable_files_are_named_too(tmp_path, capsys):
    whole = foreign.cxi(tmp_path / "scan.cxi").read_bytes()
    (tmp_path / "scan.cxi").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("not a scan")
    assert "damaged or truncated" in found(capsys, tmp_path / "scan.cxi")[0][0]
    assert "of no kind known here" in found(capsys, tmp_path / "notes.txt")[0][0]
    assert "cannot be read" in found(capsys, tmp_path / "nothing.h5")[0][0]
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "scan.cxi"]


@pytest.mark.parametrize("name", foreign.FILES)
def test_nothing_is_wrong_with_good_files_and_all_is_told(name, tmp_path, capsys):
    make, filename = foreign.FILES[name]
    path = make(tmp_path / filename)
    png = tmp_path / "picture.png"
    assert main(["inspect", str(path), "--png", str(png)]) == 0
    text = capsys.readouterr().out
    assert "nothing looks wrong" in text and f"format     {name.split(',')[0]}\n" in text
    assert f"({M}, {N}, {N})" in text and "photon counts" in text
    counts = foreign.COUNTS if name == "ptychovit" else foreign.COUNTS[:, ~foreign.BAD]  # which knows no mask
    assert f"{counts.sum() / M:.4g} per pattern, {counts.mean():.4g} per detector pixel" in text
    assert "pixels of 2e-08 m" in text
    if name != "ptyd":  # which knows no probe
        assert "overlap    59%" in text
    with Image.open(png) as image:
        low, high = image.convert("L").getextrema()
    assert low < 50 < 200 < high and image.width > 900


def test_a_masked_fault_is_none(tmp_path, capsys):
    mask = np.ones((N, N), bool)
    mask[9, 50] = mask[:, 40] = False
    counts = with_pixels(0, slice(None), 40)
    counts[:, 9, 50] = 60000
    np.savez(tmp_path / "scan.npz", **contract(counts=counts, mask=mask))
    assert found(capsys, tmp_path / "scan.npz")[0] == []


@pytest.mark.parametrize("dose", ["1e9", "1e4"])
def test_nothing_is_wrong_with_a_simulated_scan_at_any_dose(dose, tmp_path, capsys):
    scan = simulated.simulate(64, 100, 8, seed=1)["train"].expose(dose)
    scan.save(tmp_path / "scan.npz")
    wrong, text = found(capsys, tmp_path / "scan.npz")
    assert wrong == [] and f"{float(scan.counts().sum()) / len(scan):.4g} per pattern" in text


def test_the_picture_goes_where_it_is_asked_to_or_says_why_not(tmp_path, capsys):
    path = foreign.contract(tmp_path / "scan.npz")
    main(["inspect", str(path)])
    assert sorted(os.listdir(tmp_path)) == ["scan.npz", "scan.npz.inspect.png"]
    capsys.readouterr()
    assert main(["inspect", str(path), "--png", str(tmp_path / "no" / "x.png")]) == 2
    assert "cannot be written (No such file or directory); name another with --png" in capsys.readouterr().err


def test_beside_data_that_nobody_may_write_to_the_picture_goes_into_this_folder(tmp_path, monkeypatch, capsys):
    path = foreign.contract(tmp_path / "scan.npz")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    may = os.access  # not by the folder's mode, which binds no root
    monkeypatch.setattr(os, "access", lambda at, mode: Path(at) != tmp_path and may(at, mode))
    assert main(["inspect", str(path)]) == 0
    assert os.listdir() == ["scan.npz.inspect.png"] and "picture: scan.npz.inspect.png" in capsys.readouterr().out


def test_the_measured_star_is_known_by_its_name(tmp_path, monkeypatch, capsys):
    the_star()
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", STAR]) == 0
    told = capsys.readouterr().out
    assert "photons: 4.612e+05 per pattern" in told and "nothing looks wrong" in told
    assert os.listdir() == ["siemens-star.inspect.png"]


def test_an_answer_does_not_wait_for_libraries_that_it_does_not_need(tmp_path):
    path = foreign.contract(tmp_path / "scan.npz")
    unneeded = {"tensorflow", "skimage", "scipy.stats", "scipy.optimize", "IPython", "hdf5plugin", "xraydb", "rocrate"}
    code = "import sys; from ptycho.__main__ import main; main(['inspect', sys.argv[1]])"
    code += f"; print({unneeded} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(".inspect.png\nset()\n") and done.stderr == ""


def test_positions_are_drawn_in_characters_with_y_downwards():
    x, y = np.array([0.0, 9, 9, 9, 9, 9, 9]), np.array([0.0, 9, 9, 9, 9, 9, 9])
    rows = inspect.scatter(x, y).splitlines()
    assert len(rows) == inspect.ROWS
    assert rows[0] == "  |." and rows[-1] == "  |" + " " * (inspect.COLUMNS - 1) + "#"
    assert inspect.scatter(np.array([np.nan]), np.array([1.0])) == ""
