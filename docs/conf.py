"""The site of `make docs`: the pages in Markdown, the committed notebooks as they were rendered, and the docstrings.

The source folder is the root of the checkout, so links between pages, notebooks and files are the same here and there.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ptycho.site import theme  # noqa: E402

LISTED = ["git", "ls-files", "notebooks/*.ipynb", "reports/*.ipynb"]
NOTEBOOKS = subprocess.check_output(LISTED, cwd=ROOT, text=True).split()  # committed, not whatever was run here

project, author, copyright = "ptycho", "The ptycho authors", "The ptycho authors"
globals().update(theme.SETTINGS)
extensions = [*theme.SETTINGS["extensions"], "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
root_doc = "docs/index"
include_patterns = ["docs/*.md", "docs/api/*.rst", "CONTRIBUTING.md", "CHANGELOG.md", "*/README.md", *NOTEBOOKS]
exclude_patterns = [".*", "build", "tmp"]
default_role = "code"  # the docstrings write `name`, as Markdown does
highlight_language = "text"  # of the tables in docstrings; all other code names its language
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
templates_path = [str(ROOT / "docs" / "_templates")]
html_title = "ptycho"
html_extra_path = ["_extra"]  # the first page of the folder leads to that of the site


def linked(app, page, source):
    """Lead links to a module to the page of its docstrings; give a page about notebooks all of them as its contents."""
    source[0] = re.sub(r"\]\((?:\.\./)+(ptycho/[\w/]+)\.py\)", to_docstrings, source[0])
    if page in ("notebooks/README", "reports/README"):
        folder = page.removesuffix("README")
        names = [name.removeprefix(folder) for name in NOTEBOOKS if name.startswith(folder)]
        lines = ["", "```{toctree}", ":hidden:", *(f"{name.removesuffix('.ipynb')} <{name}>" for name in names), "```"]
        source[0] += "\n".join(lines)


def to_docstrings(link):
    return f"](/docs/api/{link[1].replace('/', '.')}.rst)"


def as_prose(app, what, name, obj, options, lines):
    """Take the signs of formulas in a docstring, such as those of |a - b|, and its tables as they stand."""
    code = r"``.+?``|(?::\w+:)?`[^`]+`"
    made = []
    for paragraph in "\n".join(lines).split("\n\n"):
        if re.search(r"^ |\S  +\S", paragraph, re.MULTILINE):
            made += ["::", "", *(f"    {line}" for line in paragraph.splitlines()), ""]
        else:
            made += [*re.sub(rf"({code})|([*|_\\])", marked, paragraph.replace("::", ":")).splitlines(), ""]
    lines[:] = made


def marked(found):
    return found[1] or rf"\{found[2]}"


def setup(app):
    app.connect("source-read", linked)
    app.connect("autodoc-process-docstring", as_prose)
