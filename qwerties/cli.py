"""The ``qwerties`` command.

Exit status: 0 done, 1 something failed and is named, 2 the request was wrong, 130 stopped (143 by SIGTERM).
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tqdm import tqdm

from qwerties.config import CHOICES, DEFAULT, FIELDS, Config, parse_field
from qwerties.signals import asked, heeding_signals

if TYPE_CHECKING:
    from qwerties.experiment import Experiment
    from qwerties.sweep import Progress
    from qwerties.tracking import Store
    from qwerties.tuning import Tuning

SEEDS = 500
"""Seeds per config of a default sweep."""

MOST_SEEDS = 1_000_000
MOST_NETWORKS = 1_000_000


class UsageError(Exception):
    """The request was wrong; the message is one line."""


class FailedError(Exception):
    """Something failed that the request is not to blame for; the message is one line."""


class NothingTrackedError(FailedError):
    """There is no store to read."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)  # --seed is not --seeds

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        with heeding_signals():
            arguments = _parser().parse_args(argv)
            return arguments.run(arguments)
    except UsageError as error:
        return _complain(error, 2)
    except FailedError as error:
        return _say_stopped(status) if (status := asked()) else _complain(error, 1)
    except KeyboardInterrupt:
        return _say_stopped(asked() or 130)
    except BrokenPipeError:  # the reader of our output left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:
        if status := asked():  # the interrupt, as some library in C handed it on
            return _say_stopped(status)
        raise


def _say_stopped(status: int) -> int:
    print("\nqwerties: stopped; what is tracked stays, the same command goes on from there", file=sys.stderr)
    return status


