"""Figures of the report: which numbers they show and say, recomputed plainly from the seeds' tables."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from pages import experiment_result, seed_scores
from scipy import stats as reference

from qwerties.analysis.retraining import best_of
from qwerties.analysis.searches import TrackedSearch
from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, Config, Seeds
from qwerties.plotting.examples import examples
from qwerties.report import rendering
from qwerties.report.curve_figures import gradient_ratios
from qwerties.report.experiment_figures import experiment_figure
from qwerties.report.figure_words import MAX_ROWS
from qwerties.report.rendering import ReportFigure, render
from qwerties.report.scores import RANGES, references_of, score_interval
from qwerties.report.search_figures import search_histories, search_rates
from qwerties.report.sections.findings import contrasts_figure
from qwerties.report.text import display, markdown
from qwerties.scoring import theory
from qwerties.stats.formats import number
from qwerties.study.plan import FigureSpec

XOR = Config(data="xor", hidden=(8,), learning_rate=0.1)
N = 40


def networks(config, level, seed=0):
    """Networks of one config, their accuracies spread around a level."""
    accuracy = np.clip(level + 0.02 * np.random.default_rng(seed).standard_normal(N), 0, 1)
    frame = pd.DataFrame(
        {
            "seed": np.arange(N),
            "state": np.where(accuracy > level, "learned", "slow"),
            "train_loss": 1 - accuracy,
            "train_accuracy": accuracy + 0.01,
            "population_accuracy": accuracy,
        }
    )
    return SeedTable(config, (), (), frame)


def picture(kind, drawn, x=None, score="population_accuracy", curves=None):
    figure = experiment_figure(FigureSpec(kind, x, score), drawn, curves)
    (rendered,) = render([figure])
    assert rendered.content
    return figure


def both_arrangements():
    return [
        networks(
            dataclasses.replace(XOR, data=data, hidden=(width,), activation=activation), level, seed=width
        )
        for data, levels in (
            ("xor", {"relu": 0.9, "linear": 0.5}),
            ("clusters", {"relu": 0.8, "linear": 0.97}),
        )
        for activation, level in levels.items()
        for width in (1, 8)
    ]


def test_the_reference_lines_are_those_of_the_configs_data():
    assert references_of("population_accuracy", XOR) == theory.reference_accuracies(4.0, "xor")
    assert references_of("population_accuracy", DEFAULT) == {"Bayes accuracy": theory.bayes_accuracy(4.0)}
    assert references_of("learned", XOR) == {}
    assert references_of("bce", XOR) == {"floor": theory.bce_floor(4.0, "xor")}
    assert references_of("phi", XOR) == {"Bayes phi": theory.bayes_phi(4.0, "xor")}


@pytest.mark.parametrize("score", ["population_accuracy", "regret", "gain", "brier"])
def test_an_interval_stays_within_the_range_of_its_score(score):
    best = theory.bayes_accuracy(4.0)
    frame = pd.DataFrame({"state": "learned", "population_accuracy": [best, 0.02, best]})
    frame["gain"] = (frame["population_accuracy"] - 0.5) / (best - 0.5)
    frame["brier"] = 1 - frame["population_accuracy"]
    found, (low, high) = score_interval(frame, score, DEFAULT), RANGES[score]
    values = best - frame["population_accuracy"] if score == "regret" else frame[score]
    half = reference.sem(values) * reference.t.ppf(0.975, 2)
    assert found.lo == pytest.approx(max(values.mean() - half, low))
    assert found.hi == pytest.approx(min(values.mean() + half, high))
    assert values.mean() - half < low or values.mean() + half > high


def test_lines_have_a_panel_for_each_arrangement_and_its_limits():
    found = picture("lines", both_arrangements(), x="hidden")
    assert "XOR: ReLU: " in found.alt
    assert "clusters: ReLU: " in found.alt
    for name, level in theory.reference_accuracies(4.0, "xor").items():
        assert f"{name} {number(level)}" in found.alt
        assert name in found.caption
    assert f"Bayes accuracy {number(float(theory.bayes_accuracy(4.0)))}" in found.alt


@pytest.mark.parametrize("kind", ["lines", "losses", "scores"])
def test_rates_that_round_to_the_same_name_stay_apart(kind):
    rates = (0.101053, 0.101123, 0.2)
    drawn = [networks(Config(learning_rate=rate, epochs=n), 0.8) for rate in rates for n in (500, 1000)]
    curves = lambda table, name: (np.array([1, table.config.epochs]), np.ones((N, 2)))  # noqa: E731
    found = picture(kind, drawn, x="epochs", curves=curves)
    assert all(f"rate {rate}" in found.alt for rate in rates)


def test_relu_minus_linear_is_the_mean_difference_on_the_same_seeds():
    drawn = both_arrangements()
    found = picture("relu_minus_linear", drawn, x="hidden")
    by_config = {one.config: one.frame for one in drawn}
    for config, frame in by_config.items():
        if config.activation == "relu":
            linear = by_config[dataclasses.replace(config, activation="linear")]
            gap = float((frame["population_accuracy"] - linear["population_accuracy"]).mean())
            assert f"{number(gap)} at {config.hidden[0]}" in found.alt
    assert "XOR: " in found.alt
    assert "clusters: " in found.alt


def test_relu_minus_linear_pairs_seeds_and_not_rows():
    a, b = networks(XOR, 0.9), networks(dataclasses.replace(XOR, activation="linear"), 0.5, seed=1)
    shifted = b.frame.iloc[10:].reset_index(drop=True)
    gap = (a.frame["population_accuracy"] - b.frame["population_accuracy"])[10:].mean()
    found = picture("relu_minus_linear", [a, dataclasses.replace(b, frame=shifted)], x="hidden")
    assert f"{number(float(gap))} at 8" in found.alt


def test_a_distribution_tells_its_quantiles():
    drawn = [
        networks(dataclasses.replace(DEFAULT, activation=activation, learning_rate=rate), 0.7 + rate, seed=i)
        for i, (activation, rate) in enumerate((a, r) for a in ("relu", "linear") for r in (0.01, 0.1))
    ]
    found = picture("distribution", drawn, x="learning_rate")
    for one in drawn:
        accuracy = one.frame["population_accuracy"].sort_values().to_numpy()
        assert (
            f"{display(one.config.activation)}, {one.config.learning_rate}: mean {number(float(accuracy.mean()))}, "
            f"tenth {number(float(np.quantile(accuracy, 0.1)))}, median {number(float(np.median(accuracy)))}, "
            f"nine tenths {number(float(np.quantile(accuracy, 0.9)))}"
        ) in found.alt


def test_a_distribution_names_an_arrangement_as_others_do():
    found = picture("distribution", [networks(DEFAULT, 0.9), networks(XOR, 0.7)], x="data")
    assert "XOR: mean " in found.alt


@pytest.mark.parametrize("undefined", [False, True])
def test_a_cross_is_explained_where_there_is_one(undefined):
    drawn = [networks(Config(epochs=n), 0.9).frame.assign(phi=np.nan if undefined else 0.5) for n in (1, 2)]
    tables = [SeedTable(Config(epochs=n), (), (), frame) for n, frame in zip((1, 2), drawn, strict=True)]
    assert ("A cross" in picture("lines", tables, x="epochs", score="phi").caption) is undefined


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bce · lr 0.335321", "BCE · rate 0.335"),
        ("lr 1000 · 1 epochs", "rate 1000 · 1 epoch"),
        ("lr 4072.35 · 1001 epochs", "rate 4070 · 1001 epochs"),
        ("lr 9e+15 · 21 epochs", "rate 9e+15 · 21 epochs"),
        ("hidden 1 · lr 1e-05", "1 hidden unit · rate 1e-05"),
        ("adam · output scale 0.17171", "Adam · output scale 0.172"),
        ("the notebook's", "the notebook’s"),
    ],
)
def test_a_name_is_written_as_people_do(name, shown):
    assert display(name) == shown


def test_a_distribution_counts_a_diverged_network_as_a_guess():
    one = networks(DEFAULT, 0.9)
    one.frame.loc[: N // 2, "state"] = "diverged"
    one.frame.loc[: N // 2, "population_accuracy"] = np.nan
    assert "median 0.5" in picture("distribution", [one], x="learning_rate").alt


def test_retraining_says_what_the_analysis_found():
    one = networks(DEFAULT, 0.9)
    found, table = picture("retraining", [one]), best_of(one.frame)
    for k, row in table.iterrows():
        estimate, low, high = (
            number(row[name], 4, sign=True) for name in ("overstated", "overstated_lo", "overstated_hi")
        )
        assert f"{estimate} [{low}, {high}] for k = {k}" in found.caption
    assert f"the kept one learned: {number(table.loc[1, 'learned'])} at 1" in found.alt


@pytest.mark.parametrize(
    ("kind", "x", "score", "drawn", "message"),
    [
        ("distribution", None, "gain", 1, "x must be a field of a config, got None"),
        ("distribution", "color", "gain", 1, "x must be a field of a config, got 'color'"),
        ("distribution", "epochs", "phi", 1, "the score must be one of"),
        ("relu_minus_linear", "loss", "gain", 1, "x must be a numeric field of a config, got 'loss'"),
        ("relu_minus_linear", "hidden", "population_accuracy", 1, "no two configs differ in ReLU"),
        ("retraining", None, "population_accuracy", 2, "it takes one config on independent seeds"),
    ],
)
def test_a_figure_that_cannot_be_drawn_says_why(kind, x, score, drawn, message):
    configs = [networks(Config(epochs=10 * (i + 1)), 0.9) for i in range(drawn)]
    with pytest.raises(ValueError, match=message):
        experiment_figure(FigureSpec(kind, x, score), configs, None)


def curves_of(arrays):
    return lambda table, name: (np.array([1, 10]), arrays[name])


def test_losses_and_gradients_are_means_and_medians_over_networks():
    table = networks(Config(hidden=(4, 4)), 0.9)
    losses = np.random.default_rng(0).uniform(0.1, 1, (N, 2))
    rms = np.random.default_rng(1).uniform(0.1, 1, (N, 3))
    curves = curves_of({"loss": losses, "gradient_rms": rms})
    assert (
        f"from {number(losses[:, 0].mean())} to {number(losses[:, 1].mean())} after 10"
        in picture("losses", [table], curves=curves).alt
    )
    ratio = float(np.median(rms[:, 0] / rms[:, 2]))
    assert gradient_ratios([table], curves)["ratio"].item() == pytest.approx(ratio)
    assert f"ReLU: {ratio:.2g} at 2" in picture("gradients", [table], curves=curves).alt


@pytest.mark.parametrize("kind", ["scores", "outcomes"])
@pytest.mark.parametrize("configs", [MAX_ROWS, 60])
def test_more_rows_than_one_can_read_are_left_to_the_table(kind, configs):
    drawn = []
    for i in range(configs):
        learned = 40 + (7 * i) % configs  # of 100
        frame = pd.DataFrame(
            {
                "seed": np.arange(100),
                "state": ["learned"] * learned + ["dead"] * (100 - learned),
                "population_accuracy": learned / 100 + np.linspace(-0.01, 0.01, 100),
            }
        )
        drawn.append(SeedTable(Config(learning_rate=(i + 1) / 1000), (), (), frame))
    found = picture(kind, drawn)
    shown = [
        i
        for i in range(configs)
        if f"rate {(i + 1) / 1000:.3g}" + {"scores": " ", "outcomes": ":"}[kind] in found.alt
    ]
    if configs <= MAX_ROWS:
        assert shown == list(range(configs))
        assert "more in the table" not in found.caption
    else:
        half = MAX_ROWS // 2
        ranks = [(7 * i) % configs for i in range(configs)]
        assert shown == [i for i in range(configs) if ranks[i] < half or ranks[i] >= configs - half]
        assert f"Of 60 configs the {half} highest and the {half} lowest" in found.caption
        assert f"{60 - 2 * half} more in the table" in found.caption


def fails(**arguments):
    raise ValueError("no such figure")


def test_a_figure_that_fails_leaves_the_others():
    good = picture("outcomes", both_arrangements())
    drawn, failed, again = render([good, ReportFigure(fails, {}, "", ""), good])
    assert str(failed) == "no such figure"
    assert drawn == again
    assert (drawn.suffix, drawn.width) == ("svg", 720)
    assert drawn.src.startswith("data:image/svg+xml,%3Csvg")


@pytest.mark.slow
def test_several_processes_draw_the_same_bytes(monkeypatch):
    monkeypatch.setattr(rendering, "MIN_PARALLEL", 2)
    figures = [
        picture("lines", both_arrangements(), "hidden"),
        picture("outcomes", both_arrangements()),
        picture("distribution", both_arrangements()[:2], "hidden"),
        ReportFigure(fails, {}, "", ""),
        ReportFigure(examples, {"rows": [("name", [None])]}, "", "", dpi=50),
    ]
    here, there = render(figures), render(figures, jobs=2)
    for one, other in zip(here, there, strict=True):
        assert str(one) == str(other) if isinstance(one, Exception) else one == other
    assert [getattr(one, "suffix", None) for one in there[2:]] == ["png", None, "png"]


def test_a_long_title_leaves_room_for_the_contrast():
    mse = Config(loss="mse")
    tables = {DEFAULT: seed_scores(0.9), mse: seed_scores(0.8)}
    [finding] = experiment_result("pair", tables, [(DEFAULT, mse, True)]).findings
    figure = contrasts_figure([dataclasses.replace(finding, title="word " * 40)])
    [ax] = figure.draw(**figure.arguments).axes
    [label] = ax.get_yticklabels()
    assert "BCE − MSE" in label.get_text()


# Searches


def searched(sampler, accuracies):
    """A search of the learning rate; a trial without an accuracy diverged."""
    trials = pd.DataFrame(
        {
            "number": range(len(accuracies)),
            "state": ["failed" if np.isnan(value) else "complete" for value in accuracies],
            "config": [Config(learning_rate=0.1 * (i + 1)) for i in range(len(accuracies))],
            **dict.fromkeys(("population_accuracy", "population_accuracy_p10"), accuracies),
            "population_accuracy_p90": accuracies,
        }
    )
    fields = ("name", "bce", sampler, False, ("population_accuracy",), Seeds(0, 5), len(trials), None, trials)
    return TrackedSearch(*fields, ("learning_rate",), {})


@pytest.mark.parametrize("diverged", [False, True])
def test_crosses_are_explained_where_a_trial_diverged(diverged):
    [figure] = search_rates([searched("tpe", [0.8, np.nan if diverged else 0.9])], {})
    assert ("Crosses" in figure.caption) is diverged
    assert f"{int(diverged)} diverged" in figure.alt


def test_samplers_have_the_names_of_the_table():
    [figure] = search_histories([searched(name, [0.8, 0.9]) for name in ("tpe", "random", "qmc")], {})
    assert all(f"BCE by {name}: 0.9000" in figure.alt for name in ("TPE", "random", "QMC"))


def test_quotes_of_a_question_are_set_as_printers_set_them():
    html = markdown('The notebook\'s "BCE" *and* `"code"`')
    assert "The notebook’s “BCE” <em>and</em>" in html
    assert "<code>&quot;code&quot;</code>" in html
