"""A file gets its name once, with hard links and without."""

import os

import pytest

from qwerties.tracking.files import place_new_file


def no_links(source, target):
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_a_name_is_given_once(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    place_new_file(tmp_path / "one", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "one"
    with pytest.raises(FileExistsError):
        place_new_file(tmp_path / "two", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "one"
    assert (tmp_path / "two").read_text() == "two"
