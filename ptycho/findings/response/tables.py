"""The numbers beside the figures of a dose-response, and what one of them shows in words."""

from typing import Any

from ptycho.findings.response.arm_table import STATUSES
from ptycho.findings.response.dose_response import DoseResponse, method_label


def response_caption(study: DoseResponse) -> str:
    """The figure of resolution against dose in words, for those who cannot see it."""
    told, dose = [], study.exposure.dose
    for curve in study.curves:
        ends = [f"{one.interval.mean:.2f} at {dose(one.nphotons):.3g}" for one in curve.points if one.interval.n]
        if ends:
            told.append(f"{method_label(curve.method)}, {curve.loss}: {', '.join(ends)}")
    return f"FRC50 against {study.exposure.unit}, means over {len(study.seeds)} seeds. {'; '.join(told)}."


def response_rows(study: DoseResponse) -> list[dict[str, Any]]:
    """The numbers beside `resolution_response` and `error_response`, to six digits: a row a method, loss and dose; None
    is unknown."""
    limits = {(limit.method, limit.nphotons): limit for limit in study.limits}
    others = {"relative_mse": study.errors, "efficiency": study.efficiencies, "attained": study.attained}
    besides = {
        "frc50_first": study.first_crossings,
        "amplitude_level": study.levels,
        "absolute_mse": study.absolute_errors,
    }
    rows: list[dict[str, Any]] = []
    for number, curve in enumerate(study.curves):
        for k, point in enumerate(curve.points):
            method, split = curve.method
            row = {"method": method, "split": split, "loss": curve.loss, "nphotons": point.nphotons}
            if study.exposure.dose(1.0) != 1:
                row[study.exposure.unit] = float(f"{study.exposure.dose(point.nphotons):.9g}")
            row |= {status: getattr(point, f"n_{status}") for status in STATUSES}
            told = point.interval.row("frc50", "frc50_") | {"frc50_level": point.interval.level}
            for name, curves in others.items():
                told |= curves[number].points[k].interval.row(name, f"{name}_")
            limit = limits[curve.method, point.nphotons]
            told |= {"counting_limit": limit.counting, "cramer_rao_limit": limit.information}
            told["frc50_limit"] = limit.resolution
            for name, curves in besides.items():
                told |= curves[number].points[k].interval.row(name, f"{name}_")
            rows.append(row | {name: None if x is None else float(f"{x:.6g}") for name, x in told.items()})
    return rows


def factor_rows(study: DoseResponse) -> list[dict[str, Any]]:
    """The numbers beside `factor_response`: a row a method, pair of losses, yardstick and level of it."""
    return [
        {"method": one.method[0], "split": one.method[1], "yardstick": one.yardstick.name, "level": one.level}
        | {"reference": one.reference, "other": one.other}
        | {"reference_dose": one.doses[0], "other_dose": one.doses[1], "factor": one.value}
        | {"low": one.low, "high": one.high, "seeds": one.n, "reason": one.reason}
        for one in (*study.factors, *study.others)
    ]
