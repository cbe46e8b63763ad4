"""Whether a report is of today: a digest of all that it is made from, kept beside it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import qwerties
from qwerties.tracking.records import Tracked
from qwerties.tracking.store import Store

LIBRARIES = ("jinja2", "matplotlib", "mlflow", "numpy", "pandas", "scipy", "seaborn")
"""Those that a report's bytes may depend on."""


def store_digest(store: Store) -> str:
    """Hash what a report reads: every plan, every run as the store lists it, and the code that makes the page.

    Artifacts enter by the digests that their runs are tagged with, and by whether they are there in full length: one
    that was altered since is for ``qwerties verify`` to find.
    """
    told = [_code_digest()]
    for experiment_name, (experiment_id, tags) in store.experiments().items():
        told.append(json.dumps([experiment_name, experiment_id, tags], sort_keys=True))
        told += _told(store, store.runs(experiment_id))
    told += _told(store, store.maps())
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _told(store: Store, runs: Sequence[Tracked]) -> Iterator[str]:
    for run in runs:
        yield json.dumps(
            [run.run_id, run.name, run.status, run.parent, run.params, run.metrics, run.tags], sort_keys=True
        )
        yield json.dumps(store.sizes(run), sort_keys=True)


@functools.cache
def _code_digest() -> str:
    folder = Path(qwerties.__file__).parent
    sources = sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    content = b"\0".join(path.read_bytes() for path in sources if path.is_file())
    versions = " ".join(f"{name}=={version(name)}" for name in LIBRARIES)
    return hashlib.sha256(content + versions.encode()).hexdigest()


def bytes_digest(path: Path) -> str | None:
    """Hash a file; None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
