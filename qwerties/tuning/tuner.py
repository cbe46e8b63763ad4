"""Run the searches of a tuning and track them in MLflow: a run per search, below it a run per trial.

Optuna's storage is the truth. A batch is trained, stored there, and then tracked. The next sweep trains finished trials
without a run once more, which gives the same numbers. All searches of a tuning go on side by side, a batch of each at a
time, so that workers train for one while another is told and tracked.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FixedTrial, FrozenTrial

from qwerties.analysis.searches import (
    IMPORTANCE,
    OBJECTIVES,
    SUGGESTED,
    TrackedSearch,
    progress_of,
    read_search,
)
from qwerties.config import Config, Seeds
from qwerties.errors import FailedError, reason_of, without_passwords
from qwerties.execution.signals import finishing_first
from qwerties.execution.workers import Workers, run_tasks
from qwerties.study.plan import is_whole_trial, runs_of_search
from qwerties.study.sweep_lock import is_abandoned, sweep_lock
from qwerties.tracking.records import Record, Series, curve_epochs
from qwerties.tracking.store import Store
from qwerties.tracking.tags import NOTE, SOURCE, SPEC, STUDY, SUPERSEDED, TRIAL, VERSION, WINNER
from qwerties.tuning import storage as storages
from qwerties.tuning.declaration import SearchError, Tuning
from qwerties.tuning.plan import plan_tags, winners_of, write_plan
from qwerties.tuning.search import Proposal, Search, config_of, make_searches, propose

if TYPE_CHECKING:
    from qwerties.tuning.trials import TrialResult

SMALL = 2_000_000  # network-epochs of a search below which starting worker processes costs more than it saves

Step = Callable[[int, int], None]
Later = Callable[[Callable[[], None]], None]


def run_searches(
    experiment_name: str,
    tuning: Tuning,
    store: Store,
    storage: str | Path,
    n_seeds: int,
    *,
    workers: int,
    step: Step = lambda done, of: None,
    log: Callable[[str], None] = lambda line: None,
    later: Later = lambda work: work(),
) -> dict[str, Config]:
    """Run what is missing of a tuning's searches, and return the config that each chose by `Search.confirmed_as`.

    Parameters
    ----------
    experiment_name, tuning, store
    storage : str or Path
        Optuna's storage, as `storage.open_storage` takes it.
    n_seeds : int
        Seeds per config of the sweep.
    workers : int
        Processes that train.
    step : callable
        Takes the number of tracked trials of all searches, and their budget.
    log : callable
        Takes a line for the user.
    later : callable
        Takes the work that is left when a search's winner is known: pictures, and the end of its run. By default it is
        done at once; the next sweep does what is never done.

    Raises
    ------
    UsageError
        If an arm's space raises or is of no use, the storage holds a search of another space, or all trials
        diverged. Other experiments are not concerned.
    WorkerLostError
        If a worker process was killed again and again; tracked trials stay.
    FailedError
        If the storage fails.
    """
    try:
        searches = make_searches(experiment_name, tuning, n_seeds)
        experiment_id, tags = store.experiments().get(experiment_name, ("", {}))
        runs = store.runs(experiment_id) if experiment_id else []
        winners = winners_of(searches, runs, store)
        is_planned = plan_tags(tuning, searches, n_seeds).items() <= tags.items()
        if len(winners) < len(searches) or not is_planned:
            experiment_id = store.experiment(experiment_name, {})
            with sweep_lock(
                store, [experiment_id], lambda holder: log(f"waiting for another sweep, {holder}, to end")
            ) as check_turn:
                session = _Session(
                    experiment_name, store, experiment_id, str(storage), workers, step, later, check_turn
                )
                return _search_all(tuning, searches, n_seeds, session)
        return winners
    except SearchError as error:
        raise SearchError(f"experiments/{experiment_name}.py: {error}") from None
    except optuna.exceptions.OptunaError as error:
        raise FailedError(
            f"the storage of searches failed, the same command goes on from there: {reason_of(error)}"
        ) from None


@dataclass(frozen=True)
class _Session:
    """What all searches of one call share."""

    experiment_name: str
    store: Store
    experiment_id: str
    storage: str
    workers: int
    step: Step
    later: Later
    check_turn: Callable[[], None]


def _search_all(
    tuning: Tuning, searches: Sequence[Search], n_seeds: int, session: _Session
) -> dict[str, Config]:
    """Write the plan, then run every search that is not finished; to be called under the lock."""
    store = session.store
    runs = store.runs(session.experiment_id)
    winners = winners_of(searches, runs, store)
    unfinished = [search for search in searches if search.confirmed_as not in winners]
    with storages.open_storage(session.storage) if unfinished else nullcontext() as storage:
        # all are checked before anything is written or trained
        studies = [storages.open_study(search, storage, session.storage) for search in unfinished if storage]
        write_plan(session.experiment_name, tuning, searches, n_seeds, store, runs)
        store.end_abandoned(runs, is_abandoned)
        on_the_way = [
            _SearchRun(search, study, session) for search, study in zip(unfinished, studies, strict=True)
        ]
        for run in on_the_way:
            run.begin()
        while batches := [(run, batch) for run in on_the_way if (batch := run.next_batch())]:
            for run, batch, results in _train(batches, session.workers):
                run.take(batch, results)
                session.step(
                    sum(len(r.tracked) for r in on_the_way), sum(r.search.tuning.trials for r in on_the_way)
                )
        chosen = [(run.search, run.end()) for run in on_the_way]
    for search, winner in chosen:
        if winner is None:
            raise SearchError(
                f"every trial of {search.label} diverged: its space must hold configs that do not"
            )
        winners[search.confirmed_as] = winner
    # In the order of the plan, however often the searches were interrupted
    return {search.confirmed_as: winners[search.confirmed_as] for search in searches}


def _train(
    batches: Sequence[tuple[_SearchRun, list[Proposal]]], n_workers: int
) -> Iterator[tuple[_SearchRun, list[Proposal], list[TrialResult]]]:
    """Train a batch of each search, each structure split over the workers; yield a batch when it is done."""
    from qwerties.tuning.trials import train_trials

    work = sum(
        run.search.tuning.trials * len(run.search.seeds) * np.mean([c.epochs for c in run.search.examples])
        for run, _ in batches
    )
    workers = 1 if work <= SMALL else n_workers
    tasks: list[tuple[list[Config], Seeds]] = []
    owners: list[int] = []  # of each task: index of its batch
    for owner, (run, batch) in enumerate(batches):
        groups: dict[tuple[Any, ...], list[Config]] = {}
        for config in dict.fromkeys(proposal.config for proposal in batch):
            groups.setdefault((config.batch_key, config.epochs), []).append(config)
        for configs in groups.values():
            parts = min(workers, len(configs))
            tasks += [(configs[i::parts], run.search.seeds) for i in range(parts)]
            owners += [owner] * parts
    missing = Counter(owners)
    results: list[dict[Config, TrialResult]] = [{} for _ in batches]
    for index, part in run_tasks(train_trials, tasks, Workers(workers)):
        owner = owners[index]
        results[owner] |= {result.config: result for result in part}
        missing[owner] -= 1
        if not missing[owner]:
            run, batch = batches[owner]
            yield run, batch, [results[owner][proposal.config] for proposal in batch]


@dataclass
class _SearchRun:
    """One search on its way from Optuna's storage into MLflow."""

    search: Search
    study: optuna.Study
    session: _Session
    run_id: str = ""
    tracked: set[int] = field(default_factory=set)
    started: datetime.datetime = field(default_factory=datetime.datetime.now)  # of the batch in hand

    def _proposal(self, number: int, trial: FrozenTrial) -> Proposal:
        """Return a finished trial as it was proposed."""
        config = config_of(self.search.arm, FixedTrial(trial.params))
        return Proposal(number, trial.params, trial.distributions, config)

    def next_batch(self) -> list[Proposal]:
        """Return finished trials without a run, else the unfinished ones of the first batch that has some.

        It is empty where the budget is spent and tracked.
        """
        self.started = datetime.datetime.now()
        trials, size = storages.finished_trials(self.study), self.search.tuning.batch
        if untracked := sorted(trials.keys() - self.tracked)[:size]:
            return [self._proposal(number, trials[number]) for number in untracked]
        todo = [number for number in range(self.search.tuning.trials) if number not in trials]
        if not todo:
            return []
        start = todo[0] // size * size
        proposals = propose(self.search, [trials[number] for number in range(start)])
        return [proposal for proposal in proposals if proposal.number in todo]

    def take(self, batch: Sequence[Proposal], results: Sequence[TrialResult]) -> None:
        """Store what a batch scored, then write a run for each of its trials."""
        values = [result.objectives(self.search.tuning.objectives) for result in results]
        storages.tell(self.study, batch, values, self.started)
        for proposal, result in zip(batch, results, strict=True):
            epochs = curve_epochs(result.config.epochs)
            record = Record(
                name=f"trial {proposal.number}: {result.config.label()}",
                params=result.config.to_params(),
                metrics=result.metrics,
                tags={
                    **self._common_tags(),
                    TRIAL: str(proposal.number),
                    SUGGESTED: json.dumps(proposal.params),
                },
                series={"train_loss": Series(epochs, result.losses[epochs - 1])},
                status="FAILED" if result.is_diverged else "FINISHED",
            )
            self.session.check_turn()
            with finishing_first():
                self.session.store.write(self.session.experiment_id, record, parent=self.run_id)
                self.tracked.add(proposal.number)

    def begin(self) -> None:
        """Go on with the search's run and those of its trials that agree with the storage, or begin a new one."""
        store, runs = self.session.store, self.session.store.runs(self.session.experiment_id)
        run, children = runs_of_search(self.search.name, runs)
        finished = {
            str(number): self._proposal(number, trial).config.to_params()
            for number, trial in storages.finished_trials(self.study).items()
        }
        for child in children:
            if run is None or child.parent != run.run_id:
                store.tag_run(child.run_id, SUPERSEDED, "the run of its search was deleted")
            elif not is_whole_trial(child):
                store.tag_run(child.run_id, SUPERSEDED, "it was not written to its end")
            elif finished.get(child.tags[TRIAL]) == child.params:
                self.tracked.add(int(child.tags[TRIAL]))
            else:  # the study was deleted from the storage and created again
                for old in (run, *children):
                    store.tag_run(old.run_id, SUPERSEDED, "its trials are not in Optuna's storage any more")
                self.tracked, run = set(), None
                break
        if run is None:
            self.run_id = store.begin(self.session.experiment_id, self._record())
        else:
            self.run_id = run.run_id
            params = {name: value for name, value in self._record().params.items() if name not in run.params}
            store.resume(run.run_id, params)  # a writer may have been killed before it wrote them

    def _common_tags(self) -> dict[str, str]:
        return {
            STUDY: self.search.name,
            VERSION: version("qwerties"),
            SOURCE: f"experiments/{self.session.experiment_name}.py",
        }

    def _record(self) -> Record:
        search, target = self.search, without_passwords(self.session.storage)
        return Record(
            name=f"search: {search.label}",
            params={
                "study": search.name,
                "sampler": search.sampler,
                "search_seed": str(search.tuning.seed),
                "tuning_seeds": str(search.seeds),
                "objectives": ", ".join(search.tuning.objectives),
                "searched": ", ".join(search.distributions),
                "storage": target if "://" in target else Path(target).name,
            },
            metrics={},
            tags={
                **self._common_tags(),
                NOTE: f"A search: {search.label}, {search.tuning.trials} trials, each on seeds {search.seeds}. The "
                "runs below are its trials; the best trial's config is confirmed on fresh seeds, in a run of its own.",
            },
        )

    def end(self) -> Config | None:
        """Return the winner; leave importances, pictures and the end of the search's run for later.

        Where every trial diverged, the run fails, and there is none.
        """
        tracked = read_search(self.search.spec(), self.session.store.runs(self.session.experiment_id))
        counts = {
            "trials": float(len(tracked.trials)),
            "trials_failed": float(tracked.n_failed),
            "budget": float(tracked.n_trials),
        }
        if tracked.winner is None:
            self.session.store.end(self.run_id, Record("", {}, dict(counts), status="FAILED"))
            return None
        finished = storages.finished_trials(self.study)
        self.session.later(functools.partial(self._finish, tracked, counts, finished))
        return tracked.winner

    def _finish(
        self, tracked: TrackedSearch, counts: Mapping[str, float], finished: Mapping[int, FrozenTrial]
    ) -> None:
        from qwerties.plotting import search as figures

        best, objectives = tracked.best, tracked.objectives
        shares = storages.importances(finished, OBJECTIVES[objectives[0]])
        assert best is not None
        assert tracked.winner is not None
        record = Record(
            name="",
            params={},
            metrics={
                **counts,
                "best_trial": float(best["number"]),
                **{f"best_{name}": float(best[name]) for name in ("population_accuracy", "regret", "cost")},
                **{IMPORTANCE + name: share for name, share in shares.items()},
            },
            tags={
                SPEC: json.dumps(self.search.spec()),
                WINNER: json.dumps(tracked.winner.to_params()),
            },
            files=figures.study_pictures(
                progress_of(tracked.trials, objectives),
                self.search.distributions,
                objectives[0],
                shares,
                self.search.label,
            ),
        )
        with finishing_first():
            self.session.store.end(self.run_id, record)
