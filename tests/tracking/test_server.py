"""MLflow's UI ends with all processes that it started."""

import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from types import SimpleNamespace

import psutil
import pytest

from qwerties.tracking.server import WATCHED, serve_ui

FORKING = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"


@pytest.mark.slow
def test_a_ui_that_is_stopped_leaves_no_process(monkeypatch):
    start, processes = subprocess.Popen, []

    def server(command, *, env, start_new_session):
        process = start([sys.executable, "-c", FORKING], start_new_session=start_new_session)
        wait = process.wait

        def stopped(timeout=None):
            if timeout is not None:
                return wait(timeout)
            end = time.monotonic() + 60
            while not (children := psutil.Process(process.pid).children()) and time.monotonic() < end:
                time.sleep(0.02)
            processes.extend([psutil.Process(process.pid), *children])
            raise KeyboardInterrupt

        process.wait = stopped
        return process

    monkeypatch.setattr("subprocess.Popen", server)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = SimpleNamespace(uri="sqlite:///x.db", experiments=dict)
    with pytest.raises(KeyboardInterrupt):
        serve_ui(store, port)
    assert len(processes) == 2
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_a_server_ends_with_whoever_started_it():
    """Also if that is killed."""
    sleep = [sys.executable, "-c", FORKING]
    start = f"import subprocess, sys, time; subprocess.Popen({[sys.executable, '-c', WATCHED, *sleep]!r}, "
    start += "start_new_session=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", start]) as starter:
        process, end = psutil.Process(starter.pid), time.monotonic() + 60
        while len(below := process.children(recursive=True)) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(below) == 3  # who watches, the server, and its child
        starter.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_the_ui_of_a_server_is_the_server_s_own(capsys):
    store = SimpleNamespace(uri="http://me:secret@host:5000/", experiments=lambda: {"loss": ("7", {})})
    assert serve_ui(store, 5000) == 0
    assert (
        capsys.readouterr().out
        == "http://me:***@host:5000/#/experiments/7/runs?workflowType=machine_learning\n"
    )
    assert "MLFLOW_BACKEND_STORE_URI" not in os.environ
