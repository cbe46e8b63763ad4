"""Names that the store knows things by: tags of runs and of experiments."""

from __future__ import annotations

PARENT = "mlflow.parentRunId"
RUN_NAME = "mlflow.runName"
NOTE = "mlflow.note.content"
PROCESS = "qwerties.process"
"""Tag: host and process that write a run, to tell one that died from a neighbour's."""

FAILURE = "qwerties.failure"
"""Tag: why a run failed, in one line."""

SUPERSEDED = "qwerties.superseded"
"""Tag: the run that was made anew in this one's place; it counts no more."""

STUDY = "qwerties.study"
"""Tag: the study that a run is, or that a trial's run belongs to; neither is a run of the plan's configs."""

TRIAL = "qwerties.trial"
"""Tag: number of a trial in its study."""

SPEC = "qwerties.search"
"""Tag of a study's run: all that decides its trials, as JSON."""

TUNING = "qwerties.tuning"
"""Tag of an experiment: what is tuned, and how, as JSON."""

ARTIFACTS = "qwerties.artifacts"
"""Tag: digest of every artifact by its path, as JSON, to tell one that was lost, cut short or altered."""

REPORT = "qwerties.report"
"""Tag of the experiment that keeps the reports, which asks no question."""

MAP = "qwerties.map"
"""Tag of the experiment that keeps the maps, which asks no question either."""

APART = {REPORT: "the reports", MAP: "the maps"}
"""Tags of experiments that no coverage counts, and what they hold."""

PREFIX = "qwerties/"
"""Of the MLflow experiments' names."""

# Of a planned config's run
CODE = "qwerties.code"  # digest of the code that decided the numbers
FINGERPRINT = "qwerties.fingerprint"  # hash of config, seeds and code
EXAMPLES = "qwerties.examples"  # JSON: seeds of the networks shown by themselves, in child runs

# Of an experiment that asks a question: its plan
TITLE, QUESTION, ORDER = "qwerties.title", "qwerties.question", "qwerties.order"
PLAN, CONTRASTS, FIGURES = "qwerties.plan", "qwerties.contrasts", "qwerties.figures"
PLAN_CHANGES = "qwerties.plan_changes"  # what was changed once there were runs
