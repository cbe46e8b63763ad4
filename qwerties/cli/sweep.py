"""``qwerties sweep``: train and track what is missing, decide the contrasts, write the report."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from qwerties.cli.parser import add_command, count
from qwerties.cli.progress import Progress
from qwerties.cli.project import enter_root, is_empty, open_store
from qwerties.cli.report import write_report
from qwerties.errors import UsageError, complain
from qwerties.execution.workers import BACKENDS, DEVICES, Workers, cores
from qwerties.study.loading import experiment_files, load_experiments, select_experiments

if TYPE_CHECKING:
    from qwerties.analysis.contrasts import ContrastResult
    from qwerties.config import Config
    from qwerties.study import sweep as sweeping
    from qwerties.study.experiment import Experiment
    from qwerties.tracking.store import Store
    from qwerties.tuning.declaration import Tuning

    Declared = Mapping[str, Experiment | Tuning]

SEEDS = 500  # per config, before contrasts that are open get more
MAX_SEEDS = 4000  # per config, at which a contrast stays open
LARGEST = 1_000_000  # number of seeds that can be asked for
SETTLE = ("primary", "all", "none")


def add(commands: Any) -> None:
    """Add the command to the parser of ``qwerties``."""
    parser = add_command(
        commands,
        "sweep",
        run,
        "train and track what is not tracked yet, then write the report",
        "qwerties sweep loss epochs --seeds 200",
        "A sweep that was stopped goes on where it was; a finished one has nothing to do.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="files of experiments/ (default: all)")
    parser.option("--seeds", count(LARGEST), "N", "seeds per config", SEEDS)
    cap = (
        f"seeds per config at which a contrast stays open (default: {MAX_SEEDS}, or --seeds if that is more)"
    )
    parser.option("--max-seeds", count(LARGEST), "N", cap)
    parser.choice("--settle", SETTLE, "contrasts that get more seeds until they are decided")
    parser.option("--jobs", count(1024), "N", "worker processes (default: one per core)")
    parser.choice("--backend", BACKENDS, "who trains: processes of this machine, or a Dask cluster")
    parser.option("--scheduler", str, "ADDRESS", "of the Dask cluster, such as tcp://127.0.0.1:8786")
    parser.choice("--device", DEVICES, "what trains; auto: a GPU where there is one")
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
    declared, broken = _load(root, names)
    if not declared:  # no store is made, and the report stays as it is
        return _complain_of(broken)
    _check_slots(declared, None)
    if arguments.dry_run:
        _print_forecast(declared, root, arguments, max_seeds, workers.count)
        return _complain_of(broken)
    with open_store(root) as store:
        _check_slots(declared, store)
        train = partial(_train, store=store, n_seeds=arguments.seeds, workers=workers, device=device)
        experiments, winners, finish = _search(declared, store, root, arguments.seeds, workers.count)
        configs = train(experiments, meanwhile=finish)
        if configs is not None and experiments:
            print(f"nothing to do: all {configs} planned configs are tracked")
        if arguments.settle != "none" and experiments:
            _decide(experiments, store, train, arguments.settle, max_seeds)
        for experiment_name, winner in winners.items():
            _challenge(experiment_name, winner, store, train, arguments.settle, max_seeds)
    status = 0
    if not arguments.no_report:
        status = write_report(root, root / "reports" / "summary.html", only_if_changed=True)
    print("browse the runs: make ui")
    return max(status, _complain_of(broken))


def _load(root: Path, names: list[str]) -> tuple[Declared, dict[str, str]]:
    """Import experiment files; return what they declare, and the problems of the others."""
    from qwerties.study.experiment import Experiment
    from qwerties.tuning.declaration import Tuning

    return load_experiments(root, names, (Experiment, Tuning))


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


def _check_slots(declared: Declared, store: Store | None) -> None:
    """Refuse more primary contrasts than the study's error budget has slots for."""
    from qwerties.study.budget import check_slots

    counts = {name: sum(c.primary for c in experiment.contrasts) for name, experiment in declared.items()}
    stored = {} if store is None else {name: tags for name, (_, tags) in store.experiments().items()}
    try:
        check_slots(counts, stored)
    except ValueError as error:
        raise UsageError(error) from None


def _print_forecast(
    declared: Declared, root: Path, arguments: argparse.Namespace, max_seeds: int, n_workers: int
) -> None:
    """Say what a sweep would train, without making a store where there is none."""
    from qwerties.cli.forecast import forecast_table

    with nullcontext() if is_empty(root) else open_store(root, reads=True) as store:
        _check_slots(declared, store)
        print(forecast_table(declared, store, arguments.seeds, arguments.settle, max_seeds, n_workers))


def _complain_of(broken: Mapping[str, str]) -> int:
    """Name every experiment file that does not work, and why; return the exit status."""
    for name, error in broken.items():
        complain(f"experiments/{name}.py was left out: {error}", 1)
    return 1 if broken else 0


