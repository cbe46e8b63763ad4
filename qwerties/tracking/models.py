"""The model registry: the second door to MLflow, as `tracking` is about runs and has enough to do with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

logging.getLogger("mlflow.store.model_registry").setLevel(logging.WARNING)  # that a server is waited for

NAME, ALIAS = "qwerties", "champion"
"""Of the registered model, and of the version that counts: ``models:/qwerties@champion``."""

ABOUT = (
    "A network of the best config that the study has found: of its confirmed networks that learned, the one of median "
    "accuracy. Replaced only where a verdict on fresh seeds says that another config is ahead. Takes points, "
    "(batch, 2); returns the probability of qwerties B, (batch, 1)."
)


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    number: str
    tags: dict[str, str]


def champion(uri: str) -> Version | None:
    """The version that counts in a store; None where there is none."""
    client = MlflowClient(uri, uri)
    try:
        found = client.get_model_version_by_alias(NAME, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model; no alias
            return None
        raise
    return Version(str(found.version), dict(found.tags))


def promote(uri: str, run_id: str, tags: Mapping[str, str]) -> str:
    """Register the model of a run as a new version, and give it the alias last; returns its number."""
    client = MlflowClient(uri, uri)
    if not client.search_registered_models(f"name = '{NAME}'"):
        client.create_registered_model(NAME)
    client.update_registered_model(NAME, description=ABOUT)
    outputs = client.get_run(run_id).outputs
    assert outputs is not None
    (model,) = outputs.model_outputs
    version = client.create_model_version(
        NAME, f"models:/{model.model_id}", run_id, tags=dict(tags), model_id=model.model_id
    )
    client.set_registered_model_alias(NAME, ALIAS, version.version)
    return str(version.version)


def retag(uri: str, number: str, tags: Mapping[str, str]) -> None:
    """Bring the tags of a version up to date."""
    client = MlflowClient(uri, uri)
    for key, value in tags.items():
        client.set_model_version_tag(NAME, number, key, value)
