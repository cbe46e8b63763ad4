"""The ``qwerties`` command: arguments -> calls of the rooms below -> lines on the terminal and an exit status.

Public: `main.main`, `main.build_parser`. One file per command. It starts without torch, MLflow or Optuna.
"""
