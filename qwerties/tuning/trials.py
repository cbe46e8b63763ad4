"""Configs -> scores: what one worker does for a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qwerties.analysis.searches import cost
from qwerties.config import Config, Seeds
from qwerties.scoring import score as scoring
from qwerties.scoring import theory
from qwerties.scoring.states import STATES
from qwerties.stats.scores import scores
from qwerties.training.trainer import Trained, train

QUANTILES = {"population_accuracy_p10": 0.1, "population_accuracy_p50": 0.5, "population_accuracy_p90": 0.9}


@dataclass(frozen=True)
class TrialResult:
    """Scores of a trial's networks.

    Attributes
    ----------
    config : Config
    losses : ndarray, (epochs,), float
        Mean training loss over the networks; not finite from where one of them diverged.
    metrics : dict of str to float
        Means over the networks, in which a diverged one counts as a guess; None where undefined.
    is_diverged : bool
        Whether all networks diverged, so that the trial has no score.
    """

    config: Config
    losses: np.ndarray
    metrics: dict[str, float | None]
    is_diverged: bool

    def objectives(self, names: Sequence[str]) -> list[float] | None:
        """Return the values of some objectives; None where the trial diverged."""
        if self.is_diverged:
            return None
        return [value for name in names if (value := self.metrics[name]) is not None]


def train_trials(configs: Sequence[Config], seeds: Seeds) -> list[TrialResult]:
    """Train configs of one structure and length, and score their final networks."""
    return [_result(trained) for trained in train(configs, seeds)]


def _result(trained: Trained) -> TrialResult:
    config = trained.config
    final = {name: value[:, -1:] for name, value in trained.weights.items()}  # (networks, 1, ...)
    table = scoring.score(config, trained.seeds, trained.losses, trained.checkpoints[-1:], final).table
    accuracy = scores(table, "population_accuracy").to_numpy(float)
    metrics: dict[str, float | None] = {
        f"{state}_fraction": float((table["state"] == state).mean()) for state in STATES
    }
    metrics["cost"] = cost(config, len(trained.seeds))
    is_diverged = metrics["diverged_fraction"] == 1
    if not is_diverged:
        metrics |= {
            "population_accuracy": float(accuracy.mean()),
            "population_accuracy_se": float(accuracy.std(ddof=1) / np.sqrt(len(accuracy))),
            **{name: float(np.quantile(accuracy, share)) for name, share in QUANTILES.items()},
            "regret": float(theory.bayes_accuracy(config.distance, config.data) - accuracy.mean()),
            "train_accuracy": float(scores(table, "train_accuracy").mean()),
            **{name: _finite(table[name].mean(skipna=False)) for name in ("bce", "brier")},
        }
    with np.errstate(over="ignore", invalid="ignore"):
        losses = trained.losses.mean(0, dtype=np.float64)
    return TrialResult(config, losses, metrics, is_diverged)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
