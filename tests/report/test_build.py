"""The page: its numbers are those of the store, foreign text is inert, and what is missing is said."""

import base64
import hashlib
import io
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from factories import new_store
from pages import (
    BCE,
    HOSTILE,
    MSE,
    OURS,
    SEEDS,
    TABLES,
    Reader,
    record,
    section,
    table,
    tags,
)
from scipy import stats as reference
from scipy.stats import binomtest

from qwerties.config import Config, Seeds
from qwerties.report.build import Composed, render, write_report
from qwerties.report.text import display
from qwerties.stats.confidence import confidence_sequence
from qwerties.tracking.records import Record


def artifact(store, experiment_name, run_id, name):
    """Return the path of an artifact."""
    [run] = [run for run in store.runs(store.experiments()[experiment_name][0]) if run.run_id == run_id]
    return Path(run.artifact_uri.removeprefix("file://"), name)


@pytest.fixture(scope="module")
def store(module_folder):
    return new_store(module_folder)


@pytest.fixture(scope="module")
def empty_page(store):
    """The page before anything is tracked; the others are made after it."""
    return render(store)


@pytest.fixture(scope="module")
def runs(store, empty_page):
    """Everything that a page may have to show; ids of runs by name."""
    ids = {}
    lines = {"kind": "lines", "x": "distance", "score": "regret"}
    figures = ("scores", "outcomes", "losses", lines, "gradients")
    contrasts = [(BCE, MSE, True), (MSE, BCE, False)]
    pair = store.experiment("pair", tags([BCE, MSE], SEEDS, contrasts=contrasts, figures=figures))
    first, second = Seeds(0, 40), Seeds(30, 60)  # ten seeds in both
    ids["bce"] = store.write(pair, record(BCE, first, TABLES[BCE][:40]))
    ids["bce again"] = store.write(pair, record(BCE, second, TABLES[BCE][30:]))
    ids["mse"] = store.write(pair, record(MSE, SEEDS, TABLES[MSE]))

    linear, tanh, wide = (Config(activation="linear"), Config(activation="tanh"), Config(hidden=(2,)))
    contrasts = [(BCE, MSE, False), (BCE, linear, False)]
    width = store.experiment("width", tags([BCE, MSE, linear, tanh], SEEDS, contrasts=contrasts, order="20"))
    store.write(width, record(BCE, SEEDS, TABLES[BCE]))
    ids["lost"] = store.write(width, record(MSE, SEEDS, TABLES[MSE]))
    for name in ("seeds.csv", "curves.npz"):
        artifact(store, "width", ids["lost"], name).unlink()
    ids["failed"] = store.write(width, record(tanh, SEEDS, TABLES[BCE]))
    store._client.set_terminated(ids["failed"], "FAILED")
    store.write(width, record(linear, SEEDS, TABLES[BCE], code="older"))
    store.write(width, record(wide, SEEDS, TABLES[BCE]))

    crossed = Seeds(0, 6, crossed=5)
    variance = store.experiment("variance", tags([BCE], crossed, figures=("variance",), order="30"))
    store.write(variance, record(BCE, crossed, table(crossed, BCE, seed=3)))

    words = {"title": HOSTILE[:4000], "question": HOSTILE[:4000]}
    evil = tags([BCE], SEEDS, order="40", figures=("<script>", "lines"), **words)
    evil_id = store.experiment('<img src=x onerror="a">', evil)
    store.write(evil_id, record(BCE, SEEDS, TABLES[BCE], name=HOSTILE[:200]))
    unread = {"qwerties.plan": "<{" + "x" * 4000, "qwerties.title": HOSTILE[:4000]}
    broken = store.experiment("broken", unread)
    params = {"seed": HOSTILE[:400], "loss": "<script>"}
    ids["loose"] = store.write(broken, Record(HOSTILE[:200], params, {"phi": 0.25}))
    single = store.experiment("train", {"qwerties.title": "Single networks"})
    params = {**BCE.to_params(), "seed": "7"}
    ids["single"] = store.write(
        single, Record("x", params, {"train_accuracy": 0.975}, {"qwerties.state": "learned"})
    )
    return ids


