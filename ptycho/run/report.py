"""The report for a browser: a study's rendered notebooks as pages, by nbconvert's own template, and the verdict."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ptycho.files import read_json, write_text
from ptycho.run.crate import record
from ptycho.run.kernel import without_iri_grammar
from ptycho.run.verdict import write_verdict
from ptycho.study import layout, plan, sweep

HIDDEN = ("parameters", "injected-parameters")
"""Tags of the cells that a page leaves out. It shows no code: that is in the notebook."""


def render(notebook: Path, title: str, before: str = "", after: str = "") -> str:
    """Return `notebook` as a page, between what is put `before` and `after` it, Markdown.

    Raises ValueError when it is missing or no notebook.
    """
    without_iri_grammar()
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import TagRemovePreprocessor

    try:
        content = nbformat.read(notebook, as_version=4)
    except (OSError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{notebook}: no rendered notebook: {error}") from error
    first, last = (nbformat.v4.new_markdown_cell(text, id=name) for name, text in (("above", before), ("below", after)))
    content.cells = [first, *content.cells, last]
    exporter = HTMLExporter(
        template_name="lab", exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    exporter.register_preprocessor(TagRemovePreprocessor(remove_cell_tags=set(HIDDEN)), enabled=True)
    return exporter.from_notebook_node(content, resources={"metadata": {"name": title}})[0]


def write(out: str | os.PathLike[str]) -> Path:
    """Write index.html, a page for each rendered notebook, status.txt and the record of all files into `out`; return
    the path of index.html.

    A sweep has one page, with a table of its arms. Raises ValueError naming the first notebook that is not there.
    """
    out = Path(out)
    if sweep.planned(out) is None:
        _write_study(out)
    else:
        _write_sweep(out)
    record.write(out)
    return out / layout.INDEX


def _write_study(out: Path) -> None:
    planned = plan.planned(out)
    stages = layout.study_stages(planned)
    study = plan.title(out, planned)
    pages = {stage.shows: Path(stage.rendered).with_suffix(".html") for stage in stages if stage.shows}
    for name, page in pages.items():
        back = _links({"The study": os.path.relpath(layout.INDEX, page.parent)})
        write_text(out / page, render(out / page.with_suffix(".ipynb"), f"{name} · {study}", back))
    files = (layout.METRICS, *layout.drawn(layout.COMPARISON)[1:])
    links = _links({name: page.as_posix() for name, page in pages.items()} | {name: name for name in files})
    write_text(out / layout.INDEX, render(out / stages[-1].rendered, study, f"{links}\n\n{_verdict(out)}"))


def _links(named: Mapping[str, str]) -> str:
    return " · ".join(f"[{name}]({address})" for name, address in named.items())


def _verdict(out: Path) -> str:
    """The verdict of a study or sweep, in Markdown that takes no character of it for a mark."""
    first, *lines = write_verdict(out).splitlines()
    plain = (line.removeprefix("- ").replace("<", "&lt;").replace("_", "\\_").replace("*", "\\*") for line in lines)
    return "\n".join([f"## {first}", "", *(f"- {line}" for line in plain)])


def _write_sweep(out: Path) -> None:
    response = (f"{layout.RESPONSE}.json", *layout.drawn(layout.RESPONSE)[1:])
    files = (layout.ARMS, layout.TABLE, *response, "dose_factor.csv")
    before = f"{_links({name: name for name in files})}\n\n{_verdict(out)}"
    rows: dict[str, dict[str, str]] = {}
    for entry in read_json(out / layout.ARMS)["arms"]:  # as the verdict has just collected them
        seed, name = entry["name"].split("/")
        made = f"{entry['name']}/train-arm.ipynb"
        rows.setdefault(name, {})[seed] = _links({entry["status"]: made}) if (out / made).exists() else entry["status"]
    seeds = next(iter(rows.values()))
    lines = [f"| arm | {' | '.join(seeds)} |", "|---" * (len(seeds) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(row.values())} |" for name, row in rows.items()]
    after = "\n".join(["## The arms", "", *lines])
    write_text(out / layout.INDEX, render(out / layout.gathering().rendered, "Dose-response", before, after))
