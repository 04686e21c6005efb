"""The tables of the reports from their arms.csv alone, with NumPy and none of the package's code.

Every arm is a row of arms.csv. From these rows the means and intervals of dose_response.csv and the factors of
dose_factor.csv are computed here a second time.
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

REPORTS = Path(__file__).resolve().parents[2] / "reports"
SWEEPS = sorted(str(path.parent.relative_to(REPORTS)) for path in REPORTS.rglob("dose_response.csv"))
QUANTITY = {"siemens-star-sweep": "phase", "conditions/siemens": "phase"}
"""What the object shows, where it is not the amplitude."""


def read(name, file):
    return list(csv.DictReader((REPORTS / name / file).read_text(encoding="utf-8").splitlines()))


def number(word):
    return float(word) if word else np.nan


def student(n):
    """The 97.5 % quantile of Student's t with n - 1 degrees of freedom, from its density."""
    x = np.linspace(0, 400, 4_000_001)
    density = (1 + x**2 / (n - 1)) ** (-n / 2)
    mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    tail = 0.0 if n > 3 else (400.0 ** (1 - n) * (n - 1) ** (n / 2) / (n - 1)) / (x[1] - x[0])  # what lies beyond
    return float(np.interp(0.95 * (mass[-1] + tail), mass, x))


QUANTILE = {n: student(n) for n in range(2, 11)}


def interval(values, low=-np.inf, high=np.inf):
    n = len(values)
    if n < 2:
        return (np.mean(values), np.nan, np.nan) if n else (np.nan,) * 3
    half = QUANTILE[n] * np.std(values, ddof=1) / np.sqrt(n)
    return np.mean(values), max(np.mean(values) - half, low), min(np.mean(values) + half, high)


def cells(name):
    """{(method, split, loss, photons): {seed: (FRC50, relative error, the least by counting and by Cramér and Rao, FRC
    1/7)}}; a collapsed arm resolves 0."""
    found, contrast = defaultdict(dict), QUANTITY.get(name, "amplitude")
    for row in read(name, "arms.csv"):
        if row["part"]:
            direct = row["part"].startswith("direct")
            split = "heldout" if "heldout" in row["part"] else "train"
            method = "direct" if direct else row["architecture"]
            of_rings = (row[f"{contrast}_{name}"] for name in ("frc50", "seventh"))
            resolved, seventh = map(number, of_rings) if row[f"{contrast}_frc50"] else (0.0, 0.0)
            key = method, split, row["loss"], float(row["nphotons"])
            least = number(row["photon_bound"]), number(row["information_bound"])
            found[key][int(row["seed"])] = resolved, number(row["relative_mse"]), *least, seventh
    return found


def collapses(curves):
    """{photons: whether a seed resolves nothing, gains faster than the dose, or resolves a tenth less than it did from
    fewer photons; and not all resolve nothing} of {photons: {seed: FRC50}}."""
    doses, told = sorted(curves), {}
    for k, dose in enumerate(doses):
        after = doses[k + 1] if k + 1 < len(doses) else None
        told[dose] = any(curves[dose].values()) and any(
            value == 0
            or (after and curves[after].get(seed, 0) * dose > value * after)
            or any(value < 0.9 * curves[before].get(seed, 0) for before in doses[:k])
            for seed, value in curves[dose].items()
        )
    return told


def span(values):
    return np.median(values), np.min(values), np.max(values)


