"""The report of a study: what its pages hold, its figures on a dark page, its curves."""

import base64
import csv
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from planted import entry
from standins import ROOT

from ptycho.figures import output
from ptycho.files import html_table, text_table
from ptycho.findings.response.dose_response import dose_response_of
from ptycho.findings.response.tables import response_rows
from ptycho.run import watch
from ptycho.scans.exposure import of_raster
from ptycho.site import curves, facts, pages, report, theme
from ptycho.study import layout, plan, sweep
from ptycho.study.campaigns import campaign_in
from ptycho.study.config import StudyConfig


@pytest.fixture
def study(tmp_path):
    """The committed miniature, as a study leaves it."""
    out = shutil.copytree(ROOT / "reports" / "regression", tmp_path / "mini")
    (out / layout.SOURCES).mkdir()
    (out / layout.LOG).write_text("")
    other = tmp_path / "other" / layout.INDEX
    other.parent.mkdir(parents=True)
    other.write_text("<title>other</title>")
    (tmp_path / "other" / "status.txt").write_text("DOUBTFUL\n- the light\n")
    return out


def text_of(page):
    cells = [cell.source if cell.cell_type == "markdown" else str(cell.outputs) for cell in page.cells]
    return "\n".join(cells)


def test_the_first_page_begins_with_the_whole_verdict_and_every_arm_has_a_title_of_its_own(study):
    first, *others = pages.of_study(study)
    assert first.title == "Dose study: 1e9, 1e4 photons per pattern"
    verdict = first.cells[0].outputs[0].data["text/html"]
    assert re.search(r'class="admonition danger"><p class="admonition-title">NOT VERIFIED</p><ul><li>', verdict)
    lines = (study / "status.txt").read_text().splitlines()[1:]
    assert verdict.count("<li>") == len(lines) >= 1  # not one is cut
    assert {page.name: page.title for page in others} == {
        "simulate": "The scans",
        "high_nll": "1e9 photons, Poisson NLL",
        "high_mae": "1e9 photons, MAE",
        "low_nll": "1e4 photons, Poisson NLL",
        "low_mae": "1e4 photons, MAE",
        "reports": "Other reports",
    }
    assert 'href="../../other/report/index.html">other</a></td><td>DOUBTFUL' in text_of(others[-1])
    for page in others[:-1]:
        assert not re.search("^# ", text_of(page), re.MULTILINE) and "nepochs = " not in text_of(page)


@pytest.mark.parametrize("closed", ["/locked/", "/other/status.txt"])
def test_what_another_user_closed_beside_a_study_is_passed_over(study, monkeypatch, closed):
    (study.parent / "locked").mkdir()

    def refusing(do):
        def done(path, *words, **how):
            if closed in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return do(path, *words, **how)

        return done

    for module, name in ((os, "stat"), (io, "open")):
        monkeypatch.setattr(module, name, refusing(getattr(module, name)))
    (page,) = pages._beside(study)
    verdict = "DOUBTFUL" if closed == "/locked/" else ""
    assert f">other</a></td><td>{verdict}</td>" in text_of(page) and "locked" not in text_of(page)


def test_where_the_folder_of_a_study_cannot_be_listed_no_other_report_is(study, monkeypatch):
    assert pages._beside(study)

    def refuse(path="."):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    assert pages._beside(study) == []


@pytest.mark.parametrize("name", ["regression", "lines", "siemens-star-doses", "sweep"])
def test_the_kept_report_of_this_repository_is_shown_with_its_verdict_and_judged_by_nobody(name, tmp_path):
    out = shutil.copytree(ROOT / "reports" / name, tmp_path / name)
    before = (out / "status.txt").read_text()
    made = pages.of_sweep(out) if (out / layout.SWEEP).exists() else pages.of_study(out)
    assert f'admonition-title">{before.split()[0]}<' in text_of(made[0])
    assert text_of(made[0]).count("image/png") >= 1
    assert (out / "status.txt").read_text() == before
    told = watch.tell(out)
    assert told.startswith(f"{out}: only its report is kept") and before.strip() in told


def test_many_doses_are_told_by_their_ends(tmp_path):
    told = {"doses": ["1e2", "1e3", "1e4", "1e5", "1e9"], "seeds": [1]}
    assert plan.title(tmp_path, told) == "Dose-response: 5 doses from 1e2 to 1e9 photons per pattern"


def test_the_parameters_hold_the_seed_every_rate_and_the_versions(study):
    told = text_of(pages.of_study(study)[0])
    for row in ("seed</td><td>1<", "learning rate of unrolled</td><td>0.032, 0.064<", "tensorflow</td><td>2."):
        assert row in told
    assert "<td>out</td>" not in told


