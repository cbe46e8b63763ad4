"""The registered model: a network of the best config that was found, replaced only by a verdict.

Of the confirmed networks of that config that learned, the one of median accuracy on the true distribution is
registered. That is what a training that works gives; the best network would be there by luck.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from qwerties.analysis.contrasts import compare_arms
from qwerties.analysis.tables import SeedTable, read_seed_table
from qwerties.config import Config, Seeds
from qwerties.scoring.digest import code_digest
from qwerties.stats.scores import scores
from qwerties.study.budget import EXPLORATORY_ALPHA
from qwerties.study.coverage import Coverage, make_coverage
from qwerties.study.experiment import Contrast, Experiment
from qwerties.study.plan import UNREADABLE_JSON
from qwerties.tracking import models, tags
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.records import Model, Record
from qwerties.tracking.store import Store
from qwerties.tuning.declaration import CONFIRMATION

EXPERIMENT_NAME = "_champion"  # compares a new winner with the registered config; no file can have this name
WHICH_NETWORK = (
    "of the config's confirmed networks that learned, the one of median accuracy on the true distribution"
)

# Verdicts that replace the model: the new config's lead is known to be above 0, and not known to be below the margin.
WINS = ("a_better", "a_ahead")


def challenge(
    experiment_name: str, config: Config, store: Store, sweep: Callable[[dict[str, Experiment]], Any]
) -> str | None:
    """Register the winner of a search if there is no model yet, or if it beats the registered config.

    The winner is confirmed in the experiment of the given name; ``sweep`` trains and tracks experiments by their names.
    Return what happened, to be printed, or None where the config is registered already.
    """
    confirmed = _confirmed(experiment_name, config, store)
    if confirmed is None:
        return f"{experiment_name}: its winner is not confirmed yet, the registered model stays"
    about = _about(config, confirmed)
    registered = models.champion(store.uri)
    if registered is None:
        return _register(experiment_name, confirmed, store, {**about, tags.VERDICT: "the first model"})
    champion = _config_of(registered)
    if champion == config:
        if any(registered.tags.get(key) != value for key, value in about.items()):
            models.retag(store.uri, registered.number, about)
        return None
    if champion is None:
        return (
            f"version {registered.number} of the model has no config in its tags, and stays; a new one is registered "
            "once its alias is removed"
        )
    challenges = _challenges(store)
    challengers = challenges.setdefault(registered.number, [])
    digest = hashlib.sha256(json.dumps(config.to_params(), sort_keys=True).encode()).hexdigest()[:12]
    if digest not in challengers:
        challengers.append(digest)
    count = f"challenge {challengers.index(digest) + 1} of version {registered.number}"
    sweep({EXPERIMENT_NAME: _experiment(config, champion, count)})
    store.tag_experiment(store.experiments()[EXPERIMENT_NAME][0], tags.CHALLENGES, json.dumps(challenges))
    (result,) = compare_arms(store, _coverage(EXPERIMENT_NAME, store)).findings
    if result.verdict not in WINS:
        return f"the registered model stays, version {registered.number}: {result.words} ({count})"
    won = {
        tags.VERDICT: result.words[:500],
        tags.OVER: f"version {registered.number}",
        tags.CHALLENGE: count,
    }
    return _register(experiment_name, confirmed, store, {**about, **won})


def _experiment(config: Config, champion: Config, count: str) -> Experiment:
    return Experiment(
        title="The registered model",
        question=(
            "Is a search's winner better than the registered model's config? The registered model is replaced only "
            "where the interval says that the new one is ahead, and not by less than the margin. This is "
            f"{count}. Every challenge has an error rate of {EXPLORATORY_ALPHA:g} of its own: of many challenges, "
            "some succeed by luck."
        ),
        configs=(config, champion),
        contrasts=(Contrast(config, champion),),
        share=CONFIRMATION,
        order=95,
    )


def _challenges(store: Store) -> dict[str, list[str]]:
    """Return the configs that challenged each version so far, in order; empty where the tag cannot be read."""
    _, stored_tags = store.experiments().get(EXPERIMENT_NAME, ("", {}))
    try:
        stored = json.loads(stored_tags.get(tags.CHALLENGES, "{}"))
        return {str(number): [str(digest) for digest in digests] for number, digests in stored.items()}
    except UNREADABLE_JSON:
        return {}


def _coverage(experiment_name: str, store: Store) -> Coverage:
    experiment_id, plan = store.experiments()[experiment_name]
    return make_coverage(experiment_name, experiment_id, plan, store.runs(experiment_id))


def _confirmed(experiment_name: str, config: Config, store: Store) -> SeedTable | None:
    """Return the winner's networks on fresh seeds; None where some are missing."""
    planned = _coverage(experiment_name, store).find(config)
    return read_seed_table(store, planned)[0] if planned is not None and planned.state == "done" else None


