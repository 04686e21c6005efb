"""What is paid before any work is done: importing the package, importing TensorFlow, starting a notebook."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from bench.process import Row, timed
from ptycho.files import ROOT


def starts(repeats: int) -> list[Row]:
    """Rows (what, repeat, seconds). The interpreter's own start is taken off the imports, not off the notebooks."""
    imports = _imports(ROOT / "notebooks" / "train-arm.ipynb")
    bare = timed(lambda: _python("-c", "pass"), 0, repeats)
    programs = {"import ptycho": "import ptycho", "import all that an arm needs": imports}
    rows = []
    for what, code in programs.items():
        for repeat, seconds in enumerate(timed(lambda code=code: _python("-c", code), 0, repeats)):
            rows.append({"what": what, "repeat": repeat, "seconds": max(0.0, seconds - min(bare))})
    for what, code in {"an empty notebook": "pass", "a notebook that imports what an arm needs": imports}.items():
        with tempfile.TemporaryDirectory() as folder:
            notebook = _notebook(Path(folder), code)
            words = ("-m", "ptycho", "run", notebook, f"{folder}/out.ipynb", "--parameters", f"{folder}/none.yaml")
            run = timed(lambda words=words, log=f"{folder}/run.log": _python(*words, "--log", log), 0, repeats)
        rows += [{"what": what, "repeat": repeat, "seconds": seconds} for repeat, seconds in enumerate(run)]
    return rows


def _python(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


def _imports(path: Path) -> str:
    """The import statements of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "code" for line in "".join(cell["source"]).splitlines()]
    return "\n".join(line for line in lines if line.startswith(("import ", "from ")))


def _notebook(folder: Path, code: str) -> str:
    made = nbformat.v4.new_notebook()
    made.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made.cells.append(nbformat.v4.new_code_cell("", metadata={"tags": ["parameters"]}))
    made.cells.append(nbformat.v4.new_code_cell(code))
    nbformat.write(made, folder / "in.ipynb")
    (folder / "none.yaml").write_text("{}\n")
    return str(folder / "in.ipynb")
