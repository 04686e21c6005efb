"""The environment of a notebook's process, and whether it has the packages that the project needs.

Standard library only, for it runs before they are installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from ptycho.cores import THREADS, processor, usable_cores
from ptycho.files import ROOT, user_cache


def requirements(pyproject: Path = ROOT / "pyproject.toml") -> dict[str, str]:
    """Return {distribution: least version} of `pyproject`, development tools included.

    Read with a regular expression because Python 3.10 has no TOML reader; a test compares it with one.
    """
    return dict(re.findall(r'(?m)^\s+"([A-Za-z0-9._-]+)>=([0-9.]+)",', pyproject.read_text(encoding="utf-8")))


def first_missing(needed: dict[str, str]) -> str | None:
    """Return, in words, the first of `needed` ({distribution: least version}) that is absent or too old, or None."""
    for name, least in needed.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"{name} is not installed"
        have, need = ([int(part) for part in re.findall(r"\d+", version)[:3]] for version in (found, least))
        if have < need:
            return f"{name} is {found}, {least} or later is needed"
    return None


def python_path() -> str:
    """The PYTHONPATH of a child process: this package, and of the user's folders those with installed packages."""
    folders = map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    return os.pathsep.join([str(ROOT), *(folder for folder in folders if any(Path(folder).glob("*.dist-info")))])


SETTINGS = re.compile("PYTHON|KERAS_|IPYTHON|JUPYTER_|MPL|MATPLOTLIB|(FORCE_|NO_|CLI)COLOR")
"""How the names begin of a user's settings that could change what a study computes, draws or says."""
HARMLESS = {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONNOUSERSITE", "PYTHONUSERBASE"}
"""Those that say where things lie."""


def of_children() -> dict[str, str]:
    """The environment of every process that a study starts: the user's without its settings, and this package.

    No module in the folder of the command takes the place of another, text is UTF-8, and there is a home.
    """
    kept = {name: value for name, value in os.environ.items() if name in HARMLESS or not SETTINGS.match(name)}
    home = os.path.expanduser("~")
    return {
        **kept,
        "HOME": home if home != "~" else tempfile.gettempdir(),
        "PTYCHO_CACHE": str(user_cache().absolute()),
        "PYTHONPATH": python_path(),
        "PYTHONSAFEPATH": "1",
        "PYTHONUTF8": "1",
        # what is installed with this Python comes before what lies in the user's home: kernels, templates
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def of_kernel(jobs: int, scratch: str) -> dict[str, str]:
    """The environment of a process that computes beside ``jobs - 1`` others: its cores, its caches, its settings.

    The settings of IPython, Jupyter and Keras are sought in the folder `scratch`, where there are none.
    """
    jupyter = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    return {
        **of_children(),
        **dict.fromkeys(THREADS, str(max(1, usable_cores() // jobs))),
        **dict.fromkeys(("IPYTHONDIR", "KERAS_HOME", *jupyter), scratch),
        "KERAS_BACKEND": "tensorflow",
        "MPLCONFIGDIR": str(cache_folder("matplotlib") or scratch),
        "TF_XLA_FLAGS": xla_flags(),
        # what TensorFlow's C++ has to say raises in Python too; it calls every use of the cache an error besides
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        # else the first of several arms at a time takes all of a GPU's memory
        "TF_FORCE_GPU_ALLOW_GROWTH": os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "true"),
    }


def xla_flags() -> str:
    """The user's flags of XLA, and where it keeps what it compiled."""
    folder = compilation_cache()
    cache = f"--tf_xla_persistent_cache_directory={folder}" if folder else ""
    return " ".join(filter(None, (os.environ.get("TF_XLA_FLAGS"), cache)))


def compilation_cache() -> Path | None:
    """The folder of what XLA compiled before, for this very kind of processor and version: the next arm need not."""
    kind = f"{platform.machine()} {processor('flags', 'Features')} {metadata.version('tensorflow')}"
    return cache_folder(f"xla-{hashlib.sha256(kind.encode()).hexdigest()[:12]}")


def cache_folder(name: str) -> Path | None:
    """The folder `name` in the user's cache; None where it cannot be written: everyone then does without."""
    folder = user_cache().absolute() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def main() -> int:
    """Print one message and return 1 if the active environment lacks a package, else return 0."""
    if (missing := first_missing(requirements())) is None:
        return 0
    print(
        f"The active environment ({sys.prefix}) cannot be used: {missing}.\n"
        f"Either install what is needed:  {sys.executable} -m pip install -r requirements.lock\n"
        "or deactivate the environment: make then sets up its own in .venv.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
