"""Every notebook, run by hand: cell by cell from its defaults, in a clean copy, which stays clean."""

import os
import re
import resource
import subprocess
from pathlib import Path

import nbformat
import pytest
from standins import ROOT, clone

ORDER = ("simulate", "train-arm", "resolution", "compare", "dose-response", "conditions", "fluence", "reuse")
ORDER += ("learning-rates", "explore")
SECONDS = 90
"""Of one core, at most, for each: a minute where nothing else runs, more where others share its caches."""
ENDS = {
    "resolution": "../reports/lab/data/measured.npz is missing. "
    "Run the notebook simulate with scan = \"siemens-star\" and doses = ['full', '1e4'] first."
}
"""What notebooks say that need more than the small simulated study."""
OTHER_DOSE = """
source.value = "sweep"
before = seen.value, bought.value, words.value
dose.value = next(other for _, other in dose.options if other != dose.value)
print([one != other for one, other in zip(before, (seen.value, bought.value, words.value))])
print("sweep, nll at" in seen.value, "unrolled resolves" in words.value)
file.value = "none.npz"
print(words.value)
"""


def test_the_page_lists_every_notebook_in_the_order_of_the_test():
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1\.ipynb\)", (ROOT / "notebooks" / "README.md").read_text(), re.MULTILINE)
    assert listed == list(ORDER)
    assert set(listed) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.parametrize("name", ORDER)
def test_a_notebook_is_short_and_holds_no_outputs(name):
    code = [cell for cell in nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells if cell.cell_type == "code"]
    assert len(code) <= 10 or name == "dose-response"
    assert sum(len(cell.source.splitlines()) for cell in code) <= 100 and not any(cell.outputs for cell in code)


def run(notebook: Path, more: str = "") -> tuple[list, str, float]:
    """Execute as JupyterLab does, one more cell after the others; all outputs, what that cell prints, and the seconds
    of one core."""
    from nbclient import NotebookClient

    content = nbformat.read(notebook, 4)
    content.cells.append(nbformat.v4.new_code_cell(more))
    hidden = ("TF_CPP_MIN_LOG_LEVEL", "TF_XLA_FLAGS")
    given = {name: value for name, value in os.environ.items() if name not in hidden}
    given["PYTHONPATH"] = str(notebook.parents[1])
    resources = {"metadata": {"path": str(notebook.parent)}}
    client = NotebookClient(content, timeout=None, kernel_name="python3", allow_errors=True, resources=resources)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    client.execute(env=given)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = [output for cell in content.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.text for output in content.cells[-1].outputs if output.get("name") == "stdout")
    return found, said, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the client, not of what is tested
def test_every_notebook_runs_from_its_defaults_and_leaves_a_clean_copy_clean(tmp_path):
    copy = clone(tmp_path / "ptycho")
    for name in ORDER:
        found, said, seconds = run(copy / "notebooks" / f"{name}.ipynb", OTHER_DOSE if name == "explore" else "")
        print(f"{name}: {seconds:.0f} s of one core")
        errors = [output for output in found if output.output_type == "error"]
        if name in ENDS:
            first = errors[0]
            assert (first.ename, first.evalue) == ("ConfigError", ENDS[name])
            assert first.traceback == [f"ConfigError: {ENDS[name]}"]
        else:
            assert not errors, (name, errors[0].evalue)
        assert not [output.text for output in found if output.get("name") == "stderr"], name
        assert seconds < SECONDS, name
    changed, evidence, refused = said.splitlines()
    assert (changed, evidence) == ("[True, True, True]", "True True")
    assert refused.startswith("none.npz")
    status = subprocess.run(["git", "status", "--porcelain"], cwd=copy, capture_output=True, text=True, check=True)
    assert status.stdout == ""
    lab = copy / "reports" / "lab"
    assert (lab / "high_nll" / "metrics.json").exists() and (lab / "dose_response.png").exists()
