"""Trained networks -> records: what one config on one block of seeds leaves in the store."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from qwerties.config import Config, Seeds
from qwerties.execution import devices
from qwerties.plotting.style import style
from qwerties.scoring import score as scoring
from qwerties.scoring.score import Scores
from qwerties.scoring.states import LEARNED_GAIN, STATES, skill_score
from qwerties.study.pictures import network_pictures, run_pictures
from qwerties.tracking.records import Dataset, Record, Series, curve_epochs
from qwerties.tracking.tags import DEVICE, STATE
from qwerties.training import data
from qwerties.training.trainer import Trained, train

QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}  # of the loss
MEANS = ("train_accuracy", "population_accuracy", "gain", "bce", "brier")
EXAMPLE_STATES = ("learned", "slow", "constant", "dead")
OWN_SCORES = ("phi", "gain", "bce", "brier", "epochs_to_learn")  # of one network, at the end


def train_records(
    configs: Sequence[Config], seeds: Seeds, *, device: str = "cpu", sharers: int = 1
) -> list[Record]:
    """Train configs on a block of seeds and make each one's record.

    Parameters
    ----------
    configs : sequence of Config
    seeds : Seeds
    device : {"cpu", "cuda"}
        What trains; scores and pictures are made by the CPU.
    sharers : int
        Workers that share the device.
    """
    largest = max(configs, key=devices.bytes_of)
    with devices.resident(device, largest, sharers):
        done = train(configs, seeds, device=device)
    records = []
    with style():
        while done:  # one by one: memory of a training that was scored is free for its pictures
            records.append(make_record(done.pop(0)))
    for record in itertools.chain(records, *(record.children for record in records)):
        record.tags[DEVICE] = devices.name(device)
    return records


def make_record(trained: Trained) -> Record:
    """Score a trained config and make its run: metrics, artifacts, and examples as child runs."""
    config, seeds = trained.config, trained.seeds
    scores = scoring.score(config, seeds, trained.losses, trained.checkpoints, trained.weights)
    table, curve = scores.table, _loss_curve(trained)
    states = table["state"].tolist()
    examples = [states.index(state) for state in EXAMPLE_STATES if state in states]
    return Record(
        name=config.label(),
        params={**config.to_params(), "seeds": str(seeds)},
        metrics=final_metrics(trained, table),
        series=_series(trained, scores, curve),
        files={
            "seeds.csv": table.to_csv(index=False, lineterminator="\n").encode(),
            "curves.npz": _npz(_curves(trained, sorted(examples))),
            "weights.npz": _npz(trained.final),
            **run_pictures(trained, table, curve),
        },
        dataset=_dataset(config, seeds),
        children=[network_record(trained, scores, i) for i in examples],
    )


def final_metrics(trained: Trained, table: pd.DataFrame) -> dict[str, float | None]:
    """Return the final scores of a run over its seeds; a score that is undefined for some seed is None."""
    phi, to_learn = table["phi"], table["epochs_to_learn"]
    has_optimum = trained.config.loss == "bce" and trained.config.data == "clusters"
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = trained.gradient_rms[:, 0] / trained.gradient_rms[:, -1]  # first over last layer, (networks,)
    ratio = ratio[np.isfinite(ratio)]
    return {
        "final_train_loss": _number(table["train_loss"].mean(skipna=False)),
        **{name: _number(table[name].mean(skipna=False)) for name in MEANS},
        **{f"{state}_fraction": float((table["state"] == state).mean()) for state in STATES},
        "dead_at_init_fraction": float(table["dead_at_init"].mean()),
        "settled_fraction": float(table["settled"].mean()),
        "phi": _number(phi.mean(skipna=False)),
        "phi_undefined": float(phi.isna().sum()),
        "epochs_to_learn": _number(to_learn.astype(float).fillna(np.inf).median()),  # where half ever learned
        "ever_learned_fraction": float(to_learn.notna().mean()),
        "excess_loss": _number(table["excess_loss"].mean()),
        "separable": float((table["excess_loss"].isna() & table["train_loss"].notna()).sum())
        if has_optimum
        else None,
        "gradient_ratio": float(np.median(ratio)) if len(ratio) else None,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _series(trained: Trained, scores: Scores, curve: pd.DataFrame) -> dict[str, Series]:
    """Return metrics over epochs: the mean loss at every epoch, the others at log-spaced ones.

    A diverged network makes the mean undefined from there on; for the quantiles it counts as the largest.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = trained.losses.mean(0, dtype=np.float64)
    series = {"train_loss": Series(np.arange(1, trained.config.epochs + 1), mean)}
    for name in QUANTILES:
        series[f"train_loss_{name}"] = Series(curve.index.to_numpy(), curve[name].to_numpy(np.float64))
    at_checkpoints = {
        "train_accuracy": scores.train_accuracy,
        "population_accuracy": scores.population_accuracy,
        "learned_fraction": skill_score(scores.population_accuracy, trained.config) >= LEARNED_GAIN,
        "dead_fraction": scores.dead,
    }
    return series | {
        name: Series(scores.checkpoints, values.mean(0)) for name, values in at_checkpoints.items()
    }


