"""A search space per arm -> the best config of each arm, confirmed on fresh seeds: the only door to Optuna.

`Tuning`, `TunedArm` and `ArmContrast` declare a tuned question in ``experiments/``; `tuner.run_searches` runs its
searches, `champion.challenge` moves the registered model. No module here decides a verdict, and importing this package
loads no Optuna.
"""

from qwerties.tuning.declaration import ArmContrast, TunedArm, Tuning

__all__ = ["ArmContrast", "TunedArm", "Tuning"]
