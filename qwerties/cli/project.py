"""The folder of a study: where it is, its experiment files, its store."""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qwerties
from qwerties.errors import FailedError, NothingTrackedError, UsageError, first_line, reason_of

if TYPE_CHECKING:
    from qwerties.study.experiment import Experiment
    from qwerties.tuning.declaration import Tuning


RESERVED = ("train", "report", "map")  # MLflow experiments that hold no question


def enter_root() -> Path:
    """Find the project, the nearest folder upwards that says it is one, and work in it, as MLflow expects.

    A project has ``experiments/`` and, in ``pyproject.toml``, a table ``[tool.qwerties]``: the scripts in its
    ``experiments/`` are executed, which no other folder's are.

    Raises
    ------
    UsageError
        If there is no such folder, or if the package that runs is not the one that the project holds.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "experiments").is_dir() and _is_project(folder / "pyproject.toml"):
            _check_package(folder)
            os.chdir(folder)
            os.environ.setdefault("QWERTIES_KERNELS", str(folder / ".cache" / "kernels"))
            return folder
    raise UsageError(
        f"no experiments/ beside a pyproject.toml with a table [tool.qwerties] in {Path.cwd()} or above"
    )


def _is_project(path: Path) -> bool:
    try:
        return isinstance(
            tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("qwerties"), dict
        )
    except (OSError, ValueError, AttributeError):
        return False


def _check_package(folder: Path) -> None:
    """Refuse to run another folder's code on a project that holds the package itself, as a copied .venv does."""
    own, running = folder / "qwerties" / "__init__.py", Path(qwerties.__file__)
    if own.is_file() and not own.samefile(running):
        raise UsageError(
            f"this folder has its own qwerties/, but the command runs the code in {running.parent}: "
            "make setup, then call .venv/bin/qwerties or make of this folder"
        )


def experiment_files(root: Path) -> list[Path]:
    """Files of ``experiments/`` that hold a question, sorted."""
    return sorted(
        path
        for path in (root / "experiments").glob("*.py")
        if not path.name.startswith(("_", "."))
        and path.is_file()  # an editor's and a system's own begin with a dot
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


def choose(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """Check names given by the user; all where none is given."""
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UsageError(f"experiment must be one of {', '.join(known)}, got {name!r}{hint}")
    if not known:
        raise UsageError("experiments/ must hold one experiment or more, got none")
    return list(dict.fromkeys(wanted)) or list(known)


def load_experiments(
    root: Path, names: Sequence[str]
) -> tuple[dict[str, Experiment | Tuning], dict[str, str]]:
    """Import experiment files; returns what they declare, and what is wrong with those that do not work."""
    from qwerties.study.experiment import Experiment
    from qwerties.tuning.declaration import Tuning

    loaded: dict[str, Experiment | Tuning] = {}
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
        except BaseException as error:  # whatever somebody's file raises, the others go on
            broken[name] = f"{type(error).__name__}: {first_line(error) or 'no message'}"
            continue
        if isinstance(getattr(module, "experiment", None), Experiment | Tuning):
            loaded[name] = module.experiment
        else:
            broken[name] = "it must define `experiment`, an Experiment or a Tuning"
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


def is_empty(root: Path) -> bool:
    """Whether the store is still to be made."""
    from qwerties.portability.relocate import database_of, is_new

    database = database_of(root)
    return database is not None and is_new(database)


@contextmanager
def open_store(root: Path, *, reads: bool = False) -> Iterator[Any]:
    """Open the store; what is wrong with it, now or later, is told in one line. One that only ``reads`` makes none."""
    from qwerties.portability.relocate import NOTHING, RelocateError, check_place, database_of, is_new

    database = database_of(root)
    if database is not None:
        if reads and is_new(database):
            raise NothingTrackedError(NOTHING)
        try:
            check_place(database, root)
        except RelocateError as error:
            raise UsageError(error) from None
    from qwerties.execution.processes import this_process
    from qwerties.execution.signals import finishing_first
    from qwerties.tracking.store import STORE_FAILURES, Store, StoreError

    try:
        store = Store.open(root, reads=reads, writer=this_process())
        try:
            yield store
        finally:
            with finishing_first():  # SQLAlchemy logs a signal that comes while it closes a connection
                store.close()
    except StoreError as error:
        raise UsageError(error) from None
    except BrokenPipeError:  # of our output, not of the store
        raise
    except STORE_FAILURES as error:
        reason = reason_of(error)
        raise FailedError(f"the store failed, the same command goes on from there: {reason}") from None
