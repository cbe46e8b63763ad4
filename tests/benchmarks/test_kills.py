"""A few commands are killed for real; what is lost or doubled would be noticed."""

import os
import sqlite3
import subprocess
from contextlib import closing
from multiprocessing import get_context

import pytest
from processes import run
from projects import copy_project

from benchmarks import kills

pytestmark = pytest.mark.slow


def test_commands_that_are_killed_lose_and_double_nothing(tmp_path):
    """The command `python -m benchmarks.kills` does so a hundred times."""
    out, _ = run(tmp_path, "--kills", "4", "--seed", "3", program="benchmarks.kills")
    lines = out.splitlines()
    assert len(lines) == 5
    assert lines[-1] == "4 kills, 0 did harm"


@pytest.fixture
def project(swept_project, tmp_path):
    return copy_project(swept_project, tmp_path / "project")


def change(project, *statements):
    with closing(sqlite3.connect(project / "mlflow.db")) as database, database:
        for statement in statements:
            assert database.execute(statement).rowcount


def test_a_sound_project_is_as_it_was(project, swept_project):
    found = kills.facts(project)
    assert len(found) >= 4
    assert kills.compare(found, kills.facts(swept_project)) == ""


def test_what_is_lost_doubled_or_left_running_is_noticed(project, swept_project):
    wanted = kills.facts(swept_project)
    next(project.glob("mlruns/*/*/artifacts/seeds.csv")).unlink()
    assert "1 artifacts lost" in kills.compare(kills.facts(project), wanted)
    some = "run_uuid = (SELECT min(run_uuid) FROM runs)"
    change(project, f"UPDATE runs SET status = 'RUNNING' WHERE {some}")
    assert "('running',): 1" in kills.compare(kills.facts(project), wanted)
    columns = "experiment_id, artifact_uri, status, lifecycle_stage"
    change(
        project,
        f"UPDATE runs SET status = 'FINISHED' WHERE {some}",
        f"INSERT INTO runs (run_uuid, {columns}) SELECT 'doubled', {columns} FROM runs WHERE {some}",
    )
    assert "added" in kills.compare(kills.facts(project), wanted)


def test_an_unfinished_file_is_noticed(project, swept_project):
    (project / "reports" / "summary.part").write_text("half")
    assert "*.part" in kills.compare(kills.facts(project), kills.facts(swept_project))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="commands are forked")
def test_orphans_are_noticed_and_ended(project, monkeypatch):
    """A session whose leader is gone while a child of it lives on."""
    monkeypatch.setattr(kills, "SECONDS_TO_END", 1.0)

    def orphan():
        os.setsid()
        subprocess.Popen(["sleep", "60"])

    def start(project, line):
        process = get_context("fork").Process(target=orphan)
        process.start()
        return process

    monkeypatch.setattr(kills, "start", start)
    with pytest.raises(RuntimeError, match="1 processes were left running"):
        kills.kill(project, "", 20.0)
