"""The notebook's questions explained: numbers follow the store, and what is missing is named."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from pages import record, section, tags

from qwerties.analysis.contrasts import load_results
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.report.build import render, write_report
from qwerties.report.examples import examples_figure, read_examples
from qwerties.report.rendering import render as render_figures
from qwerties.report.results import Results
from qwerties.report.sections import questions
from qwerties.report.text import display
from qwerties.scoring import predict, theory
from qwerties.scoring.predict import answer

pytestmark = pytest.mark.usefixtures("undrawn")

SEEDS = Seeds(0, 60)
LINEAR, MSE, LONG = Config(activation="linear"), Config(loss="mse"), Config(epochs=4000)
WIDE = Config(hidden=(4,))
SIDES = {
    "activation": (DEFAULT, LINEAR),
    "loss": (DEFAULT, MSE),
    "epochs": (LONG, DEFAULT),
    "width": (WIDE, DEFAULT),
}


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


def track(store, experiment_name, tables, contrasts=()):
    experiment = store.experiment(experiment_name, tags(list(tables), SEEDS, contrasts=contrasts, figures=()))
    for config, frame in tables.items():
        store.write(experiment, record(config, SEEDS, frame))


def figure(store, key):
    return questions.QUESTIONS[key][-1](Results(store, load_results(store)))


def test_the_fall_and_the_levels_of_the_loss_are_those_of_the_store(store):
    for experiment_name, sides in SIDES.items():
        frames = (table(50, dead=4), table(30, dead=6))
        track(store, experiment_name, dict(zip(sides, frames, strict=True)), [(*sides, True)])
    shown = figure(store, "training")
    losses = np.geomspace(0.7, 0.1, 4) + 0.01 * np.arange(60)[:, None]  # kept at 1, 10, 100 and the end
    for epochs in (2000, 4000):
        before = np.interp(np.log(0.75 * epochs), np.log([1, 10, 100, epochs]), losses.mean(0))
        assert f"{100 * (1 - losses.mean(0)[-1] / before):.1f}% ({epochs:,} epochs)" in shown.caption
    learned, dead, constant = (
        losses[seeds, -1].mean() for seeds in (slice(50), slice(50, 54), slice(54, 60))
    )
    assert f"learned {learned:.3f}; constant {constant:.3f}; dead {dead:.3f}" in shown.alt
    assert "Dashed: Bayes floor 0.060, dead plateau 0.693, sample’s optimum 0.060" in shown.alt
    text = section(render(store), "questions")
    for experiment_name in SIDES:
        assert f'<a href="#{experiment_name}"><bdi>A title</bdi></a>' in text


@pytest.mark.parametrize("name", predict.ACTIVATIONS)
def test_a_slope_is_that_of_pytorch(store, name):
    import torch
    from torch.nn import functional

    [(_, arguments)] = figure(store, "gradients").arguments["parts"]
    slope = arguments["frame"][display(name)].dropna()
    x = torch.tensor(slope.index.to_numpy(), requires_grad=True)
    {"linear": lambda u: 1 * u, "relu": functional.relu}.get(name, getattr(torch, name, None))(
        x
    ).sum().backward()
    np.testing.assert_allclose(slope, x.grad, atol=1e-7)


@pytest.mark.parametrize("name", theory.DEAD_PLATEAU)
def test_a_gradient_at_the_logit_is_that_of_pytorch(store, name):
    import torch

    [(_, arguments)] = figure(store, "losses").arguments["parts"]
    size = arguments["frame"][display(name)]
    z = torch.tensor(size.index.to_numpy(), requires_grad=True)
    loss = {"bce": torch.nn.BCELoss, "mse": torch.nn.MSELoss}[name](reduction="sum")
    loss(torch.sigmoid(z), torch.ones_like(z)).backward()
    np.testing.assert_allclose(size, z.grad.abs(), atol=1e-7)


def test_a_study_of_other_questions_shows_its_own_alone(store, tmp_path):
    track(store, "pair", {DEFAULT: table(60)})
    written = write_report(store, tmp_path / "summary.html")
    page = written.page.read_text(encoding="utf-8")
    assert "notebook’s questions" not in page
    assert "Why ReLU" not in page + written.text
    assert "is not in the store" not in page
    assert " trains it" not in page + written.text


def test_what_is_missing_is_named_by_its_file(store):
    track(store, "loss", {DEFAULT: table(60)})
    text = section(render(store), "questions")
    for name in ("depth", "activation", "xor", "tune_loss", "epochs", "width"):
        assert f"experiments/{name}.py is not in the store: qwerties sweep {name} trains it." in text
    assert figure(store, "training") is None


def test_an_incomplete_experiment_is_named(store):
    experiment = store.experiment("loss", tags([DEFAULT, MSE, LINEAR], SEEDS, figures=()))
    for config, frame in ((DEFAULT, table(58)), (MSE, table(20))):
        store.write(experiment, record(config, SEEDS, frame))
    store.experiment("width", tags([DEFAULT, WIDE], SEEDS, contrasts=[(WIDE, DEFAULT, False)]))
    text = section(render(store), "questions")
    assert "experiments/loss.py is not complete, with 2 of 3 configs tracked: qwerties sweep loss" in text
    assert "experiments/width.py has no network in the store yet: qwerties sweep width" in text


def test_nothing_tracked_gives_no_section(store):
    assert questions.build(Results(store, load_results(store))) is None
    assert 'id="questions"' not in render(store)


def test_curves_that_cannot_be_read_leave_the_figure_out(store):
    files = {"seeds.csv": table(40).to_csv(index=False).encode(), "curves.npz": b"no"}
    experiment = store.experiment("epochs", tags([DEFAULT, LONG], SEEDS, figures=()))
    for config in (DEFAULT, LONG):
        store.write(experiment, record(config, SEEDS, table(40), files=files, curves=False))
    assert figure(store, "training") is None


# Examples


def track_examples(store, config, states, **changes):
    """Track a run that watched networks of these seeds, with weights that one can compute with by hand."""
    rng, sizes, n = np.random.default_rng(0), (2, *config.hidden, 1), len(states)
    frame = table(60)
    for seed, state in states.items():
        frame.loc[frame["seed"] == seed, "state"] = state
    arrays = {
        "epochs": np.array([1, config.epochs]),
        "loss": np.ones((len(SEEDS), 2)),
        "exemplars": np.array(list(states)),
        "exemplar_points": rng.normal(3, 2, (n, 2, 200)),
    }
    for k in range(len(sizes) - 1):
        arrays[f"exemplar.{2 * k}.weight"] = rng.normal(size=(n, 2, sizes[k + 1], sizes[k]))
        arrays[f"exemplar.{2 * k}.bias"] = rng.normal(size=(n, 2, sizes[k + 1]))
    arrays = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(buffer := io.BytesIO(), **arrays)
    experiment = store.experiment("loss", tags([config], SEEDS, figures=()))
    files = {"seeds.csv": frame.to_csv(index=False).encode(), "curves.npz": buffer.getvalue()}
    store.write(experiment, record(config, SEEDS, frame, files=files, curves=False))


@pytest.mark.parametrize("hidden", [(1,), (4,), (3, 2)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_examples_are_the_lowest_seeds_of_any_shape(store, hidden, activation):
    config = Config(hidden=hidden, activation=activation)
    track_examples(store, config, {7: "slow", 9: "dead", 8: "slow", 2: "learned"})
    [one] = load_results(store)
    found = read_examples(store, one.networks[0])
    assert {state: example.seed for state, example in found.items()} == {"learned": 2, "slow": 7, "dead": 9}
    own = found["dead"]
    value = own.points.astype(float)
    act = {"relu": lambda u: np.where(u > 0, u, 0), "tanh": np.tanh}[activation]
    for weight, bias in own.layers[:-1]:
        value = act(np.einsum("oi,ip->op", weight, value) + bias[:, None])
    weight, bias = own.layers[-1]
    np.testing.assert_allclose(answer(activation, own.layers, own.points), (weight @ value)[0] + bias[0])
    drawn = examples_figure(store, one.networks.values(), list(one.networks.values()))
    assert re.search(
        r"seed 2 learned, \d+% of its training points right; seed 7 slow.*; seed 9 dead", drawn.alt
    )
    [picture] = render_figures([drawn])
    assert picture.suffix == "png"


def test_runs_without_points_are_left_out(store):
    track_examples(store, DEFAULT, {2: "learned"}, exemplar_points=None)
    page = render(store)
    assert "Decision boundaries, one row" not in page
    assert "examples" not in page.split("<main")[1].split("<script")[0]


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
    track_examples(store, DEFAULT, {2: "learned"}, **changes)
    page = render(store)
    assert "the figure of examples could not be drawn" in page
    assert "Outcomes by config" in page
