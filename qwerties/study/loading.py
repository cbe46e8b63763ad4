"""Experiment files -> what they declare. A file is executed, and nothing else of the process changes."""

from __future__ import annotations

import builtins
import importlib.util
import logging
import os
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qwerties.errors import UsageError, first_line, suggestion
from qwerties.execution.signals import asked

RESERVED = ("train", "report", "map")  # MLflow experiments that hold no question


def experiment_files(root: Path) -> list[Path]:
    """Files of ``experiments/`` that hold a question, sorted."""
    return sorted(
        path
        for path in (root / "experiments").glob("*.py")
        if not path.name.startswith(("_", ".")) and path.is_file()  # editors' own files begin with a dot
    )


def select_experiments(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Check the names that the user gave; return all known ones where none was given."""
    composed = {unicodedata.normalize("NFC", name): name for name in known}  # "é" is one character or two
    selected = []
    for name in names:
        if (found := composed.get(unicodedata.normalize("NFC", name))) is None:
            hint = suggestion(name, known)
            raise UsageError(f"experiment must be one of {', '.join(known)}, got {name!r}{hint}")
        selected.append(found)
    if not known:
        raise UsageError("experiments/ must hold one experiment or more, got none")
    return list(dict.fromkeys(selected)) or list(known)


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
        What a file may declare as ``experiment``: Experiment, and Tuning of the room above.

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
        if name in RESERVED:
            others = ", ".join(RESERVED)
            broken[name] = f"its name must not be that of another MLflow experiment of ours ({others})"
        elif name in sys.stdlib_module_names:
            broken[name] = (
                "its name must not be that of a module of Python, which files beside it would import instead"
            )
        else:
            path = root / "experiments" / f"{name}.py"
            try:
                experiment = _execute(path)
            except BaseException as error:
                if asked():  # Ctrl-C, and not the file
                    raise
                broken[name] = (
                    f"{type(error).__name__}: {first_line(error) or 'no message'}{_line_of(error, path)}"
                )
                continue
            if isinstance(experiment, kinds):
                loaded[name] = experiment
            else:
                broken[name] = "it must define `experiment`, an Experiment or a Tuning"
    return loaded, broken


def _line_of(error: BaseException, path: Path) -> str:
    """Return where in a file an error was raised, as `` (line 7)``; Python says itself where syntax is wrong."""
    lines = [
        line
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == str(path)
    ]
    return f" (line {lines[-1]})" if lines else ""


def _execute(path: Path) -> Any:
    """Execute a file; return what it calls ``experiment``, if anything."""
    spec = importlib.util.spec_from_file_location(f"experiments.{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _process_as_it_was(path.parent):
        sys.modules[module.__name__] = module  # dataclasses look there for their annotations
        spec.loader.exec_module(module)
    return getattr(module, "experiment", None)


@contextmanager
def _process_as_it_was(folder: Path) -> Iterator[None]:
    """Put back what the block changes of this process: an experiment file only declares.

    Within the block, helper modules in ``folder`` can be imported, as by ``python experiments/NAME.py``.
    """
    cwd, environment, path = Path.cwd(), dict(os.environ), list(sys.path)
    names, streams, depth = dict(vars(builtins)), (sys.stdout, sys.stderr), sys.getrecursionlimit()
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    umask = os.umask(0)
    os.umask(umask)
    sys.path.append(str(folder))
    try:
        with warnings.catch_warnings(), np.errstate():
            yield
    finally:
        vars(builtins).update(names)
        sys.stdout, sys.stderr = streams
        root.setLevel(level)
        root.handlers[:] = handlers
        sys.setrecursionlimit(depth)
        os.umask(umask)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_default_dtype(torch.float32)
            torch.set_default_device(None)
        if (mlflow := sys.modules.get("mlflow")) is not None:
            while mlflow.active_run() is not None:
                mlflow.end_run()
            mlflow.set_tracking_uri(None)
            mlflow.tracking.fluent._active_experiment_id = None
        if (matplotlib := sys.modules.get("matplotlib")) is not None:
            matplotlib.rcdefaults()
