"""JupyterLab on the notebooks."""

import os
import shutil
import sys
from pathlib import Path

from ptycho.files import NOTEBOOKS, ROOT


def open_notebooks() -> None:
    """Open JupyterLab, in place of this process. Notebooks of an installed package are copied to here first."""
    notebooks = NOTEBOOKS
    if not NOTEBOOKS.is_relative_to(Path.cwd()) and NOTEBOOKS.parent != ROOT:
        notebooks = Path("notebooks")
        notebooks.mkdir(exist_ok=True)
        for path in NOTEBOOKS.glob("*.ipynb"):
            if not (notebooks / path.name).exists():
                shutil.copy(path, notebooks)
    os.execv(sys.executable, [sys.executable, "-m", "jupyter", "lab", str(notebooks)])
