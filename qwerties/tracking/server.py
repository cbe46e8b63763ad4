"""MLflow's UI, served on the loopback until it is stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from qwerties.tracking.uri import HTTP, StoreError, public_uri

if TYPE_CHECKING:
    from qwerties.tracking.store import Store

SECONDS_TO_END = 3.0  # between SIGTERM and SIGKILL

# Runs a command until it ends, or until the process that started this one has ended, by `kill -9` too
WATCHED = """
import os, signal, subprocess, sys, time
parent = os.getppid()
server = subprocess.Popen(sys.argv[1:])
while server.poll() is None and os.getppid() == parent:
    time.sleep(0.5)
if server.poll() is None:
    os.killpg(0, signal.SIGKILL)
sys.exit(server.returncode)
"""


def serve_ui(store: Store, port: int) -> int:
    """Serve a store in MLflow's UI on 127.0.0.1 until it is stopped, and print the link to its view of runs.

    A tracking server has a UI of its own: only the link is printed.

    Raises
    ------
    StoreError
        If the port is taken.
    """
    ids = [experiment_id for experiment_id, _ in store.experiments().values()]
    page = f"experiments/{ids[0]}/runs?workflowType=machine_learning" if ids else "experiments"
    if store.uri.startswith(HTTP):
        print(f"{public_uri(store.uri).rstrip('/')}/#/{page}")
        return 0
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server does: old connections may linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StoreError(f"--port must be free, got {port} ({error.strerror})") from error
    print(f"http://127.0.0.1:{port}/#/{page}\n(it takes a while to answer; Ctrl-C ends it)", flush=True)
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # on the command line, everybody would see its password
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    watched = [sys.executable, "-c", WATCHED, *command]
    server = subprocess.Popen(watched, env=environment, start_new_session=True)
    try:
        return server.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):  # the whole group: workers would keep the port
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(server.pid, number)
            with suppress(subprocess.TimeoutExpired):
                server.wait(SECONDS_TO_END)
