"""The command line: a wrong request is one clear line and exit status 2, and leaves nothing behind."""

import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from factories import new_store
from mlflow import MlflowClient

from qwerties.cli import main as cli
from qwerties.cli import project as folder
from qwerties.tracking import store as tracking
from qwerties.tracking.uri import default_uri

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)  # MLflow's own

COMMANDS = ("sweep", "train", "report", "status", "verify", "ui", "relocate")

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


MAX_SEEDS, MAX_SEED = 1_000_000, 2**31 - 1

WRONG = {
    "sweep tinny": "experiment must be one of tiny, got 'tinny' (did you mean tiny?)",
    "sweep tiny completely-different": "experiment must be one of tiny, got 'completely-different'",
    "sweep _shared": "experiment must be one of tiny, got '_shared'",
    "sweep tiny.py": "experiment must be one of tiny, got 'tiny.py' (did you mean tiny?)",
    "sweep ../tiny": "experiment must be one of tiny, got '../tiny' (did you mean tiny?)",
    "sweep --seeds 0": f"argument --seeds: seeds must be a whole number from 1 to {MAX_SEEDS}, got '0'",
    "sweep --seeds -1": f"argument --seeds: seeds must be a whole number from 1 to {MAX_SEEDS}, got '-1'",
    "sweep --seeds x": f"argument --seeds: seeds must be a whole number from 1 to {MAX_SEEDS}, got 'x'",
    "sweep --seeds 1.5": f"argument --seeds: seeds must be a whole number from 1 to {MAX_SEEDS}, got '1.5'",
    "sweep --seeds 1000001": f"argument --seeds: seeds must be a whole number from 1 to {MAX_SEEDS}, got '1000001'",
    "sweep --seeds": "argument --seeds: expected one argument",
    "sweep --jobs 0": "argument --jobs: jobs must be a whole number from 1 to 1024, got '0'",
    "sweep --jobs all": "argument --jobs: jobs must be a whole number from 1 to 1024, got 'all'",
    "sweep --frobnicate": "unrecognized arguments: --frobnicate",
    "": "the following arguments are required: COMMAND",
    "train extra": "unrecognized arguments: extra",
    "train --epochs 0": "epochs must be a whole number from 1 to 10000000, got 0",
    "train --epochs 1e3": "epochs must be a whole number, got '1e3'",
    "train --loss hinge": "loss must be one of bce, mse, got 'hinge'",
    "train --activation gelu": "activation must be one of relu, linear, tanh, sigmoid, got 'gelu'",
    "train --init xavier": "init must be one of pytorch, he, got 'xavier'",
    "train --hidden 0": "hidden must be one or more whole numbers from 1 to 1024, at most 64 layers, got (0,)",
    "train --hidden 8x0": "hidden must be one or more whole numbers from 1 to 1024, at most 64 layers, got (8, 0)",
    "train --hidden a": "hidden must be widths such as 8 or 8x8, got 'a'",
    "train --hidden 8xx8": "hidden must be widths such as 8 or 8x8, got '8xx8'",
    "train --distance nan": "distance must be a finite number from 0 to 100, got nan",
    "train --distance inf": "distance must be a finite number from 0 to 100, got inf",
    "train --distance -1": "distance must be a finite number from 0 to 100, got -1.0",
    "train --distance far": "distance must be a number, got 'far'",
    "train --samples 0": "samples must be a whole number from 1 to 1000000, got 0",
    "train --learning-rate 0": "learning_rate must be a finite number above 0, got 0.0",
    "train --learning-rate nan": "learning_rate must be a finite number above 0, got nan",
    "train --momentum 1": "momentum must be a number from 0 to below 1, got 1.0",
    "train --optimizer adam --momentum .9": "momentum must be 0 where optimizer is adam (it has its own), got 0.9",
    "train --output-scale inf": "output_scale must be a finite number, got inf",
    "train --seed -1": f"argument --seed: seed must be a whole number from 0 to {MAX_SEED}, got '-1'",
    "train --seed 2147483648": f"argument --seed: seed must be a whole number from 0 to {MAX_SEED}, got '2147483648'",
    "train --epochs 0 --loss hinge": (
        "loss must be one of bce, mse, got 'hinge'; epochs must be a whole number from 1 to 10000000, got 0"
    ),
    "ui --port 0": "argument --port: port must be a whole number from 1 to 65535, got '0'",
    "ui --port http": "argument --port: port must be a whole number from 1 to 65535, got 'http'",
}


