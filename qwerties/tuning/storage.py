"""Optuna's storage: the truth about which trials of a search are finished, and what they scored."""

from __future__ import annotations

import datetime
import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy as sa
from filelock import FileLock
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from qwerties.analysis.searches import OBJECTIVES
from qwerties.errors import reason_for_uri, without_passwords
from qwerties.tracking.tags import SPEC
from qwerties.tuning.declaration import SearchError
from qwerties.tuning.search import Proposal, Search, differences

OPERATION = b'{"op_code"'  # begins each line of a journal
NUMBER = "qwerties.number"  # attribute of a trial; a study has SPEC


def default_storage(root: Path) -> str:
    """Return the storage that ``OPTUNA_STORAGE`` names, else a journal under ``mlruns`` in ``root``."""
    return os.environ.get("OPTUNA_STORAGE", "").strip() or str(root / "mlruns" / "optuna.journal")


@contextmanager
def open_storage(target: str | Path) -> Iterator[BaseStorage]:
    """Open a storage for the block: a journal's path, or a URL as Optuna takes it, such as ``sqlite:///...``.

    Raises
    ------
    SearchError
        If it cannot be opened; the message is one line.
    """
    text = str(target)
    try:
        storage = _open_database(text) if "://" in text else _open_journal(Path(text))
    except SearchError:
        raise
    except Exception as error:  # a journal that others wrote may make Optuna raise anything
        raise SearchError(
            f"the storage {without_passwords(text)} cannot be opened: {reason_for_uri(text, error)}"
        ) from error
    try:
        yield storage
    finally:
        if isinstance(storage, RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def _open_journal(path: Path) -> BaseStorage:
    # Optuna's own lock of a journal outlives a killed process by 30 seconds; the kernel's ends with it.
    lock = FileLock(f"{path}.flock", poll_interval=0.002)
    with lock:
        if path.exists():
            repair_journal(path)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]


def repair_journal(path: Path) -> None:
    """Remove half-written operations, which writers that were killed have left; to be called under the lock.

    Such an operation is the last line without its end, or the beginning of a line that another program continued.
    Optuna can read neither. ValueError if the file is no journal: Optuna would append to it.
    """
    content = path.read_bytes()
    if not content.startswith(OPERATION[: len(content)]):
        raise ValueError("it is no journal of Optuna")
    *lines, rest = content.split(b"\n")
    whole = [_whole_operation(line) for line in lines]
    if whole != lines:
        beside = path.with_name(f"{path.name}.repaired")
        beside.write_bytes(b"".join(line + b"\n" for line in whole))
        beside.replace(path)
    elif rest:
        os.truncate(path, len(content) - len(rest))


def _whole_operation(line: bytes) -> bytes:
    """Return the last operation of a line; the line itself where it is one, or holds none."""
    for candidate in (line, line[max(line.rfind(OPERATION), 0) :]):
        try:
            json.loads(candidate)
            return candidate
        except ValueError:
            continue
    return line


def _open_database(text: str) -> BaseStorage:
    url = sa.make_url(text)
    if url.get_backend_name() != "sqlite":
        return RDBStorage(text)
    if not url.database or url.database == ":memory:":
        raise SearchError(f"the storage must be in a file, got {text}")
    return RDBStorage(text, engine_kwargs={"connect_args": {"timeout": 60}})


def open_study(search: Search, storage: BaseStorage, target: str | Path) -> optuna.Study:
    """Create the study of a search, or check that the stored one searches the same space.

    Raises
    ------
    SearchError
        If it does not, or was made by another program; the message says what to do.
    """
    directions = [OBJECTIVES[name] for name in search.tuning.objectives]
    study = optuna.create_study(
        study_name=search.name, storage=storage, directions=directions, load_if_exists=True
    )
    stored: Any = study.user_attrs.get(SPEC)
    spec = search.spec()
    is_new = stored is None and not study.get_trials(deepcopy=False)
    if is_new and [direction.name.lower() for direction in study.directions] == directions:
        study.set_user_attr(SPEC, spec)
        return study
    try:
        problems = differences({**stored, "trials": 0}, {**spec, "trials": 0})
        is_larger = stored["trials"] > spec["trials"]
    except (KeyError, TypeError, AttributeError):
        problems, is_larger = ["it was made by another program"], False
    where = without_passwords(str(target))
    if is_larger and not problems:
        raise SearchError(
            f"trials must be at least the {stored['trials']} that search {search.name!r} in {where} is planned with, "
            f"got {spec['trials']}"
        )
    if problems:
        raise SearchError(
            f"search {search.name!r} in {where} searches something else: {'; '.join(problems)}. Rename the arm, or "
            f"delete the search with `optuna delete-study --study-name {shlex.quote(search.name)} "
            f"--storage {shlex.quote(where)}`"
        )
    if stored != spec:
        study.set_user_attr(SPEC, spec)
    return study


def finished_trials(study: optuna.Study) -> dict[int, FrozenTrial]:
    """Return a search's finished trials by number; trials that other programs added are left out."""
    trials: dict[int, FrozenTrial] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)):
        number = trial.user_attrs.get(NUMBER)
        if isinstance(number, int):
            trials.setdefault(number, trial)
    return trials


def tell(
    study: optuna.Study,
    proposals: Sequence[Proposal],
    values: Sequence[Sequence[float] | None],
    started: datetime.datetime,
) -> None:
    """Store the trials of a batch, each in one operation; None, or a value that is not finite, is a diverged trial."""
    known = finished_trials(study)
    for proposal, scores in zip(proposals, values, strict=True):
        if proposal.number in known:  # another store's sweep shares this storage
            continue
        sound = scores is not None and all(map(math.isfinite, scores))
        trial = create_trial(
            state=TrialState.COMPLETE if sound else TrialState.FAIL,
            values=scores if sound else None,
            params=proposal.params,
            distributions=proposal.distributions,
            user_attrs={NUMBER: proposal.number},
        )
        trial.datetime_start = started
        study.add_trial(trial)


def importances(
    trials: Mapping[int, FrozenTrial], direction: Literal["minimize", "maximize"]
) -> dict[str, float]:
    """Return each parameter's share in what sets the best tenth of the trials apart, largest first; they sum to 1.

    The trials are those of `finished_trials`, and the direction is that of their first objective. PED-ANOVA (Watanabe
    et al. 2023, arXiv 2304.10255) takes conditional parameters, has no seed, and measures what was needed to be good
    rather than what moved the score anywhere. The result is empty where fewer than 20 trials are complete: their best
    tenth would be a single trial.
    """
    complete = [trial for _, trial in sorted(trials.items()) if trial.state == TrialState.COMPLETE]
    if len(complete) < 20:
        return {}
    first = optuna.create_study(direction=direction)
    first.add_trials(
        create_trial(value=t.values[0], params=t.params, distributions=t.distributions) for t in complete
    )
    return {name: float(share) for name, share in optuna.importance.get_param_importances(first).items()}
