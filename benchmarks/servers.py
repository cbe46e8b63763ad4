"""Real servers on the loopback: MLflow's, and a PostgreSQL for it to keep its store in."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from qwerties.errors import FailedError, first_line

PATIENCE = 200.0  # seconds that a server may take to answer for the first time: MLflow's sets its tables up


def missing() -> str:
    """Return why there can be no PostgreSQL here; empty where there can."""
    if _initdb() is None:
        return "no PostgreSQL"
    if find_spec("psycopg") is None:
        return "no psycopg"
    if os.getuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        return "no user postgres, and PostgreSQL does not run as root"
    return ""


def _initdb() -> Path | None:
    """Return where PostgreSQL's programs are: Debian keeps them by version, the newest last."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, default=None, key=lambda path: float(path.parts[4]))
    on_path = shutil.which("initdb")
    return newest or (Path(on_path).resolve() if on_path else None)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """A real tracking server on the loopback, to be killed and started again on the same port and store.

    Its artifacts and its log lie in a folder, and so does its database, a SQLite file, unless another is given.
    """

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.database = database or f"sqlite:///{folder / 'server.db'}"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server; return once it answers."""
        options = ["--backend-store-uri", self.database, "--port", str(self.port)]
        options += ["--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        said = self.folder / "server.log"
        with said.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", *options],
                env={**os.environ, **quiet},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None:
                raise FailedError(f"mlflow server ended with status {self.process.returncode}: {_last(said)}")
            if time.monotonic() > deadline:
                raise FailedError(f"mlflow server did not answer within {PATIENCE:g} s")
            time.sleep(0.2)

    def answers(self) -> bool:
        """Return whether the server says that it is well."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """End the server and all its processes at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Postgres:
    """A PostgreSQL of its own in a temporary folder, as the system's packages bring it."""

    def __init__(self) -> None:
        if reason := missing():
            raise FailedError(f"PostgreSQL is needed: {reason} (apt-get install postgresql)")
        found = _initdb()
        assert found is not None
        self.programs = found.parent
        self.folder = Path(tempfile.mkdtemp(prefix="qwerties-pg-"))
        self.log = self.folder.with_name(f"{self.folder.name}.log")
        self.port = free_port()
        self.identity: dict[str, Any] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def call(self, program: str, *arguments: object) -> None:
        """Run one of PostgreSQL's programs, as its user."""
        command = [str(self.programs / program), *map(str, arguments)]
        with self.log.open("a") as log:
            done = subprocess.run(
                command, check=False, stdout=log, stderr=log, cwd=self.folder, **self.identity
            )
        if done.returncode != 0:
            raise FailedError(f"{program} failed: {_last(self.log)}")

    def start(self, *, syncs: bool = False) -> None:
        """Set the folder up and start; return once it answers. Only if it ``syncs`` does it wait for the disk."""
        self.call("initdb", "-D", "data", "-A", "trust", "-U", "qwerties", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -k {self.folder}"
        options += "" if syncs else " -c fsync=off"
        self.call("pg_ctl", "-D", "data", "-o", options, "-l", "server.log", "-w", "start")

    @property
    def pid(self) -> int:
        """Of the process that all others of it hang below."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def create(self, name: str) -> str:
        """Create a database; return its URI."""
        self.call("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "qwerties", name)
        return f"postgresql://qwerties:hush@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """End PostgreSQL and remove its folder."""
        with suppress(FailedError):
            self.call("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)


def _last(log: Path) -> str:
    return first_line(log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2])
