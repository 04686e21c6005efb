"""Figures: what they share, what they refuse, and that saving them gives the same bytes with the right numbers."""

import base64
import csv
import dataclasses
import io
import re
import time

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from ptycho.figures import measured, output
from ptycho.figures.images import (
    diffraction_gallery,
    dose_comparison,
    dose_comparison_rows,
    frc_curves,
    loss_curve,
    reconstruction_vs_truth,
    scan_overview,
)
from ptycho.figures.style import counts_norm, dose_label
from ptycho.findings.comparison import DoseRow, ReconstructionPanel
from ptycho.judge.frc import FRCCurve, frc50
from ptycho.judge.metrics import evaluate
from ptycho.scans.rawdata import RawData
from ptycho.scans.reconstruction import Reconstruction

RNG = np.random.default_rng(0)


def judged(noise, phase=1.0, flat=False):
    field = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(2, 72, 72)), (0, 2, 2))
    field = (field - field.min()) / np.ptp(field)
    truth = (0.5 + field[0]) * np.exp(1j * phase * field[1])
    image = np.ones_like(truth) if flat else truth
    image = image + noise * (RNG.normal(size=truth.shape) + 1j * RNG.normal(size=truth.shape))
    coverage = np.pad(np.ones((56, 56), np.float32), 8)
    return evaluate(Reconstruction(image.astype(np.complex64), coverage, np.zeros(2)), truth, 1e7, 1.0)


GOOD, NOISY, FLAT, REAL = judged(0.01), judged(0.15), judged(0.02, flat=True), judged(0.05, phase=0.0)


def pattern(nphotons):
    y, x = np.mgrid[-16:16, -16:16]
    return RNG.poisson(nphotons * np.exp(-np.hypot(y, x)) / 6)


def dose_rows():
    return [
        DoseRow(1e9, pattern(1e9), (ReconstructionPanel("mae", NOISY), ReconstructionPanel("nll", GOOD))),
        DoseRow(1e4, pattern(1e4), (ReconstructionPanel("mae", FLAT), ReconstructionPanel("nll", NOISY))),
    ]


def images(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.images]


# --- the dose comparison ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [False, True])
def test_trap_panels_share_one_scale(phase):
    rows = dose_rows()
    figure = dose_comparison(rows, phase=phase)
    drawn = images(figure)
    patterns, reconstructions = drawn[0::3], [image for k, image in enumerate(drawn) if k % 3]
    assert len(patterns) == 2 and len(reconstructions) == 4
    assert len({image.norm for image in patterns}) == 1 and isinstance(patterns[0].norm, LogNorm)
    assert patterns[0].norm.vmax == max(row.counts.max() for row in rows)
    assert len({(image.norm, image.get_cmap().name) for image in reconstructions}) == 1
    truth = GOOD.truth_phase if phase else np.abs(GOOD.aligned.truth)
    assert reconstructions[0].get_clim() == pytest.approx((truth.min(), truth.max()), rel=0.01)
    assert np.array_equal(reconstructions[1].get_array(), GOOD.phase if phase else np.abs(GOOD.aligned.object))


def test_titles_state_dose_loss_and_quality_and_name_a_collapse():
    text = titles(dose_comparison(dose_rows()))
    assert text[0] == "10$^{9}$ photons\none diffraction pattern"
    assert text[2] == f"10$^{{9}}$ photons, NLL\nFRC50 {GOOD.amplitude_frc50:.2f}, PSNR {GOOD.amplitude_psnr_db:.1f} dB"
    assert text[4] == f"10$^{{4}}$ photons, MAE\ncollapsed, PSNR {FLAT.amplitude_psnr_db:.1f} dB"
    by_phase = titles(dose_comparison(dose_rows(), phase=True))
    assert by_phase[2].endswith(f"FRC50 {GOOD.phase_frc50:.2f}, r = {GOOD.phase_pearson:.2f}")


def test_any_number_of_doses_and_losses():
    panels = tuple(ReconstructionPanel(name, NOISY) for name in ("mae", "nll", "mse"))
    figure = dose_comparison([DoseRow(dose, pattern(dose), panels) for dose in (1e2, 1e4, 1e6)])
    assert len(images(figure)) == 12
    bars = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert bars == ["10 px"] * 9


