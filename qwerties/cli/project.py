"""The project: its folder, its experiment files, its store."""

from __future__ import annotations

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
from qwerties.errors import FailedError, NothingTrackedError, UsageError, first_line, reason_of, suggestion

if TYPE_CHECKING:
    from qwerties.study.experiment import Experiment
    from qwerties.tuning.declaration import Tuning


RESERVED = ("train", "report", "map")  # MLflow experiments that hold no question


def enter_root() -> Path:
    """Find the project, the nearest folder upwards that declares itself one, and work in it, as MLflow expects.

    A project has ``experiments/`` and, in ``pyproject.toml``, a table ``[tool.qwerties]``: the scripts in its
    ``experiments/`` are executed, which no other folder's are.

    Raises
    ------
    UsageError
        If there is no such folder, or if the running package is not the one that the project holds.
    """
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "experiments").is_dir() and _is_project(folder / "pyproject.toml"):
            _check_package(folder)
            if not _is_utf8(folder):  # URIs of stores are
                raise UsageError(f"the project's path must be UTF-8, got {os.fsencode(folder)!r}")
            os.chdir(folder)
            os.environ.setdefault("QWERTIES_KERNELS", str(folder / ".cache" / "kernels"))
            return folder
    raise UsageError(
        f"no experiments/ beside a pyproject.toml with a table [tool.qwerties] in {Path.cwd()} or above"
    )


def _is_utf8(path: Path) -> bool:
    """Return whether a path's bytes are UTF-8, as those of old archives are not."""
    try:
        os.fsencode(path).decode("utf-8")
    except ValueError:
        return False
    return True


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
    root: Path, names: Sequence[str]
) -> tuple[dict[str, Experiment | Tuning], dict[str, str]]:
    """Import experiment files; return what they declare, and the problem of each that declares nothing."""
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
    """Whether the project has no store yet."""
    from qwerties.portability.relocate import database_of, is_new

    database = database_of(root)
    return database is not None and is_new(database)


def check_own_store(root: Path, command: str) -> Path:
    """Return the SQLite file of the project's own store; UsageError where the project uses another one."""
    from qwerties.portability.relocate import DATABASE, database_of
    from qwerties.tracking.uri import public_uri

    if database_of(root) != root / DATABASE:
        uri = public_uri(os.environ["MLFLOW_TRACKING_URI"])
        raise UsageError(f"{command} is for the store in this folder, MLFLOW_TRACKING_URI names {uri}")
    return root / DATABASE


@contextmanager
def open_store(root: Path, *, reads: bool = False) -> Iterator[Any]:
    """Open the store; whatever a database or a server raises, now or later, becomes one line.

    Raises
    ------
    NothingTrackedError
        If the block only ``reads`` and there is no store yet.
    UsageError
        If the store cannot be used.
    FailedError
        If the store fails within the block.
    """
    from qwerties.portability.relocate import NOTHING, check_place, database_of, is_new

    database = database_of(root)
    if database is not None:
        if reads and is_new(database):
            raise NothingTrackedError(NOTHING)
        check_place(database, root)
    from qwerties.execution.processes import this_process
    from qwerties.execution.signals import finishing_first
    from qwerties.tracking.store import Store, store_failures

    try:
        store = Store.open(root, reads=reads, writer=this_process())
        try:
            yield store
        finally:
            with finishing_first():  # SQLAlchemy logs a signal that comes while it closes a connection
                store.close()
    except BrokenPipeError:  # of our output, not of the store
        raise
    except store_failures() as error:
        reason = reason_of(error)
        raise FailedError(f"the store failed, the same command goes on from there: {reason}") from None
