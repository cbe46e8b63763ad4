"""The pure part of an experiment: grids, plans, what is missing, how work is split."""

import dataclasses
import itertools
import json

import pytest

from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.scoring.digest import code_digest
from qwerties.study import experiment
from qwerties.study.experiment import (
    Contrast,
    Experiment,
    Figure,
    Job,
    grid,
    is_complete,
    make_shards,
    missing_jobs,
)
from qwerties.tracking.records import Tracked
from qwerties.training import trainer as training

MSE, LINEAR = Config(loss="mse"), Config(activation="linear")
LOSS = Experiment("A title", "A question?", (DEFAULT, MSE))
CROSSED = Experiment("A title", "A question?", (DEFAULT,), crossed=(4, 3))


def tracked(config=DEFAULT, seeds="0-499", *, status="FINISHED", parent=None, code=None, params=None):
    """One run as the store gives it back."""
    params = {**config.to_params(), "seeds": seeds} if params is None else params
    code = code_digest() if code is None else code
    return Tracked(
        "id", "1", "name", status, parent, params, {}, {"qwerties.code": code} if code else {}, "uri"
    )


def missing(runs, experiment=LOSS, wanted=500):
    return [(job.config, str(job.seeds)) for job in missing_jobs("loss", experiment, wanted, runs)]


ALL = [(DEFAULT, "0-499"), (MSE, "0-499")]


# Grids and declarations


def test_grid_has_every_combination_the_last_field_fastest():
    found = grid(loss=("bce", "mse"), distance=(1, 2, 3))
    assert [(c.loss, c.distance) for c in found] == list(itertools.product(("bce", "mse"), (1, 2, 3)))
    assert found[0] == Config(distance=1)


def test_grid_starts_from_its_base():
    found = grid(Config(loss="mse", epochs=7), activation=("relu", "tanh"))
    assert found == (Config(loss="mse", epochs=7), Config(loss="mse", epochs=7, activation="tanh"))
    assert grid() == (DEFAULT,)
    assert grid(MSE) == (MSE,)


def test_grid_takes_iterators_and_refuses_bad_values():
    assert len(grid(epochs=iter((1, 2)), distance=(d / 2 for d in range(3)))) == 6
    with pytest.raises(ValueError, match=r"^epochs must be a whole number from 1 to 10000000, got 0$"):
        grid(epochs=(1, 0))
    with pytest.raises(TypeError):
        grid(color=("red",))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Contrast(DEFAULT, MSE, delta=0), "delta must be a finite number above 0, got 0"),
        (lambda: Contrast(DEFAULT, MSE, delta=-0.01), "delta must be a finite number above 0, got -0.01"),
        (
            lambda: Contrast(DEFAULT, MSE, delta=float("nan")),
            "delta must be a finite number above 0, got nan",
        ),
        (
            lambda: Contrast(MSE, MSE),
            "a contrast needs two different configs, got mse · relu · d=4 · 2000 epochs twice",
        ),
        (lambda: Experiment("t", "q", ()), "configs must hold one config or more, got none"),
        (
            lambda: Experiment("t", "q", (DEFAULT, MSE, Config(loss="mse"))),
            "configs must differ, got mse · relu · d=4 · 2000 epochs twice",
        ),
        (lambda: Experiment("t", "q", (DEFAULT,), share=0), "share must be above 0 and at most 4, got 0"),
        (lambda: Experiment("t", "q", (DEFAULT,), share=4.5), "share must be above 0 and at most 4, got 4.5"),
        (
            lambda: Experiment("t", "q", (DEFAULT, MSE), (Contrast(DEFAULT, LINEAR),)),
            "a contrast compares configs of the experiment, got bce · linear · d=4 · 2000 epochs",
        ),
        (
            lambda: Experiment("t", "q", (DEFAULT, MSE), (Contrast(DEFAULT, MSE),), crossed=(3, 3)),
            "contrasts need independent seeds: crossed ones must have none, got 1",
        ),
        (
            lambda: Experiment("t", "q", (DEFAULT, MSE), (Contrast(DEFAULT, MSE), Contrast(MSE, DEFAULT))),
            "contrasts must differ, got mse − bce twice",
        ),
        (
            lambda: Figure("pie"),
            f"figure kind must be one of {', '.join(experiment.FIGURES)}, got 'pie'",
        ),
    ],
)
def test_bad_declarations_are_refused(make, message):
    with pytest.raises(ValueError, match="got") as caught:
        make()
    assert str(caught.value) == message


