"""The report of a study, sweep or campaign, a site of its own: the verdict first, what was found, a page an arm."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ptycho.cores import usable_cores
from ptycho.run.crate import record
from ptycho.run.kernel import without_iri_grammar
from ptycho.site import pages
from ptycho.site.pages import Page
from ptycho.study import layout, sweep
from ptycho.study.campaigns import campaign_in

MANY = 20
"""Pages from which several processes write them."""


def write(out: str | os.PathLike[str]) -> Path:
    """Write the site of the study, sweep or campaign in `out`; return the path of the first page. Of a study or sweep,
    write its status.txt and the record of its files, too.

    What was there stays until the new site is whole. Raises ValueError naming the first notebook that is not there.
    """
    without_iri_grammar()
    out = Path(out)
    campaign = campaign_in(out)
    if campaign:
        made = pages.of_campaign(out, campaign)
    else:
        made = pages.of_study(out) if sweep.planned(out) is None else pages.of_sweep(out)
    first = out / layout.INDEX
    with tempfile.TemporaryDirectory(prefix=".report.", dir=out) as scratch:
        _build(made, Path(scratch))
        shutil.rmtree(first.parent, ignore_errors=True)
        os.replace(Path(scratch, "site"), first.parent)
    if not campaign:
        record.write(out)
    return first


def _build(made: Sequence[Page], scratch: Path) -> None:
    """Let Sphinx make the pages, the first of which lists the others, into `scratch`/site."""
    import bokeh
    import nbformat
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    from ptycho.site import theme

    source = scratch / "source"
    for page in made:
        path = source / f"{page.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(page.notebook(), path)
    settings = theme.SETTINGS | {
        "project": "ptycho",
        "root_doc": made[0].name,
        "html_title": made[0].title,
        "html_copy_source": False,
        "html_show_copyright": False,
        "html_use_index": False,
        "nb_remove_code_source": True,  # it is in the notebook
        "html_static_path": [str(Path(bokeh.__file__).parent / "server/static/js/bokeh.min.js")],
    }
    places = str(source), None, str(scratch / "site"), str(scratch / "read"), "html"
    at_once = usable_cores() if len(made) > MANY else 0
    with patch_docutils(), docutils_namespace():
        Sphinx(*places, confoverrides=settings, status=None, warning=sys.stderr, parallel=at_once).build()
