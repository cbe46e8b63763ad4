"""Stores for the tests of the page; the working folder is theirs, as that is where MLflow puts artifacts."""

from contextlib import chdir

import pytest
from factories import new_store

from qwerties.report.rendering import RenderedFigure


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store."""
    monkeypatch.chdir(tmp_path)
    return new_store(tmp_path)


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory):
    """A working folder for all tests of a module."""
    path = tmp_path_factory.mktemp("store")
    with chdir(path):
        yield path


@pytest.fixture
def undrawn(monkeypatch):
    """Pages whose figures are the same small picture: most tests of a page are about its words."""
    picture = RenderedFigure(b"<svg/>", "svg", 8, 8)
    monkeypatch.setattr(
        "qwerties.report.build.render_figures", lambda figures, jobs: [picture for _ in figures]
    )
