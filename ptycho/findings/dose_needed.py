"""What dose a resolution takes: the curve of a measured scan's resolution over its dose, crossed, with an interval.

From the thinnings of :mod:`ptycho.judge.halves`. The mean FRC50 over the thinnings of each dose, made to rise with the
dose, is taken as straight between neighbouring doses on a logarithmic scale; the interval is that of draws of such
curves (``findings.intervals``). It holds what thinning and fitting vary. What another scan of the same sample would
vary is not in it: all thinnings come from the same photons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ptycho.files import Table, text_table
from ptycho.findings.intervals import DRAWS, Interval, crossing, dose_ends, isotonic, mean_draws, mean_interval
from ptycho.judge.frc import period_px
from ptycho.judge.halves import Thinning
from ptycho.scans.exposure import OF_PHOTONS, Exposure
from ptycho.study.config import period
from ptycho.study.status import unclaimed


@dataclass(frozen=True)
class Level:
    """One dose: photons per pattern and per object pixel, and over its thinnings the FRC50 that the halves promise and
    the frequency to which they agree on half a bit; of one thinning the FRC50 by the reference, None at full dose."""

    dose: str
    nphotons: float
    fluence: float
    frc50: Interval
    half_bit: Interval
    reference: float | None


@dataclass(frozen=True)
class Needed:
    """Photons per pattern for an FRC50 of ``frequency``, a fraction of Nyquist, and per object pixel. nphotons, low,
    high: None where the doses at hand set no such number: then ``reached`` says where they lie, 'below' the lowest of
    them or 'above' the highest."""

    frequency: float
    nphotons: float | None
    low: float | None
    high: float | None
    fluence_per_photon: float
    reached: str
    n: int


def levels(thinnings: Sequence[Thinning]) -> list[Level]:
    """The doses of a study, lowest first."""
    found = []
    for dose in dict.fromkeys(one.dose for one in thinnings):
        members = [one for one in thinnings if one.dose == dose]
        table = np.array([(one.nphotons, one.fluence, one.split.frc50, one.split.crossing) for one in members]).T
        nphotons, fluence = (float(np.mean(row)) for row in table[:2])
        frc50, half_bit = (mean_interval(row, (0, 1)) for row in table[2:])
        reference = next((one.reference_frc50 for one in members if one.reference is not None), None)
        found.append(Level(dose, nphotons, fluence, frc50, half_bit, reference))
    return sorted(found, key=lambda level: level.nphotons)


def fraction(resolution: str, pixel_size: float | None) -> float:
    """The frequency, as a fraction of Nyquist, that RESOLUTION asks for. `pixel_size` in metres. Raises ConfigError for
    other words than ``config.period`` takes, ValueError for a period below two pixels, and for nanometres where the
    pixel's size is unknown."""
    value, unit = period(resolution)
    if unit == "nm":
        if pixel_size is None:
            unknown = "the scan does not tell its pixel size; expected pixels, like 4.5"
            raise ValueError(f"RESOLUTION={resolution}: {unknown}")
        value *= 1e-9 / pixel_size
    if value < 2 * (1 - 1e-9):  # 8.2 nm are two pixels of 4.1 nm, but for the last digit
        raise ValueError(f"RESOLUTION={resolution} is a period of {value:.2f} object pixels; expected 2 or more")
    return min(1.0, 2 / value)


def needed(thinnings: Sequence[Thinning], frequency: float, seed: int = 0) -> Needed:
    """The dose at which the FRC50 promised by the halves reaches ``frequency``, in (0, 1], and its 95 % interval. seed:
    of the draws for the interval. Raises ValueError where the doses do not have equally many thinnings."""
    by_dose = levels(thinnings)
    columns = [[one.split.frc50 for one in thinnings if one.dose == level.dose] for level in by_dose]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("expected equally many thinnings of each dose")
    table = np.array(columns).T  # (thinnings, doses)
    x, ones = np.log10([level.nphotons for level in by_dose]), np.ones(len(by_dose))
    low, high = (float(end) for end in crossing(x, isotonic(table.mean(axis=0), ones), frequency))
    reached = "within" if low == high else "below" if math.isinf(low) else "above"
    ends: tuple[float | None, float | None] = (None, None)
    if len(table) > 1:
        draws = isotonic(mean_draws(table, DRAWS, np.random.default_rng(seed)), ones)
        ends = dose_ends(*crossing(x, draws, frequency))
    top = by_dose[-1]
    dose = float(10**low) if reached == "within" else None
    return Needed(frequency, dose, *ends, top.fluence / top.nphotons, reached, len(table))


def resolution_record(found: Sequence[Level], asked: Needed | None, sentences: Sequence[str]) -> dict[str, Any]:
    """The content of resolution.json: plain numbers, None where there is none."""
    levels, needed = [asdict(level) for level in found], None if asked is None else asdict(asked)
    return {"levels": levels, "needed": needed, "recommendation": list(sentences)}


