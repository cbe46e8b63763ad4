"""What a sweep would train: counts by hand, rates from the tracked runs."""

import pytest

from qwerties.config import Config, Seeds
from qwerties.study.batches import Batch
from qwerties.study.experiment import Experiment, grid
from qwerties.study.forecast import DEFAULT_RATE, SECONDS_PER_TRIAL, Work, forecast, work_of
from qwerties.study.plan import plan_tags
from qwerties.tracking.records import Tracked

CONFIGS = grid(Config(epochs=100), loss=("bce", "mse"))
EXPERIMENT = Experiment("t", "q", CONFIGS)
WEIGHTED = Batch(CONFIGS[:1], Seeds(0, 1)).cost / 100  # of one epoch of this network


class Shelf:
    """Stands for the store: one experiment with these runs, nothing damaged."""

    def __init__(self, runs):
        self.listed = runs

    def experiments(self):
        return {"a": ("1", plan_tags(EXPERIMENT, Seeds(0, 10)))}

    def runs(self, experiment_id):
        return self.listed

    def damaged(self, run):
        return []


def tracked(config, start, seeds="0-9"):
    tags = {"qwerties.code": "other", "qwerties.artifacts": "{}"}
    return Tracked(
        "r", "1", "n", "FINISHED", None, {**config.to_params(), "seeds": seeds}, {}, tags, "", start
    )


def test_what_two_experiments_share_is_trained_once_and_tops_up_only_open_arms():
    found = forecast({"a": EXPERIMENT, "b": EXPERIMENT}, None, 10, {"a": {CONFIGS[0]: 25}}, {}, 2)
    assert (found.work["a"].configs, found.work["a"].runs, found.work["a"].networks) == (2, 2, 20)
    assert found.work["a"] == found.work["b"]
    assert (found.total.runs, found.total.networks) == (4, 20)
    assert found.topup.networks == 15
    assert found.rate == 2 * DEFAULT_RATE
    assert found.seconds(found.total) == pytest.approx(2000 * WEIGHTED / found.rate)


def test_searches_come_on_top():
    search = Work(runs=3, networks=60, trials=3, size=1e6)
    found = forecast({"a": EXPERIMENT}, None, 10, {}, {"a": search}, 1)
    assert found.work["a"] == found.total == work_of([]) + search + (found.total - search)
    assert found.total.trials == 3
    assert found.seconds(search) == pytest.approx(3 * SECONDS_PER_TRIAL)


def test_the_rate_is_that_of_the_tracked_runs_within_sessions():
    """Of each session the first run does not count: its training came before it."""
    starts = [100.0, 104.0, 110.0, 1000.0, 1005.0]
    runs = [tracked(CONFIGS[i % 2], start) for i, start in enumerate(starts)]
    found = forecast({"a": EXPERIMENT}, Shelf(runs), 10, {}, {}, 2)
    assert found.source == "of the 5 tracked runs"
    assert found.rate == pytest.approx(3 * 1000 * WEIGHTED / 15)
    few = forecast({"a": EXPERIMENT}, Shelf(runs[:2]), 10, {}, {}, 2)
    assert few.rate == 2 * DEFAULT_RATE
