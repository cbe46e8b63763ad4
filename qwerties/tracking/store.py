"""The store: the only door to MLflow. Arrays and records come in, plain frames and bytes go out."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import sqlalchemy as sa

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one for each file of a server
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each run of a server
logging.getLogger("alembic").setLevel(logging.WARNING)  # set-up chatter of a new database
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # likewise; errors are raised as well

import mlflow
from mlflow import MlflowClient
from mlflow.db import upgrade
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking.context.registry import resolve_tags

from qwerties.errors import reason_of
from qwerties.tracking import fast_sqlite
from qwerties.tracking.files import place_new_file
from qwerties.tracking.records import Dataset, Model, Record, Series, Tracked
from qwerties.tracking.tags import APART, ARTIFACTS, FAILURE, MAP, PARENT, PREFIX, PROCESS, RUN_NAME
from qwerties.tracking.uri import (
    StoreError,
    artifact_path,
    check_reachable,
    configured_uri,
    is_on_disk,
    public_uri,
    sqlite_path,
    sqlite_uri,
)

MAX_REASON = 500

MAX_ARTIFACT = 2**29  # bytes

SECONDS_TO_END = 3.0  # that a server has after SIGTERM

ENTRIES_PER_BATCH = 1000
"""MLflow's own limit of ``log_batch``: metrics, params and tags together."""


STORE_FAILURES = (MlflowException, sa.exc.SQLAlchemyError, OSError)
"""What a store that was sound may raise later: disk full, database locked, server gone."""


