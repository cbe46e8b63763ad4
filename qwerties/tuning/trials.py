"""Trials -> what came of them: the work of one worker while a study is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qwerties.config import Config, Seeds
from qwerties.scoring import score as scoring
from qwerties.scoring import theory
from qwerties.stats.scores import scores
from qwerties.study.objectives import cost
from qwerties.training.trainer import Trained, train

QUANTILES = {"population_accuracy_p10": 0.1, "population_accuracy_p50": 0.5, "population_accuracy_p90": 0.9}


@dataclass(frozen=True)
class Outcome:
    """What a trial's networks did.

    Attributes
    ----------
    config : Config
    losses : ndarray, (epochs,), float
        Mean over the networks; not finite from where one of them diverged.
    metrics : dict of float
        Means over the networks, in which one that diverged counts as a guess; None where undefined.
    diverged : bool
        Whether all networks diverged, so that the trial has no score.
    """

    config: Config
    losses: np.ndarray
    metrics: dict[str, float | None]
    diverged: bool

    def values(self, objectives: Sequence[str]) -> tuple[float, ...] | None:
        """Its objectives; None where it diverged."""
        if self.diverged:
            return None
        found = [self.metrics[name] for name in objectives]
        return tuple(value for value in found if value is not None)


def train_trials(configs: Sequence[Config], seeds: Seeds) -> list[Outcome]:
    """Train and score configs of one structure and length, one trial each; only what they end with is scored."""
    return [_outcome(trained) for trained in train(configs, seeds)]


def _outcome(trained: Trained) -> Outcome:
    config = trained.config
    last = {name: value[:, -1:] for name, value in trained.weights.items()}
    table = scoring.score(config, trained.seeds, trained.losses, trained.checkpoints[-1:], last).table
    accuracy = scores(table, "population_accuracy").to_numpy(float)
    shares = {f"{state}_fraction": float((table["state"] == state).mean()) for state in scoring.STATES}
    diverged = shares["diverged_fraction"] == 1
    with np.errstate(over="ignore", invalid="ignore"):
        losses = trained.losses.mean(0, dtype=np.float64)
    metrics: dict[str, float | None] = dict(shares)
    metrics["cost"] = cost(config, len(trained.seeds))
    if not diverged:
        metrics |= {
            "population_accuracy": float(accuracy.mean()),
            "population_accuracy_se": float(accuracy.std(ddof=1) / np.sqrt(len(accuracy))),
            **{name: float(np.quantile(accuracy, share)) for name, share in QUANTILES.items()},
            "regret": float(theory.bayes_accuracy(config.distance, config.data) - accuracy.mean()),
            "train_accuracy": float(scores(table, "train_accuracy").mean()),
            **{name: _finite(table[name].mean(skipna=False)) for name in ("bce", "brier")},
        }
    return Outcome(config, losses, metrics, diverged)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
