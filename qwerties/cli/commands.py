"""What each command does; every function takes the parsed arguments and returns the exit status."""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from qwerties.cli.progress import Bytes, Display, Pixels, Steps, Trials
from qwerties.cli.project import choose, enter_root, experiment_files, is_empty, load_experiments, open_store
from qwerties.config import FIELDS, Config, parse_field
from qwerties.errors import FailedError, NothingTrackedError, UsageError, complain
from qwerties.execution.calls import LostError
from qwerties.execution.workers import WorkerLostError, Workers, cores, warming_up
from qwerties.study.tasks import TRAINS

if TYPE_CHECKING:
    from qwerties.analysis.contrasts import ContrastResult
    from qwerties.study.experiment import Experiment
    from qwerties.study.sweep import Progress
    from qwerties.tracking.store import Store
    from qwerties.tuning.declaration import Tuning


def sweep(arguments: argparse.Namespace) -> int:
    """Train and track what is missing, then write the report."""
    max_seeds = _max_seeds(arguments)
    root = enter_root()
    names = choose(arguments.names, [path.stem for path in experiment_files(root)])
    workers = Workers(arguments.jobs or cores(), arguments.backend, arguments.scheduler)
    device = _device(workers, arguments.device)
    if device != "cpu" and not arguments.jobs and not workers.is_cluster:
        workers = _sharing(workers)
    declared, broken = load_experiments(root, names)
    if not declared:  # nothing to do: no store is made, and the report stays as it is
        return _complain_of(broken)
    _check_slots(declared, {})
    if arguments.dry_run:
        _print_forecast(declared, root, arguments, max_seeds, workers.count)
        return _complain_of(broken)
    early = is_empty(root) and _has_much(declared)
    with warming_up(workers, TRAINS) if early else nullcontext(), open_store(root) as store:
        _check_slots(declared, {name: tags for name, (_, tags) in store.experiments().items()})
        experiments, winners, finish = _tune(declared, store, root, arguments.seeds, workers.count)
        started = time.perf_counter()
        done = _work(experiments, store, arguments.seeds, workers, device, {}, meanwhile=finish)
        if done.runs:
            _say_done(done, started)
        elif experiments:
            print(f"nothing to do: all {done.configs_planned} planned configs are tracked")
        if arguments.settle != "none" and experiments:
            _settle(experiments, store, arguments.seeds, workers, device, arguments.settle, max_seeds)
        for experiment_name, winner in winners.items():
            _challenge(experiment_name, winner, store, arguments, max_seeds, workers, device)
    if not arguments.no_report:
        _write_report(root, None, anew=False)
    print("browse the runs: make ui")
    return _complain_of(broken)


def _max_seeds(arguments: argparse.Namespace) -> int:
    """Seeds per config at which a contrast is left open."""
    if arguments.max_seeds is None:
        return max(arguments.default_max_seeds, arguments.seeds)
    if arguments.max_seeds < arguments.seeds:
        raise UsageError(
            f"--max-seeds must be at least --seeds, {arguments.seeds}, got {arguments.max_seeds}"
        )
    return arguments.max_seeds


def _check_slots(
    declared: Mapping[str, Experiment | Tuning], stored: Mapping[str, Mapping[str, str]]
) -> None:
    """Refuse more primary contrasts than the study's error budget has slots for."""
    from qwerties.study.budget import check_slots

    counts = {name: sum(c.primary for c in experiment.contrasts) for name, experiment in declared.items()}
    try:
        check_slots(counts, stored)
    except ValueError as error:
        raise UsageError(error) from None


def _print_forecast(
    declared: Mapping[str, Experiment | Tuning],
    root: Path,
    arguments: argparse.Namespace,
    max_seeds: int,
    workers: int,
) -> None:
    """Say what a sweep would train, without a store where there is none yet."""
    from qwerties.cli.forecast import forecast, table

    with nullcontext() if is_empty(root) else open_store(root, reads=True) as store:
        if store is not None:
            _check_slots(declared, {name: tags for name, (_, tags) in store.experiments().items()})
        print(table(forecast(declared, store, arguments.seeds, arguments.settle, max_seeds, workers)))


def _has_much(declared: Mapping[str, Experiment | Tuning]) -> bool:
    """Whether there is work for several processes, where nothing of it is done."""
    from qwerties.study.experiment import Experiment, are_several

    plain = [one for one in declared.values() if isinstance(one, Experiment)]
    return len(plain) < len(declared) or are_several(config for one in plain for config in one.configs)


