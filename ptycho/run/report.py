"""The report for a browser: a study's rendered notebooks as HTML pages, and the verdict on it."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from pathlib import Path

from ptycho.files import read_json, write_text
from ptycho.run.kernel import without_iri_grammar
from ptycho.run.verdict import write_verdict
from ptycho.study import layout, sweep
from ptycho.study.plan import planned

_TEMPLATE = """
{%- extends 'basic/index.html.j2' -%}
{% block any_cell %}
{%- if not cell.metadata.get('tags', []) | select('in', ['injected-parameters', 'parameters']) | list -%}
{{ super() }}
{%- endif -%}
{% endblock any_cell %}
{% block in_prompt %}{% endblock %}
{% block empty_in_prompt %}{% endblock %}
{% block output_area_prompt %}{% endblock %}
{% block input_group %}<details class="code"><summary>Code</summary>{{ super() }}</details>{% endblock %}
"""
_STYLE = """
:root { color-scheme: light; }
body { font: 1rem/1.55 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 0 auto;
  padding: 1rem; }
h1, h2, h3 { line-height: 1.25; }
a { color: #0b5cad; }
a.anchor-link, .output_stderr { display: none; }
nav { border-bottom: 1px solid #ccc; padding-bottom: .5rem; }
nav a { margin-right: 1rem; display: inline-block; }
img, svg { max-width: 100%; height: auto; }
pre { overflow-x: auto; font-size: .85rem; line-height: 1.4; background: #f6f6f4; padding: .6rem; margin: .4rem 0; }
details.code { margin: .3rem 0; color: #555; }
details.code summary { cursor: pointer; font-size: .8rem; }
.output_text pre, .output_stream pre { background: none; border-left: 3px solid #ddd; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; }
.verdict { border-left: .4rem solid #a33; background: #faf3f2; padding: .5rem 1rem; }
.verdict.ok { border-color: #2a7d4f; background: #f1f8f4; }
.k, .kn, .ow { color: #00627a; font-weight: 600; } .s1, .s2, .sa, .si { color: #7a4100; } .c1 { color: #666; }
.mi, .mf { color: #7a0061; }
"""


# The page reads well without network: equations then show as they are written, in LaTeX.
_MATHS = """
<script>MathJax = {tex: {inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]]}};</script>
<script async src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-chtml.js"></script>
"""


def _page(title: str, before: str, body: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>{_MATHS}</head>\n"
        f"<body>\n{before}\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def render(notebook: Path) -> str:
    """Return the body of `notebook` as HTML: its code folded, its figures embedded with their alternative text.

    Raises ValueError when it is missing or no notebook.
    """
    without_iri_grammar()
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    try:
        content = nbformat.read(notebook, as_version=4)
    except (OSError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{notebook}: no rendered notebook: {error}") from error
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"folded.html.j2": _TEMPLATE})], template_name="basic", template_file="folded.html.j2"
    )
    body: str = exporter.from_notebook_node(content)[0]
    return body


def write(out: str | os.PathLike[str]) -> Path:
    """Write index.html, a page for each rendered notebook, and status.txt into `out`; return the path of index.html.

    A sweep has one page, with a table of its arms. Raises ValueError naming the first notebook that is not there.
    """
    out = Path(out)
    if sweep.planned(out) is not None:
        return _write_sweep(out)
    plan = planned(out)
    pages = {stage.shows: Path(stage.rendered) for stage in layout.study_stages(plan) if stage.shows}
    study = "Dose study: " + ", ".join(plan["doses"]) + " photons per pattern"
    for name, page in pages.items():
        back = f'<nav><a href="{os.path.relpath(layout.INDEX, page.parent)}">The study</a></nav>'
        write_text(out / page.with_suffix(".html"), _page(f"{name} · {study}", back, render(out / page)))
    links = _links({page.with_suffix(".html").as_posix(): name for name, page in pages.items()})
    files = _links({name: name for name in (layout.METRICS, *layout.drawn(layout.COMPARISON)[1:])})
    before = f"<nav>{links}{files}</nav>\n{_section(write_verdict(out))}"
    write_text(out / layout.INDEX, _page(study, before, render(out / "compare.ipynb")))
    return out / layout.INDEX


def _links(named: Mapping[str, str]) -> str:
    return "".join(f'<a href="{address}">{html.escape(name)}</a>' for address, name in named.items())


def _section(status: str) -> str:
    first, *lines = status.splitlines()
    listed = "".join(f"<li>{html.escape(line.removeprefix('- '))}</li>" for line in lines)
    kind = "verdict ok" if first == "VERIFIED" else "verdict"
    return f'<section class="{kind}"><strong>{first}</strong><ul>{listed}</ul></section>'


def _write_sweep(out: Path) -> Path:
    of_response = [f"{layout.RESPONSE}.json", *layout.drawn(layout.RESPONSE)[:0:-1]]
    names = [layout.ARMS, layout.TABLE, *of_response, "dose_factor.csv"]
    before = f"<nav>{_links({name: name for name in names})}</nav>\n{_section(write_verdict(out))}"
    rows: dict[str, dict[str, str]] = {}
    for entry in read_json(out / layout.ARMS)["arms"]:  # as the verdict has just collected them
        seed, name = entry["name"].split("/")
        made = (out / entry["name"] / "train-arm.ipynb").exists()
        link = f'<a href="{entry["name"]}/train-arm.ipynb">{entry["status"]}</a>'
        rows.setdefault(name, {})[seed] = link if made else entry["status"]
    heads = "".join(f"<th>{seed}</th>" for seed in next(iter(rows.values())))
    lines = (
        f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in row.values())}</tr>" for name, row in rows.items()
    )
    table = f"<h2>The arms</h2>\n<table><tr><th></th>{heads}</tr>{''.join(lines)}</table>"
    write_text(out / layout.INDEX, _page("Dose-response", before, render(out / "dose-response.ipynb") + table))
    return out / layout.INDEX
