"""Stand-in notebooks: those of a study, with its parameters and files, in a second instead of minutes.

A cell can be made to go wrong with the environment variable ``FAIL``: "<arm or notebook> <stage> <how>".
"""

import atexit
import compileall
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import nbformat
import pytest

from ptycho.errors import DataError
from ptycho.files import user_cache
from ptycho.scans import star
from ptycho.study.layout import Stage

ROOT = Path(__file__).resolve().parents[1]

FAIL = """
import os, signal, sys, time
def perhaps(who, stage):
    where, when, *how = os.environ.get("FAIL", "- -").split(" ", 2)
    if (where, when) == (who, stage):
        exec(how[0])
"""

SIMULATE = {
    "parameters": 'out = "."\nN = 64\nn_train = 1\nn_test = 1\ndoses = []\nseed = 1\nscan = None\n'
    'object_kind = "lines"\nobject_size = None\nphase = 0.0\nillumination = "disk"\nmicroscope = None\n'
    'orientation = "auto"\nprobe_modes = 1\npositions = "given"\nnormalise = "auto"\nflaw = "none"',
    "# The scans": "markdown",
    "stage:simulation": """
from pathlib import Path
print("to stdout"); print("to stderr", file=sys.stderr); os.write(2, b"to descriptor 2\\n")
perhaps("simulate", "simulation")
Path(out, "data").mkdir(exist_ok=True)
for dose in doses:
    stem = {"1e9": "high", "1e4": "low"}.get(dose, dose)
    for split in ("train", "test"):
        path = Path(out, "data", f"{stem}_{split}.npz")
        content = f"{dose} {split} {seed}"
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
if scan is not None:
    Path(out, "data", "measured.npz").write_text(scan)
    Path(out, "data", "trust.json").write_text('{"doubts": [], "told": ["misfit 0.001"], "finest": 1.0}')
""",
}

RESOLUTION = {
    "parameters": 'out = "."\ndoses = []\nseed = 1\nscan = ""\nresolution = None\nmaterial = None\ndamage = None',
    "# The resolution": "markdown",
    "stage:inference": """
from pathlib import Path
from ptycho import files
perhaps("resolution", "inference")
Path(out, "data", "measured.npz").read_text()
for name in ("resolution.png", "resolution.pdf", "resolution.csv"): Path(out, name).write_text("stand-in")
files.write_json(Path(out, "resolution.json"), {"recommendation": [f"so many photons for {resolution}"]})
""",
}

TRAIN = {
    "parameters": 'out = ".."\narm = ""\ndose = ""\nloss = ""\nnepochs = 1\ngridsize = 2\n'
    'architecture = "unrolled"\nlearning_rates = {}\nmethods = []\nseed = 1\nprobe = "fixed"\ntarget = "same"',
    "# One arm\n\nwords": "markdown",
    "stage:training": """
from pathlib import Path
import warnings
from ptycho import files
from ptycho.study.provenance import provenance
from ptycho.study.status import write_progress
folder = Path(out, arm)
print("threads", os.environ["TF_NUM_INTRAOP_THREADS"], "in the arm's folder:", Path.cwd().name == arm)
with open(folder / "ran", "a") as file: file.write("once\\n")
for epoch in range(nepochs):
    write_progress(folder, stage="training", epoch=epoch + 1, nepochs=nepochs, seconds_per_epoch=0.1, loss=1.0)
perhaps(arm, "training")
if architecture in methods:
    rows = "".join(f"{e + 1},{1 / (e + 1)}\\n" for e in range(nepochs))
    (folder / "history.csv").write_text("epoch,loss\\n" + rows)
    (folder / "model.keras").write_text("stand-in")
""",
    "## Reconstruction": "markdown",
    "stage:inference": """
perhaps(arm, "inference")
(folder / "reconstruction.npz").write_text("stand-in")
""",
    "## Figures": "markdown",
    "stage:visualisation": """
perhaps(arm, "visualisation")
frc50 = 0.5 + 0.01 * seed - 0.1 * (loss == "mae")
split = dict(amplitude_frc50=frc50, phase_frc50=None, amplitude_psnr_db=30.0, amplitude_ssim=0.9, amplitude_pearson=0.9,
             phase_pearson=None, relative_mse=0.1, photon_bound=0.01, deviance=1.0)
network = architecture in methods
parts = dict(train=split if network else None, heldout=split if network else None,
             direct=split if "direct" in methods else None)
curve = dict(frequency=[k / 20 for k in range(1, 21)], complex=[1 - k / 20 for k in range(20)], phase=None,
             amplitude=[1 - k / 20 for k in range(20)])
provenance(folder, {"arm": arm, "seed": seed, "learning_rates": {"direct": 0.05}})
files.write_json(folder / "frc.json", dict(contrast="amplitude", parts={k: curve for k, v in parts.items() if v}))
files.write_json(folder / "metrics.json", dict(
    name=arm, nphotons=1e5 if dose == "full" else float(dose), loss=loss, seed=seed,
    architecture=architecture if network else None, status="ok",
    train_seconds=1.0 if network else None, patterns_per_second=1.0 if network else None, **parts))
""",
}