def _train(
    experiments: Mapping[str, Experiment],
    *,
    store: Store,
    n_seeds: int,
    workers: Workers,
    device: str,
    more: Mapping[str, Mapping[Config, int]] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
    label: str = "sweep",
) -> int | None:
    """Train and track what is missing, and say so; return the number of planned configs where nothing was."""
    from qwerties.study import sweep as sweeping

    started = time.perf_counter()
    with Progress(label, 1.0, stay=True) as progress:
        done = sweeping.sweep(
            experiments,
            store,
            n_seeds,
            workers=workers,
            device=device,
            progress=partial(_show, progress, started),
            more=more or {},
            log=tqdm.write,
            meanwhile=meanwhile,
        )
    if not done.runs:  # all tracked, perhaps by another sweep
        return done.configs_planned
    print(
        f"{done.runs} runs of {done.configs_planned} planned configs tracked, {done.networks:,} networks trained "
        f"in {time.perf_counter() - started:.0f} s"
    )
    return None


def _show(progress: Progress, started: float, state: sweeping.Progress) -> None:
    """Show how far a sweep is, in shares of its cost."""
    if not state.runs_planned:
        return
    share = state.cost / state.cost_planned
    rate = share * state.networks_planned / (time.perf_counter() - started)
    runs = f"{state.runs}/{state.runs_planned} runs"
    progress.show(f"{runs}, {state.networks:,}/{state.networks_planned:,} networks, {rate:,.0f}/s", share)


def _search(
    declared: Declared, store: Store, root: Path, n_seeds: int, n_processes: int
) -> tuple[dict[str, Experiment], dict[str, Config], Callable[[], None]]:
    """Run the hyperparameter searches.

    Returns
    -------
    dict
        All experiments with their configs.
    dict
        The winners to be registered.
    callable
        What is left to do for the searches, while others work.
    """
    from qwerties.study.experiment import Experiment

    experiments: dict[str, Experiment] = {}
    winners: dict[str, Config] = {}
    left: list[Callable[[], None]] = []
    for experiment_name, declaration in declared.items():
        if isinstance(declaration, Experiment):
            experiments[experiment_name] = declaration
            continue
        from qwerties.tuning.storage import default_storage
        from qwerties.tuning.tuner import run_searches

        with Progress(experiment_name, 1) as progress:
            result = run_searches(
                experiment_name,
                declaration,
                store,
                default_storage(root),
                n_seeds,
                workers=n_processes,  # of this machine, also where a cluster trains: trials are small
                step=partial(_show_trials, progress),
                log=tqdm.write,
                later=left.append,
            )
        experiments[experiment_name] = result.experiment
        if declaration.champion is not None:
            winners[experiment_name] = result.winners[declaration.champion]

    def finish() -> None:
        for step in left:
            step()

    return experiments, winners, finish


def _show_trials(progress: Progress, search_name: str, done: int, total: int) -> None:
    progress.show(f"{search_name}: {done}/{total} trials", done, total)


def _challenge(
    experiment_name: str, winner: Config, store: Store, train: Callable[..., Any], settle: str, max_seeds: int
) -> None:
    """Register the network of a search's winner, if that config beats the registered one."""
    from qwerties.tuning.champion import challenge

    def train_and_decide(experiments: Mapping[str, Experiment]) -> None:
        train(experiments)
        if settle != "none":  # a challenge is topped up like any contrast
            _decide(experiments, store, train, "all", max_seeds)

    if message := challenge(experiment_name, winner, store, train_and_decide):
        print(message)


def _decide(
    experiments: Mapping[str, Experiment],
    store: Store,
    train: Callable[..., Any],
    settle: str,
    max_seeds: int,
) -> None:
    """Train more seeds of the arms of open contrasts, until all are decided or at the cap."""
    from qwerties.analysis.topup import next_step

    names = [
        name
        for name, experiment in experiments.items()
        if any(contrast.primary or settle == "all" for contrast in experiment.contrasts)
    ]
    if not names:
        return
    before: Mapping[str, Mapping[Config, int]] = {}
    while True:
        step = next_step(store, names, settle, max_seeds)
        if not step.more or step.more == before:
            break
        print(f"{step.words} ({_arms(step.open)})")
        train({name: experiments[name] for name in step.more}, more=step.more, label=step.words)
        before = step.more
    kind = "primary contrasts" if settle == "primary" else "contrasts"
    if step.decided:
        print(f"{kind} decided: {step.decided}")
    if undecided := (*step.open, *step.capped):
        print(f"{kind} open at the cap of {max_seeds:,} seeds: {len(undecided)} ({_arms(undecided)})")


def _arms(contrasts: Iterable[ContrastResult]) -> str:
    return "; ".join(f"{contrast.experiment_name}: {contrast.sides}" for contrast in contrasts)
