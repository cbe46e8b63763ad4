"""Names of tags, all of them: MLflow's own that are used here, and those of this project."""

from __future__ import annotations

PREFIX = "qwerties/"  # of every MLflow experiment's name

# MLflow's own
PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
NOTE = "mlflow.note.content"

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

# Of experiments that ask no question
REPORT = "qwerties.report"
MAP = "qwerties.map"
APART = {REPORT: "the reports", MAP: "the maps"}  # what these experiments hold

# Of a planned config's run
CODE = "qwerties.code"  # digest of the code that decided the numbers
FINGERPRINT = "qwerties.fingerprint"  # hash of config, seeds and code
EXAMPLES = "qwerties.examples"  # JSON: seeds of the networks shown by themselves, in child runs

# Of an experiment that asks a question: its plan
TITLE, QUESTION, ORDER = "qwerties.title", "qwerties.question", "qwerties.order"
PLAN, CONTRASTS, FIGURES = "qwerties.plan", "qwerties.contrasts", "qwerties.figures"
PLAN_CHANGES = "qwerties.plan_changes"  # what was changed once there were runs