def test_configs_may_come_from_any_iterable():
    assert Experiment("t", "q", grid(loss=("bce", "mse"))).configs == (DEFAULT, MSE)
    assert Experiment("t", "q", [DEFAULT, MSE]).configs == (DEFAULT, MSE)


@pytest.mark.parametrize(
    ("settings", "wanted", "seeds"),
    [
        ({}, 500, Seeds(0, 500)),
        ({}, 1, Seeds(0, 1)),
        ({"share": 0.1}, 500, Seeds(0, 50)),
        ({"share": 0.1}, 1, Seeds(0, 1)),
        ({"crossed": (30, 30)}, 500, Seeds(0, 30, crossed=30)),
        ({"crossed": (30, 20)}, 25, Seeds(0, 25, crossed=20)),
    ],
)
def test_seeds_that_a_sweep_gives_an_experiment(settings, wanted, seeds):
    assert Experiment("t", "q", (DEFAULT,), **settings).seeds(wanted) == seeds


def test_tags_hold_the_whole_plan():
    contrast = Contrast(DEFAULT, MSE, delta=0.02, primary=True)
    declared = dataclasses.replace(
        LOSS, contrasts=(contrast,), figures=(Figure("lines", x="distance"),), order=7
    )
    seeds = Seeds(0, 50)
    tags = declared.tags(seeds)
    assert all(isinstance(value, str) for value in tags.values())
    assert tags["mlflow.note.content"] == tags["qwerties.question"] == "A question?"
    assert tags["qwerties.title"] == "A title"
    assert tags["qwerties.order"] == "7"
    plan = json.loads(tags["qwerties.plan"])
    assert plan["seeds"] == "0-49"
    assert plan["code"] == code_digest()
    assert plan["configs"] == {fingerprint(c, seeds, code_digest()): c.label() for c in (DEFAULT, MSE)}
    (kept,) = json.loads(tags["qwerties.contrasts"])
    assert Config.from_params(kept["a"]) == DEFAULT
    assert Config.from_params(kept["b"]) == MSE
    assert kept["delta"] == 0.02
    assert kept["primary"] is True
    (figure,) = json.loads(tags["qwerties.figures"])
    assert figure["kind"] == "lines"
    assert figure["x"] == "distance"


# What is missing


def test_all_is_missing_from_an_empty_store():
    assert missing([]) == ALL
    assert [job.experiment_name for job in missing_jobs("loss", LOSS, 500, [])] == ["loss", "loss"]


def test_nothing_is_missing_when_all_is_tracked():
    assert missing([tracked(), tracked(MSE)]) == []


def test_more_seeds_than_wanted_are_enough():
    assert missing([tracked(seeds="0-999"), tracked(MSE, "0-999")]) == []


def test_a_top_up_trains_only_the_new_seeds():
    assert missing([tracked(), tracked(MSE)], wanted=1000) == [(DEFAULT, "500-999"), (MSE, "500-999")]


def test_configs_are_missing_one_by_one():
    assert missing([tracked(MSE)]) == [(DEFAULT, "0-499")]
    assert missing([tracked(), tracked(MSE, "0-99")]) == [(MSE, "100-499")]


def test_holes_are_filled_each_by_its_own_job():
    runs = [tracked(seeds="10-19"), tracked(seeds="30-39"), tracked(seeds="35-44"), tracked(MSE)]
    assert missing(runs, wanted=50) == [(DEFAULT, "0-9"), (DEFAULT, "20-29"), (DEFAULT, "45-49")]


def test_blocks_join():
    halves = [tracked(seeds="250-499"), tracked(seeds="0-249"), tracked(MSE)]
    assert missing(halves) == []
    assert missing([tracked(seeds="0-0"), tracked(seeds="2-2"), tracked(MSE)], wanted=3) == [(DEFAULT, "1-1")]


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED", "SCHEDULED"])
def test_unfinished_runs_do_not_count(status):
    run = tracked(status=status)
    assert not is_complete(run)
    assert missing([run, tracked(MSE)]) == [(DEFAULT, "0-499")]


@pytest.mark.parametrize("code", ["000000000000", ""])
def test_runs_of_other_code_do_not_count(code):
    run = tracked(code=code or None) if code else dataclasses.replace(tracked(), tags={})
    assert not is_complete(run)
    assert missing([run, tracked(MSE)]) == [(DEFAULT, "0-499")]