def _complain(error: object, status: int) -> int:
    line = "".join(c if c.isprintable() else " " for c in str(error))
    print(f"qwerties: error: {line}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="qwerties", description="Small networks on two clusters, hundreds of paired seeds, evidence."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sweep = commands.add_parser(
        "sweep", help="train and track what is not tracked yet, then write the report"
    )
    sweep.add_argument("names", nargs="*", metavar="NAME", help="files of experiments/ (default: all)")
    sweep.add_argument(
        "--seeds", type=_count("seeds", MOST_SEEDS), default=SEEDS, metavar="N", help="per config"
    )
    sweep.add_argument(
        "--jobs", type=_count("jobs", 1024), metavar="N", help="worker processes (default: one per core)"
    )
    sweep.add_argument(
        "--settle",
        action="store_true",
        help="then train more seeds of the configs whose contrasts are open, up to the next planned look",
    )
    sweep.add_argument(
        "--max-seeds",
        type=_count("max-seeds", MOST_SEEDS),
        metavar="N",
        help="of --settle: not more per config than this (default: the last planned look)",
    )
    sweep.add_argument("--no-report", action="store_true", help="do not write reports/summary.html")
    sweep.set_defaults(run=_sweep)

    train = commands.add_parser("train", help="one network, tracked as the notebook shows it")
    for name, default in FIELDS.items():
        train.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            metavar="|".join(CHOICES[name]) if name in CHOICES else type(default).__name__.upper(),
            help=f"default: {DEFAULT.to_params()[name]}",
        )
    train.add_argument(
        "--seed", type=_count("seed", 2**31 - 1, least=0), default=0, metavar="N", help="default: 0"
    )
    train.set_defaults(run=_train)

    report = commands.add_parser("report", help="write the report, from the store alone")
    report.add_argument("--output", type=Path, metavar="FILE", help="default: reports/summary.html")
    report.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit status 1 if a verdict of the last report no longer holds",
    )
    report.set_defaults(run=_report)

    status = commands.add_parser("status", help="planned and tracked, missing, failed, stale")
    status.add_argument("--json", action="store_true", help="the same and more, for programs")
    status.set_defaults(run=_status)

    verify = commands.add_parser(
        "verify", help="check the store; retrain some networks with the notebook's loop"
    )
    verify.add_argument(
        "--networks",
        type=_count("networks", MOST_NETWORKS),
        default=20,
        metavar="N",
        help="to retrain, drawn at random (default: 20)",
    )
    verify.add_argument(
        "--seed",
        type=_count("seed", 2**31 - 1, least=0),
        default=0,
        metavar="N",
        help="of the draw (default: 0)",
    )
    verify.set_defaults(run=_verify)

    ui = commands.add_parser("ui", help="open the store in MLflow's UI, on 127.0.0.1")
    ui.add_argument("--port", type=_count("port", 65535), default=5000, metavar="N", help="default: 5000")
    ui.set_defaults(run=_ui)

    relocate = commands.add_parser("relocate", help="mend the store of a folder that was moved or copied")
    relocate.set_defaults(run=_relocate)

    for name, run, told in (
        ("export", _export, "write the study into one .tar.gz: database, artifacts, last verdicts"),
        ("import", _import, "bring a study from such a file into a folder that has none"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("file", type=Path, metavar="FILE")
        command.set_defaults(run=run)
    return parser


def _count(name: str, most: int, least: int = 1) -> Any:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(
                f"{name} must be a whole number from {least} to {most}, got {text!r}"
            )
        return number

    return parse


# Commands


def _sweep(arguments: argparse.Namespace) -> int:
    if arguments.max_seeds is not None and not arguments.settle:
        raise UsageError("--max-seeds needs --settle")
    root = enter_root()
    names = choose(arguments.names, [path.stem for path in experiment_files(root)])
    declared, broken = load_experiments(root, names)
    workers = arguments.jobs or _cores()
    with _store(root) as store:
        experiments, winners = _tune(declared, store, root, arguments.seeds, workers)
        started = time.perf_counter()
        done = _work(experiments, store, arguments.seeds, workers, {})
        if done.runs:
            _say_done(done, started)
        elif experiments:
            print(f"nothing to do: all {done.configs_planned} planned configs are tracked")
        if arguments.settle and experiments:
            _settle(experiments, store, arguments.seeds, workers, arguments.max_seeds)
        for stem, winner in winners.items():
            _contend(stem, winner, store, arguments.seeds, workers)
    if not arguments.no_report:
        _write_report(root, None, anew=False)
    print("browse the runs: make ui")
    for name, error in broken.items():
        _complain(f"experiments/{name}.py was left out: {error}", 1)
    return 1 if broken else 0


def _work(
    experiments: dict[str, Experiment],
    store: Store,
    wanted: int,
    workers: int,
    more: Mapping[str, Mapping[Config, int]],
) -> Progress:
    from qwerties.sweep import sweep

    with _worker_losses(), _Display() as display:
        return sweep(
            experiments,
            store,
            wanted,
            workers=workers,
            progress=display.update,
            more=more,
            tell=tqdm.write,
        )


@contextmanager
def _worker_losses() -> Iterator[None]:
    """Tell in one line that a worker process was killed."""
    from qwerties.sweep import WorkerLostError

    try:
        yield
    except WorkerLostError:
        raise FailedError(
            "a worker process was killed, perhaps for want of memory; what is tracked stays, the same command goes on "
            "from there, and takes less memory with --jobs 1"
        ) from None


def _tune(
    declared: Mapping[str, Experiment | Tuning], store: Store, root: Path, wanted: int, workers: int
) -> tuple[dict[str, Experiment], dict[str, Config]]:
    """Search what is to be tuned; returns all experiments with their configs, and the winners to be registered."""
    from qwerties.tuning import Tuning

    if not any(isinstance(one, Tuning) for one in declared.values()):
        return dict(declared), {}  # type: ignore[arg-type]
    from qwerties import search
    from qwerties.tuner import tune

    experiments: dict[str, Experiment] = {}
    winners: dict[str, Config] = {}
    for stem, one in declared.items():
        if not isinstance(one, Tuning):
            experiments[stem] = one
            continue
        try:
            with _worker_losses(), _Trials(stem) as shown:
                found = tune(
                    stem,
                    one,
                    store,
                    search.default_storage(root),
                    wanted,
                    workers=workers,
                    step=shown.step,
                    tell=tqdm.write,
                )
        except search.SearchError as error:
            raise UsageError(f"experiments/{stem}.py: {error}") from None
        except search.OptunaError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise FailedError(
                f"the storage of studies failed, the same command goes on from there: {reason}"
            ) from None
        experiments[stem] = found.experiment
        if one.champion is not None:
            winners[stem] = found.winners[one.champion]
    return experiments, winners


def _contend(stem: str, winner: Config, store: Store, wanted: int, workers: int) -> None:
    """Register the model of a tuning's winner, if it has the better of the one that is registered."""
    from qwerties.champion import contend

    told = contend(stem, winner, store, lambda duel: _work(duel, store, wanted, workers, {}))
    if told:
        print(told)


def _say_done(done: Progress, started: float) -> None:
    print(
        f"{done.runs} runs of {done.configs_planned} planned configs tracked, {done.networks:,} networks trained "
        f"in {time.perf_counter() - started:.0f} s"
    )


def _settle(
    experiments: dict[str, Experiment], store: Store, wanted: int, workers: int, most: int | None
) -> None:
    """Train more seeds where a contrast is open, look again, until nothing within reach is left."""
    from qwerties.settle import next_step

    while True:
        step = next_step(store, experiments, most)
        for line in step.lines:
            print(line)
        if not step.more:
            return
        started = time.perf_counter()
        done = _work(experiments, store, wanted, workers, step.more)
        if not done.runs:  # the seeds are there and the contrast is as it was: nothing would change
            return
        _say_done(done, started)


def _train(arguments: argparse.Namespace) -> int:
    given = {name: text for name in FIELDS if (text := getattr(arguments, name)) is not None}
    try:
        config = Config(**{name: parse_field(name, text) for name, text in given.items()})
    except ValueError as error:
        raise UsageError(error) from None
    root = enter_root()
    with _store(root) as store:
        from qwerties.notebook import train_network

        print(train_network(config, arguments.seed, store))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    output = arguments.output.resolve() if arguments.output else None
    if output and output.is_dir():
        raise UsageError(f"--output must be a file, got the folder {output}")
    if output and not output.parent.is_dir():
        raise UsageError(f"--output must be in a folder that exists, got {output.parent}")
    root = enter_root()
    return _check_report(root, output) if arguments.check else _write_report(root, output)


def _page(root: Path, output: Path | None) -> Path:
    return output or root / "reports" / "summary.html"


def _write_report(root: Path, output: Path | None, *, anew: bool = True) -> int:
    from qwerties import verdicts

    with _store(root, reads=True) as store:
        from qwerties.kept import keep
        from qwerties.report import is_current, write_report

        page = _page(root, output)
        if page.is_dir() or not (page.parent.is_dir() or not page.parent.exists()):
            raise UsageError(f"the report must be a file in a folder, got {page}")
        if not anew and is_current(store, page):
            print(f"report unchanged: {page}")
            return 0
        try:
            with _Steps("report") as steps:
                written = write_report(store, page, steps.step)
                told = None if output else keep(store, written.files)
        except verdicts.VerdictsError as error:
            raise UsageError(f"{error}; move it out of the way") from None
    for text in (verdicts.table(written.document), verdicts.changes_text(written.document["changes"])):
        if text:
            print(text)
    print(f"report: {written.page}\nverdicts: {written.verdicts}")
    if told is not None:
        print(told)
    return 0


def _check_report(root: Path, output: Path | None) -> int:
    from qwerties import verdicts
    from qwerties.evidence import gather

    path = verdicts.path_beside(_page(root, output))
    try:
        before = verdicts.read_verdicts(path)
    except verdicts.VerdictsError as error:
        raise UsageError(error) from None
    if before is None:
        raise UsageError(f"--check needs the verdicts of a report, got none in {path}: make report")
    with _store(root, reads=True) as store:
        found = verdicts.changes(before, verdicts.make_verdicts(gather(store)))
    print(verdicts.changes_text(found))
    return 1 if any(change["flipped"] for change in found) else 0


def _status(arguments: argparse.Namespace) -> int:
    root = enter_root()
    from qwerties.relocate import database_of

    try:
        with _store(root, reads=True) as store:
            from qwerties.status import Status, read_status, table, to_json

            status = read_status(store)
    except NothingTrackedError as error:
        if not arguments.json:
            print(error)
            return 1
        from qwerties.status import Status, to_json

        status = Status(f"sqlite:///{database_of(root)}", (), 0, 0)
    print(json.dumps(to_json(status), indent=1) if arguments.json else table(status))
    return 0 if status.complete else 1


def _verify(arguments: argparse.Namespace) -> int:
    root = enter_root()
    with _store(root, reads=True) as store:
        from qwerties.verify import verify

        agrees = verify(store, arguments.networks, arguments.seed, workers=_cores(), say=tqdm.write)
    return 0 if agrees else 1


def _ui(arguments: argparse.Namespace) -> int:
    root = enter_root()
    with _store(root, reads=True) as store:
        from qwerties.tracking import serve_ui

        return serve_ui(store, arguments.port)


def _relocate(arguments: argparse.Namespace) -> int:
    root = enter_root()
    from qwerties.relocate import NOTHING, RelocateError, database_of, relocate

    database = database_of(root)
    if database is None:
        raise UsageError(f"relocate mends a SQLite store, got {_public_uri()}")
    if not database.exists():
        raise FailedError(NOTHING)
    try:
        with _Steps("relocate") as steps:
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


def _export(arguments: argparse.Namespace) -> int:
    target = arguments.file.resolve()
    root = enter_root()
    _check_own_store(root, "export")
    from qwerties.archive import ArchiveError, export_study

    try:
        with _Bytes("export") as bar:
            done = export_study(root, target, bar.update)
    except ArchiveError as error:
        raise UsageError(error) from None
    print(f"{done.runs:,} runs, {done.files:,} files, {done.size / 1e6:,.1f} MB: {target}")
    if done.ended:
        print(f"{done.ended:,} runs were being written and are left out")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    source = arguments.file.resolve()
    root = enter_root()
    _check_own_store(root, "import")
    from qwerties.archive import ArchiveError, import_study

    try:
        with _Bytes("import") as bar:
            done, missing = import_study(root, source, bar.update)
    except ArchiveError as error:
        raise UsageError(error) from None
    print(f"{done.runs:,} runs, {done.files:,} files, {done.size / 1e6:,.1f} MB are here now: make status")
    if done.ended:
        print(f"{done.ended:,} runs were being written when the study was exported: marked as killed")
    if missing:
        print(f"{missing:,} artifacts were missing where it came from, and are so here")
    return 0


def _check_own_store(root: Path, command: str) -> None:
    from qwerties.relocate import DATABASE, database_of

    if database_of(root) != root / DATABASE:
        raise UsageError(
            f"{command} is for the store in this folder, MLFLOW_TRACKING_URI names {_public_uri()}"
        )


def _public_uri() -> str:
    from qwerties.tracking import public_uri

    return public_uri(os.environ["MLFLOW_TRACKING_URI"])


# What commands share


def enter_root() -> Path:
    """Find the repository, the nearest folder upwards with ``experiments/``, and work in it, as MLflow expects."""
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "experiments").is_dir() and (folder / "pyproject.toml").is_file():
            os.chdir(folder)
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / ".cache" / "inductor"))
            os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pools below our own workers
            os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")  # as the processor says: trying costs 10 s
            return folder
    raise UsageError(f"no experiments/ with a pyproject.toml beside it in {Path.cwd()} or above")


