"""Names of tags, all of them: MLflow's own that are used here, and those of this project."""

from __future__ import annotations

import platform
from importlib.metadata import version

PREFIX = "qwerties/"  # of every MLflow experiment's name

# MLflow's own
PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
USER = "mlflow.user"
NOTE = "mlflow.note.content"
SOURCE = "mlflow.source.name"

# Of every run
PROCESS = "qwerties.process"  # the process that writes the run: tells a dead writer from a live one
FAILURE = "qwerties.failure"  # why the run failed, in one line
SUPERSEDED = "qwerties.superseded"  # id of the run that replaces this one, which no longer counts
ARTIFACTS = "qwerties.artifacts"  # JSON: digest of every artifact by its path

# Of searches
STUDY = "qwerties.study"  # of a search's run and of its trials' runs: neither is a run of a planned config
TRIAL = "qwerties.trial"  # number of a trial within its search
SPEC = "qwerties.search"  # JSON: everything that decides a search's trials
TUNING = "qwerties.tuning"  # of an experiment, JSON: what is tuned, and how
SUGGESTED = "qwerties.suggested"  # of a trial's run, JSON: the values that Optuna suggested
WINNER = "qwerties.winner"  # of a search's run, JSON: params of the config that it chose

# Of the registered model's versions, and of its experiment
CONFIG = "qwerties.config"  # JSON: params of the model's config
SEED = "qwerties.seed"  # of the registered network
NETWORK = "qwerties.network"  # which network of the config it is, in words
CONFIRMED = "qwerties.confirmation"  # mean accuracy of the config on fresh seeds
CONFIRMED_SEEDS, CONFIRMED_RUN = "qwerties.confirmation_seeds", "qwerties.confirmation_run"
VERDICT = "qwerties.verdict"  # why this version took the place of the one before, in words
OVER = "qwerties.over"  # the version before
CHALLENGE = "qwerties.challenge"  # how many configs have challenged that version
CHALLENGES = "qwerties.challenges"  # of the experiment, JSON: digests of each version's challengers

# Of experiments that ask no question
REPORT = "qwerties.report"
PAGE = "qwerties.page"  # of a report's run: digest of its files
MAP = "qwerties.map"
APART = {REPORT: "the reports", MAP: "the maps"}  # what these experiments hold

# Of a planned config's run
CODE = "qwerties.code"  # digest of the code that decided the numbers
FINGERPRINT = "qwerties.fingerprint"  # hash of config, seeds and code
DEVICE = "qwerties.device"  # what trained it
STATE = "qwerties.state"  # of an example's run: what became of its network
EXAMPLES = "qwerties.examples"  # JSON: seeds of the networks shown by themselves, in child runs

# Of an experiment that asks a question: its plan
TITLE, QUESTION, ORDER = "qwerties.title", "qwerties.question", "qwerties.order"
PLAN, CONTRASTS, FIGURES = "qwerties.plan", "qwerties.contrasts", "qwerties.figures"
PLAN_CHANGES = "qwerties.plan_changes"  # what was changed once there were runs
LEASE = "qwerties.lease"  # who sweeps the experiment, and until when

# What made a run
VERSION, PYTHON = "qwerties.version", "qwerties.python"
LIBRARIES = {f"qwerties.{name}": name for name in ("torch", "numpy", "mlflow")}


def made_with(source: str) -> dict[str, str]:
    """Return the tags that say what made a run: the command or file, and the versions of Python and libraries."""
    return {
        SOURCE: source,
        VERSION: version("qwerties"),
        PYTHON: platform.python_version(),
        **{tag: version(library) for tag, library in LIBRARIES.items()},
    }
