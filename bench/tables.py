"""Rows as text, and medians over repetitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bench.process import Row


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


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
