"""The tables of campaigns and benches from the arms or trials beside them, with NumPy and no code of the package."""

import json
from collections import defaultdict

import numpy as np
import pytest
from recomputed import REPORTS, cells, collapses, interval, number, read, rising, span

LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Resolutions, fractions of Nyquist, at which two curves are compared by their doses."""
RATES = sorted(path.name for path in REPORTS.glob("rates*") if list(path.glob("*/arms.json")))


def of(name, method, split, loss, what="frc50"):
    """{photons: {seed: what is told}} of the arms of a sweep."""
    own = {key[3]: seeds for key, seeds in cells(name).items() if key[:3] == (method, split, loss)}
    return {dose: {seed: told[what] for seed, told in seeds.items()} for dose, seeds in own.items()}


def mean(values):
    known = np.array([value for value in values if not np.isnan(value)])
    return known.mean() if len(known) else np.nan


@pytest.mark.parametrize("name", ["published", "published-1e2"])
def test_the_published_curve(name):
    rows = read(name, "published.csv")
    for row in rows:
        loss, dose = row["loss"], float(row["nphotons"])
        limits = of(name, "unrolled", "train", loss, "limit")[dose].values()
        np.testing.assert_allclose(number(row["limit"]), mean(limits), rtol=1e-6)
        for who, method in (("network", "unrolled"), ("direct", "direct")):
            curve = of(name, method, "train", loss)
            found = np.array(list(curve[dose].values()))
            expected = span(found) if collapses(curve)[dose] else interval(found, 0, 1)
            written = [number(row[f"{who}_{end}"]) for end in ("mean", "low", "high")]
            np.testing.assert_allclose(written, expected, rtol=2e-4, atol=2e-6)
    assert len(rows) == len({(row["loss"], row["nphotons"]) for row in rows}) >= 1


def test_the_losses_under_every_condition():
    rows = read("conditions", "conditions_mae.csv")
    names = {path.parent.name for path in (REPORTS / "conditions").glob("*/arms.csv")}
    assert {row["condition"] for row in rows} == names and len(rows) == 8 * len(names)
    for row in rows:
        name, dose = f"conditions/{row['condition']}", float(row["nphotons"])
        first, second = (of(name, row["method"], row["split"], row[loss]) for loss in ("first", "second"))
        apart = np.array([first[dose][seed] - second[dose][seed] for seed in first[dose]])
        near = collapses(first)[dose] or collapses(second)[dose]
        assert float(row["level"]) == (1 - 2.0 ** (1 - len(apart)) if near else 0.95)
        written = [number(row[end]) for end in ("difference", "low", "high")]
        np.testing.assert_allclose(written, span(apart) if near else interval(apart), rtol=2e-4, atol=2e-6)


def per_pixel(name, method, split, dose):
    """The photons per object pixel at a dose in photons per pattern, of all losses."""
    own = (seeds for key, seeds in cells(name).items() if (key[0], key[1], key[3]) == (method, split, dose))
    return 1 / mean(told["photon_bound"] for seeds in own for told in seeds.values())


FLUENCE = sorted(path.name for path in (REPORTS / "fluence").glob("fluence_*.csv"))


@pytest.mark.parametrize("file", FLUENCE)
def test_resolution_by_both_doses(file):
    for row in read("fluence", file):
        own, dose = (
            (f"fluence/{row['sweep']}", row["method"], row["split"], row["loss"]),
            float(row["photons_per_pattern"]),
        )
        assert number(row["photons_per_object_pixel"]) == pytest.approx(per_pixel(*own[:3], dose), rel=1e-6)
        curve = of(*own)
        found = np.array(list(curve[dose].values()))
        expected = span(found) if collapses(curve)[dose] else interval(found, 0, 1)
        np.testing.assert_allclose([number(row[end]) for end in ("frc50", "low", "high")], expected, rtol=2e-4)
    assert FLUENCE


@pytest.mark.parametrize("name", RATES)
def test_the_trials_of_learning_rates(name):
    """Every trial is there, as its sweep's arms.json has it."""
    told, contrast = {}, "phase" if "siemens" in name else "amplitude"
    for path in (REPORTS / name).glob("*/arms.json"):
        for arm in json.loads(path.read_text(encoding="utf-8"))["arms"]:
            key = arm["loss"], arm["nphotons"], arm["seed"], float(path.parent.name)
            parts = ("train", "heldout") if arm["architecture"] else ("direct", "direct_heldout")
            told[key] = arm["status"], *(arm.get(part) for part in parts)
    rows = read(name, "learning_rates.csv")
    assert len(rows) == len(told) > 0
    for row in rows:
        key = row["loss"], float(row["nphotons"]), int(row["seed"]), float(row["learning_rate"])
        status, train, heldout = told[key]
        assert row["status"] == status
        for column, part in (("train", train), ("heldout", heldout)):
            resolved = None if part is None else part[f"{contrast}_frc50"] or 0.0
            assert number(row[column]) == pytest.approx(np.nan if resolved is None else resolved, nan_ok=True, abs=1e-9)


def grouped(rows, by):
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in by)].append(row)
    return found


