"""URIs are built and taken apart so that every name of a folder survives."""

from pathlib import Path

import pytest

from qwerties.tracking.uri import artifact_path, configured_uri, default_uri, sqlite_path, sqlite_uri

NAMES = ("plain", "with space", "a%20b", "50%", "a#b", "a?b", "ünïcode", "quote'\"", "a&b=c", "%2F")


@pytest.mark.parametrize("name", NAMES)
def test_a_database_s_path_comes_back_from_its_uri(tmp_path, name):
    path = tmp_path / name / "mlflow.db"
    assert sqlite_path(sqlite_uri(path)) == path


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_artifacts_comes_back_from_its_uri(tmp_path, name):
    assert artifact_path((tmp_path / name).as_uri()) == tmp_path / name


def test_a_plain_location_is_a_path_as_it_stands():
    assert artifact_path("/tmp/a b/mlruns/1") == Path("/tmp/a b/mlruns/1")


def test_other_stores_are_no_files():
    assert sqlite_path("postgresql://me@host/db") is None
    assert sqlite_path("http://127.0.0.1:5000") is None


@pytest.mark.parametrize("value", ["", " ", "\r\n"])
def test_an_empty_variable_means_the_default_store(monkeypatch, tmp_path, value):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", value)
    assert configured_uri(tmp_path) == default_uri(tmp_path)


def test_white_space_around_the_variable_is_dropped(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " http://127.0.0.1:5000\r")
    assert configured_uri(tmp_path) == "http://127.0.0.1:5000"
