"""``qwerties sweep``: train and track what is missing, decide the contrasts, write the report."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from qwerties.cli.parser import Parser, count
from qwerties.cli.progress import Progress
from qwerties.cli.project import enter_root, open_store
from qwerties.cli.report import write_report
from qwerties.errors import NothingTrackedError, UsageError, command, complain, plural
from qwerties.execution.workers import BACKENDS, DEVICES, Workers, cores
from qwerties.study.budget import check_slots
from qwerties.study.experiment import Experiment
from qwerties.study.loading import experiment_files, load_experiments, select_experiments

if TYPE_CHECKING:
    from qwerties.analysis.contrasts import ContrastResult, ExperimentResult
    from qwerties.config import Config
    from qwerties.tracking.store import Store
    from qwerties.tuning.declaration import Tuning

    Declared = Mapping[str, Experiment | Tuning]

SEEDS = 500  # per config, before contrasts that are open get more
MAX_SEEDS = 4000  # per config, at which a contrast stays open
LARGEST = 1_000_000  # number of seeds that can be asked for
SETTLE = ("primary", "all", "none")

DESCRIPTION = (
    "Train and track what is not tracked yet, then write the report. A sweep that was stopped goes on where "
    "it was; a finished one has nothing to do."
)
EXAMPLE = "qwerties sweep loss epochs --seeds 200"


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="files of experiments/ (default: all)")
    parser.option("--seeds", count(LARGEST), "N", "seeds per config", SEEDS)
    cap = f"most seeds per config; what is undecided then stays open (default: {MAX_SEEDS}, or --seeds if that is more)"
    parser.option("--max-seeds", count(LARGEST), "N", cap)
    parser.choice("--settle", SETTLE, "contrasts that get more seeds until they are decided")
    parser.option("--jobs", count(1024), "N", "worker processes (default: one per core)")
    parser.choice("--backend", BACKENDS, "who trains: processes of this machine, or a Dask cluster")
    parser.option(
        "--scheduler", str, "ADDRESS", "address of the Dask scheduler, such as tcp://127.0.0.1:8786"
    )
    parser.choice("--device", DEVICES, "device that trains; auto: a GPU where there is one")
    parser.flag(
        "--dry-run", "write and train nothing; say what would be trained, and about how long it takes"
    )
    parser.flag("--no-report", "do not write reports/summary.html")


def run(arguments: argparse.Namespace) -> int:
    """Train and track what is missing, then write the report; return 1 if a file of experiments/ is broken."""
    max_seeds = arguments.max_seeds or max(MAX_SEEDS, arguments.seeds)
    if max_seeds < arguments.seeds:
        raise UsageError(f"--max-seeds must be at least --seeds, {arguments.seeds}, got {max_seeds}")
    root = enter_root()
    names = select_experiments(arguments.names, [path.stem for path in experiment_files(root)])
    workers, device = _choose_workers(arguments)
    declared, problems = _load(root, names, arguments.seeds)
    status = 0
    if declared and arguments.dry_run:
        _forecast(declared, root, arguments, max_seeds, workers.count)
    elif declared:  # else no store is made, and the report stays as it is
        from qwerties.portability.relocate import database_of, is_new

        check_slots(declared, None)
        database = database_of(root)
        takes_seconds = database is not None and is_new(database)  # MLflow makes its tables
        meanwhile = workers.started("qwerties.study.runs") if takes_seconds else nullcontext()
        with meanwhile, open_store(root) as store:
            check_slots(declared, store)
            sweep = _Sweep(store, workers, device, arguments.seeds, max_seeds, arguments.settle)
            problems += sweep.run(declared, root)
        if not arguments.no_report:
            status = write_report(root, root / "reports" / "summary.html", only_if_changed=True)
        print(f"browse the runs: {command('ui')}")
    return max([status, *(complain(problem, 1) for problem in problems)])


def _load(root: Path, names: Sequence[str], n_seeds: int) -> tuple[dict[str, Experiment | Tuning], list[str]]:
    """Import experiment files; return what they declare, and why others are left out."""
    from qwerties.tuning.declaration import SearchError, Tuning

    declared, broken = load_experiments(root, names, (Experiment, Tuning))
    for name, declaration in list(declared.items()):
        if isinstance(declaration, Tuning):
            from qwerties.tuning.search import make_searches

            try:
                make_searches(name, declaration, n_seeds)
            except SearchError as error:  # of the space of an arm
                broken[name] = str(error)
                del declared[name]
    return declared, [f"experiments/{name}.py was left out: {error}" for name, error in broken.items()]


def _choose_workers(arguments: argparse.Namespace) -> tuple[Workers, str]:
    """Check that those who are to train can; return them, and the device: cpu or cuda."""
    workers = Workers(arguments.jobs or cores(), arguments.backend, arguments.scheduler)
    has_gpu = None
    if workers.scheduler is not None:
        from qwerties.execution import cluster

        has_gpu = cluster.check(workers.scheduler, tqdm.write)
    if arguments.device == "cpu":
        return workers, "cpu"
    from qwerties.execution import devices

    device = devices.choose(arguments.device, has_gpu)
    if device != "cpu" and not arguments.jobs and not workers.is_cluster:
        workers = Workers(min(workers.count, devices.SHARERS))  # no more than can share a GPU
    return workers, device


def _forecast(
    declared: Declared, root: Path, arguments: argparse.Namespace, max_seeds: int, n_workers: int
) -> None:
    """Say what a sweep would train, without making a store where there is none."""
    from qwerties.cli.forecast import forecast_table

    options = (declared, arguments.seeds, arguments.settle, max_seeds, n_workers)
    check_slots(declared, None)
    try:
        with open_store(root, reads=True) as store:
            check_slots(declared, store)
            print(forecast_table(store, *options))
    except NothingTrackedError:
        print(forecast_table(None, *options))


@dataclass(frozen=True)
class _Sweep:
    """The store, and who trains how much."""

    store: Store
    workers: Workers
    device: str
    n_seeds: int
    max_seeds: int
    settle: str

    def run(self, declared: Declared, root: Path) -> list[str]:
        """Search, train and decide; return why searches cannot be run."""
        from qwerties.tuning.declaration import SearchError

        experiments: dict[str, Experiment] = {}
        winners: dict[str, Config] = {}
        left: list[Callable[[], None]] = []  # to be done for the searches while others work
        problems: list[str] = []
        for name, declaration in declared.items():
            if isinstance(declaration, Experiment):
                experiments[name] = declaration
                continue
            try:
                chosen = self.search(name, declaration, root, left.append)
            except SearchError as error:
                problems.append(str(error))
                continue
            experiments[name] = declaration.experiment(chosen)
            if declaration.champion is not None:
                winners[name] = chosen[declaration.champion]

        def finish() -> None:
            for work in left:
                work()

        if experiments:
            if not self.train(experiments, meanwhile=finish):
                n_configs = sum(len(experiment.configs) for experiment in experiments.values())
                print(f"nothing to do: {plural(n_configs, 'planned config')}, all tracked")
            self.decide(experiments, self.settle)
        for name, winner in winners.items():
            self.challenge(name, winner)
        return problems

    def search(
        self, name: str, tuning: Tuning, root: Path, later: Callable[[Callable[[], None]], None]
    ) -> Mapping[str, Config]:
        """Run the searches of a tuning; return the configs that they chose."""
        from qwerties.tuning.storage import default_storage
        from qwerties.tuning.tuner import run_searches

        with Progress(name, 1) as progress:
            return run_searches(
                name,
                tuning,
                self.store,
                default_storage(root),
                self.n_seeds,
                workers=self.workers.count,  # of this machine, also where a cluster trains: trials are small
                step=lambda done, n: progress.show(f"{done}/{n} trials", done, n),
                log=tqdm.write,
                later=later,
            )

    def train(
        self,
        experiments: Mapping[str, Experiment],
        more: Mapping[str, Mapping[Config, int]] | None = None,
        label: str = "sweep",
        meanwhile: Callable[[], None] = lambda: None,
    ) -> bool:
        """Train and track what is missing, and say so; return whether anything was."""
        from qwerties.study import sweep as sweeping

        started = time.perf_counter()

        def show(state: sweeping.Progress) -> None:
            if state.runs_planned:
                share = state.cost / state.cost_planned
                rate = share * state.networks_planned / (time.perf_counter() - started)
                networks = f"{state.networks:,}/{state.networks_planned:,} networks, {rate:,.0f}/s"
                progress.show(f"{state.runs}/{state.runs_planned} runs, {networks}", share)

        with Progress(label, 1.0, stay=True) as progress:
            done = sweeping.sweep(
                experiments,
                self.store,
                self.n_seeds,
                workers=self.workers,
                device=self.device,
                progress=show,
                more=more or {},
                log=tqdm.write,
                meanwhile=meanwhile,
            )
        if done.runs:  # else all are tracked, perhaps by another sweep
            print(
                f"{plural(done.runs, 'run')} of {plural(done.configs_planned, 'planned config')} tracked, "
                f"{plural(done.networks, 'network')} trained in {time.perf_counter() - started:.0f} s"
            )
        return done.runs > 0

    def decide(self, experiments: Mapping[str, Experiment], settle: str) -> None:
        """Train more seeds of the arms of open contrasts, until all are decided or at the cap."""
        from qwerties.analysis.contrasts import load_results
        from qwerties.analysis.topup import gets_more, next_step

        names = [
            name
            for name, declared in experiments.items()
            if any(gets_more(c, settle) for c in declared.contrasts)
        ]
        if not names:
            return
        results: dict[str, ExperimentResult] = {}
        trained: Mapping[str, Mapping[Config, int]] = {}
        while True:  # after the first step, only those experiments are read that got more seeds
            read = load_results(self.store, trained or names)
            results |= {result.coverage.experiment_name: result for result in read}
            step = next_step(results.values(), settle, self.max_seeds)
            if step.more in ({}, trained):
                break
            print(f"{step.words} ({_arms(step.open)})")
            self.train({name: experiments[name] for name in step.more}, step.more, step.words)
            trained = step.more
        kind = "primary contrasts" if settle == "primary" else "contrasts"
        if step.decided:
            print(f"{kind} decided: {step.decided}")
        if undecided := (*step.open, *step.capped):
            where = f"at the cap of {self.max_seeds:,} seeds: {len(undecided)} ({_arms(undecided)})"
            print(f"{kind} open {where}")

    def challenge(self, experiment_name: str, winner: Config) -> None:
        """Register the network of a search's winner, if that config beats the registered one."""
        from qwerties.tuning.champion import challenge

        def train_and_decide(experiments: Mapping[str, Experiment]) -> None:
            self.train(experiments)
            settle = "none" if self.settle == "none" else "all"  # topped up like any contrast
            self.decide(experiments, settle)

        if message := challenge(experiment_name, winner, self.store, train_and_decide):
            print(message)


def _arms(contrasts: Iterable[ContrastResult]) -> str:
    return "; ".join(
        f"{contrast.experiment_name}: {contrast.sides}{f' ({contrast.where})' if contrast.where else ''}"
        for contrast in contrasts
    )
