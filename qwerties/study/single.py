"""Train one network and track it as the notebook shows it: ``qwerties train``."""

from __future__ import annotations

import dataclasses
import sys

import torch
from tqdm import tqdm

from qwerties.config import Config, Seeds
from qwerties.errors import command
from qwerties.scoring import score as scoring
from qwerties.study.pictures import notebook_pictures
from qwerties.study.runs import network_record
from qwerties.tracking.records import Model
from qwerties.tracking.store import Store
from qwerties.tracking.tags import NOTE, TITLE, made_with
from qwerties.training.reference import build_model
from qwerties.training.trainer import train

EXPERIMENT_NAME = "train"
QUESTION = "Single networks, each trained by `qwerties train` and shown as in the course notebook."


def train_network(config: Config, seed: int, store: Store) -> str:
    """Train one network and track it, with the notebook's pictures and a loadable model.

    Returns
    -------
    str
        Loss, accuracy, phi and the run, in words.
    """
    experiment_id = store.experiment(EXPERIMENT_NAME, {NOTE: QUESTION, TITLE: "Single networks"})
    seeds = Seeds(seed, seed + 1)
    with tqdm(total=config.epochs, unit=" epochs", disable=not sys.stderr.isatty(), leave=False) as bar:
        trained = train([config], seeds, progress=bar.update)[0]
    scores = scoring.score(config, seeds, trained.losses, trained.checkpoints, trained.weights)
    row = scores.table.iloc[0]

    model = build_model(config, seed)
    model.load_state_dict({name: torch.from_numpy(value[0].copy()) for name, value in trained.final.items()})
    example = scoring.draw_points(seeds, config)[0].T[[0, -1]]  # (2, 2): a point of either class
    record = network_record(trained, scores, 0)
    record = dataclasses.replace(
        record,
        tags={
            **record.tags,
            **made_with("qwerties train"),
            NOTE: f"One network, trained as in the notebook: {config.label()}, seed {seed}, {row['state']}.",
        },
        files={**record.files, **notebook_pictures(trained, 0)},
        model=Model(model.eval(), example.numpy(), model(example).detach().numpy()),
    )
    run_id = store.write(experiment_id, record)
    phi = "undefined (all predictions agree)" if row["phi"] != row["phi"] else f"{100 * row['phi']:.1f} %"
    return (
        f"{config.label()} · seed {seed}: {row['state']}\n"
        f"loss {row['train_loss']:.6f}   accuracy {row['train_accuracy']:.3f} on the training points, "
        f"{row['population_accuracy']:.4f} on the true distribution   phi {phi}\n"
        f"run {run_id} ({command('ui')} shows it; mlflow.pyfunc.load_model('runs:/{run_id}/model') loads it)"
    )
