"""The cells of a page, and the marks in them: of a notebook as it was rendered, text, HTML, links, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

HIDDEN = {"parameters", "injected-parameters"}
"""Tags of the cells that a page leaves out."""


def text(markdown: str) -> Any:
    """A cell of Markdown."""
    from nbformat import v4

    return v4.new_markdown_cell(markdown)


def html(made: str) -> Any:
    """A cell of HTML."""
    from nbformat import v4

    output = v4.new_output("display_data", {"text/html": made})
    return v4.new_code_cell("shown", outputs=[output])  # one without a source would be left out


def contents(names: Iterable[str]) -> Any:
    """A cell that lists pages, by their paths within the site: they come after this one, in their order."""
    return text("```{toctree}\n:hidden:\n" + "\n".join(f"/{name}" for name in names) + "\n```")


def of_notebook(notebook: Path) -> list[Any]:
    """What the rendered `notebook` shows, but its title. Raises ValueError when it is missing or no notebook."""
    import nbformat

    try:
        content = nbformat.read(notebook, as_version=4)
    except (OSError, nbformat.reader.NotJSONError) as error:
        raise ValueError(f"{notebook}: no rendered notebook: {error}") from error
    cells = [cell for cell in content.cells if not HIDDEN & set(cell.metadata.get("tags", ()))]
    if cells and cells[0].cell_type == "markdown":
        cells[0].source = re.sub(r"\A# .*\n*", "", cells[0].source)
    return cells


def link(address: str, words: str) -> str:
    """A link, in HTML."""
    return f'<a href="{address}">{escape(words)}</a>'


def listed(lines: Iterable[str]) -> str:
    """A list of lines of HTML."""
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"
