"""The registered model: the network of a tuning's winner, moved by its interval alone.

Which network of the winner's thousand: of those that learned, the one with the median accuracy on the true
distribution. It is what one gets from a training that works; the best of them would be there by luck, and would score
less on any other day.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
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
from qwerties.tracking import models as registry
from qwerties.tracking.arrays import read_arrays
from qwerties.tracking.records import Model, Record
from qwerties.tracking.store import Store
from qwerties.tracking.tags import NOTE
from qwerties.tuning.declaration import CONFIRMATION

STEM = "_champion"
"""Of the experiment that compares a new winner with the registered model's config; no file can have this name."""

CONFIG = "qwerties.config"
"""Tag of a version: params of its config, as JSON."""

CHALLENGES = "qwerties.challenges"
"""Tag of the experiment `STEM`: digests of the configs that challenged each version of the model, as JSON."""

AHEAD = ("a_better", "a_ahead")
"""Verdicts that move the model: the new config's lead is known to be above 0, and not known to be below the margin."""

Sweep = Callable[[dict[str, Experiment]], Any]


def contend(experiment_name: str, config: Config, store: Store, sweep: Sweep) -> str | None:
    """Register a tuning's winner if there is no model yet, or if it is better than that one's config.

    Parameters
    ----------
    experiment_name : str
        Of the tuning's experiment, in which the winner is confirmed.
    config : Config
        The winner.
    store : Store
    sweep : callable
        Trains and tracks experiments by their experiment_names.

    Returns
    -------
    str or None
        What came of it, to be printed; None where the config is the registered one's already.
    """
    networks = _confirmed(experiment_name, config, store)
    if networks is None:
        return f"{experiment_name}: its winner is not confirmed yet, the registered model stays"
    tags = _tags(config, networks)
    before = registry.champion(store.uri)
    if before is None:
        return _register(experiment_name, networks, store, {**tags, "qwerties.verdict": "the first one"})
    old = _config_of(before)
    if old == config:
        if any(before.tags.get(key) != value for key, value in tags.items()):
            registry.retag(store.uri, before.number, tags)
        return None
    if old is None:
        return f"version {before.number} of the model does not tell its config: it stays; remove its alias to go on"
    challenges = _challenges(store)
    challengers = challenges.setdefault(before.number, [])
    if (own := _digest(config)) not in challengers:
        challengers.append(own)
    count = f"challenge {challengers.index(own) + 1} of version {before.number}"
    sweep({STEM: _duel(config, old, count)})
    store.tag_experiment(store.experiments()[STEM][0], CHALLENGES, json.dumps(challenges))
    (finding,) = compare_arms(store, _coverage(STEM, store)).findings
    if finding.verdict not in AHEAD:
        return f"the registered model stays, version {before.number}: {finding.words} ({count})"
    won = {
        "qwerties.verdict": finding.words[:500],
        "qwerties.over": f"version {before.number}",
        "qwerties.challenge": count,
    }
    return _register(experiment_name, networks, store, {**tags, **won})


