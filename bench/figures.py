"""The figures of the bench: rows in, a matplotlib Figure out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from bench.claims import alike
from bench.process import Row
from bench.tables import interval
from ptycho.figures.style import COLOURS, error_bars, line, panels, styled

TASKS = ("training", "inference", "direct")


@styled
def throughput(rows: Sequence[Row]) -> Figure:
    """Patterns a second against N, one panel a task and one line a group size and number of cores."""
    figure = Figure(figsize=(8.4, 3.0), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(TASKS)), TASKS, strict=True):
        lines: dict[str, dict[int, Row]] = {}
        for row in rows:
            if row["task"] == task and row["architecture"] != "cnn":
                label = f"{row['device']}, {row['cores']} cores"
                label += "" if task == "direct" else f", gridsize {row['gridsize']}"
                best = lines.setdefault(label, {})
                if row["N"] not in best or row["patterns_per_s"] > best[row["N"]]["patterns_per_s"]:
                    best[row["N"]] = row
        for label, points in lines.items():
            axes.plot(list(points), [row["patterns_per_s"] for row in points.values()], "o-", markersize=3, label=label)
        sizes = sorted({row["N"] for row in rows})
        axes.set(xscale="log", yscale="log", title=task, xlabel="N (pixels)", ylabel="patterns per second")
        axes.set_xticks(sizes, [str(N) for N in sizes])
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=6)
    return figure


@styled
def profile(rows: Sequence[Row]) -> Figure:
    """What share of its time each task spends on each kind of operation."""
    figure = Figure(figsize=(7.4, 2.4), layout="constrained")
    axes = figure.subplots()
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for kind in sorted({row["kind"] for row in rows}):
        share = {row["task"]: row["share"] for row in rows if row["kind"] == kind}
        before = [sum(r["share"] for r in rows if r["task"] == task and r["kind"] < kind) for task in tasks]
        axes.barh(tasks, [share.get(task, 0.0) for task in tasks], left=before, label=kind)
    axes.set(xlim=(0, 1), xlabel="share of the time, one core")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def quality(medians: Sequence[Row]) -> Figure:
    """FRC50 against seconds, a line a method: medians over repetitions, bars from the least to the most."""
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in medians):
        own = [row for row in medians if row["method"] == method]
        bars = {
            name: np.abs([[row[name] - row[f"{name}_least"], row[f"{name}_most"] - row[name]] for row in own]).T
            for name in ("seconds", "frc50")
        }
        seconds, frc50 = ([row[name] for row in own] for name in ("seconds", "frc50"))
        axes.errorbar(seconds, frc50, bars["frc50"], bars["seconds"], fmt="o-", markersize=3, capsize=2, label=method)
    axes.set(xscale="log", ylim=(-0.02, 1.05), xlabel="seconds", ylabel="FRC50 (fraction of Nyquist)")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def scaling(rows: Sequence[Row]) -> Figure:
    """Seconds of each stage, and memory of the process, against patterns."""
    figure = Figure(figsize=(7.4, 3.0), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for stage in dict.fromkeys(row["stage"] for row in rows):
        own = [row for row in rows if row["stage"] == stage]
        patterns = [row["patterns"] for row in own]
        time.plot(patterns, [row["seconds"] for row in own], "o-", markersize=3, label=stage)
        memory.plot(patterns, [row["own_mb"] for row in own], "o-", markersize=3, label=f"{stage}")
    sizes = sorted({row["patterns"] for row in rows})
    scan = [row["scan_mb"] for row in sorted(rows, key=lambda row: row["patterns"])[:: len(rows) // len(sizes)]]
    memory.plot(sizes, scan, "k:", linewidth=1, label="the patterns themselves")
    time.set(xscale="log", yscale="log", xlabel="patterns", ylabel="seconds, compilation included")
    memory.set(xscale="log", xlabel="patterns", ylabel="peak memory of its own (MB)", ylim=(0, None))
    for axes in (time, memory):
        axes.legend(frameon=False)
    return figure


@styled
def peers(medians: Sequence[Row]) -> Figure:
    """FRC50 by the halves and by the reference, and seconds, against photons per pattern, a line a method."""
    figure = Figure(figsize=(9.0, 3.0), layout="constrained")
    panels = figure.subplots(1, 3)
    columns = {
        "split_frc50": "by halves of the photons",
        "reference_frc50": "by the fit to all photons",
        "seconds": "a fit",
    }
    for axes, (column, title) in zip(panels, columns.items(), strict=True):
        for method in dict.fromkeys(row["method"] for row in medians):
            own = sorted(
                (row for row in medians if row["method"] == method and row[column] is not None),
                key=lambda row: row["nphotons"],
            )
            values = np.array([row[column] for row in own])
            bars = [[row[column] - row[f"{column}_least"], row[f"{column}_most"] - row[column]] for row in own]
            axes.errorbar(
                [row["nphotons"] for row in own],
                values,
                np.abs(bars).T,
                fmt="o-",
                markersize=3,
                capsize=2,
                label=method,
            )
        axes.set(xscale="log", title=title, xlabel="photons per pattern", ylabel="FRC50 (fraction of Nyquist)")
    for axes in panels[:2]:
        axes.set_ylim(-0.02, 1.05)
    panels[2].set(ylabel="seconds", ylim=(0, None))
    panels[2].legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def position_errors(rows: Sequence[Row]) -> Figure:
    """The error of every position as an arrow, drawn to scale: as told, and as each method leaves it."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(3.0 * (len(methods) + 1), 4.2), layout="constrained")
    panels = [("as told", methods[0], "before"), *((method, method, "left") for method in methods)]
    for axes, (title, method, when) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        x, y, dx, dy = (
            np.array([row[name] for row in rows if row["method"] == method])
            for name in ("x", "y", f"{when}_x", f"{when}_y")
        )
        axes.quiver(x, y, dx, dy, angles="xy", scale_units="xy", scale=1, width=0.004)
        rms = np.sqrt(np.mean(dx**2 + dy**2))
        axes.set(title=f"{title}\n{rms:.2f} px rms", aspect="equal", xlabel="x (pixels)", ylabel="y (pixels)")
        axes.invert_yaxis()
        axes.label_outer()
    return figure