def _loss_curve(trained: Trained) -> pd.DataFrame:
    """Return mean and quantiles of the losses, a row for each of `curve_epochs`; infinite where one is not finite."""
    epochs = curve_epochs(trained.config.epochs)
    losses = trained.losses[:, epochs - 1]
    ranked = np.sort(np.where(np.isfinite(losses), losses, np.inf), axis=0)  # (networks, epochs)
    columns = {name: ranked[round(q * (len(ranked) - 1))] for name, q in QUANTILES.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        columns["train_loss"] = ranked.mean(0, dtype=np.float64)
    return pd.DataFrame(columns, index=epochs)


def _curves(trained: Trained, examples: list[int]) -> dict[str, np.ndarray]:
    config = trained.config
    points = data.draw(
        [trained.seeds.data[i] for i in examples], config.distance, config.samples, config.data
    )
    recorded = curve_epochs(trained.config.epochs)
    return {
        "epochs": recorded,
        "loss": trained.losses[:, recorded - 1],
        "gradient_rms": trained.gradient_rms,
        "checkpoints": trained.checkpoints,
        "exemplars": trained.seeds.numbers[examples],
        "exemplar_points": points.numpy(),
        **{f"exemplar.{name}": value[examples] for name, value in trained.weights.items()},
    }


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _dataset(config: Config, seeds: Seeds) -> Dataset:
    arrangement = "" if config.data == "clusters" else f"{config.data} "
    drawn = f"{arrangement}{seeds} {config.distance} {config.samples}"
    profile = {
        "points": 2 * config.samples,
        "data": config.data,
        "distance": config.distance,
        "seeds": str(seeds),
    }
    digest = hashlib.sha256(drawn.encode()).hexdigest()[:12]
    return Dataset(f"qwerties {arrangement}d={config.distance:g}", digest, profile)


def network_record(trained: Trained, scores: Scores, i: int) -> Record:
    """Make the record of one network by itself, with its whole loss curve; ``i`` is its index in the block."""
    config, row = trained.config, scores.table.iloc[i]
    title = f"seed {row['seed']} · {row['state']} · {config.label()}"
    final = {"final_train_loss": row["train_loss"], **{name: row[name] for name in OWN_SCORES}}
    series = {"train_loss": Series(np.arange(1, config.epochs + 1), trained.losses[i].astype(np.float64))}
    for name in ("train_accuracy", "population_accuracy"):
        series[name] = Series(scores.checkpoints, getattr(scores, name)[i].astype(np.float64))
    return Record(
        name=title,
        params={**config.to_params(), "seed": str(row["seed"])},
        metrics={name: None if pd.isna(value) else float(value) for name, value in final.items()},
        tags={STATE: row["state"]},
        series=series,
        files=network_pictures(trained, i, title, row["train_loss"] - row["excess_loss"]),
    )
