"""Small stores, written as a sweep writes them, without training anything."""

import functools
import io
import itertools
import json
import os
import sqlite3
import tempfile
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.db import upgrade

from qwerties.cli import main as cli
from qwerties.config import Config, Seeds, fingerprint
from qwerties.scoring.digest import code_digest
from qwerties.tracking.records import Record, Series, Tracked
from qwerties.tracking.store import Store
from qwerties.tracking.uri import default_uri

CODE = code_digest()
numbers = itertools.count()
SEEDS = Seeds(0, 4)
CONFIGS = (Config(epochs=20), Config(epochs=20, loss="mse"))


def make_folder(folder, **experiments):
    """A repository with files of experiments, and nothing tracked."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "reports").mkdir()
    (folder / "pyproject.toml").write_text("[tool.qwerties]\n")
    for name, source in experiments.items():
        (folder / "experiments" / f"{name}.py").write_text(source)
    return folder


@functools.cache
def empty_database():
    """Return the bytes of a database that holds MLflow's tables and nothing else; making one takes a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mlflow.db")
        upgrade.main([f"sqlite:///{path}"], standalone_mode=False)
        return path.read_bytes()


def new_store(folder, **options):
    """Open the store of a folder, empty where the folder has none; artifacts go to the working folder's mlruns."""
    database = folder / "mlflow.db"
    if not database.exists():
        database.write_bytes(empty_database())
    return Store(default_uri(folder), **options)


def make_study(folder, **experiments):
    """A repository with files of experiments, and an empty store."""
    make_folder(folder, **experiments)
    (folder / "mlflow.db").write_bytes(empty_database())
    return folder


def plan(*configs, seeds=SEEDS, code=CODE):
    keys = {fingerprint(config, seeds, code): config.label() for config in configs}
    return json.dumps({"seeds": str(seeds), "code": code, "configs": keys})


def scores(seeds=SEEDS):
    n = len(seeds)
    numbers = dict.fromkeys(
        ("train_accuracy", "phi", "population_accuracy", "gain"), np.linspace(0.8, 0.9, n)
    )
    return pd.DataFrame({"seed": seeds.numbers, "state": "learned", **numbers}).to_csv(index=False).encode()


def record(config, seeds=SEEDS, code=CODE, files=None, **tags):
    return Record(
        name=config.label(),
        params={**config.to_params(), "seeds": str(seeds)},
        metrics={"phi": 0.5},
        series={"train_loss": Series(np.arange(1, 4), np.array([0.9, 0.8, 0.7]))},
        tags={"qwerties.code": code, **tags},
        files={"seeds.csv": scores(seeds), "plots/loss_curve.png": b"picture"} if files is None else files,
    )


def tracked_run(config, seeds, *, code=CODE, status="FINISHED", parent=None, tags=(), run_id=None, **params):
    """A run as a store returns it, with digests of no artifacts."""
    params = {**config.to_params(), "seeds": str(seeds), **params}
    tags = {"qwerties.code": code, "qwerties.artifacts": "{}", **dict(tags)}
    run_id = run_id or f"run-{next(numbers)}"
    return Tracked(run_id, "1", config.label(), status, parent, params, {"train_loss": 0.5}, tags, "")


def fill(folder):
    """Track two finished runs of one experiment in a folder; returns the store."""
    with chdir(folder):
        store = new_store(folder)
        pair = store.experiment("pair", {"qwerties.title": "A pair", "qwerties.plan": plan(*CONFIGS)})
        for config in CONFIGS:
            store.write(pair, record(config))
    return store


def call(folder, *argv, status=0):
    """Run the command in this process, as if in a folder; returns what it said."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI", ""))
        patch.chdir(folder)
        try:
            assert cli.main(argv) == status, out.getvalue() + err.getvalue()
        finally:
            mlflow.set_tracking_uri(None)
    return out.getvalue(), err.getvalue()


def files(folder):
    """What a refused request must not change; MLflow may leave the log of the database."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.endswith(("-wal", "-shm")) and not {".cache", "__pycache__"} & set(path.parts)
    }


def refusal(folder, *argv, status=2):
    """Run a command that is refused; returns its one line, after making sure that it is all that happened."""
    before = files(folder)
    out, err = call(folder, *argv, status=status)
    assert out == ""
    assert err.startswith("qwerties: error: ")
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    assert files(folder) == before
    return err.removeprefix("qwerties: error: ").rstrip("\n")


def runs_of(folder, experiment_name, children=False):
    """Runs of an experiment that hang below no other, or (children) the others, as MLflow's own client reads them.

    Oldest first; with children=None, all.
    """
    client = MlflowClient(default_uri(folder))
    found = client.get_experiment_by_name(f"qwerties/{experiment_name}")
    runs = client.search_runs([found.experiment_id], max_results=1000, order_by=["attributes.start_time ASC"])
    return [run for run in runs if children in (None, "mlflow.parentRunId" in run.data.tags)]


def artifacts(run):
    root = Path(run.info.artifact_uri)
    return {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}


def contents(folder, experiment_name="small"):
    """Of every finished run by its name and its parent's: metrics with their whole histories, params, and files."""
    runs = {run.info.run_id: run for run in runs_of(folder, experiment_name, children=None)}
    kept = {}
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        for run in runs.values():
            parent = runs.get(run.data.tags.get("mlflow.parentRunId"))
            if run.info.status != "FINISHED" or (parent is not None and parent.info.status != "FINISHED"):
                continue
            key = (run.info.run_name, parent and parent.info.run_name)
            assert key not in kept, f"{key} is there twice"
            rows = database.execute(
                "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step",
                (run.info.run_id,),
            ).fetchall()
            files = {name: loaded(path) for name, path in artifacts(run).items()}
            kept[key] = (rows, run.data.metrics, run.data.params, files)
    return kept


def loaded(path):
    """Content of an artifact: that of an archive's arrays, as archives hold the time of day."""
    content = path.read_bytes()
    if path.suffix != ".npz":
        return content
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name].tobytes() for name in arrays}


def fresh_points(n, distance, rng, data="xor"):
    """Points of both classes drawn coordinate by coordinate, (2, n) and (n,): another route than `training.data`."""
    corner = rng.integers(0, 2, (2, n)) * [[1], [data == "xor"]]
    return 1 + distance * corner + rng.standard_normal((2, n)), corner[0] ^ corner[1]
