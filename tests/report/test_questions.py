"""The notebook's questions: what is said follows the store, and what is missing is named."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from factories import new_store
from pages import HOSTILE, record, tags

from qwerties.analysis.contrasts import load_results
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.report.build import render
from qwerties.report.elements import Numbers
from qwerties.report.sections.examples import read_exemplars
from qwerties.report.sections.questions import RESTS_ON, make_questions
from qwerties.scoring.predict import answer

SEEDS = Seeds(0, 60)
LINEAR, MSE, LONG = Config(activation="linear"), Config(loss="mse"), Config(epochs=4000)
WIDE = Config(hidden=(4,))
SIDES = {
    "activation": (DEFAULT, LINEAR),
    "loss": (DEFAULT, MSE),
    "epochs": (LONG, DEFAULT),
    "width": (WIDE, DEFAULT),
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where MLflow puts artifacts
    return new_store(tmp_path)


def table(learned, *, dead=0, accuracy=0.97):
    """So many of the sixty seeds learned, so many are dead, the rest is constant."""
    n = len(SEEDS)
    state = np.array(["learned"] * learned + ["dead"] * dead + ["constant"] * (n - learned - dead))
    scores = np.where(state == "learned", accuracy + 1e-4 * np.arange(n), 0.5)
    return pd.DataFrame(
        {
            "seed": SEEDS.numbers,
            "state": state,
            "train_loss": np.where(state == "learned", 0.1, 0.7),
            "train_accuracy": scores,
            "phi": np.where(state == "learned", 2 * scores - 1, np.nan),
            "population_accuracy": scores,
            "gain": (scores - 0.5) / 0.47725,
            "settled": state != "learned",
            "excess_loss": np.where(state == "learned", 0.04, 0.64),
        }
    )


def track(store, experiment_name, tables, contrasts=(), **more):
    experiment = store.experiment(
        experiment_name, tags(list(tables), SEEDS, contrasts=contrasts, figures=(), **more)
    )
    for config, frame in tables.items():
        store.write(experiment, record(config, SEEDS, frame))


def study(store, a, b):
    """Each of the experiments, with one table for side A and another for side B."""
    for experiment_name, sides in SIDES.items():
        track(store, experiment_name, dict(zip(sides, (a, b), strict=True)), [(*sides, True)])


def questions(store):
    return make_questions(store, load_results(store), Numbers())


def section(page):
    start = page.index('<section class="questions"')
    return page[start : page.index("</section>", start)]


def sources(found):
    return {source.experiment_name: source for key in RESTS_ON for source in getattr(found, key).sources}


def facts(source):
    return dict(source.facts)


@pytest.mark.parametrize("ahead", [0, 1])
def test_words_follow_planted_verdicts(store, ahead):
    good, poor = table(58), table(20, dead=10)
    study(store, *((good, poor) if ahead == 0 else (poor, good)))
    found = sources(questions(store))
    for experiment_name, sides in SIDES.items():
        [verdict] = found[experiment_name].verdicts
        better, worse = (sides[i].label(sides) for i in (ahead, 1 - ahead))
        assert verdict.words == f"{better} beats {worse} by more than 0.01"
        assert verdict.told
        learned, stuck = (("97%", "33%"), ("3%", "67%"))
        order = slice(None) if ahead == 0 else slice(None, None, -1)
        assert "learned {} against {}".format(*learned[order]) in verdict.numbers
        assert "constant or dead {} against {}".format(*stuck[order]) in verdict.numbers
    page = section(render(store))
    assert len(re.findall(r"beats .* by more than", page)) == len(SIDES)
    assert page.count("<h3>") == 3


def test_numbers_are_those_of_the_store(store):
    study(store, table(50, dead=4), table(30, dead=6))
    found = sources(questions(store))
    assert facts(found["epochs"])["Learned, bce · relu"] == ("50% at 2,000 epochs", "83% at 4,000 epochs")
    assert facts(found["epochs"])["Dead, bce · relu"] == ("10% at 2,000 epochs", "7% at 4,000 epochs")
    assert facts(found["epochs"])["Settled, bce · relu"] == ("50% at 2,000 epochs", "17% at 4,000 epochs")
    assert facts(found["width"])["Learned"] == ("50% at 1 hidden unit", "83% at 4 hidden units")
    levels = facts(found["epochs"])["Mean training loss, and its levels"]
    assert levels == (
        "Bayes floor 0.060",
        "the sample’s own optimum 0.060",
        "0.400 (0.100 where learned) after 2,000 epochs",
        "0.200 (0.100 where learned) after 4,000 epochs",
    )
    losses = (
        np.geomspace(0.7, 0.1, 4) + 0.01 * 29.5
    )  # the mean of the made-up curves, kept at 1, 10, 100 and the end
    before = np.interp(np.log(1500), np.log([1, 10, 100, 2000]), losses)
    fall = facts(found["epochs"])["Fall of the mean loss over the last quarter"][0]
    assert fall == f"{100 * (1 - losses[-1] / before):.1f}% of 2,000 epochs"
    assert (
        facts(found["activation"])["How networks ended"][1] == "linear: 50% learned, 40% constant, 10% dead"
    )


def test_gradients_are_told_by_depth(store):
    deep = {
        Config(hidden=(8,) * depth, activation=a): table(60) for depth in (1, 4) for a in ("relu", "sigmoid")
    }
    track(store, "depth", deep)
    told = facts(sources(questions(store))["depth"])[
        "Gradient of the first layer ÷ that of the last, PyTorch init"
    ]
    assert told == tuple(
        f"{a} 1 at 1 hidden layer, 1 at 4 (× 1 for each layer more)" for a in ("relu", "sigmoid")
    )


def test_what_is_missing_is_named_by_its_file(store):
    track(store, "pair", {DEFAULT: table(60)})
    text = section(render(store))
    for experiment_name in (
        experiment_name for experiment_names in RESTS_ON.values() for experiment_name in experiment_names
    ):
        assert f"<code>make sweep ONLY={experiment_name}</code>" in text
        assert f"<code>experiments/{experiment_name}.py</code> is not in the store" in text
    assert 'class="verdict' not in text
    assert "measured" not in re.sub("<figcaption.*?</figcaption>", "", text)


def test_an_incomplete_experiment_withholds_its_verdict(store):
    experiment = store.experiment(
        "loss", tags([DEFAULT, MSE, LINEAR], SEEDS, contrasts=[(DEFAULT, MSE, True)], figures=())
    )
    for config, frame in ((DEFAULT, table(58)), (MSE, table(20))):
        store.write(experiment, record(config, SEEDS, frame))
    found = sources(questions(store))["loss"]
    assert found.missing == "is not complete, with 2 of 3 configs tracked"
    assert [one.words for one in found.verdicts] == ["withheld"]
    assert "ONLY=loss" in section(render(store))


def test_a_plan_without_runs_is_missing_too(store):
    store.experiment("width", tags([DEFAULT, WIDE], SEEDS, contrasts=[(WIDE, DEFAULT, False)]))
    assert sources(questions(store))["width"].missing == "has no network in the store yet"


def test_nothing_tracked_gives_no_section(store):
    assert questions(store) is None
    assert 'id="questions"' not in render(store)


def test_broken_artifacts_leave_numbers_out_and_nothing_more(store):
    for experiment_name in ("depth", "epochs"):
        experiment = store.experiment(experiment_name, tags([DEFAULT, LONG], SEEDS, figures=()))
        for config in (DEFAULT, LONG):
            files = {
                "seeds.csv": table(40)[
                    ["seed", "state", "train_accuracy", "phi", "population_accuracy", "gain"]
                ]
            }
            files = {name: frame.to_csv(index=False).encode() for name, frame in files.items()}
            store.write(
                experiment,
                record(config, SEEDS, table(40), files={**files, "curves.npz": b"no"}, curves=False),
            )
    found = sources(questions(store))
    assert list(facts(found["epochs"])) == ["Learned, bce · relu", "Dead, bce · relu"]
    assert facts(found["depth"]) == {}


def test_hostile_text_is_inert(store):
    track(store, "loss", {DEFAULT: table(58), MSE: table(20)}, [(DEFAULT, MSE, True)], title=HOSTILE[:4000])
    text = section(render(store))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00]", text)


# Exemplars


def keep(config, seeds, states, **changes):
    """What a run keeps of watched networks, with weights that one can compute with by hand."""
    rng, sizes = np.random.default_rng(0), (2, *config.hidden, 1)
    arrays = {
        "epochs": np.array([1, config.epochs]),
        "loss": np.ones((len(seeds), 2)),
        "checkpoints": np.array([0, config.epochs]),
        "exemplars": np.array(list(states)),
        "exemplar_points": rng.normal(3, 2, (len(states), 2, 200)),
    }
    for k in range(len(sizes) - 1):
        arrays[f"exemplar.{2 * k}.weight"] = rng.normal(size=(len(states), 2, sizes[k + 1], sizes[k]))
        arrays[f"exemplar.{2 * k}.bias"] = rng.normal(size=(len(states), 2, sizes[k + 1]))
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def ended(states):
    frame = table(60)
    for seed, state in states.items():
        frame.loc[frame["seed"] == seed, "state"] = state
    return frame


def track_exemplars(store, config, states, **changes):
    buffer = io.BytesIO()
    np.savez(buffer, **keep(config, SEEDS, states, **changes))
    frame = ended(states)
    experiment = store.experiment("loss", tags([config], SEEDS, figures=()))
    files = {"seeds.csv": frame.to_csv(index=False).encode(), "curves.npz": buffer.getvalue()}
    store.write(experiment, record(config, SEEDS, frame, files=files, curves=False))


@pytest.mark.parametrize("hidden", [(1,), (4,), (3, 2)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_exemplars_are_the_lowest_seeds_of_any_shape(store, hidden, activation):
    config = Config(hidden=hidden, activation=activation)
    track_exemplars(store, config, {7: "slow", 9: "dead", 8: "slow", 2: "learned"})
    [one] = load_results(store)
    found = read_exemplars(store, one.networks[0])
    assert {state: exemplar.seed for state, exemplar in found.items()} == {"learned": 2, "slow": 7, "dead": 9}
    own = found["dead"]
    value = own.points.astype(float)
    act = {"relu": lambda u: np.where(u > 0, u, 0), "tanh": np.tanh}[activation]
    for weight, bias in own.layers[:-1]:
        value = act(np.einsum("oi,ip->op", weight, value) + bias[:, None])
    weight, bias = own.layers[-1]
    np.testing.assert_allclose(answer(activation, own.layers, own.points), (weight @ value)[0] + bias[0])
    page = render(store)
    alt = re.search('alt="(Decision boundaries, one row per config[^"]*)"', page)[1]
    assert re.search(r"seed 2 learned, \d+% of its training points right; seed 7 slow.*; seed 9 dead", alt)
    assert render(store) == page


def test_runs_without_points_are_left_out(store):
    track_exemplars(store, DEFAULT, {2: "learned"}, exemplar_points=None)
    page = render(store)
    assert "Decision boundaries, one row" not in page
    assert "exemplars" not in page.split("<main")[1].split("<script")[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"exemplar_points": np.full((1, 2, 200), np.nan)},
        {"exemplar_points": np.zeros((1, 2, 3))},
        {"exemplar.0.weight": np.zeros((1, 0, 1, 2))},
        {"exemplar.2.bias": np.array([["x"]])},
        {"exemplars": np.array([0.5])},
    ],
)
def test_nonsense_is_told_and_the_page_stands(store, changes):
    track_exemplars(store, DEFAULT, {2: "learned"}, **changes)
    page = render(store)
    assert "the figure of exemplars could not be drawn" in page
    assert "Outcomes by config" in page
