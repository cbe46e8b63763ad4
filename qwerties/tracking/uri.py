"""Where a store is. URIs are built, taken apart, shown and checked here and nowhere else.

SQLAlchemy and MLflow both decode ``%20`` in an address, so that a folder of that very name needs its percent sign
quoted. MLflow would try a server that is away for minutes, and fail with a traceback; here it is asked once.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import urllib.parse
import urllib.request
from pathlib import Path

import sqlalchemy as sa

from qwerties.errors import UsageError, reason_of, without_passwords


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
    """Return the URI of a SQLite file; what a URI would decode in its name is quoted."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_path(uri: str) -> Path | None:
    """Return the file of a SQLite URI; None where the URI names another kind of store."""
    if not uri.startswith("sqlite:///"):
        return None
    try:
        return Path(sa.make_url(uri).database or "")
    except (sa.exc.ArgumentError, ValueError):
        return Path(uri.removeprefix("sqlite:///"))


def artifact_path(uri: str) -> Path:
    """Return the folder of artifacts that lie on this machine, by the address that MLflow stores."""
    if uri.startswith("file:"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(uri).path))
    return Path(uri)


def public_uri(uri: str) -> str:
    """Return the URI without its passwords, for messages and the report."""
    return without_passwords(re.sub(r"^([^:/@]*):[^/].*@", r"\1:***@", uri))


def check_reachable(uri: str, reads: bool = False) -> None:
    """Refuse in one line what MLflow would retry for minutes, or fail on with a traceback."""
    if (path := sqlite_path(uri)) is not None:
        if path.name == ":memory:" or "?" in uri:
            raise StoreError(f"the store must be a file, without options, got {uri}")
        if not path.parent.is_dir():
            raise StoreError(f"the store's folder must exist, got {path.parent}")
        if path.is_dir():
            raise StoreError(f"the store must be a file, got the folder {path}")
        unwritable = path if path.exists() else path.parent
        if not os.access(unwritable, os.W_OK) and not (reads and os.access(path, os.R_OK)):
            raise StoreError(f"the store must be writable, got {unwritable}")
    elif uri.startswith(("http://", "https://")):
        try:
            with urllib.request.urlopen(_health(uri), timeout=10) as answer:
                answer.read()
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise StoreError(
                f"the tracking server {public_uri(uri)} must answer, got: {reason_of(reason)}"
            ) from error
    elif re.match(r"(postgresql|mysql|mssql)(\+\w+)?://", uri):
        _check_database(uri)
    else:
        raise StoreError(
            "MLFLOW_TRACKING_URI must be sqlite:///..., postgresql://..., mysql://... or http(s)://..., "
            f"got {public_uri(uri)}"
        )


def _check_database(uri: str) -> None:
    """Connect once to a database server, which MLflow would try for minutes."""
    timeout = {} if uri.startswith("mssql") else {"connect_timeout": 10}
    try:
        engine = sa.create_engine(uri, connect_args=timeout, poolclass=sa.pool.NullPool)
        engine.connect().close()
    except ModuleNotFoundError as error:
        raise StoreError(
            f"the database {public_uri(uri)} needs the package {error.name}, which is not installed"
            + (": pip install 'qwerties[server]'" if uri.startswith("postgresql") else "")
        ) from error
    except sa.exc.ArgumentError:
        return  # no kind of database that there is: whoever opens it says so
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        reason = reason_of(getattr(error, "orig", None) or error)
        raise StoreError(f"the database {public_uri(uri)} must answer, got: {reason}") from error


def _health(uri: str) -> urllib.request.Request:
    """The request that asks a server how it is; name and password of the URI go into a header, as MLflow's do."""
    parts = urllib.parse.urlsplit(uri)
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(f"{plain.rstrip('/')}/health")
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    return request


def is_on_disk(uri: str) -> bool:
    """Whether artifacts at this address are files of this machine."""
    return uri.startswith(("/", "file://"))
