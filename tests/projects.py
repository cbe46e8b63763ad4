"""Projects that were swept, to be copied: each test spoils a copy of its own."""

import shutil
import sqlite3
from contextlib import closing

from qwerties.portability.relocate import copy_database, relocate

TINY = """
from qwerties.config import Config
from qwerties.study.experiment import Contrast, Experiment, grid

CONFIGS = grid(Config(epochs=20), loss=("bce", "mse"))

experiment = Experiment(
    title="Tiny", question="Which **one**?", configs=CONFIGS, contrasts=(Contrast(CONFIGS[1], CONFIGS[0]),)
)
"""


def sql(folder, statement, *values):
    """Run a statement on a project's store behind MLflow's back; return its rows."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        return database.execute(statement, values).fetchall()


def copy_project(project, target):
    """Copy a project with its store; the copy's store names the copy's artifacts. Return the copy."""
    shutil.copytree(project, target, ignore=shutil.ignore_patterns("mlflow.db*", ".cache", "__pycache__"))
    copy_database(project / "mlflow.db", target / "mlflow.db")
    if relocated := relocate(target / "mlflow.db", target):
        relocated.backup.unlink()
    with closing(sqlite3.connect(target / "mlflow.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")  # as the first command that opens it would
    return target
