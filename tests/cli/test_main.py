"""The command line: a wrong request is one clear line and exit status 2, and leaves nothing behind."""

import io
import re
import shlex
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from factories import new_store
from mlflow import MlflowClient

from qwerties.cli import main as cli
from qwerties.cli import project
from qwerties.cli.progress import Progress
from qwerties.cli.reference import reference
from qwerties.errors import UsageError, suggestion
from qwerties.execution.workers import WorkerLostError
from qwerties.study import loading
from qwerties.tracking import store as tracking
from qwerties.tracking.uri import default_uri

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)  # MLflow's own

COMMANDS = (
    *("sweep", "report", "status", "ui", "compare", "train", "map", "verify"),
    *("export", "import", "relocate"),
)
NEEDED = {"compare": ("a.csv", "b.csv", "--metric", "m"), "export": ("x.tar.gz",), "import": ("x.tar.gz",)}

TINY = """
from qwerties.config import Config
from qwerties.study.experiment import Experiment, grid

experiment = Experiment(title="Tiny", question="Which?", configs=grid(Config(epochs=20), loss=("bce", "mse")))
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one tiny experiment, in which the process works."""
    (tmp_path / "pyproject.toml").write_text("[tool.qwerties]\n")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.py").write_text(TINY)
    (tmp_path / "experiments" / "_shared.py").write_text("raise RuntimeError('no experiment')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def refused(repository, capsys):
    """Call the command; returns its one line, after making sure that it is all that happened."""
    before = sorted(repository.rglob("*"))

    def call(*argv):
        assert cli.main(argv) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert err.startswith("qwerties: error: ")
        assert sorted(repository.rglob("*")) == before, set(repository.rglob("*")) - set(before)
        return err.removeprefix("qwerties: error: ").rstrip("\n")

    return call


# More options are in tests/functional/test_bad_input.py
WRONG = {
    "": "the following arguments are required: COMMAND",
    "swep": f"COMMAND must be one of {', '.join(COMMANDS)}, got 'swep' (did you mean sweep?)",
    "--sweep": "unrecognized arguments: --sweep",
    "sweep tinny": "experiment must be one of tiny, got 'tinny' (did you mean tiny?)",
    "sweep tiny completely-different": "experiment must be one of tiny, got 'completely-different'",
    "sweep _shared": "experiment must be one of tiny, got '_shared'",
    "sweep tiny.py": "experiment must be one of tiny, got 'tiny.py' (did you mean tiny?)",
    "sweep ../tiny": "experiment must be one of tiny, got '../tiny' (did you mean tiny?)",
    "sweep --seeds -1": "--seeds must be a whole number from 1 to 1000000, got '-1'",
    "sweep --seeds": "--seeds: expected one argument",
    "sweep --max-sede 9": "unrecognized arguments: --max-sede (did you mean --max-seeds?)",
    "sweep --dryrun": "unrecognized arguments: --dryrun (did you mean --dry-run?)",
    "sweep --device cude": "--device must be one of cpu, cuda, auto, got 'cude' (did you mean cuda?)",
    "sweep --device gpu": "--device must be one of cpu, cuda, auto, got 'gpu'",
    "train extra": "unrecognized arguments: extra",
    "train --activation relo": "activation must be one of relu, linear, tanh, sigmoid, got 'relo' (did you mean relu?)",
    "train --hidden 8x0": "hidden must be one or more whole numbers from 1 to 1024, at most 64 layers, got (8, 0)",
    "train --hidden 8xx8": "hidden must be widths such as 8 or 8x8, got '8xx8'",
    "train --distance -1": "distance must be a finite number from 0 to 100, got -1.0",
    "train --distance far": "distance must be a number, got 'far'",
    "train --output-scale -inf": "output_scale must be a finite number, got -inf",
    "train --output-scale -1e-3 --epochs 0": "epochs must be a whole number from 1 to 10000000, got 0",
    "train --optimizer adam --momentum .9": "momentum must be 0 where optimizer is adam (it has its own), got 0.9",
    "train --epochs 0 --loss hinge": (
        "loss must be one of bce, mse, got 'hinge'; epochs must be a whole number from 1 to 10000000, got 0"
    ),
    "export": "the following arguments are required: FILE",
}


@pytest.mark.parametrize(("argv", "message"), WRONG.items(), ids=WRONG)
def test_wrong_requests(refused, argv, message):
    assert refused(*argv.split()) == message


def test_the_closest_name_is_suggested_and_none_where_none_is_close():
    names = ["depth", "distance", "loss"]
    assert suggestion("depht", names) == suggestion("dep", names) == " (did you mean depth?)"
    assert suggestion("x", names) == suggestion("d", names) == suggestion("", names) == ""
    with pytest.raises(
        UsageError, match=r"must be one of depth, distance, loss, got 'los' .did you mean loss"
    ):
        loading.select_experiments(["los"], names)


def test_a_name_given_twice_counts_once():
    assert loading.select_experiments(["b", "a", "b"], ["a", "b", "c"]) == ["b", "a"]
    assert loading.select_experiments([], ["a", "b"]) == ["a", "b"]


def test_no_experiment_at_all(repository, capsys):
    (repository / "experiments" / "tiny.py").unlink()
    assert cli.main(["sweep"]) == 2
    assert (
        capsys.readouterr().err
        == "qwerties: error: experiments/ must hold one experiment or more, got none\n"
    )


def test_report_into_a_folder(refused, repository):
    assert refused("report", "--output", ".") == f"--output must be a file, got the folder {repository}"


def test_report_into_a_folder_that_does_not_exist(refused, repository):
    message = refused("report", "--output", "none/summary.html")
    assert message == f"--output must be in a folder that exists, got {repository / 'none'}"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "compare"])
