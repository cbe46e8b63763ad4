"""Real servers on the loopback: MLflow's, and a PostgreSQL for it to keep its store in."""

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
from pathlib import Path


def free_port():
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """A real tracking server on the loopback, to be killed and started again on the same port and store."""

    def __init__(self, folder, database=None):
        self.folder, self.process = folder, None
        self.database = database or f"sqlite:///{folder / 'server.db'}"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        options = ("--backend-store-uri", self.database, "--port", str(self.port))
        options += ("--artifacts-destination", str(self.folder / "artifacts"), "--workers", "1")
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", *options],
                env={**os.environ, **quiet},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 200
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Postgres:
    """A PostgreSQL of its own in a temporary folder, as the system's packages bring it."""

    def __init__(self):
        found = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=shutil.which("initdb"))
        assert found, "the tests need PostgreSQL: apt-get install postgresql"
        self.programs = Path(found).resolve().parent
        self.folder = Path(tempfile.mkdtemp(prefix="qwerties-pg-"))
        self.port = free_port()
        self.user = None
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            self.user = pwd.getpwnam("postgres")
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)

    def call(self, program, *arguments):
        """Run one of PostgreSQL's programs, as its user."""
        identity = (
            {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        )
        command = [self.programs / program, *map(str, arguments)]
        with (self.folder.parent / f"{self.folder.name}.log").open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd=self.folder, **identity)

    def start(self):
        self.call("initdb", "-D", "data", "-A", "trust", "-U", "qwerties", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c fsync=off -k {self.folder}"
        self.call("pg_ctl", "-D", "data", "-o", options, "-l", "server.log", "-w", "start")

    def create(self, name):
        """Create a database; returns its URI."""
        self.call("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "qwerties", name)
        return f"postgresql://qwerties:hush@127.0.0.1:{self.port}/{name}"

    def stop(self):
        with suppress(subprocess.CalledProcessError):
            self.call("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder.parent / f"{self.folder.name}.log").unlink(missing_ok=True)
