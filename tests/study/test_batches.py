"""What is missing becomes runs, and runs become batches: nothing is left out or trained twice."""

import dataclasses
from types import SimpleNamespace

import pytest
from factories import tracked_run

from qwerties.config import DEFAULT, Config, Seeds
from qwerties.study.batches import Batch, MissingRun, make_batches, missing_runs
from qwerties.study.coverage import make_coverage
from qwerties.study.experiment import Experiment, grid
from qwerties.study.plan import plan_tags
from qwerties.training.batches import BLOCK, batches

MSE, LINEAR = Config(loss="mse"), Config(activation="linear")
LOSS = Experiment("A title", "A question?", (DEFAULT, MSE))
CROSSED = Experiment("A title", "A question?", (DEFAULT,), crossed=(4, 3))
ALL = [(DEFAULT, "0-499"), (MSE, "0-499")]


def tracked(config=DEFAULT, seeds="0-499", **fields):
    return tracked_run(config, seeds, **fields)


def missing(runs, experiment=LOSS, n_seeds=500, more=None, damaged=()):
    tags = plan_tags(experiment, experiment.seeds(n_seeds))
    store = SimpleNamespace(damaged=lambda run: ["seeds.csv"] if run.run_id in damaged else [])
    coverage = make_coverage("loss", "1", tags, runs, store)
    found = missing_runs(experiment, coverage, n_seeds, more)
    assert {run.experiment_name for run in found} <= {"loss"}
    return [(run.config, str(run.seeds)) for run in found]


def test_what_no_run_covers_is_missing_each_hole_by_itself():
    assert missing([]) == ALL
    assert missing([tracked(), tracked(MSE)]) == []
    assert missing([tracked(seeds="0-999"), tracked(MSE, "0-999")]) == []
    assert missing([tracked(), tracked(MSE)], n_seeds=1000) == [(DEFAULT, "500-999"), (MSE, "500-999")]
    assert missing([tracked(), tracked(MSE, "0-99")]) == [(MSE, "100-499")]
    assert missing([tracked(seeds="250-499"), tracked(seeds="0-249"), tracked(MSE)]) == []
    holes = [tracked(seeds="10-19"), tracked(seeds="30-39"), tracked(seeds="35-44"), tracked(MSE)]
    assert missing(holes, n_seeds=50) == [(DEFAULT, "0-9"), (DEFAULT, "20-29"), (DEFAULT, "45-49")]


def test_configs_of_open_contrasts_need_more():
    runs = [tracked(), tracked(MSE)]
    assert missing(runs, more={DEFAULT: 700}) == [(DEFAULT, "500-699")]
    assert missing(runs, more={DEFAULT: 300}) == []


def test_seeds_of_a_damaged_run_are_missing_also_beyond_the_plan():
    runs = [tracked(), tracked(seeds="500-999", run_id="lost"), tracked(MSE)]
    assert missing(runs, damaged=["lost"]) == [(DEFAULT, "500-999")]
    assert missing([*runs, tracked(seeds="500-999")], damaged=["lost"]) == []


@pytest.mark.parametrize("params", [{}, {"seeds": "all"}, {"loss": "hinge"}, {"epochs": "many"}])
def test_foreign_runs_are_left_aside(params):
    foreign = tracked()
    foreign = dataclasses.replace(foreign, params={**foreign.params, **params} if params else {})
    assert missing([foreign]) == ALL
    assert missing([tracked(note="x"), tracked(MSE)]) == []


def test_a_crossed_block_is_made_whole_or_not_at_all():
    assert missing([], CROSSED) == [(DEFAULT, "0-3 x 0-2")]
    assert missing([tracked(seeds="0-499")], CROSSED) == [(DEFAULT, "0-3 x 0-2")]
    assert missing([tracked(seeds="0-3 x 0-1")], CROSSED) == [(DEFAULT, "0-3 x 0-2")]
    assert missing([tracked(seeds="0-3 x 0-2")], CROSSED) == []


@pytest.mark.parametrize(
    ("fields", "n_seeds", "blocks"),
    [
        ({"epochs": 8000}, 1000, ["0-999"]),
        ({}, 1001, ["0-999", "1000-1000"]),
        ({"epochs": 10}, 2500, ["0-999", "1000-1999", "2000-2499"]),
        ({"epochs": 2**20}, 40, ["0-15", "16-31", "32-39"]),
        ({"samples": 2**18}, 5, ["0-1", "2-3", "4-4"]),
        ({"samples": 1_000_000}, 2, ["0-0", "1-1"]),
    ],
)
def test_seeds_beyond_a_workers_memory_make_several_runs(fields, n_seeds, blocks):
    config = Config(**fields)
    found = missing([], Experiment("t", "q", (config,)), n_seeds)
    assert found == [(config, block) for block in blocks]


# Batches

GRIDS = grid(
    loss=("bce", "mse"),
    activation=("relu", "linear", "tanh"),
    epochs=(500, 1000, 2000),
    hidden=((1,), (4,)),
    distance=(1, 4),
)


def runs_of(configs, blocks=None, name="x"):
    return [MissingRun(name, config, block) for config in configs for block in blocks or [Seeds(0, 500)]]


@pytest.mark.parametrize(
    "blocks", [[Seeds(0, 500)], [Seeds(0, 50)], [Seeds(0, 7), Seeds(9, 20)], [Seeds(0, 3, 3)]]
)
def test_every_config_and_block_is_in_exactly_one_batch_of_the_trainer(blocks):
    runs = runs_of(GRIDS, blocks)
    made = make_batches([*runs, *runs_of(GRIDS[:3], blocks, name="another")])
    pairs = [(config, batch.seeds) for batch in made for config in batch.configs]
    assert len(pairs) == len(runs)
    assert set(pairs) == {(run.config, run.seeds) for run in runs}
    assert [batch.cost for batch in made] == sorted((batch.cost for batch in made), reverse=True)
    for batch in made:
        assert batches(batch.configs, len(batch.seeds)) == [batch.configs], (
            "the trainer does not split it again"
        )
        assert len({config.batch_key for config in batch.configs}) == 1
        assert batch.networks <= max(len(batch.seeds), BLOCK)


def test_lengths_of_one_trajectory_train_once():
    lengths = grid(epochs=(500, 8000, 2000))
    (batch,) = make_batches(runs_of(lengths))
    assert set(batch.configs) == set(lengths)
    assert batch.networks == 500
    assert batch.cost == Batch((Config(epochs=8000),), Seeds(0, 500)).cost


def test_a_gpu_takes_larger_batches():
    configs = grid(distance=range(30))
    assert max(batch.networks for batch in make_batches(runs_of(configs), "cuda")) == 4000
    assert max(batch.networks for batch in make_batches(runs_of(configs), "cpu")) == 500


def test_a_batch_is_bounded_by_its_losses():
    long = grid(Config(epochs=100_000), learning_rate=(0.1, 0.2, 0.3))
    assert [len(batch.configs) for batch in make_batches(runs_of(long), "cuda")] == [1, 1, 1]
    short = grid(Config(epochs=10), learning_rate=(0.1, 0.2, 0.3))
    assert [len(batch.configs) for batch in make_batches(runs_of(short), "cuda")] == [3]


def test_nothing_missing_no_batches():
    assert make_batches([]) == []
