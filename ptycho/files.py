"""Files that are there whole or not at all: written beside their place, then renamed into it. Tables as text."""

from __future__ import annotations

import csv
import html
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, where the package lies in one."""
NOTEBOOKS = next(
    (folder for folder in (ROOT / "notebooks", ROOT / "ptycho" / "notebooks") if (folder / "train-arm.ipynb").exists()),
    ROOT / "notebooks",
)
"""Those of the checkout, or of an installed package."""


def user_cache() -> Path:
    """The folder for what is fetched or compiled once: PTYCHO_CACHE, or the user's own; a user may have no home."""
    usual = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "ptycho")
    folder = os.path.expanduser(os.environ.get("PTYCHO_CACHE") or usual)
    return Path(tempfile.gettempdir(), "ptycho") if folder.startswith("~") else Path(folder)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside `path` to write to; what is there at the end takes the place of `path`, flushed to disk.

    That file is hidden, of a name no other writer has, and ends with the name of `path`, for libraries that choose a
    format by the suffix. It inherits the permissions of the file it replaces. After any exception it is removed and
    `path` is as it was. Raises OSError where the file that was written cannot be put in place. An OSError about the
    hidden file names `path` in its place.
    """
    path = Path(path)
    partial = path.with_name(f".partial.{os.urandom(8).hex()}.{path.name}")
    try:
        yield partial
        if path.exists():
            partial.chmod(stat.S_IMODE(path.stat().st_mode))
        with open(partial, "rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == str(partial):
            error.filename = str(path)  # a user has not heard of the hidden file
        raise
    finally:
        with suppress(OSError):  # after the rename, or where it could not be opened, there is nothing to remove
            partial.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` (UTF-8): a reader, or a machine that stops, finds the old file or the new one.

    Raises OSError (full disk, no permission) with the old file left as it was and nothing beside it.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_if_changed(path: str | os.PathLike[str], text: str) -> bool:
    """Write `text` to `path` unless it holds just that; its time stays, so that nothing made from it is made again.

    Returns whether it was written. Raises OSError.
    """
    with suppress(OSError, UnicodeDecodeError):
        if Path(path).read_text(encoding="utf-8") == text:
            return False
    write_text(path, text)
    return True


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as JSON, whole or not at all.

    Raises ValueError, naming `path`, for NaN, infinity and types that JSON does not have.
    """
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: cannot be written as JSON: {error}") from error
    write_text(path, text + "\n")


def write_json_if_changed(path: str | os.PathLike[str], value: Any) -> None:
    """:func:`write_json` unless the file says just that: its time stays, so that nothing made from it is made again."""
    if json_if_any(path) != value:
        write_json(path, value)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON. Raises ValueError naming `path` when it is missing, not JSON, or holds NaN or infinity."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error


def json_if_any(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object; an empty one where the file is missing or holds something else."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def rows_of(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, by the names of its columns; none where it is missing."""
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Table(str):
    """A table as text, which a notebook shows as one of HTML."""

    html: str

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.html


def text_table(columns: Sequence[tuple[str, str, str]], rows: Iterable[Sequence[Any]]) -> Table:
    """A heading and a line a row. columns: title, width with its alignment ('<12'), format of a number ('.2f').

    None becomes '-', words stay as they are, and a row may end early.
    """

    def cell(value: Any, form: str) -> str:
        return "-" if value is None else value if isinstance(value, str) else format(value, form)

    titles, widths, forms = zip(*columns, strict=True)
    lines = [[cell(value, form) for value, form in zip(row, forms, strict=False)] for row in rows]
    table = Table("\n".join(" ".join(map(format, line, widths)).rstrip() for line in (titles, *lines)))
    table.html = html_table(titles, lines, [width.startswith(">") for width in widths])
    return table


def html_table(titles: Iterable[str], rows: Iterable[Sequence[str]], numbers: Sequence[bool] = ()) -> str:
    """A table for a page, with a column of `numbers` to the right. A cell that begins with <a is a link."""

    def cell(tag: str, words: str, number: bool) -> str:
        words = words.strip()
        how = ' class="number"' * number + ' data-sort=""' * (words == "-")  # sorted as one that is empty
        words = words if words.startswith("<a ") else html.escape(words, quote=False)
        return f"<{tag}{how}>{words}</{tag}>"

    def line(tag: str, cells: Iterable[str]) -> str:
        both = zip_longest(cells, numbers)
        return f"<tr>{''.join(cell(tag, words or '', bool(number)) for words, number in both)}</tr>"

    body = "".join(line("td", row) for row in rows)
    table = f"<thead>{line('th', titles)}</thead><tbody>{body}</tbody>"
    return f'<div class="table-wrapper docutils container"><table class="docutils">{table}</table></div>'