def test_no_repository_here(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([command, *NEEDED.get(command, ())]) == 2
    expected = f"no experiments/ beside a pyproject.toml with a table [tool.qwerties] in {tmp_path} or above"
    assert capsys.readouterr() == ("", f"qwerties: error: {expected}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_repository_is_found_from_below(repository, monkeypatch):
    below = repository / "experiments" / "notes"
    below.mkdir()
    monkeypatch.chdir(below)
    assert project.enter_root() == repository
    assert Path.cwd() == repository


# More stores that cannot be used are in tests/functional/test_bad_input.py


@pytest.mark.parametrize("command", ["sweep --no-report", "train", "map", "report", "status", "verify", "ui"])
def test_every_command_names_a_store_that_cannot_be_used(refused, repository, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{repository}/none/mlflow.db")
    assert refused(*command.split()) == f"the store's folder must exist, got {repository}/none"


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
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", port]
    assert called == [(command, "false", uri)]
    link = f"http://127.0.0.1:{port}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    assert capsys.readouterr().out.splitlines()[0] == link


# Experiments that do not work

BROKEN = {
    "quits": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "raises": ("raise RuntimeError('first line\\nsecond line')\n", "RuntimeError: first line"),
    "silent": ("assert False\n", "AssertionError: no message"),
    "syntax": ("x =\n", "SyntaxError: invalid syntax (syntax.py, line 1)"),
    "undefined": ("experiments = []\n", "it must define `experiment`, an Experiment or a Tuning"),
    "wrong": ("experiment = 'loss'\n", "it must define `experiment`, an Experiment or a Tuning"),
    "invalid": (
        TINY.replace("epochs=20", "epochs=0"),
        "ValueError: epochs must be a whole number from 1 to 10000000, got 0",
    ),
}


def test_experiments_that_do_not_work_are_named_and_the_others_go_on(repository, capsys):
    for name, (source, _) in BROKEN.items():
        (repository / "experiments" / f"{name}.py").write_text(source)
    assert cli.main(["sweep", "--seeds", "2", "--jobs", "1", "--no-report"]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    complaints = [line for line in err.splitlines() if line.startswith("qwerties: error: ")]
    assert complaints == [
        f"qwerties: error: experiments/{name}.py was left out: {message}"
        for name, (_, message) in sorted(BROKEN.items())
    ]
    assert out.startswith("2 runs of 2 planned configs tracked, 4 networks trained in ")
    client = MlflowClient(default_uri(repository))
    names = {
        e.name: e.experiment_id for e in client.search_experiments(filter_string="name LIKE 'qwerties/%'")
    }
    assert set(names) == {"qwerties/tiny"}
    found = client.search_runs([names["qwerties/tiny"]], filter_string="params.seeds = '0-1'")
    assert sorted(run.data.params["loss"] for run in found) == ["bce", "mse"]
    assert {run.info.status for run in found} == {"FINISHED"}


@pytest.mark.parametrize("report", [(), ("--no-report",)], ids=["with a report", "without"])
def test_where_no_experiment_works_nothing_is_made(repository, capsys, report):
    for name, (source, _) in BROKEN.items():
        (repository / "experiments" / f"{name}.py").write_text(source)
    (repository / "experiments" / "tiny.py").unlink()
    page = repository / "reports" / "summary.html"
    page.parent.mkdir()
    page.write_text("of last time")
    assert cli.main(["sweep", "--seeds", "2", "--jobs", "1", *report]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"qwerties: error: experiments/{name}.py was left out: {message}"
        for name, (_, message) in sorted(BROKEN.items())
    ]
    assert page.read_text() == "of last time"
    made = {path.name for path in repository.rglob("*") if "__pycache__" not in path.parts}
    assert made == {
        "pyproject.toml",
        "experiments",
        "_shared.py",
        *(f"{name}.py" for name in BROKEN),
        "reports",
        "summary.html",
    }


# Help


@pytest.mark.parametrize("argv", [(), *((command,) for command in COMMANDS)], ids=str)
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
    assert [line.split()[1] for line in examples] == list(COMMANDS)
    for line in examples:
        assert cli.build_parser().parse_args(line.split()[1:]).command == line.split()[1]


def test_the_reference_holds_every_option_with_its_default(monkeypatch):
    text = reference()
    for line in (
        "| [`qwerties compare`](#qwerties-compare) | the verdict on two tables of paired results |",
        "| `--seeds N` | seeds per config (default: 500) |",
        "| `--activation relu\\|linear\\|tanh\\|sigmoid` | activation of the hidden layers (default: relu) |",
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


@pytest.mark.slow
@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", "> /dev/full", "2> /dev/full", "| true"])
def test_an_output_that_is_closed_or_full_ends_without_a_traceback(repository, redirection):
    command = f"{shlex.quote(sys.executable)} -m qwerties train --epochs 0 {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=repository)
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode == (0 if "|" in redirection else 2)
