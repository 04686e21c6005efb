"""The report and JupyterLab in a real browser, the system's Chromium, which Playwright drives."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request

import pytest
from standins import ROOT, clone, environment, free_port

from ptycho.site import report
from ptycho.study import layout

pytestmark = pytest.mark.slow
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = 1280, 400


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this system: install its package, such as chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # root may not have one
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The report of the committed miniature."""
    out = shutil.copytree(ROOT / "reports" / "regression", tmp_path_factory.mktemp("report") / "mini")
    (out / layout.LOG).write_text("")
    return report.write(out)


@pytest.fixture
def page(browser, site):
    """The first page, in a light browser; what went wrong in it fails the test."""
    wrong = []
    opened = browser.new_page(color_scheme="light")
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.goto(site.as_uri())
    yield opened
    opened.close()
    assert wrong == []


def wait_for_curves(page):
    page.wait_for_function("window.Bokeh && Bokeh.documents.length && Bokeh.documents.every(d => d.is_idle)")


def test_every_link_leads_to_a_page_of_the_study_and_each_has_a_title_of_its_own(page, site):
    titles, to_see = {}, [site.as_uri()]
    while to_see:
        address = to_see.pop()
        page.goto(address)
        titles[address] = page.title()
        links = page.eval_on_selector_all("a[href]", "found => found.map(a => a.href.split('#')[0])")
        for link in {link for link in links if link.startswith("file:")}:
            assert os.path.exists(link.removeprefix("file://")) or link.endswith((".pdf", ".png", ".csv")), link
            if link.endswith(".html") and link not in titles and link not in to_see:
                to_see.append(link)
    assert {"1e4 photons, MAE", "The scans"} <= {title.split(" - ")[0] for title in titles.values()}
    assert len(set(titles.values())) == len(titles) == 6


def test_previous_and_next_lead_through_the_arms(page):
    seen = []
    while page.locator("a.next-page").count():
        page.click("a.next-page")
        seen.append(page.locator("h1").first.inner_text())
    assert [words.rstrip("#¶ ") for words in seen] == [
        "The scans", "1e9 photons, Poisson NLL", "1e9 photons, MAE", "1e4 photons, Poisson NLL", "1e4 photons, MAE",
    ]  # fmt: skip
    page.click("a.prev-page")
    assert page.title().startswith("1e4 photons, Poisson NLL")


def test_a_table_sorts_by_the_column_that_is_clicked_and_by_the_keyboard(page):
    table = page.locator("table", has_text="deviance").first
    numbers = "rows => rows.map(row => row.cells[7].textContent)"
    before = table.locator("tbody tr").evaluate_all(numbers)
    column = table.locator("th", has_text="rel. MSE")
    column.click()
    page.wait_for_timeout(50)
    first = table.locator("tbody tr").evaluate_all(numbers)
    assert sorted(before) == sorted(first)
    index = column.evaluate("cell => cell.cellIndex")
    values = table.locator("tbody tr").evaluate_all(f"rows => rows.map(row => +row.cells[{index}].textContent)")
    assert values == sorted(values) and column.get_attribute("aria-sort") == "ascending"
    column.press("Enter")
    page.wait_for_timeout(50)
    values = table.locator("tbody tr").evaluate_all(f"rows => rows.map(row => +row.cells[{index}].textContent)")
    assert values == sorted(values, reverse=True) and column.get_attribute("aria-sort") == "descending"


def test_dark_mode_turns_page_figures_and_curves(page):
    wait_for_curves(page)

    def look():
        return page.evaluate(
            """() => {
                const seen = (kind) => [...document.querySelectorAll(`img.only-${kind}`)].map(i => i.offsetWidth > 0);
                const axis = [...Bokeh.documents[0].all_models].find(model => "axis_label_text_color" in model);
                const colour = getComputedStyle(document.body).backgroundColor;
                return [colour, seen("light"), seen("dark"), axis.axis_label_text_color];
            }"""
        )

    page.wait_for_timeout(200)
    light, *images, text = look()
    assert all(images[0]) and not any(images[1]) and len(images[0]) == 2
    for _ in range(3):  # light, dark and what the system has, in turn
        page.locator(".theme-toggle-header, .theme-toggle-content button").last.click()
        page.wait_for_timeout(200)
        dark, *images, other = look()
        if dark != light:
            break
    assert dark != light and other != text
    assert not any(images[0]) and all(images[1])


