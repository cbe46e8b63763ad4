"""Experiment files -> what they declare. A file is executed, and nothing else of the process changes."""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwerties.errors import UsageError, first_line, suggestion

RESERVED = ("train", "report", "map")  # MLflow experiments that hold no question


def experiment_files(root: Path) -> list[Path]:
    """Files of ``experiments/`` that hold a question, sorted."""
    return sorted(
        path
        for path in (root / "experiments").glob("*.py")
        if not path.name.startswith(("_", ".")) and path.is_file()  # editors' own files begin with a dot
    )


def _problem_of_name(name: str) -> str | None:
    """Return what is wrong with the name of an experiment file, or None."""
    if name in RESERVED:
        return f"its name must not be that of another MLflow experiment of ours ({', '.join(RESERVED)})"
    if name in sys.stdlib_module_names:
        return (
            "its name must not be that of a module of Python, which every file beside it would import instead"
        )
    return None


def select_experiments(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Check the names that the user gave; return all known ones where none was given."""
    for name in names:
        if name not in known:
            hint = suggestion(name, known)
            raise UsageError(f"experiment must be one of {', '.join(known)}, got {name!r}{hint}")
    if not known:
        raise UsageError("experiments/ must hold one experiment or more, got none")
    return list(dict.fromkeys(names)) or list(known)


def load_experiments(
    root: Path, names: Sequence[str], kinds: tuple[type, ...]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Import experiment files.

    Parameters
    ----------
    root : Path
        The project.
    names : sequence of str
    kinds : tuple of type
        What a file may declare as ``experiment``.

    Returns
    -------
    dict of str to object
        The declaration of each file that has one.
    dict of str to str
        The problem of each other file. Whatever one file raises, the others go on.
    """
    loaded: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in names:
        if problem := _problem_of_name(name):
            broken[name] = problem
            continue
        spec = importlib.util.spec_from_file_location(
            f"experiments.{name}", root / "experiments" / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            with _process_as_it_was(root / "experiments"):
                sys.modules[module.__name__] = module  # dataclasses look there for their annotations
                spec.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            broken[name] = f"{type(error).__name__}: {first_line(error) or 'no message'}"
            continue
        if isinstance(getattr(module, "experiment", None), kinds):
            loaded[name] = module.experiment
        else:
            names_of_kinds = " or a ".join(kind.__name__ for kind in kinds)
            broken[name] = f"it must define `experiment`, an {names_of_kinds}"
    return loaded, broken


@contextmanager
def _process_as_it_was(folder: Path) -> Iterator[None]:
    """Put back what the block changes of this process: an experiment file only declares.

    Within the block, helper modules in ``folder`` can be imported, as by ``python experiments/NAME.py``.
    """
    cwd, environment, path = Path.cwd(), dict(os.environ), list(sys.path)
    filters = list(warnings.filters)
    sys.path.append(str(folder))
    try:
        yield
    finally:
        os.chdir(cwd)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        sys.path[:] = path
        warnings.filters[:] = filters  # type: ignore[index]
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_default_dtype(torch.float32)
        if (mlflow := sys.modules.get("mlflow")) is not None:
            while mlflow.active_run() is not None:
                mlflow.end_run()
            mlflow.set_tracking_uri(None)
            mlflow.tracking.fluent._active_experiment_id = None
        if (matplotlib := sys.modules.get("matplotlib")) is not None:
            matplotlib.rcdefaults()