DOSE_RESPONSE = {
    "parameters": 'evidence = "."\nout = "."\ndoses = []\nlosses = []\nseeds = []\nmethods = []\nnepochs = 1',
    "# The dose-response": "markdown",
    "stage:visualisation": """
from pathlib import Path
from PIL import Image
from ptycho import files
entries = files.read_json(Path(out, "arms.json"))["arms"]
print({entry["name"]: entry["status"] for entry in entries})
for stem in ("dose_response", "error_response", "frc_response"):
    Image.effect_noise((64, 48), 40).save(Path(out, f"{stem}.png"))
    Path(out, f"{stem}.pdf").write_text("stand-in")
    names = "method,split,loss,nphotons,frc50,frc50_low,frc50_high,relative_mse,relative_mse_low,relative_mse_high"
    rows = [f"direct,train,{loss},{float(dose)},0.5,0.4,0.6,0.1,," for dose in doses for loss in losses]
    Path(out, f"{stem}.csv").write_text("\\n".join([names, *rows]))
for name in ("arms.csv", "dose_response.json", "verdict.txt"): Path(out, name).write_text("stand-in")
""",
}

BOUNDS = """
from ptycho import files
def write(out):
    bounds = {split: {"at_one_photon": least, "rings": {}} for split, least in (("train", 50.0), ("heldout", 90.0))}
    files.write_json(out / "bound.json", bounds)
"""

COMPARE = {
    "parameters": 'out = "."\ndoses = []\nlosses = []\nnepochs = 1\nmeasured = False',
    "# The arms compared, $A$": "markdown",
    "stage:visualisation": """
from pathlib import Path
from PIL import Image
from ptycho import files
from ptycho.study.arms import collect
from ptycho.study.config import arms
perhaps("compare", "visualisation")
metrics = collect(out, [arm.name for arm in arms(doses, losses)], measured)
image = Image.effect_noise((64, 48), 40)
image.save(Path(out, "dose_comparison.png")); image.save(Path(out, "dose_comparison.pdf"))
Path(out, "dose_comparison.csv").write_text(
    "panel,peak\\n" + "".join(f"{d} {c},1.5\\n" for d in doses for c in ("pattern", *losses)))
print("a verdict", *metrics.get("resolution", {}).get("recommendation", []))
files.write_json(Path(out, "metrics.json"), metrics)
""",
}

REPORT = """
from pathlib import Path
from ptycho.files import write_text
from ptycho.run.crate import record
from ptycho.run.verdict import write_verdict
from ptycho.study import layout

def write(out):
    first = Path(out) / layout.INDEX
    first.parent.mkdir(exist_ok=True)
    write_text(first, write_verdict(out))
    record.write(out)
    return first
"""
"""A page instead of a site, which takes Sphinx seconds."""


