"""The parts of a tracked run, as plain data: workers make them, one process writes them, everybody reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


def curve_epochs(epochs: int) -> np.ndarray:
    """Return up to 200 epochs, evenly spaced on a log scale, from 1 to the last.

    Each seed's loss is stored at these epochs only, and so is the mean loss of a search's trial: a point of a metric
    takes 260 bytes in SQLite.
    """
    return np.unique(np.geomspace(1, epochs, 200).round().astype(int))


@dataclass(frozen=True)
class Series:
    """A metric over epochs: steps (points,) and values (points,); NaN and infinities are allowed."""

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """The data of a run, for the dataset column of MLflow's UI."""

    name: str
    digest: str  # at most 36 characters
    profile: dict[str, object]


@dataclass(frozen=True)
class Model:
    """A trained ``torch.nn.Module``, with example inputs (batch, 2) and their predictions (batch, 1) in float32."""

    module: Any
    example: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Record:
    """One run, ready to be written.

    Attributes
    ----------
    name : str
    params, tags : dict of str
    metrics : dict of float
        Final values. None means undefined and is not written; a series of the same name replaces the value.
    series : dict of Series
    files : dict of bytes
        Artifacts by their path inside the run.
    dataset : Dataset, optional
    model : Model, optional
        Logged so that ``mlflow.pyfunc`` loads it.
    children : list of Record
        Runs shown below this one.
    status : {"FINISHED", "FAILED"}
        Status once everything is written; a trial that diverged has failed.
    """

    name: str
    params: dict[str, str]
    metrics: dict[str, float | None]
    tags: dict[str, str] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    dataset: Dataset | None = None
    model: Model | None = None
    children: list[Record] = field(default_factory=list)
    status: str = "FINISHED"


@dataclass(frozen=True)
class Tracked:
    """One run as the store holds it; ``start_time`` is in seconds since 1970."""

    run_id: str
    experiment_id: str
    name: str
    status: str
    parent: str | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    artifact_uri: str
    start_time: float = 0.0


@dataclass(frozen=True)
class TrackedExperiment:
    """One of our MLflow experiments as the store holds it."""

    experiment_id: str
    name: str
    artifact_location: str
    is_active: bool
    tags: dict[str, str]
