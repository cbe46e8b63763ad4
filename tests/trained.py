"""A store of a few trained networks with their examples, for the tests of the page."""

import functools
import json

from factories import new_store

from qwerties.config import DEFAULT, Config, Seeds, fingerprint
from qwerties.scoring import score as scoring
from qwerties.study import runs as results
from qwerties.tracking.records import Record
from qwerties.training.trainer import train

CODE = "9bdcd5e26e69"
SEEDS = Seeds(0, 16)  # of every state: seed 10 is dead, 15 constant, 1 slow under the default config
CONFIGS = (DEFAULT, Config(loss="mse"), Config(activation="tanh"), Config(loss="mse", activation="sigmoid"))


def plan(configs, seeds=SEEDS, **more):
    """Tags of an experiment that plans these configs."""
    keys = {fingerprint(config, seeds, CODE): config.label() for config in configs}
    given = {
        "title": "Losses",
        "question": "Which one?",
        "figures": "[]",
        "contrasts": "[]",
        "plan": json.dumps({"seeds": str(seeds), "code": CODE, "configs": keys}),
    }
    return {f"qwerties.{key}": value for key, value in (given | more).items()}


def record(config, seeds, table, curves, code=CODE):
    """A run with its seed table and curves, and nothing else."""
    files = {"seeds.csv": table.to_csv(index=False).encode(), "curves.npz": results._npz(curves)}
    params = {**config.to_params(), "seeds": str(seeds)}
    return Record(config.label(), params, {}, {"qwerties.code": code}, files=files)


@functools.cache
def records(configs, seeds):
    """Train, without the compiler; two tests with the same networks train them once."""
    made = []
    for trained in train(configs, seeds, compiled=False):
        table = scoring.score(
            trained.config, seeds, trained.losses, trained.checkpoints, trained.weights
        ).table
        examples = sorted(table.groupby("state").head(1).index)  # the first of each state
        made.append(record(trained.config, seeds, table, results._curves(trained, examples)))
    return made


def make_store(folder, configs=CONFIGS, seeds=SEEDS):
    """Track a few trained networks; the working folder must be one to write to."""
    store = new_store(folder)
    experiment = store.experiment("losses", plan(configs, seeds))
    for made in records(configs, seeds):
        store.write(experiment, made)
    return store