def test_exemplars_do_not_count():
    exemplar = tracked(parent="another run")
    assert not is_complete(exemplar)
    assert missing([exemplar, tracked(MSE)]) == [(DEFAULT, "0-499")]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"seeds": "all of them"},
        {**DEFAULT.to_params()},
        {**DEFAULT.to_params(), "seed": "0"},
        {**DEFAULT.to_params(), "seeds": "0-499", "loss": "hinge"},
        {**DEFAULT.to_params(), "seeds": "0-499", "epochs": "many"},
        {**MSE.to_params(), "seeds": "0-499", "distance": "1.0"},
    ],
)
def test_foreign_runs_are_left_aside(params):
    assert missing([tracked(params=params)]) == ALL


def test_a_param_of_somebody_elses_does_not_hide_a_run():
    assert (
        missing([tracked(params={**DEFAULT.to_params(), "seeds": "0-499", "note": "x"}), tracked(MSE)]) == []
    )


def test_a_crossed_block_is_made_whole_or_not_at_all():
    assert missing([], CROSSED) == [(DEFAULT, "0-3 x 0-2")]
    assert missing([tracked(seeds="0-499")], CROSSED) == [(DEFAULT, "0-3 x 0-2")]
    assert missing([tracked(seeds="0-3 x 0-1")], CROSSED) == [(DEFAULT, "0-3 x 0-2")]
    assert missing([tracked(seeds="0-3 x 0-2")], CROSSED) == []
    assert missing([tracked(seeds="0-3 x 0-2")], Experiment("t", "q", (DEFAULT,)), wanted=4) == [
        (DEFAULT, "0-3")
    ]


# Shards

GRIDS = grid(
    loss=("bce", "mse"),
    activation=("relu", "linear", "tanh"),
    epochs=(500, 1000, 2000),
    hidden=((1,), (4,)),
    distance=(1, 4),
)


def jobs_of(configs, seeds=None, experiment_name="x"):
    return [Job(experiment_name, config, block) for config in configs for block in seeds or [Seeds(0, 500)]]


def pairs(shards):
    return [(config, shard.seeds) for shard in shards for config in shard.configs]


@pytest.mark.parametrize(
    "blocks", [[Seeds(0, 500)], [Seeds(0, 50)], [Seeds(0, 7), Seeds(9, 20)], [Seeds(0, 3, 3)]]
)
def test_every_config_and_block_is_in_exactly_one_shard(blocks):
    jobs = jobs_of(GRIDS, blocks)
    found = pairs(make_shards(jobs))
    assert len(found) == len(set(found)) == len(jobs)
    assert set(found) == {(job.config, job.seeds) for job in jobs}


def test_what_two_experiments_share_is_done_once():
    jobs = jobs_of((DEFAULT, MSE), experiment_name="loss") + jobs_of(
        (DEFAULT, LINEAR), experiment_name="activation"
    )
    found = pairs(make_shards(jobs))
    assert sorted(c.label() for c, _ in found) == sorted(c.label() for c in (DEFAULT, MSE, LINEAR))


def test_lengths_of_one_trajectory_train_once():
    lengths = grid(epochs=(500, 8000, 2000))
    (shard,) = make_shards(jobs_of(lengths))
    assert set(shard.configs) == set(lengths)
    assert shard.networks == 500
    (longest,) = make_shards(jobs_of([Config(epochs=8000)]))
    assert shard.cost == longest.cost


def test_a_shard_holds_one_structure_and_one_length():
    for shard in make_shards(jobs_of(GRIDS, [Seeds(0, 50)])):
        assert len({config.batch_key for config in shard.configs}) == 1
        longest = {}
        for config in shard.configs:
            longest[config.without_epochs] = max(config.epochs, longest.get(config.without_epochs, 0))
        assert len(set(longest.values())) == 1
        assert shard.networks == len(longest) * 50


def test_shards_are_blocks_of_bounded_size():
    for size in (1, 50, 500, 5000):
        for shard in make_shards(jobs_of(grid(distance=range(30)), [Seeds(0, size)])):
            assert shard.networks <= max(size, training.BLOCK)


def test_the_largest_shard_comes_first():
    costs = [shard.cost for shard in make_shards(jobs_of(GRIDS, [Seeds(0, 50), Seeds(50, 60)]))]
    assert costs == sorted(costs, reverse=True)
    assert min(costs) > 0


def test_no_jobs_no_shards():
    assert make_shards([]) == []
