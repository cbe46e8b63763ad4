"""The pictures that a search's run keeps."""

import numpy as np
import pandas as pd
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from qwerties.plotting.axes import panels
from qwerties.plotting.search import slice_points, study_pictures

SPACE = {"loss": CategoricalDistribution(["bce", "mse"]), "momentum": FloatDistribution(0, 1)}
TRIALS = pd.DataFrame(
    {
        "number": range(4),
        "y": [0.9, np.nan, 0.95, 0.8],  # the second diverged
        "best": [0.9, 0.9, 0.95, 0.95],
        "params_loss": ["bce", "mse", "mse", "bce"],
        "params_momentum": [0.1, None, 0.5, None],  # not every trial has it
    }
)


def test_pictures_are_there_where_there_is_something_to_show():
    plain = study_pictures(TRIALS, SPACE, "population_accuracy", {}, "title")
    assert set(plain) == {"plots/history.png", "plots/slice.png"}
    front = TRIALS.assign(cost=[1.0, 2, 3, 4], regret=1 - TRIALS["y"], front=[True, False, True, False])
    whole = study_pictures(front, SPACE, "regret", {"loss": 1.0}, "title")
    assert set(whole) - set(plain) == {"plots/importance.png", "plots/pareto.png"}


def test_the_order_of_equal_importances_changes_no_byte():
    one, other = ({"loss": 0.5, "momentum": 0.5}, {"momentum": 0.5, "loss": 0.5})
    drawn = [study_pictures(TRIALS, SPACE, "population_accuracy", shares, "title") for shares in (one, other)]
    assert drawn[0] == drawn[1]


def test_a_whole_number_has_whole_ticks():
    frame = pd.DataFrame({"x": [1, 2, 2], "y": [0.5, 0.6, 0.7]})
    layers = IntDistribution(1, 2)
    [ax] = panels([(slice_points, {"frame": frame, "name": "depth", "distribution": layers})], 2.4, 3.0).axes
    low, high = ax.get_xlim()
    assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1, 2]
