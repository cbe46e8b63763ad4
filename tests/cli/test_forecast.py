"""What a sweep would train: counts by hand, rates from the tracked runs."""

import pytest

from qwerties.cli.forecast import COST_PER_SECOND, SECONDS_PER_RUN, forecast_table, measured_pace
from qwerties.config import Config, Seeds
from qwerties.study.batches import Batch
from qwerties.study.experiment import Contrast, Experiment, grid
from qwerties.tracking.records import Tracked
from qwerties.tuning.declaration import ArmContrast, TunedArm, Tuning

CONFIGS = grid(Config(epochs=100), loss=("bce", "mse"))
EXPERIMENT = Experiment("t", "q", CONFIGS, (Contrast(*CONFIGS),))
COST = Batch(CONFIGS[:1], Seeds(0, 10)).cost


def space(trial):
    return Config(epochs=100, learning_rate=trial.suggest_float("rate", 0.01, 1))


TUNING = Tuning(
    "t",
    "q",
    (TunedArm("best", space),),
    (ArmContrast("best", "plain"),),
    {"plain": CONFIGS[0]},
    trials=3,
    seeds=20,
)


def forecast(**declared):
    """Return the first numbers of each row, and the lines below the table."""
    _, *lines = forecast_table(None, declared, 10, "all", 25, 2).replace("in all", "in-all").splitlines()
    rows = {line.split()[0]: line.split()[1:4] for line in lines[: len(declared) + 1]}
    return rows, lines[len(declared) + 1 :]


def test_what_two_experiments_share_is_trained_once_and_tops_up_only_open_arms():
    rows, below = forecast(a=EXPERIMENT, b=EXPERIMENT)
    assert rows == {"a": ["2", "2", "20"], "b": ["2", "2", "20"], "in-all": ["2", "4", "20"]}
    assert below[0].startswith(
        "while contrasts are open (2), up to 25 seeds of their configs: at most 60 more "
    )
    assert below[1] == (
        "times are estimated from a default sweep on another machine, with 2 workers; nothing was written"
    )


def test_searches_come_on_top():
    """Three trials of 20 seeds, then two configs on twice the sweep's seeds."""
    rows, _ = forecast(tuned=TUNING)
    assert rows["tuned"] == rows["in-all"] == ["5", "5", "100"]


def tracked(config, start):
    params = {**config.to_params(), "seeds": "0-9"}
    return Tracked("r", "1", "n", "FINISHED", None, params, {}, {}, "", start)


def test_the_pace_is_that_of_the_tracked_runs_within_sweeps():
    """Of each sweep the first run does not count: its training came before it."""
    runs = [tracked(CONFIGS[i % 2], start) for i, start in enumerate([100.0, 103.0, 106.0, 1000.0, 1003.0])]
    own = SECONDS_PER_RUN + COST / COST_PER_SECOND
    assert measured_pace(runs) == pytest.approx(3 * own / 9, rel=1e-3)
    assert measured_pace(runs[:2]) is None


def test_a_long_run_may_come_long_after_another():
    long = Config(epochs=10**6)
    own = SECONDS_PER_RUN + Batch((long,), Seeds(0, 10)).cost / COST_PER_SECOND
    assert measured_pace([tracked(long, i * 3 * own) for i in range(3)]) == pytest.approx(1 / 3, rel=1e-3)