def _about(config: Config, confirmed: SeedTable) -> dict[str, str]:
    frame = confirmed.frame
    return {
        tags.CONFIG: json.dumps(config.to_params()),
        tags.NETWORK: WHICH_NETWORK,
        tags.CONFIRMED: f"{scores(frame, 'population_accuracy').mean():.6f}",
        tags.CONFIRMED_SEEDS: f"{frame['seed'].min()}-{frame['seed'].max()}",
        tags.CONFIRMED_RUN: confirmed.runs[0].run_id,
        tags.CODE: code_digest(),
    }


def _config_of(registered: models.Version) -> Config | None:
    try:
        return Config.from_params(json.loads(registered.tags[tags.CONFIG]))
    except UNREADABLE_JSON:
        return None


def median_network(frame: pd.DataFrame) -> int | None:
    """Return the row of the learned network with the (lower) median accuracy; None where none learned."""
    learned = frame[frame["state"] == "learned"].sort_values("population_accuracy", kind="stable")
    return int(learned.index[(len(learned) - 1) // 2]) if len(learned) else None


def _register(experiment_name: str, confirmed: SeedTable, store: Store, about: Mapping[str, str]) -> str:
    """Log the median network as a run below its config's, register it, and return what happened."""
    chosen = median_network(confirmed.frame)
    if chosen is None:
        return f"{experiment_name}: none of its winner's networks learned, no model is registered"
    places = [(run, row) for run, rows in zip(confirmed.runs, confirmed.rows, strict=True) for row in rows]
    run, row = places[chosen]
    network: Mapping[Any, Any] = confirmed.frame.loc[chosen].to_dict()
    arrays = {name: array[row] for name, array in read_arrays(store.read(run, "weights.npz")).items()}
    config, seed = confirmed.config, int(network["seed"])
    record = Record(
        name=f"model: seed {seed} · {config.label()}",
        params={**config.to_params(), "seed": str(seed)},
        metrics={
            ("final_train_loss" if name == "train_loss" else name): float(network[name])
            for name in ("train_loss", "train_accuracy", "phi", "population_accuracy", "gain", "bce", "brier")
            if not pd.isna(network[name])
        },
        tags={
            tags.STATE: str(network["state"]),
            tags.ARTIFACTS: "{}",  # no digest is missing: the model is all that the run has
            tags.CODE: code_digest(),
            **tags.made_with(f"experiments/{experiment_name}.py"),
            tags.NOTE: f"The registered network: {WHICH_NETWORK}.",
        },
        model=_model(config, seed, arrays),
    )
    run_id = store.write(run.experiment_id, record, parent=run.run_id)
    number = models.promote(store.uri, run_id, {**about, tags.SEED: str(seed)})
    return (
        f"registered version {number} of the model, seed {seed} of {config.label()}: "
        f"mlflow.pyfunc.load_model('models:/{models.NAME}@{models.ALIAS}') loads it"
    )


def _model(config: Config, seed: int, arrays: Mapping[str, np.ndarray]) -> Model:
    """Return the network of one seed, with a point of either class as an example."""
    import torch

    from qwerties.scoring.score import draw_points
    from qwerties.training.reference import build_model

    module = build_model(config, seed)
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()})
    module.eval()
    points = draw_points(Seeds(seed, seed + 1), config)[0].T[[0, -1]].contiguous()  # (2, 2)
    return Model(module, points.numpy(), module(points).detach().numpy())
