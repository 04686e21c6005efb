"""Files of every lab with random bytes changed: each is read, or refused in a line, within seconds and a gigabyte."""

import subprocess
import sys
from pathlib import Path

import pytest
import test_electrons as electrons
import test_maps as maps
import test_nexus as nexus
import test_ptychoshelves as ptychoshelves

HOSTILE = Path(__file__).parents[1] / "hostile.py"
FILES = {
    "nexus": lambda folder: nexus.nxcxi_ptycho(folder / "scan.cxi"),
    "mapping": lambda folder: nexus.diamond_mapping(folder / "scan.nxs"),
    "5": lambda folder: ptychoshelves.version_5(folder / "scan.mat", ptychoshelves.CONTENT),
    "7.3": lambda folder: ptychoshelves.version_7_3(folder / "scan.mat", ptychoshelves.CONTENT),
    "unknown": lambda folder: maps.hdf5(folder / "scan.h5"),
    "unknown, MATLAB": lambda folder: maps.mat(folder / "scan.mat"),
    "hspy": electrons.hspy,
    "emd": electrons.ncem,
    "py4DSTEM": electrons.py4dstem,
    "arina": electrons.arina,
    "mib": electrons.mib,
    "empad": electrons.empad,
}


@pytest.mark.parametrize("tries", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_file_with_random_bytes_changed_is_read_or_refused(tries, tmp_path):
    files = []
    for name, make in FILES.items():
        (tmp_path / name).mkdir()
        files.append(make(tmp_path / name))
    command = [sys.executable, str(HOSTILE), "--flip", str(tries), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HOSTILE.parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == tries * len(files)
