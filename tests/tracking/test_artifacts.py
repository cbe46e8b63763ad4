"""Files of a run: what a stranger's tag names is not followed, and a full TMPDIR is not taken for a full store."""

import errno
import json
import os

import pytest

from qwerties.errors import FailedError
from qwerties.tracking import artifacts
from qwerties.tracking.artifacts import (
    damaged_files,
    digests_tag,
    file_sizes,
    read_file,
    temporary_folder,
    write_files,
)
from qwerties.tracking.tags import ARTIFACTS

FILES = {"seeds.csv": b"seed\n0\n", "plots/a b.png": bytes(range(256)), "empty": b""}


def test_files_are_read_back_with_their_sizes(tmp_path):
    write_files(tmp_path, FILES)
    assert {path: read_file(tmp_path, path) for path in FILES} == FILES
    assert file_sizes(tmp_path) == {path: len(content) for path, content in FILES.items()}
    assert file_sizes(tmp_path / "none") == {}


def test_lost_cut_and_altered_files_are_damaged_and_others_are_not(tmp_path):
    write_files(tmp_path, {**FILES, "sound": b"1"})
    tags = digests_tag({**FILES, "sound": b"1"})
    assert damaged_files(tmp_path, tags) == []
    (tmp_path / "seeds.csv").unlink()
    (tmp_path / "plots" / "a b.png").write_bytes(FILES["plots/a b.png"][:100])
    (tmp_path / "empty").write_bytes(b"!")
    assert damaged_files(tmp_path, tags) == list(FILES)
    assert damaged_files(tmp_path, {}) == []
    assert digests_tag({}) == {}


@pytest.mark.parametrize("tag", ["[1]", "no json", "3", "null", "[" * 4000])
def test_a_tag_that_lists_no_files_is_itself_damaged(tmp_path, tag):
    assert damaged_files(tmp_path, {ARTIFACTS: tag}) == [ARTIFACTS]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "path", ["/dev/zero", "../outside", "pipe", "folder", "link", "a\0b", "x" * 5000, "large"]
)
def test_only_regular_files_of_bounded_size_inside_the_folder_are_read(tmp_path, monkeypatch, path):
    monkeypatch.setattr(artifacts, "MAX_BYTES", 10)
    root = tmp_path / "run"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "outside").write_text("x")
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "large").write_bytes(bytes(11))
    with pytest.raises((OSError, ValueError)):
        read_file(root, path)
    assert damaged_files(root, {ARTIFACTS: json.dumps({path: "0" * 16})}) == [path]


@pytest.mark.parametrize("where", ["mkdtemp", "block"])
def test_temporary_files_that_find_no_room_are_told_as_such(monkeypatch, where):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "mkdtemp":
        monkeypatch.setattr(artifacts.tempfile, "mkdtemp", full)
    with pytest.raises(FailedError) as refused, temporary_folder():
        full()
    assert str(refused.value).startswith(
        "temporary files cannot be written, TMPDIR must name a folder with room: "
    )


def test_other_errors_within_a_temporary_folder_are_passed_on_and_it_is_removed():
    folders = []

    def fetch():
        with temporary_folder() as folder:
            folders.append(folder)
            raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError):
        fetch()
    assert not folders[0].exists()
