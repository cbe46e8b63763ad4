"""Stores and experiment files that nobody expected, through the real command.

Whatever a store holds and a file declares, a command ends with 0, 1 or 2 and at most one line of complaint (a sweep:
one for each broken file), without a traceback, and no run is lost. ``--thorough`` tries many more than CI.
"""

import json
import random
import sqlite3
import string
from contextlib import closing

import pytest
from factories import make_folder
from processes import run, started
from projects import TINY, copy_project

from qwerties.tracking import tags

pytestmark = pytest.mark.slow

TEXTS = (
    *("", "\0", "\u202e\x1b[31m", "{", "[" * 5000, "null", "NaN", "1e400", "0-2147483647", "9" * 4000),
    *("../../x", "é" * 900),
)
TAGS = [tag for tag in vars(tags).values() if isinstance(tag, str) and tag.startswith("qwerties.")]
FILES = {"seeds.csv": b"seed,state\n0,learned\n", "curves.npz": b"PK\x03\x04", "weights.npz": b""}
COMMANDS = (
    ("status",),
    ("sweep", "--seeds", "3", "--jobs", "1", "--no-report"),
    ("report",),
    ("verify", "--networks", "1"),
)
CASES = [*range(2), *(pytest.param(case, marks=pytest.mark.thorough) for case in range(2, 100))]


def text(rng):
    odd = "".join(rng.choices(string.printable + "é\u2028\u202e\ud7ff", k=rng.randrange(20)))
    return rng.choice([*TEXTS, odd, json.dumps({odd: [odd, None, -1]})])


def damage(folder, rng):
    """Change some things of a store; return what was done."""
    done = []
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        runs = [row[0] for row in database.execute("SELECT run_uuid FROM runs")]
        [experiment] = database.execute(
            "SELECT experiment_id FROM experiments WHERE name LIKE 'qwerties/%'"
        ).fetchone()
        for _ in range(rng.randrange(1, 5)):
            run_id, tag, value = rng.choice(runs), rng.choice(TAGS), text(rng)
            kind = rng.choice(("tag", "experiment tag", "param", "metric", "name", "status", "file"))
            done.append((kind, tag, value[:40]))
            if kind == "tag":
                statement = "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)"
                database.execute(statement, (tag, value, run_id))
            elif kind == "experiment tag":
                statement = (
                    "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)"
                )
                database.execute(statement, (tag, value, experiment))
            elif kind == "param":
                [key] = rng.choice(database.execute("SELECT DISTINCT key FROM params").fetchall())
                statement = "UPDATE params SET value = ? WHERE key = ? AND run_uuid = ?"
                database.execute(statement, (value, key, run_id))
            elif kind == "metric":
                number = rng.choice([float("inf"), -1e308, 0.0, 7.0])
                database.execute("UPDATE latest_metrics SET value = ? WHERE run_uuid = ?", (number, run_id))
            elif kind == "name":
                database.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", (value, run_id))
            elif kind == "status":
                status = rng.choice(("RUNNING", "FAILED", "KILLED", "SCHEDULED"))
                database.execute("UPDATE runs SET status = ? WHERE run_uuid = ?", (status, run_id))
            else:
                name, content = rng.choice(list(FILES.items()))
                for path in (folder / "mlruns").glob(f"*/{run_id}/artifacts/{name}"):
                    path.write_bytes(content)
    return done


def run_ids(folder):
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        rows = database.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")
        return {run_id for (run_id,) in rows}


@pytest.mark.parametrize("case", CASES)
def test_a_store_that_anybody_wrote(swept_project, tmp_path, case):
    rng = random.Random(case)
    folder = copy_project(swept_project, tmp_path / "study")
    done = damage(folder, rng)
    before = run_ids(folder)
    commands = COMMANDS if case < 10 and case else [COMMANDS[case % len(COMMANDS)]]
    for argv in commands:
        with started(folder, *argv) as command:
            status, out, err = command.wait()
        assert status in (0, 1, 2), (done, out, err)
        assert "Traceback" not in out + err, (done, err)
        complaints = [line for line in err.splitlines() if "error:" in line]
        assert len(complaints) <= 1, (done, complaints)
        assert "\x1b[31m" not in out + err
        assert command.peak < 2 * 2**30, (done, command.peak)
        assert before <= run_ids(folder)


# Experiment files

VALUES = (
    *("None", "True", "1", "-1", "0", "'x'", "''", "()", "(1,)", "[]", "{}", "float('nan')", "float('inf')"),
    *("10**400", "object()", "lambda: 1", "Config", "(Config(),)", "b'x'", "np.float64(2)", "np.arange(3)"),
    *("np.bool_(True)", "'\\x1b[31m\\n\\u202e'", "1 / 0", "A", "(A, A)", "Contrast(A, B)", "'a' * 10**6"),
    *("range(3)", "set()"),
)
FIELDS = (
    *("title={0}", "question={0}", "configs={0}", "contrasts={0}", "figures={0}", "order={0}", "crossed={0}"),
    *("contrasts=(Contrast(A, {0}),)", "contrasts=(Contrast(A, B, delta={0}),)", "figures=(Figure({0}),)"),
    *("contrasts=(Contrast(A, B, primary={0}),)", "configs=(Config(epochs={0}), A)"),
    *("configs=grid(A, learning_rate={0})", "configs=grid(A, hidden={0})"),
)
DECLARATIONS = ("{0}", *(f"Experiment(**sound | dict({field}))" for field in FIELDS))
HEAD = """
import numpy as np

from qwerties import Config, Contrast, Experiment, Figure, grid

A, B = Config(epochs=2), Config(epochs=2, loss="mse")
sound = {"title": "T", "question": "?", "configs": (A, B)}
experiment = """


@pytest.mark.parametrize(
    "case", [0, *(pytest.param(case, marks=pytest.mark.thorough) for case in range(1, 30))]
)
def test_files_that_declare_anything(tmp_path, empty_database, case):
    """The one sound file among them is swept whatever the others declare."""
    rng = random.Random(case)
    sources = [HEAD + rng.choice(DECLARATIONS).format(rng.choice(VALUES)) + "\n" for _ in range(20)]
    files = {f"odd{i}": source for i, source in enumerate(sources)}
    folder = make_folder(tmp_path / "study", tiny=TINY, **files)
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    with started(folder, "sweep", "--dry-run", "--seeds", "2") as command:
        status, out, err = command.wait()
    assert status in (0, 1), err
    assert "Traceback" not in out + err
    lines = [line for line in err.splitlines() if "error:" in line]
    named = [line.partition("experiments/")[2].partition(".py")[0] for line in lines]
    assert len(named) == len(set(named))
    assert all(line.isprintable() and len(line) < 2100 for line in lines)
    assert "tiny" in out
    sound = [name for name in files if name not in named]
    for name in (*named, *sound[3:]):
        (folder / "experiments" / f"{name}.py").unlink()
    run(folder, "sweep", "--seeds", "2", "--jobs", "1", "--no-report", "--settle", "none")
    assert len(run_ids(folder)) >= 2