def _complain_of(broken: Mapping[str, str]) -> int:
    """Name every experiment file that does not work, and why; returns the exit status."""
    for name, error in broken.items():
        complain(f"experiments/{name}.py was left out: {error}", 1)
    return 1 if broken else 0


def _work(
    experiments: dict[str, Experiment],
    store: Store,
    wanted: int,
    workers: Workers,
    device: str,
    more: Mapping[str, Mapping[Config, int]],
    meanwhile: Callable[[], None] = lambda: None,
    label: str = "",
) -> Progress:
    from qwerties.study import sweep as sweeping

    with _worker_losses(), Display(label) as display:
        return sweeping.sweep(
            experiments,
            store,
            wanted,
            workers=workers,
            device=device,
            progress=display.update,
            more=more,
            tell=tqdm.write,
            meanwhile=meanwhile,
        )


@contextmanager
def _worker_losses() -> Iterator[None]:
    """Tell how to go on when work was given up."""
    try:
        yield
    except WorkerLostError as error:
        raise FailedError(
            f"{error}; what is tracked stays, the same command goes on from there, and takes less memory with --jobs 1"
        ) from None
    except LostError as error:
        raise FailedError(f"{error}; what is tracked stays, the same command goes on from there") from None


def _sharing(workers: Workers) -> Workers:
    """Return no more workers than share a GPU."""
    from qwerties.execution.devices import SHARERS

    return Workers(min(workers.count, SHARERS))


def _device(workers: Workers, wanted: str) -> str:
    """Make sure that those who are to train are there and can; returns the device, cpu or cuda."""
    has_gpu = None
    if workers.scheduler is not None:
        from qwerties.execution import cluster

        has_gpu = cluster.check(workers.scheduler, tqdm.write)
    if wanted == "cpu":
        return "cpu"
    from qwerties.execution import devices

    return devices.choose(wanted, has_gpu)


def _tune(
    declared: Mapping[str, Experiment | Tuning], store: Store, root: Path, wanted: int, processes: int
) -> tuple[dict[str, Experiment], dict[str, Config], Callable[[], None]]:
    """Search what is to be tuned.

    Returns
    -------
    dict
        All experiments with their configs.
    dict
        The winners to be registered.
    callable
        What is left to do to the studies, for a while in which others work.
    """
    from qwerties.tuning.declaration import Tuning

    left: list[Callable[[], None]] = []

    def finish() -> None:
        for step in left:
            step()

    if not any(isinstance(one, Tuning) for one in declared.values()):
        return dict(declared), {}, finish  # type: ignore[arg-type]
    from qwerties.tuning.storage import default_storage
    from qwerties.tuning.tuner import run_searches

    experiments: dict[str, Experiment] = {}
    winners: dict[str, Config] = {}
    for experiment_name, one in declared.items():
        if not isinstance(one, Tuning):
            experiments[experiment_name] = one
            continue
        with _worker_losses(), Trials(experiment_name) as shown:
            outcome = run_searches(
                experiment_name,
                one,
                store,
                default_storage(root),
                wanted,
                workers=processes,  # of this machine, also where a cluster trains: trials are small
                step=shown.step,
                log=tqdm.write,
                later=left.append,
            )
        experiments[experiment_name] = outcome.experiment
        if one.champion is not None:
            winners[experiment_name] = outcome.winners[one.champion]
    return experiments, winners, finish


def _challenge(
    experiment_name: str,
    winner: Config,
    store: Store,
    arguments: argparse.Namespace,
    max_seeds: int,
    workers: Workers,
    device: str,
) -> None:
    """Register the network of a search's winner, if that config beats the registered one."""
    from qwerties.tuning.champion import challenge

    def train(experiments: dict[str, Experiment]) -> None:
        _work(experiments, store, arguments.seeds, workers, device, {})
        if arguments.settle != "none":  # the challenge is topped up like any contrast
            _settle(experiments, store, arguments.seeds, workers, device, "all", max_seeds)

    if message := challenge(experiment_name, winner, store, train):
        print(message)


def _say_done(done: Progress, started: float) -> None:
    print(
        f"{done.runs} runs of {done.configs_planned} planned configs tracked, {done.networks:,} networks trained "
        f"in {time.perf_counter() - started:.0f} s"
    )