@pytest.fixture(scope="module")
def page(store, runs):
    return render(store)


@pytest.fixture(scope="module")
def reader(page):
    return sound(page)


def sound(page):
    """Elements closed, links inside the page that lead somewhere, no id twice."""
    read = Reader(page)
    assert read.stack == []
    ids = [a["id"] for _, a in read.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in read.all("a") if a["href"].startswith("#")} <= set(ids)
    return read


# Stores that hold little


def whole(page):
    """All figures drawn, no number that is none."""
    text = re.sub(r"<style>.*?</style>|<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\b(nan|inf|None|NaN)\b|could not be drawn", text)
    return sound(page)


def test_an_empty_store_says_what_to_do(empty_page):
    whole(empty_page)
    assert "Nothing is tracked yet" in empty_page
    assert "<code>qwerties sweep</code>" in empty_page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_seeds", "tracked", "notices"),
    [
        (60, 0, ["0 of 2 planned configs tracked; conclusions withheld until", "is withheld: "]),
        (1, 2, ["2 configs, 1 seed each (0)", "It is open whether BCE or MSE does better: "]),
        (3, 2, ["2 configs, 3 seeds each", "It is open whether BCE or MSE does better: "]),
        (60, 1, ["1 of 2 planned configs tracked", f"{display(MSE.label())}: not tracked", "is withheld: "]),
    ],
)
def test_a_store_that_holds_little_has_a_whole_page(tmp_path, monkeypatch, n_seeds, tracked, notices):
    monkeypatch.chdir(tmp_path)
    few, seeds = new_store(tmp_path), Seeds(0, n_seeds)
    figures = ("scores", "outcomes", "losses")
    planned = tags([BCE, MSE], seeds, contrasts=[(BCE, MSE, True)], figures=figures)
    experiment_id = few.experiment("loss", planned)
    for config in (BCE, MSE)[:tracked]:
        few.write(experiment_id, record(config, seeds, table(seeds, config)))
    page = render(few)
    read = whole(page)
    assert all(text in section(page, "loss") for text in notices)
    assert section(page, "loss").count('class="verdict open"><bdi>') == 1
    row = next(row for row in read.rows if row[0] == "A title" and len(row) == 9)
    assert row[2:5] == ["2", str(tracked), str(2 - tracked)]


# Numbers


@pytest.mark.slow
@pytest.mark.parametrize("config", [BCE, MSE])
def test_a_row_holds_what_the_table_of_seeds_says(reader, config):
    frame, name = TABLES[config], config.loss.upper()
    learned = int((frame["state"] == "learned").sum())
    low, high = binomtest(learned, 60).proportion_ci(0.95, method="wilson")
    accuracy = frame["population_accuracy"].fillna(0.5)
    half = reference.sem(accuracy) * reference.t.ppf(0.975, 59)
    ranked = sorted(frame["phi"].fillna(-2))
    row = next(row for row in reader.rows if row[0].startswith(name) and len(row) == 10)
    assert row[1] == "60"
    assert row[2] == f"{100 * learned / 60:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"
    counts = [int((frame["state"] == state).sum()) for state in ("slow", "constant", "dead", "diverged")]
    assert row[3:7] == [str(count) for count in counts]
    assert row[7] == f"{accuracy.mean():.3f} [{accuracy.mean() - half:.3f}, {accuracy.mean() + half:.3f}]"
    assert row[8] == f"{frame['train_accuracy'].fillna(0.5).mean():.3f}"
    assert row[9] == f"{(ranked[29] + ranked[30]) / 2:.2f} {frame['phi'].isna().sum()} undefined"