def test_a_curve_is_read_by_pointing_and_switched_off_by_its_name(page):
    wait_for_curves(page)
    plot = page.locator(".curves").first
    plot.scroll_into_view_if_needed()
    box, told = plot.bounding_box(), []
    for x in range(70, int(box["width"]) - 20, 10):  # along the upper edge, where the curves begin
        page.mouse.move(box["x"] + x, box["y"] + 60)
        page.wait_for_timeout(20)
        if told := page.locator(".bk-tooltip-row-value").all_inner_texts():
            break
    name, frequency, correlation = told[:3]
    assert re.fullmatch(r"(high|low)_(nll|mae), (train|direct)", name)
    assert 0 < float(frequency) <= 1 and -1 <= float(correlation) <= 1

    shown = "Bokeh.documents[0].roots()[0].renderers.filter(curve => curve.visible).length"
    before = page.evaluate(shown)
    plot.locator(".bk-Legend .bk-item", has_text="high_nll, train").click()
    assert page.evaluate(shown) == before - 1
    plot.locator(".bk-Legend .bk-item", has_text="high_nll, heldout").click()
    assert page.evaluate(shown) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_has_a_fault_for_readers_with_other_senses_or_a_small_screen(browser, site, width, scheme):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = {}
    for path in sorted(site.parent.glob("*.html")):
        page = context.new_page()
        page.goto(path.as_uri())
        page.wait_for_timeout(400)
        faults = [(fault["id"], fault["nodes"][0]["html"]) for fault in Axe().run(page).response["violations"]]
        if faults or page.evaluate("document.documentElement.scrollWidth") > width:
            found[path.name] = faults
        page.close()
    context.close()
    assert found == {}


# --- JupyterLab -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab in a clone, as `make lab` opens it: its address with the token, and the clone."""
    folder, port = clone(tmp_path_factory.mktemp("lab") / "ptycho"), free_port()
    words = ["make", "lab", f"PORT={port}", "HOST=localhost"]
    own = {"JUPYTERLAB_WORKSPACES_DIR": "workspaces", "JUPYTERLAB_SETTINGS_DIR": "settings", "PTYCHO_CACHE": "cache"}
    own = {name: str(folder.parent / kept) for name, kept in own.items()}  # else Lab opens what it had open last
    kept = environment(JUPYTER_TOKEN="token", BROWSER="true", **own)
    log = (folder.parent / "log").open("w")
    server = subprocess.Popen(words, cwd=folder, env=kept, stdout=log, stderr=log, start_new_session=True)
    address = f"http://localhost:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api?token=token", timeout=1).close()
            break
        except OSError:
            time.sleep(0.5)
    yield address, folder
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(30)
    log.close()


DONE = """() => {
    const panel = document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden)");
    const prompts = [...panel.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")].map(one => one.textContent.trim());
    const status = document.querySelector("#jp-main-statusbar").textContent;
    return prompts.length > 2 && prompts.every(text => /^\\[\\d+\\]:?$/.test(text)) && status.includes("Idle");
}"""
STATUS = "document.querySelector('#jp-main-statusbar').textContent"
"""In JupyterLab's page: every cell has run and the kernel waits."""
MEASURED_FIRST = 'Run the notebook simulate with scan = "siemens-star" first.'


FIRST = "simulate", "train-arm", "compare", "explore"
LATER = "resolution", "dose-response", "conditions", "fluence", "reuse", "learning-rates"
"""The notebooks of a study and the one that explores, and those that need them or the committed reports."""


def run_all(page, name):
    """Open a notebook by its link on the list, run all its cells, and return what is seen of it."""
    page.click("li.lm-TabBar-tab >> text=README.md")
    page.click(f".jp-MarkdownViewer a[href*='/files/'] >> text=/^{name}$/")  # Lab has taken the link over
    page.wait_for_function(f"() => {STATUS}.includes('{name}') && {STATUS}.includes('Idle')")
    page.click(".lm-MenuBar-itemLabel >> text=/^Run$/")
    page.click(".lm-Menu-itemLabel >> text=/^Run All Cells$/")
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    if name == "resolution":  # it needs a measured scan, and says so
        panel.locator(f"text={MEASURED_FIRST}").first.wait_for()
    else:
        page.wait_for_function(DONE, timeout=240_000)
    return panel


def sound(panel, name):
    assert panel.locator("img[alt]").count(), name
    assert not panel.locator("[data-mime-type='application/vnd.jupyter.error']").count(), name
    assert not panel.locator("[data-mime-type='application/vnd.jupyter.stderr']").count(), name


def clean(folder):
    """Whether nothing that git knows has changed but outputs in notebooks, which Lab may keep there."""
    words = ["git", "status", "--porcelain"]
    changed = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout
    return not re.sub(r"^ M notebooks/.*\n", "", changed, flags=re.MULTILINE)


def test_lab_opens_on_the_list_of_notebooks_and_those_of_a_study_run(browser, lab):
    address, folder = lab
    page = browser.new_page(viewport={"width": 1400, "height": 6000})  # high: Lab leaves out cells that are not seen
    page.set_default_timeout(120_000)
    page.goto(f"{address}/?token=token")
    for name in FIRST:
        sound(run_all(page, name), name)
    assert not page.locator("text=official Jupyter news").count()
    page.close()
    assert (folder / "reports" / "lab" / "high_nll" / "metrics.json").exists() and clean(folder)


def test_all_other_notebooks_run_in_lab_or_say_which_to_run_first(browser, lab):
    address, folder = lab
    page = browser.new_page(viewport={"width": 1400, "height": 9000})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/?token=token")
    assert {*FIRST, *LATER} == {path.stem for path in (folder / "notebooks").glob("*.ipynb")}
    for name in LATER:
        panel = run_all(page, name)
        if name != "resolution":
            sound(panel, name)
    page.close()
    assert clean(folder)
