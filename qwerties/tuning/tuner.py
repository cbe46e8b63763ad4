"""Run a tuning's studies, and track them: a run per study, a run below it per trial.

A trial is told to the storage first and tracked while the next ones train. What a process that died in between left
untracked is trained once more, which gives the same numbers, so that every trial has its run once, whatever happened on
the way.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwerties.analysis.searches import WINNER, best_of, is_whole, progress_of, row_of, trial_frame
from qwerties.config import Config
from qwerties.execution.signals import finishing_first
from qwerties.execution.workers import Workers, run_tasks
from qwerties.scoring.digest import code_digest
from qwerties.study.chunks import CONTRASTS, contrasts_tags, contrasts_text
from qwerties.study.experiment import Experiment, plan_changes
from qwerties.study.plan import mark_late
from qwerties.study.search_space import Found, SearchError, Trial
from qwerties.study.sweep import history
from qwerties.study.sweep_lock import is_abandoned, sweep_lock
from qwerties.tracking.records import Record, Series, Tracked, curve_epochs
from qwerties.tracking.store import Store
from qwerties.tracking.tags import NOTE, SPEC, STUDY, SUPERSEDED, TRIAL, TUNING
from qwerties.tuning import search
from qwerties.tuning.declaration import Study, Tuning, spec_changes
from qwerties.tuning.locks import public_target

if TYPE_CHECKING:
    import pandas as pd

    from qwerties.tuning.trials import Outcome

SMALL = 2_000_000
"""Network-epochs of a study from which worker processes pay for their start."""

DELETED = "its study is not in the storage any more"

Step = Callable[[str, int, int], None]

Later = Callable[[Callable[[], None]], None]
"""Takes a piece of work, and does it, now or some time."""


def _now(work: Callable[[], None]) -> None:
    work()


@dataclass(frozen=True)
class Chosen:
    """What came of a tuning: the comparison on fresh seeds, and the config of every side that was tuned."""

    experiment: Experiment
    winners: Mapping[str, Config]


def tune(
    experiment_name: str,
    tuning: Tuning,
    store: Store,
    storage: str | Path,
    wanted: int,
    *,
    workers: int,
    step: Step = lambda label, done, of: None,
    tell: Callable[[str], None] = lambda line: None,
    later: Later = _now,
) -> Chosen:
    """Search for what is not found yet, and return the comparison on fresh seeds of all sides.

    Parameters
    ----------
    experiment_name : str
        Of the experiment's file.
    tuning : Tuning
    store : Store
    storage : str or Path
        Optuna's, as `search.open_storage` takes it.
    wanted : int
        Seeds per config that a sweep asks for.
    workers : int
        Processes that train.
    step : callable
        Called with a study's name in words, its trials done, and its budget.
    tell : callable
        Called with what there is to say besides, a line each.
    later : callable
        Given what is left to do when a study's winner is known: its pictures and figures, and its run's end. It does
        that at once, unless it is given another; what nobody does is done by the next sweep.

    Raises
    ------
    SearchError
        If a study of the storage searches something else than the file says.
    WorkerLostError
        If a worker process was killed; what is tracked stays.
    """
    planned = tuning.studies(experiment_name, wanted, code_digest())
    known = store.experiments().get(experiment_name)
    runs = store.runs(known[0]) if known else []
    if any(_finished(runs, study) is None for study in planned):
        if "://" not in str(storage):
            Path(storage).parent.mkdir(parents=True, exist_ok=True)
        for study in planned:  # before anything is written down or trained
            if _finished(runs, study) is None:
                search.check(study.search, study.name, storage)
    experiment_id = _register(experiment_name, tuning, planned, store, wanted, runs)
    winners = _winners(planned, runs)
    if len(winners) == len(planned):
        return Chosen(tuning.experiment(winners), winners)

    def waiting(holder: str) -> None:
        tell(f"waiting for another sweep, {holder}, to end")

    with sweep_lock(store, [experiment_id], waiting) as check_turn:
        runs = store.runs(experiment_id)
        store.end_abandoned(runs, is_abandoned)
        winners = _winners(planned, runs)
        for study in planned:
            if study.side not in winners:
                searcher = _Searcher(
                    experiment_name, study, store, storage, experiment_id, workers, step, later, check_turn
                )
                winners[study.side] = searcher.work()
    return Chosen(tuning.experiment(winners), winners)


def _winners(planned: Sequence[Study], runs: Sequence[Tracked]) -> dict[str, Config]:
    """The winners of the studies that are finished, by their sides."""
    finished = {study.side: _finished(runs, study) for study in planned}
    return {side: Config.from_params(json.loads(run.tags[WINNER])) for side, run in finished.items() if run}


def _spec(study: Study) -> str:
    return json.dumps(study.spec(), sort_keys=True)


def _run_of(runs: Sequence[Tracked], study: Study) -> Tracked | None:
    """The run of a study that counts, if there is one."""
    own = [
        run
        for run in runs
        if run.tags.get(STUDY) == study.name and TRIAL not in run.tags and SUPERSEDED not in run.tags
    ]
    return own[-1] if own else None


def _finished(runs: Sequence[Tracked], study: Study) -> Tracked | None:
    run = _run_of(runs, study)
    done = run is not None and run.status == "FINISHED" and run.tags.get(SPEC) == _spec(study)
    return run if done and run is not None and WINNER in run.tags else None


def _register(
    experiment_name: str,
    tuning: Tuning,
    planned: Sequence[Study],
    store: Store,
    wanted: int,
    runs: Sequence[Tracked],
) -> str:
    """Write down what is tuned and what will be compared, before any trial; returns the MLflow experiment's id."""
    before = store.experiments().get(experiment_name, ("", {}))[1]
    contrasts = mark_late([tuning.placeholder(pair) for pair in tuning.pairs()], before, lambda: runs)
    tags = {
        NOTE: tuning.question,
        "qwerties.title": tuning.title,
        "qwerties.question": tuning.question,
        "qwerties.order": str(tuning.order),
        TUNING: json.dumps(
            {"confirmation": tuning.confirmation(wanted), "studies": [s.spec() for s in planned]}
        ),
    }
    changed = plan_changes(contrasts_text(before), json.dumps(contrasts))
    if changed or CONTRASTS not in before:  # else the sides are known already, and the tag holds them
        tags |= contrasts_tags(contrasts)
    changed += spec_changes(before.get(TUNING, ""), tags[TUNING])
    data = sum(run.status == "FINISHED" and SUPERSEDED not in run.tags for run in runs)
    return store.experiment(
        experiment_name, {**tags, **(history(before, changed, data) if changed and data else {})}
    )


