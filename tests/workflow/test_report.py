"""The workflow's report, in a browser."""

import csv
import json

import pytest
import yaml
from PIL import Image

from browser import FRAME, needs_chromium

pytestmark = [pytest.mark.long, needs_chromium]


@pytest.fixture(scope="module")
def run_folder(make_checkout, tmp_path_factory):
    """A run of one decoder that needs no training, a search of two brief trials, and a report."""
    checkout = make_checkout(tmp_path_factory.mktemp("report"))
    overlay = yaml.safe_load(checkout.overlay.read_text())
    overlay["tables"] = {name: rows and ["Wiener"] for name, rows in overlay["tables"].items()}
    overlay["trajectory"]["systems"] = ["Wiener"]
    only = [{"label": "all channels", "system": "Wiener"}]
    overlay["systems"]["Wiener"] = {"areas": ["M1"]}
    overlay["ablations"] = {"cortex": only, "compression": only, "latency": only}
    space = {
        "N_C": {"low": 2, "high": 4, "step": 2}, "k": {"low": 3, "high": 3}, "N_L": {"high": 2},
        "N_LIF": {"low": 4, "high": 4}, "L_seq": {"low": 128, "high": 128},
    }  # fmt: skip
    search = {"session": "synthetic_indy_1", "trials": 2, "parallel": 2, "startup_trials": 1}
    overlay["search"] = {"RTnet": search | {"space": space}}
    checkout.overlay.write_text(yaml.safe_dump(overlay))
    for arguments in (["--cores", "2"], ["--report", "report.html"]):
        done = checkout.snakemake(*arguments)
        assert done.returncode == 0, done.stdout
    return checkout.run_folder


@pytest.fixture
def page(browser, run_folder):
    """The report just opened; afterwards it must have been quiet and offline."""
    browser.begin(run_folder / "report.html")
    browser.wait("document.body.innerText.includes('Statistics')")
    yield browser
    wrong = [message for message in browser.messages if not message.startswith(("warning", "log"))]
    assert wrong == []
    own = ((run_folder / "report.html").as_uri(), "data:")
    assert [url for url in browser.requests if not url.startswith(own)] == []


def follow(page, text):
    """Click an entry of the menu."""
    link = f"""[...document.querySelectorAll("#app a")].find(
        link => link.textContent === {json.dumps(text)})"""
    page.evaluate(f"{link}.click()")
    page.evaluate(FRAME)


def view(page, text):
    """Click the eye in the row of a result."""
    row = f"""[...document.querySelectorAll("tbody tr")].find(
        row => row.cells[0].textContent === {json.dumps(text)})"""
    page.wait(f"{row} !== undefined")
    page.evaluate(f"{row}.querySelector('a').click()")
    page.evaluate(FRAME)


def test_says_what_the_data_are(page):
    text = page.evaluate("document.body.innerText")
    assert "All data are synthetic" in text
    assert "synthetic_indy_1" in text


def test_holds_every_table_and_figure(page, run_folder):
    found = set(page.evaluate("Object.keys(results)"))
    tables = {f"paper_tables/{path.stem}.html" for path in run_folder.glob("paper_tables/*.csv")}
    figures = {f"figures/{path.name}" for path in run_folder.glob("figures/*.png")}
    assert {"paper_tables/coopt.html", "paper_tables/realtime.html"} <= tables
    assert {"figures/pareto.png", "figures/trajectory_synthetic_indy_1.png"} <= figures
    for name in ("cortex", "compression"):
        assert f"paper_tables/{name}_ablation.html" in tables
        assert f"figures/{name}_ablation.png" in figures
    assert "figures/search_RTnet.png" in figures
    assert found == {*tables, *figures, "results/config.html"}
    for caption in page.evaluate("Object.values(results).map(result => result.caption)"):
        assert "<p>" in caption
        assert "{" not in caption
    search = page.evaluate("results['figures/search_RTnet.png'].caption")
    assert "2 trials of RTnet on synthetic_indy_1" in search


def test_tables_are_readable(page, run_folder):
    follow(page, "Tables")
    view(page, "coopt")
    page.wait("document.querySelector('iframe') !== null")
    source = page.evaluate("document.querySelector('iframe').src")
    page.open(run_folder / "paper_tables" / "coopt.html")
    embedded = page.evaluate(
        f"new DOMParser().parseFromString(new TextDecoder().decode(Uint8Array.from("
        f"atob({json.dumps(source.partition(',')[2])}), one => one.charCodeAt(0))), 'text/html')"
        ".body.innerHTML"
    )
    assert embedded == page.evaluate("document.body.innerHTML"), "the report shows this file"
    headings = page.evaluate(
        "[...document.querySelectorAll('thead tr:last-child th')].map(cell => cell.innerText)"
    )
    cells = page.evaluate(
        "[...document.querySelectorAll('tbody tr')].map(row => "
        "[...row.cells].map(cell => cell.innerText))"
    )
    [values] = csv.DictReader((run_folder / "paper_tables" / "coopt.csv").open())
    [printed] = cells
    assert len(headings) == len(printed)
    assert printed[0] == "Wiener"
    assert printed[headings.index("ours")].replace("−", "-") == f"{float(values['r2']):.3f}"
    assert "synthetic" in page.evaluate("document.querySelector('p').innerText")
    page.requests.clear()


def test_figures_are_shown(page, run_folder):
    follow(page, "Figures")
    for name in ("pareto", "buffers", "trajectory", "search", "cortex_ablation"):
        [file] = run_folder.glob(f"figures/{name}*.png")
        view(page, name)
        image = f"""[...document.images].find(
            image => image.complete && image.src === results["figures/{file.name}"].data_uri)"""
        page.wait(f"{image} !== undefined")
        size = page.evaluate(f"[{image}.naturalWidth, {image}.naturalHeight]")
        assert tuple(size) == Image.open(file).size
        box = page.evaluate(f"(box => [box.width, box.height])({image}.getBoundingClientRect())")
        assert min(box) > 200, "large enough to be read"


def test_configuration_is_that_of_the_run(page, run_folder):
    follow(page, "Configuration")
    view(page, "configuration of this run")
    page.wait("document.querySelector('iframe')?.src.startsWith('data:text/html')")
    page.open(run_folder / "results" / "config.html")
    text = page.evaluate("document.querySelector('pre').textContent")
    assert text == (run_folder / "results" / "config.yaml").read_text()
    page.requests.clear()


def test_run_times_are_drawn(page):
    follow(page, "Statistics")
    page.wait("document.querySelectorAll('.vega-embed canvas, .vega-embed svg').length >= 2")
    rules = page.evaluate("runtimes_spec.data.values.map(job => job.rule)")
    assert {"fetch_session", "bin_session", "evaluate_decoder", "draw_figure"} <= set(rules)
