"""Kill commands at random moments; nothing may be left running, lost or doubled: ``python -m benchmarks.kills``.

Every kill takes a fresh copy of a project, starts one command, ends it by SIGKILL at a random moment of its usual time,
and starts it again. Then the project must hold what it holds after the command was never killed.

Exit status: 0 all is well, 1 some kill did harm (its folder stays, and is named), 2 the request was wrong.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, closing, redirect_stdout, suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from benchmarks.measure import make_project
from qwerties.portability.relocate import copy_database, relocate

# Imported before commands are forked, which spares each of them seconds
PRELOADED = (
    "qwerties.cli.main",
    "qwerties.study.sweep",
    "qwerties.report.build",
    "qwerties.tuning.tuner",
    "optuna",
)

TINY = """
from qwerties import Config, Contrast, Experiment

A, B = Config(epochs=30), Config(epochs=30, loss="mse")
experiment = Experiment(title="Tiny", question="?", configs=(A, B), contrasts=(Contrast(A, B),))
"""
SEARCH = """
from qwerties import Config
from qwerties.tuning import TunedArm, Tuning

def space(trial):
    return Config(epochs=20, learning_rate=trial.suggest_float("learning_rate", 1e-3, 1, log=True))

experiment = Tuning(title="Search", question="?", arms=(TunedArm("a", space),), trials=4, batch=2, seeds=20)
"""
OPTIONS = "--seeds 3 --max-seeds 3 --no-report --jobs"
ARCHIVE = "study.tar.gz"
# Name -> whether it starts from a project that was swept, and the command's line
COMMANDS = {
    "sweep": (False, f"sweep {OPTIONS} 1"),
    "search": (False, f"sweep search {OPTIONS} 1"),
    "map": (True, "map --size 4 --epochs 20 --jobs 1"),
    "import": (False, f"import ../swept/{ARCHIVE}"),
    "report": (True, "report"),
    "export": (True, f"export {ARCHIVE}"),
    "sweep by two": (False, f"sweep {OPTIONS} 2"),
}
SECONDS_TO_END = 30.0  # that orphans have
MAX_SECONDS = 300.0  # of a command

Facts = collections.Counter[tuple[str, ...]]


def facts(project: Path) -> Facts:
    """Count what a project holds: finished runs by what decides their numbers, whole artifacts, and written files."""
    found: Facts = collections.Counter()
    if (project / "mlflow.db").exists():
        with closing(sqlite3.connect(project / "mlflow.db")) as database:
            (running,) = database.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()
            found["running",] += running
            rows = database.execute(
                "SELECT r.run_uuid, e.name, r.artifact_uri FROM runs r JOIN experiments e USING (experiment_id) "
                "WHERE r.lifecycle_stage = 'active' AND r.status = 'FINISHED'"
            ).fetchall()
            for run_id, name, uri in rows:
                both = (f"SELECT key, value FROM {table} WHERE run_uuid = ?" for table in ("params", "tags"))
                params, tags = (dict(database.execute(query, (run_id,)).fetchall()) for query in both)
                if "qwerties.superseded" not in tags:
                    digests = json.loads(tags.get("qwerties.artifacts", "{}"))
                    lost = [path for path in digests if not Path(uri, path).is_file()]
                    kind = tags.get("qwerties.trial") or tags.get("qwerties.state")
                    kind = kind or digests.get("seeds.csv", "")
                    found[f"{len(lost)} artifacts lost", name, kind, _hash(params)] += 1
    page = project / "reports" / "summary.html"
    if page.exists():
        found["page", page.read_text(encoding="utf-8").rstrip()[-7:]] += 1
    for pattern in ("*.tar.gz", ".*.qwerties", "reports/*.part", "*.db"):
        found[f"files {pattern}",] += len(list(project.glob(pattern)))
    return +found


def _hash(params: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()[:8]


def start(project: Path, line: str) -> BaseProcess:
    """Fork a command in a session of its own."""

    def run() -> None:
        os.setsid()
        os.chdir(project)
        log = os.open(project.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        status = 99
        try:
            status = sys.modules["qwerties.cli.main"].main(line.split())
        except BaseException:
            traceback.print_exc()
        finally:  # not by multiprocessing, which would wait for idle workers
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    process = get_context("fork").Process(target=run)
    process.start()
    return process


def session(leader: int | None) -> list[int]:
    """Return the living processes of a session."""
    members = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
    return members


def call(project: Path, line: str) -> None:
    """Run a command in this process, whose caches forked commands inherit. RuntimeError if it fails."""
    with chdir(project), redirect_stdout(io.StringIO()):
        if status := sys.modules["qwerties.cli.main"].main(line.split()):
            raise RuntimeError(f"{line} ended with {status}")


def complete(project: Path, line: str) -> float:
    """Run a command to its end; return its seconds. RuntimeError if it fails."""
    began = time.monotonic()
    process = start(project, line)
    process.join(MAX_SECONDS)
    process.kill()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"{line} ended with {process.exitcode}")
    return time.monotonic() - began


def kill(project: Path, line: str, seconds: float) -> bool:
    """Start a command and kill it after so many seconds; return whether it still ran. RuntimeError at orphans."""
    process = start(project, line)
    process.join(seconds)
    process.kill()
    process.join()
    deadline = time.monotonic() + SECONDS_TO_END
    while orphans := session(process.pid):
        if time.monotonic() > deadline:
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)
            raise RuntimeError(f"{len(orphans)} processes were left running")
        time.sleep(0.05)
    return process.exitcode == -signal.SIGKILL


def copy(project: Path, target: Path) -> Path:
    """Copy a project; its store says where it is."""
    shutil.copytree(project, target, ignore=shutil.ignore_patterns("mlflow.db*", "__pycache__", ARCHIVE))
    if (project / "mlflow.db").exists():
        copy_database(project / "mlflow.db", target / "mlflow.db")
        if done := relocate(target / "mlflow.db", target):
            done.backup.unlink()
    return target


def run(kills: int, seed: int, folder: Path, log: Callable[[str], object] = print) -> int:
    """Kill so many commands, and log what became of each; return how many did harm."""
    rng = random.Random(seed)
    empty = make_project(folder / "empty", {"tiny": TINY, "search": SEARCH})
    swept = copy(empty, folder / "swept")
    call(swept, COMMANDS["sweep"][1])
    call(copy(swept, folder / "reported"), "report")
    call(swept, COMMANDS["export"][1])
    expected: dict[str, tuple[float, Facts]] = {}
    harmed = 0
    for number in range(kills):
        name = list(COMMANDS)[number % len(COMMANDS)]
        is_swept, line = COMMANDS[name]
        base = swept if is_swept else empty
        if name not in expected:
            project = copy(base, folder / f"expected-{name.replace(' ', '-')}")
            expected[name] = complete(project, line), facts(project)
        usual, expected_facts = expected[name]
        project = copy(base, folder / f"killed-{number}")
        moment, harm = rng.uniform(0, usual), ""
        try:
            was_running = kill(project, line, moment)
            found = facts(project)
            if name in ("export", "import") and not expected_facts - found:
                # it had nearly ended, and refuses to do it again; the next one removes its hidden folder
                found.pop(("files .*.qwerties",), None)
            else:
                complete(project, line)
                found = facts(project)
            if harm := compare(found, expected_facts):
                raise RuntimeError(harm)
        except RuntimeError as error:
            harm = f"HARM: {error} ({project}, {project.with_suffix('.log')})"
            harmed += 1
        else:
            shutil.rmtree(project)
        ended = "" if was_running else ", ended"
        log(f"{number + 1:4} {name:14} after {moment:5.2f} of {usual:.2f} s{ended} {harm}")
    log(f"{kills} kills, {harmed} did harm")
    return harmed


def compare(found: Facts, expected_facts: Facts) -> str:
    """Return what is lost or doubled; nothing if all is as it should be."""
    lost, added = expected_facts - found, found - expected_facts
    return f"lost {dict(lost)}, added {dict(added)}"[:500] if lost or added else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Kill commands; return the exit status."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    kills_help = "default: 100, some minutes"
    parser.add_argument("--kills", type=int, default=100, metavar="N", help=kills_help)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of commands and moments (default: 0)"
    )
    arguments = parser.parse_args(argv)
    for name in PRELOADED:
        importlib.import_module(name)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = Path(tempfile.mkdtemp(prefix="qwerties-kills-")).resolve()
    os.environ.setdefault("QWERTIES_KERNELS", str(folder / "kernels"))
    harmed = run(arguments.kills, arguments.seed, folder)
    if not harmed:
        shutil.rmtree(folder)
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
