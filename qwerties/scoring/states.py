"""The states of a network, and the skill score that decides them; their names need neither torch, pandas nor SciPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qwerties.config import Config

STATES = ("learned", "slow", "constant", "dead", "diverged")
LEARNED_GAIN = 0.8  # a network has learned from this gain on
LEAST_LEAD = 1e-12  # of Bayes accuracy over a guess: no division by 0 where the classes lie on each other


def skill_score(accuracy: ArrayLike, config: Config) -> NDArray[np.float64]:
    """Return the skill score of accuracies: 0 for a guess, 1 for the best classifier of the config's data.

    Parameters
    ----------
    accuracy : array_like
        Accuracy on the true distribution.
    config : Config
        Its ``data`` and ``distance`` decide the Bayes accuracy A*.

    Returns
    -------
    ndarray
        (accuracy − ½) / (A* − ½), of the same shape.
    """
    from qwerties.scoring import theory  # and with it SciPy, which the names of the states do not need

    lead = theory.bayes_accuracy(config.distance, config.data) - 0.5
    return np.asarray((np.asarray(accuracy) - 0.5) / max(lead, LEAST_LEAD))


def state_names(
    diverged: NDArray[np.bool_],
    dead: NDArray[np.bool_],
    constant: NDArray[np.bool_],
    learned: NDArray[np.bool_],
) -> NDArray[np.str_]:
    """Return the state of each network: the first of these that holds, else "slow"."""
    conditions = {"diverged": diverged, "dead": dead, "constant": constant, "learned": learned}
    return np.select(list(conditions.values()), list(conditions), "slow")
