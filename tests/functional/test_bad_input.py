"""Whatever is wrong in a request, the environment, an experiment or the store: one line that says it, and no harm."""

import os
import re
import socket
import sqlite3
import sys
import threading
from contextlib import closing

import pytest
import torch
from factories import call, empty_database, files, fill, make_folder, refusal
from projects import copy_project

from qwerties.tracking import uri as tracking_uri
from qwerties.tracking.uri import default_uri

HEAD = """
from qwerties.config import Config
from qwerties.study.experiment import Contrast, Experiment, Figure, grid

A, B = grid(Config(epochs=2), loss=("bce", "mse"))
"""


def source(**fields):
    """An experiment with fields as they are given, in Python."""
    given = {"title": "'T'", "question": "'Q'", "configs": "(A, B)", **fields}
    return f"{HEAD}experiment = Experiment({', '.join(f'{name}={value}' for name, value in given.items())})\n"


@pytest.fixture(scope="module")
def free_port():
    """A port that nobody listens on."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(scope="module")
def home(swept_project, tmp_path_factory):
    """A repository whose one experiment is tracked."""
    folder = copy_project(swept_project, tmp_path_factory.mktemp("bad") / "home")
    (folder / "experiments" / "_shared.py").write_text("raise RuntimeError('no experiment')\n")
    (folder / "taken.tar.gz").write_bytes(b"taken")
    (folder / "notes.tar.gz").write_text("notes\n")
    return folder


@pytest.fixture
def bare(tmp_path):
    """A repository without a store."""
    folder = make_folder(tmp_path / "bare", tiny=source())
    (folder / "notes.tar.gz").write_text("notes\n")
    return folder


COMMANDS = (
    *("sweep", "report", "status", "ui", "compare", "train", "map", "verify"),
    *("export", "import", "relocate"),
)
SEEDS = "seeds must be a whole number from 1 to 1000000, got"  # after the hyphens
JOBS = "--jobs must be a whole number from 1 to 1024, got"
SHAPE = "hidden must be one or more whole numbers from 1 to 1024, at most 64 layers, got"
SCHEDULER = "--scheduler must look like tcp://HOST:PORT or tls://HOST:PORT, got"
NETWORKS = "--networks must be a whole number from 1 to 1000000, got"
ARCHIVE = "FILE must be a whole study from `qwerties export`, got"
NO_FILE = "the following arguments are required: FILE"

OPTIONS = {
    "": "the following arguments are required: COMMAND",
    "swep": f"COMMAND must be one of {', '.join(COMMANDS)}, got 'swep' (did you mean sweep?)",
    "--sweep": "unrecognized arguments: --sweep",
    "sweep tinny": "experiment must be one of tiny, got 'tinny' (did you mean tiny?)",
    "sweep tiny completely-different": "experiment must be one of tiny, got 'completely-different'",
    "sweep _shared": "experiment must be one of tiny, got '_shared'",
    "sweep ../tiny": "experiment must be one of tiny, got '../tiny' (did you mean tiny?)",
    "sweep a\tb\x1b": "experiment must be one of tiny, got 'a\\tb\\x1b'",
    "sweep --seeds 0": f"--{SEEDS} '0'",
    "sweep --seeds -1": f"--{SEEDS} '-1'",
    "sweep --seeds 1e3": f"--{SEEDS} '1e3'",
    "sweep --seeds 1000001": f"--{SEEDS} '1000001'",
    "sweep --seeds ": "--seeds: expected one argument",
    "sweep --seed 3": "unrecognized arguments: --seed (did you mean --seeds?)",
    "sweep --jobs 1025": f"{JOBS} '1025'",
    "sweep --jobs 2.5": f"{JOBS} '2.5'",
    "sweep --max-seeds 100": "--max-seeds must be at least --seeds, 500, got 100",
    "sweep --settle some": "--settle must be one of primary, all, none, got 'some'",
    "sweep --device cude": "--device must be one of cpu, cuda, auto, got 'cude' (did you mean cuda?)",
    "sweep --device gpu": "--device must be one of cpu, cuda, auto, got 'gpu'",
    "sweep --backend ray": "--backend must be one of loky, dask, got 'ray'",
    "sweep --backend dask": "--backend dask needs --scheduler tcp://HOST:PORT, got none",
    "sweep --scheduler tcp://127.0.0.1:8786": "--scheduler needs --backend dask, got --backend loky",
    "sweep --backend dask --scheduler 127.0.0.1:8786": f"{SCHEDULER} '127.0.0.1:8786'",
    "sweep --backend dask --scheduler http://127.0.0.1:8786": f"{SCHEDULER} 'http://127.0.0.1:8786'",
    "sweep --backend dask --scheduler tcp://127.0.0.1": f"{SCHEDULER} 'tcp://127.0.0.1'",
    "sweep --backend dask --scheduler tcp://127.0.0.1:65536": f"{SCHEDULER} 'tcp://127.0.0.1:65536'",
    "sweep --backend dask --scheduler tcp://me@host:1": f"{SCHEDULER} 'tcp://me@host:1'",
    "sweep tiny --frob\nnicate": "unrecognized arguments: --frob nicate",
    "train extra": "unrecognized arguments: extra",
    "train --activation relo": "activation must be one of relu, linear, tanh, sigmoid, got 'relo' (did you mean relu?)",
    "train --hidden 2000": f"{SHAPE} (2000,)",
    "train --hidden 8xx8": "hidden must be widths such as 8 or 8x8, got '8xx8'",
    "train --samples 1.5": "samples must be a whole number, got '1.5'",
    "train --learning-rate inf": "learning_rate must be a finite number above 0, got inf",
    "train --output-scale -inf": "output_scale must be a finite number, got -inf",
    "train --output-scale -1e-3 --epochs 0": "epochs must be a whole number from 1 to 10000000, got 0",
    "train --optimizer adam --momentum .9": "momentum must be 0 where optimizer is adam (it has its own), got 0.9",
    "train --epochs 0 --loss hinge": (
        "loss must be one of bce, mse, got 'hinge'; epochs must be a whole number from 1 to 10000000, got 0"
    ),
    "train --seed -1": "--seed must be a whole number from 0 to 2147483647, got '-1'",
    "report --output .": "--output must be a file, got the folder {folder}",
    "report --output experiments/tiny.py": "--output must end in .html or .htm, got 'experiments/tiny.py'",
    "report --output none/x.html": "--output must be in a folder that exists, got {folder}/none",
    "report --check": (
        "--check needs the verdicts of a report, got none in {folder}/reports/verdicts.json: qwerties report"
    ),
    "report --check --output notes.html": (
        "--check needs the verdicts of a report, got none in {folder}/notes-verdicts.json: qwerties report"
    ),
    "status --xml": "unrecognized arguments: --xml",
    "verify --networks 0": f"{NETWORKS} '0'",
    "verify --networks all": f"{NETWORKS} 'all'",
    "verify --seed x": "--seed must be a whole number from 0 to 2147483647, got 'x'",
    "relocate here": "unrecognized arguments: here",
    "export": NO_FILE,
    "export study.zip": "FILE must end with .tar.gz, got study.zip",
    "export none/study.tar.gz": "FILE must be in a folder that exists, got {folder}/none",
    "export taken.tar.gz": "FILE must not be there yet, got {folder}/taken.tar.gz",
    "import": NO_FILE,
    "import notes.tar.gz": "import overwrites nothing: the folder must hold no study, got {folder}/mlflow.db",
    "ui --port 0": "--port must be a whole number from 1 to 65535, got '0'",
    "ui --port 65536": "--port must be a whole number from 1 to 65535, got '65536'",
    "ui --port http": "--port must be a whole number from 1 to 65535, got 'http'",
}


@pytest.mark.parametrize(("request_", "message"), OPTIONS.items(), ids=map(repr, OPTIONS))
def test_a_bad_option(home, request_, message):
    assert refusal(home, *filter(None, request_.split(" "))) == message.format(folder=home)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_a_gpu_that_is_not_there(home):
    assert refusal(home, "sweep", "--device", "cuda") == (
        f"--device cuda needs a CUDA device that PyTorch can use, got none (PyTorch {torch.__version__})"
    )


def test_a_scheduler_that_does_not_answer(home, free_port):
    address = f"tcp://127.0.0.1:{free_port}"
    assert refusal(home, "sweep", "--backend", "dask", "--scheduler", address) == (
        f"--scheduler must be the address of a Dask scheduler that answers, got {address}: "
        "[Errno 111] Connection refused"
    )


def test_a_scheduler_that_says_nothing(home, monkeypatch):
    """Some other server, that takes the connection and is silent."""
    monkeypatch.setattr("qwerties.execution.cluster.TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        line = refusal(home, "sweep", "--backend", "dask", "--scheduler", address)
    assert line == (
        f"--scheduler must be the address of a Dask scheduler that answers, got {address}: it said nothing for 0.5 s"
    )


def test_a_scheduler_that_is_some_other_server(home):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet():
            with closing(other.accept()[0]) as connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        threading.Thread(target=greet, daemon=True).start()
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        assert refusal(home, "sweep", "--backend", "dask", "--scheduler", address) == (
            f"--scheduler must be the address of a Dask scheduler that answers, got {address}: it is some other server"
        )


@pytest.mark.parametrize("missing", ["dask", "distributed"])
def test_an_extra_that_is_not_installed(home, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert refusal(home, "sweep", "--backend", "dask", "--scheduler", "tcp://127.0.0.1:8786") == (
        "--backend dask needs the extra `cluster`, which is not installed: pip install -c constraints.txt -e "
        "'.[cluster]' (make sweep BACKEND=dask does so)"
    )


FRESH = {
    "import none.tar.gz": "FILE must be a study from `qwerties export`, got {folder}/none.tar.gz, which is no file",
    "import experiments": "FILE must be a study from `qwerties export`, got {folder}/experiments, which is no file",
    "import notes.tar.gz": f"{ARCHIVE} {{folder}}/notes.tar.gz: Not a gzipped file (b'no')",
    "export study.tar.gz": "nothing tracked yet: qwerties sweep",
}


@pytest.mark.parametrize(("request_", "message"), FRESH.items(), ids=FRESH)
def test_a_bad_option_where_nothing_is_tracked(bare, request_, message):
    assert refusal(bare, *request_.split()) == message.format(folder=bare)


# The environment

SCHEMES = "MLFLOW_TRACKING_URI must be sqlite:///..., postgresql://..., mysql://... or http(s)://..., got"
SILENT = "must answer, got: [Errno 111] Connection refused"
OPENED = "cannot be opened:"

ADDRESSES = {
    "gopher://x": f"{SCHEMES} gopher://x",
    "mlruns": f"{SCHEMES} mlruns",
    "file:///tmp/mlruns": f"{SCHEMES} file:///tmp/mlruns",
    "sqlite://mlflow.db": f"{SCHEMES} sqlite://mlflow.db",
    "databricks": f"{SCHEMES} databricks",
    "sqlite:///": "the store must be a file, got the folder .",
    "sqlite:///{folder}": "the store must be a file, got the folder {folder}",
    "sqlite:///{folder}/none/mlflow.db": "the store's folder must exist, got {folder}/none",
    "sqlite:///:memory:": "the store must be a file, without options, got sqlite:///:memory:",
    "sqlite:///{folder}/mlflow.db?mode=ro": (
        "the store must be a file, without options, got sqlite:///{folder}/mlflow.db?mode=ro"
    ),
    "sqlite:///{folder}/notes.tar.gz": (
        f"the store sqlite:///{{folder}}/notes.tar.gz {OPENED} (sqlite3.DatabaseError) file is not a database"
    ),
    "http://": "the tracking server http:// must answer, got: ",
    "http://[::1": "the tracking server http://[::1 must answer, got: ",
    "http://127.0.0.1:x": "the tracking server http://127.0.0.1:x must answer, got: ",
    "http://127.0.0.1:{port}": f"the tracking server http://127.0.0.1:{{port}} {SILENT}",
    "http://me:hush@127.0.0.1:{port}": f"the tracking server http://me:***@127.0.0.1:{{port}} {SILENT}",
    "http://me:hush@hu/sh@127.0.0.1:{port}": (
        "the tracking server http://me:***@127.0.0.1:{port} must answer, got: "
    ),
    "mysql+none://me:hush@127.0.0.1/db": (
        f"the store mysql+none://me:***@127.0.0.1/db {OPENED} Can't load plugin: sqlalchemy.dialects:mysql.none"
    ),
    "mysql+none://127.0.0.1/db?password=hush&x=1": (
        f"the store mysql+none://127.0.0.1/db?password=***&x=1 {OPENED} "
        "Can't load plugin: sqlalchemy.dialects:mysql.none"
    ),
}


@pytest.mark.parametrize(("address", "message"), ADDRESSES.items(), ids=map(repr, ADDRESSES))
def test_a_bad_address_of_the_store(home, free_port, monkeypatch, address, message):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(folder=home, port=free_port))
    told = refusal(home, "sweep", "--no-report")
    assert "hush" not in told
    if message.endswith("got: "):
        assert told.startswith(message.format(folder=home, port=free_port))
    else:
        assert told == message.format(folder=home, port=free_port)


def test_a_driver_that_is_not_installed(home, monkeypatch):
    def absent(*arguments, **settings):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:hush@127.0.0.1/x")
    monkeypatch.setattr(tracking_uri.sa, "create_engine", absent)
    assert refusal(home, "status") == (
        "the database postgresql://me:***@127.0.0.1/x needs the package psycopg, which is not installed: "
        "pip install 'qwerties[server]'"
    )


@pytest.mark.parametrize("command", ["sweep --no-report", "status", "train", "map", "report", "verify", "ui"])
def test_every_command_names_a_store_that_cannot_be_used(home, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/none/mlflow.db")
    assert refusal(home, *command.split()) == f"the store's folder must exist, got {home}/none"


@pytest.mark.parametrize("command", ["relocate", "export x.tar.gz", "import x.tar.gz"])
def test_a_server_is_no_folder(home, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hush@127.0.0.1")
    name, message = command.split()[0], "is for the store in this folder, MLFLOW_TRACKING_URI names"
    told = "relocate mends a SQLite store, got" if name == "relocate" else f"{name} {message}"
    assert refusal(home, *command.split()) == f"{told} http://me:***@127.0.0.1"


# Experiments

BROKEN = {
    "syntax": ("x =\n", "SyntaxError: invalid syntax (syntax.py, line 1)"),
    "import": ("import qwertiez\n", "ModuleNotFoundError: No module named 'qwertiez' (line 1)"),
    "bytes": ("x = 1\0", "SyntaxError: source code string cannot contain null bytes"),
    "quits": ("raise SystemExit(3)\n", "SystemExit: 3 (line 1)"),
    "ends": ("raise GeneratorExit\n", "GeneratorExit: no message (line 1)"),
    "lines": ("raise RuntimeError('\\n\\x1b[31mred\\nmore')\n", "RuntimeError:  [31mred (line 1)"),
    "mute": (
        "class MuteError(Exception):\n    def __str__(self):\n        raise ValueError\n\nraise MuteError\n",
        "MuteError: no message (line 5)",
    ),
    "empty": ("", "it must define `experiment`, an Experiment or a Tuning"),
    "type": ("experiment = 'odd'\n", "it must define `experiment`, an Experiment or a Tuning"),
    "class": (f"{HEAD}experiment = Experiment\n", "it must define `experiment`, an Experiment or a Tuning"),
    "title": (source(title="3"), "ValueError: title must be text, got 3 (line 6)"),
    "margin": (
        source(contrasts="(Contrast(A, B, delta='0.1'),)"),
        "ValueError: delta must be a number above 0 and below 1 (0.01 is one point), got '0.1' (line 6)",
    ),
    "config": (
        source(configs="grid(Config(epochs=0))"),
        "ValueError: epochs must be a whole number from 1 to 10000000, got 0 (line 6)",
    ),
    "tuning": (
        "from qwerties.tuning import TunedArm, Tuning\n"
        "experiment = Tuning('T', 'Q', (TunedArm('best', lambda trial: 1 / 0),))\n",
        "arm best: space must return a Config, got ZeroDivisionError: division by zero (for {})",
    ),
}


@pytest.mark.parametrize("option", ["--no-report", "--dry-run"])
def test_experiments_that_do_not_work_are_named_and_the_others_go_on(bare, option):
    (bare / "mlflow.db").write_bytes(empty_database())
    for name, (source_, _) in BROKEN.items():
        (bare / "experiments" / f"{name}.py").write_text(source_)
    out, err = call(bare, "sweep", "--seeds", "2", "--jobs", "1", option, status=1)
    complaints = [line for line in err.splitlines() if line.startswith("qwerties: error: ")]
    assert "Traceback" not in err
    assert sorted(complaints) == [
        f"qwerties: error: experiments/{name}.py was left out: {message}"
        for name, (_, message) in sorted(BROKEN.items())
    ]
    counts = (
        r"2 runs of 2 planned configs tracked, 4 networks trained"
        if option == "--no-report"
        else r"tiny +2 +2 +4 "
    )
    assert re.search(counts, out)


def test_where_no_experiment_works_nothing_is_made(bare):
    for name, (source_, _) in BROKEN.items():
        (bare / "experiments" / f"{name}.py").write_text(source_)
    (bare / "experiments" / "tiny.py").unlink()
    (bare / "reports" / "summary.html").write_text("of last time")
    before = files(bare)
    out, err = call(bare, "sweep", status=1)
    assert (out, err.count("\n")) == ("", len(BROKEN))
    assert files(bare) == before


def test_no_experiment_at_all(bare):
    (bare / "experiments" / "tiny.py").unlink()
    assert refusal(bare, "sweep") == "experiments/ must hold one experiment or more, got none"


# What the store holds


def a_folder(folder):
    (folder / "mlflow.db").unlink()
    (folder / "mlflow.db").mkdir()


def no_reports(folder):
    (folder / "reports").rmdir()
    (folder / "reports").write_text("")


SPOILT = {  # by a statement, or a function
    "newer": "UPDATE alembic_version SET version_num = 'ffffffffffff'",
    "deleted": "UPDATE experiments SET lifecycle_stage = 'deleted', name = 'qwerties/tiny' WHERE name LIKE 'q%'",
    "without metrics": "DROP TABLE latest_metrics",
    "moved": "UPDATE experiments SET artifact_location = '/old/mlruns/' || experiment_id",
    "text": lambda folder: (folder / "mlflow.db").write_text("text\n" * 1000),
    "cut": lambda folder: os.truncate(folder / "mlflow.db", (folder / "mlflow.db").stat().st_size // 2),
    "a folder": a_folder,
    "bad verdicts": lambda folder: (folder / "reports" / "verdicts.json").write_text("[]"),
    "page is a folder": lambda folder: (folder / "reports" / "summary.html").mkdir(),
    "no reports": no_reports,
}


def sql(folder, statement):
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        return database.execute(statement).fetchone()


STORE = "the store sqlite:///{folder}/mlflow.db"
SCHEMA = (
    f"{STORE} {OPENED} Detected out-of-date database schema (found version ffffffffffff, but expected {{schema}}). "
    "Take a backup of your database, then run 'mlflow db upgrade <database_uri>' to migrate your database to the "
    "latest schema. NOTE: schema migration may result in database downtime - please consult your database's "
    "documentation for more detail."
)
FAILED = "the store failed, the same command goes on from there:"
MOVED = "this folder was moved or copied from /old: `qwerties relocate` mends its store"
VERDICTS = (
    "{folder}/reports/verdicts.json must hold the verdicts of a report, got TypeError: list indices must be integers "
    "or slices, not str"
)
UNCHANGED = "the database {folder}/mlflow.db cannot be changed, it is as it was:"

HELD = {
    ("newer", "sweep --no-report"): (2, SCHEMA),
    ("newer", "status"): (2, SCHEMA),
    ("newer", "verify"): (2, SCHEMA),
    ("deleted", "sweep --no-report"): (
        2,
        "experiment qwerties/tiny was deleted in MLflow; restore it with `mlflow experiments restore --experiment-id "
        "1` or remove it with `mlflow gc`",
    ),
    ("without metrics", "status"): (1, f"{FAILED} no such table: latest_metrics"),
    ("without metrics", "report"): (1, f"{FAILED} no such table: latest_metrics"),
    ("moved", "sweep"): (2, MOVED),
    ("moved", "train"): (2, MOVED),
    ("moved", "status"): (2, MOVED),
    ("moved", "export x.tar.gz"): (2, MOVED),
    ("text", "status"): (2, f"{STORE} {OPENED} (sqlite3.DatabaseError) file is not a database"),
    ("text", "relocate"): (1, f"{UNCHANGED} file is not a database"),
    ("text", "export x.tar.gz"): (2, "the database cannot be read: file is not a database"),
    ("cut", "status"): (2, f"{STORE} {OPENED} (sqlite3.DatabaseError) database disk image is malformed"),
    ("cut", "relocate"): (1, f"{UNCHANGED} database disk image is malformed"),
    ("cut", "export x.tar.gz"): (2, "the database cannot be read: database disk image is malformed"),
    ("a folder", "status"): (2, "the store must be a file, got the folder {folder}/mlflow.db"),
    ("a folder", "relocate"): (1, f"{UNCHANGED} unable to open database file"),
    ("a folder", "export x.tar.gz"): (2, "the database cannot be read: unable to open database file"),
    ("bad verdicts", "report"): (2, f"{VERDICTS}; move it out of the way"),
    ("bad verdicts", "report --check"): (2, VERDICTS),
    ("page is a folder", "report"): (
        2,
        "the report must be a file in a folder, got {folder}/reports/summary.html",
    ),
    ("no reports", "report"): (2, "the report must be a file in a folder, got {folder}/reports/summary.html"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = make_folder(tmp_path_factory.mktemp("sound") / "store", tiny=source())
    fill(folder)
    return folder


@pytest.fixture
def ours(sound, tmp_path):
    """A store to be spoilt."""
    return copy_project(sound, tmp_path / "ours")


@pytest.mark.parametrize(("spoilt", "command"), HELD)
def test_a_bad_store(ours, spoilt, command):
    status, message = HELD[spoilt, command]
    [schema] = sql(ours, "SELECT version_num FROM alembic_version")
    spoil = SPOILT[spoilt]
    sql(ours, spoil) if isinstance(spoil, str) else spoil(ours)
    assert refusal(ours, *command.split(), status=status) == message.format(folder=ours, schema=schema)


@pytest.mark.parametrize("command", ["sweep --no-report", "train", "status", "verify"])
def test_a_store_that_may_not_be_written(ours, monkeypatch, command):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert refusal(ours, *command.split()) == f"the store must be writable, got {ours}/mlflow.db"


def test_an_empty_file_is_no_store_yet(bare):
    (bare / "mlflow.db").write_bytes(b"")
    out, err = call(bare, "status", status=1)
    assert (out, err) == ("nothing tracked yet: qwerties sweep\n", "")
    assert (bare / "mlflow.db").read_bytes() == b""
    assert default_uri(bare).endswith("/bare/mlflow.db")
