"""Statistics and tables of the reports a second time, with NumPy and none of the package's code."""

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np

REPORTS = Path(__file__).resolve().parents[2] / "reports"
SWEEPS = sorted(str(path.parent.relative_to(REPORTS)) for path in REPORTS.rglob("dose_response.csv"))
QUANTITY = {"siemens-star-sweep": "phase", "conditions/siemens": "phase"}
"""What the object shows, where it is not the amplitude."""
NUMBERS = ("relative_mse", "photon_bound", "information_bound", "amplitude_level", "absolute_mse")
"""Of an arm, whatever the object shows."""


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


@cache
def cells(name):
    """{(method, split, loss, photons): {seed: {what is told: its number}}}; a collapsed arm resolves 0."""
    found, contrast = defaultdict(dict), QUANTITY.get(name, "amplitude")
    for row in read(name, "arms.csv"):
        if row["part"]:
            direct = row["part"].startswith("direct")
            split = "heldout" if "heldout" in row["part"] else "train"
            method = "direct" if direct else row["architecture"]
            told = {name: number(row[name]) for name in NUMBERS}
            for resolved in ("frc50", "seventh", "first"):
                told[resolved] = number(row[f"{contrast}_{resolved}"]) if row[f"{contrast}_frc50"] else 0.0
            told["limit"] = number(row[f"{contrast}_frc50_limit"])
            key = method, split, row["loss"], float(row["nphotons"])
            found[key][int(row["seed"])] = told
    return dict(found)


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


def rising(values, weights):
    """The non-decreasing sequence nearest to `values`: neighbours that fall are replaced by their mean (PAVA)."""
    blocks = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, u, m), (b, v, n) = blocks[-2:]
            blocks[-2:] = [[(a * u + b * v) / (u + v), u + v, m + n]]
    return np.concatenate([[value] * n for value, _, n in blocks])