@pytest.mark.parametrize(("argv", "message"), WRONG.items(), ids=WRONG)
def test_wrong_requests(refused, argv, message):
    assert refused(*argv.split()) == message


def test_an_unknown_command_is_told_with_those_that_there_are(refused):
    message = refused("swep")
    assert message.startswith("argument COMMAND: invalid choice: 'swep' (")
    assert set(COMMANDS) <= set(re.findall(r"\w+", message.partition("(")[2]))


def test_experiments_are_told_in_order_and_the_closest_is_proposed(refused, repository):
    for name in ("loss", "depth"):
        (repository / "experiments" / f"{name}.py").write_text(TINY)
    with pytest.raises(AssertionError):  # the files that this test made
        refused("sweep", "los")
    with pytest.raises(folder.UsageError) as caught:
        folder.choose(["depht"], [path.stem for path in folder.experiment_files(repository)])
    assert (
        str(caught.value) == "experiment must be one of depth, loss, tiny, got 'depht' (did you mean depth?)"
    )


def test_a_name_given_twice_counts_once():
    assert folder.choose(["b", "a", "b"], ["a", "b", "c"]) == ["b", "a"]
    assert folder.choose([], ["a", "b"]) == ["a", "b"]


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


@pytest.mark.parametrize("command", COMMANDS)
def test_no_repository_here(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([command]) == 2
    expected = f"no experiments/ beside a pyproject.toml with a table [tool.qwerties] in {tmp_path} or above"
    assert capsys.readouterr() == ("", f"qwerties: error: {expected}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_repository_is_found_from_below(repository, monkeypatch):
    below = repository / "experiments" / "notes"
    below.mkdir()
    monkeypatch.chdir(below)
    assert folder.enter_root() == repository
    assert Path.cwd() == repository


# Stores that cannot be used


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", ["sweep --no-report", "train", "report", "status", "ui"])
@pytest.mark.parametrize("store", ["dead port", "bad scheme", "missing folder", "folder", "no database"])
def test_a_store_that_cannot_be_used(refused, repository, monkeypatch, tmp_path_factory, command, store):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "notes.txt").write_text("no database\n" * 100)
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        uri, message = {
            "dead port": (
                f"http://127.0.0.1:{port}",
                f"the tracking server http://127.0.0.1:{port} must answer, got: [Errno 111] Connection refused",
            ),
            "bad scheme": (
                "gopher://x",
                "MLFLOW_TRACKING_URI must be sqlite:///..., postgresql://..., mysql://... or http(s)://..., "
                "got gopher://x",
            ),
            "missing folder": (
                f"sqlite:///{elsewhere}/none/mlflow.db",
                f"the store's folder must exist, got {elsewhere}/none",
            ),
            "folder": (f"sqlite:///{elsewhere}", f"the store must be a file, got the folder {elsewhere}"),
            "no database": (
                f"sqlite:///{elsewhere}/notes.txt",
                f"the store sqlite:///{elsewhere}/notes.txt cannot be opened: "
                "(sqlite3.DatabaseError) file is not a database",
            ),
        }[store]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert refused(*command.split()) == message
    assert [path.name for path in elsewhere.iterdir()] == ["notes.txt"]


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
    monkeypatch.setattr(tracking.subprocess, "Popen", server)
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
    assert not (repository / "mlflow.db").exists()


def test_help_of_train_tells_every_knob_and_its_default(repository, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for option, default in {
        "--loss bce|mse": "bce",
        "--activation relu|linear|tanh|sigmoid": "relu",
        "--hidden TUPLE": "1",
        "--distance FLOAT": "4.0",
        "--samples INT": "100",
        "--epochs INT": "2000",
        "--learning-rate FLOAT": "0.01",
        "--optimizer sgd|adam": "sgd",
        "--momentum FLOAT": "0.0",
        "--output-scale FLOAT": "1.0",
        "--init pytorch|he": "pytorch",
        "--seed N": "0",
    }.items():
        assert f"{option} default: {default}" in text
