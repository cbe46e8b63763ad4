"""Figures of the report: which numbers they show and say, recomputed plainly from the seeds' tables."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from qwerties.analysis.retraining import best_of
from qwerties.analysis.tables import SeedTable
from qwerties.config import DEFAULT, Config
from qwerties.report.figures import draw, limit, references_of
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


def picture(kind, drawn, x=None, score="population_accuracy"):
    found = draw(FigureSpec(kind, x, score), drawn, None)
    assert found.drawing.content
    return found


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
    assert limit("bce", XOR) == ("floor", theory.bce_floor(4.0, "xor"))
    assert limit("phi", XOR) == ("Bayes phi", theory.bayes_phi(4.0, "xor"))
    assert limit("population_accuracy", XOR)[1] < limit("population_accuracy", DEFAULT)[1]


def test_lines_have_a_panel_for_each_arrangement_and_its_limits():
    found = picture("lines", both_arrangements(), x="hidden")
    assert "xor: relu: " in found.alt
    assert "clusters: relu: " in found.alt
    for name, level in theory.reference_accuracies(4.0, "xor").items():
        assert f"{name} {number(level)}" in found.alt
        assert name in found.caption
    assert f"Bayes accuracy {number(float(theory.bayes_accuracy(4.0)))}" in found.alt


def test_relu_minus_linear_is_the_mean_difference_on_the_same_seeds():
    drawn = both_arrangements()
    found = picture("relu_minus_linear", drawn, x="hidden")
    by_config = {one.config: one.frame for one in drawn}
    for config, frame in by_config.items():
        if config.activation == "relu":
            linear = by_config[dataclasses.replace(config, activation="linear")]
            gap = float((frame["population_accuracy"] - linear["population_accuracy"]).mean())
            assert f"{number(gap)} at {config.hidden[0]}" in found.alt
    assert "xor: " in found.alt
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
            f"{one.config.activation}, {one.config.learning_rate}: mean {number(float(accuracy.mean()))}, "
            f"tenth {number(float(np.quantile(accuracy, 0.1)))}, median {number(float(np.median(accuracy)))}, "
            f"nine tenths {number(float(np.quantile(accuracy, 0.9)))}"
        ) in found.alt


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
        draw(FigureSpec(kind, x, score), configs, None)
