"""The tables of the reports from their arms.csv alone, with NumPy and none of the package's code.

Every arm is a row of arms.csv. From these rows the means and intervals of dose_response.csv and the factors of
dose_factor.csv are computed here a second time.
"""

import json
from collections import defaultdict
from functools import cache

import numpy as np
import pytest
from recomputed import REPORTS, SWEEPS, cells, collapses, interval, number, read, rising, span


@pytest.mark.parametrize("name", SWEEPS)
def test_means_and_intervals(name):
    found, checked = cells(name), 0
    for row in read(name, "dose_response.csv"):
        key = row["method"], row["split"], row["loss"], float(row["nphotons"])
        seeds = found.get(key)
        if not seeds:
            assert row["frc50"] == ""
            continue
        values = {name: np.array([of[name] for of in seeds.values()]) for name in next(iter(seeds.values()))}
        errors = values["relative_mse"]
        curve = {k[3]: {s: v["frc50"] for s, v in of.items()} for k, of in found.items() if k[:3] == key[:3]}
        near = collapses(curve)[key[3]] and len(seeds) > 1
        assert float(row["frc50_level"]) == (1 - 2.0 ** (1 - len(seeds)) if near else 0.95)
        means = {"frc50": ("frc50", 0, 1), "frc50_first": ("first", 0, 1), "amplitude_level": ("amplitude_level",)}
        for name, (of, *possible) in means.items():
            told = values[of][~np.isnan(values[of])]  # arms of an earlier version tell less
            if not len(told):
                assert row[name] == ""
                continue
            expected = span(told) if near else interval(told, *possible)
            written = [number(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
            np.testing.assert_allclose(written, expected, rtol=2e-4, atol=2e-6)
        # the errors, and the share of the photons' information that an image keeps: its ratio of signal to noise over
        # that of an unbiased one
        kept = {"relative_mse": errors, "absolute_mse": values["absolute_mse"]}
        least = {"efficiency": "photon_bound", "attained": "information_bound"}
        kept |= {name: values[bound] * (1 / errors - 1) for name, bound in least.items()}
        for name, told in kept.items():
            told = told[~np.isnan(told)]  # of some arms the bound is not known
            if not len(told):
                assert row[name] == ""
                continue
            expected = span(told) if near else np.exp(interval(np.log(told)))
            written = [number(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
            np.testing.assert_allclose(written, expected, rtol=1e-3)
        checked += 1
    assert checked


def crossing(curves, level):
    """The dose at which the mean of {photons: {seed: FRC50}} first reaches the level, on lines over the log dose."""
    doses = sorted(dose for dose in curves if curves[dose])
    y = rising([np.mean(list(curves[d].values())) for d in doses], [len(curves[d]) for d in doses])
    k = int(np.argmax(y >= level))
    assert k > 0 and y[k] >= level
    x = np.log10(doses)
    return 10 ** (x[k - 1] + (level - y[k - 1]) / (y[k] - y[k - 1]) * (x[k] - x[k - 1]))


FACTORS = [
    (name, row)
    for name in SWEEPS
    if (REPORTS / name / "dose_factor.csv").exists()
    for row in read(name, "dose_factor.csv")
    if row["factor"]
]
MEASURED = {
    "FRC50": lambda of_seed: of_seed["frc50"],
    "FRC 1/7": lambda of_seed: of_seed["seventh"],
    "relative error": lambda of_seed: -np.log10(of_seed["relative_mse"]),
}
"""What rises with the dose, by its yardstick, of the numbers of a seed."""


@pytest.mark.parametrize("name", sorted({name for name, _ in FACTORS}))
def test_dose_factors(name):
    found = cells(name)
    for row in (row for of, row in FACTORS if of == name):
        yardstick, level, doses = row.get("yardstick", "FRC50"), float(row.get("level") or row["resolution"]), []
        reached = -np.log10(level) if yardstick == "relative error" else level
        for loss in (row["reference"], row["other"]):
            key = row["method"], row["split"], loss
            curves = {
                k[3]: {s: MEASURED[yardstick](v) for s, v in of.items()} for k, of in found.items() if k[:3] == key
            }
            doses.append(crossing(curves, reached))
        np.testing.assert_allclose([float(row["reference_dose"]), float(row["other_dose"])], doses, rtol=1e-3)
        assert float(row["factor"]) == pytest.approx(doses[1] / doses[0], rel=1e-3)


BAND = 0.012, 0.04
"""Shares of our draws between which an end of an interval lies: it leaves out 0.025 of its own 4000, give or take
0.0025, and there are hundreds of ends."""


@cache
def chi_square(freedom):
    """Draws of it, sorted, by which its quantiles are told."""
    return np.sort(np.random.default_rng(5).chisquare(freedom, 400_000))


def drawn(curves, g, u):
    """{photons: (draws,)} made to rise: the means of {photons: {seed: value}}, as uncertain as the seeds leave them.

    g (draws, seeds) is normal, u (draws,) uniform: Student's t with n - 1 degrees of freedom along every line.
    """
    table = np.array([[curves[dose][seed] for seed in sorted(curves[dose])] for dose in sorted(curves)])
    n = table.shape[1]
    mean = table.mean(axis=1)
    chi2 = np.quantile(chi_square(n - 1), u)
    scatter = g @ (table - mean[:, np.newaxis]).T / np.sqrt(n * (n - 1))
    values = mean + scatter * np.sqrt((n - 1) / chi2)[:, np.newaxis]
    # the nearest rising sequence: the most of the least means of stretches that hold a point (Robertson et al. 1988)
    D, sums = len(mean), np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    stretch = {(a, b): (sums[:, b + 1] - sums[:, a]) / (b + 1 - a) for a in range(D) for b in range(a, D)}
    rising_to = [
        np.max([np.min([stretch[a, b] for b in range(k, D)], axis=0) for a in range(k + 1)], axis=0) for k in range(D)
    ]
    return np.stack(rising_to, axis=1)


def confined(x, values, level, steps):
    """The bounds, each (draws,), of log10 of the dose at which rising ``values`` (draws, doses) reach ``level``: the two
    neighbouring doses, where ``steps`` (doses,) says that no line leads from one to the next."""
    below = (values < level).sum(axis=1)
    after = np.clip(below, 1, len(x) - 1)
    y0, y1 = (np.take_along_axis(values, at[:, np.newaxis], 1)[:, 0] for at in (after - 1, after))
    with np.errstate(divide="ignore", invalid="ignore"):  # beyond the ends
        on_line = x[after - 1] + (level - y0) / (y1 - y0) * (x[after] - x[after - 1])
    low, high = np.where(steps[after - 1], [x[after - 1], x[after]], on_line)
    low[below == 0], high[below == 0] = np.where(values[below == 0, 0] > level, -np.inf, x[0]), x[0]
    low[below == len(x)], high[below == len(x)] = x[-1], np.inf
    return low, high


def steps_of(x, curves, finest, of_error):
    """Where no line leads to the next dose: over two decades, out of a collapse, or up to all that is claimed."""
    doses = sorted(curves)
    told = np.append(np.diff(x) > 2 + 1e-9, False)
    for k, dose in enumerate(doses if not of_error else ()):
        after = doses[k + 1] if k + 1 < len(doses) else None
        for seed, value in curves[dose].items():
            told[k] |= value == 0
            if after:
                told[k] |= curves[after].get(seed, 0) >= finest or curves[after].get(seed, 0) * dose > value * after
    return told


def test_student_draws_cover_as_they_should():
    """The quantiles of one curve's draws are those of Student's t."""
    rng, values = np.random.default_rng(0), {1.0: dict(enumerate([0.1, 0.2, 0.15, 0.3, 0.22]))}
    found = drawn(values, rng.standard_normal((20_000, 5)), rng.random(20_000))[:, 0]
    _, low, high = interval(np.array(list(values[1.0].values())))
    np.testing.assert_allclose(np.quantile(found, [0.025, 0.975]), [low, high], atol=0.006)


@pytest.mark.parametrize("name", sorted({name for name, _ in FACTORS}))
def test_intervals_of_dose_factors(name):
    """The ends, by draws of our own: each leaves out the share of draws that it should."""
    arms, draws = cells(name), 20_000
    finest = json.loads((REPORTS / name / "arms.json").read_text(encoding="utf-8")).get("finest", 1.0)
    finest = float(f"{finest:.9g}")  # as the table has what is cut there
    groups = defaultdict(list)
    for row in read(name, "dose_factor.csv"):
        groups[row["method"], row["split"], row["yardstick"], row["reference"], row["other"]].append(row)
    checked = 0
    for (method, split, yardstick, *pair), rows in groups.items():
        of_error, curves = yardstick == "relative error", []
        for loss in pair:
            own = {k[3]: of for k, of in arms.items() if k[:3] == (method, split, loss)}
            curves.append({d: {s: MEASURED[yardstick](v) for s, v in of.items()} for d, of in own.items()})
        (n,) = {len(of) for curve in curves for of in curve.values()}
        rng = np.random.default_rng(11)
        g, u = rng.standard_normal((draws, n)), rng.random(draws)
        x = [np.log10(sorted(curve)) for curve in curves]
        steps = [steps_of(at, curve, finest, of_error) for at, curve in zip(x, curves, strict=True)]
        values = [drawn(curve, g, u) for curve in curves]
        for row in rows:
            level = -np.log10(float(row["level"])) if of_error else float(row["level"])
            (low_a, high_a), (low_b, high_b) = (confined(x[k], values[k], level, steps[k]) for k in (0, 1))
            for end, logs, shares in (
                (row["low"], low_b - high_a, BAND),
                (row["high"], high_b - low_a, (1 - BAND[1], 1 - BAND[0])),
            ):
                none = -np.inf if shares == BAND else np.inf
                told = np.log10(float(end)) if end else none
                first, last = (np.quantile(logs, share, method="nearest") for share in shares)
                assert first - 1e-6 <= told <= last + 1e-6, (row, first, last)
                checked += bool(end)
    assert checked


def scans_with_flaws():
    """{name: {(method, loss, photons): {seed: {yardstick: what rises}}}} of the training scans of reports/flaws."""
    found = defaultdict(lambda: defaultdict(dict))
    for row in read("flaws", "arms.csv"):
        if "heldout" not in row["part"]:
            name, method = row["name"].split("/")[0], row["architecture"] or "direct"
            told = {"relative error": -np.log10(number(row["relative_mse"]))}
            told["FRC50"] = number(row["amplitude_frc50"] or "0")
            found[name][method, row["loss"], float(row["nphotons"])][int(row["seed"])] = told
    return found


@pytest.mark.parametrize("yardstick", ["relative error", "FRC50"])
def test_what_flaws_cost(yardstick):
    """The dose of the flawed scan over that of a flawless one that comes to the same, seed by seed."""
    found, told = scans_with_flaws(), [row for row in read("flaws", "flaws.csv") if row["yardstick"] == yardstick]
    assert {row["flaw"] for row in told} == {name for name in found if not name.startswith("none")}
    for row in told:
        of, dose = (row["method"], row["loss"]), float(row["nphotons"])
        flawless = found["none, zone_plate" if row["flaw"] == "defocus" else "none"]
        doses = sorted(photons for *own, photons in flawless if tuple(own) == of)
        x, logs, beyond = np.log10(doses), [], []
        for seed, values in found[row["flaw"]][(*of, dose)].items():
            ladder = [flawless[(*of, photons)][seed][yardstick] for photons in doses]
            ladder, value = rising(ladder, np.ones(len(doses))), values[yardstick]
            if value <= ladder[0]:  # no better than the flawless scan at the lowest doses: worth those at most
                beyond.append(seed)
                logs.append(np.log(dose) - np.log(10) * x[ladder == ladder[0]].max())
                continue
            k = int(np.argmax(ladder >= value)) if value <= ladder[-1] else len(x) - 1
            worth = x[k] - max(ladder[k] - value, 0) / (ladder[k] - ladder[k - 1]) * (x[k] - x[k - 1])
            if value >= np.interp(np.log10(dose), x, ladder):
                worth = max(worth, np.log10(dose)) if value <= ladder[-1] else np.log10(dose)
            logs.append(np.log(dose) - np.log(10) * worth)
        if beyond:
            assert float(row["at_least"]) == pytest.approx(np.exp(np.mean(logs))) and not row["factor"]
            continue
        expected = np.exp(interval(np.array(logs)))
        found_now = [number(row[name]) for name in ("factor", "low", "high")]
        np.testing.assert_allclose(found_now, expected, rtol=2e-3)