@pytest.mark.parametrize("name", SWEEPS)
def test_means_and_intervals(name):
    found, checked = cells(name), 0
    for row in read(name, "dose_response.csv"):
        key = row["method"], row["split"], row["loss"], float(row["nphotons"])
        seeds = found[key]
        if not seeds:
            assert row["frc50"] == ""
            continue
        resolved, errors, counting, least, _ = np.array(list(seeds.values())).T
        curve = {k[3]: {s: v[0] for s, v in of.items()} for k, of in found.items() if k[:3] == key[:3]}
        near = collapses(curve)[key[3]] and len(seeds) > 1
        assert float(row["frc50_level"]) == (1 - 2.0 ** (1 - len(seeds)) if near else 0.95)
        expected = span(resolved) if near else interval(resolved, 0, 1)
        written = [number(row[column]) for column in ("frc50", "frc50_low", "frc50_high")]
        np.testing.assert_allclose(written, expected, rtol=2e-4, atol=2e-6)
        # the errors, and the share of the photons' information that an image keeps: its ratio of signal to noise over
        # that of an unbiased one
        kept = {"relative_mse": errors}
        kept |= {"efficiency": counting * (1 / errors - 1), "attained": least * (1 / errors - 1)}
        for name, values in kept.items():
            values = values[~np.isnan(values)]  # of some arms the bound is not known
            if not len(values):
                assert row[name] == ""
                continue
            expected = span(values) if near else np.exp(interval(np.log(values)))
            written = [number(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
            np.testing.assert_allclose(written, expected, rtol=1e-3)
        checked += 1
    assert checked


def rising(values, weights):
    """The non-decreasing sequence nearest to `values`: neighbours that fall are replaced by their mean (PAVA)."""
    blocks = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, u, m), (b, v, n) = blocks[-2:]
            blocks[-2:] = [[(a * u + b * v) / (u + v), u + v, m + n]]
    return np.concatenate([[value] * n for value, _, n in blocks])


def crossing(curves, level):
    """The dose at which the mean of {photons: {seed: FRC50}} first reaches the level, on straight lines over log dose."""
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
    "FRC50": lambda of_seed: of_seed[0],
    "FRC 1/7": lambda of_seed: of_seed[4],
    "relative error": lambda of_seed: -np.log10(of_seed[1]),
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


def ladders():
    """{name: {(method, loss, photons): {seed: relative error}}} of reports/flaws."""
    found = defaultdict(lambda: defaultdict(dict))
    for row in read("flaws", "arms.csv"):
        name, method = row["name"].split("/")[0], row["architecture"] or "direct"
        found[name][method, row["loss"], float(row["nphotons"])][int(row["seed"])] = number(row["relative_mse"])
    return found


def test_what_flaws_cost():
    """By the error: the dose of the flawed scan over that of a flawless one with the same error, seed by seed."""
    found, told = ladders(), [row for row in read("flaws", "flaws.csv") if row["yardstick"] == "relative error"]
    assert {row["flaw"] for row in told} == {name for name in found if not name.startswith("none")}
    for row in told:
        of, dose = (row["method"], row["loss"]), float(row["nphotons"])
        flawless = found["none, zone_plate" if row["flaw"] == "defocus" else "none"]
        doses = sorted(photons for *own, photons in flawless if tuple(own) == of)
        logs, beyond = [], []
        for seed, error in found[row["flaw"]][(*of, dose)].items():
            ladder = rising(-np.log10([flawless[(*of, photons)][seed] for photons in doses]), np.ones(len(doses)))
            x, value = np.log10(doses), -np.log10(error)
            if value <= ladder[0]:  # no better than the flawless scan at the lowest doses: worth those at most
                beyond.append(seed)
                logs.append(np.log(dose) - np.log(10) * x[ladder == ladder[0]].max())
                continue
            worth = x[-1] if value > ladder[-1] else np.interp(value, ladder, x)
            if value >= np.interp(np.log10(dose), x, ladder):
                worth = max(worth, np.log10(dose))
            logs.append(np.log(dose) - np.log(10) * worth)
        if beyond:
            assert float(row["at_least"]) == pytest.approx(np.exp(np.mean(logs))) and not row["factor"]
            continue
        expected = np.exp(interval(np.array(logs)))
        found_now = [number(row[name]) for name in ("factor", "low", "high")]
        np.testing.assert_allclose(found_now, expected, rtol=2e-3)