def _settle(
    experiments: dict[str, Experiment],
    store: Store,
    wanted: int,
    workers: Workers,
    device: str,
    settle: str,
    max_seeds: int,
) -> None:
    """Train more seeds of the arms of open contrasts, until all are decided or have as many as they may."""
    from qwerties.analysis.topup import next_step

    names = [
        name
        for name, experiment in experiments.items()
        if any(contrast.primary or settle == "all" for contrast in experiment.contrasts)
    ]
    before: Mapping[str, Mapping[Config, int]] = {}
    while names:
        step = next_step(store, names, settle, max_seeds)
        if not step.more or step.more == before:
            break
        print(f"{step.words} ({_contrast_names(step.open)})")
        started = time.perf_counter()
        chosen = {name: experiments[name] for name in step.more}
        done = _work(chosen, store, wanted, workers, device, step.more, label=step.words)
        if done.runs:  # else another sweep has trained them
            _say_done(done, started)
        before = step.more
    if not names:
        return
    kind = "primary contrasts" if settle == "primary" else "contrasts"
    if step.decided:
        print(f"{kind} decided: {step.decided}")
    if left := (*step.open, *step.capped):
        print(f"{kind} open at the cap of {max_seeds:,} seeds: {len(left)} ({_contrast_names(left)})")


def _contrast_names(findings: Iterable[ContrastResult]) -> str:
    return "; ".join(f"{finding.experiment_name}: {finding.sides}" for finding in findings)


def train(arguments: argparse.Namespace) -> int:
    """Train one network and track it as the notebook shows it."""
    given = {name: text for name in FIELDS if (text := getattr(arguments, name)) is not None}
    try:
        config = Config(**{name: parse_field(name, text) for name, text in given.items()})
    except ValueError as error:
        raise UsageError(error) from None
    root = enter_root()
    with open_store(root) as store:
        from qwerties.study.single import train_network

        print(train_network(config, arguments.seed, store))
    return 0


def map_(arguments: argparse.Namespace) -> int:
    """Train and track a map, and write its picture."""
    from qwerties.maps.options import check_show, spec_of

    spec, measure = spec_of(arguments), check_show(arguments)
    output = _output_file(arguments.output)
    root = enter_root()
    picture = output or root / "reports" / "map.png"
    started = time.perf_counter()
    with open_store(root) as store:
        from qwerties.maps.make import make_map
        from qwerties.maps.marks import marks_of
        from qwerties.maps.pictures import draw_map, pictures
        from qwerties.report.export import write_file

        marks = marks_of(store)
        with _worker_losses(), Pixels(spec.networks) as bar:
            made = make_map(
                spec,
                store,
                root,
                lambda spec, arrays: pictures(spec, arrays, marks),
                workers=arguments.jobs or cores(),
                progress=bar.update,
                tell=tqdm.write,
            )
        picture.parent.mkdir(exist_ok=True)
        write_file(picture, draw_map(spec, made.arrays, measure, marks))
    if made.networks:
        print(f"{spec.networks:,} networks in {time.perf_counter() - started:.0f} s: run {made.run_id}")
    else:
        print(f"nothing to do: the map is tracked as run {made.run_id}")
    print(f"{measure}: {picture}\nmake report shows it on the page, make ui shows the run")
    return 0


def _output_file(given: Path | None) -> Path | None:
    """The file that --output names; it need not be there."""
    output = given.resolve() if given else None
    if output and output.is_dir():
        raise UsageError(f"--output must be a file, got the folder {output}")
    if output and not output.parent.is_dir():
        raise UsageError(f"--output must be in a folder that exists, got {output.parent}")
    return output


def report(arguments: argparse.Namespace) -> int:
    """Write the report, or check whether the last one's verdicts hold."""
    output = _output_file(arguments.output)
    root = enter_root()
    return _check_report(root, output) if arguments.check else _write_report(root, output)


def _page(root: Path, output: Path | None) -> Path:
    return output or root / "reports" / "summary.html"


def _write_report(root: Path, output: Path | None, *, anew: bool = True) -> int:
    with open_store(root, reads=True) as store:
        from qwerties.report import verdicts_file as verdicts
        from qwerties.report.build import is_current, write_report
        from qwerties.report.report_archive import keep

        page = _page(root, output)
        if page.is_dir() or not (page.parent.is_dir() or not page.parent.exists()):
            raise UsageError(f"the report must be a file in a folder, got {page}")
        if not anew and is_current(store, page):
            print(f"report unchanged: {page}")
            return 0
        gc.freeze()  # what was imported stays: collections need not look at it
        try:
            with Steps("report") as steps:
                written = write_report(store, page, steps.step, jobs=min(cores(), 2))
                told = None if output else keep(store, written.files)
        except verdicts.VerdictsError as error:
            raise UsageError(f"{error}; move it out of the way") from None
    if written.text:
        print(written.text)
    print(f"report: {written.page}\nverdicts: {written.verdicts}")
    if told is not None:
        print(told)
    for failure in written.failures:
        complain(failure, 1)
    return 1 if written.failures else 0


