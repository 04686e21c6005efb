"""A dose-response study in words: sentences that follow from its numbers and claim no more."""

import math
from itertools import pairwise

from ptycho.findings.intervals import Interval, share_interval
from ptycho.findings.response.arm_table import Method
from ptycho.findings.response.dose_factor import FARTHEST, FRC50, Factor
from ptycho.findings.response.dose_response import Curve, Difference, DoseResponse, Point, method_label, methods_of
from ptycho.scans.exposure import Exposure

CLAIMED = 10.0
"""The published factor: how many times the photons of the Poisson likelihood an absolute error is said to need."""


def verdict_in_words(study: DoseResponse) -> list[str]:
    """For each method its differences at equal dose, its factors at equal resolution, its efficiency and how bright its
    images are; then caveats.
    The numbers in brackets are the ends of 95 % intervals."""
    sentences = []
    points = {(c.method, c.loss, p.nphotons): p for c in study.curves for p in c.points}
    for method in methods_of(study.curves):
        where = method_label(method)
        for found in (difference for difference in study.differences if difference.method == method):
            pair = [points[method, loss, found.nphotons] for loss in (found.first, found.second)]
            sentences.append(f"{where}: {_difference(found, pair[0], pair[1], study)}")
        measured = (*study.factors, *study.others)
        sentences += [f"{where}: {_factor(one, study.exposure)}" for one in measured if one.method == method]
        for curves, tell in ((study.efficiencies, _efficiency), (study.levels, _level)):
            sentences += [f"{where}: {tell(curve, study.exposure)}" for curve in curves if curve.method == method]
    return sentences + caveats(study)


def caveats(study: DoseResponse) -> list[str]:
    """Which arms tell nothing, and what the intervals rest on."""
    sentences = [f"Left out: {fault}." for fault in study.faults]
    decades = [math.log10(point.nphotons) for point in study.curves[0].points]
    gap = max((b - a for a, b in pairwise(decades)), default=0.0)
    if study.factors and gap > 1:
        beyond = f", up to {FARTHEST:g} decades" if gap > FARTHEST else ""
        rest = f"the factors rest on straight lines between them{beyond}"
        sentences.append(f"Neighbouring doses lie up to {gap:.1f} decades apart: {rest}.")
    if ranges := sorted({p.interval.level for c in study.curves for p in c.points if p.interval.is_range}):
        levels = " or ".join(f"{100 * level:.0f} %" for level in ranges)
        sentences.append(
            "A star marks a cell near a collapse, where some seeds resolve much less than others. It holds the median "
            f"and the range of all seeds, an interval of {levels} for the median. No interval of a mean holds there."
        )
    sentences.append(
        f"Seeds: {len(study.seeds)}. A seed sets all that is random in an arm: noise and initialisation, and of a "
        "simulation the object and the scan; the losses and doses compared share it. The seeds of a measured scan are "
        "thinnings of one exposure: they say nothing of what another exposure would vary. FRC50 is in fractions of "
        "Nyquist; a collapsed arm counts as 0. Each other interval is of 95 % by itself: of twenty such comparisons "
        "one is expected to mislead."
    )
    return sentences


def _interval(found: Interval, form: str = ".3f") -> str:
    words = "unknown" if found.mean is None else format(found, form)
    return words + (" (one seed, no interval)" if found.n == 1 else "")


