"""Stores that the page is made of, and a reader of the page."""

import io
import json
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd

from qwerties.analysis.contrasts import ExperimentResult, compare_contrasts
from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.study.coverage import Coverage, PlannedConfig
from qwerties.study.plan import Plan, PlannedContrast
from qwerties.tracking.records import Record

CODE = "9bdcd5e26e69"
BCE, MSE = DEFAULT, Config(loss="mse")
TEMPLATES = Path(__file__).parents[1] / "qwerties" / "report" / "templates"
OURS = [f"<script>{(TEMPLATES / name).read_text()}</script>" for name in ("page.js", "panel.js")]
HOSTILE = "<script>alert(1)</script>\"'&amp;{{ 7*7 }}\u202e\u2066\x00" + "W" * 10_000 + "שלום"


def table(seeds, config, *, diverged=0, seed=0):
    """Made-up scores: some dead with phi undefined, some learned, some diverged."""
    rng = np.random.default_rng(seed)
    n = len(seeds)
    state = np.where(np.arange(n) < diverged, "diverged", np.where(rng.random(n) < 0.3, "dead", "learned"))
    learned = state == "learned"
    accuracy = np.where(learned, 0.96 + 0.01 * rng.random(n), np.where(state == "dead", 0.5, np.nan))
    frame = pd.DataFrame(
        {
            "seed": seeds.numbers,
            "state": state,
            "dead_at_init": False,
            "train_loss": np.where(learned, 0.1, 0.69),
            "train_accuracy": accuracy,
            "phi": np.where(learned, 2 * accuracy - 1, np.nan),
            "population_accuracy": accuracy,
            "gain": (accuracy - 0.5) / 0.47725,
            "settled": rng.random(n) < 0.5,
        }
    )
    if seeds.crossed:
        frame.insert(1, "data_seed", seeds.data)
        frame.insert(2, "weight_seed", seeds.weights)
    return frame


def record(config, seeds, frame, *, code=CODE, curves=True, **changes):
    files = {"seeds.csv": frame.to_csv(index=False).encode()}
    if curves:
        buffer = io.BytesIO()
        losses = np.geomspace(0.7, 0.1, 4) + 0.01 * np.arange(len(frame))[:, None]
        rms = np.ones((len(frame), len(config.hidden) + 1))
        np.savez(buffer, epochs=np.array([1, 10, 100, config.epochs]), loss=losses, gradient_rms=rms)
        files["curves.npz"] = buffer.getvalue()
    fields = {
        "name": config.label(),
        "params": {**config.to_params(), "seeds": str(seeds)},
        "metrics": {},
        "tags": {
            "qwerties.code": code,
            "qwerties.version": "0.1.0",
            "mlflow.source.git.commit": "abcdef0123456789",
        },
        "files": files,
    }
    return Record(**fields | changes)


def tags(configs, seeds, *, contrasts=(), figures=("scores",), **more):
    keys = {fingerprint(config, seeds, CODE): config.label() for config in configs}
    given = {
        "title": "A title",
        "question": "A *question* with `code` & <b>.\n\nSecond paragraph.",
        "order": "10",
        "figures": json.dumps([spec if isinstance(spec, dict) else {"kind": spec} for spec in figures]),
        "plan": json.dumps({"seeds": str(seeds), "code": CODE, "configs": keys}),
        "contrasts": json.dumps(
            [
                {"a": a.to_params(), "b": b.to_params(), "delta": 0.01, "primary": primary}
                for a, b, primary in contrasts
            ]
        ),
        **more,
    }
    return {f"qwerties.{key}": value for key, value in given.items()}


SEEDS = Seeds(0, 60)
TABLES = {BCE: table(SEEDS, BCE, seed=1), MSE: table(SEEDS, MSE, seed=2, diverged=3)}


class Reader(HTMLParser):
    """Elements with their attributes, table rows as text, and the text of each section."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.rows, self.sections, self.stack = [], [], {}, []
        self.section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "section":
            self.section = dict(attributes)["aria-labelledby"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("meta", "link", "img", "input", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.sections[self.section] = self.sections.get(self.section, "") + data
        if self.rows and {"td", "th"} & set(self.stack):
            self.rows[-1][-1] += (" " if self.stack[-1] == "small" else "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def section(page, anchor):
    start = page.index(f'<section aria-labelledby="{anchor}"')
    return page[start : page.index("</section>", start)]


# Results without a store


def seed_scores(accuracy, *, n=200, spread=0.002, seed=0, state="learned"):
    """Made-up scores of networks that all learned, around an accuracy; `accuracy` may be an array."""
    scores = np.clip(accuracy + spread * np.random.default_rng(seed).standard_normal(n), 0, 1)
    numbers = {"train_accuracy": scores, "phi": 2 * scores - 1, "population_accuracy": scores}
    return pd.DataFrame({"seed": np.arange(n), "state": state, **numbers, "gain": (scores - 0.5) / 0.47725})


def experiment_result(name, tables, contrasts=(), *, complete=True, margin=0.01):
    """An experiment as `load_results` returns it: `tables` are by config, `contrasts` (a, b, primary[, names])."""
    seeds = Seeds(0, max(map(len, tables.values()), default=1))
    keys = {fingerprint(config, seeds, CODE): config.label() for config in tables}
    coverage = Coverage(
        experiment_name=name,
        experiment_id="1",
        title=f"About {name}",
        question="",
        order=1,
        figures=(),
        contrasts=tuple(PlannedContrast(a, b, margin, *rest) for a, b, *rest in contrasts),
        plan=Plan(seeds, CODE, keys),
        entries=tuple(PlannedConfig(config.label(), config, (), "done") for config in tables),
        stale=0,
        unplanned=0,
        loose=(),
        plan_changes=(),
        problems=(),
    )
    networks = {i: SeedTable(config, (), (), frame) for i, (config, frame) in enumerate(tables.items())}
    results = compare_contrasts(coverage, networks, complete=complete)
    return ExperimentResult(coverage, networks, (), () if complete else ("x: not tracked",), results)


# In a browser


@contextmanager
def visiting(browser, address):
    """Give a function that opens the page; at the end, nothing went wrong in it and nothing was asked of others."""
    contexts, messages, requests = [], [], []

    def opened(width=1000, *, unfolded=False, **settings):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('policy', e.violatedDirective))"
        )
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        if unfolded:
            page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        return page

    opened.messages = messages
    yield opened
    for context in contexts:
        context.close()
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} <= {address}
