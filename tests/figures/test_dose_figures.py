"""The figures of a dose-response: what is drawn where, the numbers beside it, and what is not hidden."""

import io
from dataclasses import replace

import numpy as np
import pytest
from planted import DOSES, METHODS, SEEDS, study

from ptycho import files
from ptycho.figures import dose_response as drawing
from ptycho.findings.response import spectra, tables
from ptycho.findings.response.dose_response import dose_response_of
from ptycho.findings.response.spectra import Curves, MeanFRC
from ptycho.scans.exposure import Exposure


@pytest.fixture(scope="module")
def found():
    arms = study()
    for a in arms:
        for part in ("train", "heldout", "direct"):
            a[part] |= {"photon_bound": 10 / a["nphotons"], "information_bound": 40 / a["nphotons"]}
            a[part]["relative_mse"] = 80 / a["nphotons"]
    collapsed = next(a for a in arms if (a["nphotons"], a["loss"], a["seed"]) == (1e2, "mae", 3))
    collapsed["status"] = "collapsed"
    collapsed["train"]["amplitude_frc50"] = None
    return dose_response_of(arms)


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_resolution_has_a_panel_a_method_and_the_means_of_every_loss(found):
    figure = drawing.resolution_response(found)
    assert [axes.get_title() for axes in figure.axes] == [
        "unrolled, training scan",
        "unrolled, held-out scan",
        "direct, training scan",
    ]
    for axes, method in zip(figure.axes, METHODS, strict=True):
        assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "photons per pattern")
        drawn = {container.get_label(): container.lines[0] for container in axes.containers}
        for curve in found.curves:
            if curve.method == method:
                means = [point.interval.mean for point in curve.points]
                np.testing.assert_allclose(drawn[curve.loss].get_ydata(), means)
    assert figure.axes[0].get_ylabel() == "amplitude FRC50 (fraction of Nyquist)"
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert [text.get_text() for text in figure.axes[0].texts] == ["1"]  # the arm that collapsed
    assert not figure.axes[2].texts


def test_the_error_stands_beside_what_photons_allow(found):
    figure = drawing.error_response(found)
    upper, lower = figure.axes[0], figure.axes[len(METHODS)]
    assert (upper.get_yscale(), lower.get_ylabel()) == ("log", "share of information kept\n(by Cramér and Rao)")
    # as any image's error, after a fit of the scale
    np.testing.assert_allclose(lines_of(upper)["Cramér-Rao"].get_ydata(), 40 / (np.array(DOSES) + 40))
    np.testing.assert_allclose(lines_of(upper)["M/n"].get_ydata(), 10 / (np.array(DOSES) + 10))
    drawn = {container.get_label(): container.lines[0].get_ydata() for container in lower.containers}
    np.testing.assert_allclose(drawn["nll"], 0.5 * (1 - 80 / np.array(DOSES)))


def test_the_numbers_beside_the_figures_are_those_of_the_study(found):
    rows = tables.response_rows(found)
    assert len(rows) == len(METHODS) * 2 * len(DOSES)
    assert all(row.keys() == rows[0].keys() for row in rows)
    chosen = {"method": "unrolled", "split": "train", "loss": "mae", "nphotons": 1e2}
    (row,) = (r for r in rows if chosen.items() <= r.items())
    assert (row["ok"], row["collapsed"], row["failed"], row["missing"]) == (len(SEEDS) - 1, 1, 0, 0)
    assert row["relative_mse"] == pytest.approx(0.8) and row["cramer_rao_limit"] == pytest.approx(0.4)
    assert row["attained"] == pytest.approx(0.1) and row["efficiency"] == pytest.approx(0.025)
    factors = tables.factor_rows(found)
    assert {(f["reference"], f["other"]) for f in factors} == {("nll", "mae")}
    # at three levels of FRC50, and of the error; these arms do not tell where their correlation falls below 1/7
    assert [f["yardstick"] for f in factors].count("FRC50") == 3 * len(METHODS) == len(factors) / 2


def test_factors_are_drawn_with_their_intervals_and_open_ends_as_arrows(found):
    figure = drawing.factor_response(found)
    factors = [f for f in found.factors if f.method == METHODS[1]]
    drawn = [line for line in figure.axes[1].get_lines() if len(line.get_xdata()) == 2]
    spans = sorted(tuple(line.get_ydata()) for line in drawn if list(line.get_xdata()) != [0, 1])
    assert spans == sorted((f.low, f.high or 3 * f.value) for f in factors)
    assert figure.axes[1].get_yscale() == "log"
    short = dose_response_of([a for a in study(needs=50.0) if a["nphotons"] < 1e6])
    markers = [line.get_marker() for line in drawing.factor_response(short).axes[0].get_lines()]
    assert "^" in markers


