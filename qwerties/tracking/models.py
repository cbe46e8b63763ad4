"""Models in MLflow: logged with a run, and registered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from qwerties.tracking.records import Model

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME, ALIAS = "qwerties", "champion"  # the registered model is ``models:/qwerties@champion``

DESCRIPTION = (
    "A network of the best config that the study has found: of its confirmed networks that learned, the one of median "
    "accuracy. Replaced only where a verdict on fresh seeds says that another config is ahead. Takes points, "
    "(batch, 2); returns the probability of qwerties B, (batch, 1)."
)


def log_model(uri: str, run_id: str, model: Model) -> None:
    """Log a torch module as an exported graph, and end the run: loading the graph unpickles nothing."""
    import mlflow
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(uri)
    with mlflow.start_run(run_id, log_system_metrics=False):
        mlflow.pytorch.log_model(
            model.module,
            name="model",
            input_example=model.example,
            signature=infer_signature(model.example, model.predicted),
            pip_requirements=[f"{name}=={version(name)}" for name in ("torch", "numpy", "mlflow")],
            serialization_format="pt2",
        )


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    number: str
    tags: dict[str, str]


@contextmanager
def _client(uri: str) -> Iterator[MlflowClient]:
    """Provide a client for the block; its registry's connections to a file are closed then."""
    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    try:
        yield client
    finally:
        engine = getattr(client._get_registry_client().store, "engine", None)
        if engine is not None:
            engine.dispose()


def champion(uri: str) -> Version | None:
    """Return the version with the alias; None where a store has none."""
    from mlflow.exceptions import MlflowException

    try:
        with _client(uri) as client:
            registered = client.get_model_version_by_alias(NAME, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model; no alias
            return None
        raise
    return Version(str(registered.version), dict(registered.tags))


def promote(uri: str, run_id: str, tags: Mapping[str, str]) -> str:
    """Register the model of a run as a new version, then move the alias to it; return the version's number."""
    with _client(uri) as client:
        if not client.search_registered_models(f"name = '{NAME}'"):
            client.create_registered_model(NAME)
        client.update_registered_model(NAME, description=DESCRIPTION)
        outputs = client.get_run(run_id).outputs
        assert outputs is not None
        (model,) = outputs.model_outputs
        source = f"models:/{model.model_id}"
        created = client.create_model_version(NAME, source, run_id, tags=dict(tags), model_id=model.model_id)
        client.set_registered_model_alias(NAME, ALIAS, created.version)
        return str(created.version)


def retag(uri: str, number: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    with _client(uri) as client:
        for key, value in tags.items():
            client.set_model_version_tag(NAME, number, key, value)
