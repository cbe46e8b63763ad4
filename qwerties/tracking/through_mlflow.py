"""Write and read runs by MLflow's own functions: for servers, other databases, and SQLite's schemas unknown here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qwerties.tracking.artifacts import temporary_folder
from qwerties.tracking.records import Dataset, Series, Tracked, TrackedExperiment
from qwerties.tracking.tags import PARENT

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000  # experiments or runs of one answer
ENTRIES_PER_BATCH = 1000  # MLflow's limit of `log_batch`: metrics, params and tags together


@contextmanager
def without_retries() -> Iterator[None]:
    """Ask a tracking server once, and not for minutes; the environment is the only way to tell MLflow."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def write_metrics(
    client: MlflowClient, run_id: str, series: Mapping[str, Series], timestamp: int, params: Mapping[str, str]
) -> None:
    """Write all points of metrics, and params, in as few requests as a server takes."""
    from mlflow.entities import Metric, Param

    metrics = [
        Metric(key, value, timestamp, step)
        for key, points in series.items()
        for step, value in zip(points.steps.tolist(), points.values.tolist(), strict=True)
    ]
    room = ENTRIES_PER_BATCH - len(params)
    client.log_batch(run_id, metrics=metrics[:room], params=[Param(*item) for item in params.items()])
    for begin in range(room, len(metrics), ENTRIES_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[begin : begin + ENTRIES_PER_BATCH])


def write_dataset(client: MlflowClient, run_id: str, dataset: Dataset) -> None:
    """Make a dataset the input of a run."""
    from mlflow.entities import Dataset as MlflowDataset
    from mlflow.entities import DatasetInput, InputTag

    entity = MlflowDataset(
        name=dataset.name,
        digest=dataset.digest,
        source_type="code",
        source=json.dumps({"tags": {"mlflow.source.name": "qwerties.data"}}),
        profile=json.dumps(dataset.profile),
    )
    client.log_inputs(run_id, [DatasetInput(entity, tags=[InputTag("mlflow.data.context", "training")])])


def _pages(search: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
    """Yield all that one of MLflow's searches finds, page by page."""
    token = None
    while True:
        page = search(*arguments, max_results=PAGE, page_token=token, **options)
        yield from page
        token = page.token
        if not token:
            return


def read_experiments(client: MlflowClient, filter_string: str) -> list[TrackedExperiment]:
    """Read experiments, active and deleted."""
    from mlflow.entities import ViewType

    return [
        TrackedExperiment(
            e.experiment_id, e.name, e.artifact_location, e.lifecycle_stage == "active", dict(e.tags)
        )
        for e in _pages(client.search_experiments, ViewType.ALL, filter_string=filter_string)
    ]


def read_runs(client: MlflowClient, experiment_id: str) -> list[Tracked]:
    """Read the active runs of an experiment, oldest first."""
    return [
        Tracked(
            run_id=run.info.run_id,
            experiment_id=experiment_id,
            name=run.info.run_name or run.info.run_id,
            status=run.info.status,
            parent=run.data.tags.get(PARENT),
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags=dict(run.data.tags),
            artifact_uri=run.info.artifact_uri,
            start_time=run.info.start_time / 1000,
        )
        for run in _pages(client.search_runs, [experiment_id], order_by=["attributes.start_time ASC"])
    ]


def read_artifact(tracking_uri: str, artifact_uri: str, path: str) -> bytes:
    """Fetch one artifact.

    ``download_artifacts`` asks three times more for each file: what the run is, whether it has models, and whether the
    file is a folder. Every plugin for artifacts defines the function that is used here.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with temporary_folder() as folder:
        local = folder / "artifact"
        get_artifact_repository(artifact_uri, tracking_uri=tracking_uri)._download_file(path, str(local))
        return local.read_bytes()
