"""URIs are built and taken apart so that every folder's name survives; an unusable store is refused in one line."""

import gc
import os
import socket
import tempfile
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from qwerties.tracking.uri import (
    StoreError,
    artifact_path,
    check_reachable,
    configured_uri,
    default_uri,
    public_uri,
    sqlite_path,
    sqlite_uri,
)

pytestmark = pytest.mark.timeout(20)  # seconds; MLflow would ask for minutes

NAMES = ("plain", "with space", "a%20b", "50%", "a#b", "a?b", "ünïcode", "quote'\"", "a&b=c", "%2F")


@pytest.mark.parametrize("name", NAMES)
def test_paths_come_back_from_their_uris(tmp_path, name):
    path = tmp_path / name / "mlflow.db"
    assert sqlite_path(sqlite_uri(path)) == path
    assert sqlite_path(public_uri(sqlite_uri(path))) == path
    assert artifact_path(path.parent.as_uri()) == path.parent


def test_plain_locations_are_paths_and_other_stores_no_files():
    assert artifact_path("/tmp/a b/mlruns/1") == Path("/tmp/a b/mlruns/1")
    assert sqlite_path("postgresql://me@host/db") is None
    assert sqlite_path("http://127.0.0.1:5000") is None
    assert default_uri(Path("/a b/c")) == "sqlite:////a b/c/mlflow.db"  # MLflow's own


@pytest.mark.parametrize("value", ["", "\r\n", " http://127.0.0.1:5000\r"])
def test_an_empty_variable_means_the_default_store_and_white_space_is_dropped(monkeypatch, tmp_path, value):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    assert configured_uri(tmp_path) == (value.strip() or default_uri(tmp_path))


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("postgresql://u:secret@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("postgresql://u:sec%40ret@h/db?password=secret", "postgresql://u:***@h/db?password=***"),
        ("https://u:secret@h/x", "https://u:***@h/x"),
        ("https://u:sec ret/@h/x", "https://u:***@h/x"),
        ("https://u:s@cret@h/x", "https://u:***@h/x"),
        ("https://h/x", "https://h/x"),
        ("sqlite:////a b/mlflow.db", "sqlite:////a b/mlflow.db"),
        ("user:secret@127.0.0.1", "user:***@127.0.0.1"),
        ("//user:secret@h", "//user:***@h"),
        ("https://token@h/x", "https://***@h/x"),
        ("https://h/x?api_key=secret&sig=secret", "https://h/x?api_key=***&sig=***"),
    ],
)
def test_public_uris(uri, public):
    assert public_uri(uri) == public


# Stores that cannot be used


def refuse(uri):
    with pytest.raises(StoreError) as caught:
        check_reachable(uri)
    message = str(caught.value)
    assert "\n" not in message
    return message


@contextmanager
def nobody():
    """Work as a user for whom file modes count, where the tests run as root."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_folder_that_does_not_exist_or_is_a_file_and_a_store_that_is_a_folder(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (tmp_path / "none", file):
        assert refuse(f"sqlite:///{folder}/mlflow.db") == f"the store's folder must exist, got {folder}"
    assert refuse(f"sqlite:///{tmp_path}") == f"the store must be a file, got the folder {tmp_path}"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_not_be_written(what):
    with tempfile.TemporaryDirectory() as name:  # not tmp_path: nobody may not enter it
        folder, file = Path(name), Path(name, "mlflow.db")
        file.write_bytes(b"")
        file.chmod(0o444)
        folder.chmod(0o755)
        if what == "folder":
            file.unlink()
        if os.getuid() != 0:
            folder.chmod(0o555)
        try:
            with nobody():
                expected = folder if what == "folder" else file
                assert refuse(f"sqlite:///{file}") == f"the store must be writable, got {expected}"
                if what == "file":
                    check_reachable(f"sqlite:///{file}", reads=True)
        finally:
            folder.chmod(0o755)


@pytest.mark.parametrize(
    "uri", ["gopher://x", "file:///tmp/mlruns", "/tmp/mlruns", "mlflow.db", "postgresqlx"]
)
def test_a_scheme_that_is_none_of_ours(uri):
    assert refuse(uri) == (
        f"MLFLOW_TRACKING_URI must be sqlite:///..., postgresql://..., mysql://... or http(s)://..., got {uri}"
    )


# Servers


@pytest.fixture(scope="module")
def closed_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]  # bound, but nobody listens


@contextmanager
def server(answer):
    """An HTTP server on loopback; ``answer`` gets the handler."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{found.server_port}"
        finally:
            found.shutdown()
            thread.join()


def well(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def test_a_server_that_does_not_answer_or_refuses(closed_port):
    uri = f"http://127.0.0.1:{closed_port}"
    assert refuse(uri) == f"the tracking server {uri} must answer, got: [Errno 111] Connection refused"
    with server(lambda handler: handler.send_error(403)) as host:
        assert (
            refuse(f"http://{host}") == f"the tracking server http://{host} must answer, got: 403 Forbidden"
        )


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # urllib3's own, after such an answer
def test_a_server_that_speaks_no_http():
    with server(lambda handler: handler.wfile.write(b"220 smtp ready\r\n")) as host:
        assert refuse(f"http://{host}").startswith(f"the tracking server http://{host} must answer, got: ")
    gc.collect()


@pytest.mark.parametrize("uri", ["http://", "https://[", "http://127.0.0.1:notaport"])
def test_a_server_that_is_no_address(uri):
    assert refuse(uri).startswith(f"the tracking server {uri} must answer, got: ")


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:secret@127.0.0.1:{port}",
        "http://user:secret@127.0.0.1:port",
        "https://user:sec%40ret@[::1",
        "http://u:sec:ret/@127.0.0.1:1",
        "http://u:secret#x@h",
        "http://u:secret?x@h",
        "ftp://user:secret@127.0.0.1/x",
        "user:secret@127.0.0.1",
        "postgresql+nodriver://user:secret@127.0.0.1:{port}/x",
        "mysql+nodriver://user:secret@127.0.0.1:{port}/x",
        "postgresql://user:1@host:secret@127.0.0.1:{port}/x",  # the driver takes the secret for a port
    ],
)
def test_a_password_is_never_told(uri, closed_port):
    uri = uri.format(port=closed_port)
    try:
        check_reachable(uri)
        message = public_uri(uri)  # an unknown driver is left to MLflow
    except StoreError as error:
        message = str(error)
    assert "sec" not in message
    assert "***" in message


def test_a_server_with_a_password_is_asked_with_it():
    """``http://user:password@host`` is what MLflow takes: the check sends the password on, too."""
    asked = []

    def answer(handler):
        asked.append((handler.path, handler.headers["Authorization"]))
        well(handler)

    with server(answer) as host:
        check_reachable(f"http://user:secret@{host}/")
    assert asked == [("/health", "Basic dXNlcjpzZWNyZXQ=")]


@pytest.mark.parametrize("exempt", [None, "example.org"])
def test_a_server_of_this_machine_is_not_asked_through_a_proxy(monkeypatch, closed_port, exempt):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if exempt:
        monkeypatch.setenv("NO_PROXY", exempt)
    with server(well) as host:
        with pytest.raises(requests.RequestException):
            requests.get(f"http://{host}/", timeout=10)
        check_reachable(f"http://{host}")
        assert requests.get(f"http://{host}/", timeout=10).ok  # as MLflow asks from then on
        check_reachable(f"http://{host}")  # and is not exempt twice
    expected = ",".join(filter(None, (exempt, "127.0.0.1")))
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == expected
