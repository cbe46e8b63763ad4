"""Whether a report is of today: a digest of all that it is made from, kept beside it."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import qwerties
from qwerties.tracking.store import Store
from qwerties.tracking.uri import public_uri

# Libraries that a report's bytes may depend on.
LIBRARIES = [
    "contourpy",
    "jinja2",
    "markdown-it-py",
    "matplotlib",
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "scipy",
    "seaborn",
]


def store_digest(store: Store) -> str:
    """Hash what a report reads: every plan, every run as the store lists it, and the code that makes the page.

    Artifacts enter by the digests that their runs are tagged with, and by whether they are there in full length: one
    that was altered since is for ``qwerties verify`` to find.
    """
    parts = [_code_digest(), public_uri(store.uri)]  # links lead to the store's address
    runs = store.maps()
    for experiment_name, (experiment_id, tags) in store.experiments().items():
        parts.append(json.dumps([experiment_name, experiment_id, tags], sort_keys=True))
        runs = [*runs, *store.runs(experiment_id)]
    for run in runs:
        listed = [run.run_id, run.name, run.status, run.parent, run.params, run.metrics, run.tags]
        parts.append(json.dumps([listed, store.sizes(run)], sort_keys=True))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _code_digest() -> str:
    folder = Path(qwerties.__file__).parent
    sources = sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    content = b"\0".join(path.read_bytes() for path in sources if path.is_file())
    versions = " ".join(f"{name}=={version(name)}" for name in LIBRARIES)
    return hashlib.sha256(content + versions.encode()).hexdigest()
