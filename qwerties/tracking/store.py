"""The store: records go in, runs and bytes of artifacts come out; `fast_sqlite` or `through_mlflow` does either."""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import sqlalchemy as sa

from qwerties.errors import reason_for_uri, reason_of
from qwerties.tracking import fast_sqlite, through_mlflow
from qwerties.tracking.artifacts import (
    damaged_files,
    digests_tag,
    file_sizes,
    read_file,
    temporary_folder,
    write_files,
)
from qwerties.tracking.database import create_database, without_side_effects
from qwerties.tracking.git import commit_tags
from qwerties.tracking.models import log_model
from qwerties.tracking.records import Record, Series, Tracked, TrackedExperiment
from qwerties.tracking.tags import APART, FAILURE, MAP, PARENT, PREFIX, PROCESS, TITLE
from qwerties.tracking.uri import (
    HTTP,
    StoreError,
    artifact_path,
    check_reachable,
    configured_uri,
    is_on_disk,
    public_uri,
    sqlite_path,
)

if TYPE_CHECKING:  # importing MLflow takes two seconds; whoever only reads a SQLite store does without it
    from mlflow import MlflowClient

T = TypeVar("T")

MAX_REASON = 500  # characters of the tag that says why a run failed


def store_failures(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what a store that was sound may raise later: disk full, database locked, server gone; and ``others``."""
    raised = sys.modules.get("mlflow.exceptions")  # else MLflow raised nothing
    mlflow_failures = () if raised is None else (raised.MlflowException,)
    return (*others, *mlflow_failures, sa.exc.SQLAlchemyError, sqlite3.Error, OSError)


class Store:
    """An MLflow tracking store, named by a URI as in ``MLFLOW_TRACKING_URI``.

    If the store ``reads``, nothing in a SQLite file is changed. ``writer`` is the name of this process, for the tag
    ``qwerties.process`` of the runs that it writes.

    Raises
    ------
    StoreError
        If the store cannot be opened.
    """

    def __init__(self, uri: str, *, reads: bool = False, writer: str = "") -> None:
        self.uri = uri
        self._writer = writer
        check_reachable(uri, reads)
        self.file = sqlite_path(uri)
        if self.file is not None and not self.file.exists():
            with self._opening():
                create_database(self.file)
        self._connection = fast_sqlite.open_store(uri, writes=not reads)
        if self._connection is None:
            self._client  # noqa: B018 -- opens the store
        self._snapshot: dict[str, Any] | None = None  # what was read within `as_of_now`

    @cached_property
    def _client(self) -> MlflowClient:
        with self._opening():
            from mlflow import MlflowClient

            client = MlflowClient(self.uri)
            client.search_experiments(max_results=1)
        return client

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            with without_side_effects(self.uri):
                yield
        except store_failures(ImportError, ValueError) as error:  # ValueError: of an MLFLOW_... setting
            raise StoreError(
                f"the store {public_uri(self.uri)} cannot be opened: {reason_for_uri(self.uri, error)}"
            ) from error

    @classmethod
    def open(cls, root: Path, *, reads: bool = False, writer: str = "") -> Store:
        """Open the store that ``MLFLOW_TRACKING_URI`` names, else MLflow's default one in ``root``."""
        return cls(configured_uri(root), reads=reads, writer=writer)

    def close(self) -> None:
        """Close the connections to a SQLite file, which then holds everything without its write-ahead log."""
        if self.file is None:
            return
        if self._connection is not None:
            self._connection.close()
        if "_client" in vars(self):
            engine = getattr(self._client._tracking_client.store, "engine", None)
            if engine is not None:
                engine.dispose()
        fast_sqlite.checkpoint(self.file)

    # Writing

    def experiment(self, experiment_name: str, tags: Mapping[str, str]) -> str:
        """Create the MLflow experiment of a question, or update its tags; return its id."""
        name = PREFIX + experiment_name
        experiment = self._find(name)
        if experiment is None:
            from mlflow.exceptions import MlflowException

            try:
                return self._client.create_experiment(name, self._artifact_location(name), dict(tags))
            except MlflowException:
                experiment = self._find(name)
                if experiment is None:  # else another process created it at the same moment
                    raise
        if not experiment.is_active:
            raise StoreError(
                f"experiment {name} was deleted in MLflow; restore it with "
                f"`mlflow experiments restore --experiment-id {experiment.experiment_id}` or remove it with `mlflow gc`"
            )
        if (theirs := _content(experiment.tags)) != (ours := _content(tags)):
            raise StoreError(
                f"experiment {name} must be free or that of {ours}, got that of {theirs}: rename "
                f"experiments/{experiment_name}.py"
            )
        for key, value in tags.items():
            if experiment.tags.get(key) != value:
                self._client.set_experiment_tag(experiment.experiment_id, key, value)
        return experiment.experiment_id

    def _find(self, name: str) -> TrackedExperiment | None:
        """Return the experiment of this name, active or deleted."""
        return next((e for e in self._all_experiments() if e.name == name), None)

    def _artifact_location(self, name: str) -> str | None:
        """Return a URI where MLflow's default, a plain path, would be decoded to another folder; None elsewhere."""
        folder = Path.cwd() / "mlruns" / name.replace("/", "-")
        is_misread = urllib.parse.unquote(str(Path.cwd())) != str(Path.cwd())
        return folder.as_uri() if is_misread and not self.uri.startswith(HTTP) else None

    def write(self, experiment_id: str, record: Record, parent: str | None = None) -> str:
        """Write one run and its children; it gets its status when everything is written. Return the run's id."""
        run_id, artifact_uri = self._create_run(experiment_id, record, parent)
        try:
            self._write_points(run_id, record)
            if record.dataset is not None:
                through_mlflow.write_dataset(self._client, run_id, record.dataset)
            self._write_files(run_id, artifact_uri, record.files)
            for child in record.children:
                self.write(experiment_id, child, parent=run_id)
            if record.model is not None:  # last: MLflow ends the run with it
                log_model(self.uri, run_id, record.model)
        except BaseException as error:
            self._give_up(run_id, error)
            raise
        self._terminate(run_id, record.status)
        return run_id

    def begin(self, experiment_id: str, record: Record) -> str:
        """Create a RUNNING run with params and tags, for children to come; return its id."""
        run_id, _ = self._create_run(experiment_id, record)
        self._write_points(run_id, record)
        return run_id

    def resume(self, run_id: str, params: Mapping[str, str]) -> None:
        """Make a run RUNNING again, written by this process, with params that it lacks."""
        from mlflow.entities import Param

        self._client.log_batch(run_id, params=[Param(*item) for item in params.items()])
        self._client.set_tag(run_id, PROCESS, self._writer)
        self._client.update_run(run_id, status="RUNNING")

    def end(self, run_id: str, record: Record) -> None:
        """Finish a run that was begun, with its metrics, tags and files; a finished run may be ended again."""
        from mlflow.entities import Metric, RunTag

        if record.files:
            self._write_files(run_id, self._client.get_run(run_id).info.artifact_uri, record.files)
        now = _milliseconds()
        self._client.log_batch(
            run_id,
            metrics=[
                Metric(key, value, now, 0) for key, value in record.metrics.items() if value is not None
            ],
            tags=[RunTag(*item) for item in {**record.tags, **digests_tag(record.files)}.items()],
        )
        self._client.set_terminated(run_id, record.status)

    def _create_run(self, experiment_id: str, record: Record, parent: str | None = None) -> tuple[str, str]:
        tags = {**self._run_context, PROCESS: self._writer, **record.tags, **digests_tag(record.files)}
        if parent:
            tags[PARENT] = parent
        if self._connection is not None:
            created = fast_sqlite.create_run(
                self._connection, experiment_id, record.name, tags, _milliseconds()
            )
            if created is not None:
                return created
        info = self._client.create_run(experiment_id, run_name=record.name, tags=tags).info
        return info.run_id, info.artifact_uri

    def _write_points(self, run_id: str, record: Record) -> None:
        """Write params and metrics in one transaction, or in as few requests as a server takes."""
        last = max((int(points.steps[-1]) for points in record.series.values()), default=0)
        final = {
            key: Series(np.array([last]), np.array([value]))
            for key, value in record.metrics.items()
            if value is not None and key not in record.series
        }
        series, now = {**record.series, **final}, _milliseconds()
        if self._connection is not None:
            fast_sqlite.write_metrics(self._connection, run_id, series, now, record.params)
        else:
            through_mlflow.write_metrics(self._client, run_id, series, now, record.params)

    def _write_files(self, run_id: str, artifact_uri: str, files: Mapping[str, bytes]) -> None:
        if is_on_disk(artifact_uri):
            write_files(artifact_path(artifact_uri), files)
        elif files:
            with temporary_folder() as folder:
                write_files(folder, files)
                self._client.log_artifacts(run_id, str(folder))

    def _terminate(self, run_id: str, status: str) -> None:
        from mlflow.exceptions import MlflowException

        now = _milliseconds()
        if self._connection is not None and fast_sqlite.end_run(self._connection, run_id, status, now):
            return
        try:
            self._client.set_terminated(run_id, status, now)
        except MlflowException as error:
            if "Connection broken" not in str(error):
                raise
            self._client.set_terminated(run_id, status, now)  # the server died in mid-answer: ask once more

    def _give_up(self, run_id: str, error: BaseException) -> None:
        """Mark a run that is incomplete; if the store does not take the mark, the next sweep sets it.

        After Ctrl-C this takes at most a second: an interrupted write may have left a lock behind.
        """
        stopped = isinstance(error, KeyboardInterrupt)

        def mark() -> None:
            with suppress(*store_failures()):
                if not stopped:
                    self._client.set_tag(run_id, FAILURE, reason_of(error)[:MAX_REASON])
                self._client.set_terminated(run_id, "KILLED" if stopped else "FAILED")

        with through_mlflow.without_retries():
            thread = threading.Thread(target=mark, daemon=True)
            thread.start()
            thread.join(1.0 if stopped else None)

    @cached_property
    def _run_context(self) -> dict[str, str]:
        """Source, user and git tags, which ``MlflowClient.create_run`` does not set."""
        from mlflow.tracking.context.registry import resolve_tags

        tags = {key: str(value) for key, value in resolve_tags().items()}
        return {k: v for k, v in tags.items() if not k.startswith("mlflow.source.git.")} | commit_tags()

    def delete_run(self, run_id: str) -> None:
        """Delete a run as MLflow's UI does: it is no longer listed, and can be restored."""
        self._client.delete_run(run_id)

    def tag_run(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run."""
        self._client.set_tag(run_id, key, value)

    def tag_experiment(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""
        self._client.set_experiment_tag(experiment_id, key, value)

    def untag_experiment(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment; an absent server is asked once."""
        with through_mlflow.without_retries():
            self._client.delete_experiment_tag(experiment_id, key)

    def end_abandoned(self, runs: Iterable[Tracked], is_abandoned: Callable[[Tracked], bool]) -> int:
        """Mark those of our RUNNING runs that no process writes any more as KILLED; return how many.

        A run without our tag belongs to somebody else and is left alone.
        """
        gone = [run for run in runs if run.status == "RUNNING" and PROCESS in run.tags and is_abandoned(run)]
        for run in gone:
            self._client.set_terminated(run.run_id, "KILLED")
        return len(gone)

    # Reading

    def experiments(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Return id and tags of every active experiment that asks a question, sorted by name."""
        return {
            e.name.removeprefix(PREFIX): (e.experiment_id, dict(e.tags))
            for e in sorted(self._experiments(), key=lambda e: e.name)
            if not e.tags.keys() & APART.keys()
        }

    def runs(self, experiment_id: str) -> list[Tracked]:
        """Return every active run of an experiment, oldest first."""

        def read() -> list[Tracked]:
            if self._connection is not None:
                return fast_sqlite.read_runs(self._connection, experiment_id)
            return through_mlflow.read_runs(self._client, experiment_id)

        return self._read_once(experiment_id, read)

    def _read_once(self, what: str, read: Callable[[], list[T]]) -> list[T]:
        """Read a list, but within `as_of_now` only the first time."""
        if self._snapshot is None:
            return read()
        if what not in self._snapshot:
            self._snapshot[what] = read()
        return list(self._snapshot[what])

    @contextmanager
    def as_of_now(self) -> Iterator[None]:
        """Within the block, list experiments and their runs once, as they were when they were first asked for."""
        self._snapshot = {}
        try:
            yield
        finally:
            self._snapshot = None

    def _all_experiments(self, asked: str = f"name LIKE '{PREFIX}%'") -> list[TrackedExperiment]:
        """Return our experiments, active and deleted; of a server, those that it is asked for."""
        if self._connection is not None:
            return fast_sqlite.read_experiments(self._connection)
        return through_mlflow.read_experiments(self._client, asked)

    def _experiments(self) -> list[TrackedExperiment]:
        ours = self._read_once("experiments", self._all_experiments)
        return [e for e in ours if e.is_active and e.name.startswith(PREFIX)]

    def renamed(self) -> list[str]:
        """Return the names of active experiments that bear our tags, but were renamed in MLflow; they do not count."""
        found = self._all_experiments(f"tags.`{TITLE}` LIKE '%'")
        return sorted(e.name for e in found if e.is_active and not e.name.startswith(PREFIX))

    def experiment_tags(self) -> dict[str, dict[str, str]]:
        """Return the tags of each of our active experiments by id, those of reports and maps included."""
        return {e.experiment_id: dict(e.tags) for e in self._experiments()}

    def maps(self) -> list[Tracked]:
        """Return every active run of a map, oldest first."""
        return [run for e in self._experiments() if MAP in e.tags for run in self.runs(e.experiment_id)]

    def artifact_folders(self) -> list[Path] | None:
        """Return the folders of our experiments' artifacts; None if some are not on this machine."""
        locations = [e.artifact_location for e in self._experiments()]
        return list(map(artifact_path, locations)) if all(map(is_on_disk, locations)) else None

    def read(self, run: Tracked, path: str) -> bytes:
        """Return the bytes of one artifact.

        Raises
        ------
        StoreError
            If it is missing or cannot be read.
        """
        try:
            if is_on_disk(run.artifact_uri):
                return read_file(artifact_path(run.artifact_uri), path)
            return through_mlflow.read_artifact(self.uri, run.artifact_uri, path)
        except store_failures(ValueError) as error:
            raise StoreError(f"run {run.run_id} ({run.name}): artifact {path} cannot be read") from error

    def sizes(self, run: Tracked) -> dict[str, int]:
        """Return the bytes of each artifact by its path; empty if a run's artifacts are not on this machine."""
        return file_sizes(artifact_path(run.artifact_uri)) if is_on_disk(run.artifact_uri) else {}

    def damaged(self, run: Tracked) -> list[str]:
        """Return the artifacts of a run that are missing or altered by the run's own digests.

        Artifacts that are not on this machine are not looked at.
        """
        return (
            damaged_files(artifact_path(run.artifact_uri), run.tags) if is_on_disk(run.artifact_uri) else []
        )


def _content(tags: Mapping[str, str]) -> str:
    """Return what an experiment with these tags holds."""
    return next((content for tag, content in APART.items() if tag in tags), "a question")


def _milliseconds() -> int:
    return int(time.time() * 1000)
