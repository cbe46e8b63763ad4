"""Where a store is: URIs are built, taken apart, shown and checked here and nowhere else.

SQLAlchemy and MLflow decode ``%20`` in a URI, so a percent sign in a folder's name must be quoted. MLflow retries an
absent server for minutes and then fails with a traceback; `check_reachable` asks once.
"""

from __future__ import annotations

import os
import re
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from qwerties.errors import UsageError, reason_for_uri, reason_of, without_passwords

HTTP = ("http://", "https://")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
TIMEOUT = 10  # seconds that a server has to answer


class StoreError(UsageError):
    """The store cannot be used; the message is one line for the user."""


def configured_uri(root: Path) -> str:
    """Return the URI in ``MLFLOW_TRACKING_URI``, else MLflow's default store in a folder.

    White space around the variable's value is dropped: a file of settings written on Windows leaves a ``\\r`` there.
    """
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or default_uri(root)


def default_uri(root: Path) -> str:
    """Return MLflow's own default store, so that a bare ``mlflow ui`` in ``root`` shows it."""
    return sqlite_uri(root / "mlflow.db")


def sqlite_uri(path: Path) -> str:
    """Return the URI of a SQLite file, with everything quoted that a URI would decode."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a SQLite URI; None where the URI names another kind of store."""
    return Path(sa.make_url(uri).database or "") if uri.startswith("sqlite:///") else None


def is_on_disk(uri: str) -> bool:
    """Return whether an artifact URI names files of this machine."""
    return uri.startswith(("/", "file://"))


def artifact_path(uri: str) -> Path:
    """Return the local folder that an artifact URI names."""
    if uri.startswith("file:"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(uri).path))
    return Path(uri)


def public_uri(uri: str) -> str:
    """Return the URI without its password, for messages and the report."""
    with suppress(sa.exc.ArgumentError, ValueError):  # not a URI
        if not uri.startswith(HTTP):
            uri = sa.make_url(uri).render_as_string(hide_password=True)
    # urllib ends a host at the first slash, and would show a password that holds one
    uri = re.sub(r"^((?:https?://)?[^:/@]*):[^/].*@", r"\1:***@", uri)
    return without_passwords(uri)


def check_reachable(uri: str, reads: bool = False) -> None:
    """Check that a store can be used, or only read; raise `StoreError` within seconds otherwise."""
    if (path := sqlite_path(uri)) is not None:
        _check_file(path, uri, reads)
    elif uri.startswith(HTTP):
        _check_server(uri)
    elif re.match(r"(postgresql|mysql|mssql)(\+\w+)?://", uri):
        _check_database(uri)
    else:
        raise StoreError(
            "MLFLOW_TRACKING_URI must be sqlite:///..., postgresql://..., mysql://... or http(s)://..., "
            f"got {public_uri(uri)}"
        )


def _check_file(path: Path, uri: str, reads: bool) -> None:
    if path.name == ":memory:" or "?" in uri:
        raise StoreError(f"the store must be a file, without options, got {uri}")
    if not path.parent.is_dir():
        raise StoreError(f"the store's folder must exist, got {path.parent}")
    if path.is_dir():
        raise StoreError(f"the store must be a file, got the folder {path}")
    written = path if path.exists() else path.parent
    if not os.access(written, os.W_OK) and not (reads and os.access(path, os.R_OK)):
        raise StoreError(f"the store must be writable, got {written}")


def _check_server(uri: str) -> None:
    import requests

    _bypass_proxies(uri)
    try:
        answer = requests.get(f"{uri.rstrip('/')}/health", timeout=TIMEOUT)
        reason = "" if answer.ok else f"{answer.status_code} {answer.reason}"
    except (OSError, ValueError) as error:
        cause: BaseException = error
        while cause.__context__ is not None:  # requests and urllib3 wrap the system's error four times
            cause = cause.__context__
        # what cannot be taken apart is shown whole by urllib3
        reason = "it is no URL" if "@" in uri and isinstance(error, ValueError) else reason_of(cause)
    if reason:
        raise StoreError(f"the tracking server {public_uri(uri)} must answer, got: {reason}")


def _bypass_proxies(uri: str) -> None:
    """Exempt a server on this machine from the user's ``http_proxy``, for MLflow's requests as well."""
    try:
        host = urllib.parse.urlsplit(uri).hostname
    except ValueError:
        return
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    if host in LOOPBACK and host not in exempt.split(","):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{exempt},{host}".lstrip(",")


def _check_database(uri: str) -> None:
    timeout = {} if uri.startswith("mssql") else {"connect_timeout": TIMEOUT}
    try:
        engine = sa.create_engine(uri, connect_args=timeout, poolclass=sa.pool.NullPool)
        engine.connect().close()
    except ModuleNotFoundError as error:
        raise StoreError(
            f"the database {public_uri(uri)} needs the package {error.name}, which is not installed"
            + (": pip install 'qwerties[server]'" if uri.startswith("postgresql") else "")
        ) from error
    except sa.exc.ArgumentError:
        return  # an unknown driver: MLflow says so
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        reason = reason_for_uri(uri, getattr(error, "orig", None) or error)
        raise StoreError(f"the database {public_uri(uri)} must answer, got: {reason}") from error