def test_a_config_on_two_blocks_of_seeds_links_to_both_runs(reader, runs):
    links = [a["href"] for a in reader.all("a")]
    for name in ("bce", "bce again", "mse", "single"):
        found = [link for link in links if link.endswith(runs[name])]
        # beside its contrasts, in the table of outcomes, and as the example of a number that is reproduced
        assert len(found) == {"single": 1, "bce": 4, "mse": 3, "bce again": 3}[name]
        assert re.fullmatch(r"http://127\.0\.0\.1:5000/#/experiments/\d+/runs/[0-9a-f]{32}", found[0])


@pytest.mark.parametrize(
    ("kind", "arms", "alpha"), [("primary", (BCE, MSE), 0.005), ("exploratory", (MSE, BCE), 0.05)]
)
def test_a_contrast_shows_the_paired_difference_at_its_level(page, reader, kind, arms, alpha):
    a, b = (TABLES[config]["population_accuracy"].fillna(0.5) for config in arms)
    d = 100 * (a - b).to_numpy()
    (low,), (high,) = (100 * end for end in confidence_sequence(d / 100, alpha=alpha))
    mean, lo, hi = (f"{value:+.2f}".replace("-", "−") for value in (d.mean(), low, high))
    row = next(row for row in reader.rows if len(row) == 8 and row[6] == f"{mean} [{lo}, {hi}]")
    assert row[0] == " − ".join(config.loss.upper() for config in arms)
    assert row[1] == "60 3 diverged"
    text = section(page, "pair")
    assert text.count(f'class="kind {kind}"') == 1
    assert f"<bdi>60 pairs</bdi> · <bdi>α = {alpha:g}</bdi> · <bdi>δ = 1 point</bdi>" in text


def test_each_primary_contrast_shows_how_its_evidence_came_in(page):
    text = section(page, "pair")
    assert text.count("How the evidence came in: ") == 1
    assert "An interval that narrows as seeds come in, not decided yet: 1 seed [−1.000, +1.000]; " in text


def test_networks_are_counted_once(page):
    distinct = 60 + 60 + 30 - 5  # the default config's crossed block shares the pairs (0, 0) to (4, 4)
    assert f"{distinct} small networks of 2 configs on 60 seeds" in page


def test_luck_above_bayes_accuracy_is_computed(page):
    best = reference.norm.cdf(2)
    assert f"{best:.4f}" in section(page, "pair")
    assert f"{math.sqrt(best * (1 - best) / 200):.3f}" in section(page, "pair")


def test_crossed_networks_get_no_intervals(page, reader):
    row = next(row for row in reader.rows if len(row) == 10 and row[1] == "30")
    assert "[" not in row[2] + row[7]
    assert "not independent" in section(page, "variance")
    assert "A map of 6 data sets by 5 starts" in section(page, "variance")


# How many seeds


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        ((BCE,), "1 config, 20 seeds (0–19; up to 60)."),
        ((BCE, MSE), "2 configs, 20 seeds each (0–19; 1 of them up to 60); all of them: "),
    ],
)
def test_seeds_beyond_the_plan_are_counted(tmp_path, monkeypatch, undrawn, configs, words):
    monkeypatch.chdir(tmp_path)
    topped_up, seeds, more = new_store(tmp_path), Seeds(0, 20), Seeds(20, 60)
    experiment_id = topped_up.experiment("loss", tags(configs, seeds))
    for config in configs:
        topped_up.write(experiment_id, record(config, seeds, TABLES[config][:20]))
    topped_up.write(experiment_id, record(BCE, more, TABLES[BCE][20:]))
    assert words in section(render(topped_up), "loss")


# What is missing


def test_what_all_configs_share_is_that_of_the_plan(tmp_path, monkeypatch, undrawn):
    monkeypatch.chdir(tmp_path)
    planned, short = new_store(tmp_path), Config(epochs=500, learning_rate=0.101053)
    close = Config(epochs=500, learning_rate=0.101123)
    experiment_id = planned.experiment("rates", tags([BCE, MSE, short, close], SEEDS))
    for config in (BCE, MSE):
        planned.write(experiment_id, record(config, SEEDS, TABLES[config]))
    text = section(render(planned), "rates")
    assert "4 configs, 60 seeds each (0–59); all of them: ReLU · d=4." in text
    assert all(f"rate {config.learning_rate}: not tracked" in text for config in (short, close))