def test_the_caption_says_the_numbers(found):
    words = tables.response_caption(found)
    mean = next(c for c in found.curves if (c.method, c.loss) == (METHODS[0], "nll")).points[2].interval.mean
    assert "unrolled, training scan, nll: " in words and f"{mean:.2f} at 1e+04" in words


def test_frc_curves_are_a_row_a_method_and_a_column_a_dose():
    frequency = np.linspace(0.1, 1, 10)
    correlation = np.stack([1 - frequency, 0.9 - frequency, 1.1 - frequency], axis=1)
    curves = tuple(
        MeanFRC(method, loss, dose, frequency, correlation, 5)
        for method in METHODS[::2]
        for dose in (1e3, 1e5)
        for loss in ("nll", "mae")
    )
    found = Curves("amplitude", curves, ())
    figure = drawing.frc_response(found)
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes[:2]] == ["10$^{3}$ photons", "10$^{5}$ photons"]
    np.testing.assert_allclose(lines_of(figure.axes[3])["mae"].get_ydata(), 1 - frequency)
    rows = spectra.frc_rows(found)
    assert len(rows) == len(curves) * 10 and rows[0]["low"] == pytest.approx(0.8)
    with pytest.raises(ValueError, match="no data"):
        drawing.frc_response(Curves("amplitude", (), ()))


def test_the_axes_of_electrons_are_per_square_angstrom(found):
    electrons = replace(found, exposure=Exposure("electrons", area=4e-20))
    for figure in (drawing.resolution_response(electrons), drawing.error_response(electrons)):
        assert figure.axes[-1].get_xlabel() == "electrons per A^2"
    drawn = {line.get_label(): line for line in drawing.error_response(electrons).axes[0].get_lines()}
    np.testing.assert_allclose(drawn["Cramér-Rao"].get_xdata(), np.array(DOSES) / 4)


def test_a_second_axis_tells_what_the_sample_feels(found):
    """25 photons per um^2 for each per pattern; nothing where the size of a pixel is unknown."""
    figure = drawing.resolution_response(replace(found, exposure=Exposure("photons", area=4e-14)))
    figure.savefig(io.BytesIO())  # which sets the limits of the second axis
    axes = figure.axes[0]
    (top,) = axes.child_axes
    assert top.get_xlabel() == "photons per um^2" and axes.get_xlabel() == "photons per pattern"
    np.testing.assert_allclose(top.get_xlim(), 25 * np.array(axes.get_xlim()))
    assert not drawing.resolution_response(found).axes[0].child_axes


def test_the_share_of_the_photons_that_each_frequency_keeps(tmp_path):
    """At 1e3 photons signal and least noise are S and N / 1e3; an image with twice that noise keeps a half."""
    frequency, signal, noise = np.linspace(0.1, 1, 10), np.linspace(5, 1, 10), np.linspace(1e3, 8e3, 10)
    rings = {"frequency": frequency.tolist(), "signal": signal.tolist(), "noise": noise.tolist(), "n": [9] * 10}
    for seed in (1, 2):
        (tmp_path / f"seed-{seed}").mkdir()
        bounds = {"train": {"rings": {"phase": rings}}, "heldout": {}}
        files.write_json(tmp_path / f"seed-{seed}" / "bound.json", bounds)
    F = np.sqrt(signal / (signal + 2 * noise / 1e3))
    F[-1] = 0.99995  # five decimals tell its distance from 1 to a tenth only
    curves = tuple(
        MeanFRC(method, "nll", 1e3, frequency, np.stack([F] * 3, axis=1), 2) for method in (METHODS[0], METHODS[1])
    )
    entries = [{"name": f"seed-{seed}/1e3_nll", "status": "ok"} for seed in (1, 2)]
    (found,) = spectra.spectral_ratios(tmp_path, entries, Curves("phase", curves, ()))  # one scan has no bound
    assert found.method == METHODS[0]
    np.testing.assert_allclose(found.efficiency[:-1], 0.5)
    np.testing.assert_allclose(found.limit, signal / noise * 1e3)
    drawn = lines_of(drawing.efficiency_response([found]).axes[0])["nll"]
    np.testing.assert_allclose(drawn.get_ydata()[:-1], 0.5)
    rows = spectra.spectral_rows([found])
    assert (
        len(rows) == 10
        and rows[-1]["dqe"] is rows[-1]["ssnr"] is None
        and rows[3]["dqe"] == 0.5
        and rows[0]["ssnr"] == pytest.approx(2.5)
    )
    assert spectra.spectral_ratios(tmp_path, entries, Curves("amplitude", curves, ())) == []
    with pytest.raises(ValueError, match="no data"):
        drawing.efficiency_response([])
