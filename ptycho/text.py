"""Tables as text: rows under a heading, in columns of fixed width."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def text_table(columns: Sequence[tuple[str, str, str]], rows: Iterable[Sequence[Any]]) -> str:
    """A heading and a line a row. columns: title, width with its alignment ('<12'), format of a number ('.2f').

    None becomes '-', words stay as they are, and a row may end early.
    """

    def cell(value: Any, form: str) -> str:
        return "-" if value is None else value if isinstance(value, str) else format(value, form)

    titles, widths, forms = zip(*columns, strict=True)
    lines = [titles, *([cell(value, form) for value, form in zip(row, forms, strict=False)] for row in rows)]
    return "\n".join(" ".join(map(format, line, widths)).rstrip() for line in lines)