@styled
def networks(rows: Sequence[Row], limits: Sequence[Row]) -> Figure:
    """FRC50 and relative error against the dose on held-out scans: a column an object, a line a method; in grey what
    photons allow."""
    objects = list(dict.fromkeys(row["object"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(2.5 * len(objects), 5.2), layout="constrained")
    axes = figure.subplots(2, len(objects), sharey="row", sharex=True, squeeze=False)
    for (upper, lower), kind in zip(axes.T, objects, strict=True):
        upper.set_title(kind)
        for method, form in zip(methods, ("s--", "^:", "o-"), strict=False):
            own = [row for row in rows if (row["object"], row["method"]) == (kind, method)]
            doses = list(dict.fromkeys(row["dose"] for row in own))
            for cell, name in ((upper, "frc50"), (lower, "relative_mse")):
                each = [[row[name] or 0 for row in own if row["dose"] == dose] for dose in doses]
                x, mean = [float(dose) for dose in doses], [np.mean(values) for values in each]
                reach = np.abs(np.array([[min(v), max(v)] for v in each]) - np.array(mean)[:, np.newaxis]).T
                cell.errorbar(x, mean, reach, fmt=form, markersize=4, linewidth=1.2, capsize=2, label=method)
        allowed = {float(row["dose"]): row["frc50"] for row in limits if row["object"] == kind}
        [dashed] = upper.plot(allowed.keys(), allowed.values(), "--", color="0.45", linewidth=1)
        bound = {float(row["dose"]): row["photon_bound"] for row in rows if row["object"] == kind}
        lower.plot(bound.keys(), bound.values(), color="0.45", linewidth=1, label="photon bound M/n")
        lower.set(xscale="log", yscale="log", xlabel="photons per pattern")
    axes[0, 0].set_ylabel("FRC50 (fraction of Nyquist)")
    axes[1, 0].set_ylabel("relative mean-square error")
    axes[0, 0].legend([dashed], ["photon limit,\nunbiased"], loc="lower right", frameon=False)
    axes[1, 0].legend(frameon=False)
    return figure


@styled
def bias(rows: Sequence[Row]) -> Figure:
    """What fits keep of the truth, and their noise in units of the least without bias, a column a band of frequency."""
    bands = [name.removeprefix("kept_") for name in rows[0] if name.startswith("kept_")]
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    figure = Figure(figsize=(2.4 * len(bands), 4.6), layout="constrained")
    axes = figure.subplots(2, len(bands), sharey="row", sharex=True, squeeze=False)
    for (upper, lower), band, low in zip(axes.T, bands, ("0", *bands), strict=False):
        upper.set_title(f"{low} to {band} of Nyquist")
        for loss in losses:
            own = [row for row in rows if row["loss"] == loss]
            for cell, name in ((upper, f"kept_{band}"), (lower, f"variance_{band}")):
                cell.plot(
                    [float(row["dose"]) for row in own], [row[name] for row in own], "o-", markersize=4, label=loss
                )
        for cell in (upper, lower):
            cell.axhline(1, color="0.45", linestyle="--", linewidth=1)
            cell.set(xscale="log")
        lower.set_xlabel("photons per pattern")
    axes[0, 0].set_ylabel("kept of the truth")
    axes[1, 0].set_ylabel("variance / least without bias")
    axes[0, 0].legend(frameon=False)
    return figure


@styled
def overlap(means: Sequence[Row], enough: float, from_patterns: int) -> Figure:
    """SSIM by probe and gridsize, a panel a dose; by the number of patterns; of networks behind another probe."""
    doses, probes = (list(dict.fromkeys(row[name] for row in means)) for name in ("dose", "probe"))
    figure, [axes] = panels(3.3 * (len(doses) + 2), 3.2, columns=len(doses) + 2, sharey=True)
    counted, moved = axes[-2:]
    counts, elsewhere = (alike(means, question=name) for name in ("patterns", "probe"))

    for cell, dose in zip(axes, doses, strict=False):
        for k, side in enumerate((1, 2, None)):
            own, form = alike(means, question="grouping", dose=dose, gridsize=side), "o-" if side else "s:"
            places, name = [probes.index(row["probe"]) for row in own], f"gridsize {side}" if side else "direct"
            error_bars(cell, places, [interval(row, "ssim") for row in own], form, color=COLOURS[k], label=name)
            published = [row["published"] for row in own]
            if any(published):
                line(cell, places, published, "x--", color=COLOURS[k], linewidth=1, label=f"{name}, published")
        cell.set(title=f"{dose} photons per pattern", xlim=(-0.4, len(probes) - 0.6))
        cell.set_xticks(range(len(probes)), [probe.replace("_", " ") for probe in probes])
    for kind, side in dict.fromkeys((row["object"], row["gridsize"]) for row in counts if row["gridsize"]):
        own = sorted(alike(means, question="patterns", object=kind, gridsize=side), key=lambda row: row["patterns"])
        places = [row["patterns"] for row in own]
        error_bars(counted, places, [interval(row, "ssim_published") for row in own], label=f"{kind}, gridsize {side}")
    counted.plot([from_patterns, 8 * from_patterns], [enough] * 2, "--", color="0.3", label="published: more than this")
    counted.set(xscale="log", title="SSIM counted as published", xlabel="training patterns")
    ticks = sorted({row["patterns"] for row in counts if row["patterns"]} | {from_patterns})
    counted.set_xticks(ticks, [str(tick) for tick in ticks])
    counted.minorticks_off()
    behind = [(probe, side) for probe in probes for side in (1, 2)]
    for name, form, own in (
        ("trained behind it", "o", alike(means, question="grouping", dose=doses[0])),
        ("trained behind the other, told it", "s", [row for row in elsewhere if row["told"] == row["probe"]]),
        ("trained behind the other, told that", "^", [row for row in elsewhere if row["told"] != row["probe"]]),
    ):
        own = [row for row in own if row["gridsize"]]
        places = [behind.index((row["probe"], row["gridsize"])) for row in own]
        error_bars(moved, places, [interval(row, "ssim") for row in own], form, markersize=5, label=name)
    moved.set(title=f"scan behind ..., {doses[0]} photons")
    names = [f"{probe.replace('_', ' ')}\ngridsize {side}" for probe, side in behind]
    moved.set_xticks(range(len(behind)), names, fontsize=7)
    for cell in axes:
        cell.legend(frameon=False, fontsize=6, loc="lower left", bbox_to_anchor=(0, 0.08))
    axes[0].set(ylabel="SSIM with the truth", ylim=(-0.03, 1.05))
    return figure
