"""The published dose-response of PtychoPINN's two losses, and ours in its setting, side by side.

Published (arXiv:2602.21361, its figure of the dose): FRC50 in rings, of 166 to Nyquist, of an object of lines with 392
pixels a side, N = 64, gridsize 2, 60 epochs; single trainings, without intervals. That a loss resolves all 166 rings at
1e5 photons per pattern is put to two tests. By counting photons: to what frequency is an unbiased image expected to
correlate by one half with the truth, if its errors are the least that Cramér and Rao allow? And by the correlation
itself: what does the same reconstruction get when it is counted as the published one was? PtychoPINN correlates the
images as they are cut, without a window, so that their edges, which are alike, correlate at every frequency
(:mod:`ptycho.judge.frc`), and takes the first ring below one half.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from ptycho.config import DIRECT
from ptycho.files import Table, text_table
from ptycho.findings.intervals import Interval, mean_interval, range_interval
from ptycho.findings.response.dose_response import DoseResponse
from ptycho.judge.frc import BAND, FRCCurve, first_crossing, frc
from ptycho.judge.metrics import Evaluation
from ptycho.judge.parts import judge_object
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import load_reconstructions
from ptycho.study import layout, sweep
from ptycho.study.config import Arm

SETTING = {"object_kind": "lines", "object_size": 392, "N": 64, "phase": 0.0, "illumination": "disk", "scan": None}
TRAINING = {"architecture": "cnn", "gridsize": 2, "nepochs": 60}
"""The published scan, and the published training on it."""
RINGS = 166
FRC50 = {
    "nll": {1e2: 21, 1e3: 45, 1e4: 72, 1e5: 165, 1e7: 166, 1e9: 165},
    "mae": {1e4: 52, 1e5: 71, 1e7: 166, 1e9: 166},
}
"""Published, in rings, by loss and photons per pattern."""
METHODS = {"network": "network", "direct": "direct", "as_published": "network, counted as published"}
"""Those of a row's fields that are intervals, and what they are called."""


@dataclass(frozen=True)
class Row:
    """One dose and loss; frequencies as fractions of Nyquist.

    published : FRC50, None where none was published.
    network, direct : FRC50 on the training scan, over the seeds.
    limit : FRC50 of an unbiased image with the least error that the photons allow, mean over the seeds.
    as_published : that of the same reconstructions of the network, counted as the published one was, over the seeds.
    """

    loss: str
    nphotons: float
    published: float | None
    network: Interval | None
    direct: Interval | None
    limit: float | None
    as_published: Interval | None


def differs(made: Mapping[str, Any], setting: Mapping[str, Any]) -> list[str]:
    """In words, where what was simulated or trained is not the published setting, SETTING or TRAINING."""
    return [f"{name} is {made.get(name)}, not {value}" for name, value in setting.items() if made.get(name) != value]


def beside_published(out: str | os.PathLike[str], entries: Sequence[Any], study: DoseResponse) -> list[Row]:
    """Every loss and dose that was swept or published, beside one another."""
    plan = sweep.planned(out)
    assert plan is not None
    points = {(c.method, c.loss, p.nphotons): p.interval for c in study.curves for p in c.points}
    trained = next((curve.method[0] for curve in study.curves if curve.method[0] != DIRECT), "")
    words = {Arm(dose, "").asked: dose for dose in plan["doses"]}
    rows = []
    for loss in dict.fromkeys(c.loss for c in study.curves):
        for nphotons in sorted({key[2] for key in points}):
            rings = FRC50.get(loss, {}).get(nphotons)
            limits, counted = [], []
            for entry in entries:
                if (entry["loss"], entry["nphotons"]) != (loss, nphotons) or not entry.get("train"):
                    continue
                limit = entry["train"].get("amplitude_frc50_limit")
                limits += [] if limit is None else [limit]
                if entry["train"]["amplitude_frc50"] is None:  # collapsed on this scan, whatever became of the other
                    counted.append(0.0)
                    continue
                scan = RawData.load(sweep.folder(out, entry["seed"]) / layout.scan_file(words[nphotons], "train"))
                found = load_reconstructions(Path(out) / entry["name"] / layout.RECONSTRUCTION)
                judged = judge_object(found["train"], scan)
                counted.append(first_crossing(without_window(judged)))
            network, direct = (points.get(((name, "train"), loss, nphotons)) for name in (trained, DIRECT))
            least = float(np.mean(limits)) if limits else None
            as_published = None
            if counted:
                near = network is not None and network.is_range
                as_published = range_interval(np.array(counted)) if near else mean_interval(np.array(counted), (0, 1))
            rows.append(Row(loss, nphotons, rings and rings / RINGS, network, direct, least, as_published))
    return rows


def without_window(judged: Evaluation) -> FRCCurve:
    """The amplitudes correlated as they are cut from the largest square that the scan covers, edges and all."""
    aligned = judged.aligned
    for half in range(min(aligned.mask.shape) // 2, 1, -1):
        square = tuple(slice(size // 2 - half, size // 2 + half) for size in aligned.mask.shape)
        if aligned.mask[square].all():
            break
    image, truth = (np.abs(one)[square] for one in (aligned.object, aligned.truth))
    return frc(image, truth, np.ones(image.shape))


def published_table(rows: Sequence[Row]) -> Table:
    """A line a dose and loss, frequencies as fractions of Nyquist."""
    columns = [("loss", "<5", ""), ("photons", ">8", ".2g"), ("published", ">9", ".3f"), ("limit", ">6", ".3f")]
    columns += [(label, ">21", ".3f") for label in METHODS.values()]
    return text_table(columns, map(attrgetter("loss", "nphotons", "published", "limit", *METHODS), rows))


def published_in_words(rows: Sequence[Row]) -> list[str]:
    """What the table says, in words, for every dose and loss that was published. The limit is one for unbiased
    estimates. Where a fit reaches the published figure from the same photons, with prior knowledge or without, the
    limit says nothing against that figure; nor does one within half the band of rings that decide FRC50."""
    said = []
    for row in rows:
        if row.published is None or row.network is None or row.network.mean is None:
            continue
        beside, best = _beside(row.network, row.published), None if row.direct is None else row.direct.mean
        told = f"{row.loss} at {row.nphotons:.2g}: published {row.published:.3f} of Nyquist, here {row.network:.3f}"
        if beside == "less" and row.direct is not None and best is not None and best >= row.published:
            told += f", less; direct {row.direct:.3f}, {_beside(row.direct, row.published)}"
        elif beside == "less" and row.limit is not None and row.published > row.limit + BAND / 2:
            told += f"; the photons allow {row.limit:.2f}: the published figure is not one of resolution"
        else:
            told += f", {beside}"
        if row.as_published is not None:
            told += f" (counted as published, {row.as_published:.3f}, {_beside(row.as_published, row.published)})"
        said.append(told + ".")
    return said


def _beside(found: Interval, value: float) -> str:
    """Whether the mean is more or less than `value`; where its interval holds that, neither is shown."""
    assert found.mean is not None
    low, high = (found.mean if end is None else end for end in (found.low, found.high))
    if low == high == value:
        return "as much"
    return "more" if low >= value else "less" if high < value else "not told apart"


def published_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The numbers of the figure."""
    found = []
    for row in rows:
        flat = {name: value for name, value in asdict(row).items() if name not in METHODS}
        for name in METHODS:
            interval = getattr(row, name) or Interval(0, None, None, None)
            flat |= interval.row(f"{name}_mean", f"{name}_")
        found.append(flat)
    return found