def test_what_is_missing_is_said_and_conclusions_are_withheld(page, runs):
    text = section(page, "width")
    assert "1 of 4 planned configs tracked; conclusions withheld until the design is complete" in text
    mse = display(MSE.label())
    assert f"{mse}: seeds.csv of run {runs['lost']}, and 1 more, is lost or altered" in text
    assert f"{display(Config(activation='tanh').label())}: its run failed" in text
    assert f"{display(Config(activation='linear').label())}: not tracked" in text
    assert "1 run made by other code" in text
    assert "1 run of configs that are not in the plan" in text
    assert text.count("is withheld: qwerties sweep width trains what is missing.") == 2
    assert not re.search(r"\b((gains|costs) \d|equivalent within|is ahead|identical on)", text)
    assert "#width" in page[: page.index("<nav")]


def test_a_figure_that_cannot_be_drawn_does_not_stop_the_page(page):
    text = section(page, "img-src-x-onerror-a")
    assert "the kind must be one of scores, lines" in text
    assert "x must be a numeric field of a config, got None" in text


def test_lost_curves_make_a_run_count_as_missing(store, runs, undrawn):
    """The report looks no further into a run of which something is lost: a sweep re-runs it."""
    path = artifact(store, "pair", runs["mse"], "curves.npz")
    kept = path.read_bytes()
    path.unlink()
    try:
        text = section(render(store), "pair")
    finally:
        path.write_bytes(kept)
    assert f"curves.npz of run {runs['mse']} is lost or altered" in text
    assert "1 of 2 planned configs tracked; conclusions withheld" in text
    assert "Outcomes by config" in text


# Foreign text


def test_foreign_text_is_inert(page, reader):
    data, *scripts = re.findall(r"<script.*?</script>", page, re.DOTALL)
    assert scripts == OURS
    assert data.startswith('<script type="application/json"')
    assert "alert" not in data
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    assert not any("style" in attributes for _, attributes in reader.elements)
    assert all(a["src"].startswith("data:image/svg+xml,%3Csvg") for a in reader.all("img"))
    assert "{{ 7*7 }}" in page
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00]", page)
    assert max(map(len, re.findall(r"W+", page))) <= 6000
    for heading in re.findall(r"<h2.*?</h2>", page):
        assert len(heading) < 1000


def test_a_question_is_markdown_and_its_html_is_text(page):
    text = section(page, "pair")
    expected = "<p>A <em>question</em> with <code>code</code> &amp; &lt;b&gt;.</p>\n<p>Second paragraph.</p>"
    assert expected in text


