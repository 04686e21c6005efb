"""Rows as text, rows of an earlier run's table, and medians over repetitions."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.process import Row
from ptycho.files import rows_of
from ptycho.findings.intervals import Interval


def text(rows: Sequence[Row], columns: Iterable[str]) -> str:
    """The chosen columns, right-justified, numbers to three digits."""
    lines = [list(columns)]
    lines += [[_cell(row[name]) for name in lines[0]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def medians(rows: Sequence[Row], by: Sequence[str], values: Sequence[str]) -> list[Row]:
    """One row for each combination of ``by``, in order of appearance: the median, least and most of each value.

    None where no member has the value.
    """
    gathered: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        gathered.setdefault(tuple(row[name] for name in by), []).append(row)
    found = []
    for key, members in gathered.items():
        made = dict(zip(by, key, strict=True)) | {"repetitions": len(members)}
        for name in values:
            numbers = [member[name] for member in members if member[name] is not None]
            middle, least, most = (float(np.median(numbers)), min(numbers), max(numbers)) if numbers else [None] * 3
            made |= {name: middle, f"{name}_least": least, f"{name}_most": most}
        found.append(made)
    return found


def rounded(row: Row) -> Row:
    """The row with its floats to five digits."""
    return {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in row.items()}


def interval(row: Row, name: str) -> Interval:
    """The interval over seeds that a row holds as ``name``, ``name_low``, ``name_high``, ``level`` and ``seeds``."""
    return Interval(row["seeds"], row[name], row[f"{name}_low"], row[f"{name}_high"], row["level"])


def known(path: Path, words: Container[str], whole: Container[str]) -> list[Row]:
    """The rows of an earlier run's table, none where there is none: the columns ``words`` are text, those in ``whole``
    integers, all others floats. A float or integer that the table leaves empty is None."""

    def value(name: str, word: str) -> Any:
        return word if name in words else None if not word else int(word) if name in whole else float(word)

    return [{name: value(name, word) for name, word in row.items()} for row in rows_of(path)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
