"""Files that mean harm, or were damaged: each ends in a line, within seconds and a gigabyte."""

import subprocess
import sys
import zipfile
from pathlib import Path

import foreign
import h5py
import numpy as np
import pytest

HOSTILE = Path(__file__).with_name("hostile.py")
DATA = "entry_1/instrument_1/detector_1/data"


def read(*words):
    """The lines that a process of its own says of the files; it must end well."""
    command = [sys.executable, str(HOSTILE), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HOSTILE.parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def zip_bomb(path):
    """A gigabyte of zeros in a megabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("counts.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**15, 64, 64)})
        for _ in range(2**10):
            member.write(bytes(2**20))


def huge_header(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("counts.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 64, 64)})


def with_data(write):
    def make(path):
        with h5py.File(foreign.cxi(path), "r+") as file:
            del file[DATA]
            write(file)

    return make


def huge(file):
    file.create_dataset(DATA, (2**40, 64, 64), "u2", chunks=(1, 64, 64))


def huge_frames(file):
    file.create_dataset(DATA, (4, 2**40, 2**10), "u2", chunks=(1, 64, 64))


def huge_positions(path):
    with h5py.File(foreign.cxi(path), "r+") as file:
        del file["entry_1/sample_1/geometry_1/translation"]
        file.create_dataset("entry_1/sample_1/geometry_1/translation", (2**40, 3), "f8", chunks=(64, 3))


def huge_virtual(file):
    layout = h5py.VirtualLayout((2**40, 64, 64), "u2")
    layout[:12] = h5py.VirtualSource(".", "entry_1/small", (12, 64, 64))
    file["entry_1/small"] = foreign.COUNTS
    file.create_virtual_dataset(DATA, layout)


def loop(file):
    file[DATA] = h5py.SoftLink(f"/{DATA}")


def circle(path):
    def to_itself(file):
        file[DATA] = h5py.ExternalLink(path.name, DATA)

    with_data(to_itself)(path)


def far(file):
    file[DATA] = h5py.ExternalLink("/etc/passwd", "/data")


def gone(file):
    file[DATA] = h5py.ExternalLink("gone.h5", "/data")


def many_keys(path):
    with h5py.File(path, "w") as file:
        for k in range(10_000):
            file[f"key{k}"] = k


def many_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        for k in range(10_000):
            archive.writestr(f"key{k}.npy", b"")


FILES = {
    "a zip bomb": ("bomb.npz", zip_bomb, "declares 1.07e+09 bytes in"),
    "an array of 2^40 patterns": ("huge.npz", huge_header, "counts is damaged or truncated"),
    "2^40 patterns": ("huge.cxi", with_data(huge), "of which the file holds next to none"),
    "patterns of 2^40 rows": ("frames.cxi", with_data(huge_frames), "of which the file holds next to none"),
    "2^40 positions": ("positions.cxi", huge_positions, "of which the file holds next to none"),
    "2^40 virtual patterns": ("virtual.cxi", with_data(huge_virtual), "damaged or truncated (Unable to allocate"),
    "a link to itself": ("loop.cxi", with_data(loop), "links in it lead in a circle"),
    "an external link to itself": ("circle.cxi", circle, "links in it lead in a circle"),
    "an external link to no HDF5 file": (
        "far.cxi",
        with_data(far),
        "a file that it links to, is damaged or no HDF5 file",
    ),
    "an external link to nothing": ("gone.cxi", with_data(gone), "a link in it leads to a file that is not there"),
    "10 000 datasets": ("keys.h5", many_keys, "of no kind known here"),
    "10 000 arrays": ("keys.npz", many_arrays, "of no kind known here"),
}


def test_hostile_files_end_in_a_line_each(tmp_path):
    for name, make, _ in FILES.values():
        make(tmp_path / name)
    said = read(*(tmp_path / name for name, _, _ in FILES.values()))
    for (kind, (name, _, message)), line in zip(FILES.items(), said, strict=True):
        assert message in line and str(tmp_path / name) in line, (kind, line)


@pytest.mark.parametrize("tries", [9, pytest.param(84, marks=pytest.mark.slow)])
def test_a_file_with_random_bytes_changed_is_read_or_refused(tries, tmp_path):
    files = []
    for k, (make, filename) in enumerate(foreign.FILES.values()):
        (tmp_path / str(k)).mkdir()
        files.append(make(tmp_path / str(k) / filename))
    assert len(read("--flip", tries, *files)) == tries * len(files)