def test_the_page_asks_for_nothing(page, reader):
    policy = next(
        a["content"] for a in reader.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in style
    assert "@import" not in style


# Form


def test_headings_are_in_order_and_everything_has_a_name(page, reader):
    levels = [int(tag[1]) for tag, _ in reader.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert all(a["alt"] for a in reader.all("img"))
    assert all(int(a["width"]) > 0 and int(a["height"]) > 0 for a in reader.all("img"))
    assert all(a.get("scope") for a in reader.all("th"))
    assert len(reader.all("caption")) == len(reader.all("table"))
    assert len(reader.all("figcaption")) == len(reader.all("figure"))
    numbers = [int(n) for n in re.findall(r"<b>Figure (\d+)\.", page)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_alternative_texts_tell_the_numbers(reader):
    share = (TABLES[BCE]["state"] == "learned").mean()
    alts = [a["alt"].lower() for a in reader.all("img")]
    assert any(f"bce: {100 * share:.0f}% learned" in alt for alt in alts)


def test_sections_stand_in_the_order_that_they_ask_for(reader):
    sections = [a["aria-labelledby"] for a in reader.all("section")]
    assert sections[:4] == ["answers", "train", "findings", "questions"]
    assert sections[4:8] == ["pair", "width", "variance", "img-src-x-onerror-a"]
    assert sections[-2:] == ["reading", "provenance"]


def test_the_same_store_gives_the_same_page(page, store):
    assert render(store) == page


def test_a_page_that_fails_leaves_the_old_one(store, runs, tmp_path, monkeypatch, undrawn):
    path = tmp_path / "summary.html"
    path.write_text("old")
    monkeypatch.setattr(Composed, "html", lambda *_: "\ud800")  # no UTF-8
    with pytest.raises(UnicodeEncodeError):
        write_report(store, path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["summary.html"]


# Sections that fail


def test_a_section_that_fails_is_named_and_all_others_stand(
    store, runs, page, tmp_path, monkeypatch, undrawn
):
    def fail(*_):
        raise RuntimeError("<script>a trick</script>")

    monkeypatch.setattr("qwerties.report.sections.findings.build", fail)
    written = write_report(store, tmp_path / "summary.html")
    assert written.failures == ("section Findings on one scale: RuntimeError: <script>a trick</script>",)
    broken = written.page.read_text()
    notice = section(broken, "findings")
    assert "This section could not be made." in notice
    assert "RuntimeError: &lt;script&gt;a trick" in notice
    sections = [a["aria-labelledby"] for a in Reader(broken).all("section")]
    assert sections == [*(a["aria-labelledby"] for a in Reader(page).all("section")), "downloads"]


def test_a_figure_that_fails_when_it_is_drawn_leaves_a_notice(store, runs, monkeypatch):
    monkeypatch.setattr(
        "qwerties.report.build.render_figures", lambda figures, jobs: [OSError("disk full") for _ in figures]
    )
    broken = render(store)
    assert "A figure could not be drawn: disk full" in section(broken, "pair")
    assert "<img" not in broken
    assert "Outcomes by config" in section(broken, "pair")


# Files that were tracked so


@pytest.fixture
def section_of(tmp_path, monkeypatch, undrawn):
    """Return a maker of the section of an experiment whose one run holds these files."""

    def make(files):
        monkeypatch.chdir(tmp_path)
        store = new_store(tmp_path)
        experiment_id = store.experiment("files", tags([BCE], SEEDS, figures=("losses", "gradients")))
        store.write(experiment_id, record(BCE, SEEDS, TABLES[BCE], files=files))
        return section(render(store), "files")

    return make


@pytest.mark.parametrize(("name", "figure"), [("loss", "losses"), ("gradient_rms", "gradients")])
@pytest.mark.parametrize("shape", [(60,), (60, 0), (3, 2), (60, 2, 2)])
def test_curves_of_another_shape_are_named(section_of, name, figure, shape):
    files = record(BCE, SEEDS, TABLES[BCE]).files
    with np.load(io.BytesIO(files["curves.npz"])) as arrays:
        np.savez(buffer := io.BytesIO(), **{**arrays, name: np.ones(shape)})
    text = section_of({**files, "curves.npz": buffer.getvalue()})
    assert text.count("could not be drawn: ") == 1
    assert f"the figure of {figure} could not be drawn: " in text
    assert "Outcomes by config" in text


def test_missing_curves_are_named(section_of):
    text = section_of(record(BCE, SEEDS, TABLES[BCE], curves=False).files)
    for figure in ("losses", "gradients"):
        assert f"the figure of {figure} could not be drawn: run" in text
    assert "Outcomes by config" in text


def test_scores_that_cannot_be_read_are_named(section_of):
    text = section_of({**record(BCE, SEEDS, TABLES[BCE]).files, "seeds.csv": b"seed,state\n0,learned\n"})
    assert "seeds.csv cannot be read: it lacks the columns" in text
    assert f"{display(BCE.label())}: its scores cannot be read" in text
    assert "0 of 1 planned config tracked; conclusions withheld" in text