def _check_report(root: Path, output: Path | None) -> int:
    from qwerties.analysis.contrasts import load_results
    from qwerties.report import verdicts_file as verdicts

    path = verdicts.path_beside(_page(root, output))
    try:
        before = verdicts.read_verdicts(path)
    except verdicts.VerdictsError as error:
        raise UsageError(error) from None
    if before is None:
        raise UsageError(f"--check needs the verdicts of a report, got none in {path}: make report")
    with open_store(root, reads=True) as store:
        found = verdicts.changes(before, verdicts.make_document(load_results(store)))
    print(verdicts.changes_text(found))
    return 1 if any(change["flipped"] for change in found) else 0


def status(arguments: argparse.Namespace) -> int:
    """Print the coverage; status 1 if the study is incomplete."""
    root = enter_root()
    from qwerties.portability.relocate import database_of

    try:
        with open_store(root, reads=True) as store:
            from qwerties.cli.status import Status, read_status, table, to_json

            status = read_status(store)
    except NothingTrackedError as error:
        if not arguments.json:
            print(error)
            return 1
        from qwerties.cli.status import Status, to_json

        status = Status(f"sqlite:///{database_of(root)}", (), 0, 0)
    print(json.dumps(to_json(status), indent=1) if arguments.json else table(status))
    return 0 if status.complete else 1


def verify(arguments: argparse.Namespace) -> int:
    """Check the store against itself and against the notebook's loop; status 1 if anything differs."""
    root = enter_root()
    with open_store(root, reads=True) as store:
        from qwerties.verify.retrain import verify

        agrees = verify(store, arguments.networks, arguments.seed, workers=cores(), say=tqdm.write)
    return 0 if agrees else 1


def ui(arguments: argparse.Namespace) -> int:
    """Serve MLflow's UI until it is stopped."""
    root = enter_root()
    with open_store(root, reads=True) as store:
        from qwerties.tracking.store import serve_ui

        return serve_ui(store, arguments.port)


def relocate(arguments: argparse.Namespace) -> int:
    """Mend the store of a folder that was moved; status 1 if artifacts are missing."""
    root = enter_root()
    from qwerties.portability.relocate import NOTHING, RelocateError, database_of, relocate

    database = database_of(root)
    if database is None:
        raise UsageError(f"relocate mends a SQLite store, got {_public_uri()}")
    if not database.exists():
        raise FailedError(NOTHING)
    try:
        with Steps("relocate") as steps:
            done = relocate(database, root, steps.step)
    except RelocateError as error:
        raise FailedError(error) from None
    if done is None:
        print("nothing to do: the store is where it says")
        return 0
    print(
        f"the store was in {' and '.join(done.old)}: {done.values:,} values rewritten\n"
        f"{done.found:,} artifacts are in their place, {done.missing:,} are missing\n"
        f"the database as it was: {done.backup}"
    )
    return 1 if done.missing else 0


def export(arguments: argparse.Namespace) -> int:
    """Write the study into one file."""
    target = arguments.file.resolve()
    root = enter_root()
    _check_ownopen_store(root, "export")
    from qwerties.portability.archive import ArchiveError, export_study

    try:
        with Bytes("export") as bar:
            done = export_study(root, target, bar.update)
    except ArchiveError as error:
        raise UsageError(error) from None
    print(f"{done.runs:,} runs, {done.files:,} files, {done.size / 1e6:,.1f} MB: {target}")
    if done.ended:
        print(f"{done.ended:,} runs were being written and are left out")
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """Bring a study from such a file into this folder."""
    source = arguments.file.resolve()
    root = enter_root()
    _check_ownopen_store(root, "import")
    from qwerties.portability.archive import ArchiveError, import_study

    try:
        with Bytes("import") as bar:
            done, missing = import_study(root, source, bar.update)
    except ArchiveError as error:
        raise UsageError(error) from None
    print(f"{done.runs:,} runs, {done.files:,} files, {done.size / 1e6:,.1f} MB are here now: make status")
    if done.ended:
        print(f"{done.ended:,} runs were being written when the study was exported: marked as killed")
    if missing:
        print(f"{missing:,} artifacts were missing where it came from, and are so here")
    return 0


def _check_ownopen_store(root: Path, command: str) -> None:
    from qwerties.portability.relocate import DATABASE, database_of

    if database_of(root) != root / DATABASE:
        raise UsageError(
            f"{command} is for the store in this folder, MLFLOW_TRACKING_URI names {_public_uri()}"
        )


def _public_uri() -> str:
    from qwerties.tracking.uri import public_uri

    return public_uri(os.environ["MLFLOW_TRACKING_URI"])
