"""How a figure leaves the program: as files with its numbers beside it, or in a notebook with alternative text."""

import base64
import csv
import html
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from PIL import Image

from ptycho.files import replacing, write_text
from ptycho.study.status import write_progress

DPI = 100


def _png(figure: Figure) -> bytes:
    """In the 256 colours that suit the figure best: a third of the size, a few of 255 levels off where it has more.
    Nothing in it tells of versions or times: the same picture is the same file."""
    drawn, png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    with Image.open(drawn) as image:
        # this method serves the rare colours too: median cut drew some 50 levels off
        few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(png, "PNG", optimize=True, dpi=(DPI, DPI))
    return png.getvalue()


def save(figure: Figure, stem: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write stem.png, stem.pdf and stem.csv, each whole or not at all, and the same bytes for the same figure. Their
    folder is made if need be. rows: the numbers beside the figure, all with the keys of the first; None becomes an
    empty cell, floats keep all their digits. Returns the three paths. Raises ValueError when there are no rows or their
    keys differ."""
    numbers, pdf = _csv(rows), io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42}):  # text that stays text; many journals refuse the default Type 3
        figure.savefig(pdf, format="pdf", dpi=DPI, metadata={"CreationDate": None})
    Path(stem).parent.mkdir(parents=True, exist_ok=True)
    contents = {".png": _png(figure), ".pdf": pdf.getvalue(), ".csv": numbers.encode()}
    paths = [Path(f"{os.fspath(stem)}{suffix}") for suffix in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        with replacing(path) as partial:
            partial.write_bytes(content)
    return paths


def save_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table as CSV, whole or not at all; rows and the folder as for :func:`save`."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _csv(rows))


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows or any(list(row) != list(rows[0]) for row in rows):
        raise ValueError("a figure is saved with the numbers beside it: rows must not be empty and share their keys")
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure alone, as PNG, whole or not at all. Raises OSError."""
    png = _png(figure)
    with replacing(path) as partial:
        partial.write_bytes(png)


@dataclass(frozen=True)
class Shown:
    """A figure for a notebook's output: an HTML image with alternative text, which also is its text form.

    panels: where its images and colour bars are, whose colours are a scale and stay as they are on a dark page. Left,
    top, right, bottom, in fractions of the figure.
    """

    png: bytes
    alt: str
    panels: tuple[tuple[float, float, float, float], ...] = ()

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        panels = ",".join(" ".join(f"{end:.4f}" for end in panel) for panel in self.panels)
        return f'<img alt="{html.escape(self.alt)}" data-panels="{panels}" src="data:image/png;base64,{data}">'


def show(figure: Figure, alt: str) -> Shown:
    """The figure as the last value of a notebook cell. alt: what it shows, in words; ValueError when blank."""
    if not alt.strip():
        raise ValueError("a figure needs alternative text: say in words what it shows")
    png = _png(figure)  # drawn first: then each of the axes has its place
    boxes = [axes.get_position() for axes in figure.axes if axes.images or _is_colour_bar(axes)]
    return Shown(png, alt, tuple((box.x0, 1 - box.y1, box.x1, 1 - box.y0) for box in boxes))


def _is_colour_bar(axes: Axes) -> bool:
    return any(isinstance(drawn, QuadMesh) for drawn in axes.collections)


class LiveCurve:
    """What :func:`ptycho.reconstruct.training.fit` tells as it trains: each epoch is drawn where this was made.
    The curve shows what the line of an epoch prints and history.csv keeps: the logarithm of the loss.
    folder: the arm's, which exists. label: what the loss is."""

    def __init__(self, folder: Path, label: str):
        self.folder, self.label = folder, f"log of the {label}"
        self.epochs: list[dict[str, Any]] = []
        from IPython import display  # late, as what judges images below: a picture in a file needs neither

        self._output = display.display(display_id=True)

    def __call__(self, progress: dict[str, Any]) -> None:
        """Write down {stage, epoch, ...} as ``training.fit`` reports it, and draw an epoch, which has a loss."""
        write_progress(self.folder, **progress)
        if "loss" not in progress:
            return
        from ptycho.figures import images

        self.epochs.append(progress)
        curve = {"epoch": [row["epoch"] - 1 for row in self.epochs]}
        curve["loss"] = [row["loss"] for row in self.epochs]
        self._output.update(show(images.loss_curve(curve, self.label), alt="Training loss against epoch"))
