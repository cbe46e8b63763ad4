"""How planned work is cut into shards and runs: everything once, in batches that do not depend on the cut."""

import pytest

from qwerties.config import Config, Seeds
from qwerties.study.experiment import MAX_LOSSES, Experiment, Job, grid, make_shards, missing_jobs
from qwerties.training import trainer as training

EXPERIMENT = Experiment(
    title="T",
    question="Q",
    configs=grid(Config(epochs=10), loss=("bce", "mse"), activation=("relu", "tanh"), hidden=((1,), (2,))),
)


@pytest.mark.parametrize("most", [None, 1, 200, 10_000])
def test_shards_hold_everything_once_in_the_same_batches(most):
    """However large shards are, `train` cuts them into the batches that shards of one batch are."""
    jobs = missing_jobs("experiment_name", EXPERIMENT, 200, [])
    shards = make_shards(jobs, most)
    assert sorted((c.label(), str(s.seeds)) for s in shards for c in s.configs) == sorted(
        (job.config.label(), str(job.seeds)) for job in jobs
    )
    assert len({shard.configs[0].batch_key for shard in shards}) == 8
    batches = {shard.configs for shard in make_shards(jobs)}
    together = training.BLOCK // 200
    for shard in shards:
        assert len({config.batch_key for config in shard.configs}) == 1
        starts = range(0, len(shard.configs), together)
        assert {shard.configs[i : i + together] for i in starts} <= batches


def test_a_shard_is_bounded_by_its_losses():
    jobs = [
        Job("experiment_name", Config(epochs=100_000, learning_rate=rate), Seeds(0, 512))
        for rate in (0.1, 0.2, 0.3)
    ]
    assert [len(shard.configs) for shard in make_shards(jobs, 2**20)] == [1, 1, 1]
    shorter = [
        Job("experiment_name", Config(epochs=10, learning_rate=rate), Seeds(0, 512))
        for rate in (0.1, 0.2, 0.3)
    ]
    assert [len(shard.configs) for shard in make_shards(shorter, 2**20)] == [3]


@pytest.mark.parametrize(
    ("epochs", "wanted", "blocks"),
    [
        (10, 500, ["0-499"]),
        (8000, 1000, ["0-999"]),
        (2000, 1001, ["0-999", "1000-1000"]),
        (10, 2500, ["0-999", "1000-1999", "2000-2499"]),
        (2**20, 40, ["0-15", "16-31", "32-39"]),
    ],
)
def test_seeds_beyond_a_workers_memory_make_several_runs(epochs, wanted, blocks):
    one = Experiment(title="T", question="Q", configs=(Config(epochs=epochs),))
    found = missing_jobs("experiment_name", one, wanted, [])
    assert [str(job.seeds) for job in found] == blocks
    assert all(len(job.seeds) * epochs <= MAX_LOSSES for job in found)


def test_many_points_make_runs_of_fewer_seeds():
    one = Experiment(title="T", question="Q", configs=(Config(epochs=10, samples=2**18),))
    assert [str(job.seeds) for job in missing_jobs("experiment_name", one, 5, [])] == ["0-1", "2-3", "4-4"]
    huge = Experiment(title="T", question="Q", configs=(Config(epochs=10, samples=1_000_000),))
    assert [str(job.seeds) for job in missing_jobs("experiment_name", huge, 2, [])] == ["0-0", "1-1"]
