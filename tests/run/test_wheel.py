"""The wheel: installed alone into an environment of its own, the command does a study anywhere."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from standins import ROOT

from ptycho.study import layout

SMALL = ("NEPOCHS=1", "DOSES=1e9", "LOSSES=nll", "N_TRAIN=60", "N_TEST=30")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what is needed, so that nothing is left in the checkout."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("ptycho", "notebooks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(dist)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = dist.glob("ptycho-*.whl")
    return built


def test_the_wheel_has_every_module_and_notebook(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ptycho").rglob("*.py")}
    notebooks = {f"ptycho/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert modules | notebooks == {name for name in held if name.endswith((".py", ".ipynb"))}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_installed_command_runs_a_study_in_an_empty_folder(wheel, tmp_path):
    """With the packages of this environment, found by their folder alone: of the project there is only the wheel."""
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([home / "bin" / "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}

    def ptycho(*words: str) -> subprocess.CompletedProcess[str]:
        command = [home / "bin" / "ptycho", *words]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)

    where = ptycho("variables").stdout
    assert "NEPOCHS" in where
    done = ptycho("study", *SMALL)
    assert done.returncode == 0 and "\nVERIFIED\n" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    out = empty / "reports" / "dose-study"
    arm = json.loads((out / "high_nll" / layout.METRICS).read_text())
    assert arm["status"] == "ok" and (out / layout.INDEX).is_file()
    assert str(site) in (out / layout.RULES).read_text() and str(ROOT) not in (out / layout.RULES).read_text()
    assert "simulate       done" in ptycho("status").stdout
    assert [path.name for path in empty.iterdir()] == ["reports"]
    assert Path(out).exists() and ptycho("clean").returncode == 0 and not out.exists()
