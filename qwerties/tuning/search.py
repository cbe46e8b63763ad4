"""Batched search by Optuna: propose a batch, train all of it as one batch of networks, tell; the only door to Optuna.

The proposals of batch k are a function of the search, of k, and of the results of all trials of earlier batches in the
order of their numbers; of nothing else. Each batch has a sampler of its own, seeded from (seed, k), that reads those
results in a study in memory; what it proposes is then written to the shared storage, each trial in one operation.
Trial i of the storage is trial i of the search, in batch i // batch. So a study that was killed and resumed, one that
was topped up, and one on which several processes worked all end with the same trials, provided that ``evaluate`` gives
a trial the same values whatever its neighbours, and that Optuna's version stays. (Where values differ from one time to
the next, all that is said below still holds.)

Several processes share the batch in hand, rather than run ahead into the next one: that would keep them busier, but
what is proposed would hang on who was quicker. Each takes its share of the batch (as many shares as processes), and
another one while there is one left; the next batch is proposed when this one is through.

A process takes trials under a lock, and signs them. Those of a process that is gone are taken over, with their own
parameters. Gone means: of this host, and not running; or silent for a minute, where it should have said every ten
seconds that it is alive (of another host, or where process ids mislead). If that was wrong, a trial is evaluated twice
and told once. The lock is the kernel's on a file (journal, SQLite) or the database server's on a row (PostgreSQL,
MySQL): it ends with whoever held it. Optuna's own lock of a journal outlives a process that is killed with it by 30
seconds, so the kernel's takes its place, and its own heartbeat is for ``Study.optimize`` on databases.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shlex
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from qwerties.errors import reason_of
from qwerties.study.search_space import Categorical, Dimension, Found, Int, Search, SearchError, Trial
from qwerties.tuning.locks import check_file, file_lock, has_ended, mend, public_target, row_lock

OptunaError = optuna.exceptions.OptunaError

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPEC, WORKERS = "qwerties.search", "qwerties.workers"
"""Attributes of a study: what it searches; which processes work on it."""

OWNER, BEAT = "qwerties.process", "qwerties.beat"
"""Attributes of a trial: the process that evaluates it; how often that has said that it is alive."""

SECONDS_PER_BEAT = 10.0
SECONDS_WITHOUT_BEAT = 60.0

FAILURES = (OptunaError, sa.exc.SQLAlchemyError, OSError)
"""What a storage that was sound may raise later: disk full, database locked, server gone."""

Values = float | Sequence[float] | None
"""What came of a trial: its value, or one per objective; None or not finite where it diverged."""

Evaluate = Callable[[list[dict[str, Any]]], Sequence[Values]]

STATES = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.RUNNING: "running"}


# Proposals


def propose(search: Search, batch: int, earlier: Sequence[Trial]) -> list[dict[str, Any]]:
    """Parameters of one whole batch.

    Parameters
    ----------
    search : Search
    batch : int
        Its number, from 0.
    earlier : sequence of Trial
        The trials of all earlier batches, by number.

    Returns
    -------
    list of dict
        ``search.batch`` of them; the first n do not hang on how many follow.
    """
    if search.sampler == "qmc":
        points = _sobol(json.dumps(search.to_dict()))
        return [dict(point) for point in points[batch * search.batch : (batch + 1) * search.batch]]
    seed = int(np.random.SeedSequence((search.seed, batch)).generate_state(1)[0])
    sampler: BaseSampler = RandomSampler(seed=seed)
    if search.sampler == "tpe":
        sampler = TPESampler(seed=seed)
    study = _study(search, sampler=sampler)
    if search.sampler == "tpe":
        study.add_trials([_as_seen(trial, search) for trial in earlier])
    return [_ask(study, search) for _ in range(search.batch)]


def _study(search: Search, **options: Any) -> optuna.Study:
    return optuna.create_study(directions=list(search.directions), **options)  # type: ignore[arg-type]


def _as_seen(trial: Trial, search: Search) -> FrozenTrial:
    """A trial as TPE learns from it: one that diverged counts as bad, as one that still runs does.

    Told as failed, it would be overlooked, and its neighbourhood tried again and again.
    """
    return create_trial(
        state=TrialState.COMPLETE if trial.values else TrialState.RUNNING,
        values=trial.values,
        params=trial.params,
        distributions={name: _distribution(search.space[name]) for name in trial.params},
    )


def _ask(study: optuna.Study, search: Search) -> dict[str, Any]:
    asked, params = study.ask(), dict[str, Any]()
    for name, dimension in search.space.items():
        if search.active(params, name):
            if isinstance(dimension, Categorical):
                params[name] = asked.suggest_categorical(name, dimension.choices)
            elif isinstance(dimension, Int):
                params[name] = asked.suggest_int(name, dimension.low, dimension.high, log=dimension.log)
            else:
                params[name] = asked.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    return params


@functools.lru_cache(maxsize=1)
def _sobol(stored: str) -> list[dict[str, Any]]:
    """All points of a search, of a scrambled Sobol sequence in all dimensions, less what is no part of a trial."""
    search = Search.from_dict(json.loads(stored))
    space = {name: _distribution(dimension) for name, dimension in search.space.items()}
    with warnings.catch_warnings():
        # marked so since 2021; its points are scipy's
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = QMCSampler(scramble=True, seed=search.seed)
    study = _study(search, sampler=sampler)
    # Optuna learns the space from a first trial, which would be a random one
    anything = {name: _anything(dimension) for name, dimension in search.space.items()}
    study.add_trial(create_trial(values=[0.0] * len(search.directions), params=anything, distributions=space))
    points = []
    for _ in range(-(-search.trials // search.batch) * search.batch):
        drawn, params = study.ask(space).params, dict[str, Any]()
        for name in search.space:
            if search.active(params, name):
                params[name] = drawn[name]
        points.append(params)
    return points


def _anything(dimension: Dimension) -> Any:
    return dimension.choices[0] if isinstance(dimension, Categorical) else dimension.low


def _distribution(dimension: Dimension) -> BaseDistribution:
    if isinstance(dimension, Categorical):
        return CategoricalDistribution(dimension.choices)
    kind = IntDistribution if isinstance(dimension, Int) else FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)  # type: ignore[arg-type]


# Storage


@dataclass(frozen=True)
class Storage:
    """An opened storage: what Optuna writes to, and a lock that all its processes share."""

    target: str
    backend: BaseStorage
    lock: Callable[[], AbstractContextManager[Any]]

    def close(self) -> None:
        """Close what connections there are."""
        if isinstance(self.backend, RDBStorage):
            self.backend.remove_session()
            self.backend.engine.dispose()


def default_storage(root: Path) -> str:
    """The storage that ``OPTUNA_STORAGE`` names, else a journal under ``mlruns`` in ``root``."""
    return os.environ.get("OPTUNA_STORAGE") or str(root / "mlruns" / "optuna.journal")


def open_storage(target: str | Path) -> Storage:
    """Open a storage.

    Parameters
    ----------
    target : str or Path
        A URL as Optuna takes it (``sqlite:///...``, ``postgresql://...``, ``mysql://...``), or a journal's path.

    Raises
    ------
    SearchError
        If it cannot be opened, in one line.
    """
    text = str(target)
    try:
        return _open_database(text) if "://" in text else _open_journal(Path(text))
    except (*FAILURES, ImportError, ValueError) as error:
        if isinstance(error, SearchError):
            raise
        reason = reason_of(error)
        raise SearchError(f"the storage {public_target(text)} cannot be opened: {reason}") from error


def _open_journal(path: Path) -> Storage:
    check_file(path)
    lock = file_lock(path)  # re-entrant: the journal's own appends take it, too
    with lock:
        if path.exists():
            mend(path)
        backend = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))  # type: ignore[arg-type]
    return Storage(str(path), backend, lambda: lock)


def _open_database(text: str) -> Storage:
    url = sa.make_url(text)
    if url.get_backend_name() != "sqlite":
        database = RDBStorage(text)
        return Storage(text, database, lambda: row_lock(database.engine))
    if not url.database or url.database == ":memory:":
        raise SearchError(f"the storage must be in a file, got {text}")
    path = Path(url.database)
    check_file(path)
    lock = file_lock(path)
    with lock:  # two that create the tables at once get in one another's way
        database = RDBStorage(text, engine_kwargs={"connect_args": {"timeout": 60}})
    return Storage(text, database, lambda: lock)


# Reading


def load(name: str, storage: str | Path) -> Found:
    """Read a study as it stands.

    Raises
    ------
    SearchError
        If there is none of that name, or it was not made here.
    """
    with closing(open_storage(storage)) as opened:
        if name not in optuna.get_all_study_names(opened.backend):
            raise SearchError(
                f"study must be one of the storage {public_target(opened.target)}, got {name!r}"
            )
        study = optuna.load_study(study_name=name, storage=opened.backend)
        stored = study.user_attrs.get(SPEC)
        if stored is None:
            raise SearchError(f"study {name!r} in {public_target(opened.target)} was not made by qwerties")
        search = Search.from_dict(stored)
        return Found(name, search, _plain(study.get_trials(deepcopy=False), name, search))


def names(storage: str | Path) -> list[str]:
    """Names of the studies that were made here, sorted."""
    with closing(open_storage(storage)) as opened:
        return sorted(
            study.study_name for study in opened.backend.get_all_studies() if SPEC in study.user_attrs
        )


def importances(found: Found, objective: int = 0) -> dict[str, float]:
    """Share of each parameter in what sets the best tenth of the trials apart, largest first; they sum to 1.

    By PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), Optuna's default: it takes parameters that are part of some
    trials only, has no seed, and asks what was needed to be good rather than what moved the score anywhere, as fANOVA
    does. Empty where fewer than 20 trials are complete: their best tenth would be a single one.
    """
    if len(found.complete) < 20:
        return {}
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        create_trial(
            value=loss,
            params=trial.params,
            distributions={name: _distribution(found.search.space[name]) for name in trial.params},
        )
        for trial, loss in zip(found.complete, found.losses[:, objective], strict=True)
    )
    return {name: float(share) for name, share in optuna.importance.get_param_importances(study).items()}


def _plain(held: Sequence[FrozenTrial], name: str, search: Search) -> tuple[Trial, ...]:
    trials = []
    for frozen in held:
        if OWNER not in frozen.user_attrs or frozen.state not in STATES:
            raise SearchError(
                f"study {name!r} must hold its own trials alone, got one of others: {frozen.number}"
            )
        trials.append(
            Trial(
                number=frozen.number,
                batch=frozen.number // search.batch,
                params={key: frozen.params[key] for key in search.space if key in frozen.params},
                state=STATES[frozen.state],
                values=tuple(frozen.values) if frozen.state == TrialState.COMPLETE else None,
                started=frozen.datetime_start,
                finished=frozen.datetime_complete,
            )
        )
    return tuple(trials)


# Searching


def check(search: Search, name: str, storage: str | Path) -> None:
    """Create a study, or make sure that the one of that name searches the same thing.

    Raises
    ------
    SearchError
        As :func:`run` does.
    """
    with closing(open_storage(storage)) as opened:
        _open_study(search, name, opened)


def run(
    search: Search,
    name: str,
    storage: str | Path,
    evaluate: Evaluate,
    told: Callable[[list[Trial]], None] | None = None,
) -> Found:
    """Search until the budget is spent: create the study, or go on where it stands, alone or beside others.

    Parameters
    ----------
    search : Search
    name : str
        Of the study.
    storage : str or Path
        As :func:`open_storage` takes it.
    evaluate : callable
        Takes the parameters of a whole batch (or of this process's part of it), and returns for each its value, or one
        value per objective; None, or a number that is not finite, says that it diverged. Where it raises, its trials
        are left to the next one.
    told : callable, optional
        Called with the trials that this process has told, after each call of ``evaluate``. A process may die between
        the two: what must not miss a trial goes through :attr:`Found.trials` afterwards.

    Returns
    -------
    Found
        The study with all of its trials, whoever evaluated them.

    Raises
    ------
    SearchError
        If the storage cannot be opened, the study of that name searches something else, or ``evaluate`` returns
        something else than it should.
    """
    with closing(open_storage(storage)) as opened:
        worker = _Worker(opened, _open_study(search, name, opened), search)
        with worker.signed_on():
            return Found(name, search, _work(worker, search, evaluate, told))


def _work(
    worker: _Worker, search: Search, evaluate: Evaluate, told: Callable[[list[Trial]], None] | None
) -> tuple[Trial, ...]:
    """Take, evaluate and tell until all is done; returns all trials."""
    batch, proposals, pause = -1, list[dict[str, Any]](), 0.01
    while wanted := _in_hand(search, trials := worker.trials()):
        if wanted.start // search.batch != batch:
            batch, pause = wanted.start // search.batch, 0.01
            proposals = propose(search, batch, trials[: wanted.start])
        if mine := worker.take(wanted, proposals):
            worker.evaluate(mine, evaluate)
            if told is not None:
                trials = worker.trials()
                told([trials[number] for number in mine])
        else:  # the rest of the batch is with others
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
    return trials


def _in_hand(search: Search, trials: Sequence[Trial]) -> range:
    """Numbers of the first batch that is not through; empty where all are."""
    running = (trial.number for trial in trials[: search.trials] if trial.state == "running")
    first = next(running, len(trials))
    start = first // search.batch * search.batch
    return range(start, min(start + search.batch, search.trials)) if first < search.trials else range(0)


def _open_study(search: Search, name: str, storage: Storage) -> optuna.Study:
    """Create the study, or check that it searches the same thing."""
    if not name or not isinstance(name, str):
        raise SearchError(f"name must be some text, got {name!r}")
    with storage.lock():
        study = _study(search, study_name=name, storage=storage.backend, load_if_exists=True)
        stored = study.user_attrs.get(SPEC)
        if stored is None:  # new, or its maker died on the way
            directions = tuple(direction.name.lower() for direction in study.directions)
            if study.get_trials(deepcopy=False) or directions != search.directions:
                raise SearchError(_advise("was not made by this search", name, storage))
            study.set_user_attr(SPEC, search.to_dict())
            return study
        there = Search.from_dict(stored)
        if differences := there.differences(search):
            raise SearchError(_advise(f"searches something else: {'; '.join(differences)}", name, storage))
        if search.trials < there.trials:
            raise SearchError(
                f"trials must be at least the {there.trials} that study {name!r} is planned with, got {search.trials}"
            )
        if search.trials > there.trials:
            study.set_user_attr(SPEC, search.to_dict())
    return study


def _advise(what: str, name: str, storage: Storage) -> str:
    where = public_target(storage.target)
    return (
        f"study {name!r} in {where} {what}. Give the study another name, or delete it with "
        f"`optuna delete-study --study-name {shlex.quote(name)} --storage {shlex.quote(where)}`"
    )


_AT_WORK: set[str] = set()
"""Signatures of this process's own workers."""


@dataclass
class _Worker:
    """One process at one study."""

    storage: Storage
    study: optuna.Study
    search: Search
    signature: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    )
    heard: dict[str, tuple[str, float]] = field(
        default_factory=dict
    )  # of others: last sign of life, and when

    def held(self) -> list[FrozenTrial]:
        """All trials as the storage holds them; notes the signs of life of those who evaluate some."""
        held = self.study.get_trials(deepcopy=False)
        signs: dict[str, str] = {}
        for frozen in held:
            if frozen.state == TrialState.RUNNING:
                owner = frozen.user_attrs.get(OWNER, "")
                signs[owner] = f"{signs.get(owner, '')} {frozen.number}:{frozen.user_attrs.get(BEAT)}"
        for owner, sign in signs.items():
            if owner not in self.heard or self.heard[owner][0] != sign:
                self.heard[owner] = (sign, time.monotonic())
        return held

    def trials(self) -> tuple[Trial, ...]:
        """All trials as they stand."""
        return _plain(self.held(), self.study.study_name, self.search)

    @contextlib.contextmanager
    def signed_on(self) -> Iterator[None]:
        """Be one of those among whom a batch is shared."""
        _AT_WORK.add(self.signature)
        try:
            with self.storage.lock():
                self.study.set_user_attr(WORKERS, [*self.colleagues(), self.signature])
            yield
        finally:
            _AT_WORK.discard(self.signature)
            with contextlib.suppress(*FAILURES), self.storage.lock():
                self.study.set_user_attr(WORKERS, self.colleagues())

    def colleagues(self) -> list[str]:
        """Signatures of the others who work on the study, as far as one can tell."""
        signed = self.study.user_attrs.get(WORKERS, [])
        return [other for other in signed if other != self.signature and not self.is_gone(other)]

    def is_gone(self, owner: str) -> bool:
        """Whether nobody works under a signature."""
        host, _, rest = owner.partition(":")
        pid = rest.partition(":")[0]
        if not pid:
            return True  # let go
        if host == socket.gethostname() and (
            owner not in _AT_WORK if int(pid) == os.getpid() else has_ended(int(pid))
        ):
            return True
        return owner in self.heard and time.monotonic() - self.heard[owner][1] > SECONDS_WITHOUT_BEAT

    def take(self, wanted: range, proposals: Sequence[dict[str, Any]]) -> list[int]:
        """Take this process's share of a batch; returns the numbers of its trials."""
        mine: list[int] = []
        with self.storage.lock():
            held = self.held()
            share = -(-len(wanted) // (1 + len(self.colleagues())))
            for number in wanted:
                if len(mine) == share:
                    break
                if number >= len(held):
                    params = proposals[number - wanted.start]
                    space = {name: _distribution(self.search.space[name]) for name in params}
                    signed = {OWNER: self.signature}
                    self.study.add_trial(
                        create_trial(
                            state=TrialState.RUNNING, params=params, distributions=space, user_attrs=signed
                        )
                    )
                    mine.append(number)
                elif held[number].state == TrialState.RUNNING and self.is_gone(
                    held[number].user_attrs.get(OWNER, "")
                ):
                    self.mark(number, OWNER, self.signature)
                    mine.append(number)
        return mine

    def mark(self, number: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        backend = self.storage.backend
        study_id = backend.get_study_id_from_name(self.study.study_name)
        backend.set_trial_user_attr(
            backend.get_trial_id_from_study_id_trial_number(study_id, number), key, value
        )

    def evaluate(self, mine: Sequence[int], evaluate: Evaluate) -> None:
        """Evaluate one's trials and tell what came of them; lets go of those that it cannot tell."""
        left = list(mine)
        try:
            trials = self.trials()
            with self.heartbeat(mine[0]):
                answers = evaluate([dict(trials[number].params) for number in mine])
            for number, values in zip(mine, _checked(answers, len(mine), self.search), strict=True):
                self.tell(number, values)
                left.remove(number)
        except BaseException:
            with contextlib.suppress(*FAILURES):
                for number in left:
                    self.mark(number, OWNER, "")
            raise

    def tell(self, number: int, values: tuple[float, ...] | None) -> None:
        """Tell one trial, unless somebody who took it over was quicker."""
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.study.tell(number, values, state=state, skip_if_finished=True)

    @contextlib.contextmanager
    def heartbeat(self, number: int) -> Iterator[None]:
        """Say now and then, in one trial for all that are evaluated together, that their process is alive."""
        over = threading.Event()

        def beat() -> None:
            with contextlib.suppress(
                *FAILURES
            ):  # then the trials may be taken over, and are told all the same
                beats = 0
                while not over.wait(SECONDS_PER_BEAT):
                    beats += 1
                    self.mark(number, BEAT, f"{self.signature}:{beats}")

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _checked(answers: Sequence[Values], trials: int, search: Search) -> list[tuple[float, ...] | None]:
    """Values per trial as floats, None where one is missing or not finite."""
    if len(answers) != trials:
        raise SearchError(f"evaluate must return one answer for each of {trials} trials, got {len(answers)}")
    checked: list[tuple[float, ...] | None] = []
    for answer in answers:
        if answer is None:
            checked.append(None)
            continue
        values = np.atleast_1d(np.asarray(answer, float))
        if values.shape != (len(search.directions),):
            raise SearchError(
                f"evaluate must return {len(search.directions)} values per trial, got {answer!r}"
            )
        checked.append(tuple(values.tolist()) if np.isfinite(values).all() else None)
    return checked
