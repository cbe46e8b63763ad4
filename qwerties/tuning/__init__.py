"""A search space -> the best config of each arm: the only door to Optuna.

Public: `Tuning`, `Tuned`, `Pair` and the ranges `Float`, `Int`, `Categorical` declare one; `tuner.tune`,
`search` (Optuna), `champion.contend` (the registered model). Nothing here decides a verdict.
"""

from qwerties.study.search_space import Categorical, Float, Int
from qwerties.tuning.declaration import Pair, Tuned, Tuning

__all__ = ["Categorical", "Float", "Int", "Pair", "Tuned", "Tuning"]
