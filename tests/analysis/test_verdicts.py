"""Verdicts come from the numbers alone, with their evidence; what changed between two reports, and why, is told."""

import ast
import json
import re
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from factories import new_store
from pages import experiment_result, seed_scores

from qwerties.analysis.contrasts import load_results
from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.report import verdicts_file as verdicts
from qwerties.report.build import render, write_report
from qwerties.stats.confidence import confidence_sequence
from qwerties.tracking.records import Record

PACKAGE = Path(__file__).parents[2] / "qwerties"
CODE = "9bdcd5e26e69"
GOOD, POOR = 0.97, 0.80
QUESTIONS = {  # the study's own: which config is A, which is B
    "loss": (DEFAULT, Config(loss="mse")),
    "activation": (DEFAULT, Config(activation="linear")),
    "epochs": (Config(epochs=4000), DEFAULT),
}


def table(seeds, accuracy, *, spread=0.002, seed=0):
    """Made-up scores of networks that all learned, around an accuracy."""
    rng = np.random.default_rng(seed)
    scores = accuracy + spread * rng.standard_normal(len(seeds))
    return pd.DataFrame(
        {
            "seed": seeds.numbers,
            "state": "learned",
            "train_accuracy": scores,
            "phi": 2 * scores - 1,
            "population_accuracy": scores,
            "gain": (scores - 0.5) / 0.47725,
            "settled": True,
        }
    )


def contrast(a, b, *, delta=0.01, primary=True):
    return {"a": a.to_params(), "b": b.to_params(), "delta": delta, "primary": primary}


def track(store, experiment_name, seeds, tables, contrasts, *, code=CODE, planned=None, **tags):
    """Plan an experiment and write a run for each config of `tables`."""
    planned = planned or seeds
    keys = {fingerprint(config, planned, code): config.label() for config in tables}
    experiment_id = store.experiment(
        experiment_name,
        {
            "qwerties.title": f"About {experiment_name}",
            "qwerties.plan": json.dumps({"seeds": str(planned), "code": code, "configs": keys}),
            "qwerties.contrasts": json.dumps(contrasts),
            **{f"qwerties.{name}": value for name, value in tags.items()},
        },
    )
    for config, frame in tables.items():
        if frame is not None:
            params = {**config.to_params(), "seeds": str(seeds)}
            files = {"seeds.csv": frame.to_csv(index=False).encode()}
            store.write(
                experiment_id, Record(config.label(), params, {}, {"qwerties.code": code}, files=files)
            )
    return experiment_id


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts artifacts
    return new_store(tmp_path)


def document(store, before=None):
    return verdicts.make_document(load_results(store), before)


# The words follow the numbers


def planted(folder, score_a, score_b):
    """A study of the study's own questions in which side A has one accuracy and side B another."""
    folder.mkdir()
    with chdir(folder):
        store = new_store(folder)
        seeds = Seeds(0, 200)
        for experiment_name, (a, b) in QUESTIONS.items():
            tables = {a: table(seeds, score_a), b: table(seeds, score_b)}
            track(store, experiment_name, seeds, tables, [contrast(a, b)], figures='[{"kind": "scores"}]')
        return render(store), document(store)


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    return planted(folder / "a", GOOD, POOR), planted(folder / "b", POOR, GOOD)


def spoken(page):
    """Every verdict of a page: in the answers, and with the contrasts of the sections."""
    answered = re.findall(r'class="verdict">(?!<bdi>)(.*?)</span>', page)
    told = re.findall(r'class="verdict[^"]*"><bdi>(.*?)</bdi>', page)
    return [re.sub("<.*?>", "", text) for text in answered], told


@pytest.mark.slow
def test_planted_data_flip_every_sentence(both_ways):
    (page, found), (flipped_page, flipped) = both_ways
    for forth, back in zip(found["contrasts"], flipped["contrasts"], strict=True):
        a, b = QUESTIONS[forth["experiment"]]
        a, b = a.label([a, b]), b.label([a, b])
        assert forth["words"] == f"{a} beats {b} by more than 0.01"
        assert back["words"] == f"{b} beats {a} by more than 0.01"
        assert forth["estimate"] > 0.05
        assert back["estimate"] < -0.05
        assert (forth["verdict"], back["verdict"]) == ("a_better", "b_better")
        assert back["interval"] == [-bound for bound in reversed(forth["interval"])]
        text, flipped_text = (verdicts.table(one) for one in (found, flipped))
        assert forth["words"] in text
        assert forth["words"] not in flipped_text
        assert back["words"] in flipped_text
    for forth, back in zip(spoken(page), spoken(flipped_page), strict=True):
        assert len(forth) == len(back) == len(QUESTIONS)
        for gain, loss in zip(forth, back, strict=True):
            assert re.search(" gains? 17 points of accuracy over ", gain)
            assert loss == gain.replace(" gain", " cost").replace(" over ", " against ")