def test_the_networks_beside_the_fits():
    trials = grouped(read("networks", "networks.csv"), ("object", "dose", "split"))
    summary = read("networks", "summary.csv")
    assert len(summary) == len(trials)
    for row in summary:
        own = grouped(trials[row["object"], row["dose"], row["split"]], ("method",))
        frc50 = {method: np.array([number(one["frc50"] or "0") for one in found]) for (method,), found in own.items()}
        error = {method: np.array([number(one["relative_mse"]) for one in found]) for (method,), found in own.items()}
        for method in ("direct", "smoothed", "network"):
            assert number(row[f"frc50_{method}"]) == pytest.approx(frc50[method].mean(), rel=1e-4)
            assert number(row[f"error_{method}"]) == pytest.approx(error[method].mean(), rel=1e-4)
        told = {"gain": interval(frc50["network"] - frc50["direct"])}
        for other in ("direct", "smoothed"):
            told[f"of_{other}"] = np.exp(interval(np.log(error["network"] / error[other])))
        for name, expected in told.items():
            written = [number(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
            np.testing.assert_allclose(written, expected, rtol=2e-3, atol=2e-5)
        for method in ("direct", "network"):
            shares = mean(number(one["covered"]) for one in own[(method,)])
            assert number(row[f"covered_{method}"]) == pytest.approx(shares, rel=1e-4, nan_ok=True)


def test_what_overlap_adds():
    key = ("question", "object", "contrast", "probe", "trained", "told", "dose", "gridsize", "patterns", "method")
    trials, summary = grouped(read("overlap", "overlap.csv"), key), read("overlap", "summary.csv")
    assert len(summary) == len(trials)
    for row in summary:
        own = trials[tuple(row[name] for name in key)]
        lost = sum(not one["frc50"] for one in own)
        assert (int(row["seeds"]), int(row["collapsed"])) == (len(own), lost)
        ranges = 0 < lost < len(own)
        for name, column, ends in (
            ("ssim", "ssim", (-1, 1)),
            ("ssim_published", "ssim_published", (-1, 1)),
            ("frc50", "frc50", (0, 1)),
        ):
            found = np.array([number(one[column] or "0") for one in own])
            expected = span(found) if ranges else interval(found, *ends)
            written = [number(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
            np.testing.assert_allclose(written, expected, rtol=5e-4, atol=2e-5)
        errors = np.array([number(one["relative_mse"]) for one in own])
        expected = span(errors) if ranges else np.exp(interval(np.log(errors)))
        written = [number(row[f"error{end}"]) for end in ("", "_low", "_high")]
        np.testing.assert_allclose(written, expected, rtol=2e-3)


@pytest.mark.parametrize(
    ("name", "table", "trials", "by"),
    [
        ("bench", "quality", "quality_trials", ("device", "method", "budget")),
        ("peers", "peers", "peers_trials", ("dose", "method")),
    ],
)
def test_medians_of_trials(name, table, trials, by):
    members, rows = grouped(read(name, f"{trials}.csv"), by), read(name, f"{table}.csv")
    assert len(rows) == len(members)
    for row in rows:
        own = members[tuple(row[column] for column in by)]
        assert int(row["repetitions"]) == len(own)
        for column in (column for column in row if f"{column}_least" in row):
            found = np.array([number(one[column]) for one in own])
            found = found[~np.isnan(found)]
            expected = (np.median(found), found.min(), found.max()) if len(found) else (np.nan,) * 3
            written = [number(row[f"{column}{end}"]) for end in ("", "_least", "_most")]
            np.testing.assert_allclose(written, expected, rtol=1e-4)


def test_how_far_apart_patterns_of_two_sizes_lie():
    """The shifts that the notebook of the fluence prints, from the crossings of each seed's curve."""
    notebook = json.loads((REPORTS / "fluence" / "fluence.ipynb").read_text(encoding="utf-8"))
    printed = "".join(
        "".join(output.get("text", "")) for cell in notebook["cells"] for output in cell.get("outputs", [])
    )
    found = {}
    for axis in ("photons per pattern", "photons per object pixel"):
        logs = []
        for name in ("fluence/N-64", "fluence/N-128"):
            curve = of(name, "direct", "train", "nll")
            doses = sorted(curve)
            along = doses if axis == "photons per pattern" else [per_pixel(name, "direct", "train", d) for d in doses]
            x = np.log10(along)
            logs.append(
                {seed: (x, rising([curve[d][seed] for d in doses], np.ones(len(doses)))) for seed in curve[doses[0]]}
            )
        apart = []
        for seed, (x, y) in logs[0].items():
            x1, y1 = logs[1][seed]
            both = [
                np.interp(level, y1, x1) - np.interp(level, y, x)
                for level in LEVELS
                if max(y[0], y1[0]) <= level <= min(y[-1], y1[-1])
            ]
            apart.append(np.mean(both))
        found[axis] = interval(np.array(apart))
    for axis, (middle, low, high) in found.items():
        assert f"{middle:.2f} [{low:.2f}, {high:.2f}] decades against {axis}" in printed