def notebook(cells: dict[str, str], path: Path) -> Path:
    """Write a notebook: of each item, the key is the tag and the value the code, or the key is Markdown."""
    made = nbformat.v4.new_notebook()
    made.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for key, value in cells.items():
        if value == "markdown":
            made.cells.append(nbformat.v4.new_markdown_cell(key))
        else:
            made.cells.append(nbformat.v4.new_code_cell(value.strip(), metadata={"tags": [key]}))
            if key == "parameters":
                made.cells.append(nbformat.v4.new_code_cell(FAIL.strip()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


@cache
def _template() -> Path:
    """The copy that every checkout is one of, with its bytecode: what runs in them need not compile it again."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "ptycho", folder / "ptycho", ignore=shutil.ignore_patterns("__pycache__"))
    stand_ins = {
        **{"simulate": SIMULATE, "resolution": RESOLUTION, "train-arm": TRAIN},
        **{"compare": COMPARE, "dose-response": DOSE_RESPONSE},
    }
    for name, cells in stand_ins.items():
        notebook(cells, folder / "notebooks" / f"{name}.ipynb")
    shutil.copy2(ROOT / "notebooks" / "learning-rates.ipynb", folder / "notebooks")
    (folder / "ptycho" / "study" / "bounds.py").write_text(BOUNDS)
    (folder / "ptycho" / "site" / "report.py").write_text(REPORT)
    compileall.compile_dir(folder / "ptycho", quiet=1)
    return folder


def checkout(folder: Path) -> Path:
    """Make a copy of the project in `folder` whose notebooks and report are stand-ins."""
    return Path(shutil.copytree(_template(), folder))


def clone(folder: Path) -> Path:
    """What is committed, in a folder of its own; the test is skipped where there is no git checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", folder], check=True)
    return folder


def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def with_site(root: Path) -> None:
    """Let the copy of the project in `root` make its report as a site, as the project does."""
    shutil.copy2(ROOT / "ptycho" / "site" / "report.py", root / "ptycho" / "site" / "report.py")


def environment(**more: str) -> dict[str, str]:
    """The environment variables under which a user has this Python's environment active."""
    hidden = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "PYTHONUNBUFFERED")
    ours = {k: v for k, v in os.environ.items() if k not in hidden}
    return {**ours, "VIRTUAL_ENV": sys.prefix, "PYTHONDONTWRITEBYTECODE": "1", **more}


def entry(name: str = "high_nll", **changes) -> dict:
    """An arm's metrics by the schema."""
    split = dict.fromkeys(
        ("amplitude_psnr_db", "amplitude_ssim", "amplitude_pearson", "relative_mse", "photon_bound", "deviance"), 0.5
    )
    split |= {"amplitude_frc50": 0.9, "phase_frc50": None, "phase_pearson": None}
    made = {
        "name": name,
        "nphotons": 1e9 if name.startswith("high") else 1e4,
        "loss": name.split("_")[1],
        "seed": 1,
        "architecture": "unrolled",
        "status": "ok",
        "train_seconds": 1.5,
        "patterns_per_second": 100.0,
        "train": dict(split),
        "heldout": dict(split),
        "direct": dict(split),
    }
    return json.loads(json.dumps({**made, **changes}))


def leave(out: Path, stages: Iterable[Stage]) -> None:
    """Leave what `stages` of the study or sweep in `out` leave, but for what is there: empty files."""
    for stage in stages:
        for name in (*stage.outputs, stage.rendered):
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text("{}")


def gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether the process `pid` ends within `seconds`."""
    until = time.time() + seconds
    while time.time() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def the_star() -> Path:
    """The measured scan: from the user's cache folder, or fetched through pip; without either the test is skipped."""
    try:
        return star.fetch(user_cache())
    except DataError as error:
        pytest.skip(str(error))