def with_object(evaluation, values):
    return dataclasses.replace(evaluation, aligned=dataclasses.replace(evaluation.aligned, object=values))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda row: dataclasses.replace(row, counts=None), "pattern at 10000 photons.*expected a 2-D image"),
        (lambda row: dataclasses.replace(row, counts=np.zeros((8, 8))), "pattern at 10000 photons.*above zero"),
        (lambda row: dataclasses.replace(row, counts=np.full((8, 8), np.nan)), "64 non-finite"),
        (lambda row: dataclasses.replace(row, counts=np.zeros((0, 8))), "expected a 2-D image"),
        (lambda row: dataclasses.replace(row, panels=()), "expected \\['mae', 'nll'\\]"),
        (lambda row: dataclasses.replace(row, panels=row.panels[::-1]), "expected \\['mae', 'nll'\\]"),
        (
            lambda row: dataclasses.replace(row, panels=(row.panels[0], ReconstructionPanel("nll", None))),
            "no data for the panel 'nll at 10000 photons'",
        ),
        (
            lambda row: dataclasses.replace(
                row,
                panels=(
                    row.panels[0],
                    ReconstructionPanel("nll", with_object(GOOD, GOOD.aligned.object * np.nan)),
                ),
            ),
            "panel 'nll at 10000 photons'.*non-finite",
        ),
    ],
)
def test_trap_a_panel_without_data_is_refused(spoil, message):
    rows = dose_rows()
    rows[1] = spoil(rows[1])
    for use in (dose_comparison, dose_comparison_rows):
        with pytest.raises(ValueError, match=message):
            use(rows)


def test_an_empty_comparison_is_refused():
    with pytest.raises(ValueError, match="at least one dose"):
        dose_comparison([])
    with pytest.raises(ValueError, match="at least one dose"):
        dose_comparison([DoseRow(1e4, pattern(1e4), ())])


# --- files and notebooks ----------------------------------------------------------------------------------------------


def test_csv_holds_the_numbers_of_the_figure(tmp_path):
    rows = dose_rows()
    figure = dose_comparison(rows)
    output.save(figure, tmp_path / "comparison", dose_comparison_rows(rows))
    with open(tmp_path / "comparison.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [(line["nphotons"], line["loss"]) for line in table] == [
        ("1000000000.0", "mae"),
        ("1000000000.0", "nll"),
        ("10000.0", "mae"),
        ("10000.0", "nll"),
    ]
    panels = [panel for row in rows for panel in row.panels]
    for line, panel, image in zip(table, panels, [i for k, i in enumerate(images(figure)) if k % 3], strict=True):
        for key, value in panel.evaluation.as_dict().items():
            assert line[key] == ("" if value is None else repr(value)), key
        assert (float(line["vmin"]), float(line["vmax"])) == image.get_clim()
        assert line["collapsed"] == str(panel.evaluation.collapsed)
    assert table[2]["amplitude_frc50"] == "" and table[2]["collapsed"] == "True"