def levels_table(
    found: Sequence[Level], pixel_size: float | None, claimed: bool = True, told: Exposure = OF_PHOTONS
) -> Table:
    """The levels: frequencies as fractions of Nyquist with their intervals, periods in pixels or nanometres.
    The doses alone where no resolution is ``claimed``; with what the sample feels where it is ``told``."""
    columns = [("dose", ">6", ""), ("per pattern", ">11", ".4g"), ("per obj. pixel", ">14", ".4g")]
    doses: list[list[Any]] = [[one.dose, one.nphotons, one.fluence] for one in found]
    if told.sample_unit is not None:
        columns.append((told.sample_unit, f">{len(told.sample_unit) + 2}", ".4g"))
        doses = [[*row, told.on_sample(row[1])] for row in doses]
    if not claimed:
        return text_table(columns, doses)
    columns += [("halves: half a bit", ">22", ".3f"), ("halves: FRC50", ">22", ".3f")]
    columns += [("reference: FRC50", ">16", ".3f"), (f"period, {'nm' if pixel_size else 'pixels'}", ">15", ".3g")]
    rows = []
    for one, dose in zip(found, doses, strict=True):
        period, _ = _period(one.frc50.mean or 0, pixel_size)
        rows.append([*dose, one.half_bit, one.frc50, one.reference, period])
    return text_table(columns, rows)


def _period(frequency: float, pixel_size: float | None) -> tuple[float, str]:
    pixels = period_px(frequency)
    return (pixels * pixel_size * 1e9, "nm") if pixel_size else (pixels, "pixels")


def recommendation(
    found: Sequence[Level],
    asked: Needed | None,
    pixel_size: float | None,
    trust: Mapping[str, Any],
    told: Exposure = OF_PHOTONS,
    damage: float | None = None,
) -> list[str]:
    """Sentences that follow from the numbers: what each end of the ladder resolves, and the dose that is needed.

    trust: of the reference (``data/trust.json``). Where it is in doubt, nothing is claimed. Nothing finer is claimed
    than its ``finest``, where two images from disjoint halves of the positions cease to agree. told: what the doses are
    to the sample. damage: the dose that it bears, in ``told.sample_unit``.
    """
    if doubtful := unclaimed(trust["doubts"]):
        return doubtful
    finest, sentences = trust["finest"], []
    for level in (found[0], found[-1])[: len(found)]:
        promised = level.frc50.mean or 0
        value, unit = _period(min(promised, finest), pixel_size)
        sentences.append(
            f"At {told.words(level.nphotons)} the two halves of the {told.particle} promise an FRC50 of "
            f"{level.frc50:.3f} of Nyquist, a full period of {value:.3g} {unit}."
            if promised <= finest
            else f"At {told.words(level.nphotons)} the {told.particle} would allow more, but two images from "
            f"disjoint halves of the positions agree to {finest:.3f} of Nyquist alone, a full period of {value:.3g} "
            f"{unit}."
        )
    sentences += [] if damage is None else [before_damage(found, pixel_size, finest, told, damage)]
    if asked is not None and asked.frequency > finest:
        return [
            *sentences,
            f"For {asked.frequency:.2f} of Nyquist no dose is given: the scan agrees with itself to less.",
        ]
    if asked is None:
        unasked = "No resolution was asked for: RESOLUTION names the full period that the dose is to resolve."
        return [*sentences, unasked]
    value, unit = _period(asked.frequency, pixel_size)
    aim = f"a full period of {value:.3g} {unit} (FRC50 of {asked.frequency:.2f} of Nyquist)"
    low, high = (told.words(found[k].nphotons) for k in (0, -1))
    if asked.reached == "below":
        answer = f"the lowest dose of the study is enough: {low} or fewer."
    elif asked.reached == "above":
        answer = (
            f"the highest dose of the study is not enough: more than {high} are needed, if it can be reached at all."
        )
    else:
        assert asked.nphotons is not None
        ends = " (no interval)"
        if asked.n > 1:
            ends = f" [{_end(asked.low, 'fewer', told)}, {_end(asked.high, 'more', told)}]"
        fluence, felt = asked.nphotons * asked.fluence_per_photon, told.on_sample(asked.nphotons)
        answer = f"{told.dose(asked.nphotons):.2g}{ends} {told.unit} are needed, {fluence:.3g} per object pixel"
        answer += "." if felt is None or told.sample_unit == told.unit else f", {felt:.3g} {told.sample_unit}."
    same = f"over {asked.n} thinnings of the same {told.particle}"
    interval = f"The interval is of 95 %, {same}; b" if asked.n > 1 else "B"
    straight = "etween neighbouring doses the resolution is taken as straight over the logarithm of the dose."
    return [*sentences, f"For {aim} {answer}", interval + straight]


def before_damage(
    found: Sequence[Level], pixel_size: float | None, finest: float, told: Exposure, damage: float
) -> str:
    """What is resolved at the dose that the sample bears, `damage` in ``told.sample_unit``: straight between doses."""
    if told.sample_unit is None:
        return f"DAMAGE={damage:.3g} is compared with no dose: the size of an object pixel is unknown."
    doses = [told.on_sample(level.nphotons) or 0 for level in found]
    bears = f"The sample bears {damage:.3g} {told.sample_unit}"
    if damage < doses[0]:
        return f"{bears}, less than the lowest dose of the study, {doses[0]:.3g}: no resolution is known before it."
    resolved = isotonic(np.array([level.frc50.mean or 0 for level in found]), np.ones(len(found)))
    reached = np.interp(np.log10(damage), np.log10(doses), resolved)
    value, unit = _period(min(float(reached), finest), pixel_size)
    beyond = ", the most that the study knows, for its doses end below" if damage > doses[-1] else ""
    return f"{bears}: before it a full period of {value:.3g} {unit} is resolved{beyond}."


def _end(value: float | None, otherwise: str, told: Exposure) -> str:
    return otherwise if value is None else f"{told.dose(value):.2g}"
