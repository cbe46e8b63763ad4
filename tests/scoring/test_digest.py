"""The digest of the code that decides numbers: the bytes of two rooms, and nothing else."""

import hashlib
import importlib.util
import shutil
from pathlib import Path

import pytest

import qwerties
from qwerties.scoring.digest import code_digest

PACKAGE = Path(qwerties.__file__).parent


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to be edited."""
    return shutil.copytree(PACKAGE, tmp_path / "qwerties", ignore=shutil.ignore_patterns("__pycache__"))


def digest_of(package):
    """The digest that a package elsewhere gives itself."""
    path = package / "scoring" / "digest.py"
    spec = importlib.util.spec_from_file_location("another_digest", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.code_digest()


def add(path, content=b"\n"):
    path.write_bytes(path.read_bytes() + content)


def test_the_place_of_the_package_does_not_matter(package):
    assert digest_of(package) == code_digest()


def test_it_is_a_hash_of_names_and_bytes_so_that_the_version_of_python_does_not_matter(package):
    hasher = hashlib.sha256()
    for room in ("training", "scoring"):
        names = [path for path in (package / room).rglob("*") if path.suffix in (".py", ".cpp", ".h")]
        for path in sorted(names):
            hasher.update(path.relative_to(package).as_posix().encode() + b"\n" + path.read_bytes() + b"\0")
    assert code_digest() == hasher.hexdigest()[:12]


@pytest.mark.parametrize("room", ["training", "scoring"])
def test_one_byte_more_in_any_file_of_the_two_rooms_changes_it(package, room):
    paths = [path for path in sorted((package / room).rglob("*")) if path.suffix in (".py", ".h", ".cpp")]
    seen = {code_digest()}
    for count, path in enumerate(paths, 2):
        add(path)
        seen.add(digest_of(package))
        assert len(seen) == count, path
    assert len(seen) > 3


@pytest.mark.parametrize("suffix", [".py", ".cpp", ".h"])
def test_a_file_that_comes_goes_or_is_renamed_changes_it(package, suffix):
    path, seen = package / "training" / f"new{suffix}", [digest_of(package)]
    path.write_bytes(b"x\n")
    seen.append(digest_of(package))
    path = path.rename(path.with_stem("newer"))
    seen.append(digest_of(package))
    assert len(set(seen)) == 3
    path.unlink()
    assert digest_of(package) == seen[0]


def test_line_ends_do_not_change_it(package):
    for path in package.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digest_of(package) == code_digest()


def test_other_rooms_and_what_python_leaves_behind_do_not_change_it(package):
    for path in package.rglob("*.py"):
        if path.parent.name not in ("training", "scoring"):
            add(path, b"# a remark\n")
    (package / "training" / "__pycache__").mkdir()
    (package / "training" / "__pycache__" / "data.pyc").write_bytes(b"\0")
    (package / "training" / "notes.txt").write_bytes(b"x")
    assert digest_of(package) == code_digest()