class Store:
    """An MLflow tracking store.

    Parameters
    ----------
    uri : str
        Of the tracking store, as in ``MLFLOW_TRACKING_URI``.
    reads : bool
        Whether it is enough that it can be read.
    writer : str
        This process, as the tag ``qwerties.process`` names the writer of a run; empty where nothing is written.

    Raises
    ------
    StoreError
        If the store cannot be opened, in one line.
    """

    def __init__(self, uri: str, *, reads: bool = False, writer: str = "") -> None:
        self.uri = uri
        self._writer = writer
        check_reachable(uri, reads)
        self.file = sqlite_path(uri)
        try:
            if self.file is not None and not self.file.exists():
                _create_database(self.file)
            with _without_stray_folders(uri), _loggers_as_they_were():
                self._client = MlflowClient(uri)
                self._client.search_experiments(max_results=1)
        except (MlflowException, sa.exc.SQLAlchemyError, ImportError, OSError) as error:
            raise StoreError(f"the store {public_uri(uri)} cannot be opened: {_reason(error)}") from error
        self._engine = fast_sqlite.open_store(uri)
        self._context: dict[str, str] | None = None
        self._listed: dict[str, list[Tracked]] | None = None
        self._named: dict[str, tuple[str, dict[str, str]]] | None = None

    @classmethod
    def open(cls, root: Path, *, reads: bool = False, writer: str = "") -> Store:
        """Open the store that ``MLFLOW_TRACKING_URI`` names, else MLflow's default one, anchored to ``root``."""
        return cls(configured_uri(root), reads=reads, writer=writer)

    def close(self) -> None:
        """Close the connections to a SQLite file, which then holds everything without its write-ahead log."""
        if self.file is None:
            return
        if self._engine is not None:
            self._engine.dispose()
        if (engine := getattr(self._client._tracking_client.store, "engine", None)) is not None:
            engine.dispose()
        fast_sqlite.checkpoint(self.file)

    # Writing

    def experiment(self, experiment_name: str, tags: Mapping[str, str]) -> str:
        """Create the MLflow experiment of a question, or bring its tags up to date; returns its id."""
        found = self._client.get_experiment_by_name(PREFIX + experiment_name)
        if found is None:
            try:
                created = self._client.create_experiment(PREFIX + experiment_name, tags=dict(tags))
                self._quote_artifact_location(created)
                return created
            except MlflowException:
                found = self._client.get_experiment_by_name(PREFIX + experiment_name)
                if found is None:  # else somebody created it at the same moment
                    raise
        if found.lifecycle_stage != "active":
            raise StoreError(
                f"experiment {PREFIX + experiment_name} was deleted in MLflow; restore it with "
                f"`mlflow experiments restore --experiment-id {found.experiment_id}` or remove it with `mlflow gc`"
            )
        if (held := _kind(found.tags)) != (wanted := _kind(tags)):
            raise StoreError(
                f"experiment {PREFIX + experiment_name} must be free or that of {wanted}, got that of {held}: rename "
                f"experiments/{experiment_name}.py"
            )
        for key, value in tags.items():
            if found.tags.get(key) != value:
                self._client.set_experiment_tag(found.experiment_id, key, value)
        return found.experiment_id

    def _quote_artifact_location(self, experiment_id: str) -> None:
        """Give a new experiment's artifacts the address of the folder that they are in, whatever its name.

        MLflow stores its default as a plain path, and decodes ``%20`` in it when it writes.
        """
        if self.file is None:
            return
        place = self._client.get_experiment(experiment_id).artifact_location
        if not place.startswith("/") or urllib.parse.unquote(place) == place:
            return
        if self._engine is None:
            self._client.delete_experiment(experiment_id)
            raise StoreError(f"the folder's name must hold no percent sign with this MLflow, got {place}")
        fast_sqlite.set_artifact_location(self._engine, experiment_id, Path(place).as_uri())

    def write(self, experiment_id: str, record: Record, parent: str | None = None) -> str:
        """Track one run and its children; it has its status only when all of it is there. Returns the run's id."""
        tags = {**self._run_context(), PROCESS: self._writer, **record.tags}
        if record.files:
            tags[ARTIFACTS] = json.dumps({path: digest(content) for path, content in record.files.items()})
        if parent:
            tags[PARENT] = parent
        run = self._client.create_run(experiment_id, run_name=record.name, tags=tags).info
        try:
            self._write_body(run.run_id, run.artifact_uri, record)
            for child in record.children:
                self.write(experiment_id, child, parent=run.run_id)
            if record.model is not None:  # last: MLflow ends the run with it
                self._log_model(run.run_id, record.model)
        except BaseException as error:
            self._give_up(run.run_id, error)
            raise
        self._terminate(run.run_id, record.status)
        return run.run_id

    def begin(self, experiment_id: str, record: Record) -> str:
        """Create a run that others will hang below, RUNNING, with its params and tags; returns its id."""
        tags = {**self._run_context(), PROCESS: self._writer, **record.tags}
        run_id = self._client.create_run(experiment_id, run_name=record.name, tags=tags).info.run_id
        self._client.log_batch(run_id, params=[Param(key, value) for key, value in record.params.items()])
        return run_id

    def resume(self, run_id: str) -> None:
        """Make a run RUNNING again, by this process."""
        self._client.set_tag(run_id, PROCESS, self._writer)
        self._client.update_run(run_id, status="RUNNING")

    def end(self, run_id: str, record: Record) -> None:
        """Finish a run that was begun: its metrics, tags and files; once more, where it was finished before."""
        now = int(time.time() * 1000)
        tags = dict(record.tags)
        if record.files:
            tags[ARTIFACTS] = json.dumps({path: digest(content) for path, content in record.files.items()})
            with tempfile.TemporaryDirectory(prefix="qwerties-") as folder:
                _write_files(Path(folder), record.files)
                self._client.log_artifacts(run_id, folder)
        self._client.log_batch(
            run_id,
            metrics=[
                Metric(key, value, now, 0) for key, value in record.metrics.items() if value is not None
            ],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        self._client.set_terminated(run_id, record.status)

    def _terminate(self, run_id: str, status: str) -> None:
        now = int(time.time() * 1000)
        if self._engine is not None and fast_sqlite.end_run(self._engine, run_id, status, now):
            return
        try:
            self._client.set_terminated(run_id, status, now)
        except MlflowException as error:
            if "Connection broken" not in str(error):
                raise
            self._client.set_terminated(
                run_id, status, now
            )  # the server died in mid-answer: the same once more

    def _give_up(self, run_id: str, error: BaseException) -> None:
        """Mark a run that was not written to the end; where the store does not take that, the next sweep does it.

        After Ctrl-C nobody waits for that longer than a second: an interrupted write may have left a lock behind.
        """

        def mark() -> None:
            with suppress(*STORE_FAILURES), _without_retries():
                if not stopped:
                    self._client.set_tag(run_id, FAILURE, reason_of(error)[:MAX_REASON])
                self._client.set_terminated(run_id, "KILLED" if stopped else "FAILED")

        stopped = isinstance(error, KeyboardInterrupt)
        if stopped:
            thread = threading.Thread(target=mark, daemon=True)
            thread.start()
            thread.join(1.0)
        else:
            mark()

    def _write_body(self, run_id: str, artifact_uri: str, record: Record) -> None:
        last = max((int(points.steps[-1]) for points in record.series.values()), default=0)
        final = {
            key: Series(np.array([last]), np.array([value]))
            for key, value in record.metrics.items()
            if value is not None and key not in record.series
        }
        self._write_points(run_id, {**record.series, **final}, record.params)
        if record.dataset is not None:
            self._client.log_inputs(run_id, datasets=[_dataset_input(record.dataset)])
        if is_on_disk(artifact_uri):
            _write_files(artifact_path(artifact_uri), record.files)
        elif record.files:
            with tempfile.TemporaryDirectory(prefix="qwerties-") as folder:
                _write_files(Path(folder), record.files)
                self._client.log_artifacts(run_id, folder)

    def _write_points(self, run_id: str, series: Mapping[str, Series], params: Mapping[str, str]) -> None:
        """Write metrics and params at once, or in as few requests as a server takes them."""
        timestamp = int(time.time() * 1000)
        if self._engine is not None:
            fast_sqlite.write_params(self._engine, run_id, params)
            fast_sqlite.write_metrics(self._engine, run_id, series, timestamp)
            return
        metrics = [
            Metric(key, value, timestamp, step)
            for key, points in series.items()
            for step, value in zip(points.steps.tolist(), points.values.tolist(), strict=True)
        ]
        with_params = ENTRIES_PER_BATCH - len(params)
        first = [Param(key, value) for key, value in params.items()]
        self._client.log_batch(run_id, metrics=metrics[:with_params], params=first)
        for begin in range(with_params, len(metrics), ENTRIES_PER_BATCH):
            self._client.log_batch(run_id, metrics=metrics[begin : begin + ENTRIES_PER_BATCH])

    def _log_model(self, run_id: str, model: Model) -> None:
        """Log a torch module as an exported graph: loading it unpickles nothing."""
        mlflow.set_tracking_uri(self.uri)
        with mlflow.start_run(run_id):
            mlflow.pytorch.log_model(
                model.module,
                name="model",
                input_example=model.example,
                signature=infer_signature(model.example, model.predicted),
                pip_requirements=[f"{name}=={version(name)}" for name in ("torch", "numpy", "mlflow")],
                serialization_format="pt2",
            )

    def _run_context(self) -> dict[str, str]:
        """Source, git and user tags, which MlflowClient.create_run does not set."""
        if self._context is None:
            tags = {key: str(value) for key, value in resolve_tags().items()}
            own = {key: value for key, value in tags.items() if not key.startswith("mlflow.source.git.")}
            self._context = own | _git_tags()
        return self._context

    # Reading

    def experiments(self) -> dict[str, tuple[str, dict[str, str]]]:
        """Id and tags of every active experiment that asks a question, by its experiment_name, sorted."""
        if self._listed is None or self._named is None:
            self._named = self._find_experiments()
        return dict(self._named)  # tags are read, not changed

    def _find_experiments(self) -> dict[str, tuple[str, dict[str, str]]]:
        found = self._client.search_experiments(filter_string=f"name LIKE '{PREFIX}%'")
        return {
            e.name.removeprefix(PREFIX): (e.experiment_id, dict(e.tags))
            for e in sorted(found, key=lambda e: e.name)
            if not e.tags.keys() & APART.keys()
        }

    def experiment_tags(self) -> dict[str, dict[str, str]]:
        """Tags of every active experiment of ours by its id, of the reports' and the maps' too."""
        found = self._client.search_experiments(filter_string=f"name LIKE '{PREFIX}%'")
        return {e.experiment_id: dict(e.tags) for e in found}

    def maps(self) -> list[Tracked]:
        """Every active run of a map, oldest first."""
        found = self._client.search_experiments(filter_string=f"name LIKE '{PREFIX}%'")
        return [run for e in found if MAP in e.tags for run in self.runs(e.experiment_id)]

    def artifact_folders(self) -> list[Path] | None:
        """Folders that hold the artifacts of our experiments; None where some do not lie on this machine."""
        found = self._client.search_experiments(filter_string=f"name LIKE '{PREFIX}%'")
        places = [e.artifact_location for e in found]
        if not all(map(is_on_disk, places)):
            return None
        return list(map(artifact_path, places))

    def runs(self, experiment_id: str) -> list[Tracked]:
        """Every active run of an experiment, oldest first."""
        if self._listed is None:
            return self._list_runs(experiment_id)
        if experiment_id not in self._listed:
            self._listed[experiment_id] = self._list_runs(experiment_id)
        return list(self._listed[experiment_id])

    @contextmanager
    def as_of_now(self) -> Iterator[None]:
        """Within the block experiments and their runs are listed once, as they were when they were first asked for."""
        if self._listed is not None:
            yield
            return
        self._listed = {}
        try:
            yield
        finally:
            self._listed = self._named = None

    def _list_runs(self, experiment_id: str) -> list[Tracked]:
        if self._engine is not None:
            return [
                Tracked(
                    run["run_id"],
                    experiment_id,
                    run["name"] or run["tags"].get(RUN_NAME) or run["run_id"],
                    run["status"],
                    run["tags"].get(PARENT),
                    run["params"],
                    run["metrics"],
                    run["tags"],
                    run["artifact_uri"],
                    (run["start_time"] or 0) / 1000,
                )
                for run in fast_sqlite.read_runs(self._engine, experiment_id)
            ]
        found: list[Tracked] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [experiment_id],
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += [
                Tracked(
                    run.info.run_id,
                    experiment_id,
                    run.info.run_name or run.info.run_id,
                    run.info.status,
                    run.data.tags.get(PARENT),
                    dict(run.data.params),
                    dict(run.data.metrics),
                    dict(run.data.tags),
                    run.info.artifact_uri,
                    run.info.start_time / 1000,
                )
                for run in page
            ]
            token = page.token
            if not token:
                return found

    def read(self, run: Tracked, path: str) -> bytes:
        """Bytes of one artifact.

        Raises
        ------
        StoreError
            If it is missing or cannot be read.
        """
        try:
            if is_on_disk(run.artifact_uri):
                return _read_file(artifact_path(run.artifact_uri), path)
            # what a plugin for artifacts must define: `download_artifacts` asks three times more for each file,
            # what the run is, whether it has models, and whether the file is a folder
            with tempfile.TemporaryDirectory(prefix="qwerties-") as folder:
                local = Path(folder, "artifact")
                get_artifact_repository(run.artifact_uri, tracking_uri=self.uri)._download_file(
                    path, str(local)
                )
                return local.read_bytes()
        except (OSError, ValueError, MlflowException) as error:
            raise StoreError(f"run {run.run_id} ({run.name}): artifact {path} cannot be read") from error

    def lacks(self, run: Tracked, path: str) -> bool:
        """Tell whether an artifact of a run that lies on this machine is not there."""
        return is_on_disk(run.artifact_uri) and not Path(artifact_path(run.artifact_uri), path).is_file()

    def sizes(self, run: Tracked) -> dict[str, int]:
        """Bytes of each artifact of a run by its path, where they lie on this machine; empty where they do not."""
        if not is_on_disk(run.artifact_uri):
            return {}
        return dict(sorted(_sizes(str(artifact_path(run.artifact_uri)))))

    def damaged(self, run: Tracked) -> list[str]:
        """Artifacts of a run that are lost, cut short or altered, by its own digests; none where it has none.

        Artifacts that do not lie on this machine are not looked at.
        """
        try:
            digests = dict(json.loads(run.tags.get(ARTIFACTS, "{}")))
        except (ValueError, TypeError):
            return [ARTIFACTS]
        if not is_on_disk(run.artifact_uri):
            return []
        root = artifact_path(run.artifact_uri)
        return [path for path, expected in digests.items() if _digest_of(root, path) != expected]

    def delete_run(self, run_id: str) -> None:
        """Delete a run as MLflow's UI does: it is listed no more, and can be restored."""
        self._client.delete_run(run_id)

    def tag_run(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run."""
        self._client.set_tag(run_id, key, value)

    def tag_experiment(self, experiment_id: str, key: str, value: str) -> None:
        """Set a tag of an experiment."""
        self._client.set_experiment_tag(experiment_id, key, value)

    def untag_experiment(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment; of a server, it is asked for once."""
        with _without_retries():
            self._client.delete_experiment_tag(experiment_id, key)

    def end_abandoned(self, runs: Iterable[Tracked], is_abandoned: Callable[[Tracked], bool]) -> int:
        """Mark as KILLED those RUNNING runs of ours that ``is_abandoned`` says nobody writes; return how many.

        A run without our tag is somebody's own and is left alone.
        """
        gone = [run for run in runs if run.status == "RUNNING" and PROCESS in run.tags and is_abandoned(run)]
        for run in gone:
            self._client.set_terminated(run.run_id, "KILLED")
        return len(gone)


def _sizes(folder: str, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Path and size of every file below a folder; none where there is no such folder."""
    try:
        found = list(os.scandir(folder))
    except OSError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _sizes(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file():
            yield f"{prefix}{entry.name}", entry.stat().st_size


def _kind(tags: Mapping[str, str]) -> str:
    """What an experiment with these tags holds."""
    return next((what for tag, what in APART.items() if tag in tags), "a question")


def _read_file(root: Path, path: str) -> bytes:
    """Read an artifact: a regular file of bounded size inside the run's folder, whatever a tag calls it.

    Raises
    ------
    OSError
        If it is no such file, or cannot be read.
    """
    target = root / path
    if not target.resolve().is_relative_to(root.resolve()):
        raise OSError(f"an artifact must be inside the run's folder, got {path!r}")
    with open(target, "rb", opener=_open_without_waiting) as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_ARTIFACT:
            raise OSError(
                f"an artifact must be a regular file of at most {MAX_ARTIFACT:,} bytes, got {path!r}"
            )
        return file.read(MAX_ARTIFACT)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a FIFO would wait for a writer for ever


def _digest_of(root: Path, path: str) -> str | None:
    try:
        return digest(_read_file(root, path))
    except (OSError, ValueError):  # a ValueError: a name that no file can have
        return None


@contextmanager
def _without_retries() -> Iterator[None]:
    """Ask a tracking server once, and not for minutes."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def digest(content: bytes) -> str:
    """Short hash of an artifact's bytes, as the tag ``qwerties.artifacts`` holds it."""
    return hashlib.sha256(content).hexdigest()[:16]


def _git_tags() -> dict[str, str]:
    """Return the commit of the study's folder and whether it was changed since.

    Nothing is returned where git does not track the folder's experiments: a source archive that was unpacked inside
    another repository has no commit. Git's own variables, as a hook sets them, would name another repository.
    """
    try:
        if not _git("ls-files", "--", "experiments"):
            return {}
        commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return {}  # no git, or no repository of git
    return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(bool(changes)).lower()}


def _git(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(Path.cwd()), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        env=environment,
    )
    return done.stdout.strip()


@contextmanager
def _without_stray_folders(uri: str) -> Iterator[None]:
    """Remove the empty folders that MLflow creates for a SQLite URI with a quoted percent sign, which it reads raw."""
    folder = Path(uri.removeprefix("sqlite:///")).parent
    absent = [
        path for path in (folder, *folder.parents) if uri.startswith("sqlite:///") and not path.exists()
    ]
    try:
        yield
    finally:
        for path in absent:
            with suppress(OSError):  # it is not there, or somebody has put something into it
                path.rmdir()


@contextmanager
def _loggers_as_they_were() -> Iterator[None]:
    """Enable again the loggers that alembic, which sets logging up for itself, disables."""
    enabled = [
        logger
        for logger in logging.root.manager.loggerDict.values()
        if isinstance(logger, logging.Logger) and not logger.disabled
    ]
    try:
        yield
    finally:
        for logger in enabled:
            logger.disabled = False


def _create_database(path: Path) -> None:
    """Set a database up beside its place and move it there whole: MLflow's set-up is many transactions."""
    cache = path.parent / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        new = Path(folder, path.name)
        with _without_stray_folders(sqlite_uri(new)), _loggers_as_they_were():
            upgrade.main([sqlite_uri(new)], standalone_mode=False)
        with suppress(FileExistsError):  # somebody else was faster
            place_new_file(new, path)


def _reason(error: object) -> str:
    """Why a store cannot be opened, in one line."""
    other = re.search(r"schema \(found version (\w+), but expected (\w+)\)", str(error))
    if other is None:
        return reason_of(error)
    return (
        f"its schema must be {other[2]}, that of MLflow {mlflow.__version__}, got {other[1]}; an older one is brought "
        "up to date by `mlflow db upgrade`, after a backup"
    )


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _dataset_input(dataset: Dataset) -> DatasetInput:
    entity = MlflowDataset(
        name=dataset.name,
        digest=dataset.digest,
        source_type="code",
        source=json.dumps({"tags": {"mlflow.source.name": "qwerties.data"}}),
        profile=json.dumps(dataset.profile),
    )
    return DatasetInput(entity, tags=[InputTag("mlflow.data.context", "training")])


def serve_ui(store: Store, port: int) -> int:
    """Serve the store in MLflow's UI on 127.0.0.1 until stopped, and print where its classic runs view is.

    Raises
    ------
    StoreError
        If the port is taken.
    """
    ids = [experiment_id for experiment_id, _ in store.experiments().values()]
    page = f"experiments/{ids[0]}/runs?workflowType=machine_learning" if ids else "experiments"
    if store.uri.startswith("http"):
        print(f"{public_uri(store.uri).rstrip('/')}/#/{page}")
        return 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server: connections may linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StoreError(f"--port must be free, got {port} ({error.strerror})") from error
    print(f"http://127.0.0.1:{port}/#/{page}\n(it takes a while to answer; Ctrl-C ends it)", flush=True)
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # a password on the command line would be seen by all
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return server.wait()
    finally:
        _end_group(server)


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """End a server with all processes that it has started, so that its port is free again."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(SECONDS_TO_END)
