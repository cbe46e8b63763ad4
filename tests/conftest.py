"""Set-up of the whole session: the same environment for everybody, and what is slow to make, made once.

A user's settings (a proxy, a matplotlibrc, the language, git's configuration, the umask, a MLflow server) must not
turn a test red; nor may it matter whether the tests were started in a terminal or as a background job.
"""

import gc
import os
import shutil
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

USERS = ("MLFLOW_", "QWERTIES_", "GIT_", "PG", "TORCHINDUCTOR_", "LC_")  # prefixes of a user's settings
for name in list(os.environ):
    if name.startswith(USERS) or name in ("LANGUAGE", "PYTHONWARNINGS", "FORCE_COLOR", "PYTHON_COLORS"):
        del os.environ[name]
os.environ |= {
    "OMP_NUM_THREADS": "1",  # as a sweep's workers; two threads that wait for one another are slow on a busy machine
    "QWERTIES_KERNELS": str(ROOT / ".cache" / "kernels"),  # compiled once, not once a test
    "TORCHINDUCTOR_CACHE_DIR": str(ROOT / ".cache" / "inductor"),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "LANG": "C.UTF-8",  # the language of PostgreSQL's and Java's messages
    "COLUMNS": "80",
    "MPLBACKEND": "agg",
    "MATPLOTLIBRC": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
os.umask(0o022)

if threading.current_thread() is threading.main_thread():
    # a background job of a shell ignores Ctrl-C, and every process that it starts inherits that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

COSTLY = ("browser", "server", "slow")  # markers of tests that are started first, so that no worker ends late


def pytest_addoption(parser):
    parser.addoption(
        "--thorough", action="store_true", help="try every odd store, declaration and environment"
    )


def pytest_configure(config):
    # torch 2.13 warns of its own code on the first compilation; as an error, that would make training fall back to
    # the eager step, and nobody would notice
    config.addinivalue_line(
        "filterwarnings", "ignore:.torch.jit.script_method. is deprecated:DeprecationWarning"
    )


def pytest_collection_modifyitems(config, items):
    if not config.getoption("thorough"):
        left_out = [item for item in items if item.get_closest_marker("thorough")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    costly = {item.path for item in items if any(item.get_closest_marker(name) for name in COSTLY)}
    items.sort(key=lambda item: item.path not in costly)


def pytest_collection_finish():
    gc.collect()
    gc.freeze()  # what is imported stays: a twentieth of the time would go into looking through it


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A SQLite file with MLflow's tables and nothing in them, to be copied."""
    from factories import empty_database

    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    path.write_bytes(empty_database())
    return path


@pytest.fixture
def project(tmp_path):
    """A project folder without experiments; its store is empty."""
    from factories import make_study

    return make_study(tmp_path / "project")


@pytest.fixture(scope="session")
def swept_project(tmp_path_factory):
    """A project whose one tiny experiment is swept; to be read only, or copied by `copy_project`."""
    from factories import call, make_study
    from projects import TINY

    folder = make_study(tmp_path_factory.mktemp("swept") / "project", tiny=TINY)
    call(folder, "sweep", "--seeds", "3", "--jobs", "1", "--no-report")
    return folder


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server on the loopback; each test creates a database of its own."""
    from benchmarks.servers import Postgres

    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mlflow_server(postgres, tmp_path_factory):
    """MLflow's own tracking server on the loopback, with PostgreSQL behind it."""
    from benchmarks.servers import Server

    server = Server(tmp_path_factory.mktemp("server"), postgres.create("mlflow"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory):
    """Two workers of a Dask cluster on the loopback."""
    from dask_cluster import DaskCluster

    with DaskCluster(tmp_path_factory.mktemp("cluster"), 2) as cluster:
        yield cluster


@pytest.fixture
def start_cluster(tmp_path):
    """A function that starts a cluster of so many workers for one test, which kills parts of it."""
    from dask_cluster import DaskCluster

    with ExitStack() as stack:
        yield lambda workers: stack.enter_context(DaskCluster(tmp_path / "cluster", workers))


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, without a window; closed after each file, as its event loop would break others'."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    assert program, f"no browser found: install one of {', '.join(names)}"
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