def _challenges(store: Store) -> dict[str, list[str]]:
    """Configs that challenged each version of the model so far, in order; empty where the tag cannot be read."""
    _, tags = store.experiments().get(STEM, ("", {}))
    try:
        stored = json.loads(tags.get(CHALLENGES, "{}"))
        return {str(version): [str(digest) for digest in digests] for version, digests in stored.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _digest(config: Config) -> str:
    return hashlib.sha256(json.dumps(config.to_params(), sort_keys=True).encode()).hexdigest()[:12]


def _duel(config: Config, old: Config, count: str) -> Experiment:
    return Experiment(
        title="The registered model",
        question=(
            "Is what a search found better than the config of the model that is registered? The registered model moves "
            "only where the interval says that the new one is ahead, and not by less than the margin. This is "
            f"{count}. Every challenge has an error rate of {EXPLORATORY_ALPHA:g} of its own: of many challenges, some "
            "succeed by luck."
        ),
        configs=(config, old),
        contrasts=(Contrast(config, old),),
        share=CONFIRMATION,
        order=95,
    )


def _confirmed(experiment_name: str, config: Config, store: Store) -> SeedTable | None:
    """The winner's networks on fresh seeds; None where they are not all there."""
    entry = _coverage(experiment_name, store).find(config)
    return read_seed_table(store, entry)[0] if entry is not None and entry.state == "done" else None


def _coverage(experiment_name: str, store: Store) -> Coverage:
    experiment_id, tags = store.experiments()[experiment_name]
    return make_coverage(experiment_name, experiment_id, tags, store.runs(experiment_id))


def _tags(config: Config, networks: SeedTable) -> dict[str, str]:
    frame = networks.frame
    return {
        CONFIG: json.dumps(config.to_params()),
        "qwerties.confirmation": f"{scores(frame, 'population_accuracy').mean():.6f}",
        "qwerties.confirmation_seeds": f"{frame['seed'].min()}-{frame['seed'].max()}",
        "qwerties.confirmation_run": networks.runs[0].run_id,
        "qwerties.code": code_digest(),
    }


def _config_of(held: registry.Version) -> Config | None:
    try:
        return Config.from_params(json.loads(held.tags[CONFIG]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _typical(frame: pd.DataFrame) -> int | None:
    """Row of the network that is registered; None where none learned."""
    learned = frame[frame["state"] == "learned"].sort_values("population_accuracy", kind="stable")
    return int(learned.index[(len(learned) - 1) // 2]) if len(learned) else None


def _register(experiment_name: str, networks: SeedTable, store: Store, tags: Mapping[str, str]) -> str:
    import torch

    from qwerties.scoring import score as scoring
    from qwerties.training.reference import build_model

    chosen = _typical(networks.frame)
    if chosen is None:
        return f"{experiment_name}: none of its winner's networks learned, no model is registered"
    sizes = np.cumsum([len(rows) for rows in networks.rows])
    which = int(np.searchsorted(sizes, chosen, side="right"))
    run, row = networks.runs[which], int(networks.rows[which][chosen - (sizes[which - 1] if which else 0)])
    arrays = read_arrays(store.read(run, "weights.npz"))
    weights = {name: torch.from_numpy(array[row].copy()) for name, array in arrays.items()}
    config = networks.config
    found: dict[str, Any] = {str(key): value for key, value in networks.frame.loc[chosen].items()}
    seed = int(found["seed"])
    module = build_model(config, seed)
    module.load_state_dict(weights)
    module.eval()
    example = (
        scoring.draw_points(Seeds(seed, seed + 1), config)[0].T[[0, -1]].contiguous()
    )  # one of either class
    record = Record(
        name=f"model: seed {seed} · {config.label()}",
        params={**config.to_params(), "seed": str(seed)},
        metrics={
            ("final_train_loss" if name == "train_loss" else name): float(found[name])
            for name in ("train_loss", "train_accuracy", "phi", "population_accuracy", "gain", "bce", "brier")
            if not pd.isna(found[name])
        },
        tags={
            "qwerties.state": str(found["state"]),
            "qwerties.version": version("qwerties"),
            "qwerties.code": code_digest(),
            "mlflow.source.name": f"experiments/{experiment_name}.py",
            NOTE: "The network of the run above that is registered: of those that learned, the one of median accuracy "
            "on the true distribution.",
        },
        model=Model(module, example.numpy(), module(example).detach().numpy()),
    )
    run_id = store.write(run.experiment_id, record, parent=run.run_id)
    number = registry.promote(store.uri, run_id, {**tags, "qwerties.seed": str(seed)})
    return (
        f"registered version {number} of the model, seed {seed} of {config.label()}: "
        f"mlflow.pyfunc.load_model('models:/{registry.NAME}@{registry.ALIAS}') loads it"
    )
