"""MLflow as its tutorial and its documentation use it: what ours is measured against."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from qwerties.tracking.through_mlflow import ENTRIES_PER_BATCH  # sets MLflow up, before it is imported

# isort: split
import mlflow
import numpy as np
from matplotlib import pyplot as plt
from mlflow import MlflowClient
from mlflow.entities import Metric

from qwerties.config import Config
from qwerties.training.reference import Reference, train_reference


def new_run(uri: str) -> str:
    """Create a run in the default experiment; returns its id."""
    return MlflowClient(uri).create_run("0").info.run_id


def log_each(uri: str, losses: np.ndarray, run_id: str) -> None:
    """A call of ``mlflow.log_metric`` per epoch."""
    mlflow.set_tracking_uri(uri)
    for epoch, loss in enumerate(losses.tolist(), start=1):
        mlflow.log_metric("train_loss", loss, step=epoch, run_id=run_id)


def log_in_batches(uri: str, losses: np.ndarray, run_id: str) -> None:
    """The public ``log_batch``, with as many points as it takes."""
    client = MlflowClient(uri)
    metrics = [Metric("train_loss", loss, 0, epoch) for epoch, loss in enumerate(losses.tolist(), start=1)]
    for first in range(0, len(metrics), ENTRIES_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + ENTRIES_PER_BATCH])


def history(uri: str, run_id: str) -> np.ndarray:
    """Losses of a run as MLflow reads them, (epochs,)."""
    found = MlflowClient(uri).get_metric_history(run_id, "train_loss")
    return np.array([metric.value for metric in sorted(found, key=lambda metric: metric.step)])


def track_network(uri: str, artifacts: Path, config: Config, *, batched: bool) -> str:
    """Train one network by the notebook's loop and track it with its two pictures; returns the run's id.

    ``batched`` writes the losses at the end by ``log_batch``; else ``log_metric`` writes each as it comes.
    """
    mlflow.set_tracking_uri(uri)
    if mlflow.get_experiment_by_name("tutorial") is None:
        mlflow.create_experiment("tutorial", artifact_location=str(artifacts))
    mlflow.set_experiment("tutorial")
    with mlflow.start_run() as run, tempfile.TemporaryDirectory(prefix="qwerties-bench-") as folder:
        mlflow.log_params(config.to_params())
        trained = train_reference(config, 0)
        (log_in_batches if batched else log_each)(uri, trained.losses.numpy(), run.info.run_id)
        _draw(trained, folder)
        mlflow.log_artifacts(folder)
    return run.info.run_id


def _draw(trained: Reference, folder: str) -> None:
    x, y = trained.points.numpy(), trained.labels.numpy()[:, 0]
    predicted = trained.model(trained.points).detach().numpy()[:, 0] > 0.5
    plt.figure()
    for label, colour in ((0, "b"), (1, "g")):
        plt.scatter(x[y == label, 0], x[y == label, 1], marker="s", color=colour, facecolor="w")
    plt.scatter(x[predicted != y, 0], x[predicted != y, 1], marker="x", color="r")
    plt.savefig(os.path.join(folder, "misclassified.png"))  # noqa: PTH118 as in a notebook
    plt.figure()
    plt.plot(range(1, len(trained.losses) + 1), trained.losses.numpy(), marker="o", markerfacecolor="w")
    plt.savefig(os.path.join(folder, "losses.png"))  # noqa: PTH118
    plt.close("all")