def test_saved_files_are_the_same_bytes_each_time(tmp_path):
    rows = dose_rows()
    for name in ("a", "b"):
        paths = output.save(dose_comparison(rows), tmp_path / name, dose_comparison_rows(rows))
        assert [path.name for path in paths] == [f"{name}.png", f"{name}.pdf", f"{name}.csv"]
        time.sleep(1.1)  # a time stamp counts seconds
    for suffix in ("png", "pdf", "csv"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf and b"/Type3" not in pdf
    assert len(list(tmp_path.iterdir())) == 6  # no partial file is left


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    figure = loss_curve({"loss": [2.0, 1.0]})
    output.save(figure, tmp_path / "f", [{"n": 1}])
    old = (tmp_path / "f.png").read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        output.save(loss_curve({"loss": [3.0, 1.0]}), tmp_path / "f", [{"n": 2}])
    assert (tmp_path / "f.png").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.csv", "f.pdf", "f.png"]


@pytest.mark.parametrize("rows", [[], [{"a": 1}, {"b": 2}]])
def test_a_figure_without_numbers_is_not_saved(rows, tmp_path):
    with pytest.raises(ValueError, match="numbers beside it"):
        output.save(loss_curve({"loss": [2.0, 1.0]}), tmp_path / "f", rows)
    assert not list(tmp_path.iterdir())


def test_shown_figure_has_its_alternative_text():
    shown = output.show(loss_curve({"loss": [2.0, 1.0]}), 'Loss < 2, "falling" & done')
    markup = shown._repr_html_()
    assert 'alt="Loss &lt; 2, &quot;falling&quot; &amp; done"' in markup
    assert base64.b64decode(re.search(r"base64,([^\"]+)", markup).group(1)).startswith(b"\x89PNG")
    assert repr(shown) == 'Loss < 2, "falling" & done'
    with pytest.raises(ValueError, match="alternative text"):
        output.show(loss_curve({"loss": [2.0, 1.0]}), "  ")


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def with_and_without_all_colours(draw):
    """The PNG of a figure as matplotlib writes it, and as it is shown; each of a figure of its own."""
    full = io.BytesIO()
    draw().savefig(full, format="png", dpi=output.DPI)
    return full.getvalue(), output.show(draw(), "a figure").png


@pytest.mark.parametrize("figure", ["comparison", "truth", "scan"])
def test_256_colours_are_less_to_store_and_look_the_same(figure):
    rows, image = dose_rows(), RNG.normal(size=(400, 400))
    full, few = with_and_without_all_colours(
        {
            "comparison": lambda: dose_comparison(rows),
            "truth": lambda: reconstruction_vs_truth(GOOD),
            "scan": lambda: scan_overview(np.arange(99), np.arange(99), image, image[:64, :64] + 1j),
        }[figure]
    )
    assert len(few) < 0.5 * len(full)
    before, after = pixels(full), pixels(few)
    assert len(np.unique(after.reshape(-1, 3), axis=0)) <= 256 < len(np.unique(before.reshape(-1, 3), axis=0))
    assert np.abs(after - before).max() <= 16 and np.abs(after - before).mean() < 1  # of 255
    assert np.all(after[(before == 255).all(axis=-1)] == 255)  # the paper stays white


def test_256_greys_are_kept_as_they_are():
    def ramp():
        figure = Figure(figsize=(3, 3))
        figure.add_axes((0, 0, 1, 1)).imshow(np.arange(300)[None].repeat(300, 0), cmap="gray")
        return figure

    full, few = with_and_without_all_colours(ramp)
    assert np.array_equal(pixels(full), pixels(few))
    assert len(np.unique(pixels(few)[..., 0])) > 200


def test_shown_figure_is_html_in_a_notebook():
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(output.show(loss_curve({"loss": [2.0, 1.0]}), "falling"))
    assert data["text/plain"] == "falling" and data["text/html"].startswith('<img alt="falling" data-panels="" src=')


# --- the other figures ------------------------------------------------------------------------------------------------


def test_frc_figure_draws_each_curve_and_threshold():
    curves = {"network": GOOD.amplitude_frc, "direct": NOISY.amplitude_frc}
    axes = frc_curves(curves, ("0.5", "half-bit", "one-bit")).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "network",
        "direct",
        "threshold 0.5",
        "threshold half-bit",
        "threshold one-bit",
    ]
    for (median, rings), curve in zip((axes.lines[:2], axes.lines[2:4]), curves.values(), strict=True):
        assert np.array_equal(rings.get_ydata(), curve.correlation) and rings.get_color() == median.get_color()
        assert np.interp(frc50(curve), median.get_xdata(), median.get_ydata()) == pytest.approx(0.5)
    assert axes.get_xlabel() == "spatial frequency (fraction of Nyquist)"
    with pytest.raises(ValueError, match="no FRC curve"):
        frc_curves({})
    with pytest.raises(ValueError, match="unknown FRC threshold"):
        frc_curves(curves, ("0.143",))


def test_many_frc_curves_can_be_told_apart():
    curve = FRCCurve(np.array([0.5, 1.0]), np.array([1.0, 0.0]), np.array([8, 16]))
    axes = frc_curves({f"arm {k}": curve for k in range(20)}).axes[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines[:40:2]}) == 20


def test_frc_curves_of_several_doses_are_a_panel_a_dose_with_one_legend():
    def lines(axes):
        return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}

    low = {"nll": NOISY.amplitude_frc, "nll, direct": NOISY.amplitude_frc}
    figure = frc_curves(
        {"1e9 photons": {"nll": GOOD.amplitude_frc, "nll, direct": GOOD.amplitude_frc}, "1e4 photons": low}
    )
    first, second = figure.axes[:2]
    assert (first.get_title(), second.get_title()) == ("1e9 photons", "1e4 photons")
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["nll", "nll, direct", "threshold 0.5"]
    assert first.get_legend() is None and first.get_ylim() == second.get_ylim()
    for label in low:  # one colour and style a label
        a, b = lines(first)[label], lines(second)[label]
        assert (a.get_color(), a.get_linestyle()) == (b.get_color(), b.get_linestyle())
    under, over = (lines(second)[label] for label in low)
    assert under.get_linestyle() == "-" != over.get_linestyle() and under.get_linewidth() > over.get_linewidth()
    assert np.array_equal(second.lines[1].get_ydata(), NOISY.amplitude_frc.correlation)
    columns = [axes for axes in frc_curves({f"{k}": low for k in range(4)}).axes if axes.get_title()]
    assert [axes.get_subplotspec().rowspan.start for axes in columns] == [0, 0, 0, 1]


