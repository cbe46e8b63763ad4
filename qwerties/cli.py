"""The ``qwerties`` command.

Exit status: 0 done, 1 something failed and is named, 2 the request was wrong, 130 stopped.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tqdm import tqdm

from qwerties.config import CHOICES, DEFAULT, FIELDS, Config, parse_field

if TYPE_CHECKING:
    from qwerties.experiment import Experiment
    from qwerties.sweep import Progress
    from qwerties.tracking import Store

SEEDS = 500
"""Seeds per config of a default sweep."""

MOST_SEEDS = 1_000_000


class UsageError(Exception):
    """The request was wrong; the message is one line."""


class FailedError(Exception):
    """Something failed that the request is not to blame for; the message is one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)
    except UsageError as error:
        return _complain(error, 2)
    except FailedError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        print(
            "\nqwerties: stopped; what is tracked stays, the same command goes on from there", file=sys.stderr
        )
        return 130
    except BrokenPipeError:  # the reader of our output left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _complain(error: object, status: int) -> int:
    print(f"qwerties: error: {error}", file=sys.stderr)
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
    status.set_defaults(run=_status)

    ui = commands.add_parser("ui", help="open the store in MLflow's UI, on 127.0.0.1")
    ui.add_argument("--port", type=_count("port", 65535), default=5000, metavar="N", help="default: 5000")
    ui.set_defaults(run=_ui)
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
    # torch and mlflow take seconds to import: not before the request is sound
    from qwerties.sweep import sweep

    experiments, broken = load_experiments(root, names)
    workers = arguments.jobs or _cores()
    with _store(root) as store:
        started = time.perf_counter()
        with _Display() as display:
            done = sweep(experiments, store, arguments.seeds, workers=workers, progress=display.update)
        if done.runs:
            _say_done(done, started)
        elif experiments:
            print(f"nothing to do: all {done.configs_planned} planned configs are tracked")
        if arguments.settle and experiments:
            _settle(experiments, store, arguments.seeds, workers, arguments.max_seeds)
    if not arguments.no_report:
        _write_report(root, None)
    print("browse the runs: make ui")
    for name, error in broken.items():
        _complain(f"experiments/{name}.py was left out: {error}", 1)
    return 1 if broken else 0


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
    from qwerties.sweep import sweep

    while True:
        step = next_step(store, experiments, most)
        for line in step.lines:
            print(line)
        if not step.more:
            return
        started = time.perf_counter()
        with _Display() as display:
            done = sweep(experiments, store, wanted, workers=workers, progress=display.update, more=step.more)
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
    from qwerties.notebook import train_network

    with _store(root) as store:
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


def _write_report(root: Path, output: Path | None) -> int:
    from qwerties import verdicts
    from qwerties.report import write_report

    with _store(root) as store:
        try:
            with _Steps("report") as steps:
                written = write_report(store, _page(root, output), steps.step)
        except verdicts.VerdictsError as error:
            raise UsageError(f"{error}; move it out of the way") from None
    for text in (verdicts.table(written.document), verdicts.changes_text(written.document["changes"])):
        if text:
            print(text)
    print(f"report: {written.page}\nverdicts: {written.verdicts}")
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
    with _store(root) as store:
        found = verdicts.changes(before, verdicts.make_verdicts(gather(store)))
    print(verdicts.changes_text(found))
    return 1 if any(change["flipped"] for change in found) else 0


def _status(arguments: argparse.Namespace) -> int:
    root = enter_root()
    from qwerties.report import status_table

    with _store(root) as store:
        text, complete = status_table(store)
    print(text)
    return 0 if complete else 1


def _ui(arguments: argparse.Namespace) -> int:
    root = enter_root()
    from qwerties.tracking import serve_ui

    with _store(root) as store:
        return serve_ui(store, arguments.port)


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


def load_experiments(root: Path, names: Sequence[str]) -> tuple[dict[str, Experiment], dict[str, str]]:
    """Import experiment files; returns the experiments, and what is wrong with those that do not work."""
    from qwerties.experiment import Experiment

    loaded: dict[str, Experiment] = {}
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
        except (Exception, SystemExit) as error:  # whatever somebody's file raises, the others go on
            broken[name] = (
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            )
            continue
        if isinstance(getattr(module, "experiment", None), Experiment):
            loaded[name] = module.experiment
        else:
            broken[name] = "it must define `experiment`, an Experiment"
    return loaded, broken


@contextmanager
def _store(root: Path) -> Iterator[Any]:
    """Open the store; what is wrong with it, now or later, is told in one line."""
    from qwerties.tracking import STORE_FAILURES, Store, StoreError

    try:
        yield Store.open(root)
    except StoreError as error:
        raise UsageError(error) from None
    except BrokenPipeError:  # of our output, not of the store
        raise
    except STORE_FAILURES as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
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
