"""The command line: a wrong request is one clear line and exit status 2, and leaves nothing behind."""

import io
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from factories import make_folder, new_store

from qwerties.cli import main as cli
from qwerties.cli import project
from qwerties.cli.progress import Progress
from qwerties.cli.reference import reference
from qwerties.errors import command as called
from qwerties.errors import suggestion
from qwerties.execution.workers import WorkerLostError
from qwerties.tracking import store as tracking
from qwerties.tracking.uri import default_uri

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
NEEDED = {"compare": ("a.csv", "b.csv", "--metric", "m"), "export": ("x.tar.gz",), "import": ("x.tar.gz",)}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository in which the process works."""
    folder = make_folder(tmp_path / "study")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def test_the_closest_name_is_suggested_and_none_where_none_is_close():
    names = ["depth", "distance", "loss"]
    assert suggestion("depht", names) == suggestion("dep", names) == " (did you mean depth?)"
    assert suggestion("x", names) == suggestion("d", names) == suggestion("", names) == ""


@pytest.mark.parametrize("makefile", [None, "test:\n\tpytest\n", MAKEFILE])
def test_messages_name_make_only_where_the_makefile_has_the_commands(makefile, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if makefile is not None:
        Path("Makefile").write_text(makefile)
    shown = [called("ui"), called("sweep", "loss", settle="all", max_seeds="N")]
    if makefile == MAKEFILE:
        assert shown == ["make ui", "make sweep ONLY=loss SETTLE=all MAX_SEEDS=N"]
    else:
        assert shown == ["qwerties ui", "qwerties sweep loss --settle all --max-seeds N"]


@pytest.mark.parametrize("command", [name for name in cli.COMMANDS if name != "compare"])
def test_no_repository_here(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([command, *NEEDED.get(command, ())]) == 2
    expected = f"no experiments/ beside a pyproject.toml with a table [tool.qwerties] in {tmp_path} or above"
    assert capsys.readouterr() == ("", f"qwerties: error: {expected}\n")
    assert list(tmp_path.iterdir()) == []


def test_kernels_that_nothing_has_loaded_for_months_are_removed(repository, monkeypatch):
    kernels = repository / ".cache" / "kernels"
    kernels.mkdir(parents=True)
    days = {"old.so": 100, "new.so": 30, "old.txt": 100}
    for name, age in days.items():
        (kernels / name).touch()
        os.utime(kernels / name, (time.time() - age * 86400,) * 2)
    project.enter_root()  # the user's own folder of kernels, which the tests have, is left alone
    assert {path.name for path in kernels.iterdir()} == set(days)
    monkeypatch.delenv("QWERTIES_KERNELS")
    project.enter_root()
    assert {path.name for path in kernels.iterdir()} == {"new.so", "old.txt"}


def test_a_repository_is_found_from_below(repository, monkeypatch):
    below = repository / "experiments" / "notes"
    below.mkdir()
    monkeypatch.chdir(below)
    assert project.enter_root() == repository
    assert Path.cwd() == repository


def test_a_program_that_has_ended_its_work_is_not_interrupted(tmp_path):
    """Workers are ended as the interpreter exits; Ctrl-C would print a traceback there."""
    code = "import sys, signal, qwerties.cli.main as cli; cli.main(); signal.raise_signal(2); print('ended')"
    command = [sys.executable, "-c", code, "status"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "ended\n"


# The UI


def test_a_port_that_is_taken(repository, capsys):
    new_store(repository)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["ui", "--port", str(port)]) == 2
    expected = f"qwerties: error: --port must be free, got {port} (Address already in use)\n"
    assert capsys.readouterr() == ("", expected)


def test_ui_serves_the_store_on_loopback_and_prints_the_classic_runs_view(repository, capsys, monkeypatch):
    called = []

    start = subprocess.Popen

    def server(command, *, env, **options):
        called.append((command, env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"], env["MLFLOW_BACKEND_STORE_URI"]))
        return start([sys.executable, "-c", "raise SystemExit(7)"], **options)  # a server that ends at once

    uri = default_uri(repository)
    experiment_id = tracking.Store(uri).experiment("tiny", {})
    monkeypatch.setattr("subprocess.Popen", server)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    assert cli.main(["ui", "--port", port]) == 7
    ((command, jobs, served),) = called
    assert command[-8:] == [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", port]
    assert (jobs, served) == ("false", uri)
    link = f"http://127.0.0.1:{port}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    assert capsys.readouterr().out.splitlines()[0] == link


# Help


@pytest.mark.parametrize("argv", [(), *((command,) for command in cli.COMMANDS)], ids=str)
def test_help(argv, repository, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([*argv, "--help"])
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(" ".join(("usage: qwerties", *argv)))
    if argv:
        assert f"\nexample:\n  qwerties {argv[0]}" in out
    assert max(map(len, out.splitlines())) <= 80
    assert not (repository / "mlflow.db").exists()


def test_examples_of_the_help_can_be_parsed():
    examples = re.findall(r"```\n(qwerties .*)\n```", reference())
    assert [line.split()[1] for line in examples] == list(cli.COMMANDS)
    for line in examples:
        assert cli.build_parser().parse_args(line.split()[1:]).command == line.split()[1]


def test_the_reference_holds_every_option_with_its_default(monkeypatch):
    text = reference()
    for line in (
        "| [`qwerties compare`](#qwerties-compare) | the verdict on two tables of paired results |",
        "| `--seeds N` | seeds per config (default: 500) |",
        "| `--init pytorch\\|he` | initial weights: PyTorch's or He's (default: pytorch) |",
        "| `--output-scale X` | factor of the initial output weights (default: 1.0) |",
        "| `--seed N` | fixes the data and the initial weights (default: 0) |",
        "| `--metric NAME (required)` | column to compare; more is better |",
        "| `FILE ...` | A and B; or one long table |",
        "| `--arms A B` | of a long table: two values of --arm |",
        "| `--dry-run` | write and train nothing; say what would be trained, and about how long it takes |",
    ):
        assert line in text.splitlines()
    monkeypatch.setenv("COLUMNS", "31")
    assert reference() == text


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("qwerties.cli.progress.SECONDS_BETWEEN_LINES", 0)
    with Progress("sweep", 1.0, stay=True) as progress:
        time.sleep(0.002)
        progress.show("1/4 runs", 0.25)
        progress.show("4/4 runs", 1.0)
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"sweep:  25% 1/4 runs \[00:00<.*\]", lines[0])
    assert re.fullmatch(r"sweep: 100% 4/4 runs \[00:00<00:00\]", lines[-1])
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
def test_work_without_parts_or_without_news_says_nothing(monkeypatch, make):
    stream = make()
    monkeypatch.setattr("sys.stderr", stream)
    with Progress("sweep", 1.0, stay=True), Progress("report"):
        pass
    assert stream.getvalue().strip() == ""


def test_progress_is_a_bar_on_a_terminal_that_goes_when_the_work_is_done(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with Progress("export", 0) as progress:
        time.sleep(0.11)
        progress.show_bytes(3_000_000, 6_000_000)
    assert re.search(r"\rexport:  50%\|.+\| 3 of 6 MB \[", stream.getvalue())
    assert stream.getvalue().endswith("\r")


# Output that cannot be written


def test_an_error_is_one_line_without_passwords_and_with_its_hint(monkeypatch, capsys):
    def lost(arguments):
        raise WorkerLostError("http://me:secret@host: all\nwere lost")

    monkeypatch.setattr("qwerties.cli.ui.run", lost)
    assert cli.main(["ui"]) == 1
    assert capsys.readouterr().err == (
        "qwerties: error: http://me:***@host: all were lost; what is tracked stays, the same command goes on from "
        "there, and takes less memory with --jobs 1\n"
    )