def _seeds(n: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'}"


def _lost(loss: str, point: Point) -> str:
    """What became of the arms that did not end well, to be added to a sentence."""
    told = []
    if point.n_collapsed:
        low, high = (100 * end for end in share_interval(point.n_collapsed, point.n_collapsed + point.n_ok))
        told.append(f"{point.n_collapsed} collapsed (95 % interval of their share: {low:.0f} to {high:.0f} %)")
    told += [f"{n} {word}" for n, word in ((point.n_failed, "failed"), (point.n_missing, "missing")) if n]
    return f" Of {len(point.values)} {loss} arms: {', '.join(told)}." if told else ""


def _difference(found: Difference, first: Point, second: Point, study: DoseResponse) -> str:
    dose = f"at {study.exposure.words(found.nphotons)}"
    lost = _lost(found.first, first) + _lost(found.second, second)
    interval = found.interval
    if interval.mean is None:
        return f"{dose} no seed has both {found.first} and {found.second}.{lost}"
    one, other = _interval(first.interval), _interval(second.interval)
    means = f"FRC50 is {one} with {found.first} and {other} with {found.second}"
    paired = f"the paired difference is {_interval(interval)} over {_seeds(interval.n)}"
    alike = "it contains 0, the losses are not shown to differ"
    if interval.low == interval.high:
        cut = all(value is None or value >= study.finest for point in (first, second) for value in point.values)
        alike = "both resolve all that may be claimed" if cut else "they are the same in every seed"
    claim = found.claim(alike, "it supports no claim")
    return f"{dose} {means}; {paired}: {claim}.{lost}"


def _factor(found: Factor, exposure: Exposure) -> str:
    needs = f"for {found.yardstick.words(found.level)} {found.other} needs"
    times = f"times the {exposure.particle} of {found.reference}"
    if found.value is not None:
        reference, other = (exposure.dose(dose or 0) for dose in found.doses)
        doses = f"({other:.3g} against {reference:.3g} {exposure.per}; {_seeds(found.n)})"
        if found.n < 2:
            return f"{needs} {found.value:.3g} {times} {doses}; {found.reason}, and no claim."
        contains_one = (found.low or 0) <= 1 and (found.high is None or found.high >= 1)
        claim = "; the interval contains 1, the losses are not shown to differ" if contains_one else ""
        return f"{needs} {found.value:.3g} {_ends(found)} {times} {doses}{claim}."
    if not _known(found):
        return f"for {found.yardstick.words(found.level)} no factor can be given: {found.reason}."
    ends = (("more", found.low), ("less", found.high))
    bounds = [f"{word} than {end:.3g}" for word, end in ends if end is not None]
    return f"{needs} {' and '.join(bounds)} {times} (ends of the interval; {_seeds(found.n)}): {found.reason}."


def _efficiency(curve: Curve, exposure: Exposure) -> str:
    if not (told := _by_dose(curve, ".2g", exposure)):
        return f"no arm tells the efficiency of {curve.loss}."
    kept = f"share of the information of {exposure.particle} that is kept, by counting them"
    return f"{kept}, {curve.loss}, by {exposure.unit}: {told}."


def _level(curve: Curve, exposure: Exposure) -> str:
    if not (told := _by_dose(curve, ".2f", exposure)):
        return f"no arm tells how bright the images of {curve.loss} are."
    return f"amplitude of the images of {curve.loss} in units of the truth's, by {exposure.unit}: {told}."


def _by_dose(curve: Curve, form: str, exposure: Exposure) -> str:
    known = [point for point in curve.points if point.interval.n]
    return ", ".join(f"{_interval(p.interval, form)} at {exposure.dose(p.nphotons):.3g}" for p in known)


def verdict_in_short(study: DoseResponse) -> list[str]:
    """The verdict in short: for each method and pair of losses the dose factors, and at which doses one resolves finer;
    how far each loss stays from the photon limit; what collapsed; then caveats."""
    sentences = []
    for method in methods_of(study.curves):
        where = method_label(method)
        for pair in dict.fromkeys((d.first, d.second) for d in study.differences if d.method == method):
            sentences.append(f"{where}: {_short_factors(study, method, pair)}")
            sentences += [f"{where}: {told}" for told in _yardsticks(study, method, pair)]
            sentences.append(f"{where}: {_short_differences(study, method, pair)}")
        sentences += [f"{where}: {_short_limit(c, study.exposure)}" for c in study.attained if c.method == method]
        for curve in (one for one in study.curves if one.method == method):
            lost = [point for point in curve.points if point.n_collapsed]
            told = study.exposure
            at = ((point, told.dose(point.nphotons)) for point in lost)
            if shares := ", ".join(f"{p.n_collapsed} of {p.n_collapsed + p.n_ok} at {dose:.3g}" for p, dose in at):
                sentences.append(f"{where}: of {curve.loss} arms collapsed, by {told.unit}: {shares}.")
    return sentences + caveats(study)


def _short_factors(study: DoseResponse, method: Method, pair: tuple[str, str]) -> str:
    told: list[str] = []
    claim: dict[str, list[str]] = {"excluded, it is more": [], "excluded, it is less": [], "not excluded": []}
    for factor in study.factors:
        low, high, at = factor.low, factor.high, f"{factor.level:.2f}"
        if (factor.method, factor.reference, factor.other) != (method, *pair) or not _known(factor):
            continue
        value = "" if factor.value is None else f"{factor.value:.3g} "
        told.append(f"{value}{_ends(factor) if factor.n > 1 else '(one seed, no interval)'} at {at}")
        if factor.n > 1:
            less, more = high is not None and high < CLAIMED, low is not None and low > CLAIMED
            claim["excluded, it is less" if less else "excluded, it is more" if more else "not excluded"].append(at)
    if not told:
        own = [one for one in study.factors if (one.method, one.reference, one.other) == (method, *pair)]
        why = "; ".join(dict.fromkeys(reason for one in own for reason in one.reason.split("; ")))
        return f"no dose factor of {pair[1]} over {pair[0]} can be given: {why or 'a loss has no arms'}."
    times = f"these times the {study.exposure.particle} of {pair[0]}"
    words = f"{pair[1]} needs, for an FRC50 in fractions of Nyquist, {times}: "
    claims = "; ".join(f"{word} at {', '.join(at)}" for word, at in claim.items() if at)
    return words + ", ".join(told) + "." + (f" A factor of {CLAIMED:g} is {claims}." if claims else "")


def _yardsticks(study: DoseResponse, method: Method, pair: tuple[str, str]) -> list[str]:
    """The factors of one pair by each other yardstick, and where yardsticks contradict one another."""
    told, more, less = [], dict[str, None](), dict[str, None]()
    own = [one for one in (*study.factors, *study.others) if (one.method, one.reference, one.other) == (method, *pair)]
    for name in dict.fromkeys(one.yardstick.name for one in own):
        known = [one for one in own if one.yardstick.name == name and _known(one)]
        levels = [f"{one.level:.0e}" if one.yardstick.of_error else f"{one.level:.2f}" for one in known]
        for one, level in zip(known, levels, strict=True):
            if one.n > 1 and one.low is not None and one.low > 1:
                more[f"{name} {level}"] = None
            if one.n > 1 and one.high is not None and one.high < 1:
                less[f"{name} {level}"] = None
        if name != FRC50.name and known:
            each = (
                ("" if one.value is None else f"{one.value:.3g} ")
                + f"{_ends(one) if one.n > 1 else '(one seed)'} at {at}"
                for one, at in zip(known, levels, strict=True)
            )
            needs = f"{pair[1]} needs, times the {study.exposure.particle} of {pair[0]}"
            told.append(f"by {name} {needs}: {', '.join(each)}.")
    if more and less:
        told.append(
            f"the yardsticks disagree: {pair[1]} needs more by {', '.join(more)}, and less by {', '.join(less)}."
        )
    return told


def _known(factor: Factor) -> bool:
    return any(number is not None for number in (factor.value, factor.low, factor.high))


def _ends(factor: Factor) -> str:
    low = "0" if factor.low is None else f"{factor.low:.3g}"
    return f"[{low}, {'unbounded' if factor.high is None else f'{factor.high:.3g}'}]"


def _short_differences(study: DoseResponse, method: Method, pair: tuple[str, str]) -> str:
    at: dict[str, list[str]] = {}
    for found in study.differences:
        if (found.method, found.first, found.second) == (method, *pair):
            alike = f"{found.first} and {found.second} are not shown to differ"
            word = found.claim(alike, "there is too little to compare")
            at.setdefault(word, []).append(f"{study.exposure.dose(found.nphotons):.3g}")
    return "; ".join(f"{word} at {', '.join(doses)}" for word, doses in at.items()) + f" {study.exposure.unit}."


def _short_limit(curve: Curve, exposure: Exposure) -> str:
    known = [(exposure.dose(point.nphotons), point.interval.mean) for point in curve.points]
    told = [f"{mean:.2g} at {dose:.3g}" for dose, mean in known if mean]
    if not told:
        return f"the Cramér-Rao bound of {curve.loss} is not known."
    kept = f"share of the information of {exposure.particle} that is kept, by Cramér and Rao"
    return f"{curve.loss}, {kept}, by {exposure.unit}: {', '.join(told)}."