def test_the_loss_curve_shows_the_loss_as_it_is_told():
    axes = loss_curve({"epoch": [0, 1], "loss": [10.0, 1.0], "val_loss": [11.0, 2.0]}, "log deviance").axes[0]
    assert axes.get_yscale() == "linear" and axes.get_ylabel() == "log deviance"
    assert list(axes.lines[1].get_xdata()) == [1, 2] and list(axes.lines[1].get_ydata()) == [11.0, 2.0]
    assert loss_curve({"loss": [1.0]}).axes[0].get_ylabel() == "log loss"
    for bad in ({}, {"loss": []}, {"loss": [1.0, np.nan]}, {"val_loss": [1.0]}):
        with pytest.raises(ValueError, match="no data"):
            loss_curve(bad)


def test_reconstruction_is_shown_on_the_scale_of_the_truth():
    drawn = images(reconstruction_vs_truth(GOOD))
    assert len(drawn) == 6
    for truth, image, difference in (drawn[:3], drawn[3:]):
        assert truth.get_clim() == image.get_clim()
        low, high = difference.get_clim()
        assert -low == high == pytest.approx((truth.get_clim()[1] - truth.get_clim()[0]) / 2)
    expected = np.abs(GOOD.aligned.object) - np.abs(GOOD.aligned.truth)
    assert np.allclose(drawn[2].get_array()[GOOD.aligned.mask], expected[GOOD.aligned.mask])
    assert len(images(reconstruction_vs_truth(REAL))) == 3  # a truth without phase has no phase row
    with pytest.raises(ValueError, match="non-finite"):
        reconstruction_vs_truth(with_object(GOOD, GOOD.aligned.object * np.nan))


def test_gallery_shares_one_log_scale():
    counts = np.stack([pattern(dose) for dose in (1e9, 1e6, 1e4, 1e3, 1e3)])
    figure = diffraction_gallery(counts, list("abcde"))
    assert len({image.norm for image in images(figure)}) == 1 and titles(figure) == list("abcde")
    figure.draw_without_rendering()
    places = [
        axes.get_subplotspec() for axes in diffraction_gallery(counts, ["1e9"] * 3 + ["1e4"] * 2).axes if axes.images
    ]
    assert [(at.rowspan.start, at.colspan.start) for at in places] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    with pytest.raises(ValueError, match=r"'b'.*above zero"):
        diffraction_gallery(counts[:2] * np.array([1, 0])[:, None, None], ["a", "b"])
    with pytest.raises(ValueError, match="a label for each"):
        diffraction_gallery(counts, ["a"])
    with pytest.raises(ValueError, match="a label for each"):
        diffraction_gallery(counts[:0], [])


def test_scan_overview_shows_positions_on_the_object():
    x, y = RNG.uniform(16, 56, (2, 30))
    figure = scan_overview(x, y, GOOD.aligned.truth, np.ones((2, 32, 32), complex))
    assert np.array_equal(figure.axes[0].collections[0].get_offsets(), np.stack([x, y], axis=1))
    assert np.allclose(images(figure)[1].get_array(), np.sqrt(2))
    with pytest.raises(ValueError, match="'probe'"):
        scan_overview(x, y, GOOD.aligned.truth, np.zeros((32, 32)))
    with pytest.raises(ValueError, match="as many x as y"):
        scan_overview(x, y[:3], GOOD.aligned.truth, np.ones((32, 32)))


def test_a_single_photon_is_told_from_none():
    norm = counts_norm([np.array([[0, 1]]), np.array([[10**8, 3]])])
    assert norm(0) == 0 < norm(1) < norm(10**8) == 1


@given(st.floats(1, 9.94), st.integers(-2, 12))
def test_dose_label_reads_back(mantissa, exponent):
    label = dose_label(mantissa * 10.0**exponent)
    digits, power = re.fullmatch(r"(?:([\d.]+)×)?10\$\^\{(-?\d+)\}\$", label).groups()
    assert float(digits or 1) * 10.0 ** int(power) == pytest.approx(mantissa * 10.0**exponent, rel=0.051)


def test_drawing_leaves_the_settings_of_the_caller():
    before = dict(mpl.rcParams)
    dose_comparison(dose_rows())
    assert dict(mpl.rcParams) == before


def test_moves_of_refined_positions_are_drawn_free_of_a_common_shift():
    x, y = np.random.default_rng(0).uniform(20, 90, (2, 30))
    scan = RawData(np.ones((30, 16, 16), np.float32), x, y, np.ones((16, 16), np.complex64))
    with pytest.raises(ValueError, match="no data"):
        measured.position_moves(scan)
    refined = dataclasses.replace(
        scan, xcoords=x + 3, ycoords=y + np.where(np.arange(30) % 2, 1.0, -1.0), xcoords_start=x, ycoords_start=y
    )
    where, when = measured.position_moves(refined).axes
    assert where.get_title() == "found minus given, 1.00 px rms"
    along_x, along_y = (line.get_ydata() for line in when.lines)
    np.testing.assert_allclose(along_x, 0, atol=1e-9)
    np.testing.assert_allclose(np.abs(along_y), 1)