def experiment_files(root: Path) -> list[Path]:
    """Files of ``experiments/`` that hold a question, sorted."""
    return sorted(path for path in (root / "experiments").glob("*.py") if not path.stem.startswith("_"))


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
    from qwerties.experiment import Experiment
    from qwerties.tuning import Tuning

    loaded: dict[str, Experiment | Tuning] = {}
    broken: dict[str, str] = {}
    for name in names:
        spec = importlib.util.spec_from_file_location(
            f"experiments.{name}", root / "experiments" / f"{name}.py"
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever somebody's file raises, the others go on
            broken[name] = f"{type(error).__name__}: {_first_line(error) or 'no message'}"
            continue
        if isinstance(getattr(module, "experiment", None), Experiment | Tuning):
            loaded[name] = module.experiment
        else:
            broken[name] = "it must define `experiment`, an Experiment or a Tuning"
    return loaded, broken


def _first_line(error: object) -> str:
    """What an error says in its first line, which may be nothing."""
    try:
        return next((line for line in str(error).splitlines() if line.strip()), "")
    except Exception:  # an error that cannot even be told
        return ""


@contextmanager
def _store(root: Path, *, reads: bool = False) -> Iterator[Any]:
    """Open the store; what is wrong with it, now or later, is told in one line. One that only ``reads`` makes none."""
    from qwerties.relocate import NOTHING, RelocateError, check_place, database_of, is_new

    database = database_of(root)
    if database is not None:
        if reads and is_new(database):
            raise NothingTrackedError(NOTHING)
        try:
            check_place(database, root)
        except RelocateError as error:
            raise UsageError(error) from None
    from qwerties.tracking import STORE_FAILURES, Store, StoreError

    try:
        yield Store.open(root, reads=reads)
    except StoreError as error:
        raise UsageError(error) from None
    except BrokenPipeError:  # of our output, not of the store
        raise
    except STORE_FAILURES as error:
        reason = _first_line(error) or type(error).__name__
        raise FailedError(f"the store failed, the same command goes on from there: {reason}") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Display:
    """Progress of a sweep: a bar on a terminal, now and then a plain line elsewhere."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._started = time.monotonic()
        self._said = -self.SECONDS_BETWEEN_LINES

    def __enter__(self) -> _Display:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, state: Progress) -> None:
        """Show the state of things."""
        if not state.runs_planned:
            return
        elapsed = time.monotonic() - self._started
        share = state.cost / state.cost_planned
        rate = share * state.networks_planned / elapsed if elapsed else 0
        counts = (
            f"{state.runs}/{state.runs_planned} runs, {state.networks:,}/{state.networks_planned:,} networks, "
            f"{rate:,.0f}/s"
        )
        if sys.stderr.isatty():
            if self._bar is None:
                layout = "{percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
                self._bar = tqdm(
                    total=state.cost_planned, bar_format=layout, dynamic_ncols=True, smoothing=0.05
                )
            self._bar.set_postfix_str(counts, refresh=False)
            self._bar.update(state.cost - self._bar.n)
            self._bar.refresh()
        elif time.monotonic() - self._said > self.SECONDS_BETWEEN_LINES or state.runs == state.runs_planned:
            self._said = time.monotonic()
            left = f", about {elapsed * (1 / share - 1):.0f} s left" if share else ""
            print(f"{100 * share:3.0f}%  {counts}{left}", file=sys.stderr, flush=True)


class _Trials:
    """Progress of studies: a bar each on a terminal, a plain line each elsewhere."""

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._bar: tqdm | None = None
        self._label = ""

    def __enter__(self) -> _Trials:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, label: str, done: int, of: int) -> None:
        """Show how many trials of a study are done."""
        if label != self._label:
            self.__exit__()
            self._label, self._bar = label, None
            if sys.stderr.isatty():
                name = f"{self._stem}, {label}"
                self._bar = tqdm(total=of, initial=done, desc=name, unit=" trials", leave=False)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif done == of:
            print(f"{self._stem}, {label}: {done} trials", file=sys.stderr, flush=True)


class _Bytes:
    """Progress of a file: a bar on a terminal, now and then a plain line elsewhere."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, what: str) -> None:
        self._what = what
        self._said = time.monotonic()
        self._bar = tqdm(
            desc=what,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def __enter__(self) -> _Bytes:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def update(self, done: int, of: int) -> None:
        """Show how many bytes are done."""
        if self._bar.disable and time.monotonic() - self._said > self.SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            print(f"{self._what}: {done / 1e6:,.0f} of {of / 1e6:,.0f} MB", file=sys.stderr, flush=True)
        self._bar.total = of
        self._bar.update(done - self._bar.n)


class _Steps:
    """Progress of something that takes seconds: one line that is rewritten on a terminal, nothing elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> _Steps:
        return self

    def __exit__(self, *exception: object) -> None:
        self._show("")

    def step(self, name: str) -> None:
        """Say what is being worked on."""
        self._show(f"{self._what}: {name}")

    def _show(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