def test_nothing_else_on_the_page_says_which_side_is_better(both_ways):
    """With the verdicts taken out, the sentences of both pages are the same: only numbers differ."""
    (page, _), (flipped_page, _) = both_ways

    def words(text):
        text = re.sub(r'class="verdict[^"]*">.*?</span>', "", text)
        text = re.sub(r'src="data:[^"]*"|href="[^"]*"|alt="[^"]*"', "", text)
        return re.findall(r"[a-z]{3,}", re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL))

    assert words(page) == words(flipped_page)


SIDES = r"\b(bce\w*|mse|relu|sigmoid|tanh|linear|epochs?|width|depth|layers?|adam|sgd|momentum)\b"
CLAIMS = (
    r"\b(better|worse|beats?|wins?|outperforms?|superior|inferior|faster|slower|helps?|hurts?|equivalent)\b"
)


def sentences(text):
    return [part for part in re.split(r"[.;\n]", text) if part.strip()]


def literals(path):
    """String constants of a module, docstrings left out; of a template, all of it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
        return
    tree = ast.parse(text)
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "{}" for part in ast.iter_child_nodes(node)
            )


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((PACKAGE / "report").rglob("*"))
        if path.suffix in (".py", ".html", ".js", ".md")
    ],
    ids=lambda path: path.name,
)
def test_no_conclusion_stands_in_code_or_template(path):
    for literal in literals(path):
        for sentence in sentences(literal):
            claim = re.search(SIDES, sentence, re.IGNORECASE) and re.search(CLAIMS, sentence, re.IGNORECASE)
            assert not claim, sentence


# Receipts


def test_long_names_do_not_hide_the_verdict(store):
    seeds = Seeds(0, 200)
    fields = {"momentum": 0.812345, "output_scale": 5.12998, "epochs": 1234, "learning_rate": 0.0641796}
    a = Config(**fields, loss="mse", activation="tanh", hidden=(16, 12), distance=3.21, init="he")
    tables = {a: table(seeds, GOOD), DEFAULT: table(seeds, POOR)}
    track(store, "search", seeds, tables, [contrast(a, DEFAULT)])
    found = document(store)
    (result,) = found["contrasts"]
    assert len(result["words"]) > 220
    assert result["words"] in verdicts.table(found)
    (change,) = verdicts.changes({"contrasts": []}, found)
    assert f"now: {result['words']}\n" in verdicts.changes_text([change])


def test_a_contrast_comes_with_its_receipts(store):
    seeds = Seeds(0, 60)
    a, b = QUESTIONS["loss"]
    tables = {a: table(seeds, 0.95, seed=1), b: table(seeds, 0.948, seed=2)}
    experiment_id = track(store, "loss", seeds, tables, [contrast(a, b, delta=0.02)])
    [found] = document(store)["contrasts"]
    runs = {run.name: run.run_id for run in store.runs(experiment_id)}
    d = tables[a]["population_accuracy"] - tables[b]["population_accuracy"]
    (low,), (high,) = confidence_sequence(d, alpha=0.05 / 10)
    assert found["estimate"] == pytest.approx(d.mean(), abs=1e-12)
    assert found["interval"] == [low, high]
    assert low < d.mean() < high
    assert (found["n"], found["unpaired"], found["missing"], found["diverged"]) == (60, 0, 0, 0)
    assert found["alpha"] == 0.005
    assert found["delta"] == 0.02
    assert found["smallest_delta"] == max(-low, high)
    assert found["runs_a"] == [runs[a.label()]]
    assert found["runs_b"] == [runs[b.label()]]
    assert Config.from_params(found["a"]) == a
    assert found["code"] == CODE
    text = verdicts.to_text(document(store))
    assert json.loads(text)["format"] == verdicts.FORMAT
    assert "NaN" not in text


def test_seeds_are_weighed_in_their_order_whatever_the_order_of_blocks(store):
    """The later block is tracked first; three networks diverged and count as a guess."""
    a, b = QUESTIONS["loss"]
    first, second, both = Seeds(0, 100), Seeds(100, 160), Seeds(0, 160)
    rng = np.random.default_rng(0)
    frames = {
        (arm, seeds): table(seeds, 0.8, spread=0.02, seed=int(rng.integers(1000)))
        for arm in (a, b)
        for seeds in (second, first)
    }
    frames[a, first].loc[:2, ["state", "population_accuracy", "gain"]] = ["diverged", np.nan, np.nan]
    for seeds in (second, first):
        tables = {arm: frames[arm, seeds] for arm in (a, b)}
        track(store, "loss", seeds, tables, [contrast(a, b)], planned=both)
    [found] = document(store)["contrasts"]
    scores = [
        pd.concat([frames[arm, first], frames[arm, second]])["population_accuracy"].fillna(0.5)
        for arm in (a, b)
    ]
    (low,), (high,) = confidence_sequence((scores[0] - scores[1]).to_numpy(), alpha=0.005)
    assert found["interval"] == [low, high]
    assert (found["n"], found["diverged"]) == (160, 3)
    learned = [
        pd.concat([frames[arm, first], frames[arm, second]])["gain"].ge(0.8).to_numpy(float) for arm in (a, b)
    ]
    (low,), (high,) = confidence_sequence(learned[0] - learned[1], alpha=0.05)
    assert found["learned_difference"]["lo"] == low
    assert found["learned_difference"]["hi"] == high


@pytest.mark.parametrize(("n_primary", "alpha"), [(1, 0.005), (10, 0.005), (12, 0.05 / 12)])
def test_primary_contrasts_share_the_error_budget(store, n_primary, alpha):
    """A store that several checkouts share may hold more primary contrasts than there are slots."""
    seeds = Seeds(0, 20)
    arms = [Config(learning_rate=0.01 * (i + 1)) for i in range(n_primary + 1)]
    tables = {arm: table(seeds, 0.9 + 0.001 * i, seed=i) for i, arm in enumerate(arms)}
    track(store, "rates", seeds, tables, [contrast(arms[i], arms[i + 1]) for i in range(n_primary)])
    assert {found["alpha"] for found in document(store)["contrasts"]} == {alpha}


def test_an_exploratory_contrast_has_its_own_error_rate(store):
    seeds = Seeds(0, 60)
    a, b = QUESTIONS["loss"]
    tables = {a: table(seeds, GOOD), b: table(seeds, POOR)}
    track(store, "loss", seeds, tables, [contrast(a, b, primary=False)])
    [found] = document(store)["contrasts"]
    assert (found["alpha"], found["primary"]) == (0.05, False)
    kind = '<span class="kind exploratory">exploratory</span> <bdi>60 pairs</bdi> · <bdi>α = 0.05'
    assert kind in render(store)


def test_a_late_primary_contrast_counts_as_exploratory_and_the_page_says_why(store):
    seeds = Seeds(0, 60)
    a, b = QUESTIONS["loss"]
    late = {**contrast(a, b), "late": "was declared primary on <b>2026-01-02</b>"}
    track(store, "loss", seeds, {a: table(seeds, GOOD), b: table(seeds, POOR)}, [late])
    [found] = document(store)["contrasts"]
    assert (found["alpha"], found["primary"]) == (0.05, False)
    page = render(store)
    assert "counts as exploratory: it was declared primary on &lt;b&gt;2026-01-02" in page
    assert "exploratory, as it was declared primary on" in verdicts.table(document(store))


@pytest.mark.parametrize(
    ("score", "words"),
    [(np.nan, "withheld: 1 seed without a score"), (7.0, "withheld: the metric must be from 0 to 1; ")],
)
def test_a_score_that_is_missing_or_no_accuracy_withholds(store, score, words):
    seeds = Seeds(0, 60)
    a, b = QUESTIONS["loss"]
    odd = table(seeds, POOR)
    odd.loc[7, "population_accuracy"] = score
    track(store, "loss", seeds, {a: table(seeds, GOOD), b: odd}, [contrast(a, b)])
    [found] = document(store)["contrasts"]
    assert found["verdict"] == "withheld"
    assert found["words"].startswith(words)
    render(store)


def test_an_incomplete_design_withholds(store):
    seeds = Seeds(0, 60)
    a, b = QUESTIONS["loss"]
    tables = {a: table(seeds, GOOD), b: table(seeds, POOR), Config(epochs=7): None}
    track(store, "loss", seeds, tables, [contrast(a, b)])
    [found] = document(store)["contrasts"]
    assert found["verdict"] == found["words"] == "withheld"


# What changed


def changed(before, **fields):
    """The document with its only contrast altered."""
    [only] = before["contrasts"]
    return {**before, "contrasts": [{**only, **fields}]}


@pytest.fixture(scope="module")
def plain_document(both_ways):
    """The document of one contrast, on which A is better."""
    (_, found), _ = both_ways
    return {**found, "contrasts": [one for one in found["contrasts"] if one["experiment"] == "loss"]}


AHEAD = {"verdict": "a_ahead", "interval": [0.001, 0.1]}
A_BETTER = {"verdict": "a_better", "interval": [0.02, 0.1]}
WITHIN = {"verdict": "equivalent", "interval": [-0.005, 0.005]}
SLIGHTLY = {"verdict": "equivalent", "interval": [0.001, 0.005]}
OPEN = {"verdict": "open", "interval": [-0.1, 0.1]}
WITHHELD = {"verdict": "withheld", "interval": None}


@pytest.mark.parametrize(
    ("old", "new", "flipped"),
    [
        (A_BETTER, {"verdict": "b_better", "interval": [-0.1, -0.02]}, True),
        (A_BETTER, WITHIN, True),
        (A_BETTER, AHEAD, True),
        (A_BETTER, OPEN, True),
        (A_BETTER, WITHHELD, True),
        (WITHIN, A_BETTER, True),
        (WITHIN, AHEAD, True),
        (WITHIN, OPEN, True),
        (AHEAD, A_BETTER, False),
        (AHEAD, SLIGHTLY, False),
        (AHEAD, WITHIN, True),
        (AHEAD, {"verdict": "b_ahead", "interval": [-0.1, -0.001]}, True),
        (AHEAD, OPEN, True),
        ({"verdict": "b_ahead", "interval": [-0.1, -0.001]}, A_BETTER, True),
        (OPEN, A_BETTER, False),
        (WITHHELD, A_BETTER, False),
    ],
)
def test_a_verdict_flips_when_what_was_told_no_longer_holds(plain_document, old, new, flipped):
    [change] = verdicts.changes(changed(plain_document, **old), changed(plain_document, **new))
    assert change["flipped"] is flipped


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"n": 20}, "more seeds: 200 pairs, 20 before"),
        ({"n": 300}, "fewer seeds: 200 pairs, 300 before"),
        ({"code": "older"}, "other code"),
        ({"delta": 0.05}, "other margin: 0.01, 0.05 before"),
        ({"alpha": 0.05}, "other error rate: 0.005 now"),
        ({"runs_a": ["x"]}, "other runs of the same seeds"),
        ({"verdict": "withheld"}, "the design is now complete"),
        ({}, "other scores in the same runs, or another rule"),
    ],
)
def test_the_reason_of_a_change_is_told(plain_document, fields, why):
    before = changed(plain_document, **{"verdict": "open", **fields})
    [change] = verdicts.changes(before, plain_document)
    assert change["why"] == [why]
    assert why in verdicts.changes_text([change])


def test_digits_that_moved_are_no_change(plain_document):
    assert verdicts.changes(changed(plain_document, estimate=0.9, n=201), plain_document) == []


def test_contrasts_that_come_and_go_are_told(plain_document):
    nothing = {**plain_document, "contrasts": []}
    [come] = verdicts.changes(nothing, plain_document)
    [gone] = verdicts.changes(plain_document, nothing)
    assert (come["before"], come["flipped"]) == ("no such contrast", False)
    assert (gone["now"], gone["flipped"]) == ("no longer asked", True)


@pytest.mark.slow
def test_the_next_report_tells_what_changed_and_goes_on_telling(store, tmp_path):
    """Until something changes again: the same store and the same verdicts before give the same bytes."""
    a, b = QUESTIONS["loss"]
    few, many = Seeds(0, 5), Seeds(5, 200)
    path = tmp_path / "summary.html"
    track(store, "loss", few, {a: table(few, GOOD), b: table(few, POOR)}, [contrast(a, b)])
    assert verdicts.read_verdicts(write_report(store, path).verdicts)["changes"] == []
    assert "Changes since" not in path.read_text()
    tables = {a: table(many, GOOD), b: table(many, POOR)}
    track(store, "loss", many, tables, [contrast(a, b)], planned=Seeds(0, 200))
    [change] = verdicts.read_verdicts(write_report(store, path).verdicts)["changes"]
    assert change["why"] == ["more seeds: 200 pairs, 5 before"]
    page = path.read_bytes()
    assert b"Changes since the previous report" in page
    write_report(store, path)
    assert path.read_bytes() == page


def with_contrast(**fields):
    """The text of a document whose only contrast has these fields."""
    contrast = {"experiment": "x", "a": {}, "b": {}, "verdict": "open", "words": "open", "n": 3, "code": "c"}
    contrast |= {"delta": 0.01, "interval": [0.0, 0.1]} | fields
    return json.dumps({"format": 2, "contrasts": [contrast], "changes": []})


def test_a_sound_document_is_read(tmp_path):
    path = tmp_path / "verdicts.json"
    path.write_text(with_contrast())
    assert verdicts.read_verdicts(path)["contrasts"][0]["n"] == 3


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"format": 2}', '{"format": 2, "contrasts": [3]}'),
        *(with_contrast(n="many"), with_contrast(delta="wide"), with_contrast(interval="0 to 1")),
        *(with_contrast(interval=["0", 1]), with_contrast(n=True), with_contrast(words=3)),
        '{"format": 2, "contrasts": [], "changes": [{"experiment": "", "contrast": "", "before": "", "now": "", '
        '"why": [1], "flipped": true}]}',
        *(
            f'{{"format": 2, "contrasts": [], "changes": [], "files": {files}}}'
            for files in ('""', "[]", '["runs.csv"]', '{"runs.csv": null}')
        ),
    ],
)
def test_a_file_that_holds_no_verdicts_is_left_alone(store, tmp_path, text):
    path = tmp_path / "verdicts.json"
    path.write_text(text)
    with pytest.raises(verdicts.VerdictsError, match="must hold the verdicts of a report"):
        write_report(store, tmp_path / "summary.html")
    assert path.read_text() == text
    assert not (tmp_path / "summary.html").exists()


def test_a_plan_that_was_changed_after_data_were_seen_is_told_everywhere(store):
    seeds = Seeds(0, 60)
    a, b = QUESTIONS["loss"]
    history = json.dumps([{"when": "2026-01-02", "runs": 2, "what": ["margin of <b> changed"]}])
    tables = {a: table(seeds, GOOD), b: table(seeds, POOR)}
    track(store, "loss", seeds, tables, [contrast(a, b)], plan_changes=history)
    found = document(store)
    told = "on 2026-01-02, with 2 runs tracked: margin of <b> changed"
    assert found["contrasts"][0]["plan_changes"] == [told]
    assert "the plan was changed after data were seen" in verdicts.table(found)
    page = render(store)
    assert "The plan was changed after data were seen." in page
    assert "margin of &lt;b&gt; changed" in page
    assert "<b> changed" not in page


def test_hostile_text_of_an_earlier_report_is_inert(store, plain_document, tmp_path):
    evil = "<script>alert(1)</script>\u202e"
    path = tmp_path / "verdicts.json"
    change = dict.fromkeys(("experiment", "contrast", "before", "now"), evil) | {
        "why": [evil],
        "flipped": True,
    }
    path.write_text(verdicts.to_text({"format": verdicts.FORMAT, "contrasts": [], "changes": [change]}))
    page = write_report(store, tmp_path / "summary.html").page.read_text()
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert" in page


BCE, SLOWER, MSE = (Config(learning_rate=0.3), Config(learning_rate=0.2), Config(loss="mse"))


@pytest.mark.parametrize(
    ("a", "b", "names", "sides"),
    [
        (BCE, MSE, None, "bce, lr 0.3 − mse, lr 0.01"),
        (BCE, MSE, ("bce", "mse"), "bce (lr 0.3) − mse (lr 0.01)"),
        (BCE, SLOWER, ("bce", "bce by random"), "bce (lr 0.3) − bce by random (lr 0.2)"),
        (BCE, BCE, ("best", "plain"), "best − plain"),
    ],
)
def test_arms_are_called_as_the_plan_does_with_what_differs(a, b, names, sides):
    tables = {config: seed_scores(0.9, n=5) for config in (BCE, SLOWER, MSE)}
    result, other = experiment_result("rates", tables, [(a, b, True, names), (SLOWER, MSE, False)]).findings
    assert result.sides == sides
    assert result.where == ""
    assert other.sides == "bce, lr 0.2 − mse, lr 0.01"
