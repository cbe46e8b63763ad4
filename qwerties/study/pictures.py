"""Trained networks -> the pictures of their run."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from qwerties.config import Config
from qwerties.plotting import network as plots
from qwerties.scoring import theory
from qwerties.scoring.predict import Layers, answer
from qwerties.training import data
from qwerties.training.trainer import Trained


def notebook_pictures(trained: Trained, i: int) -> dict[str, bytes]:
    """Draw the notebook's two scatter plots of one network: its data, and the points that it misclassifies."""
    config, (x, y) = trained.config, _points(trained, i)
    extent = plots.view(config.distance, config.data)
    predicted = answer(config.activation, _layers(trained, i), x) > 0
    wrong = int((predicted != y).sum())
    misclassified = f"{wrong} of {len(y)} misclassified"
    return {
        "plots/data.png": plots.data_picture(extent, x, y, title=f"seed {trained.seeds.numbers[i]}"),
        "plots/misclassified.png": plots.data_picture(extent, x, y, predicted, title=misclassified),
    }


def run_pictures(trained: Trained, table: pd.DataFrame, curve: pd.DataFrame) -> dict[str, bytes]:
    """Draw a run: a typical network's decision boundary, the loss curve, the accuracies by state.

    Parameters
    ----------
    trained : Trained
    table : DataFrame
        ``seeds.csv``.
    curve : DataFrame
        By epoch: the mean ``train_loss`` over the seeds, and its quantiles ``p10``, ``p50``, ``p90``.
    """
    config = trained.config
    state = table["state"].mode().iloc[0]
    is_typical = table["state"] == state
    i = int(is_typical.argmax())
    typical = f"{config.label()} · seed {table['seed'][i]}, {state} like {is_typical.sum()} of {len(table)}"
    title = f"{config.label()} · {len(table)} seeds"
    references = theory.reference_accuracies(config.distance, config.data)
    return {
        "plots/decision_boundary.png": _decision_boundary(trained, i, typical),
        "plots/loss_curve.png": _loss_curve(config, curve, title),
        "plots/accuracy_distribution.png": plots.accuracy_picture(table, references, title=title),
    }


def network_pictures(trained: Trained, i: int, title: str, optimum: float) -> dict[str, bytes]:
    """Draw one network: its decision boundary, and its loss curve with the sample's ``optimum``."""
    epochs = np.arange(1, trained.config.epochs + 1)
    curve = pd.DataFrame({"train_loss": trained.losses[i]}, index=epochs)
    return {
        "plots/decision_boundary.png": _decision_boundary(trained, i, title),
        "plots/loss_curve.png": _loss_curve(trained.config, curve, title, optimum),
    }


def _loss_curve(config: Config, curve: pd.DataFrame, title: str, optimum: float | None = None) -> bytes:
    floor = theory.bce_floor if config.loss == "bce" else theory.brier_floor
    levels = {
        "Bayes floor": floor(config.distance, config.data),
        "dead plateau": theory.DEAD_PLATEAU[config.loss],
    }
    return plots.loss_picture(curve, levels, optimum, title=title)


def _decision_boundary(trained: Trained, i: int, title: str) -> bytes:
    config, (x, y), layers = trained.config, _points(trained, i), _layers(trained, i)
    extent = plots.view(config.distance, config.data)
    plane = plots.grid_points(extent)
    return plots.boundary_picture(
        extent,
        answer(config.activation, layers, plane).reshape(plots.GRID_SHAPE),
        x,
        y,
        answer(config.activation, layers, x) > 0,
        best=_best_log_odds(config.distance, config.data),
        title=title,
    )


@functools.cache
def _best_log_odds(distance: float, data: str) -> np.ndarray:
    plane = plots.grid_points(plots.view(distance, data))
    return theory.log_odds(plane, distance, data).reshape(plots.GRID_SHAPE)


def _points(trained: Trained, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the training points of one network, (2, points), and their labels."""
    config = trained.config
    x = data.draw([trained.seeds.data[i]], config.distance, config.samples, config.data)[0]
    return x.numpy(), data.labels(config.samples).numpy()


def _layers(trained: Trained, i: int) -> Layers:
    """Return the final weights of one network."""
    values = [value[i] for value in trained.final.values()]
    return tuple(zip(values[::2], values[1::2], strict=True))
