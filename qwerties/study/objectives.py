"""What a study searches for, and what a network costs."""

from __future__ import annotations

from itertools import pairwise

from qwerties.config import Config

OBJECTIVES = {"population_accuracy": "maximize", "regret": "minimize", "cost": "minimize"}
"""Mean accuracy on the true distribution over the seeds; Bayes accuracy minus it; network-epochs times parameters."""


def parameters(config: Config) -> int:
    """Weights and biases of one network."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise((2, *config.hidden, 1)))


def cost(config: Config, networks: int) -> float:
    """Network-epochs times parameters, of so many networks."""
    return float(config.epochs * networks * parameters(config))