@pytest.mark.parametrize(
    ("asked", "has", "lacks"),
    [
        ({}, {"N", "n_train", "object_kind", "gridsize"}, {"orientation", "positions", "voltage", "microscope"}),
        ({"SCAN": "siemens-star"}, {"scan", "orientation"}, {"N", "n_train", "object_kind", "flaw", "gridsize"}),
        ({"VOLTAGE": "80"}, {"N", "n_test", "voltage", "step"}, {"object_kind", "phase", "orientation", "microscope"}),
    ],
)
def test_the_parameters_are_those_of_this_kind_of_study(asked, has, lacks, tmp_path):
    config = StudyConfig.from_strings(asked)
    plan.write_plan(tmp_path, config)
    arm = tmp_path / config.arms[0].name
    record = json.loads((ROOT / "reports" / "regression" / "high_nll" / layout.PROVENANCE).read_text())
    record["parameters"]["architecture"] = config.architecture
    (arm / layout.PROVENANCE).write_text(json.dumps(record))
    told = set(re.findall(r"<tr><td>([^<]*)</td>", facts.table(tmp_path / layout.SIMULATE, [arm])))
    assert has <= told and not lacks & told


def test_a_broken_notebook_is_named_and_the_report_that_was_there_stays(study):
    before = study / layout.INDEX
    before.parent.mkdir()
    before.write_text("before")
    (study / "low_mae" / "train-arm.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"low_mae/train-arm\.ipynb: no rendered notebook"):
        report.write(study)
    assert before.read_text() == "before" and not list(study.glob(".report.*"))


def test_the_site_holds_figures_for_both_grounds_sortable_tables_and_nothing_from_elsewhere(study, capfd):
    first = report.write(study)
    assert capfd.readouterr().err == ""  # Sphinx has nothing to complain of
    page = first.read_text()
    assert re.search(r"<title>\s*Dose study: 1e9, 1e4 photons per pattern", page)
    images = [re.search(rf'only-{kind}" [^>]*src="_images/(\S+)\.png"', page)[1] for kind in ("light", "dark")]
    light, dark = images
    assert dark == f"{light}-dark" and (first.parent / "_images" / f"{dark}.png").exists()
    assert "base64" not in page and page.count("Bokeh") > 0 and (first.parent / "_static" / "bokeh.min.js").exists()
    for path in first.parent.rglob("*.html"):
        assert not re.search(r'(src|href)="(https?:)?//(?!pradyunsg|www\.sphinx|github)', path.read_text()), path.name
    assert "<math" in (first.parent / "low_nll.html").read_text()


def test_the_page_of_a_campaign_leads_to_the_report_of_each_of_its_sweeps(tmp_path):
    shutil.copy(ROOT / "reports" / "conditions" / "conditions.ipynb", tmp_path)
    (tmp_path / "conditions.yaml").write_text("conditions: [lines, grf]\n")
    (tmp_path / "lines" / "report").mkdir(parents=True)
    (tmp_path / "lines" / layout.INDEX).write_text("")
    (tmp_path / "lines" / "status.txt").write_text("VERIFIED\n")
    (page,) = pages.of_campaign(tmp_path, "conditions")
    assert campaign_in(tmp_path) == "conditions" and campaign_in(tmp_path / "lines") is None
    assert page.title == "Conditions" and "In words" in text_of(page)
    assert '<a href="../lines/report/index.html">lines</a></td><td>VERIFIED</td>' in text_of(page)
    assert "<td>grf</td><td></td>" in text_of(page)  # not made yet: no link that leads nowhere


def test_the_status_of_a_campaign_has_a_line_a_sweep(tmp_path):
    (tmp_path / "conditions.yaml").write_text("conditions: [lines, grf, sparse]\n")
    shutil.copytree(ROOT / "reports" / "conditions" / "lines", tmp_path / "lines")
    config = StudyConfig.from_strings({"DOSES": "1e3 1e9"})
    sweep.write_sweep(tmp_path / "grf", config, (1, 2))
    assert watch.tell(tmp_path).splitlines() == [
        "lines: VERIFIED",
        "grf: 0 of 8 arms done, 0 running, 0 failed, 8 to come",
        "sparse: not begun",
    ]


# --- figures and tables ----------------------------------------------------------------------------------------------


def test_on_a_dark_page_lightness_is_mirrored_hues_stay_and_images_are_left_alone():
    seen = np.full((40, 60, 3), 255, np.uint8)
    seen[5:10, 5:10] = 0, 114, 178
    seen[20:40, 30:60] = np.random.default_rng(0).integers(0, 5, (20, 30, 1)) * 60  # an image, to its edge
    png = io.BytesIO()
    Image.fromarray(seen).save(png, "PNG")
    made = np.asarray(Image.open(io.BytesIO(theme.on_dark(png.getvalue(), [(0.5, 0.5, 1.0, 1.0)]))).convert("RGB"))
    assert np.array_equal(made[20:, 30:], seen[20:, 30:])
    assert np.all(made[0, 0] == theme.BACKGROUND)
    red, green, blue = made[7, 7].astype(int)
    assert blue > green > red > 60  # light blue: 77, 191, 255 of a black ground

    ends = np.array([(0, 0, 0), (255, 255, 255), (213, 94, 0)], np.uint8)[None]
    png = io.BytesIO()
    Image.fromarray(ends).save(png, "PNG")
    black, white, orange = np.asarray(Image.open(io.BytesIO(theme.on_dark(png.getvalue(), []))).convert("RGB"))[0]
    assert black.tolist() == [255] * 3 and white.tolist() == [theme.BACKGROUND] * 3
    assert orange[0] > orange[1] > orange[2] > 40


def test_a_figure_tells_where_its_images_and_colour_bars_are():
    figure = Figure(figsize=(4, 2))
    left, right = figure.subplots(1, 2)
    left.plot([1, 2])
    figure.colorbar(right.imshow(np.eye(8)), ax=right)
    shown = output.show(figure, "an image beside a curve")
    assert len(shown.panels) == 2
    seen = np.asarray(Image.open(io.BytesIO(shown.png)).convert("RGB")).astype(int)
    height, width = seen.shape[:2]
    x0, y0, x1, y1 = shown.panels[0]
    panel = seen[round(y0 * height) + 2 : round(y1 * height) - 2, round(x0 * width) + 2 : round(x1 * width) - 2]
    assert not np.any(np.all(panel == 255, axis=-1))  # filled: the image is in it, and no margin
    text = shown._repr_html_()
    assert theme._FIGURE.fullmatch(text) and base64.b64encode(shown.png).decode() in text


def test_a_table_prints_as_text_and_shows_as_html_with_its_numbers_to_the_right():
    table = text_table([("arm", "<6", ""), ("FRC50", ">7", ".2f")], [["a<b", 0.5], ["c", None], ["d"]])
    assert str(table) == repr(table) == "arm      FRC50\na<b       0.50\nc            -\nd"
    shown = table._repr_html_()
    assert "<td>a&lt;b</td>" in shown and '<td class="number">0.50</td>' in shown
    assert shown.count('<td class="number" data-sort="">-</td>') == 1 and shown.count("<td") == 6
    assert '<a href="x">y</a>' in html_table(["z"], [['<a href="x">y</a>']])


# --- curves ----------------------------------------------------------------------------------------------------------


def test_the_curves_of_a_sweep_have_a_colour_a_loss_and_a_dash_a_method(tmp_path):
    rows = ["method,split,loss,nphotons,frc50,frc50_low,frc50_high,relative_mse,relative_mse_low,relative_mse_high"]
    for method in ("unrolled", "direct"):
        rows += [f"{method},train,{loss},1e4,0.5,0.4,0.6,,," for loss in ("nll", "mae")]
        rows += [f"{method},train,{loss},1e5,0.7,,,0.1,," for loss in ("nll", "mae")]
    (tmp_path / "dose_response.csv").write_text("\n".join(rows))
    resolved, errors = curves.of_sweep(tmp_path, "photons per pattern")
    assert [(curve.colour, curve.dash, curve.shown) for curve in resolved.curves] == [
        (0, 0, True), (1, 0, True), (0, 1, False), (1, 1, False)
    ]  # fmt: skip
    first = resolved.curves[0]
    assert first.x == [1e4, 1e5] and first.y == [0.5, 0.7] and first.low == [0.4, 0.7] and first.high == [0.6, 0.7]
    assert errors.curves[0].x == [1e5]  # a point that is not known is left out
    script, places = curves.drawn([resolved, errors])
    assert len(places) == 2 and "nll, network" in script.replace("unrolled", "network")
    assert curves.drawn([curves.Plot("", "", "", [])]) == ("", [])


def test_curves_of_electrons_are_against_the_dose_that_their_axis_names(tmp_path):
    exposure = of_raster(2.0)
    assert exposure.unit == "electrons per A^2"
    arms = [dict(entry(dose, "nll", 1, 0.5), exposure=exposure.as_dict()) for dose in (1e2, 1e4)]
    with open(tmp_path / "dose_response.csv", "w", newline="") as file:
        table = csv.DictWriter(file, (rows := response_rows(dose_response_of(arms)))[0])
        table.writeheader()
        table.writerows(rows)
    for plot in curves.of_sweep(tmp_path, exposure.unit):
        assert plot.across == "electrons per A^2" and plot.curves[0].x == [25, 2500]


def test_the_row_of_an_arm_leads_to_its_page_where_there_is_one():
    arm = entry(1e4, "nll", 1, 0.5)
    row = pages._row("1e4 photons, Poisson NLL", "../seed-1/low_nll.html", arm)
    assert row[0] == '<a href="../seed-1/low_nll.html">1e4 photons, Poisson NLL</a>' and row[2] == "0.500"
    assert pages._row("x", "", {"status": "failed"}) == ["x", "failed", "-", "-", "-", "-"]