class _Searcher:
    """One study on its way through the storage into MLflow."""

    def __init__(
        self,
        experiment_name: str,
        study: Study,
        store: Store,
        storage: str | Path,
        experiment_id: str,
        workers: int,
        step: Step,
        later: Later,
        check_turn: Callable[[], None],
    ) -> None:
        self.check_turn = check_turn
        self.experiment_name, self.study, self.store, self.storage = experiment_name, study, store, storage
        self.experiment_id, self.step, self.later = experiment_id, step, later
        network_epochs = study.search.trials * len(study.seeds) * study.tuned.base.epochs
        self.workers = workers if network_epochs > SMALL else 1
        self.outcomes: dict[str, Outcome] = {}
        self.tracked: set[int] = set()
        self.untracked: deque[tuple[Trial, Outcome]] = deque()
        self.run_id = ""

    def work(self) -> Config:
        """Search until the budget is spent and every trial is tracked; returns the winner."""
        self.tracked = self._adopt()
        self.step(self.study.label, len(self.tracked), self.study.search.trials)
        found = search.run(self.study.search, self.study.name, self.storage, self._evaluate, self._told)
        self._track()
        missed = [trial for trial in found.trials if trial.number not in self.tracked]
        for _, group in itertools.groupby(missed, key=lambda trial: trial.batch):
            batch = list(group)
            self._evaluate([trial.params for trial in batch])
            self._told(batch)
        self._track()
        return self._choose(found)

    def _told(self, trials: list[Trial]) -> None:
        """Have trials tracked while the next ones train."""
        self.untracked += [(trial, self.outcomes[_key(trial.params)]) for trial in trials]

    def _adopt(self) -> set[int]:
        """Find or begin the study's run; returns the numbers of the trials that are tracked below it."""
        study, runs = self.study, self.store.runs(self.experiment_id)
        run = _run_of(runs, study)
        if run is not None:
            trials = search.load(study.name, self.storage).trials
            tracked: set[int] = set()
            for child in runs:
                if child.parent != run.run_id or TRIAL not in child.tags or SUPERSEDED in child.tags:
                    continue
                number = int(child.tags[TRIAL])
                if not is_whole(child):
                    self.store.tag_run(child.run_id, SUPERSEDED, "a run that was not written to its end")
                elif number < len(trials) and _same_config(child, study.tuned.config(trials[number].params)):
                    tracked.add(number)
                else:
                    self._supersede(run, runs)
                    break
            else:
                self.store.resume(run.run_id)
                self.run_id = run.run_id
                return tracked
        self.run_id = self.store.begin(self.experiment_id, self._study_record())
        return set()

    def _supersede(self, run: Tracked, runs: Sequence[Tracked]) -> None:
        for old in (run, *(child for child in runs if child.parent == run.run_id)):
            self.store.tag_run(old.run_id, SUPERSEDED, DELETED)

    def _study_record(self) -> Record:
        study = self.study
        target = public_target(str(self.storage))
        return Record(
            name=f"study: {study.label}",
            params={
                "study": study.name,
                "sampler": study.search.sampler,
                "search_seed": str(study.search.seed),
                "tuning_seeds": str(study.seeds),
                "objectives": ", ".join(study.tuned.objectives),
                "searched": ", ".join(study.tuned.space),
                "storage": target if "://" in target else Path(target).name,
            },
            metrics={},
            tags={
                **self._common(),
                STUDY: study.name,
                SPEC: _spec(study),
                NOTE: f"A study: {study.label}, {study.search.trials} trials, each on seeds {study.seeds}. The runs "
                "below are its trials; what it chose is confirmed on fresh seeds, in a run of its own.",
            },
        )

    def _common(self) -> dict[str, str]:
        return {
            "qwerties.version": version("qwerties"),
            "mlflow.source.name": f"experiments/{self.experiment_name}.py",
        }

    def _evaluate(self, batch: Sequence[Mapping[str, Any]]) -> list[tuple[float, ...] | None]:
        configs = [self.study.tuned.config(params) for params in batch]
        groups: dict[tuple[Any, ...], list[Config]] = {}
        for config in dict.fromkeys(configs):
            groups.setdefault((config.batch_key, config.epochs), []).append(config)
        tasks = [
            [members[i] for i in part]
            for members in groups.values()
            for part in np.array_split(np.arange(len(members)), min(self.workers, len(members)))
        ]
        done = {
            outcome.config: outcome
            for outcomes in _train(tasks, self.study, self.workers, self._track)
            for outcome in outcomes
        }
        self.outcomes = {_key(params): done[config] for params, config in zip(batch, configs, strict=True)}
        return [done[config].values(self.study.tuned.objectives) for config in configs]

    def _track(self) -> None:
        """Track what is told."""
        if not self.untracked:
            return
        while self.untracked:
            trial, outcome = self.untracked[0]
            config = outcome.config
            kept = curve_epochs(config.epochs)
            self.check_turn()
            with finishing_first():
                self.store.write(
                    self.experiment_id,
                    Record(
                        name=f"trial {trial.number}: {config.label([self.study.tuned.base]) or 'the base'}",
                        params=config.to_params(),
                        metrics=outcome.metrics,
                        tags={**self._common(), STUDY: self.study.name, TRIAL: str(trial.number)},
                        series={"train_loss": Series(kept, outcome.losses[kept - 1])},
                        status="FAILED" if outcome.diverged else "FINISHED",
                    ),
                    parent=self.run_id,
                )
                self.tracked.add(self.untracked.popleft()[0].number)
        self.step(self.study.label, len(self.tracked), self.study.search.trials)

    def _choose(self, found: Found) -> Config:
        """Find the winner; the rest of the study's run may be written later."""
        children = [run for run in self.store.runs(self.experiment_id) if run.parent == self.run_id]
        frame = trial_frame(children)
        best = best_of(frame, self.study.tuned.objectives)
        if best is None:
            self.store.end(self.run_id, Record("", {}, self._budget(found), status="FAILED"))
            raise SearchError(
                f"every trial of {self.study.label} diverged: its space must hold some that do not"
            )
        winner = self.study.tuned.config(found.trials[best].params)
        self.later(functools.partial(self._finish, found, frame, best, winner))
        return winner

    def _budget(self, found: Found) -> dict[str, float | None]:
        return {
            "trials": float(len(found.trials)),
            "trials_failed": float(len(found.failed)),
            "budget": float(found.search.trials),
        }

    def _finish(self, found: Found, frame: pd.DataFrame, best: int, winner: Config) -> None:
        from qwerties.plotting import search as study_figures

        row = row_of(frame, best)
        shares = search.importances(found)
        metrics = self._budget(found)
        metrics["best_trial"] = float(best)
        metrics |= {f"best_{name}": float(row[name]) for name in ("population_accuracy", "regret", "cost")}
        metrics |= {f"importance_{name}": share for name, share in shares.items()}
        params = [{"number": trial.number, **trial.params} for trial in found.trials]
        record = Record(
            name="",
            params={},
            metrics=metrics,
            tags={SPEC: _spec(self.study), WINNER: json.dumps(winner.to_params())},
            files=study_figures.study_pictures(
                progress_of(frame, self.study.tuned.objectives),
                params,
                self.study.tuned.space,
                self.study.tuned.objectives,
                shares,
                self.study.label,
            ),
        )
        with finishing_first():
            self.store.end(self.run_id, record)


def _same_config(child: Tracked, config: Config) -> bool:
    try:
        return Config.from_params(child.params) == config
    except ValueError:
        return False


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _train(
    tasks: Sequence[Sequence[Config]], study: Study, workers: int, meanwhile: Callable[[], None]
) -> list[list[Outcome]]:
    """Train the parts of a batch in worker processes of one thread each."""
    from qwerties.tuning.trials import train_trials

    parts = [(task, study.seeds) for task in tasks]
    return [outcomes for _, outcomes in run_tasks(train_trials, parts, Workers(workers), meanwhile=meanwhile)]
